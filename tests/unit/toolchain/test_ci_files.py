"""CI files as files: broken ones, hostile ones, many, and those that a snapshot carries."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from autopack_toolchain import SnapshotFile, SnapshotTree
from autopack_toolchain.core.ci import CiCommand, read_ci
from autopack_toolchain.core.ci.document import parse_documents
from autopack_toolchain.core.parsing import ManifestError
from autopack_toolchain.core.registry import default_registry
from autopack_toolchain.core.workspace import Workspace
from hypothesis import given, settings
from hypothesis import strategies as st

Make = Callable[..., Workspace]
GOOD = {".github/workflows/good.yml": "on: push\njobs: {a: {runs-on: x, steps: [{run: make}]}}\n"}
FILES = (".github/workflows/ci.yml", ".gitlab-ci.yml", ".circleci/config.yml", "azure-pipelines.yml", ".travis.yml")


@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize("content", ["a: [\n", "on: push\nrun:\n  - a\n b\n", "a: *x\n", "a: \x01\nrun:\n"])
def test_a_broken_file_is_a_warning_that_names_it_and_the_others_are_read(
    workspace_of: Make, path: str, content: str
) -> None:
    workspace = workspace_of({path: content + "# on: push\n# run:\n", **GOOD})
    assert [command.script for command in read_ci(workspace)] == ["make"]
    (warning,) = workspace.warnings
    assert (warning.reason, warning.paths) == ("BROKEN_MANIFEST", (path,))
    assert warning.message.startswith(path)


@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize(
    "content",
    [
        "",
        "- a\n",
        "text",
        "~",
        "on: push\njobs: 1\nrun: 2\n",
        "on: [[push]]\njobs: {a: 1, b: [], c: {steps: 1, script: {a: 1}}, d: {steps: [1, [], {run: []}, {run: {}}]}}\n",
        "jobs: &a {a: *a, <<: *a, steps: *a}\nsteps: &b [*b, {steps: *b}]\nscript: &c [*c]\ninclude: &d [*d]\n",
        "on: push\njobs: {a: {runs-on: {a: b}, strategy: {matrix: {a: [[1], {b: {c: {}}}], include: [1, {a: 1}]}}}}\n",
    ],
)
def test_a_file_of_another_shape_gives_nothing(workspace_of: Make, path: str, content: str) -> None:
    workspace = workspace_of({path: content})
    assert [command for command in read_ci(workspace) if command.path != path] == []
    assert workspace.warnings == []


@pytest.mark.parametrize("text", ["- " * 200_000, "[" * 200_000, "[ # ]\n" * 100_000, "? " * 200_000, "{a: " * 100_000])
def test_deep_nesting_is_refused_and_does_not_end_the_process(text: str) -> None:
    with pytest.raises(ManifestError, match="levels deep"):
        parse_documents(text)


def test_aliases_of_aliases_are_not_expanded(workspace_of: Make) -> None:
    bomb = "".join(f"b{n}: &b{n} {{<<: [*b{n - 1}, *b{n - 1}], k{n}: [*b{n - 1}, *b{n - 1}]}}\n" for n in range(1, 60))
    text = "on: push\nb0: &b0 {x: y}\n" + bomb + "jobs: {a: {<<: *b59, steps: [{run: make}]}}\n"
    assert [command.script for command in read_ci(workspace_of({".github/workflows/ci.yml": text}))] == ["make"]


def test_scripts_that_hold_each_other_many_times_are_bounded(workspace_of: Make) -> None:
    lists = "".join(f".a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10))
    text = f".a0: &a0 [make]\n{lists}test:\n  script: *a9\n"
    commands = read_ci(workspace_of({".gitlab-ci.yml": text}))
    assert all(1 <= command.script.count("make") <= 1000 for command in commands)


def test_references_that_hold_each_other_many_times_are_bounded(workspace_of: Make) -> None:
    jobs = "".join(f".a{n}:\n  script: [{', '.join([f'!reference [.a{n - 1}, script]'] * 9)}]\n" for n in range(1, 10))
    text = f".a0: {{script: [make]}}\n{jobs}test:\n  script: [!reference [.a3, script], !reference [.a9, script]]\n"
    (command,) = read_ci(workspace_of({".gitlab-ci.yml": text}))
    assert 1 <= command.script.count("make") <= 1000


def test_many_workflows_with_many_steps_are_bounded(workspace_of: Make) -> None:
    steps = "".join(f"      - run: make {n}\n" for n in range(500))
    text = f"on: push\njobs:\n  a:\n    runs-on: x\n    steps:\n{steps}"
    workspace = workspace_of({f".github/workflows/w{n}.yml": text for n in range(60)})
    assert len(read_ci(workspace)) == 2000
    assert [warning.reason for warning in workspace.warnings] == ["TOO_MANY_CI_COMMANDS"]


def test_more_files_than_are_read_are_a_warning(workspace_of: Make) -> None:
    text = "on: push\njobs: {a: {runs-on: x, steps: [{run: make}]}}\n"
    workspace = workspace_of({f".github/workflows/{name}.yml": text for name in ["unit-test", *map(str, range(60))]})
    commands = read_ci(workspace)
    assert len(commands) == 40
    assert commands[0].path == ".github/workflows/unit-test.yml"
    assert [warning.reason for warning in workspace.warnings] == ["TOO_MANY_CI_FILES"]


def test_the_commands_are_read_once(workspace_of: Make) -> None:
    workspace = workspace_of(GOOD)
    assert read_ci(workspace) is read_ci(workspace)


@pytest.mark.parametrize(
    "path",
    [*FILES, ".github/workflows/x.yaml", ".github/actions/a/action.yml", "action.yaml", ".azure-pipelines/test.yml"],
)
def test_a_snapshot_carries_ci_files(path: str) -> None:
    assert default_registry().wants_content(path)


WORDS = (
    "on jobs steps run uses with env runs-on strategy matrix include script before_script extends variables default "
    "parallel rules if only workflows commands parameters executor name command when unless condition template stages "
    "inputs task pool vmImage install os trigger pr runs working-directory a b << test"
)
KEYS = st.sampled_from(WORDS.split())
TEXTS = "push make ./.github/actions/a ./.github/workflows/ci.yml ${{ $(a) a test /a.yml 1 true ~ azure-pipelines.yml"
SCALARS = st.sampled_from([*TEXTS.split(), "", "${{ matrix.a }}", "<< parameters.a >>", "${{ if x }}:"])
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=25
)


def as_yaml(tree: object) -> str:
    if isinstance(tree, dict):
        return "{" + ", ".join(f'"{key}": {as_yaml(value)}' for key, value in tree.items()) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(as_yaml(item) for item in tree) + "]"
    return f'"{tree}"'


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from([*FILES, ".github/actions/a/action.yml", "a.yml"]), TREES, max_size=4))
def test_no_tree_of_values_makes_a_reader_raise(files: dict[str, object]) -> None:
    texts = {path: as_yaml(tree) + "\n# run:\n" for path, tree in files.items()}
    tree = SnapshotTree([SnapshotFile(path, len(text), content=text.encode()) for path, text in texts.items()])
    workspace = Workspace(tree, default_registry())
    assert all(isinstance(command, CiCommand) and command.path in files for command in read_ci(workspace))
    assert all(warning.message for warning in workspace.warnings)
