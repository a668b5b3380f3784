"""The rules of the house as functions over a source tree; each returns what breaks it, one sentence each."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

SERVICES = ("toolchain", "hardening", "intention", "orchestrator", "telemetry")
SERVICE_PACKAGES = frozenset(f"autopack_{name}" for name in SERVICES)
SOURCE_ROOTS = ("kit", "services", "apps", "clients/python", "tools", "bench")
TREE_ROOTS = (*SOURCE_ROOTS, "tests")
MAX_LINES = 450
#: The supervisor is one file on purpose: it runs isolated, outside of any package, and imports nothing of ours.
ONE_FILE_PROGRAMS = frozenset({"services/orchestrator/autopack_orchestrator/adapters/supervisor/runner.py"})

#: Top-level modules that domain code must not know: transport, generated stubs, databases.
IMPURE = frozenset(
    {"grpc", "grpc_status", "grpc_health", "grpc_reflection", "google", "autopack_api", "autopack_client", "sqlalchemy",
     "sqlite3", "psycopg", "alembic"}
)  # fmt: skip
#: Of the kit, ``core/`` may use what has no input or output.
PURE_KIT = frozenset(
    f"autopack_kit.{name}"
    for name in ("errors", "commands", "identity", "paging", "globs", "pruning", "redaction", "safe_actions")
)
ENVIRONMENT = frozenset({"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"})
#: The files that may know the generated stubs, besides the apps and the client: a large convert.py may be split.
STUB_USERS = re.compile(r"service\.py|convert(_[a-z]+)?\.py")
ROOM_PLAN = ("__init__.py", "__main__.py", "py.typed", "service.py", "convert.py", "settings.py", "errors.py", "core")


def python_files(root: Path, *folders: str) -> Iterator[Path]:
    """Every Python file under ``folders`` of ``root``."""
    for folder in folders:
        yield from sorted((root / folder).rglob("*.py"))


def imports(path: Path) -> tuple[tuple[int, str], ...]:
    """(line, absolute module) of every import, wherever it stands; ``from a import b`` gives ``a`` and ``a.b``."""
    return _imports(path, path.read_text())


@functools.cache  # each rule asks for the same files again
def _imports(path: Path, text: str) -> tuple[tuple[int, str], ...]:
    return tuple(_walk_imports(path, text))


def _walk_imports(path: Path, text: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(text, str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(path, node)
            yield node.lineno, module
            for alias in node.names:
                yield node.lineno, f"{module}.{alias.name}"
        elif isinstance(node, ast.Call) and _is_dynamic_import(node):
            argument = node.args[0] if node.args else None
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                yield node.lineno, argument.value


def _absolute(path: Path, node: ast.ImportFrom) -> str:
    """The module of a ``from`` import, a relative one resolved by where its file stands."""
    if not node.level:
        return node.module or ""
    parts = path.parent.parts
    top = next((index for index, part in enumerate(parts) if part.startswith("autopack_")), len(parts) - 1)
    base = parts[top : len(parts) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def foreign_service_imports(root: Path) -> list[str]:
    """Services that import another service, and shared code that imports any."""
    found = []
    for path in python_files(root, "kit", "clients/python", *(f"services/{name}" for name in SERVICES)):
        relative = path.relative_to(root)
        own = f"autopack_{relative.parts[1]}" if relative.parts[0] == "services" else ""
        for line, module in imports(path):
            top = module.partition(".")[0]
            if top in SERVICE_PACKAGES and top != own:
                found.append(f"{relative}:{line}: imports {top}; reach it through autopack_client")
    return sorted(set(found))


def impure_core(root: Path) -> list[str]:
    """``core/`` code that knows transport, stubs, databases, the environment, or the impure part of the kit."""
    found = []
    for path in _core_files(root):
        relative = path.relative_to(root)
        own = relative.parts[2]
        outside = f"{own}."
        for line, module in imports(path):
            top = module.partition(".")[0]
            if top in IMPURE:
                found.append(f"{relative}:{line}: core/ imports {top}")
            elif top == "autopack_kit" and not _is_pure_kit(module):
                found.append(f"{relative}:{line}: core/ imports {module}, which is not pure")
            elif module.startswith(outside) and not module.startswith((f"{own}.core", f"{own}.errors")):
                found.append(
                    f"{relative}:{line}: core/ imports {module}; it may use core and errors of its own package"
                )
            elif module.startswith("os.") and module.removeprefix("os.") in ENVIRONMENT:
                found.append(f"{relative}:{line}: core/ reads the environment")
        found += [f"{relative}:{line}: core/ reads the environment" for line in _environment_reads(path)]
    return sorted(set(found))


def stub_imports(root: Path) -> list[str]:
    """Files that import the generated stubs and are neither service.py nor convert.py."""
    found = []
    for path in python_files(root, "kit", "services"):
        relative = path.relative_to(root)
        is_allowed = (
            STUB_USERS.fullmatch(path.name) is not None
            and "core" not in relative.parts
            and "adapters" not in relative.parts
        )
        if is_allowed:
            continue
        for line, module in imports(path):
            if module.partition(".")[0] == "autopack_api":
                found.append(f"{relative}:{line}: imports the stubs; only service.py and convert.py may")
    return sorted(set(found))


def missing_rooms(root: Path) -> list[str]:
    """Services whose package lacks a room of the plan, or their README."""
    found = []
    for name in SERVICES:
        package = root / "services" / name / f"autopack_{name}"
        rooms = [package / room for room in ROOM_PLAN] + [package.parent / "README.md", package / "core/__init__.py"]
        found += [f"{room.relative_to(root)}: missing" for room in rooms if not room.exists()]
    return found


def long_files(root: Path) -> list[str]:
    """Files over the limit: they are asking to be two."""
    found = []
    for path in python_files(root, *TREE_ROOTS):
        count = len(path.read_text().splitlines())
        if count > MAX_LINES and str(path.relative_to(root)) not in ONE_FILE_PROGRAMS:
            found.append(f"{path.relative_to(root)}: {count} lines; at most {MAX_LINES}")
    return found


def facades(root: Path) -> list[str]:
    """Import names of the packages whose ``__init__`` is what users may import."""
    folders = [*(root / "services").glob("*/autopack_*"), *(root / "clients/python").glob("autopack_*")]
    return sorted(folder.name for folder in folders if (folder / "__init__.py").exists())


def _core_files(root: Path) -> Iterator[Path]:
    for name in SERVICES:
        yield from python_files(root, f"services/{name}/autopack_{name}/core")


def _is_pure_kit(module: str) -> bool:
    return any(module == pure or module.startswith(pure + ".") for pure in PURE_KIT) or module == "autopack_kit"


def _is_dynamic_import(node: ast.Call) -> bool:
    function = node.func
    name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
    return name in ("__import__", "import_module")


def _environment_reads(path: Path) -> Iterator[int]:
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Attribute) and node.attr in ENVIRONMENT and ast.unparse(node.value) == "os":
            yield node.lineno
