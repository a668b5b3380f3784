"""What is kept between detections, and what is not."""

from __future__ import annotations

import threading

import pytest
from autopack_toolchain.core.recent import ENTRY, MAX_TEXT, Recent, forget


class Made:
    """A function that counts its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def __call__(self, text: str, *rest: object) -> str:
        self.calls.append((text, *rest))
        if text == "bad":
            raise ValueError(text)
        return text.upper()


def test_a_text_that_was_seen_is_not_read_again_unless_something_else_differs() -> None:
    recent, made = Recent(10_000), Made()
    assert [recent.of(made, "a"), recent.of(made, "a"), recent.of(made, "a", 1)] == ["A", "A", "A"]
    assert made.calls == [("a",), ("a", 1)]


def test_functions_do_not_share_what_they_made() -> None:
    recent = Recent(10_000)
    assert (recent.of(str.upper, "a"), recent.of(str.lower, "a")) == ("A", "a")


def test_what_was_used_longest_ago_is_dropped_first() -> None:
    recent, made = Recent(2 * (ENTRY + 1)), Made()
    for text in ("a", "b", "a", "c", "a", "b"):
        recent.of(made, text)
    assert made.calls == [("a",), ("b",), ("c",), ("b",)]


def test_a_long_text_and_a_failure_are_not_kept() -> None:
    recent, made = Recent(10 * MAX_TEXT), Made()
    for _ in range(2):
        recent.of(made, "x" * (MAX_TEXT + 1))
        with pytest.raises(ValueError, match="bad"):
            recent.of(made, "bad")
    assert len(made.calls) == 4


def test_threads_may_ask_at_once_and_the_size_stays_bounded() -> None:
    recent = Recent(5 * (ENTRY + 2))
    texts = [f"{number:02}" for number in range(20)]
    wrong: list[str] = []

    def ask() -> None:
        for _ in range(300):
            wrong.extend(text for text in texts if recent.of(str.upper, text) != text)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(recent) == 5


def test_after_forgetting_a_text_is_read_again_and_there_is_room_for_as_many() -> None:
    recent, made = Recent(2 * (ENTRY + 1)), Made()
    for text in ("a", "b"):
        recent.of(made, text)
    forget()
    assert len(recent) == 0
    for text in ("a", "b", "a", "b"):
        recent.of(made, text)
    assert made.calls == [("a",), ("b",), ("a",), ("b",)]
