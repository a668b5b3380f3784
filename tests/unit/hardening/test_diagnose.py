"""The diagnosis as a whole: outcomes, order, excerpts, hostile input."""

from __future__ import annotations

import pytest
from autopack_hardening import Ending, Failure, Outcome, diagnose
from autopack_kit.commands import Command, Script
from hypothesis import given, settings
from hypothesis import strategies as st

MISSING = b"Traceback (most recent call last):\nModuleNotFoundError: No module named 'yaml'\n"
PYTHON = Command.of("python", "app.py")
FAILED = Ending(exit_code=1)


def ids(output: bytes, command: Command | None = PYTHON, ending: Ending = FAILED) -> list[str]:
    return [one.pattern_id for one in diagnose(Failure(command, ending, output)).diagnoses]


def test_a_success_never_matches_whatever_it_prints() -> None:
    result = diagnose(Failure(PYTHON, Ending(exit_code=0), MISSING))
    assert (result.outcome, result.diagnoses) == (Outcome.SUCCEEDED, ())


def test_an_unknown_failure_is_no_match() -> None:
    assert diagnose(Failure(PYTHON, FAILED, b"AssertionError: 3 != 4\n")).outcome is Outcome.NO_MATCH


@pytest.mark.parametrize("ending", [Ending(exit_code=1), Ending(signal=2)])
def test_a_failure_that_printed_nothing_is_no_output(ending: Ending) -> None:
    assert diagnose(Failure(PYTHON, ending, b" \n\x1b[0m\n")).outcome is Outcome.NO_OUTPUT


@pytest.mark.parametrize(
    ("ending", "name"),
    [
        (Ending(exit_code=137), "os.killed_oom"),
        (Ending(signal=9), "os.killed_oom"),
        (Ending(exit_code=124), "os.timeout"),
        (Ending(timed_out=True), "os.timeout"),
        (Ending(exit_code=139), "os.segfault"),
        (Ending(signal=11), "os.segfault"),
    ],
)
def test_an_ending_that_says_enough_alone_needs_no_output(ending: Ending, name: str) -> None:
    (found,) = diagnose(Failure(PYTHON, ending, b"")).diagnoses
    assert (found.pattern_id, found.line, found.excerpt) == (name, 0, b"")


@pytest.mark.parametrize("ending", [Ending(exit_code=2), Ending(signal=9), Ending(timed_out=True)])
def test_what_the_output_says_comes_before_what_the_ending_says(ending: Ending) -> None:
    assert ids(MISSING, ending=ending)[0] == "py.module_not_found"


def test_the_lines_of_a_tail_are_numbered_as_in_the_whole() -> None:
    failure = Failure(PYTHON, FAILED, b"...\n" + MISSING, head=b"$ python app.py\n", first_line=5001)
    assert [one.line for one in diagnose(failure).diagnoses] == [5003]
    whole = Failure(PYTHON, FAILED, b"...\n" + MISSING, head=b"$ python app.py\n")
    assert [one.line for one in diagnose(whole).diagnoses] == [4]


def test_a_cause_in_the_head_is_found() -> None:
    failure = Failure(PYTHON, FAILED, b"and so on\n", head=MISSING, first_line=900)
    assert [(one.pattern_id, one.line) for one in diagnose(failure).diagnoses] == [("py.module_not_found", 2)]


@pytest.mark.parametrize("bad", [{}, {"exit_code": 1, "signal": 9}, {"exit_code": 0, "timed_out": True}])
def test_a_command_ends_in_exactly_one_way(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="exactly one way"):
        Ending(**bad)  # type: ignore[arg-type]


def test_diagnoses_come_by_priority_and_the_excerpt_is_the_line_as_sent() -> None:
    output = b"bash: line 1: ./run.sh: Permission denied\n\x1b[31mModuleNotFoundError: No module named 'yaml'\x1b[0m\n"
    first, second = diagnose(Failure(PYTHON, FAILED, output)).diagnoses
    assert (first.pattern_id, first.priority, first.line) == ("py.module_not_found", 1, 2)
    assert (second.pattern_id, second.priority, second.line) == ("os.permission_exec", 4, 1)
    assert first.excerpt == b"ModuleNotFoundError: No module named 'yaml'"
    assert first.captures["module"] == "yaml"


def test_of_several_lines_the_one_with_what_was_missing_is_shown() -> None:
    output = b"node:internal/modules\nError: Cannot find module 'express'\nRequire stack:\n- /app/index.js\n    at x\n"
    (one,) = diagnose(Failure(Command.of("node", "index.js"), FAILED, output)).diagnoses
    assert (one.excerpt, one.line) == (b"Error: Cannot find module 'express'", 2)


def test_a_failure_hidden_behind_an_optional_warning_is_found() -> None:
    output = b"npm warn optional Cannot find module 'fsevents'\nError: EACCES: permission denied, open '/var/x'\n"
    assert ids(output, Command.of("npm", "run", "watch")) == ["os.permission_denied"]


def test_the_last_occurrence_decides() -> None:
    output = b"ModuleNotFoundError: No module named 'first'\n" * 3 + b"ModuleNotFoundError: No module named 'last'\n"
    (found,) = diagnose(Failure(PYTHON, FAILED, output)).diagnoses
    assert (found.captures["module"], found.line) == ("last", 4)


@pytest.mark.parametrize(
    ("words", "expected"),
    [(["flake8"], ["lint.flake8"]), (["flake8", "--exit-zero"], []), (["make", "lint"], ["lint.flake8"])],
)
def test_a_command_line_that_a_pattern_excludes_does_not_match(words: list[str], expected: list[str]) -> None:
    assert ids(b"a.py:1:1: F401 'os' imported but unused", Command.of(*words)) == expected


def test_a_command_line_that_a_pattern_excludes_does_not_matter_when_it_is_unknown() -> None:
    assert ids(b"a.py:1:1: F401 'os' imported but unused", None) == ["lint.flake8"]


def test_a_script_is_diagnosed_like_any_command() -> None:
    script = Command(script=Script(("bash", "-e"), "python app.py"))
    assert ids(MISSING, script) == ["py.module_not_found"]


def test_an_unknown_command_gets_advice_and_no_action() -> None:
    output = b"ERROR: file or directory not found: tests\n"
    failure = Failure(None, Ending(exit_code=4), output, paths=("backend/tests/test_a.py",))
    (found,) = diagnose(failure).diagnoses
    assert found.mitigation.actions == ()
    assert "backend" in found.mitigation.suggestions[0].text


@pytest.mark.parametrize(
    "output",
    [
        b"outside " * 131_072,
        b"path outside allowed scope " * 38_836,
        b"cannot find module '" * 52_428,
        b"ERROR: not found: " * 58_254,
        b"a" * (1 << 20),
        b"\x1b[" * 524_288,
        b"\x1b]" * 524_288,
        b"\r" * (1 << 20),
        b"\0" * (1 << 20),
        b"\xff\xfe" * 524_288,
        b"ModuleNotFoundError: No module named 'x'\n" * 25_000,
        b"permission denied: " * 55_188,
    ],
    ids=["outside", "scope", "node", "pytest", "a", "csi", "osc", "cr", "nul", "binary", "many", "denied"],
)
def test_a_mebibyte_of_near_matches_is_answered(output: bytes) -> None:
    assert diagnose(Failure(PYTHON, FAILED, output)).outcome is not Outcome.SUCCEEDED


HOSTILE = st.sampled_from(
    [
        b"ModuleNotFoundError: No module named '../../etc'\n",
        b"Error: Cannot find module '; rm -rf /'\n",
        b"Error: Cannot find module '--index-url=http://x'\n",
        b"sh: 1: $(reboot): not found\n",
        b"ERROR: file or directory not found: ../../../etc/passwd\n",
        b"ENOENT: no such file or directory, open '/../../package.json'\n",
        b"path '../../x' is outside the scope\n",
        b"\xff\x00\x1b[31m",
    ]
)


@settings(max_examples=200)
@given(st.lists(HOSTILE | st.binary(max_size=60), max_size=8), st.sampled_from([1, 2, 4, 5, 126, 127]))
def test_hostile_output_without_facts_never_leads_to_an_action(parts: list[bytes], code: int) -> None:
    for diagnosis in diagnose(Failure(Command.of("npm", "test"), Ending(exit_code=code), b"".join(parts))).diagnoses:
        assert diagnosis.mitigation.actions == ()
        assert not diagnosis.mitigation.automatic
