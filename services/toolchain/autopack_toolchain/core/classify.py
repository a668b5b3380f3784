"""What a simple command is for: its program decides, and a named task is followed into what it runs.

``make test`` is a use of pytest if that is what the target's recipe calls. Nothing is expanded and nothing is run; a
name such as ``test`` or ``lint`` speaks for a purpose where the body tells nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from posixpath import basename

from .model import StepKind
from .programs import Program, Programs
from .references import REFERENCES, Reference
from .shell import Simple, directory_of, simple_commands
from .tasks import Task
from .unwrap import Inner, plain_words, program_name, shifted, unwrapped
from .workspace import parents

__all__ = ["TOOL_ECOSYSTEMS", "Classifier", "Use", "is_part", "name_kinds", "words_of_name"]

MAX_DEPTH = 6
"""Tasks that call tasks are followed so deep; the deepest chain surveyed has four."""

MAX_COMMANDS = 200
"""Commands of one task that are looked at, calls followed."""

NAMED = 0.6
"""Weight of a purpose that only the name of a task or script tells."""

NAMED_BESIDE = 0.45
"""The same where its body tells other purposes."""

UNNAMED = 0.6
"""What is left of a body's weight where the task's name tells no purpose, as in ``make all``."""

CONTRADICTED = 0.3
"""The same where the name tells another purpose."""

_MODULE_ONLY = frozenset(
    {"build", "unittest", "nose", "tester", "lab", "standard", "tap", "vest", "dts", "ng", "trial"}
)
"""Names of programs that are also words: as the first word of a command with a path they are the repository's own."""

_INTERPRETERS = {
    "python": "python", "node": "node", "bash": "", "sh": "", "zsh": "", "dash": "", "ruby": "ruby", "php": "php",
    "perl": "perl", "tsx": "node", "ts-node": "node", "pwsh": "", "source": "", ".": "", "bun": "node",
}  # fmt: skip
_BINARY_DIRECTORIES = ("node_modules/.bin/", "vendor/bin/", ".venv/bin/", "venv/bin/", "bin/")
_INLINE = {
    "python": frozenset({"-c"}), "node": frozenset({"-e", "-p", "--eval", "--print", "-pe"}), "ruby": frozenset({"-e"}),
    "php": frozenset({"-r"}), "perl": frozenset({"-e", "-E"}), "": frozenset({"-c", "-ec", "-lc", "-Command"}),
}  # fmt: skip
"""Options of interpreters whose value is the program itself, by ecosystem."""
_INTERPRETER_VALUES = {
    "python": frozenset({"-W", "-X"}), "node": frozenset({"-r", "--require", "--import", "--loader"}),
    "ruby": frozenset({"-I", "-r", "-C", "-E"}), "php": frozenset({"-d", "-c"}), "perl": frozenset({"-I"}),
    "": frozenset({"-o", "-O"}),
}  # fmt: skip
"""Options of interpreters that take the next word, by ecosystem."""
_ABOUT_ITSELF = frozenset({"--version", "--help"})
"""Options with which a program only tells about itself."""
_PYTHON_ENVIRONMENT = re.compile(r"^(?:py|pypy|python)?-?\d*(?:$|[-.])")
"""Names of environments that are versions of Python run the tests: ``py311``, ``3.12``, ``py``."""
_PYTHON_FACTOR = re.compile(r"(?:py|pypy|python|cpython)?\d*(?:\.\d+)?t?$")
_WORDS = re.compile(r"[a-z0-9]+")
_FILE_SUFFIX = re.compile(r"\.(?:sh|bash|py|js|mjs|cjs|ts|rb|php|pl|ps1|exs)$")

TOOL_ECOSYSTEMS = {
    "npm-script": "node", "tox": "python", "nox": "python", "poe": "python", "hatch": "python", "pdm-script": "python",
    "composer": "php", "rake": "ruby", "mix": "elixir", "cargo-alias": "rust", "deno": "deno", "mage": "go",
    "invoke": "python", "pixi": "python", "workspace-script": "node",
}  # fmt: skip
_UPWARD = frozenset({"npm-script", "just", "task", "mise", "poe", "pdm-script", "hatch", "pixi", "rake", "cargo-alias"})
"""Tools that look for their file in the directories above as well."""


@dataclass(frozen=True, slots=True)
class Use:
    """One purpose of a command.

    Attributes:
        kind: the purpose.
        ecosystem: whose; empty = not told.
        runner: what runs in the end, for example ``"pytest"``; empty where only a name tells.
        weight: how clearly, 0 to 1.
        directory: where the runner works, relative to the root of the source.
        named: the task through which it was found, if any: the outermost one's name.
    """

    kind: StepKind
    ecosystem: str
    runner: str
    weight: float
    directory: str
    named: str = ""


def name_kinds(programs: Programs, name: str) -> frozenset[StepKind]:
    """The purposes that the words of a name speak for: ``lint:ci`` for LINT."""
    words = words_of_name(name)
    if not programs.about.isdisjoint(words):
        return frozenset()
    kinds = frozenset(programs.names[word] for word in words if word in programs.names)
    # "run" in run-tests only says that something is run, and "setup" in test-setup what it is for.
    return kinds - {StepKind.RUN, StepKind.INSTALL} if len(kinds) > 1 else kinds


def is_part(programs: Programs, name: str) -> bool:
    """Whether a name stands for a part of a purpose (``test:esm``), and not for all of it (``test``, ``lint:ci``)."""
    words = [word for word in words_of_name(name) if not _PYTHON_FACTOR.match(word)]
    known = [word for word in words if word in programs.names]
    return bool(known) and any(word not in programs.names and word not in programs.generic for word in words)


@lru_cache(maxsize=1024)  # names of jobs and paths of workflows are asked for at every command
def words_of_name(name: str) -> tuple[str, ...]:
    """The words of a name, in lower case."""
    return tuple(_WORDS.findall(_FILE_SUFFIX.sub("", name).lower()))


class Classifier:
    """Classifies commands of one repository; remembers what its tasks are for.

    Args:
        programs: what programs are for.
        tasks: the named tasks of the repository.
        script: the task that a script file is, by its path; for scripts outside the usual directories.
    """

    def __init__(
        self, programs: Programs, tasks: Iterable[Task], script: Callable[[str], Task | None] = lambda path: None
    ) -> None:
        self.programs = programs
        self._tasks: dict[tuple[str, str, str], Task] = {}
        self._scripts: dict[str, Task] = {}
        self._alike: dict[tuple[str, tuple[str, ...]], Task] = {}
        for task in tasks:
            self._tasks.setdefault((task.tool, task.directory, task.name), task)
            if task.tool == "tox" and task.name:
                self._alike.setdefault((task.directory, _factors(task.name)), task)
            if task.tool == "script":
                self._scripts.setdefault(task.path, task)
        self._script = script
        self._known: dict[Task, tuple[Use, ...]] = {}
        self._commands: dict[Task, tuple[tuple[str, ...], ...]] = {}
        self._parsed: dict[str, list[Simple]] = {}
        self._uses: dict[tuple[tuple[str, ...], str], tuple[Use, ...]] = {}
        self._inners: dict[tuple[tuple[str, ...], str], Inner] = {}

    def uses(self, argv: tuple[str, ...], directory: str, depth: int = MAX_DEPTH) -> tuple[Use, ...]:
        """The purposes of a command in a directory of the repository; none = it is for something else.

        Args:
            argv: the words of the command.
            directory: where it runs, relative to the root; ``"?"`` = not known.
            depth: how many tasks are followed.
        """
        key = (argv, directory)
        if depth == MAX_DEPTH and key in self._uses:
            return self._uses[key]
        inner = self._unwrapped(argv, directory)
        found = self._inner_uses(inner, depth) if inner.argv and inner.argv[-1] not in _ABOUT_ITSELF else ()
        told = tuple(use if use.ecosystem else replace(use, ecosystem=inner.ecosystem) for use in found)
        if depth == MAX_DEPTH:
            self._uses[key] = told
        return told

    def entry(self, argv: tuple[str, ...], directory: str, use: Use | None = None) -> str:
        """The heart of a command, under which its uses are counted: ``"make test"``, ``"pytest"``, ``"bin/test"``."""
        inner = self._unwrapped(argv, directory)
        references = self._references(inner)
        if references:
            return f"{references[0].tool} {references[0].name}".strip()
        runner = next((found.runner for found in ([use] if use else self.uses(argv, directory)) if found.runner), "")
        return runner or " ".join(inner.argv[:2])

    def task(self, argv: tuple[str, ...], directory: str) -> Task | None:
        """The task that a command calls, if it calls one that is defined."""
        inner = self._unwrapped(argv, directory)
        return next((task for ref in self._references(inner) if (task := self._find(ref, inner.directory))), None)

    def task_uses(self, task: Task, depth: int = MAX_DEPTH) -> tuple[Use, ...]:
        """The purposes of a task: those of its body, weighed by its name."""
        if task not in self._known:
            self._known[task] = ()  # a task that calls itself adds nothing
            self._known[task] = self._weigh(task, list(self._body_uses(task, depth)) if depth else [])
        return self._known[task]

    def commands(self, task: Task, depth: int = MAX_DEPTH) -> tuple[tuple[str, ...], ...]:
        """The simple commands that a task runs, those of the tasks that it needs or calls included."""
        if task not in self._commands:
            self._commands[task] = ()  # a task that calls itself adds nothing
            self._commands[task] = tuple(islice(self._run(task, depth), MAX_COMMANDS))
        return self._commands[task]

    def _run(self, task: Task, depth: int) -> Iterator[tuple[str, ...]]:
        for name in task.needs if depth else ():
            needed = self._tasks.get((task.tool, task.directory, name))
            if needed is not None:
                yield from self.commands(needed, depth - 1)
        for body in task.bodies:
            for command in self.parse(body):
                place = directory_of(task.directory, command.cwd)
                called = self.task(command.argv, place) if command.argv and depth else None
                if called is not None:
                    yield from self.commands(called, depth - 1)
                elif command.argv:
                    yield command.argv

    def parse(self, body: str) -> list[Simple]:
        """The simple commands of a shell text; each text is read once, as CI files repeat many."""
        if body not in self._parsed:
            self._parsed[body] = simple_commands(body)
        return self._parsed[body]

    # inside

    def _unwrapped(self, argv: tuple[str, ...], directory: str) -> Inner:
        key = (argv, directory)
        if key not in self._inners:
            self._inners[key] = unwrapped(self.programs, argv, directory)
        return self._inners[key]

    def _inner_uses(self, inner: Inner, depth: int) -> tuple[Use, ...]:
        references = self._references(inner)
        found: list[Use] = []
        for reference in references:
            task = self._find(reference, inner.directory)
            if task is not None:
                uses = self.task_uses(task, depth - 1) if depth else ()
                found += [replace(use, named=task.name) for use in uses]
            elif reference.certain:
                ecosystem = TOOL_ECOSYSTEMS.get(reference.tool, "")
                kinds = sorted(name_kinds(self.programs, reference.name), key=lambda kind: kind.value)
                found += [Use(kind, ecosystem, "", NAMED, inner.directory, reference.name) for kind in kinds]
        if found:
            return tuple(found)
        return self._program_uses(inner) or self._bare_uses(inner, depth) or self._script_uses(inner, depth)

    def _bare_uses(self, inner: Inner, depth: int) -> tuple[Use, ...]:
        """``yarn jest``, ``pnpm vitest``: a program of the project, called without ``exec``."""
        program = self._program(inner.argv[0])
        if program is None or program.name not in {"yarn", "pnpm"} or not depth:
            return ()
        words, shift = plain_words(program, inner.argv[1:])
        if not words or words[0] == program.name:
            return ()
        place = inner.argv.index(words[0], 1)
        return self.uses(inner.argv[place:], shifted(inner.directory, shift), depth - 1)

    def _references(self, inner: Inner) -> list[Reference]:
        if not inner.argv:
            return []
        name = program_name(inner.argv[0])
        found: list[Reference] = []
        if (reader := REFERENCES.get(name)) is not None:
            program = self.programs.programs.get(name)
            words = plain_words(program, inner.argv[1:])[0] if program else [w for w in inner.argv[1:] if w[:1] != "-"]
            found = list(reader(words, inner.argv[1:]))
        wrapped = {"hatch": "hatch", "pdm": "pdm-script", "pixi": "pixi"}.get(inner.wrapper[0] if inner.wrapper else "")
        if wrapped:
            found.append(Reference(wrapped, inner.argv[0], certain=False))
        return [r for r in found if r.certain or self._find(r, self._at(inner)) is not None]

    def _at(self, inner: Inner) -> str:
        program = self._program(inner.argv[0])
        return shifted(inner.directory, plain_words(program, inner.argv[1:])[1] if program else "")

    def _find(self, reference: Reference, directory: str) -> Task | None:
        if directory == "?":
            return None
        above = parents(directory) if reference.tool in _UPWARD else ()
        for place in (directory, *above):
            if task := self._tasks.get((reference.tool, place, reference.name)):
                return task
        if reference.tool == "tox" and (_is_python(reference.name) or "-" in reference.name):
            alike = self._alike.get((directory, _factors(reference.name)))
            if alike is None and _is_python(reference.name):
                return self._tasks.get(("tox", directory, "py"))  # any version runs [testenv], listed or not
            return alike
        return None

    def _script_uses(self, inner: Inner, depth: int) -> tuple[Use, ...]:
        """A script of the repository: its body, else its name and its first words."""
        program = program_name(inner.argv[0])
        interpreted = program in _INTERPRETERS and "/" not in inner.argv[0]
        words = _script_words(_INTERPRETERS[program], inner.argv) if interpreted else _without_options(inner.argv)
        if not words or not (interpreted or ("/" in inner.argv[0] and not self._is_binary(inner.argv[0]))):
            return ()
        if interpreted and (known := self._program(words[0])):
            return self._rules(known, tuple(words), inner)
        path = shifted(inner.directory, words[0])
        task = self._scripts.get(path) or self._script(path)
        uses = self.task_uses(task, depth - 1) if task and depth else ()
        named = " ".join([basename(words[0]), *(word for word in words[1:3] if " " not in word)])
        kinds = name_kinds(self.programs, named)
        ecosystem = _INTERPRETERS.get(program, "") if interpreted else ""
        known_kinds = {use.kind for use in uses}
        hinted = [
            Use(kind, ecosystem, "", NAMED if "/" in words[0] or interpreted else NAMED / 2, inner.directory)
            for kind in sorted(kinds - known_kinds, key=lambda kind: kind.value)
        ]
        return tuple(replace(use, named=basename(words[0])) for use in (*uses, *hinted))

    def _is_binary(self, word: str) -> bool:
        """Whether a path names an installed program or a wrapper, not a script of the repository's own."""
        return basename(word) in self.programs.programs and basename(word) not in _MODULE_ONLY

    def _program(self, word: str) -> Program | None:
        name = program_name(word)
        if name in _MODULE_ONLY and "/" in word and not word.startswith(_BINARY_DIRECTORIES):
            return None
        return self.programs.programs.get(name)

    def _program_uses(self, inner: Inner) -> tuple[Use, ...]:
        program = self._program(inner.argv[0])
        return self._rules(program, inner.argv, inner) if program else ()

    def _rules(self, program: Program, argv: tuple[str, ...], inner: Inner) -> tuple[Use, ...]:
        words, shift = plain_words(program, argv[1:])
        given = {*argv[1:], *(word.partition("=")[0] for word in argv[1:]), *words}
        directory = shifted(inner.directory, shift)
        found: dict[StepKind, Use] = {}
        for rule in program.rules:
            if rule.kind in found or not _matches(rule.words, words, program.words_any):
                continue
            if (rule.any and rule.any.isdisjoint(given)) or not rule.none.isdisjoint(given):
                continue
            found[rule.kind] = Use(rule.kind, program.ecosystem, _runner(program, rule.words), rule.weight, directory)
            if not program.words_any:
                break
        if not found and program.name in {"yarn"} and not words:
            found[StepKind.INSTALL] = Use(StepKind.INSTALL, program.ecosystem, "yarn", 0.9, directory)
        return tuple(found.values())

    def _body_uses(self, task: Task, depth: int) -> Iterator[Use]:
        for name in task.needs:
            needed = self._tasks.get((task.tool, task.directory, name))
            if needed is not None and needed != task:
                yield from self.task_uses(needed, depth - 1)
        for body in task.bodies:
            for command in self.parse(body):
                yield from self.uses(command.argv, directory_of(task.directory, command.cwd), depth - 1)

    def _weigh(self, task: Task, found: list[Use]) -> tuple[Use, ...]:
        hints = name_kinds(self.programs, task.name)
        if not hints and task.tool in {"tox", "nox"} and _is_python(task.name):
            hints = frozenset({StepKind.TEST})
        best: dict[tuple[StepKind, str], Use] = {}
        own = TOOL_ECOSYSTEMS.get(task.tool, "")
        for use in (use if use.ecosystem else replace(use, ecosystem=own) for use in found):
            factor = 1.0 if use.kind in hints else CONTRADICTED if hints else UNNAMED
            weighed = replace(use, weight=round(use.weight * factor, 4))
            key = (use.kind, use.ecosystem)
            if key not in best or weighed.weight > best[key].weight:
                best[key] = weighed
        ecosystem = next((use.ecosystem for use in best.values() if use.ecosystem), TOOL_ECOSYSTEMS.get(task.tool, ""))
        for kind in sorted(hints - {use.kind for use in best.values()}, key=lambda kind: kind.value):
            weight = NAMED_BESIDE if best else NAMED
            best[kind, ecosystem] = Use(kind, ecosystem, "", weight, task.directory)
        return tuple(best.values())


def _is_python(name: str) -> bool:
    return _PYTHON_ENVIRONMENT.match(name) is not None


def _factors(name: str) -> tuple[str, ...]:
    """What an environment of tox is apart from its Python: ``("tests",)`` for ``py312-tests``."""
    return tuple(factor for factor in name.split("-") if not _PYTHON_FACTOR.match(factor))


def _without_options(argv: tuple[str, ...]) -> list[str]:
    return [word for word in argv if not word.startswith("-")]


def _script_words(ecosystem: str, argv: tuple[str, ...]) -> list[str]:
    """The script that an interpreter is given and the script's own words; none where the program stands inline."""
    position = 1
    while position < len(argv) and argv[position].startswith("-"):
        if argv[position] in _INLINE[ecosystem]:
            return []
        position += 2 if argv[position] in _INTERPRETER_VALUES.get(ecosystem, ()) else 1
    return _without_options(argv[position:])


def _matches(wanted: tuple[str, ...], words: list[str], anywhere: bool) -> bool:
    if not wanted:
        return True
    if anywhere:
        return any(wanted[0] in {word, word.rpartition(":")[2]} for word in words)
    return tuple(words[: len(wanted)]) == wanted


def _runner(program: Program, words: tuple[str, ...]) -> str:
    """Two programs in one, such as ``cargo test`` and ``cargo nextest``, are told apart by their first word."""
    if program.name in {"cargo", "go", "dotnet", "swift", "mix", "deno"} and words and program.runner == program.name:
        return f"{program.runner} {words[0]}"
    return program.runner
