"""Real repositories with labels from their own CI, where that data is at hand: floors, so that no rule regresses."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path

import pytest
from autopack_toolchain import Project, SnapshotFile, SnapshotTree, StepKind, detect_tree

CORPORA = Path(os.environ.get("AUTOPACK_CORPORA", Path(__file__).parents[4] / "shared/corpora"))
LABELS = CORPORA / "toolchain/labels.jsonl"
SKELETONS = CORPORA / "toolchain/skeletons.tgz"

MANAGERS_RIGHT = 38
RUNNERS_RIGHT = 32
"""Of 42 labels. Detection reads no CI files yet, so a command that stands only there is not found."""

RUNNERS = {
    "pytest": "pytest",
    "unittest": "unittest",
    "cargo-test": "cargo test",
    "go-test": "go test",
    "gradle": "gradle",
    "maven": "mvn",
}


def snapshots() -> dict[str, list[SnapshotFile]]:
    """Files by repository, straight from the archive: unpacking it takes longer than all of detection."""
    if not SKELETONS.is_file():
        pytest.skip(f"the labelled repositories are not at {SKELETONS}; set AUTOPACK_CORPORA to their directory")
    found: dict[str, list[SnapshotFile]] = {}
    with tarfile.open(SKELETONS) as archive:
        for member in archive:
            directory, _, path = member.name.removeprefix("./").partition("/")
            held = archive.extractfile(member) if member.isfile() else None
            if held is not None and path:
                file = SnapshotFile(path, member.size, 0o100000 | member.mode, held.read())
                found.setdefault(directory.replace("+", "/", 1), []).append(file)
    return found


def test_managers_and_runners_of_real_repositories_are_found() -> None:
    trees = snapshots()
    labels = [json.loads(line) for line in LABELS.read_text().splitlines()]
    found: dict[tuple[str, str, str], Project] = {}
    for repository in sorted({label["repo"] for label in labels}):
        for project in detect_tree(SnapshotTree(trees[repository])).projects:
            found[repository, project.workdir, project.ecosystem] = project
    managers = runners = 0
    for label in labels:
        key = (label["repo"], label["workdir"], label["family"])
        if key not in found:
            continue
        project = found[key]
        name = project.package_manager.name
        accepted = {"yarn" if wanted == "yarn1" else wanted for wanted in label["accept_package_managers"]}
        managers += name in accepted
        step = project.step(StepKind.TEST)
        wanted = RUNNERS.get(label["test_runner"] or "", "npm" if label["family"] == "node" else "make")
        runners += step is not None and (wanted in step.command.line() or name in step.command.argv[0])
    assert (managers >= MANAGERS_RIGHT, runners >= RUNNERS_RIGHT) == (True, True), (managers, runners)
