"""PHP: Composer from a parsed composer.json, and the tools that it declares."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from autopack_kit.commands import Command

from .conventional import present
from .model import Candidate, Evidence, Source, StepKind
from .places import nearest
from .workspace import Workspace, join, table

__all__ = ["detect_php"]

ECOSYSTEM = "php"

_DECLARED = ("require-dev", "require")

_TEST_SOURCE = re.compile(r"^.+(?:Test|Tests|Cest|Spec)\.php$|^.+\.phpt$|^.+[.-]test\.php$")

_PHPUNIT = ("phpunit.xml", "phpunit.xml.dist", "phpunit.dist.xml")

_TESTERS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("pestphp/pest", ("pest",), ()),
    ("codeception/codeception", ("codecept", "run"), ("codeception.yml", "codeception.dist.yml")),
    ("phpspec/phpspec", ("phpspec", "run"), ("phpspec.yml", "phpspec.yml.dist")),
    ("phpunit/phpunit", ("phpunit",), ()),
    ("symfony/phpunit-bridge", ("simple-phpunit",), _PHPUNIT),
    ("behat/behat", ("behat",), ("behat.yml", "behat.yml.dist", "behat.dist.yml")),
)
"""Package, its command, and the settings without which it has nothing to run; Pest runs PHPUnit's tests as well."""

_CHECKERS: tuple[tuple[str, StepKind, tuple[str, ...], tuple[str, ...]], ...] = (
    (
        "squizlabs/php_codesniffer",
        StepKind.LINT,
        ("phpcs",),
        ("phpcs.xml", "phpcs.xml.dist", ".phpcs.xml", ".phpcs.xml.dist"),
    ),
    ("doctrine/coding-standard", StepKind.LINT, ("phpcs",), ("phpcs.xml", "phpcs.xml.dist", ".phpcs.xml.dist")),
    (
        "friendsofphp/php-cs-fixer",
        StepKind.FORMAT,
        ("php-cs-fixer", "fix", "--dry-run", "--diff"),
        (".php-cs-fixer.php", ".php-cs-fixer.dist.php", ".php_cs", ".php_cs.dist"),
    ),
    ("laravel/pint", StepKind.FORMAT, ("pint", "--test"), ()),
    (
        "phpstan/phpstan",
        StepKind.TYPECHECK,
        ("phpstan", "analyse"),
        ("phpstan.neon", "phpstan.neon.dist", "phpstan.dist.neon"),
    ),
    (
        "larastan/larastan",
        StepKind.TYPECHECK,
        ("phpstan", "analyse"),
        ("phpstan.neon", "phpstan.neon.dist", "phpstan.dist.neon"),
    ),
    ("vimeo/psalm", StepKind.TYPECHECK, ("psalm",), ("psalm.xml", "psalm.xml.dist")),
)


def detect_php(workspace: Workspace) -> Iterator[Candidate]:
    """All candidates for Composer packages."""
    directories = nearest(workspace.directories_with("composer.json"))
    tests = workspace.owned_files(directories, lambda name: bool(_TEST_SOURCE.match(name)), ".php", ".phpt")
    for directory in directories:
        path = join(directory, "composer.json")
        data = workspace.json(path)
        evidence = Evidence(path, 0, "composer.json", 0.95)
        held = [
            Evidence(join(directory, name), 0, "lock file", 0.9)
            for name in workspace.registry.ecosystems[ECOSYSTEM].locks
            if workspace.has(directory, name)
        ]
        yield Candidate(directory, ECOSYSTEM, (evidence, *held))
        yield Candidate(directory, ECOSYSTEM, (evidence, *held), manager="composer")
        packages = any("/" in name for group in _DECLARED for name in table(data, group))
        # The autoloader, too, is a file that only installing writes.
        if held or packages or table(data, "autoload") or table(data, "autoload-dev"):
            named = ("require", '"require') if packages else ("autoload", '"autoload')
            installed = held[0] if held else workspace.evidence(path, named[0], 0.85, named[1])
            yield _step(directory, StepKind.INSTALL, ("composer", "install", "--no-interaction"), installed)
        yield from _tests(workspace, directory, data, tests[directory])
        yield from _checks(workspace, directory, data)
        yield from _run(workspace, directory)


def _tests(workspace: Workspace, directory: str, data: dict[str, Any], tests: Sequence[str]) -> Iterator[Candidate]:
    if not tests:
        return
    artisan = workspace.has(directory, "artisan")
    declared = _packages(data)
    if artisan and {"laravel/framework", "laravel/laravel"} & declared:
        evidence = Evidence(join(directory, "artisan"), 0, "artisan", 0.72)
        yield _step(directory, StepKind.TEST, ("php", "artisan", "test"), evidence, Source.CONFIGURATION)
    for package, argv, settings in _TESTERS:
        found = present(workspace, directory, settings)
        if package in declared and (found or not settings):
            evidence = _declaration(workspace, directory, package, 0.78)
            command = _binary(data, argv)
            yield _step(directory, StepKind.TEST, command, evidence, Source.CONFIGURATION)
            return
    if found := present(workspace, directory, _PHPUNIT):
        evidence = Evidence(join(directory, found), 0, "settings of PHPUnit", 0.55)
        yield _step(directory, StepKind.TEST, _binary(data, ("phpunit",)), evidence)


def _checks(workspace: Workspace, directory: str, data: dict[str, Any]) -> Iterator[Candidate]:
    declared = _packages(data)
    for package, kind, argv, settings in _CHECKERS:
        found = present(workspace, directory, settings)
        if package in declared and (found or not settings):
            evidence = _declaration(workspace, directory, package, 0.7)
            yield _step(directory, kind, _binary(data, argv), evidence, Source.CONFIGURATION)


def _run(workspace: Workspace, directory: str) -> Iterator[Candidate]:
    """The server that the framework brings, or PHP's own on the public directory."""
    if workspace.has(directory, "artisan"):
        evidence = Evidence(join(directory, "artisan"), 0, "artisan", 0.7)
        yield _step(directory, StepKind.RUN, ("php", "artisan", "serve"), evidence)
        return
    for place, options in (("public/index.php", ("-t", "public")), ("index.php", ())):
        if workspace.has(directory, place):
            evidence = Evidence(join(directory, place), 0, "entry page", 0.5)
            yield _step(directory, StepKind.RUN, ("php", "-S", "localhost:8000", *options), evidence)
            return


def _packages(data: dict[str, Any]) -> set[str]:
    return {name.lower() for group in _DECLARED for name in table(data, group)}


def _declaration(workspace: Workspace, directory: str, package: str, weight: float) -> Evidence:
    return workspace.evidence(join(directory, "composer.json"), f"package {package}", weight, f'"{package}"')


def _binary(data: dict[str, Any], argv: tuple[str, ...]) -> tuple[str, ...]:
    """The program where Composer puts it; ``config.bin-dir`` moves that."""
    config = table(data, "config")
    moved = config.get("bin-dir")
    vendor = config.get("vendor-dir")
    base = moved if isinstance(moved, str) else f"{vendor}/bin" if isinstance(vendor, str) else "vendor/bin"
    usable = re.fullmatch(r"[\w.][\w./-]{0,99}", base)
    return (f"{base.rstrip('/') if usable else 'vendor/bin'}/{argv[0]}", *argv[1:])


def _step(
    directory: str, kind: StepKind, argv: tuple[str, ...], evidence: Evidence, source: Source = Source.DEFAULT
) -> Candidate:
    command = Command.of(*argv, cwd=directory)
    return Candidate(directory, ECOSYSTEM, (evidence,), kind=kind, command=command, source=source)
