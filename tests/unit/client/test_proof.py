"""What a command did before and after a mitigation, compared."""

from __future__ import annotations

from dataclasses import replace

import pytest
from autopack_api.hardening.v1.hardening_pb2 import DiagnoseRequest, Diagnosis
from autopack_client.proof import Ended, Proof, ending, judge
from autopack_kit.commands import Command

TEST = Command.of("make", "check")


def found(pattern: str, excerpt: str = "", *, priority: int = 1, line: int = 1, **captures: str) -> Diagnosis:
    return Diagnosis(
        pattern_id=pattern, excerpt=excerpt.encode(), priority=priority, line=line, captures=captures, confidence=0.9
    )


def failed(output: str, *diagnoses: Diagnosis, exit_code: int = 1) -> Ended:
    return Ended(TEST, exit_code, output=output.encode(), diagnoses=diagnoses)


MISSING = found("py.module_not_found", module="yaml")
BEFORE = failed("No module named 'yaml'\n", MISSING)
TESTED = "collected 9 items\ntests/test_a.py F\n{}"
FAILING = found("pytest.failed", "FAILED test_a", priority=6, line=3)
TESTS = failed(TESTED.format("FAILED test_a\n2 failed, 7 passed\n"), FAILING)
SYNTAX = found("py.syntax_error", "SyntaxError", priority=5, line=1)


@pytest.mark.parametrize(
    ("before", "after", "proof"),
    [
        (BEFORE, Ended(TEST, 0), Proof.FIXED),
        (BEFORE, BEFORE, Proof.UNCHANGED),
        (BEFORE, failed("No module named 'numpy'\n", found("py.module_not_found", module="numpy")), Proof.PROGRESSED),
        (BEFORE, TESTS, Proof.PROGRESSED),
        (BEFORE, failed("something new\n"), Proof.PROGRESSED),
        (failed("odd\n", MISSING), failed("odd\n"), Proof.UNCHANGED),
        (BEFORE, failed("", exit_code=127), Proof.WORSE),
        (BEFORE, Ended(TEST, None, timed_out=True, diagnoses=(MISSING,)), Proof.WORSE),
        (BEFORE, Ended(TEST, None, signal=9), Proof.WORSE),
        (BEFORE, Ended(TEST, None, started=False), Proof.WORSE),
        (TESTS, failed("SyntaxError\n", SYNTAX), Proof.WORSE),
        (TESTS, failed(TESTED.format("SyntaxError\n"), SYNTAX), Proof.PROGRESSED),
        (TESTS, failed(TESTED.format("FAILED test_a\n5 failed, 4 passed\n"), FAILING), Proof.WORSE),
        (TESTS, failed(TESTED.format("FAILED test_a\n1 failed, 8 passed\n"), FAILING), Proof.UNCHANGED),
    ],
)
def test_judgements(before: Ended, after: Ended, proof: Proof) -> None:
    assert judge(before, after, before.diagnoses[0]) is proof


def test_what_differs_from_run_to_run_makes_no_other_failure() -> None:
    one = found("os.port_in_use", "listen tcp 127.0.0.1:48873 in /tmp/a1/x at 0x7f00")
    two = found("os.port_in_use", "listen tcp 127.0.0.1:50012 in /tmp/b2/y at 0x7f99")
    assert judge(failed("a\n", one), failed("b\n", two), one) is Proof.UNCHANGED


@pytest.mark.parametrize(
    ("ended", "kind"),
    [
        (BEFORE, "exit_code"),
        (Ended(TEST, None, signal=9), "signal"),
        (Ended(TEST, None, timed_out=True, signal=9), "timed_out"),
        (Ended(TEST, None), "exit_code"),
    ],
)
def test_the_request_says_how_it_ended(ended: Ended, kind: str) -> None:
    request = DiagnoseRequest()
    ending(request, replace(ended, head=b"first", first_line=7))
    assert request.WhichOneof("ending") == kind
    assert (request.head, request.first_line) == (b"first", 7)
