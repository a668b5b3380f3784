"""What comes first where a run survived one failure and ended with another."""

from __future__ import annotations

import pytest
from autopack_hardening import Ending, Failure
from autopack_hardening.adapters.registry import built_in, read_patterns
from autopack_hardening.core.diagnosing import Diagnostician
from autopack_hardening.core.ranking import told_exit_codes

NOT_FOUND = "./ci.sh: line 3: nvm: command not found\n"
NO_REPOSITORY = "fatal: not a git repository (or any of the parent directories): .git\n"
TYPES = "app.py:2: error: Incompatible return value type\nFound 1 error in 1 file (checked 1 source file)\n"
COMPILER = "a.c:1:24: error: 'foo' undeclared (first use in this function)\n"


@pytest.fixture(scope="module")
def core() -> Diagnostician:
    return built_in(read_patterns(is_proven=True)[0])


def names(core: Diagnostician, output: str, ending: Ending) -> list[str]:
    return [one.pattern_id for one in core.diagnose(Failure(None, ending, output.encode())).diagnoses]


@pytest.mark.parametrize(
    ("output", "exit_code", "expected"),
    [
        # A shell without -e goes on, and exits with the code of its last command.
        (NOT_FOUND + TYPES, 1, ["lint.mypy", "os.command_not_found"]),
        (NO_REPOSITORY + TYPES, 1, ["lint.mypy", "git.not_a_repository"]),
        # The code is that of the program that is not there; or whoever started it tells its code.
        (NOT_FOUND + TYPES, 127, ["os.command_not_found", "lint.mypy"]),
        (NOT_FOUND + TYPES + "make: *** [Makefile:3: lint] Error 127\n", 2, ["os.command_not_found", "lint.mypy"]),
        (NO_REPOSITORY + TYPES + "error: process exited with code 128\n", 1, ["git.not_a_repository", "lint.mypy"]),
        # Nothing that was said later explains the end.
        (TYPES + NOT_FOUND, 1, ["os.command_not_found", "lint.mypy"]),
        (NOT_FOUND, 1, ["os.command_not_found"]),
    ],
)
def test_what_would_have_ended_with_another_code_was_survived(
    core: Diagnostician, output: str, exit_code: int, expected: list[str]
) -> None:
    assert names(core, output, Ending(exit_code))[:2] == expected


def test_a_survived_failure_is_not_what_a_wrapper_reports(core: Diagnostician) -> None:
    output = NO_REPOSITORY + COMPILER + "make: *** [Makefile:4: a.o] Error 1\n"
    found = names(core, output, Ending(2))
    assert found[0] == "native.compile_error"
    assert found[-1] == "git.not_a_repository"


def test_without_an_exit_code_nothing_is_known_to_be_survived(core: Diagnostician) -> None:
    assert names(core, NOT_FOUND + TYPES, Ending(timed_out=True))[0] == "os.command_not_found"


@pytest.mark.parametrize(
    ("output", "codes"),
    [
        (b"make[1]: *** [Makefile:3: lint] Error 127\n", {1, 127}),
        (b"FAILED: [code=127] a.o\n", {1, 127}),
        (b"The command '/bin/sh -c x' returned a non-zero code: 100\n", {1, 100}),
        (b"##[error]Process completed with exit code 5.\n", {1, 5}),
        (b"error: subprocess-exited-with-error: exit code: 128\n", {1, 128}),
        (b"(exit status: 101)\nexit status 2\n", {1, 101, 2}),
        (b'The command "./run" exited with 137.\n', {1, 137}),
        (b"npm ERR! code 128\nnpm ERR! errno 254\nnpm ERR! code ELIFECYCLE\n", {1, 128, 254}),
        (b"Found 7 errors, 12 files checked, code style 3\n", {1}),
    ],
)
def test_the_exit_codes_that_an_output_tells(output: bytes, codes: set[int]) -> None:
    assert told_exit_codes(Ending(1), output) == codes


def test_a_signal_tells_no_exit_codes() -> None:
    assert told_exit_codes(Ending(signal=9), b"make: *** [a] Error 1\n") == frozenset()
