"""Sessions of noxfile.py, read from its syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from ..workspace import Workspace, join
from .model import MAX_TASKS, Task, bodies, first_line, unique
from .text import command_line

__all__ = ["read_nox"]

MAX_DEPTH = 4
"""Functions of the file that a session calls with itself, and functions those call, that are followed."""

MAX_CALLS = 2_000
"""Calls at most that are looked at in one file; the largest file surveyed makes 150."""

_RUNS = frozenset({"run", "run_always", "run_install"})

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def read_nox(workspace: Workspace, directory: str) -> Iterator[Task]:
    """One task per session, and one for ``nox`` alone with the default sessions."""
    path = join(directory, "noxfile.py")
    reader = _Reader(workspace.python(path))
    tasks: list[Task] = []
    defaults: list[str] = []
    for function in reader.functions.values():
        options = _session(function)
        if options is None or len(tasks) == MAX_TASKS:
            continue
        name = str(reader.literal(options.get("name")) or function.name)
        if reader.literal(options.get("default")) is not False:
            defaults.append(name)
        lines, needs = reader.runs(function)
        needs = [str(need) for need in (*_listing(reader.literal(options.get("requires"))), *needs)]
        description = first_line(ast.get_docstring(function) or "")
        argv = ("nox", "-s", name)
        tasks.append(
            Task("nox", name, path, function.lineno, directory, argv, bodies(lines), unique(needs, name), description)
        )
    chosen = [name for name in reader.sessions if any(task.name == name for task in tasks)] or defaults
    if tasks:
        yield Task("nox", "", path, 1, directory, ("nox",), needs=unique(chosen))
    yield from tasks


def _session(function: _Function) -> dict[str, ast.expr] | None:
    """Keyword arguments of ``@nox.session``; None for another function."""
    for decorator in function.decorator_list:
        call = decorator.func if isinstance(decorator, ast.Call) else decorator
        name = call.attr if isinstance(call, ast.Attribute) else call.id if isinstance(call, ast.Name) else ""
        if name in {"session", "nox_session"}:
            keywords = decorator.keywords if isinstance(decorator, ast.Call) else []
            return {keyword.arg: keyword.value for keyword in keywords if keyword.arg}
    return None


def _listing(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else []


class _Reader:
    def __init__(self, module: ast.Module) -> None:
        self.functions: dict[str, _Function] = {}
        self.sessions: list[str] = []
        self._constants: dict[str, ast.expr] = {}
        self._left = MAX_CALLS
        self._known: dict[_Function, list[ast.Call]] = {}
        for node in module.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                self.functions[node.name] = node
            elif isinstance(node, ast.Assign):
                self._assign(node)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
                self._constants[node.target.id] = node.value

    def _assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            if isinstance(target, ast.Name):
                self._constants[target.id] = node.value
            elif isinstance(target, ast.Attribute) and target.attr == "sessions":
                self.sessions = [str(name) for name in _listing(self.literal(node.value))]

    def literal(self, node: ast.expr | None) -> object:
        """The value of a literal or of a constant of the module; None where it cannot be told."""
        node = self._constants.get(node.id, node) if isinstance(node, ast.Name) else node
        try:
            return None if node is None else ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return None

    def runs(self, function: _Function, depth: int = 0) -> tuple[list[str], list[str]]:
        """Command lines that a session runs, and sessions that it notifies, in the order of the file."""
        lines: list[str] = []
        needs: list[str] = []
        session = function.args.args[0].arg if function.args.args else ""
        directory = ""
        for call in self._calls(function):
            self._left -= 1
            if self._left < 0:
                break
            target = call.func
            if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == session:
                if target.attr in _RUNS and (line := self._command(call)):
                    lines.append(f"cd {directory} && {line}" if directory else line)
                elif target.attr in {"chdir", "cd"} and call.args:
                    directory = str(self.literal(call.args[0]) or "${_}")
                elif target.attr == "notify" and call.args:
                    needs.append(str(self.literal(call.args[0]) or ""))
            elif depth < MAX_DEPTH and (called := self._called(target, call.args, session)):
                more, others = self.runs(called, depth + 1)
                lines += more
                needs += others
        return lines, needs

    def _calls(self, function: _Function) -> list[ast.Call]:
        """Calls within a function in the order of the text."""
        if function not in self._known:
            found = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
            self._known[function] = sorted(found, key=lambda call: (call.lineno, call.col_offset))
        return self._known[function]

    def _called(self, target: ast.expr, arguments: list[ast.expr], session: str) -> _Function | None:
        """The function of the file that a call hands the session to."""
        given = any(isinstance(word, ast.Name) and word.id == session for word in arguments)
        return self.functions.get(target.id) if given and isinstance(target, ast.Name) else None

    def _command(self, call: ast.Call) -> str:
        words: list[str] = []
        for node in call.args:
            if isinstance(node, ast.Starred):
                value = self.literal(node.value)
                words += [str(word) for word in _listing(value)]
            else:
                value = self.literal(node)
                words.append("${_}" if value is None else str(value))
        environment = next((keyword.value for keyword in call.keywords if keyword.arg == "env"), None)
        known = self.literal(environment)
        settings = known.items() if isinstance(known, Mapping) else ()
        return " ".join([*(f"{name}={command_line([value])}" for name, value in settings), command_line(words)])
