from __future__ import annotations

import pytest
from autopack_intention import Evidence, Profile, ProfileSource
from autopack_intention.core.profile import MAX_CHANGES, MAX_MESSAGES, dot


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
