"""Python: how a project is installed, tested, linted and type-checked with each of the managers it might use."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from autopack_kit.commands import Command

from .model import Candidate, Evidence, Source, StepKind
from .python_dependencies import HATCH_ENVIRONMENT, Declaration, Place, declarations, installable, requirement_files
from .workspace import Workspace, join, listing, strings, table

__all__ = ["python_steps"]

ECOSYSTEM = "python"

MAX_SNIFFED_FILES = 20
"""Test files that are read to learn their runner; the first few by name tell it for the whole project."""

MAX_GROUP_REQUIREMENTS = 50
"""Requirements of one group that a command line names; a longer line is no use to a reader."""

_GROUP_ORDER = ("test", "tests", "testing", "unittest", "unittests", "dev", "develop", "development", "ci", "all")
"""Names of extras, groups and requirements files that carry what tests need, the narrowest first."""

_MAIN_FILES = ("requirements.txt", "requirements/base.txt", "requirements/common.txt", "requirements/main.txt")

_PYTEST_IMPORT = re.compile(r"^[ \t]*(?:import|from)[ \t]+pytest\b", re.MULTILINE)
_TEST_FUNCTION = re.compile(r"^(?:async[ \t]+)?def[ \t]+test", re.MULTILINE)
_SIGNS = ((_PYTEST_IMPORT, "imports pytest"), (_TEST_FUNCTION, "has a test function without a class"))
_PYTEST_FILE = re.compile(r"^(test_.*|.*_test)\.py$")

_LINT_HOOK = re.compile(r"^[ \t]*-[ \t]*id:[ \t]*(?:ruff|ruff-check|flake8|pylint)[ \t]*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Selection:
    """What INSTALL brings beyond the main dependencies, so that tests can run."""

    files: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    def holds(self, declaration: Declaration) -> bool:
        """Whether this declaration is installed."""
        match declaration.place:
            case Place.MAIN:
                return True
            case Place.FILE:
                return declaration.group in self.files
            case Place.EXTRA:
                return declaration.group in self.extras
            case Place.GROUP | Place.ENVIRONMENT:
                return declaration.group in self.groups
            case Place.BUILD:
                return False


def python_steps(
    workspace: Workspace, directory: str, managers: Iterable[str], tests: list[str]
) -> Iterator[Candidate]:
    """Candidates for steps of the project in ``directory``, one set for each manager."""
    declared = declarations(workspace, directory)
    for manager in sorted(set(managers)):
        if manager != "pip" and not workspace.has(directory, _manifest(manager)):
            continue
        project = _Project(workspace, directory, manager, declared, tests)
        yield from project.install()
        yield from project.test()
        yield from project.checks()
        yield from project.run()


def _manifest(manager: str) -> str:
    return "Pipfile" if manager == "pipenv" else "pyproject.toml"


class _Project:
    """One project seen through one manager."""

    def __init__(
        self, workspace: Workspace, directory: str, manager: str, declared: list[Declaration], tests: list[str]
    ) -> None:
        self.workspace = workspace
        self.directory = directory
        self.manager = manager
        self.declared = declared
        self.tests = tests
        self.manifest = join(directory, _manifest(manager))
        self.selection = self._select()

    # what is installed

    def _select(self) -> Selection:
        """The main dependencies, and the narrowest declared set that holds the test runner."""
        files = requirement_files(self.workspace, self.directory) if self.manager == "pip" else []
        main = tuple(name for name in files if name in _MAIN_FILES)[:1]
        groups = self._default_groups()
        base = Selection(main, (), groups)
        if not self.tests or any(_is_pytest(d.name) and base.holds(d) for d in self.declared):
            return base
        places = {Place.EXTRA, Place.GROUP}
        if self.manager == "pip":
            places |= {Place.FILE, Place.ENVIRONMENT}
        if self.manager in {"pipenv", "hatch"}:
            places = set()
        best: tuple[tuple[bool, int, str], Declaration] | None = None
        for declaration in self.declared:
            order = _group_order(declaration.group)
            if declaration.place in places and (_is_pytest(declaration.name) or order < len(_GROUP_ORDER)):
                key = (not _is_pytest(declaration.name), order, declaration.group)
                best = min(best, (key, declaration), key=lambda item: item[0]) if best else (key, declaration)
        if best is None:
            return base
        chosen = best[1]
        return Selection(
            (*main, chosen.group) if chosen.place is Place.FILE and chosen.group not in main else main,
            (chosen.group,) if chosen.place is Place.EXTRA else (),
            (*groups, chosen.group) if chosen.place in {Place.GROUP, Place.ENVIRONMENT} else groups,
        )

    def _default_groups(self) -> tuple[str, ...]:
        """Dependency groups that the manager installs without being asked."""
        data = self.workspace.toml(join(self.directory, "pyproject.toml"))
        if self.manager == "uv":
            named = table(data, "tool", "uv").get("default-groups")
            return tuple(strings(named)) if named is not None and named != "all" else ("dev",)
        if self.manager == "poetry":
            groups = table(data, "tool", "poetry", "group")
            wanted = [name for name in groups if table(groups, name).get("optional") is not True]
            return ("dev", *(name for name in wanted if name != "dev"))
        if self.manager == "pdm":
            named_groups = {d.group for d in self.declared if d.place is Place.GROUP}
            return tuple(sorted(named_groups))
        return {"pipenv": ("dev",), "hatch": (HATCH_ENVIRONMENT,)}.get(self.manager, ())

    def install(self) -> Iterator[Candidate]:
        """INSTALL, if there is anything to install."""
        argv, evidence = self._pip_install() if self.manager == "pip" else self._managed_install()
        if argv:
            source = Source.CONFIGURATION if self.manager == "pip" else Source.DEFAULT
            yield self._step(StepKind.INSTALL, argv, evidence, source)

    def _managed_install(self) -> tuple[list[str], list[Evidence]]:
        evidence = [Evidence(self.manifest, 0, "manifest", 0.85)]
        extra = [name for name in self.selection.groups if name not in self._default_groups()]
        evidence += [
            d.evidence(self.workspace, 0.7) for d in self.declared if _is_pytest(d.name) and self.selection.holds(d)
        ][:1]
        match self.manager:
            case "uv":
                options = [("--group", name) for name in extra] + [("--extra", name) for name in self.selection.extras]
                return ["uv", "sync", *(word for pair in options for word in pair)], evidence
            case "poetry":
                options = [("--with", name) for name in extra] + [("--extras", name) for name in self.selection.extras]
                return ["poetry", "install", *(word for pair in options for word in pair)], evidence
            case "pdm":
                return ["pdm", "install", *(word for name in self.selection.extras for word in ("-G", name))], evidence
            case "hatch":
                return ["hatch", "env", "create"], evidence
            case _:
                if self.workspace.has(self.directory, "Pipfile.lock"):
                    lock = Evidence(join(self.directory, "Pipfile.lock"), 0, "lock file", 0.9)
                    return ["pipenv", "sync", "--dev"], [lock]
                return ["pipenv", "install", "--dev"], evidence

    def _pip_install(self) -> tuple[list[str], list[Evidence]]:
        words: list[str] = []
        evidence: list[Evidence] = []
        hashed = editable = False
        for name in self.selection.files:
            path = join(self.directory, name)
            lines = self.workspace.requirements(path)
            if lines:
                words += ["-r", name]
                evidence.append(Evidence(path, 0, "requirements file", 0.85))
            hashed = hashed or any(line.hashed for line in lines)
            editable = editable or any(_is_self(line.option, line.argument) for line in lines)
        for name in self.selection.groups:
            words += self._group_words(name)
            first = next((d for d in self.declared if d.group == name), None)
            evidence += [first.evidence(self.workspace, 0.7)] if first else []
        if not hashed and self._lacks_pytest():
            words.append("pytest")
            evidence.append(Evidence(self.tests[0], 0, "test file that needs pytest, which nothing declares", 0.4))
        # pip refuses an editable project beside hashed requirements in one call.
        if installable(self.workspace, self.directory) and not hashed and not editable:
            words += ["-e", f".[{','.join(self.selection.extras)}]" if self.selection.extras else "."]
            path = (
                self.manifest
                if self.workspace.has(self.directory, "pyproject.toml")
                else join(self.directory, "setup.py")
            )
            evidence.append(Evidence(path, 0, "installable project", 0.8))
        return (["python", "-m", "pip", "install", *words] if words else []), evidence

    def _group_words(self, group: str) -> list[str]:
        """What makes pip install a group: its requirements, since pip has ``--group`` only from 25.1 on."""
        found = [d.text for d in self.declared if d.place in {Place.GROUP, Place.ENVIRONMENT} and d.group == group]
        return list(dict.fromkeys(found)) if len(found) <= MAX_GROUP_REQUIREMENTS else ["--group", group]

    def _lacks_pytest(self) -> bool:
        """Whether the tests are pytest's and nothing that is installed brings it."""
        brought = any(_is_pytest(d.name) and self.selection.holds(d) for d in self.declared)
        return bool(self.tests) and not brought and bool(self._pytest_evidence())

    # tests

    def test(self) -> Iterator[Candidate]:
        """TEST, if there is any test file."""
        if not self.tests:
            return
        pytest = self._pytest_evidence()
        if pytest:
            source = Source.FILES if all(e.signal.startswith("test file") for e in pytest) else Source.CONFIGURATION
            yield self._step(StepKind.TEST, self._tool("pytest"), pytest, source)
            self._warn_undeclared(pytest)
        elif self.workspace.has(self.directory, "manage.py") and any(d.name == "django" for d in self.declared):
            evidence = [Evidence(join(self.directory, "manage.py"), 0, "manage.py of Django", 0.75)]
            yield self._step(
                StepKind.TEST, [*self._prefix(), "python", "manage.py", "test"], evidence, Source.CONFIGURATION
            )
        else:
            evidence = [Evidence(self.tests[0], 0, "test file without a sign of pytest", 0.6)]
            yield self._step(
                StepKind.TEST, [*self._module("unittest"), "discover", *self._start()], evidence, Source.FILES
            )

    def _pytest_evidence(self) -> list[Evidence]:
        """What speaks for pytest; the test files are read only when nothing declared does."""
        work, here = self.workspace, self.directory
        found = []
        pyproject = join(here, "pyproject.toml")
        if table(work.toml(pyproject), "tool", "pytest"):
            found.append(work.evidence(pyproject, "[tool.pytest]", 0.85, "[tool.pytest"))
        for name, section in (("tox.ini", "pytest"), ("setup.cfg", "tool:pytest")):
            if section in work.ini(join(here, name)):
                found.append(work.evidence(join(here, name), f"[{section}]", 0.85, f"[{section}]"))
        found += [Evidence(join(here, n), 0, n, 0.85) for n in ("pytest.ini", ".pytest.ini") if work.has(here, n)]
        declared = [d for d in self.declared if _is_pytest(d.name)]
        found += [d.evidence(work, 0.8) for d in sorted(declared, key=lambda d: d.name != "pytest")[:1]]
        found += self._tox_evidence()
        directories = sorted({path.rpartition("/")[0] or "." for path in self.tests} | {here})
        found += [
            Evidence(join(d, "conftest.py"), 0, "conftest.py", 0.8) for d in directories if work.has(d, "conftest.py")
        ][:1]
        return found or self._sniffed()

    def _tox_evidence(self) -> list[Evidence]:
        path = join(self.directory, "tox.ini")
        for section, options in self.workspace.ini(path).items():
            words = options.get("commands", "").split()
            if section.startswith("testenv") and ("pytest" in words or "py.test" in words):
                return [self.workspace.evidence(path, f"pytest in [{section}]", 0.75, f"[{section}]", "commands")]
        return []

    def _sniffed(self) -> list[Evidence]:
        for path in self.tests[:MAX_SNIFFED_FILES]:
            if not _PYTEST_FILE.match(path.rpartition("/")[2]):
                continue
            text = self.workspace.text(path)
            for pattern, signal in (
                (_PYTEST_IMPORT, "imports pytest"),
                (_TEST_FUNCTION, "has a test function without a class"),
            ):
                if match := pattern.search(text):
                    return [Evidence(path, text.count("\n", 0, match.start()) + 1, f"test file {signal}", 0.75)]
        return []

    def _warn_undeclared(self, evidence: list[Evidence]) -> None:
        if not any(_is_pytest(d.name) and (self.selection.holds(d) or self.manager != "pip") for d in self.declared):
            self.workspace.warn(
                "TEST_RUNNER_NOT_DECLARED",
                f"{evidence[0].path} speaks for pytest, but no dependency of {self.directory!r} brings "
                "it; add pytest to the project's test dependencies.",
                evidence[0].path,
            )

    def _start(self) -> list[str]:
        """Options that make unittest find the tests: it enters packages only, and looks for ``test*.py`` only."""
        inner = [path if self.directory == "." else path.removeprefix(f"{self.directory}/") for path in self.tests]
        standard = [path for path in inner if path.rpartition("/")[2].startswith("test")]
        options = [] if standard else ["-p", "*_test.py"]
        first = min(standard or inner, key=lambda path: (path.count("/"), path))
        start = first.rpartition("/")[0]
        parts = start.split("/") if start else []
        steps = ["/".join(parts[: n + 1]) for n in range(len(parts))]
        packages = all(self.workspace.has(join(self.directory, step), "__init__.py") for step in steps)
        return options if packages else ["-s", start, *options]

    # checks

    def checks(self) -> Iterator[Candidate]:
        """LINT, TYPECHECK and FORMAT with tools that the project declares, so that INSTALL brings them."""
        work, here = self.workspace, self.directory
        tools = table(work.toml(join(here, "pyproject.toml")), "tool")
        installed = {d.name: d for d in reversed(self.declared) if self.selection.holds(d)}
        rules: list[tuple[str, StepKind, list[str]]] = [
            ("ruff", StepKind.LINT, ["check", "."]),
            ("flake8", StepKind.LINT, ["."]),
            ("mypy", StepKind.TYPECHECK, [] if _mypy_knows_files(tools, work.ini(join(here, "mypy.ini"))) else ["."]),
            ("pyright", StepKind.TYPECHECK, []),
            ("black", StepKind.FORMAT, ["--check", "."]),
        ]
        if "format" in table(tools, "ruff") or "black" not in installed:
            rules.append(("ruff", StepKind.FORMAT, ["format", "--check", "."]))
        configured = {name for name in ("ruff", "mypy", "pyright", "black") if isinstance(tools.get(name), dict)}
        files = {"ruff": ("ruff.toml", ".ruff.toml"), "flake8": (".flake8",), "mypy": ("mypy.ini", ".mypy.ini")}
        configured |= {name for name, paths in files.items() if any(work.has(here, path) for path in paths)}
        for name, kind, arguments in rules:
            if name in installed:
                weight = 0.75 if name in configured else 0.5
                weight = weight - 0.15 if kind is StepKind.FORMAT and name == "ruff" else weight
                evidence = [installed[name].evidence(work, weight)]
                yield self._step(kind, [*self._tool(name), *arguments], evidence, Source.CONFIGURATION)
        if not {"ruff", "flake8", "pylint"} & installed.keys():
            yield from self._hooks()

    def _hooks(self) -> Iterator[Candidate]:
        """LINT through pre-commit, whose hooks bring their own tools, so that only pre-commit itself must be there."""
        path = join(self.directory, ".pre-commit-config.yaml")
        if match := _LINT_HOOK.search(self.workspace.text(path)):
            line = self.workspace.text(path).count("\n", 0, match.start()) + 1
            evidence = [Evidence(path, line, "hook that lints", 0.45)]
            yield self._step(StepKind.LINT, ["pre-commit", "run", "--all-files"], evidence, Source.DEFAULT)

    # the program

    def run(self) -> Iterator[Candidate]:
        """RUN: a script that the project installs, Django's server, or a package that can be run as a module."""
        work, here = self.workspace, self.directory
        data = work.toml(join(here, "pyproject.toml"))
        scripts = [*table(data, "project", "scripts"), *table(data, "tool", "poetry", "scripts")]
        if scripts:
            evidence = [work.evidence(self.manifest, f"script {scripts[0]}", 0.6, "[project.scripts]")]
            yield self._step(StepKind.RUN, [*self._prefix(), scripts[0]], evidence, Source.CONFIGURATION)
        elif work.has(here, "manage.py") and any(d.name == "django" for d in self.declared):
            evidence = [Evidence(join(here, "manage.py"), 0, "manage.py of Django", 0.7)]
            argv = [*self._prefix(), "python", "manage.py", "runserver"]
            yield self._step(StepKind.RUN, argv, evidence, Source.CONFIGURATION)
        else:
            yield from self._main_module()

    def _main_module(self) -> Iterator[Candidate]:
        """``python -m PACKAGE`` for the only package with a ``__main__.py``; ``python main.py`` for such a file."""
        work, here = self.workspace, self.directory
        places = {join(here, part) if part != "." else here for part in (".", "src")}
        mains = [d for d in work.directories_with("__main__.py") if (d.rpartition("/")[0] or ".") in places]
        if len(mains) == 1:
            evidence = [Evidence(join(mains[0], "__main__.py"), 0, "__main__.py", 0.5)]
            yield self._step(StepKind.RUN, self._module(mains[0].rpartition("/")[2]), evidence, Source.FILES)
        for name in [name for name in ("main.py", "app.py") if work.has(here, name)][:1]:
            evidence = [Evidence(join(here, name), 0, name, 0.45)]
            yield self._step(StepKind.RUN, [*self._prefix(), "python", name], evidence, Source.DEFAULT)

    # words

    def _prefix(self) -> tuple[str, ...]:
        return self.workspace.registry.ecosystems[ECOSYSTEM].managers[self.manager]["tool"]

    def _module(self, name: str) -> list[str]:
        return [*self.workspace.registry.ecosystems[ECOSYSTEM].managers[self.manager]["module"], name]

    def _tool(self, name: str) -> list[str]:
        """A tool of the environment: as a program under a manager, as a module of the active Python under pip."""
        return [*self._prefix(), name] if self._prefix() else self._module(name)

    def _step(self, kind: StepKind, argv: Iterable[str], evidence: list[Evidence], source: Source) -> Candidate:
        return Candidate(
            self.directory,
            ECOSYSTEM,
            tuple(evidence),
            kind=kind,
            command=Command.of(*argv, cwd=self.directory),
            only_with=(self.manager,),
            source=source,
        )


def _is_pytest(name: str) -> bool:
    return name == "pytest" or name.startswith("pytest-")


def _is_self(option: str, argument: str) -> bool:
    """Whether a requirements line installs the project itself."""
    return option in {"-e", "url"} and (argument == "." or argument.startswith((".[", "./[")) or argument == "./")


def _group_order(group: str) -> int:
    """The first place in :data:`_GROUP_ORDER` of a word of the name; its length if there is none."""
    words = re.split(r"[^a-z]+", group.lower())
    return min((_GROUP_ORDER.index(word) for word in words if word in _GROUP_ORDER), default=len(_GROUP_ORDER))


def _mypy_knows_files(tools: dict[str, object], ini: dict[str, dict[str, str]]) -> bool:
    keys = {"files", "packages", "modules"}
    own = table(tools, "mypy")
    return any(own.get(key) or listing(own.get(key)) for key in keys) or bool(ini.get("mypy", {}).keys() & keys)
