"""What the demo runs, and what must become of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from autopack_api.intention.v1 import intention_pb2
from autopack_api.orchestrator.v1 import batch_pb2, orchestrator_pb2
from google.protobuf.duration_pb2 import Duration

from autopack_cli.demo.survivors import survivors

__all__ = ["Scenario", "batches"]

HANG_SECONDS = 6
"""For the agent that hangs: long enough to start its children on a busy machine."""
PATIENCE_SECONDS = 60
"""For all others, which take a second."""

Check = Callable[[orchestrator_pb2.Run], str]
"""What is wrong with the result; empty if nothing is."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One run.

    Attributes:
        spec: the run.
        expected: what must become of it, in a few words.
        check: what is wrong with what did.
    """

    spec: batch_pb2.RunSpec
    expected: str
    check: Check


@dataclass(frozen=True, slots=True)
class DemoBatch:
    """The runs on one repository."""

    repository: str
    scenarios: Sequence[Scenario]


def batches(*, with_node: bool) -> list[DemoBatch]:
    """All of them; without Node a second Python run stands in for its own."""
    return [
        DemoBatch("python", _python(second=not with_node)),
        *([DemoBatch("node", [_node_dependency()])] if with_node else []),
        DemoBatch("mixed", _mixed(with_node=with_node)),
    ]


def _python(*, second: bool) -> list[Scenario]:
    found = [
        Scenario(
            _run(
                "clean-success",
                "Add a percentage discount to the cart total",
                "add_discount.py",
                scope=["shop/", "tests/"],
            ),
            "succeeds, on goal",
            _all(_state("SUCCEEDED"), _not_drifted),
        ),
        _python_dependency("missing-dependency"),
        Scenario(
            _run(
                "undeclared-package", "Show the revenue by day as a chart", "undeclared.py", scope=["shop/", "tests/"]
            ),
            "fails; nothing is installed; says why",
            _all(_state("FAILED"), _reason("VALIDATION_FAILED"), _nothing_installed, _advised),
        ),
        Scenario(
            _run(
                "outside-scope",
                "Compute the volume of a parcel for shipping",
                "out_of_scope.py",
                scope=["shop/", "tests/"],
            ),
            "succeeds; ops/ is reverted",
            _all(_state("SUCCEEDED"), _reverted("ops/deploy.sh", "ops/notes.txt"), _changed("shop/shipping.py")),
        ),
        Scenario(
            _run("something-else", "Remind customers of overdue invoices by mail", "something_else.py"),
            "drift is reported",
            _all(_state("SUCCEEDED"), _drifted),
        ),
        Scenario(
            _run("hangs", "Check passwords against a list of leaked ones", "hang.py", seconds=HANG_SECONDS),
            "times out; nothing stays alive",
            _all(_state("TIMED_OUT"), _none_alive),
        ),
    ]
    if second:
        found.append(_python_dependency("missing-dependency-2"))
    return found


def _python_dependency(name: str) -> Scenario:
    spec = _run(name, "Print return labels for parcels", "edit_labels.py", prepare=False)
    return Scenario(spec, "is diagnosed, installed, fixed", _fixed("py.module_not_found"))


def _node_dependency() -> Scenario:
    spec = _run("node-missing-dependency", "Count the items of the cart", "edit_cart_js.py", prepare=False)
    return Scenario(spec, "is diagnosed, installed, fixed", _fixed("node.module_not_found", "node.bin_not_found"))


def _mixed(*, with_node: bool) -> list[Scenario]:
    wrong = _run("wrong-directory", "Compute net prices in the API", "edit_prices.py", prepare=False)
    wrong.validate.add().argv.words.extend(["python3", "-m", "unittest", "discover", "-s", "tests"])
    found = [Scenario(wrong, "is run where the tests are, fixed", _fixed("unittest.path_not_found"))]
    if with_node:
        spec = _run("both-projects", "Count the items of the cart on the page", "edit_cart_js.py", "web")
        found.append(Scenario(spec, "both test suites pass", _all(_state("SUCCEEDED"), _passed(2))))
    return found


def _run(
    name: str,
    goal: str,
    agent: str,
    *arguments: str,
    scope: Sequence[str] = (),
    prepare: bool = True,
    seconds: int = PATIENCE_SECONDS,
) -> batch_pb2.RunSpec:
    spec = batch_pb2.RunSpec(
        name=name,
        intention=intention_pb2.Intention(title=goal, scope=scope),
        prepare=batch_pb2.PREPARE_AUTO if prepare else batch_pb2.PREPARE_NONE,
        timeout=Duration(seconds=seconds),
    )
    script = Path(str(resources.files(__package__) / "agents" / agent))
    spec.command.argv.words.extend([sys.executable, str(script), *arguments])
    return spec


def _all(*checks: Check) -> Check:
    return lambda run: next((problem for check in checks if (problem := check(run))), "")


def _state(name: str) -> Check:
    wanted = orchestrator_pb2.RunState.Value(f"RUN_STATE_{name}")
    return lambda run: "" if run.state == wanted else f"its state is not {name.lower()}"


def _reason(reason: str) -> Check:
    return lambda run: "" if run.error.reason == reason else f"its reason is {run.error.reason!r}"


def _fixed(*patterns: str) -> Check:
    def check(run: orchestrator_pb2.Run) -> str:
        if not any(step.outcome == orchestrator_pb2.STEP_OUTCOME_FIXED for step in run.steps):
            return "no step was fixed"
        if not any(item.fixed and item.pattern_id in patterns for item in run.mitigations):
            return f"{' or '.join(patterns)} did not fix it"
        return ""

    return _all(_state("SUCCEEDED"), check)


def _passed(count: int) -> Check:
    def check(run: orchestrator_pb2.Run) -> str:
        passed = sum(step.outcome == orchestrator_pb2.STEP_OUTCOME_PASSED for step in run.steps)
        return "" if passed == count else f"{passed} steps passed, not {count}"

    return check


def _nothing_installed(run: orchestrator_pb2.Run) -> str:
    return "something was done about it" if run.mitigations else ""


def _advised(run: orchestrator_pb2.Run) -> str:
    named = any("fastcharts" in suggestion for suggestion in run.error.suggestions)
    return "" if named else "no suggestion names the package"


def _reverted(*paths: str) -> Check:
    return lambda run: "" if sorted(run.reverted_paths) == sorted(paths) else f"reverted: {list(run.reverted_paths)}"


def _changed(*paths: str) -> Check:
    return lambda run: "" if [item.path for item in run.changes] == list(paths) else "other files were changed"


def _drifted(run: orchestrator_pb2.Run) -> str:
    return "" if run.drift_verdict == intention_pb2.VERDICT_DRIFT else "no drift was reported"


def _not_drifted(run: orchestrator_pb2.Run) -> str:
    return "drift was reported" if run.drift_verdict == intention_pb2.VERDICT_DRIFT else ""


def _none_alive(run: orchestrator_pb2.Run) -> str:
    alive = survivors(run.run_id)
    return f"still alive: {alive}" if alive else ""
