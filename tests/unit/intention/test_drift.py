from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise, product

import pytest
from autopack_intention import (
    Advisory,
    Evidence,
    FileChange,
    Intention,
    Profile,
    ProfileSource,
    Scorer,
    Step,
    Verdict,
    check_drift,
)
from autopack_intention.core.text import count_terms
from hypothesis import given, settings
from hypothesis import strategies as st

AREAS = ("billing", "search", "upload", "login", "mail", "report", "cache", "theme", "export", "chat", "audit", "quota")
GOAL = Intention(
    "Retry failed requests in the HTTP client",
    "Use exponential backoff with jitter; stop after max_attempts. Honour the Retry-After header.",
    scope=("src/http/", "tests/http/"),
    non_goal_globs=("src/http/vendor/",),
)
ON_GOAL = Evidence(
    ("src/http/client.py", "src/http/retry.py", "tests/http/test_retry.py"),
    ("class HttpClient:", "def send_request(self, request):"),
    ("retry", "backoff", "jitter", "max_attempts", "retry_after", "header", "client", "request", "sleep"),
)
OFF_GOAL = Evidence(
    ("src/http/theme.py",),
    ("class DarkTheme:",),
    ("color", "palette", "background", "stylesheet", "toggle", "button", "hover"),
)
PARROT = "I retry failed requests in the HTTP client with exponential backoff and jitter, up to max_attempts."
HONEST = "Added a dark theme: color palette, stylesheet, toggle button with hover, DarkTheme background."


def change(area: str) -> Evidence:
    return Evidence(
        (f"src/http/{area}.py", f"tests/http/test_{area}.py"),
        (f"class {area.title()}Service:",),
        (f"{area}_id", f"load_{area}", "session", "request", "response", "value", "client"),
    )


PROFILE = Profile.build(
    [f"Let the {area} service load its {other} values" for area in AREAS for other in AREAS], [*map(change, AREAS)]
)


def verdict(evidence: Evidence, *, note: str = "", intention: Intention = GOAL) -> Verdict:
    return check_drift(intention, Step(evidence, note), PROFILE).step_verdict


def test_work_on_the_goal_is_on_goal_and_explains_itself() -> None:
    result = check_drift(GOAL, Step(ON_GOAL), PROFILE)
    assert result.step_verdict is Verdict.ON_GOAL
    assert result.z >= 2
    assert result.confidence > 0.8
    assert result.prior == 0.5
    assert {"retry", "backoff", "jitter"} <= set(result.shared_terms)
    assert "sleep" in result.unexplained_terms
    assert result.profile_source is ProfileSource.REPOSITORY
    assert (result.profile_messages, result.profile_changes) == (144, 12)


def test_other_work_is_drift_and_names_what_is_unexplained() -> None:
    result = check_drift(GOAL, Step(OFF_GOAL), PROFILE)
    assert result.step_verdict is Verdict.DRIFT
    assert result.confidence < 0.5
    assert {"palette", "hover"} <= set(result.unexplained_terms)


def test_a_note_that_repeats_the_goal_does_not_clear_a_drift() -> None:
    result = check_drift(GOAL, Step(OFF_GOAL, note=PARROT), PROFILE)
    assert result.step_verdict is Verdict.DRIFT
    assert Advisory.CLAIM_MISMATCH in result.advisories
    assert result.z == check_drift(GOAL, Step(OFF_GOAL), PROFILE).z


def test_a_note_that_bridges_goal_and_change_lifts_drift_to_watch_and_never_higher() -> None:
    assert verdict(OFF_GOAL, note=f"{PARROT} {HONEST}") is Verdict.WATCH


def test_a_note_alone_is_no_evidence() -> None:
    result = check_drift(GOAL, Step(Evidence(), note=PARROT), PROFILE)
    assert result.step_verdict is result.run_verdict is Verdict.INSUFFICIENT_EVIDENCE
    assert math.isnan(result.z)
    assert result.confidence == result.prior


@pytest.mark.parametrize("title", ["Fix", "Fix bug", "!!!", "修复登录错误"])
def test_a_goal_that_says_too_little_is_not_judged(title: str) -> None:
    result = check_drift(Intention(title), Step(ON_GOAL), PROFILE)
    assert result.step_verdict is Verdict.INSUFFICIENT_EVIDENCE
    assert Advisory.GOAL_TOO_SHORT in result.advisories


@pytest.mark.parametrize("path", ["docs/index.md", "src/http/vendor/lib.py", "src/httpx.py"])
def test_a_path_out_of_scope_is_a_violation_however_good_the_rest(path: str) -> None:
    evidence = Evidence((*ON_GOAL.paths, path), ON_GOAL.hunk_headers, ON_GOAL.added_identifiers)
    result = check_drift(GOAL, Step(evidence), PROFILE)
    assert result.step_verdict is result.run_verdict is Verdict.SCOPE_VIOLATION
    assert result.out_of_scope == (path,)
    assert result.z > 2


def test_scope_is_checked_on_paths_beyond_those_that_are_compared() -> None:
    evidence = Evidence((*(f"src/http/retry{n}.py" for n in range(500)), "setup.py"))
    assert check_drift(GOAL, Step(evidence), PROFILE).out_of_scope == ("setup.py",)


@pytest.mark.parametrize(
    ("evidence", "earlier", "final", "expected"),
    [
        (OFF_GOAL, (), False, Verdict.WATCH),
        (OFF_GOAL, (), True, Verdict.DRIFT),
        (OFF_GOAL, (3.0,), True, Verdict.WATCH),
        (OFF_GOAL, (0.1,), False, Verdict.DRIFT),
        (OFF_GOAL, (0.1, 3.0), False, Verdict.WATCH),
        (OFF_GOAL, (0.1, math.nan), False, Verdict.DRIFT),
        (ON_GOAL, (0.1,), False, Verdict.WATCH),
        (ON_GOAL, (0.1, 0.1, 3.0), False, Verdict.ON_GOAL),
        (ON_GOAL, (), True, Verdict.ON_GOAL),
        (Evidence(), (0.1, 0.1), False, Verdict.DRIFT),
        (Evidence(), (3.0, 3.0), True, Verdict.WATCH),
        (Evidence(), (), True, Verdict.INSUFFICIENT_EVIDENCE),
    ],
)
def test_a_run_is_judged_by_its_last_two_steps(
    evidence: Evidence, earlier: tuple[float, ...], final: bool, expected: Verdict
) -> None:
    result = check_drift(GOAL, Step(evidence, earlier_z=earlier, final=final), PROFILE)
    assert result.run_verdict is expected
    assert result.single_step is (not earlier)


def test_without_history_the_check_says_so_and_still_tells_good_from_bad() -> None:
    good, bad = (check_drift(GOAL, Step(evidence)) for evidence in (ON_GOAL, OFF_GOAL))
    assert (good.step_verdict, bad.step_verdict) == (Verdict.ON_GOAL, Verdict.DRIFT)
    assert good.profile_source is ProfileSource.NONE
    assert Advisory.NO_HISTORY in good.advisories


def test_without_messages_the_background_still_counts() -> None:
    profile = Profile.build((), [*map(change, AREAS)])
    result = check_drift(GOAL, Step(OFF_GOAL), profile)
    assert result.profile_source is ProfileSource.BACKGROUND_ONLY
    assert result.step_verdict is Verdict.DRIFT


def test_files_of_another_task_are_an_advisory_that_leaves_the_verdict_alone() -> None:
    files = (
        FileChange("src/http/retry_backoff.py", ("class RetryPolicy:",), ON_GOAL.added_identifiers),
        FileChange("web/palette.css", (), OFF_GOAL.added_identifiers),
    )
    whole = Evidence(tuple(file.path for file in files), (), ON_GOAL.added_identifiers)
    open_goal = Intention(GOAL.title, GOAL.description)
    told, untold = (check_drift(open_goal, Step(replace(whole, files=some)), PROFILE) for some in (files, ()))
    assert [file.path for file in told.off_goal_files] == ["web/palette.css"]
    assert Advisory.OFF_GOAL_FILES in told.advisories
    assert told.step_verdict is untold.step_verdict
    # From paths alone every second file listed would be a false one.
    assert untold.off_goal_files == ()
    assert Advisory.OFF_GOAL_FILES not in untold.advisories


def test_a_goal_of_two_words_lists_no_file() -> None:
    files = (FileChange("src/retry.py", (), ("retry",)), FileChange("web/palette.css", (), ("color", "hover")))
    assert check_drift(Intention("Fix retry"), Step(Evidence(files=files)), PROFILE).off_goal_files == ()


def test_a_repeated_check_changes_nothing() -> None:
    scorer = Scorer(PROFILE)
    step = Step(ON_GOAL, note=PARROT, earlier_z=(0.4,))
    assert check_drift(GOAL, step, scorer) == check_drift(GOAL, step, scorer) == check_drift(GOAL, step, PROFILE)


_GOAL_TERMS = count_terms(f"{GOAL.title} {GOAL.description}").keys()
GOAL_WORDS = [name for name in ON_GOAL.added_identifiers if count_terms(name).keys() <= _GOAL_TERMS]
RANK = {Verdict.INSUFFICIENT_EVIDENCE: 0, Verdict.DRIFT: 0, Verdict.WATCH: 1, Verdict.ON_GOAL: 2}


@settings(max_examples=200, deadline=None)
@given(
    st.sets(st.sampled_from(GOAL_WORDS)),
    st.lists(st.sampled_from(OFF_GOAL.added_identifiers)),
    st.sampled_from([0, 1, 2, 5, 20]),
    st.data(),
)
def test_the_verdict_never_improves_when_evidence_about_the_goal_is_removed(
    goal_words: set[str], others: list[str], repeats: int, data: st.DataObject
) -> None:
    kept = sorted(data.draw(st.sets(st.sampled_from(sorted(goal_words)))) if goal_words else ())
    more = Evidence(("web/theme.css",), ("retry",) * repeats, (*others[:15], *sorted(goal_words)))
    less = Evidence(("web/theme.css",), (), (*others[:15], *kept))
    open_goal = Intention(GOAL.title, GOAL.description)
    for profile in (PROFILE, None):
        before, after = (check_drift(open_goal, Step(evidence), profile) for evidence in (more, less))
        assert after.z <= before.z + 1e-9
        assert RANK[after.step_verdict] <= RANK[before.step_verdict]


@pytest.mark.parametrize(
    "goal",
    [
        "Исправить бесконечный цикл и повторить запрос с экспоненциальной задержкой",  # noqa: RUF001
        "Wiederhole fehlgeschlagene Anfragen mit exponentieller Wartezeit, höchstens fünf Versuche",
        "Corrige el bucle infinito del inicio de sesión cuando la cookie ha caducado",
    ],
)
def test_a_goal_in_another_language_is_not_judged_and_says_so(goal: str) -> None:
    words = ["".join(letters) for letters in product("bcdfg", "aeiou", "lmnpr", "aeiou")]
    messages = [f"Let {first} load {second} requests" for first, second in pairwise(words)]
    profile = Profile.build(
        [*messages, "Retry with backoff in the HTTP client", GOAL.description], [*map(change, AREAS)]
    )
    result = check_drift(Intention(goal), Step(OFF_GOAL), profile)
    assert result.step_verdict is Verdict.INSUFFICIENT_EVIDENCE
    assert Advisory.GOAL_UNFAMILIAR in result.advisories
    assert check_drift(GOAL, Step(OFF_GOAL), profile).step_verdict is Verdict.DRIFT


def test_an_edited_goal_is_told_and_the_steps_before_it_are_not_counted() -> None:
    first = check_drift(GOAL, Step(OFF_GOAL), PROFILE)
    step = Step(OFF_GOAL, earlier_z=(first.z,), source_sha256=first.source_sha256)
    same = check_drift(GOAL, step, PROFILE)
    assert (same.run_verdict, same.advisories) == (Verdict.DRIFT, ())
    edited = check_drift(replace(GOAL, description="Use exponential backoff without any jitter."), step, PROFILE)
    assert (edited.run_verdict, edited.single_step) == (Verdict.WATCH, True)
    assert edited.advisories == (Advisory.GOAL_EDITED,)
    assert edited.source_sha256 != first.source_sha256
