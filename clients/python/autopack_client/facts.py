"""What the hardening service must know of a workspace: its projects and what they declare, now and at the base commit.

    detected = client.toolchain.Detect(...)
    facts = project_facts(detected, workspace, base_commit)
    request = DiagnoseRequest(projects=facts, paths=workspace_paths(workspace), ...)

``declared_at_base`` is only ever true for an entry that stands word for word in the same file of the base commit. A
changed constraint, another index, an install script or a locked source that the run touched is "not declared at base":
installing it needs consent. Blocking; from asyncio, call it in a thread.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from autopack_api.hardening.v1.hardening_pb2 import DeclaredDependency, ProjectFacts
from autopack_api.toolchain.v1.toolchain_pb2 import STEP_KIND_INSTALL, DetectResponse, Project

from autopack_client.facts_manifests import Entry, ManifestError, entries, included, is_lock, is_manifest, leads_below
from autopack_client.mitigate_git import Git, inside, read_inside

__all__ = ["Declared", "added_since", "declared", "listed", "project_facts", "workspace_paths"]

MAX_MANIFEST_BYTES = 1 << 20
"""Bytes read of a manifest; as the toolchain service does."""
MAX_LOCK_BYTES = 16 << 20
"""Bytes read of a lock file; the largest of real front ends have some 5 MiB."""
MAX_FILES = 50
"""Manifests and lock files of one project; more of them count as changed."""
SHA256_DIGITS = 64
MAX_DEPENDENCIES = 20_000
"""Declarations sent for one project; the service's limit."""
MAX_PATHS = 50_000
"""Paths of a workspace; the service's limit."""

_PRUNED = frozenset(
    [
        ".git", ".hg", ".svn", ".venv", "venv", ".tox", ".nox", "node_modules", "__pycache__", "site-packages",
        ".mypy_cache", ".pytest_cache", ".ruff_cache",
    ]
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Declared:
    """One entry of one file.

    Attributes:
        entry: what is declared.
        path: the file, relative to the workspace.
        at_base: whether the same file has the same entry at the base commit.
    """

    entry: Entry
    path: str
    at_base: bool


def project_facts(
    detected: DetectResponse, workspace: Path, base_commit: str | None, *, git_dir: Path | None = None
) -> list[ProjectFacts]:
    """The facts of every detected project.

    Args:
        detected: the toolchain service's answer for this workspace.
        workspace: its root.
        base_commit: what is trusted; None = nothing, and then no install is ever automatic.
        git_dir: a git directory for this workspace that no agent writes; default: what its ``.git`` names.
    """
    return [_facts(project, workspace, base_commit, git_dir) for project in detected.projects]


def declared(
    workspace: Path,
    workdir: str,
    base_commit: str | None,
    extra: Sequence[str] = (),
    *,
    git_dir: Path | None = None,
) -> list[Declared]:
    """Everything that the files of one project declare; entries that were only at the base are left out.

    Args:
        workspace: root of the workspace.
        workdir: the project, relative to it. Files of the directories above it count too: a workspace's lock file and
            an installer's configuration stand there.
        base_commit: what is trusted.
        extra: further requirement files, for example those named by an install command.
        git_dir: a git directory for this workspace that no agent writes; default: what its ``.git`` names.
    """
    git = Git(workspace, git_dir=git_dir)
    commit = git.commit(base_commit) if base_commit else None
    found: list[Declared] = []
    paths = _files(workspace, [*extra, *listed(workspace, workdir)])
    if commit is not None and any(leads_below(path, _content(workspace, path)) for path in paths):
        paths = _files(workspace, [*paths, *changed_manifests(workspace, workdir, git, commit)])
    for path in paths:
        if path == _MORE:  # whoever writes fifty of them must not hide the one that counts
            found.append(_known(workdir, f"more than {MAX_FILES} manifests", at_base=False))
            continue
        if not path.isprintable():  # a message cannot hold it, and an installer reads it all the same
            found.append(_known(workdir, "a manifest whose path cannot be shown", at_base=False))
            continue
        limit = MAX_LOCK_BYTES if is_lock(path) else MAX_MANIFEST_BYTES
        place = inside(workspace, path)
        if place is not None and place.is_symlink():
            before = git.read(commit, path, MAX_MANIFEST_BYTES) if commit else None
            found.append(_known(path, "a link", os.fsencode(os.readlink(place)) == before))
            continue
        content = read_inside(workspace, path, limit)
        if content is None:
            # Too large, or outside: an installer may read what is not read here. A FIFO or a directory it does not.
            if (workspace / path).is_file():
                found.append(_known(path, "not read", at_base=False))
            continue
        before = git.read(commit, path, limit) if commit else None
        found += _compare(path, content, before)
    return found


_MORE = "."


def _known(path: str, about: str, at_base: bool) -> Declared:
    name = f"({posixpath.basename(path)}: {about})"
    return Declared(Entry(name[:200], f"{path} {about}", distribution=False), path, at_base)


def added_since(found: Iterable[Declared]) -> list[Declared]:
    """What the base commit did not declare so."""
    return [one for one in found if not one.at_base]


def workspace_paths(workspace: Path, below: str = ".") -> list[str]:
    """Files and directories (ending in ``/``) of ``workspace``, sorted, at most 50,000, without installed packages;
    with ``below`` only those in that directory of it."""
    found: list[str] = []
    for prefix, children, files in _walk(workspace, below):
        found += [f"{prefix}{name}/" for name in children] + [f"{prefix}{name}" for name in files]
        if len(found) >= MAX_PATHS:
            break
    # A name that is no UTF-8 cannot travel in a message, and no tool's manifest has one.
    return sorted(path for path in found[:MAX_PATHS] if path.isprintable())


def _all_files(workspace: Path, below: str) -> Iterator[str]:
    """Every file, however many there are and whatever they are called: a run could hide one behind the others."""
    return (prefix + name for prefix, _, files in _walk(workspace, below) for name in files)


def _walk(workspace: Path, below: str) -> Iterator[tuple[str, list[str], list[str]]]:
    root = os.fspath(workspace)
    for directory, children, files in os.walk(os.path.join(root, below), onerror=None, followlinks=False):
        children[:] = sorted(child for child in children if child not in _PRUNED)
        relative = posixpath.relpath(directory, root)
        yield "" if relative == "." else relative + "/", children, files


def _facts(project: Project, workspace: Path, base_commit: str | None, git_dir: Path | None) -> ProjectFacts:
    install = [step.command for step in project.steps if step.kind == STEP_KIND_INSTALL]
    workdir = project.workdir or "."
    extra = [
        posixpath.normpath(posixpath.join(command.cwd or ".", word))
        for command in install
        for word in command.argv.words
        if word.endswith((".txt", ".in"))
    ]
    found = declared(workspace, workdir, base_commit, extra, git_dir=git_dir)
    # First what matters most: what was added decides about consent, what is declared by a manifest about the rest.
    found.sort(key=lambda one: (one.at_base, is_lock(one.path)))
    return ProjectFacts(
        workdir=workdir,
        ecosystem=project.ecosystem,
        package_manager=project.package_manager.name,
        install=install,
        dependencies=[
            DeclaredDependency(name=one.entry.name[:250], path=one.path, declared_at_base=one.at_base)
            for one in found
            if one.entry.distribution or not one.at_base
        ][:MAX_DEPENDENCIES],
    )


def _files(workspace: Path, paths: Iterable[str]) -> list[str]:
    """``paths`` with the files that they include or lead to; each once."""
    pending = list(paths)
    found: dict[str, None] = {}
    while pending and len(found) < MAX_FILES:
        path = pending.pop(0)
        if path in found or path.startswith(("../", "/")):
            continue
        found[path] = None
        place = inside(workspace, path)
        if place is not None and place.is_symlink():
            target = os.path.relpath(os.path.realpath(place), os.path.realpath(workspace))
            pending.append(target)
        pending += included(path, _content(workspace, path))
    if any(path not in found for path in pending):
        found[_MORE] = None
    return list(found)


def _content(workspace: Path, path: str) -> bytes:
    """What a manifest says; nothing, which is no manifest, if it cannot be read."""
    return read_inside(workspace, path, MAX_MANIFEST_BYTES) or b""


def changed_manifests(workspace: Path, workdir: str, git: Git, commit: str) -> Iterator[str]:
    """Manifests below the project that the base commit has otherwise, or not: an install brings what they declare too.

    Members of a front end's workspace, local packages, plugins. Files are compared by their ids, as git has them: in
    what git says of the work tree, files that were marked as unchanged are missing.
    """
    top = _top(workspace, workdir)
    at_base = git.listed(commit, [top])
    for path in filter(is_manifest, _all_files(workspace, top)):
        place = inside(workspace, path)
        if place is None or place.is_symlink() or not place.is_file():
            yield path
            continue
        if path not in at_base or not _is_blob(place, at_base[path]):
            yield path


def _is_blob(place: Path, known: str) -> bool:
    """Whether the file is what git calls ``known``, whose length tells the kind of hash; no, if it cannot be read, or
    is larger than any that is."""
    kind = hashlib.sha256 if len(known) == SHA256_DIGITS else partial(hashlib.sha1, usedforsecurity=False)
    with suppress(OSError), open(place, "rb") as file:
        content = file.read(MAX_LOCK_BYTES + 1)
        return len(content) <= MAX_LOCK_BYTES and kind(b"blob %d\0" % len(content) + content).hexdigest() == known
    return False


def _top(workspace: Path, workdir: str) -> str:
    """The highest directory at or above the project that has something to say about its install."""
    top = directory = posixpath.normpath(workdir)
    while directory not in (".", ""):
        directory = posixpath.dirname(directory) or "."
        if any(os.path.lexists(workspace / directory / name) for name in _ABOVE):
            top = directory
    return top


def listed(workspace: Path, workdir: str) -> Iterator[str]:
    """Manifests and lock files of one project that exist: its own, and those of a front end's workspace above it."""
    directory = posixpath.normpath(workdir)
    for place in (directory, posixpath.join(directory, "requirements")):
        try:
            names = sorted(os.listdir(workspace / place))
        except OSError:
            continue
        paths = [posixpath.normpath(posixpath.join(place, name)) for name in names]
        yield from (path for path in paths if is_manifest(path))
    while directory not in (".", ""):
        directory = posixpath.dirname(directory) or "."
        names = [name for name in _ABOVE if (workspace / directory / name).exists()]
        yield from (posixpath.normpath(posixpath.join(directory, name)) for name in names)


_ABOVE = (
    "package.json", "package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml", "pnpm-workspace.yaml",
    "bun.lock", "bun.lockb", ".npmrc", ".yarnrc", ".yarnrc.yml", "uv.lock", "uv.toml",
)  # fmt: skip


def _compare(path: str, content: bytes, before: bytes | None) -> Iterator[Declared]:
    try:
        old = {entry.text for entry in entries(path, before)} if before is not None else set()
    except ManifestError:
        old = set()  # What stood there could not be installed from, so nothing of it is trusted.
    try:
        now = entries(path, content)
    except ManifestError as error:
        # Broken, as it stands it declares nothing; an installer may still read it differently, so it counts as changed.
        now = () if content == before else (Entry(f"({error})"[:200], "broken", distribution=False),)
    return (Declared(entry, path, entry.text in old) for entry in now)
