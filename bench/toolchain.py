"""Detection on labelled real repositories: how often it is right, what its confidence is worth, and what it costs.

``run()`` gives the numbers for ``make bench``. As a program it writes predictions for an outside scorer::

    python bench/toolchain.py --labels LABELS.jsonl --trees DIRECTORY [--no-ci] --out PREDICTIONS.jsonl

Of the labels only the repositories and the names of the families are read, never an answer.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import autopack_toolchain
from autopack_kit.commands import Command, quote
from autopack_toolchain import Detection, DetectionWarning, FileStat, FileTree, Project, StepKind
from autopack_toolchain.core.tree import MAX_CONTENT_BYTES

__all__ = ["BadInput", "Without", "detect_tree_at", "is_ci", "predictions", "read_labels", "run", "trees_at"]

Row = Mapping[str, Any]

CI_DIRECTORIES = (
    ".github/workflows",
    ".github/actions",
    ".circleci",
    ".azure-pipelines",
    ".gitlab",
    ".gitlab-ci",
    ".buildkite",
    ".woodpecker",
)
CI_FILES = frozenset(
    {
        ".gitlab-ci.yml",
        ".travis.yml",
        ".appveyor.yml",
        "appveyor.yml",
        "azure-pipelines.yml",
        "azure-pipelines.yaml",
        ".cirrus.yml",
        ".drone.yml",
        "bitbucket-pipelines.yml",
        "Jenkinsfile",
        "action.yml",
        "action.yaml",
    }
)
"""What ``--no-ci`` hides, wherever in the tree it stands: whoever reads these reads what the labels were made from."""

SAME_FAMILY = (
    frozenset({"c", "c++", "cpp", "c/c++"}),
    frozenset({"node", "javascript", "typescript"}),
    frozenset({"dotnet", "csharp", "c#"}),
)
"""Names of one ecosystem; a prediction takes the one that the labels use."""

EXAMPLES = """examples:
  python bench/toolchain.py --labels labels.jsonl --trees skeletons.tgz --out predictions.jsonl
  python bench/toolchain.py --labels labels.jsonl --trees trees/ --no-ci --out hidden.jsonl

LABELS has one JSON object a line with at least {"repo": "owner/name"}. TREES has one directory "owner+name" for each
repository; an archive of them is unpacked to a temporary directory first."""


class BadInput(Exception):
    """The labels or the trees cannot be used; the message says why and what to do."""


class Without:
    """A tree without some of its files."""

    def __init__(self, tree: FileTree, hidden: Callable[[str], bool]) -> None:
        self._tree = tree
        self._hidden = hidden
        self.paths = tuple(path for path in tree.paths if not hidden(path))
        self.irregular = {path: what for path, what in tree.irregular.items() if not hidden(path)}

    @property
    def warnings(self) -> Sequence[DetectionWarning]:
        """Those of the whole tree."""
        return self._tree.warnings

    def stat(self, path: str) -> FileStat | None:
        """As of the whole tree."""
        return None if self._hidden(path) else self._tree.stat(path)

    def read(self, path: str, limit: int = MAX_CONTENT_BYTES) -> bytes | None:
        """As of the whole tree."""
        return None if self._hidden(path) else self._tree.read(path, limit)


def is_ci(path: str) -> bool:
    """Whether a file tells what continuous integration runs."""
    if path.rpartition("/")[2] in CI_FILES:
        return True
    return any(path.startswith(f"{directory}/") or f"/{directory}/" in path for directory in CI_DIRECTORIES)


def read_labels(path: Path) -> list[Row]:
    """The labels of a JSON-lines file.

    Raises:
        BadInput: the file or one of its lines is not usable.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise BadInput(f"cannot read the labels {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"the labels {path} are not UTF-8 (byte {error.start}); give a JSON-lines file") from error
    labels = [_label(f"{path}:{number}", line) for number, line in enumerate(lines, 1) if line.strip()]
    if not labels:
        raise BadInput(f"the labels {path} are empty; each line must be a JSON object")
    return labels


def _label(place: str, line: str) -> Row:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise BadInput(f"{place}: not JSON: {error}") from error
    if not isinstance(row, dict):
        raise BadInput(f'{place}: not a JSON object; each line must be like {{"repo": "owner/name"}}')
    repo = row.get("repo")
    if not isinstance(repo, str) or len(repo.split("/")) != 2 or not all(repo.split("/")) or ".." in repo.split("/"):
        raise BadInput(f'{place}: "repo" is {json.dumps(repo)}, not "owner/name"')
    for field in ("workdir", "family"):
        if field in row and not isinstance(row[field], str):
            raise BadInput(f'{place}: "{field}" is {json.dumps(row[field])}, not a text')
    return row


@contextmanager
def trees_at(path: Path) -> Iterator[Path]:
    """The directory of the trees: itself, or an archive unpacked for as long as the context lasts.

    Raises:
        BadInput: it is neither a directory nor a tar archive.
    """
    if path.is_dir():
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="autopack-trees-") as directory:
        # The program: for a hundred thousand small files the library takes five times as long.
        unpacked = subprocess.run(["tar", "-xf", path.absolute(), "-C", directory], capture_output=True, text=True)
        if unpacked.returncode:
            reason = unpacked.stderr.strip().partition("\n")[0]
            raise BadInput(f"the trees {path} are neither a directory nor a tar archive: {reason}")
        yield Path(directory)


def tree_of(trees: Path, repo: str) -> Path:
    """The directory of one repository."""
    return trees / repo.replace("/", "+", 1)


def detect_tree_at(path: Path, *, ci: bool = True) -> Detection:
    """Detection of a directory, with or without its CI files."""
    with autopack_toolchain.DirectoryTree(path) as tree:
        return autopack_toolchain.detect_tree(tree if ci else Without(tree, is_ci))


def predictions(labels: Iterable[Row], trees: Path, *, ci: bool = True) -> Iterator[dict[str, Any]]:
    """One prediction for each project of each repository that the labels name.

    Raises:
        BadInput: a tree is missing.
    """
    families: dict[str, set[str]] = {}
    for label in labels:
        families.setdefault(label["repo"], set()).add(label.get("family", ""))
    if missing := [repo for repo in families if not tree_of(trees, repo).is_dir()]:
        more = f" and of {len(missing) - 1} more" if len(missing) > 1 else ""
        raise BadInput(f"there is no tree of {missing[0]}{more}; expected a directory {tree_of(trees, missing[0])}")
    for repo, used in families.items():
        written = set()
        for project in detect_tree_at(tree_of(trees, repo), ci=ci).projects:
            row = prediction(repo, project, used)
            if (key := (row["workdir"], row["family"])) not in written:
                written.add(key)
                yield row


def prediction(repo: str, project: Project, families: Iterable[str] = ()) -> dict[str, Any]:
    """One project in the form that the scorer reads. The place and the environment of a command stand beside it."""
    manager, test, lint = project.package_manager, project.step(StepKind.TEST), project.step(StepKind.LINT)
    row: dict[str, Any] = {
        "repo": repo,
        "workdir": project.workdir,
        "family": family_of(project.ecosystem, families),
        "confidence": project.confidence,
        "package_manager": manager.name or None,
        "package_manager_confidence": manager.confidence if manager.name else None,
    }
    for name, step in (("test", test), ("lint", lint)):
        if step is None:
            continue
        command = step.command
        row[f"{name}_command"] = command_text(command)
        row[f"{name}_confidence"] = step.confidence
        if command.cwd != project.workdir:
            row[f"{name}_cwd"] = command.cwd
        if command.env:
            row[f"{name}_env"] = dict(command.env)
    return row


def command_text(command: Command) -> str:
    """A command as a person would type it in its directory and environment."""
    return command.script.text if command.script else quote(command.argv)


def family_of(ecosystem: str, families: Iterable[str]) -> str:
    """The name that the labels have for an ecosystem; its own where they have none."""
    same = next((group for group in SAME_FAMILY if ecosystem in group), frozenset({ecosystem}))
    used = sorted(same.intersection(families))
    return ecosystem if ecosystem in used or not used else used[0]


def run() -> list[tuple[str, float, str, str]]:
    """``(what, value, unit, beside)`` of each number, where the labelled repositories are."""
    from bench.toolchain_score import measure  # here, so that the program above runs from any directory

    return measure()


def main(arguments: Sequence[str] | None = None) -> int:
    """Write predictions; 0, or 2 with a message where the input is bad."""
    parser = argparse.ArgumentParser(
        prog="python bench/toolchain.py",
        description="Predict manager, test and lint commands of labelled repositories, one JSON object a line.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--labels", type=Path, required=True, help="JSON lines that name the repositories")
    parser.add_argument(
        "--trees", type=Path, required=True, help="directory of trees owner+name, or a tar archive of it"
    )
    parser.add_argument("--no-ci", action="store_true", help="hide the files of continuous integration")
    parser.add_argument("--out", type=Path, required=True, help="where to write the predictions")
    options = parser.parse_args(arguments)
    try:
        labels = read_labels(options.labels)
        with trees_at(options.trees) as trees:
            found = list(predictions(labels, trees, ci=not options.no_ci))
        options.out.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
    except BadInput as error:
        parser.exit(2, f"error: {error}\n")
    except OSError as error:
        parser.exit(2, f"error: cannot write {options.out}: {error.strerror}\n")
    repositories = len({row["repo"] for row in found})
    print(f"{len(found)} projects of {repositories} repositories written to {options.out}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
