"""What no mitigation may do, whoever proposes or applies it: the words, programs and variables.

The rule behind it: a mitigation makes a command work as the project means it to; it never makes a check weaker, never
takes rights, and never runs or installs what a log names. The service that proposes and the client that applies both
check this, because neither trusts the other. Pure: ``core/`` packages may import it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autopack_kit.commands import Command

__all__ = [
    "FORBIDDEN_PROGRAMS",
    "HARMLESS_VARIABLES",
    "MAX_ATTEMPTS",
    "MAX_WAIT_S",
    "MIN_LOCK_AGE_S",
    "OWN_COMMANDS",
    "PROGRAMS",
    "OwnCommands",
    "is_movable",
    "is_repeatable",
    "unsafe_env",
    "unsafe_install",
    "unsafe_words",
]

PROGRAMS = frozenset(
    [
        "black", "bun", "cargo", "cmake", "corepack", "eslint", "git", "go", "gofmt", "gradle", "isort", "java", "make",
        "mvn", "node", "npm", "npx", "pdm", "pip", "pipenv", "pnpm", "poetry", "pre-commit", "prettier", "pytest",
        "python", "python3", "ruff", "rustfmt", "tox", "uv", "yarn", "sh", "bash",
    ]
)  # fmt: skip
"""Programs that a pattern's own words may start."""
FORBIDDEN_PROGRAMS = frozenset(["sudo", "su", "doas", "pkexec", "run0", "chmod", "chown", "curl", "wget", "rm", "kill"])
FORBIDDEN_WORDS = frozenset(
    [
        "sudo", "chmod", "777", "-u", "-U", "-f", "-k", "--force", "--no-verify", "--hard", "-X",
        "--insecure", "--allow-dirty", "--legacy-peer-deps", "--passwithnotests", "--pass-with-no-tests",
        "--skip-tests", "-dskiptests",
        "--no-require-hashes", "--break-system-packages", "--trusted-host", "--index-url", "--extra-index-url",
        "--find-links", "--registry", "--unsafe-fixes", "--update", "--updatesnapshot", "--update-snapshot",
        "--update-snapshots", "--snapshot-update", "--exit-zero", "--no-fail", "--ignore-engines", "--cov-fail-under",
        "--engine-strict=false", "--strict-ssl=false", "--no-verify-ssl", "--no-gpg-sign", "--skip-integrity-check",
        "--no-frozen-lockfile", "--suppress-no-test-exit-code", "-dmaven.test.skip", "--user", "--system", "-g",
        "--global",
    ]
)  # fmt: skip
"""Words, lower-cased and without a value, that turn a check off, take rights, or leave the project."""
_CASED_WORDS = frozenset(["-u", "-U", "-f", "-k", "-X", "-g"])

HARMLESS_VARIABLES: Mapping[str, re.Pattern[str]] = {
    name: re.compile(value)
    for name, value in {
        "PYTHONPATH": r"[^:\0]+(?::[^:\0]+)*",
        "PYTHONIOENCODING": r"utf-8",
        "PYTHONUTF8": r"1",
        "LC_ALL": r"C\.UTF-8",
        "LANG": r"C\.UTF-8",
        "CHOKIDAR_USEPOLLING": r"1|true",
        "WATCHPACK_POLLING": r"true",
        "NODE_OPTIONS": r"--max-old-space-size=\d{3,5}",
        "MAVEN_OPTS": r"-Xmx\d{1,5}[mg]",
        "GRADLE_OPTS": r"-Xmx\d{1,5}[mg]|-Dorg\.gradle\.jvmargs=-Xmx\d{1,5}[mg]",
        "MAKEFLAGS": r"-j\d{1,2}",
        "CARGO_BUILD_JOBS": r"\d{1,2}",
        "GOFLAGS": r"-p=\d{1,2}",
        "PORT": r"0",
        "DJANGO_SETTINGS_MODULE": r"[A-Za-z_][\w.]*",
        "GIT_AUTHOR_NAME": r"autopack",
        "GIT_AUTHOR_EMAIL": r"autopack@localhost",
        "GIT_COMMITTER_NAME": r"autopack",
        "GIT_COMMITTER_EMAIL": r"autopack@localhost",
        "UV_PYTHON_DOWNLOADS": r"never",
        "TMPDIR": r"\.autopack-tmp",
    }.items()
}
"""Variables that a mitigation may set, each with the values it may have."""

MAX_ATTEMPTS = 3
"""How often a command is run again for the same reason."""
MAX_WAIT_S = 60.0
"""Seconds of the longest pause before that."""
MIN_LOCK_AGE_S = 60
"""Seconds for which a lock must not have been touched before it may be called stale."""


@dataclass(frozen=True, slots=True)
class OwnCommands:
    """The words that mitigations bring themselves; what is not among them is refused, whoever proposes it.

    Attributes:
        run: whole commands of ``run_command`` and ``regenerate_lockfile``.
        formatters: commands of ``run_formatter`` up to the files, as far as the failed command did not start it.
        edits: words that ``edit_command`` may put in.
    """

    run: frozenset[tuple[str, ...]]
    formatters: frozenset[tuple[str, ...]]
    edits: frozenset[str]


OWN_COMMANDS = OwnCommands(
    run=frozenset(
        tuple(line.split())
        for line in (
            "cargo generate-lockfile", "cargo update --workspace --offline", "corepack enable", "git worktree prune",
            "go mod tidy", "go mod vendor", "npm install --package-lock-only --ignore-scripts",
            "npx --no-install playwright install", "pdm lock", "pipenv lock",
            "pnpm install --lockfile-only --ignore-scripts", "poetry lock", "python -m ensurepip --upgrade",
            "python3 -m venv .venv", "uv lock", "uv venv", "yarn install --ignore-scripts",
            "yarn install --mode=update-lockfile",
        )
    ),
    formatters=frozenset(
        tuple(line.split())
        for line in (
            "black -q", "eslint --fix", "gofmt -w", "isort -q", "npx --no-install eslint --fix",
            "npx --no-install prettier --write", "prettier --write", "ruff check --fix", "ruff format",
            "rustfmt --edition 2021",
        )
    ),
    edits=frozenset(
        [
            "--detach", "--import-mode=importlib", "--no-root", "--set-upstream", ".venv/bin/pip", ".venv/bin/python",
            "HEAD", "add", "bash", "gradle", "origin", "python3", "sh",
        ]
    ),
)  # fmt: skip
"""Those of the packaged patterns, all of them and no more: a test compares. An interpreter or a package manager that is
no forbidden program runs anything with the right words, so programs alone decide nothing."""

# Commands that may run twice: they read, or they bring about a state.
_REPEATABLE = re.compile(
    r"(?:npm|pnpm|yarn|bun) (?:ci|install|i|test|run (?:build|test|lint)|view|audit)\b|yarn$|yarn install"
    r"|(?:\S*python[\d.]* -m )?pip[\d.]* (?:install|download|index)\b"
    r"|uv (?:sync|pip (?:install|sync|compile)|lock)\b"
    r"|(?:poetry|pdm|pipenv) (?:install|sync|lock|update)\b|git (?:fetch|clone|ls-remote|pull|submodule update)\b"
    r"|go (?:mod download|build|test|get|vet|install)\b|cargo (?:fetch|build|test|check|update|clippy)\b"
    r"|mvnw? |gradlew? |apt-get (?:update|install)\b|(?:docker|podman) (?:pull|build)\b|\S*pytest\b|tox\b|nox\b"
    r"|make(?: (?:-\S+|\w+=\S*|(?:all|build|check|ci|clean|compile|deps|docs|fmt|format|install|lint|setup|tests?"
    r"|vendor|verify)(?:[-_.:]\w+)*))*$"
    r"|pre-commit run\b"
)
# Whatever their words name is a test: of an upload, too.
_TESTS = re.compile(r"(?:\S*python[\d.]* -m )?(?:\S*/)?pytest\b|(?:go|cargo) (?:test|vet)\b")
# Also as a part of a word: publishToMavenLocal, docker-push, uploadArchives. --release alone is a kind of build, and so
# is what Android's tasks assemble, bundle, compile, lint or test.
_NOT_REPEATABLE = re.compile(
    r"publish|deploy|push|upload|(?<!--)(?<!assemble)(?<!bundle)(?<!compile)(?<!lint)(?<!test)release|apply|migrat|delete|destroy|prune|rollback|\bsend|notif|promote",
    re.IGNORECASE,
)


def is_repeatable(line: str) -> bool:
    """Whether the command ``line`` may run twice without asking: it reads, or it brings about a state."""
    if "\n" in line:
        return False  # a script; its first line says nothing of the others
    if _TESTS.match(line):
        return True
    return _REPEATABLE.match(line) is not None and _NOT_REPEATABLE.search(line) is None


# What takes away, or changes something beyond the workspace, takes away or changes something else in another directory.
_NOT_MOVABLE = re.compile(
    r"(?:^|[;&|(\s/])(?:rm|rmdir|unlink|mv|shred|truncate|dd|chmod|chown|rsync|scp|kubectl|helm|terraform|tofu|pulumi"
    r"|ansible-playbook|docker|podman|git +(?:clean|reset|restore|checkout|rm|push))(?:\s|$)"
    r"|publish|deploy|push|upload|delete|destroy|prune|rollback|promote",
    re.IGNORECASE,
)


def is_movable(line: str) -> bool:
    """Whether the command ``line`` may run in another directory of the workspace without asking."""
    return _TESTS.match(line) is not None or _NOT_MOVABLE.search(line) is None


def unsafe_words(words: Sequence[str], *, is_whole: bool = True) -> str:
    """Why ``words`` may be no part of a command; empty = they may.

    Args:
        words: argument vector, or words that are put into one.
        is_whole: the first word is the program.
    """
    if is_whole and words and posixpath.basename(words[0]) not in PROGRAMS:
        return f"the program {words[0]!r} is not among {', '.join(sorted(PROGRAMS))}"
    for word in words:
        if posixpath.basename(word) in FORBIDDEN_PROGRAMS:
            return f"{word!r} is never run by a mitigation"
        if word in _CASED_WORDS or _bare(word) in FORBIDDEN_WORDS - _CASED_WORDS:
            return f"{word!r} turns a check off, takes rights or leaves the project"
        if any(char in word for char in "\0\n|;&$`<>"):
            return f"{word!r} is for a shell, and there is none"
    return ""


def unsafe_env(env: Mapping[str, str]) -> str:
    """Why the variables may not be set; empty = they may."""
    for name, value in env.items():
        allowed = HARMLESS_VARIABLES.get(name)
        if allowed is None:
            return f"the variable {name} is not among {', '.join(sorted(HARMLESS_VARIABLES))}"
        if not allowed.fullmatch(value):
            return f"{name} may not be {value!r}; it must match {allowed.pattern}"
    return ""


def unsafe_install(command: Command) -> str:
    """Why a project's own install command may not be run unasked; empty = it may."""
    for word in command.argv:
        if posixpath.basename(word) in FORBIDDEN_PROGRAMS:
            return f"{word!r} is never run by a mitigation"
        if word in ("--force", "--break-system-packages", "--no-verify", "--trusted-host", "--legacy-peer-deps"):
            return f"{word!r} turns a check off"
    return ""


def _bare(word: str) -> str:
    return word.partition("=")[0].lower() if word.lower() not in FORBIDDEN_WORDS else word.lower()
