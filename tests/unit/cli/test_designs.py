"""The design file of a comparison."""

from __future__ import annotations

from pathlib import Path

import pytest
from autopack_api.telemetry.v1 import compare_pb2 as pb
from autopack_cli.designs import read_design
from autopack_kit.errors import InvalidArgument

YAML = """\
hypothesis: It helps
primary: cost
mode: anytime_valid
expected_pairs: 40
confidence: 0.9
max_success_drop: 0
intended_differences: [models, agent_version]
labels: {control: old, treatment: new}
control_batch: [before-1, before-2]
treatment_batch: after-1
"""
TOML = """\
hypothesis = "It helps"
primary = "cost"
mode = "anytime_valid"
expected_pairs = 40
confidence = 0.9
max_success_drop = 0
intended_differences = ["models", "agent_version"]
labels = { control = "old", treatment = "new" }
control_batch = ["before-1", "before-2"]
treatment_batch = "after-1"
"""
EXAMPLE = Path(__file__).parents[3] / "examples/comparison.toml"


def refusal(tmp_path: Path, text: str, name: str = "d.yaml") -> str:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InvalidArgument) as refused:
        read_design(path)
    violation = refused.value.violations[0]
    return f"{violation.field}: {violation.description}"


@pytest.mark.parametrize(("name", "text"), [("d.yaml", YAML), ("d.toml", TOML)])
def test_design_says_the_same_in_yaml_and_in_toml(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    design = read_design(tmp_path / name)
    assert design.request == pb.CompareRunsRequest(
        hypothesis="It helps",
        primary_metric=pb.COMPARISON_METRIC_COST,
        mode=pb.COMPARISON_MODE_ANYTIME_VALID,
        expected_pairs=40,
        confidence_level=0.9,
        guardrail=pb.Guardrail(max_success_drop=0),
        intended_differences=[pb.RUN_PROPERTY_MODELS, pb.RUN_PROPERTY_AGENT_VERSION],
        control_label="old",
        treatment_label="new",
    )
    assert (design.control_batches, design.treatment_batches) == (["before-1", "before-2"], ["after-1"])


def test_pairs_may_name_one_run_or_several(tmp_path: Path) -> None:
    path = tmp_path / "d.yaml"
    path.write_text("pairs:\n  - {task: login, control: a, treatment: [b, c]}\n  - {control: d, treatment: e}\n")
    assert list(read_design(path).request.pairs) == [
        pb.RunPair(task="login", control_run_ids=["a"], treatment_run_ids=["b", "c"]),
        pb.RunPair(control_run_ids=["d"], treatment_run_ids=["e"]),
    ]


def test_the_example_is_a_design() -> None:
    request = read_design(EXAMPLE).request
    assert (len(request.control_run_ids), len(request.treatment_run_ids)) == (12, 12)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "d.yaml: must be a mapping"),
        ("- a\n", "d.yaml: must be a mapping"),
        ("a: [\n", "d.yaml: line 2: this is not YAML"),
        ("treatmnet: a\n", "d.yaml: treatmnet: is no key of a design; did you mean 'treatment'?"),
        ("hypothesis: 1\n", "d.yaml: hypothesis: must be text, not int"),
        ("control: [a, 1]\n", "d.yaml: control: must be a text or a list of texts"),
        ("expected_pairs: many\n", "d.yaml: expected_pairs: must be a whole number, not text"),
        ("expected_pairs: true\n", "d.yaml: expected_pairs: must be a whole number, not true or false"),
        ("confidence: high\n", "d.yaml: confidence: must be a number, not text"),
        ("primary: tokens\n", "d.yaml: primary: 'tokens' is not one of total_tokens, "),
        ("mode: [fixed]\n", "d.yaml: mode: a list is not one of fixed, anytime_valid"),
        ("intended_differences: [weather]\n", "d.yaml: intended_differences[0]: 'weather' is not one of commit, "),
        ("labels: old\n", "d.yaml: labels: must be a mapping"),
        ("labels: {old: a}\n", "d.yaml: labels.old: is no key"),
        ("pairs: a\n", "d.yaml: pairs: must be a list"),
        ("pairs: [a]\n", "d.yaml: pairs[0]: must be a mapping"),
        ("pairs: [{control: a, treated: b}]\n", "d.yaml: pairs[0].treated: is no key"),
        ("hypothesis: !!python/object:os.system {}\n", "could not determine a constructor"),
    ],
)
def test_what_is_wrong_is_told_with_its_key(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in refusal(tmp_path, text)


def test_files_that_are_no_designs_are_told_so(tmp_path: Path) -> None:
    assert "this is not TOML" in refusal(tmp_path, "a = = b", "d.toml")
    assert "at most 1,048,576" in refusal(tmp_path, "#" * (1 << 21))
    laughs = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{after}: &{after} [{', '.join([f'*{before}'] * 9)}]\n"
        for before, after in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert "is no key" in refusal(tmp_path, laughs)
    with pytest.raises(InvalidArgument, match="cannot be read"):
        read_design(tmp_path / "missing.yaml")
