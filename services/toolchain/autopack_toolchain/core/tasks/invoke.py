"""Tasks of invoke in tasks.py, read from its syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..workspace import Workspace, join
from .model import MAX_TASKS, Task, bodies, first_line, unique

__all__ = ["read_invoke"]


def read_invoke(workspace: Workspace, directory: str) -> Iterator[Task]:
    """One task per function with ``@task``, and one for ``invoke`` alone where a task is the default."""
    path = join(directory, "tasks.py")
    if "invoke" not in workspace.text(path):
        return
    count = 0
    for node in workspace.python(path).body:
        decorator = _decorator(node) if isinstance(node, ast.FunctionDef) else None
        if not isinstance(node, ast.FunctionDef) or decorator is None or count >= MAX_TASKS:
            continue
        count += 1
        call = decorator if isinstance(decorator, ast.Call) else ast.Call(decorator, [], [])
        options = {keyword.arg: keyword.value for keyword in call.keywords}
        given = options.get("name")
        name = str(given.value) if isinstance(given, ast.Constant) else _dashed(node.name)
        needs = [*_functions(ast.Tuple(call.args)), *_functions(options.get("pre")), *_functions(options.get("post"))]
        arguments = node.args.args
        yield Task(
            "invoke",
            name,
            path,
            node.lineno,
            directory,
            ("invoke", name),
            bodies(_runs(node)),
            unique(needs, name),
            first_line(ast.get_docstring(node) or ""),
            tuple(argument.arg for argument in arguments[1 : len(arguments) - len(node.args.defaults)]),
        )
        default = options.get("default")
        if isinstance(default, ast.Constant) and default.value is True:
            yield Task("invoke", "", path, node.lineno, directory, ("invoke",), needs=(name,))


def _decorator(function: ast.FunctionDef) -> ast.expr | None:
    for decorator in function.decorator_list:
        target = decorator.func if isinstance(decorator, ast.Call) else decorator
        if (target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")) == "task":
            return decorator
    return None


def _dashed(name: str) -> str:
    """How invoke names a function on the command line."""
    return name.strip("_").replace("_", "-")


def _functions(node: ast.expr | None) -> Iterator[str]:
    for item in node.elts if isinstance(node, ast.List | ast.Tuple) else [node] if node else []:
        if isinstance(item, ast.Name):
            yield _dashed(item.id)


def _runs(function: ast.FunctionDef) -> Iterator[str]:
    """Texts of ``c.run("...")`` and ``c.sudo("...")`` in the order of the file; unknown parts are ``${_}``."""
    calls = [node for node in ast.walk(function) if isinstance(node, ast.Call) and node.args]
    for call in sorted(calls, key=lambda call: (call.lineno, call.col_offset)):
        if isinstance(call.func, ast.Attribute) and call.func.attr == "run":
            yield _text(call.args[0])


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) if isinstance(part, ast.Constant) else "${_}" for part in node.values)
    return "${_}"
