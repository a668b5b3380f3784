from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
from autopack_intention.core.evidence import FileChange
from autopack_intention.core.off_goal import (
    Model,
    default_model,
    features_of,
    is_generated,
    off_goal_files,
    parse_model,
)
from autopack_intention.core.profile import Vector, Vocabulary
from autopack_intention.core.text import count_terms
from hypothesis import given, settings
from hypothesis import strategies as st

VOCABULARY = Vocabulary(0, {})


GOAL = VOCABULARY.vector(count_terms("Retry failed requests of the HTTP client with exponential backoff and jitter"))
CLIENT = FileChange(
    "src/http/client.py", ("class HttpClient:",), ("retry_request", "backoff", "jitter", "max_attempts", "failed")
)
POLICY = FileChange("src/http/retry_policy.py", (), ("RetryPolicy", "exponential_backoff", "jitter", "delay"), True)
TEST = FileChange("tests/http/test_client.py", ("def test_retry():",), ("HttpClient", "max_attempts", "monkeypatch"))
THEME = FileChange("web/theme/palette.css", (".dark",), ("color", "hover", "button", "stylesheet", "toggle"))
INVOICE = FileChange("billing/invoice.py", ("class Invoice:",), ("currency", "total", "tax_rate", "customer_address"))


def listed(*files: FileChange) -> list[str]:
    return [file.path for file in off_goal_files(GOAL, files, VOCABULARY.weights)]


def test_files_of_another_task_are_listed_and_those_of_the_goal_are_not() -> None:
    assert set(listed(CLIENT, POLICY, TEST, THEME, INVOICE)) == {THEME.path, INVOICE.path}


def test_the_least_related_file_comes_first() -> None:
    kin = replace(INVOICE, path="src/http/invoice.py", added_identifiers=(*INVOICE.added_identifiers, "HttpClient"))
    everything = replace(default_model(), threshold=0.0)
    found = off_goal_files(GOAL, (CLIENT, POLICY, kin, THEME), VOCABULARY.weights, everything)
    assert found[0].path == THEME.path
    scores = [file.score for file in found]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score < 1 for score in scores)


def test_a_clean_change_is_not_flagged() -> None:
    assert listed(CLIENT, POLICY, TEST) == []


def test_a_test_that_shares_words_with_the_anchors_alone_is_kept() -> None:
    # It shares no word with the goal.
    test = FileChange("src/http/conftest.py", ("class HttpClient:",), ("max_attempts", "delay", "monkeypatch"))
    stranger = FileChange("web/conftest.py", ("class Theme:",), ("color", "hover", "monkeypatch"))
    assert listed(CLIENT, POLICY, test, stranger) == [stranger.path]


@pytest.mark.parametrize(
    "path",
    [
        "yarn.lock",
        "web/package-lock.json",
        "Cargo.lock",
        "go.sum",
        "CHANGELOG.md",
        "docs/release-notes.rst",
        "src/__snapshots__/button.snap",
        "gen/http_pb2.py",
        "web/app.min.js",
    ],
)
def test_a_generated_file_is_never_listed(path: str) -> None:
    assert is_generated(path)
    assert listed(CLIENT, POLICY, replace(THEME, path=path), INVOICE) == [INVOICE.path]


@pytest.mark.parametrize("path", ["src/history.py", "src/lock.py", "changes/models.py", "snapshots.go", "news.tsx"])
def test_a_source_file_with_such_a_word_in_its_name_is_judged(path: str) -> None:
    assert not is_generated(path)


def test_the_only_file_is_never_listed() -> None:
    assert listed(THEME) == []
    assert listed(THEME, replace(INVOICE, path="yarn.lock")) == []
    assert listed() == []


def test_no_file_is_listed_when_none_is_near_the_goal() -> None:
    assert listed(THEME, INVOICE) == []
    assert off_goal_files({}, (CLIENT, THEME), VOCABULARY.weights) == ()


FILES = st.lists(
    st.builds(
        FileChange,
        st.sampled_from([CLIENT.path, POLICY.path, THEME.path, INVOICE.path, "", "a", "a/b", "yarn.lock"]),
        st.just(()),
        st.lists(st.sampled_from(["retry", "backoff", "jitter", "color", "invoice", "é", "_"])).map(tuple),
    )
)


@settings(max_examples=100, deadline=None)
@given(FILES)
def test_never_every_file_never_one_twice_and_always_the_same(files: list[FileChange]) -> None:
    found = off_goal_files(GOAL, files, VOCABULARY.weights, Model(5.0, (-1.0, -1.0, -1.0, -1.0), 0.0))
    paths = [file.path for file in found]
    assert len(set(paths)) == len(paths)
    assert not paths or set(paths) < {file.path for file in files}
    assert found == off_goal_files(GOAL, files, VOCABULARY.weights, Model(5.0, (-1.0, -1.0, -1.0, -1.0), 0.0))
    assert all(math.isfinite(file.score) for file in found)


def test_the_order_of_files_does_not_matter() -> None:
    files = (CLIENT, POLICY, TEST, THEME, INVOICE)
    assert off_goal_files(GOAL, files, VOCABULARY.weights) == off_goal_files(GOAL, files[::-1], VOCABULARY.weights)


def test_many_files_cost_one_reading_each() -> None:
    read = 0

    def counted(terms: Mapping[str, int]) -> Vector:
        nonlocal read
        read += 1
        return VOCABULARY.weights(terms)

    many = [replace(THEME, path=f"web/theme{n}/palette.css") for n in range(1_998)]
    found = off_goal_files(GOAL, [CLIENT, POLICY, *many], counted)
    assert len(found) == 1_998
    assert read == 2_000


def test_features_are_shares() -> None:
    rows = features_of(GOAL, (CLIENT, POLICY, THEME), VOCABULARY.weights)
    assert all(0 <= value <= 1 + 1e-9 for row in rows for value in row)
    assert max(share for _, share, _, _ in rows) == 1
    assert rows[0][3] == 1
    assert rows[2][3] == pytest.approx(1 / 3)  # only the root in common


def test_the_model_that_ships_is_valid_and_more_in_common_never_raises_its_probability() -> None:
    model = default_model()
    assert 0 < model.threshold < 1
    before = model.probability((0.2, 0.2, 0.2, 0.2))
    for feature in range(4):
        more = [0.2] * 4
        more[feature] = 0.9
        assert model.probability((more[0], more[1], more[2], more[3])) <= before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("intercept = 1.0\nthreshold = 0.9\n[coefficients]\ngoal = -1.0\n", "coefficients"),
        (
            "intercept = 1.0\nthreshold = nan\n[coefficients]\ngoal = -1.0\nshare = 0\nanchors = 0\ndirectory = 0\n",
            "finite",
        ),
        (
            "intercept = 1.0\nthreshold = 0.9\n[coefficients]\ngoal = -1\nshare = 0\nanchors = 2\ndirectory = 0\n",
            "anchors",
        ),
    ],
)
def test_a_damaged_model_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_model(text)
