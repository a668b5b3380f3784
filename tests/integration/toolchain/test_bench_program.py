"""The program that writes predictions for the scorer, as a person runs it."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
FILES = {
    "pyproject.toml": '[project]\nname = "x"\n\n[tool.pytest.ini_options]\ntestpaths = ["tests"]\n',
    "uv.lock": "version = 1\n",
    "tests/test_x.py": "def test_x():\n    assert True\n",
    ".github/workflows/test.yml": "on: push\njobs:\n  t:\n    runs-on: ubuntu-latest\n    steps:\n      - run: tox\n",
}


@pytest.fixture
def trees(tmp_path: Path) -> Path:
    """The tree of one repository ``owner/name``."""
    for path, content in FILES.items():
        file = tmp_path / "trees/owner+name" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return tmp_path / "trees"


def labels_of(tmp_path: Path, *lines: object) -> Path:
    """A file of labels; a text is written as it is."""
    path = tmp_path / "labels.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def run_bench(tmp_path: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The program, from a directory that is not the project's."""
    argv = [sys.executable, ROOT / "bench/toolchain.py", *arguments]
    return subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=60)


def predicted(tmp_path: Path, *arguments: str | Path) -> list[dict[str, Any]]:
    """The rows that it writes."""
    done = run_bench(tmp_path, *arguments, "--out", tmp_path / "out.jsonl")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]


def test_predictions_have_the_manager_and_the_test_command_in_the_form_of_the_scorer(
    tmp_path: Path, trees: Path
) -> None:
    labels = labels_of(tmp_path, {"repo": "owner/name", "workdir": ".", "family": "python"})
    [row] = predicted(tmp_path, "--labels", labels, "--trees", trees, "--no-ci")
    assert (row["repo"], row["workdir"], row["family"]) == ("owner/name", ".", "python")
    assert row["package_manager"] == "uv"
    assert 0 < row["package_manager_confidence"] <= 1
    assert row["test_command"] == "uv run pytest"
    assert 0 < row["test_confidence"] <= 1


def test_an_archive_of_the_trees_gives_what_the_directory_gives(tmp_path: Path, trees: Path) -> None:
    labels = labels_of(tmp_path, {"repo": "owner/name"})
    archive = tmp_path / "trees.tgz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(trees / "owner+name", "owner+name")
    from_directory = predicted(tmp_path, "--labels", labels, "--trees", trees)
    assert from_directory == predicted(tmp_path, "--labels", labels, "--trees", archive)


def test_no_ci_gives_what_the_tree_without_its_workflows_gives(tmp_path: Path, trees: Path) -> None:
    labels = labels_of(tmp_path, {"repo": "owner/name"})
    hidden = predicted(tmp_path, "--labels", labels, "--trees", trees, "--no-ci")
    (trees / "owner+name/.github/workflows/test.yml").unlink()
    assert hidden == predicted(tmp_path, "--labels", labels, "--trees", trees)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{not json", "labels.jsonl:2: not JSON"),
        ("[]", "labels.jsonl:2: not a JSON object"),
        ({"workdir": "."}, 'labels.jsonl:2: "repo" is null'),
        ({"repo": "../etc"}, 'labels.jsonl:2: "repo" is "../etc"'),
        ({"repo": "owner/name", "family": 3}, 'labels.jsonl:2: "family" is 3'),
        ({"repo": "owner/other"}, "there is no tree of owner/other; expected a directory"),
    ],
)
def test_a_bad_label_is_named_by_its_line_and_nothing_is_written(
    tmp_path: Path, trees: Path, line: object, said: str
) -> None:
    labels = labels_of(tmp_path, {"repo": "owner/name"}, line)
    done = run_bench(tmp_path, "--labels", labels, "--trees", trees, "--out", tmp_path / "out.jsonl")
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--labels", "missing.jsonl", "cannot read the labels missing.jsonl: No such file"),
        ("--trees", "missing.tgz", "the trees missing.tgz are neither a directory nor a tar archive"),
        ("--trees", "labels.jsonl", "the trees labels.jsonl are neither a directory nor a tar archive"),
        ("--out", "missing/out.jsonl", "cannot write missing/out.jsonl: No such file"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, trees: Path, option: str, value: str, said: str) -> None:
    options: dict[str, str | Path] = {"--labels": labels_of(tmp_path, {"repo": "owner/name"}), "--trees": trees}
    options |= {"--out": tmp_path / "out.jsonl", option: value}
    done = run_bench(tmp_path, *[word for pair in options.items() for word in pair])
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_help_shows_an_example(tmp_path: Path) -> None:
    done = run_bench(tmp_path, "--help")
    assert done.returncode == 0
    assert "--no-ci --out hidden.jsonl" in done.stdout
