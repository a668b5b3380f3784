"""Failures that nothing explains: the line that tells most, what differs, what is never kept, the file that is made."""

from __future__ import annotations

import tomllib

import pytest
from autopack_hardening.core.custom import read_definition
from autopack_hardening.core.model import Ending
from autopack_hardening.core.skeleton import skeleton
from autopack_hardening.core.templates import Cluster, Unexplained, best_of, cluster_id, merged, unexplained, words_of
from autopack_kit.commands import Command, Script
from hypothesis import given, settings
from hypothesis import strategies as st


def found(output: str, *words: str, code: int = 1) -> Unexplained:
    result = unexplained(Command.of(*words) if words else None, Ending(code), output.encode())
    assert result is not None
    return result


@pytest.mark.parametrize(
    ("output", "line"),
    [
        ("start\nerror: no such widget\nsee the log\n", "error: no such widget"),
        ("\x1b[31merror: first\x1b[0m\nerror: last one\n12:30 done in 3 s\n", "error: last one"),
        ("all\nquiet here\n\n", "quiet here"),
        ("error: x\n" + "-" * 20 + "\n", "error: x"),
    ],
)
def test_the_last_line_that_tells_of_an_error_counts(output: str, line: str) -> None:
    assert " ".join(found(output).words) == line


def test_a_line_of_noise_does_not_count() -> None:
    result = unexplained(
        None, Ending(1), b"error: real\nwarning: not found\n", lambda line: line.startswith(b"warning")
    )
    assert result is not None
    assert result.words == ("error:", "real")


def test_nothing_printed_is_nothing_to_count() -> None:
    assert unexplained(None, Ending(1), b"\n \x1b[0m\n") is None


def test_what_differs_from_run_to_run_is_a_placeholder() -> None:
    assert words_of("took 3ms at /tmp/a1 or a/b, v2.1 but not and/or ./x") == (
        "took", "<*>", "at", "<*>", "or", "<*>", "<*>", "but", "not", "<*>", "<*>",
    )  # fmt: skip


def test_lines_are_alike_if_most_words_are() -> None:
    known = [("cannot", "weld", "left", "plate"), ("cannot", "paint", "the", "frame")]
    assert best_of(known, ("cannot", "weld", "right", "plate")) == 0
    assert best_of(known, ("cannot", "move", "a", "wheel")) is None
    assert best_of([], ("a",)) is None
    assert merged(known[0], ("cannot", "weld", "right", "plate")) == ("cannot", "weld", "<*>", "plate")


def test_a_command_is_kept_up_to_its_first_option() -> None:
    assert (
        found("x failed", "/opt/bin/deploy", "to", "prod", "--password", "hunter2").example.command == "deploy to prod"
    )
    script = Command(script=Script(("bash",), "curl https://u:s3cr3t@host/ | sh"))
    result = unexplained(script, Ending(signal=9), b"x failed")
    assert result is not None
    assert "s3cr3t" not in result.example.command
    assert result.example.exit_code == 137


@pytest.mark.parametrize(
    "secret",
    [
        "ghp_" + "a1B2" * 10,
        "AKIA" + "ABCD1234" * 2,
        "sk-ant-" + "x1y2" * 8,
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0",
    ],
)
@pytest.mark.parametrize("form", ["{}\nfailed\n", "failed: {}\n", "X_TOKEN={} failed\n", "https://a:{}@b failed\n"])
def test_no_secret_is_kept(secret: str, form: str) -> None:
    assert secret not in str(found(form.format(secret)))


def test_the_end_of_a_key_is_not_kept_either() -> None:
    block = "\n".join(["MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj"] * 50)
    kept = str(found(f"{block}\n-----END PRIVATE KEY-----\nfailed\n"))
    assert "MIIEvQIB" not in kept


def cluster(*failures: Unexplained) -> Cluster:
    words = failures[0].words
    for one in failures[1:]:
        words = merged(words, one.words)
    examples = tuple(one.example for one in failures)
    return Cluster(
        cluster_id(words), words, len(failures), 0, 0, tuple({one.program for one in failures} - {""}), examples
    )


_NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@settings(deadline=None)
@given(first=_NAMES, second=_NAMES, word=st.sampled_from(["'a'", '"""', "\\d+", "[x", "*", "ü", "'''", "#", "{name}"]))
def test_a_skeleton_is_always_a_pattern_that_matches_its_cluster(first: str, second: str, word: str) -> None:
    failures = [
        found(f"{name} {word}\nweld error 17: plate {word} is bent\n", "welder", "go") for name in (first, second)
    ]
    pattern = read_definition(skeleton(cluster(*failures)))
    assert pattern.id == "custom.welder_weld_error_plate"
    from autopack_hardening.adapters.registry import diagnostician

    core = diagnostician().only([pattern])
    for sample in pattern.examples:
        assert [one.pattern_id for one in core.diagnose(sample.failure()).diagnoses] == [pattern.id]
    assert [sample.exit_code for sample in pattern.examples] == [1, 1]


def test_a_skeleton_of_a_line_that_says_nothing_asks_for_an_expression() -> None:
    data = tomllib.loads(skeleton(cluster(found("17 42\n"))))
    assert data["pattern"][0]["any"] == ["TO DO: an expression"]
    assert "second example" in skeleton(cluster(found("17 42\n")))
