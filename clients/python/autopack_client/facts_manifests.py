"""What manifests and lock files declare, as entries that can be compared between two versions of a file.

An entry is everything that decides what an install brings: the name, its constraint or locked source, an index, an
install script. Whoever changes one of them after the base commit changes what would be installed. Pure: bytes in,
entries out.
"""

from __future__ import annotations

import ast
import configparser
import hashlib
import json
import posixpath
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Entry", "ManifestError", "declares", "entries", "included", "is_lock", "is_manifest", "leads_below"]

MAX_NAME = 200
"""Characters of a name or directive; longer ones are cut for display and still compared whole."""

# PEP 508: a distribution's name at the beginning of a requirement.
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_FILES = re.compile(r"(?m)^[^#;\n]*\bfile:\s*([^\n#;]+)")
_EGG = re.compile(r"#egg=([A-Za-z0-9][A-Za-z0-9._-]*)")
_INCLUDE = re.compile(r"(?:-r|--requirement|-c|--constraint)[ =]?\s*(\S+)")
_REQUIREMENTS_NAME = re.compile(
    r"(?:[\w.-]*(?:requirements|constraints)[\w.-]*|(?:.*/)?requirements/[\w.-]+)\.(?:txt|in)"
)
# npm runs these on install (its documentation of "scripts": life cycle of npm ci and npm install).
_INSTALL_SCRIPTS = ("preinstall", "install", "postinstall", "preprepare", "prepare", "postprepare", "prepublish")
_NODE_TABLES = ("dependencies", "devDependencies", "optionalDependencies", "peerDependencies")
# What such a script says if it may install more, in other directories or from them.
_INSTALLS = re.compile(
    r"\b(?:npm|npx|yarn|pnpm|bun|bunx|lerna|cd|node|sh|bash|make|pip\d?|python\d?)\b|\.{1,2}/|--prefix"
)
# A version, a name at a registry, an address elsewhere; whatever else has a slash, a point before it, or a kind of its
# own may be a directory.
_ELSEWHERE = re.compile(r"[^./~:][^/:]*|(?:npm|https?|git|git\+https?|git\+ssh|ssh|github|gitlab|bitbucket|catalog):.*")
_LOCAL_PYTHON = re.compile(rb"workspace|\bpath[\x22']?\s*=|file:|editable|develop[\x22']?\s*=|\.{1,2}/")
_OPAQUE = frozenset(
    [
        ".npmrc", ".pnpmfile.cjs", ".pnpmfile.mjs", ".yarnrc", ".yarnrc.yml", "bunfig.toml", "pdm.toml", "pip.conf",
        "pnpm-workspace.yaml", "poetry.toml", "uv.toml",
    ]
)  # fmt: skip
_OPAQUE_LOCKS = frozenset(["yarn.lock", "pnpm-lock.yaml", "bun.lock", "bun.lockb"])
# Nothing is installed from these. go.mod pins the versions, and `go mod tidy` writes it together with go.sum.
_OTHER_LOCKS = frozenset(["Cargo.lock", "go.sum", "go.mod"])
_READ_LOCKS = frozenset(["poetry.lock", "uv.lock", "pdm.lock", "Pipfile.lock"])


class ManifestError(ValueError):
    """A manifest that cannot be read as what its name says."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that a file declares.

    Attributes:
        name: the distribution; for anything else (an index, a script) a phrase that no distribution is named like.
        text: everything that matters about it, normalised, to compare versions of the file.
        distribution: whether ``name`` is a distribution's.
    """

    name: str
    text: str
    distribution: bool = True


def is_manifest(path: str) -> bool:
    """Whether ``path`` bears the name of a manifest, a lock file or a configuration of an installer."""
    return _parser(path) is not None


def is_lock(path: str) -> bool:
    """Whether ``path`` bears the name of a file that locks versions, which is generated and often large."""
    name = posixpath.basename(path)
    return name in _OPAQUE_LOCKS | _OTHER_LOCKS | _READ_LOCKS or name in _NPM_LOCKS


def declares(found: Iterable[Entry], name: str) -> bool:
    """Whether a distribution of that name (PEP 503 normalised) is among ``found``."""
    wanted = _canonical(name)
    return any(entry.distribution and _canonical(entry.name) == wanted for entry in found)


def entries(path: str, content: bytes) -> tuple[Entry, ...]:
    """What ``content`` declares as the file ``path``; any text file is taken for requirements, whatever its name, and
    of any other the content as a whole counts.

    Raises:
        ManifestError: it is broken.
    """
    parser = _parser(path) or (_requirements if path.endswith((".txt", ".in")) else _whole(path))
    try:
        return tuple(dict.fromkeys(parser(content)))
    except (ValueError, TypeError, AttributeError, KeyError, SyntaxError, RecursionError, configparser.Error) as error:
        raise ManifestError(f"{path} cannot be read: {type(error).__name__}: {error}") from error


def included(path: str, content: bytes) -> tuple[str, ...]:
    """The other files that a file of requirements or a project names to declare more, relative to the workspace."""
    directory, name = posixpath.split(path)
    try:
        match name:
            case "pyproject.toml":
                found = list(_dynamic(tomllib.loads(content.decode())))
            case "setup.cfg":
                found = [word for text in _FILES.findall(content.decode()) for word in re.split(r"[,\s]+", text)]
            case _ if path.endswith((".txt", ".in")):
                matches = [_INCLUDE.fullmatch(line) for line in _lines(content)]
                found = [match[1] for match in matches if match is not None]
            case _:
                return ()
    except (ValueError, TypeError, AttributeError):
        return ()  # :func:`entries` says that it is broken.
    return tuple(posixpath.normpath(posixpath.join(directory, one)) for one in found if one)


def leads_below(path: str, content: bytes) -> bool:
    """Whether what a file declares may bring in what the manifests of other directories declare: those of a workspace's
    members, of local packages, of what an install script installs. Yes, wherever that is not known."""
    try:
        match posixpath.basename(path):
            case _ if is_lock(path):
                return False
            case "package.json":
                return _package_leads_below(json.loads(content))
            case "pyproject.toml":
                return _LOCAL_PYTHON.search(content) is not None
            case ".npmrc" | ".yarnrc":
                return b"workspace" in content
            case _ if path.endswith((".txt", ".in")):
                return any(map(_is_local, _lines(content)))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return True
    return True


def _is_local(line: str) -> bool:
    """Whether a line of requirements may be a directory; an address is taken for one."""
    if line.startswith("-"):
        return line.startswith(("-e", "--editable"))
    return line.startswith(".") or "/" in line or "file:" in line or "@ ." in line


def _package_leads_below(data: Mapping[str, Any]) -> bool:
    if data.get("workspaces") or any(_INSTALLS.search(str(one)) for one in _hooks(data)):
        return True
    keys = (*_NODE_TABLES, "overrides", "resolutions", "pnpm")
    return any(not _ELSEWHERE.fullmatch(text) for key in keys for text in _texts(data.get(key)) if text)


def _hooks(data: Mapping[str, Any]) -> list[object]:
    scripts = data.get("scripts") or {}
    return [scripts[name] for name in _INSTALL_SCRIPTS if scripts.get(name)]


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, str):
        yield value.strip()


def _dynamic(data: Mapping[str, Any]) -> Iterator[str]:
    """Files from which setuptools reads requirements."""
    dynamic = data.get("tool", {}).get("setuptools", {}).get("dynamic", {})
    for table in (dynamic.get("dependencies", {}), *dynamic.get("optional-dependencies", {}).values()):
        named = table.get("file", ())
        yield from [named] if isinstance(named, str) else map(str, named)


def _whole(path: str) -> Callable[[bytes], Iterable[Entry]]:
    shown = f"the content of {posixpath.basename(path)}"
    return lambda content: [_opaque(shown, _digest(content))]


def _parser(path: str) -> Callable[[bytes], Iterable[Entry]] | None:
    name = posixpath.basename(path)
    if name in _OPAQUE or name in _OPAQUE_LOCKS:
        return _whole(path)
    if _REQUIREMENTS_NAME.fullmatch(path) or _REQUIREMENTS_NAME.fullmatch(name):
        return _requirements
    return _PARSERS.get(name)


def _requirements(content: bytes) -> Iterator[Entry]:
    for line in _lines(content):
        if line.startswith("-") and not line.startswith(("-e", "--editable")):
            yield _opaque(line, line)
        else:
            yield _requirement(line)


def _lines(content: bytes) -> Iterator[str]:
    """Logical lines: continued ones joined, comments and blanks gone, white space collapsed."""
    text = content.decode("utf-8-sig").replace("\\\r\n", " ").replace("\\\n", " ")
    for line in text.splitlines():
        words = line.split()
        for index, word in enumerate(words):
            if word.startswith("#"):
                del words[index:]
                break
        if words:
            yield " ".join(words)


def _requirement(text: str) -> Entry:
    text = " ".join(text.split())
    egg = _EGG.search(text)
    if egg is not None:
        return Entry(egg[1], text)
    match = _REQUIREMENT.match(text)
    if match is None or text[match.end() :].lstrip().startswith((":", "/", "+")):
        return _opaque(text, text)
    return Entry(match[1], text)


def _pyproject(content: bytes) -> Iterator[Entry]:
    data = tomllib.loads(content.decode())
    project, tool = data.get("project", {}), data.get("tool", {})
    lists = [project.get("dependencies", []), data.get("build-system", {}).get("requires", [])]
    lists += [*project.get("optional-dependencies", {}).values(), *data.get("dependency-groups", {}).values()]
    lists += [tool.get("uv", {}).get("dev-dependencies", []), *tool.get("pdm", {}).get("dev-dependencies", {}).values()]
    for environment in tool.get("hatch", {}).get("envs", {}).values():
        lists += [environment.get("dependencies", []), environment.get("extra-dependencies", [])]
    for requirements in lists:
        # Beside strings a dependency group holds tables that include another group of the same file.
        yield from (_requirement(one) for one in requirements if isinstance(one, str))
    poetry = tool.get("poetry", {})
    tables = [poetry.get("dependencies", {}), poetry.get("dev-dependencies", {})]
    tables += [group.get("dependencies", {}) for group in poetry.get("group", {}).values()]
    for table in tables:
        yield from (entry for entry in _table(table) if entry.name != "python")
    yield from _setting("[tool.setuptools.dynamic]", tool.get("setuptools", {}).get("dynamic"))
    yield from _setting("[tool.uv.workspace]", tool.get("uv", {}).get("workspace"))
    for owner, key in (("uv", "sources"), ("uv", "index"), ("poetry", "source"), ("pdm", "source")):
        yield from _setting(f"[tool.{owner}.{key}]", tool.get(owner, {}).get(key))
    yield from _setting("build-backend", data.get("build-system", {}).get("backend-path"))


def _pipfile(content: bytes) -> Iterator[Entry]:
    data = tomllib.loads(content.decode())
    for section in sorted(set(data) - {"source", "requires", "scripts", "pipenv"}):
        yield from _table(data[section])
    yield from _setting("[[source]]", data.get("source"))


def _setup_cfg(content: bytes) -> Iterator[Entry]:
    parser = configparser.RawConfigParser()
    parser.read_string(content.decode())
    texts = [parser.get("options", key, fallback="") for key in ("install_requires", "setup_requires", "tests_require")]
    if parser.has_section("options.extras_require"):
        texts += [text for _, text in parser.items("options.extras_require")]
    for text in texts:
        yield from (_requirement(part) for line in text.splitlines() for part in line.split(";;") if part.strip())


def _setup_py(content: bytes) -> Iterator[Entry]:
    """Literal requirements of ``setup()``; the file itself is code that runs on install, so any change of it counts."""
    yield _opaque("the code of setup.py", _digest(content))
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.keyword) and node.arg in ("install_requires", "extras_require", "tests_require"):
            for item in ast.walk(node.value):
                if isinstance(item, ast.List | ast.Tuple):
                    texts = [one.value for one in item.elts if isinstance(one, ast.Constant)]
                    yield from (_requirement(text) for text in texts if isinstance(text, str))


def _package_json(content: bytes) -> Iterator[Entry]:
    data = json.loads(content)
    for key in _NODE_TABLES:
        yield from _table(data.get(key) or {})
    scripts = data.get("scripts") or {}
    for name in _INSTALL_SCRIPTS:
        yield from _setting(f"scripts: {name}", scripts.get(name))
    for key in ("overrides", "resolutions", "pnpm", "packageManager", "workspaces"):
        yield from _setting(key, data.get(key))


def _toml_lock(content: bytes) -> Iterator[Entry]:
    """poetry.lock, uv.lock, pdm.lock: a table per package."""
    data = tomllib.loads(content.decode())
    for package in data.get("package", []):
        yield Entry(str(package["name"]), _canonical_json(package))


def _pipfile_lock(content: bytes) -> Iterator[Entry]:
    data = json.loads(content)
    for section in sorted(set(data) - {"_meta"}):
        yield from _table(data[section])
    yield from _setting("sources", data.get("_meta", {}).get("sources"))


def _npm_lock(content: bytes) -> Iterator[Entry]:
    """package-lock.json and npm-shrinkwrap.json: by path since version 2, by name in version 1."""
    data = json.loads(content)
    for path, package in (data.get("packages") or {}).items():
        name = path.rpartition("node_modules/")[2]
        if path and name:
            yield Entry(name, _canonical_json([path, package]))
    if "packages" not in data:
        yield from _table(data.get("dependencies") or {})


def _table(table: Mapping[str, Any]) -> Iterator[Entry]:
    for name, value in table.items():
        yield Entry(str(name), f"{name} {_canonical_json(value)}")


def _setting(name: str, value: object) -> Iterator[Entry]:
    if value:
        yield _opaque(name, f"{name} {_canonical_json(value)}")


def _opaque(name: str, text: str) -> Entry:
    # In parentheses: a name that no distribution can have.
    shown = "".join(char for char in name if char.isprintable())
    return Entry(f"({shown[:MAX_NAME]})", text, distribution=False)


def _digest(content: bytes) -> str:
    # Git may write other line ends than it keeps.
    return hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest()


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _canonical_json(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str)


_NPM_LOCKS = ("package-lock.json", "npm-shrinkwrap.json")
_PARSERS: Mapping[str, Callable[[bytes], Iterable[Entry]]] = {
    "pyproject.toml": _pyproject,
    "Pipfile": _pipfile,
    "Pipfile.lock": _pipfile_lock,
    "setup.cfg": _setup_cfg,
    "setup.py": _setup_py,
    "package.json": _package_json,
    "poetry.lock": _toml_lock,
    "uv.lock": _toml_lock,
    "pdm.lock": _toml_lock,
    **dict.fromkeys(_NPM_LOCKS, _npm_lock),
}
