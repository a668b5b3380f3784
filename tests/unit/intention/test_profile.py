from __future__ import annotations

import math

import pytest
from autopack_intention import Evidence, Profile, ProfileSource
from autopack_intention.core.profile import MAX_CHANGES, MAX_MESSAGES, dot, similarity
from hypothesis import given
from hypothesis import strategies as st


def changes(count: int) -> list[Evidence]:
    return [Evidence((f"src/module{n}/file.py",), (), (f"name{n}", "value")) for n in range(count)]


def messages(count: int) -> list[str]:
    return [f"Fix parser of kind{n}" for n in range(count)]


@pytest.mark.parametrize(
    ("known_messages", "known_changes", "source"),
    [
        (0, 0, ProfileSource.NONE),
        (100, 9, ProfileSource.NONE),
        (19, 10, ProfileSource.BACKGROUND_ONLY),
        (20, 10, ProfileSource.REPOSITORY),
    ],
)
def test_a_profile_says_what_it_is_good_for(known_messages: int, known_changes: int, source: ProfileSource) -> None:
    assert Profile.build(messages(known_messages), changes(known_changes)).source is source


def test_the_same_history_has_the_same_id_and_another_has_not() -> None:
    first = Profile.build(messages(30), changes(12))
    assert first.id == Profile.build(messages(30), changes(12)).id
    assert (
        len({first.id, Profile.build(messages(31), changes(12)).id, Profile.build(messages(30), changes(13)).id}) == 3
    )


def test_a_profile_survives_its_json() -> None:
    profile = Profile.build(messages(30), changes(12))
    again = Profile.from_json(profile.to_json())
    assert again.id == profile.id
    assert again.change_vectors == profile.change_vectors


@pytest.mark.parametrize("data", [b"[]", b'{"model": "other"}', b'{"model": "lexical-1"}', b"{"])
def test_what_is_no_profile_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        Profile.from_json(data)


def test_more_history_than_is_needed_is_ignored() -> None:
    profile = Profile.build(messages(MAX_MESSAGES + 5), changes(MAX_CHANGES + 5))
    assert profile.vocabulary.documents == MAX_MESSAGES
    assert len(profile.changes) == MAX_CHANGES


def test_a_rare_term_weighs_more_than_a_common_one() -> None:
    vector = Profile.build(messages(50)).vocabulary.vector({"parser": 1, "pars": 1, "unseen": 1, "kind3": 1})
    assert vector["unseen"] > vector["kind3"] > vector["parser"]
    assert dot(vector, vector) == pytest.approx(1)


WEIGHTS = st.dictionaries(st.sampled_from("abcdefghij"), st.floats(0.01, 10), min_size=1)


def unit(weights: dict[str, float]) -> dict[str, float]:
    length = math.sqrt(sum(weight * weight for weight in weights.values()))
    return {term: weight / length for term, weight in weights.items()}


@given(WEIGHTS, WEIGHTS)
def test_similarity_is_at_least_the_cosine_and_at_most_1(goal: dict[str, float], change: dict[str, float]) -> None:
    assert dot(unit(goal), unit(change)) - 1e-9 <= similarity(unit(goal), change) <= 1 + 1e-9


@given(WEIGHTS, WEIGHTS, st.data())
def test_less_of_what_is_shared_never_means_more_similarity(
    goal: dict[str, float], change: dict[str, float], data: st.DataObject
) -> None:
    shares = {term: data.draw(st.floats(0, 1)) for term in change if term in goal}
    less = {term: weight * shares.get(term, 1.0) for term, weight in change.items() if shares.get(term, 1.0)}
    assert similarity(unit(goal), less) <= similarity(unit(goal), change) + 1e-9


@given(WEIGHTS, WEIGHTS)
def test_similarity_is_the_largest_cosine_that_lowering_shared_terms_reaches(
    goal: dict[str, float], change: dict[str, float]
) -> None:
    best = similarity(unit(goal), change)
    lengths = [share / 40 for share in range(1, 41)]
    longest = max((change[term] / goal[term] for term in change if term in goal), default=1.0)
    reached = 0.0
    for length in lengths:  # the best one caps every shared term at the same multiple of its share in the goal
        capped = {t: min(w, length * longest * goal[t]) if t in goal else w for t, w in change.items()}
        reached = max(reached, dot(unit(goal), unit(capped)))
    assert reached <= best + 1e-9
    assert dot(unit(goal), unit(change)) <= best + 1e-9
