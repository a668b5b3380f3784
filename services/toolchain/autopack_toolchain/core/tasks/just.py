"""Recipes of a justfile, its imports and modules read too."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ..workspace import Workspace, join
from .model import MAX_BODY, MAX_TASKS, Task, bodies, readable, unique, within
from .text import MAX_FILES, is_shell, joined

__all__ = ["JUSTFILES", "read_just"]

JUSTFILES = ("justfile", ".justfile", "Justfile", "JUSTFILE")
"""Names that ``just`` looks for (it ignores case; these are the ones that are in use)."""

MAX_PARTS = 20
"""Parts at most that one value is joined of."""

MAX_VALUE = 1_000
"""Characters at most of a value that is joined: values made of each other would double at each line."""

_ASSIGNMENT = re.compile(r"^(?:export[ \t]+)?([A-Za-z_][\w-]*)[ \t]*:=[ \t]*(.*)$")
_ALIAS = re.compile(r"^alias[ \t]+([A-Za-z_][\w-]*)[ \t]*:=[ \t]*([A-Za-z_][\w:-]*)")
_IMPORT = re.compile(r"""^import\??[ \t]+['"]([^'"]+)['"]""")
_MODULE = re.compile(r"""^mod\??[ \t]+([A-Za-z_][\w-]*)(?:[ \t]+['"]([^'"]+)['"])?""")
_HEADER = re.compile(r"^@?([A-Za-z_][\w-]*)(.*)$")
_NAME = re.compile(r"[A-Za-z_][\w-]*(?:::[A-Za-z_][\w-]*)*")
_PARAMETER = re.compile(r"""([*+]?)\$?([A-Za-z_][\w-]*)(?:[ \t]*=[ \t]*('[^']*'|"[^"]*"|[^\s]+))?""")
_STRING = re.compile(r"""^(?:'([^']*)'|"([^"]*)")$""")
_FALLBACK = re.compile(r"""^(?:env|env_var_or_default)\([^,()]*,[ \t]*(?:'([^']*)'|"([^"]*)")[ \t]*\)$""")
_OTHER_SYSTEMS = frozenset({"windows", "macos", "openbsd"})
_DIRECTORY = re.compile(r"""working-directory[ \t]*[:(][ \t]*['"]([^'"]+)['"]""")
_DOC = re.compile(r"""doc\([ \t]*['"]([^'"]*)['"]""")


@dataclass(slots=True)
class _Recipe:
    path: str
    line: int
    parameters: dict[str, str]
    required: tuple[str, ...]
    needs: tuple[str, ...]
    description: str = ""
    directory: str = ""
    lines: list[str] = field(default_factory=list)


def read_just(workspace: Workspace, directory: str) -> Iterator[Task]:
    """One task per recipe and alias, ``module::recipe`` for those of modules, and one for ``just`` alone."""
    name = next(name for name in JUSTFILES if name in workspace.names(directory))
    files = _Files(workspace)
    found = list(_read(files, directory, join(directory, name), ""))
    first = next((task for task in found if "::" not in task.name), None)
    if first is not None:
        yield Task("just", "", first.path, first.line, directory, ("just",), needs=(first.name,))
    yield from found[:MAX_TASKS]


class _Files:
    """The files of one justfile, each read once, so that imports in a circle end."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._seen: set[str] = set()

    def lines(self, path: str) -> list[str]:
        """The lines of a file that was not read before; none of one that was, or is one too many."""
        if path in self._seen or len(self._seen) >= MAX_FILES or not readable(self.workspace, path):
            return []
        self._seen.add(path)
        return self.workspace.lines(path)


def _read(files: _Files, directory: str, path: str, prefix: str) -> Iterator[Task]:
    """Tasks of one justfile; ``prefix`` is its module's path with a trailing ``::``."""
    reader = _Reader(files)
    reader.read(path)
    home = path.rpartition("/")[0] or "."
    inner = posixpath.relpath(home, directory) if prefix else ""
    for name, recipe in reader.recipes.items():
        known = {**reader.variables, **recipe.parameters}
        lines = within(posixpath.join(inner, recipe.directory), _bodies(recipe.lines, known))
        needs = unique((prefix + need for need in recipe.needs), prefix + name)
        yield _task(directory, prefix + name, recipe, bodies(lines), needs)
    for alias, target in reader.aliases.items():
        if target in reader.recipes:
            yield _task(directory, prefix + alias, reader.recipes[target], (), (prefix + target,))
    for module, place in reader.modules.items():
        if found := _module_file(files.workspace, home, module, place):
            yield from _read(files, directory, found, f"{prefix}{module}::")


def _task(directory: str, name: str, recipe: _Recipe, lines: tuple[str, ...], needs: tuple[str, ...]) -> Task:
    argv = ("just", name)
    return Task(
        "just", name, recipe.path, recipe.line, directory, argv, lines, needs, recipe.description, recipe.required
    )


def _module_file(workspace: Workspace, home: str, module: str, place: str) -> str:
    """The file of ``mod NAME 'PLACE'``: named, or one of those that ``just`` looks for; empty if it is not there."""
    if place:
        base = posixpath.normpath(posixpath.join(home, place))
        options = [base, *(join(base, name) for name in ("mod.just", *JUSTFILES))]
    else:
        options = [join(home, f"{module}.just"), *(join(home, f"{module}/{n}") for n in ("mod.just", *JUSTFILES))]
    return next((option for option in options if workspace.has(".", option)), "")


class _Reader:
    """Reads one justfile with its imports, which share its names."""

    def __init__(self, files: _Files) -> None:
        self.recipes: dict[str, _Recipe] = {}
        self.variables: dict[str, str] = {}
        self.aliases: dict[str, str] = {}
        self.modules: dict[str, str] = {}
        self._files = files
        self._attributes = self._comment = ""
        self._current: _Recipe | None = None

    def read(self, path: str) -> None:
        for number, line in joined(self._files.lines(path)):
            if line[:1] in {" ", "\t"} or not line:
                if self._current is not None:
                    self._current.lines.append(line)
                continue
            self._current = None
            self._statement(path, number, line)
            if not line.startswith(("#", "[")):
                self._attributes = self._comment = ""

    def _statement(self, path: str, number: int, line: str) -> None:
        if line.startswith("#"):
            self._comment = line.lstrip("#! ")
        elif line.startswith("["):
            self._attributes += line
        elif match := _ALIAS.match(line):
            self.aliases[match[1]] = match[2]
        elif match := _ASSIGNMENT.match(line):
            self.variables[match[1]] = _value(match[2].strip(), self.variables)
        elif match := _IMPORT.match(line):
            self.read(posixpath.normpath(posixpath.join(path.rpartition("/")[0], match[1])))
        elif match := _MODULE.match(line):
            self.modules[match[1]] = match[2] or ""
        elif not line.startswith("set "):
            self._recipe(path, number, line)

    def _recipe(self, path: str, number: int, line: str) -> None:
        head, rest = _split(line)
        match = _HEADER.match(head)
        words = set(_NAME.findall(self._attributes))
        other_system = not words.isdisjoint(_OTHER_SYSTEMS) and words.isdisjoint({"linux", "unix"})
        if match is None or rest is None or (other_system and match[1] in self.recipes):
            return
        directory = _DIRECTORY.search(self._attributes)
        doc = _DOC.search(self._attributes)
        parameters = _PARAMETER.findall(match[2])
        self._current = _Recipe(
            path,
            number,
            {name: _default(many, name, value, self.variables) for many, name, value in parameters},
            tuple(name for many, name, value in parameters if not value and many != "*"),
            _needs(rest),
            doc[1] if doc else self._comment,
            directory[1] if directory else "",
        )
        if len(self.recipes) < MAX_TASKS:
            self.recipes[match[1]] = self._current


def _split(line: str) -> tuple[str, str | None]:
    """Before and after the colon that ends a recipe's name and parameters, outside of quotes and brackets."""
    quote, level = "", 0
    for at, character in enumerate(line):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"`":
            quote = character
        elif character == ":" and not level:
            return line[:at], line[at + 1 :]
        else:
            level += (character == "(") - (character == ")")
    return line, None


def _needs(text: str) -> tuple[str, ...]:
    """Recipes of ``a b (c "x") && d``; the arguments are left out."""
    found: list[str] = []
    level, fresh = 0, True
    for word in re.findall(r"""'[^']*'|"[^"]*"|[()]|&&|#.*|[^\s()'"#]+""", text):
        if word.startswith("#"):
            break
        if word == "(":
            level, fresh = level + 1, True
        elif word == ")":
            level = max(0, level - 1)
        elif word != "&&" and _NAME.fullmatch(word) and (not level or fresh):
            found.append(word)
            fresh = False
    return tuple(found)


def _default(many: str, name: str, value: str, known: Mapping[str, str]) -> str:
    """What stands for a parameter when the recipe is called without arguments."""
    return _value(value, known) if value else ("" if many == "*" else f"${{{name}}}")


def _value(expression: str, known: Mapping[str, str]) -> str:
    """A literal, a fallback of a variable of the environment, a command, or a joining of these; else ``${_}``."""
    parts = [part.strip() for part in expression.split(" + ", MAX_PARTS)]
    if len(parts) > 1:
        return "".join(_value(part, known) for part in parts)[:MAX_VALUE]
    if match := _STRING.match(expression) or _FALLBACK.match(expression):
        return match[1] or match[2] or ""
    if expression.startswith("`") and expression.endswith("`"):
        return f"$({expression.strip('`')})"
    if expression in {"justfile_directory()", "invocation_directory()", "source_directory()"}:
        return "."
    return known.get(expression, "${_}")


def _bodies(lines: list[str], known: Mapping[str, str]) -> Iterator[str]:
    """Shell lines of a recipe; one with a shebang is a single script, and no shell line in another language."""
    stripped = [line.strip() for line in lines]
    first = next((line for line in stripped if line), "")
    if first.startswith("#!"):
        if is_shell(first):
            yield _interpolated("\n".join(line for line in lines if line.strip()), known)
        return
    for line in stripped:
        command = line.lstrip("@-").strip()
        if command and not command.startswith("#"):
            yield _interpolated(command, known)


def _interpolated(text: str, known: Mapping[str, str]) -> str:
    """``{{name}}`` replaced by its value; what is not known is ``${_}``."""
    parts = text[:MAX_BODY].split("{{")
    found = [parts[0]]
    for part in parts[1:]:
        expression, closed, rest = part.partition("}}")
        found += [_value(expression.strip(), known), rest] if closed else ["{{", part]
    return "".join(found)[:MAX_BODY]
