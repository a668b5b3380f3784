"""The confidence of answers: one scale, monotone, never certain."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from autopack_kit.commands import Command
from autopack_toolchain import Detection, Evidence, PackageManager, Project, Step, StepKind
from autopack_toolchain.core.calibration import (
    CERTAINTY,
    ManagerFeatures,
    StepFeatures,
    default_calibration,
    manager_confidence,
    parse_calibration,
    step_confidence,
)
from autopack_toolchain.core.classify import Classifier
from autopack_toolchain.core.features import Context, calibrated, manager_features, step_features
from autopack_toolchain.core.model import Source
from autopack_toolchain.core.programs import default_programs
from autopack_toolchain.core.tasks import Task
from hypothesis import given
from hypothesis import strategies as st

WEIGHTS = st.floats(0, 1)
MANAGERS = st.builds(
    ManagerFeatures, WEIGHTS, st.lists(WEIGHTS, max_size=3).map(tuple), st.integers(0, 50), st.booleans()
)
STEPS = st.builds(
    StepFeatures,
    st.sampled_from(StepKind),
    st.sampled_from(Source),
    WEIGHTS,
    WEIGHTS,
    st.integers(0, 50),
    st.integers(0, 500),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
VALID = """
[manager]
intercept = 1.0
weight = 0.5
pieces = 0.0
guess = -0.25

[step]
intercept = 0.5
test = 0.5
ci = 1.5
ci_weight = 2
weight = 0.5
pieces = 0.1
rival = -1.0
variants = -0.5
opaque = -0.5
silent_ci = -0.5
side = -0.5
"""
MODELS = parse_calibration(VALID)
"""Coefficients of a size that a fit may give, so that these tests do not depend on one."""


@given(MANAGERS, WEIGHTS, st.integers(0, 50))
def test_more_evidence_for_a_manager_never_lowers_its_confidence(
    features: ManagerFeatures, weight: float, pieces: int
) -> None:
    more = replace(features, weight=max(weight, features.weight), pieces=max(pieces, features.pieces), guess=False)
    assert manager_confidence(more) >= manager_confidence(features)


@given(MANAGERS, WEIGHTS)
def test_more_evidence_for_another_manager_never_raises_the_confidence(features: ManagerFeatures, rival: float) -> None:
    more = replace(features, rivals=(*features.rivals, rival))
    assert manager_confidence(more) <= manager_confidence(features)


@given(STEPS, WEIGHTS, st.integers(0, 50))
def test_more_evidence_for_a_step_never_lowers_its_confidence(
    features: StepFeatures, weight: float, pieces: int
) -> None:
    more = replace(features, weight=max(weight, features.weight), pieces=max(pieces, features.pieces))
    assert step_confidence(more) >= step_confidence(features)
    assert step_confidence(replace(more, source=Source.CI, silent_ci=False)) >= step_confidence(features)


@given(STEPS, WEIGHTS)
def test_what_speaks_against_a_step_never_raises_its_confidence(features: StepFeatures, rival: float) -> None:
    worse = replace(
        features,
        rival=max(rival, features.rival),
        variants=features.variants + 3,
        opaque=True,
        silent_ci=True,
        side=True,
    )
    assert step_confidence(worse) <= step_confidence(features)


@given(MANAGERS, STEPS)
def test_a_confidence_is_above_zero_and_never_certain(manager: ManagerFeatures, step: StepFeatures) -> None:
    assert 0 < manager_confidence(manager) <= CERTAINTY < 1
    assert 0 < step_confidence(step) <= CERTAINTY < 1
    assert manager_confidence(manager, MODELS) == manager_confidence(manager, MODELS)


def test_the_shipped_calibration_is_no_constant() -> None:
    weak, strong = (
        StepFeatures(StepKind.TEST, Source.DEFAULT, 0.5, rival=0.8),
        StepFeatures(StepKind.TEST, Source.CI, 0.95, pieces=3),
    )
    assert step_confidence(strong) - step_confidence(weak) > 0.2
    torn, agreed = ManagerFeatures(0.6, rivals=(0.5,), guess=True), ManagerFeatures(0.98, pieces=3)
    assert manager_confidence(agreed) - manager_confidence(torn) > 0.1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("guess = -0.25\n", "", r"\[manager\] needs an intercept and the coefficients weight, pieces"),
        ("guess = -0.25\n", "guesses = -1\n", r"\[manager\] needs an intercept"),
        ("intercept = 0.5", "intercept = nan", r"\[step\] needs an intercept and the coefficients test.* finite"),
        ("ci = 1.5", "ci = -1.5", r"\[step\] ci has the wrong sign"),
        ("guess = -0.25\n", "guess = 1\n", r"\[manager\] guess has the wrong sign"),
    ],
)
def test_a_calibration_that_would_not_be_monotone_is_refused(old: str, new: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_calibration(VALID.replace(old, new, 1))


def test_a_calibration_is_read_from_its_text() -> None:
    assert MODELS.step.coefficients["ci"] == 1.5
    assert manager_confidence(ManagerFeatures(0.5), MODELS) == round(CERTAINTY / (1 + math.exp(-1.0)), 4)


def evidence(path: str, weight: float) -> Evidence:
    """One observation."""
    return Evidence(path, 0, "sign", weight)


def step(kind: StepKind, word: str, weight: float, source: Source = Source.TASK) -> Step:
    """One step of one word."""
    return Step(kind, Command.of(word), weight, (evidence("file", weight),), source)


def project(manager: PackageManager, *steps: Step, workdir: str = ".") -> Project:
    """A project as ranking gives it."""
    return Project(workdir, "python", 0.9, manager, (), steps, ())


UV = PackageManager("uv", "", 0.9, (), (evidence("uv.lock", 0.9),))
TORN = replace(UV, alternatives=(PackageManager("pip", "", 0.6, (), (evidence("requirements.txt", 0.6),)),))


def context(*tasks: Task, ci: bool = False) -> Context:
    """What is known of a tree with these tasks."""
    return Context.of(Classifier(default_programs(), tasks), tasks, frozenset({"examples"}), ci=ci)


def one(found: Project, *tasks: Task) -> Project:
    """A project, calibrated."""
    [answer] = calibrated([found], context(*tasks), MODELS)
    return answer


def test_a_rival_takes_from_the_manager_and_all_of_them_share_one_whole() -> None:
    alone, torn = one(project(UV)).package_manager, one(project(TORN)).package_manager
    assert torn.confidence < alone.confidence
    assert 0 < torn.alternatives[0].confidence < torn.confidence
    assert torn.confidence + torn.alternatives[0].confidence < 1


def test_two_managers_with_the_same_evidence_are_as_likely_and_no_more_than_a_coin() -> None:
    even = replace(UV, alternatives=(PackageManager("poetry", "", 0.9, (), (evidence("poetry.lock", 0.9),)),))
    manager = one(project(even)).package_manager
    assert manager.confidence == manager.alternatives[0].confidence < 0.5


def test_a_project_without_a_manager_keeps_none() -> None:
    nothing = PackageManager("", "", 0.0)
    assert one(project(nothing, step(StepKind.INSTALL, "make", 0.9))).package_manager == nothing


def test_an_installation_is_not_surer_than_the_manager_that_does_it() -> None:
    install, test = one(project(TORN, step(StepKind.INSTALL, "uv", 0.99), step(StepKind.TEST, "pytest", 0.99))).steps
    assert install.confidence <= one(project(TORN)).package_manager.confidence < test.confidence


def test_a_lower_place_never_has_the_higher_confidence() -> None:
    first, second = one(project(UV, step(StepKind.TEST, "a", 0.5), step(StepKind.TEST, "b", 0.9, Source.CI))).steps
    assert first.confidence >= second.confidence


def test_steps_of_other_purposes_are_no_rivals() -> None:
    test = step(StepKind.TEST, "pytest", 0.8)
    assert one(project(UV, test)).steps[0] == one(project(UV, test, step(StepKind.LINT, "ruff", 0.9))).steps[0]


def test_a_side_directory_lowers_the_confidence_of_steps() -> None:
    test = step(StepKind.TEST, "pytest", 0.8)
    assert one(project(UV, test, workdir="examples/a")).steps[0].confidence < one(project(UV, test)).steps[0].confidence


def test_features_of_a_manager_tell_files_rivals_and_guesses() -> None:
    manager = replace(TORN, evidence=(evidence("uv.lock", 0.5), evidence("pyproject.toml", 0.5)))
    assert manager_features(manager) == ManagerFeatures(0.75, (0.6,), 2, False)
    assert manager_features(replace(UV, evidence=(evidence("", 0.6),))).guess


def test_features_of_steps_tell_rivals_of_as_strong_a_source_and_what_agrees() -> None:
    steps = [
        Step(StepKind.TEST, Command.of("uv", "run", "pytest", "-x"), 0.7, (evidence("ci.yml", 0.7),), Source.CI),
        step(StepKind.TEST, "tox", 0.9, Source.TASK),
        Step(StepKind.TEST, Command.of("python", "-m", "pytest"), 0.8, (evidence("pytest.ini", 0.8),), Source.TASK),
    ]
    first, second, third = step_features(project(UV, *steps), StepKind.TEST, context(ci=True))
    assert first == StepFeatures(StepKind.TEST, Source.CI, 0.7, rival=0.0, pieces=2)
    assert second == StepFeatures(StepKind.TEST, Source.TASK, 0.9, rival=0.8, opaque=True, silent_ci=True)
    assert third == StepFeatures(StepKind.TEST, Source.TASK, 0.8, rival=0.9, pieces=2, silent_ci=True)


def test_a_command_of_which_it_cannot_be_seen_what_runs_has_less_confidence() -> None:
    plain, hidden = step(StepKind.TEST, "pytest", 0.8), step(StepKind.TEST, "our-tests", 0.8)
    assert one(project(UV, hidden)).steps[0].confidence < one(project(UV, plain)).steps[0].confidence


def test_many_tasks_for_one_purpose_lower_the_confidence() -> None:
    test = step(StepKind.TEST, "pytest", 0.8)
    tasks = [Task("make", f"test-{name}", "Makefile", 1, ".", ("make", f"test-{name}")) for name in "abc"]
    assert one(project(UV, test), *tasks).steps[0].confidence < one(project(UV, test)).steps[0].confidence


def test_tasks_of_another_ecosystem_directory_or_purpose_count_nothing() -> None:
    test = step(StepKind.TEST, "pytest", 0.8)
    script = Task("npm-script", "test:unit", "package.json", 1, ".", ("run", "test:unit"))
    below = Task("make", "test", "web/Makefile", 1, "web", ("make", "test"))
    lint = Task("make", "lint", "Makefile", 1, ".", ("make", "lint"))
    assert one(project(UV, test), script, below, lint) == one(project(UV, test))


def test_detection_gives_calibrated_confidences(detect_files: Callable[..., Detection]) -> None:
    files = {"pyproject.toml": '[project]\nname="x"\n[tool.pytest.ini_options]\n', "uv.lock": "", "tests/test_a.py": ""}
    [found] = detect_files(files).projects
    assert found.package_manager.confidence == manager_confidence(manager_features(found.package_manager))
    assert default_calibration() is default_calibration()
