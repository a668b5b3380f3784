"""Decisions of the orchestrator that need neither disk nor network."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import PurePosixPath

import pytest
from autopack_kit.commands import Command, Script
from autopack_orchestrator.core.checks import check_batch
from autopack_orchestrator.core.codec import dumps, loads
from autopack_orchestrator.core.environment import base_environment, with_tools
from autopack_orchestrator.core.judge import Usage, out_of_scope, over_budget
from autopack_orchestrator.core.model import (
    TERMINAL,
    AgentPreset,
    BatchSpec,
    BatchState,
    Budget,
    Doctor,
    FileChange,
    Intention,
    MitigationResult,
    MockExecutor,
    RunError,
    RunResult,
    RunSpec,
    RunState,
    StepKind,
    StepOutcome,
    StepResult,
)
from autopack_orchestrator.core.plan import DetectedProject, DetectedStep, plan_steps
from autopack_orchestrator.core.states import ALLOWED, LEASED, batch_state
from autopack_orchestrator.core.text import MAX_TEXT, clean

GOOD = RunSpec(name="one", intention=Intention(title="Do it"), command=Command.of("true"))


def fields(*runs: RunSpec, **batch: object) -> list[str]:
    spec = BatchSpec(path="/repo", runs=runs or (GOOD,))
    found = check_batch(
        replace(spec, **batch),  # type: ignore[arg-type]  # whatever the test says
        agents=frozenset({"claude"}),
        passable_env=frozenset({"KEY"}),
    )
    return [violation.field for violation in found]


def test_a_good_batch_has_no_problem() -> None:
    assert fields(GOOD, replace(GOOD, name="two", pass_env=("KEY",))) == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "a/b"}, "name"),
        ({"command": None}, "executor"),
        ({"mock": MockExecutor()}, "executor"),
        ({"command": None, "agent": AgentPreset("nobody")}, "agent.name"),
        ({"command": None, "agent": AgentPreset("claude", ("a\0",))}, "agent.arguments"),
        ({"command": None, "mock": MockExecutor(failure_rate=float("nan"))}, "mock.failure_rate"),
        ({"command": None, "mock": MockExecutor(duration=timedelta(days=2))}, "mock.duration"),
        ({"command": Command.of("")}, "command.argv[0]"),
        ({"command": Command.of("x", cwd="/etc")}, "command.cwd"),
        ({"command": Command.of("x", cwd="a\0")}, "command.cwd"),
        ({"command": Command.of("x", env={"A=B": "c"})}, "command.env"),
        ({"command": Command.of("x", env={"A": "\0"})}, "command.env"),
        ({"command": Command.of("x", env={"AUTOPACK_RUN_ID": "c"})}, "command.env"),
        ({"command": Command(script=Script((), "true"))}, "command.script.interpreter"),
        ({"install": (Command.of("true"),) * 51}, "install"),
        ({"validate": (Command.of("true"), Command.of("x", cwd=".."))}, "validate[1].cwd"),
        ({"validate_kinds": (StepKind.RUN,)}, "validate_kinds[0]"),
        ({"intention": Intention(title=" ")}, "intention.title"),
        ({"intention": Intention(title="é" * 251)}, "intention.title"),
        ({"intention": Intention(title="a\0b")}, "intention.title"),
        ({"intention": Intention(title="a", description="x" * 16385)}, "intention.description"),
        ({"intention": Intention(title="a", notes=("x",) * 101)}, "intention.notes"),
        ({"intention": Intention(title="a", scope=("ok", ""))}, "intention.scope[1]"),
        ({"intention": Intention(title="a", non_goal_globs=("[",))}, "intention.non_goal_globs[0]"),
        ({"intention": Intention(title="a", scope=("src/", "../etc"))}, "intention.scope[1]"),
        ({"intention": Intention(title="a", scope=(":(exclude)y",))}, "intention.scope[0]"),
        ({"intention": Intention(title="a", scope=("x",) * 201)}, "intention.scope"),
        ({"drift_interval": timedelta(0)}, "drift_interval"),
        ({"timeout": timedelta(0)}, "timeout"),
        ({"step_timeout": timedelta(days=2)}, "step_timeout"),
        ({"max_attempts": 6}, "max_attempts"),
        ({"budget": Budget(max_tokens=0)}, "budget.max_tokens"),
        ({"budget": Budget(max_cost_microusd=-1)}, "budget.max_cost_microusd"),
        ({"budget": Budget(max_wall_time=timedelta(0))}, "budget.max_wall_time"),
        ({"doctor": Doctor(Command.of("x"), max_calls=6)}, "doctor.max_calls"),
        ({"doctor": Doctor(Command.of("x", cwd=".."))}, "doctor.command.cwd"),
        ({"pass_env": ("DATABASE_URL",)}, "pass_env[0]"),
        ({"pass_env": ("KEY",) * 101}, "pass_env"),
    ],
)
def test_a_bad_field_of_a_run_is_named(change: dict[str, object], field: str) -> None:
    assert fields(GOOD, replace(GOOD, **{"name": "two", **change})) == [f"runs[1].{field}"]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "Bad"}, "name"),
        ({"path": ""}, "path"),
        ({"path": "here"}, "path"),
        ({"path": "/a\0"}, "path"),
        ({"path": "/" + "x" * 4096}, "path"),
        ({"max_concurrent_runs": 257}, "max_concurrent_runs"),
        ({"budget": Budget(max_tokens=-1)}, "budget.max_tokens"),
        ({"runs": ()}, "runs"),
        ({"runs": (GOOD,) * 1001}, "runs"),
    ],
)
def test_a_bad_field_of_a_batch_is_named(change: dict[str, object], field: str) -> None:
    assert fields(**change) == [field]


def test_names_that_differ_only_in_case_are_duplicates() -> None:
    assert fields(GOOD, replace(GOOD, name="ONE")) == ["runs[1].name"]


def test_every_state_that_has_not_ended_can_be_cancelled_and_none_that_has() -> None:
    assert set(ALLOWED) == set(RunState)
    for state, following in ALLOWED.items():
        assert (RunState.CANCELLED in following) == (state not in TERMINAL)
        assert not following or state not in TERMINAL
    assert {state for state in RunState if state not in TERMINAL and state is not RunState.QUEUED} == LEASED
    assert [state for state in RunState if RunState.SUCCEEDED in ALLOWED[state]] == [RunState.VALIDATING]


@pytest.mark.parametrize(
    ("counts", "state"),
    [
        ({"queued": 1, "succeeded": 3}, BatchState.ACTIVE),
        ({"validating": 1}, BatchState.ACTIVE),
        ({"succeeded": 3}, BatchState.SUCCEEDED),
        ({"succeeded": 3, "lost": 1}, BatchState.FAILED),
        ({"cancelled": 1, "succeeded": 2}, BatchState.CANCELLED),
        ({"cancelled": 1, "failed": 1}, BatchState.FAILED),
        ({"cancelled": 2, "failed": 0}, BatchState.CANCELLED),
    ],
)
def test_a_batch_has_ended_when_all_of_its_runs_have(counts: dict[str, int], state: BatchState) -> None:
    assert batch_state(counts) is state


def project(workdir: str, *steps: tuple[StepKind, str, float]) -> DetectedProject:
    found = [DetectedStep(kind, Command.of(*line.split(), cwd=workdir), sure) for kind, line, sure in steps]
    return DetectedProject(workdir, "any", "any", tuple(found))


def test_each_project_has_its_surest_step_of_each_kind_and_steps_of_the_batch_come_first() -> None:
    projects = [
        project(
            "a", (StepKind.INSTALL, "pip x", 0.5), (StepKind.INSTALL, "pip y", 0.9), (StepKind.TEST, "pytest", 0.8)
        ),
        project("b", (StepKind.TEST, "npm test", 0.29), (StepKind.LINT, "npm run lint", 0.3), (StepKind.RUN, "x", 1)),
        project("a", (StepKind.TEST, "pytest", 0.8)),
    ]
    plan = plan_steps(GOOD, projects)
    assert [command.line() for command in plan.install] == ["pip y"]
    assert [(command.cwd, command.line()) for command in plan.validate] == [("a", "pytest")]
    both = plan_steps(replace(GOOD, validate_kinds=(StepKind.LINT, StepKind.TEST)), projects)
    assert [command.line() for command in both.validate] == ["pytest", "npm run lint"]
    own = replace(GOOD, install=(Command.of("mine"),), validate=(Command.of("check"),))
    assert plan_steps(own, projects).install == own.install
    assert plan_steps(own, projects).validate == own.validate


def test_a_stored_value_comes_back_as_it_was_and_lacking_fields_take_their_defaults() -> None:
    command = Command.of("make", "ü", cwd="a", env={"B": "2", "A": "1"})
    spec = replace(
        GOOD, command=command, doctor=Doctor(Command(script=Script(("bash", "-e"), "x"), timeout=timedelta(seconds=3)))
    )
    assert loads(dumps(spec), RunSpec) == spec
    result = RunResult(
        error=RunError("LOST", "gone", ("again",)),
        changes=(FileChange("R", "b", "a"),),
        steps=(StepResult(command, StepOutcome.FIXED, 0, 1.5, 2, "p"),),
        mitigations=(MitigationResult("p", ("install",), fixed=True),),
        drift_z=(1.0, -0.5),
        agent_exit_code=0,
    )
    assert loads(dumps(result), RunResult) == result
    assert loads("{}", RunResult) == RunResult()
    assert dumps(spec) == dumps(replace(spec, command=replace(command, env={"A": "1", "B": "2"})))
    with pytest.raises(TypeError):
        dumps(object())


def test_a_run_sees_what_is_allowed_and_nothing_else_of_the_servers_environment() -> None:
    server = {"HOME": "/home/a", "DATABASE_URL": "secret", "KEY": "k", "VIRTUAL_ENV": "/srv", "PYTHONPATH": "/srv"}
    found = base_environment(server, ["KEY", "UNSET"], {"AUTOPACK_RUN_ID": "r"})
    assert {"HOME", "KEY", "AUTOPACK_RUN_ID", "PATH", "LANG"} <= found.keys()
    assert found.keys().isdisjoint({"DATABASE_URL", "VIRTUAL_ENV", "PYTHONPATH", "UNSET"})
    assert found["PIP_REQUIRE_VIRTUALENV"] == "1"
    assert base_environment({"PATH": "/x"}, [], {})["PATH"] == "/x"


def test_the_tools_of_the_workspace_come_before_those_of_the_host() -> None:
    found = with_tools({"PATH": "/usr/bin"}, PurePosixPath("/w/.venv"), [PurePosixPath("/w/node_modules/.bin")])
    assert found == {"PATH": "/w/.venv/bin:/w/node_modules/.bin:/usr/bin", "VIRTUAL_ENV": "/w/.venv"}
    assert with_tools({"PATH": "/usr/bin"}, None, []) == {"PATH": "/usr/bin"}


@pytest.mark.parametrize(
    ("change", "outside"),
    [
        (FileChange("M", "src/a.py"), ()),
        (FileChange("D", "docs/a.md"), ("docs/a.md",)),
        (FileChange("A", "src/secret/x"), ("src/secret/x",)),
        (FileChange("R", "src/b.py", "src/a.py"), ()),
        (FileChange("R", "docs/a.py", "src/a.py"), ("docs/a.py", "src/a.py")),
        (FileChange("R", "src/a.py", "docs/a.py"), ("docs/a.py",)),
        (FileChange("A", "docs/caf\udce9"), ("docs/caf\udce9",)),
        (FileChange("A", "src/caf\udce9"), ()),
    ],
)
def test_what_lies_outside_the_scope_is_reverted_as_a_whole(change: FileChange, outside: tuple[str, ...]) -> None:
    intention = Intention(title="x", scope=("src/**",), non_goal_globs=("src/secret/**",))
    assert out_of_scope(intention, [change]) == outside


def test_a_budget_is_used_up_when_it_is_exceeded() -> None:
    assert over_budget(Budget(), Usage(10**9, 10**9)) is None
    assert over_budget(Budget(max_tokens=10), Usage(10)) is None
    assert "11 tokens" in (over_budget(Budget(max_tokens=10), Usage(11)) or "")
    assert "0.0200 USD" in (over_budget(Budget(max_cost_microusd=10_000), Usage(0, 20_000)) or "")
    assert Usage(1, 2) + Usage(3, 4) == Usage(4, 6)
    assert not Budget(max_wall_time=timedelta(1)).needs_telemetry


def test_text_is_made_fit_for_every_database_and_client() -> None:
    assert clean("caf\udce9 \0 ok") == "caf\\xe9 \\x00 ok"
    assert len(clean("x" * 10_000)) == MAX_TEXT
    assert clean("é" * 5, 5) == "ééééé"
    clean("caf\udce9").encode()
