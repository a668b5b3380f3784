"""What the documents promise about themselves, and the checker that runs their commands."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from autopack_cli.batchfile import load as load_batch

ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / "README.md").read_text()


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # where dataclasses look their annotations up
    spec.loader.exec_module(module)
    return module


check_readme = load(ROOT / "tools/check_readme.py")


def test_the_readme_is_short_and_begins_with_the_two_commands() -> None:
    lines = README.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("```"))
    assert first < 25
    assert [line.split("#")[0].strip() for line in lines[first + 1 : first + 3]] == ["$ make demo", "$ make test"]
    assert len(lines) <= 170


def test_the_batch_of_the_readme_is_the_example_and_has_no_problems() -> None:
    example = ROOT / "examples/batch.yaml"
    shown = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert shown == [example.read_text()]
    batch = load_batch(example)
    assert not batch.problems
    assert [run.name for run in batch.spec.runs] == ["retry-with-backoff", "document-settings", "sort-imports"]


def test_the_blocks_to_run_are_those_that_are_not_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = tmp_path / "page.md"
    document.write_text(
        "```console\n$ echo one \\\n    two\none two\n$ echo three\n```\n"
        "```console no-run\n$ rm -rf /\n```\n```python\nprint(1)\n```\n```text\n$ echo no\n```\n```sh\nno prompt\n```\n"
    )
    monkeypatch.setattr(check_readme, "ROOT", tmp_path)
    found = [(block.place, block.text) for block in check_readme.blocks(document)]
    assert found == [("page.md:1", "echo one \\\n    two\necho three"), ("page.md:10", "print(1)\n")]


def test_a_command_that_fails_is_told_with_its_place_and_output(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    block = check_readme.Block("page.md:1", ("bash", "-euo", "pipefail", "-c"), "echo seen; exit 3")
    assert check_readme.run(block, tmp_path, tmp_path) == "page.md:1: exit code 3\necho seen; exit 3\nseen"


def test_a_link_to_nothing_is_told_and_links_elsewhere_are_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = tmp_path / "page.md"
    document.write_text("[a](page.md#part) [b](gone.md) [c](https://example.org/x) [d](mailto:a@example.org)\n")
    monkeypatch.setattr(check_readme, "ROOT", tmp_path)
    assert check_readme.broken_links(document) == ["page.md: there is no gone.md"]
