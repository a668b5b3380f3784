"""Batch files: what they become, and what is said about the bad ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from autopack_api.orchestrator.v1 import batch_pb2 as pb
from autopack_api.toolchain.v1 import toolchain_pb2
from autopack_cli.batchfile import RUN_KEYS, BatchFile, load
from autopack_cli.yamlnodes import MAX_FILE_BYTES, Place
from hypothesis import given, settings
from hypothesis import strategies as st

RUN = "runs:\n  - {name: a, goal: Do it, command: 'true'}\n"


def read(folder: Path, text: str | bytes) -> BatchFile:
    path = folder / "batch.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load(path)


def told(folder: Path, text: str | bytes) -> list[str]:
    return [f"{p.place.line}:{p.place.column} {p.message}" for p in read(folder, text).problems]


def only(folder: Path, text: str | bytes) -> str:
    problems = told(folder, text)
    assert len(problems) == 1, problems
    return problems[0]


def test_a_source_on_another_host_and_what_worktrees_hold(tmp_path: Path) -> None:
    text = (
        "source: {url: 'https://git.example.com/a.git', credential: forge}\npublish: push\n"
        "checkout: {sparse_paths: [services/api, libs], submodules: true, lfs: yes, copy_untracked: .env,"
        " worktreeinclude: true}\n"
    )
    found = read(tmp_path, text + RUN)
    assert not found.problems
    spec = found.spec
    assert spec.WhichOneof("source") == "remote"
    assert (spec.remote.url, spec.remote.credential) == ("https://git.example.com/a.git", "forge")
    assert spec.publish == pb.PUBLISH_PUSH
    assert list(spec.checkout.sparse_paths) == ["services/api", "libs"]
    assert list(spec.checkout.copy_untracked) == [".env"]
    assert spec.checkout.submodules
    assert spec.checkout.lfs
    assert spec.checkout.worktreeinclude
    assert found.place_of("remote.credential").line == 1
    assert found.place_of("checkout.sparse_paths[1]") == Place(3, 41)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("repo: .\nsource: {url: 'https://h/a'}\n", "2:1 the file has repo and source; it needs one of them"),
        ("source: {url: 'https://h/a'}\nrepo: .\n", "2:1 the file has source and repo; it needs one of them"),
        (
            "source: {credential: x}\n",
            "1:9 source has no url; give an https:// or ssh:// URL, or use repo for a directory",
        ),
        ("source: {url: 'https://h/a', token: x}\n", "1:30 'token' is not a key of source; known are url, credential"),
        ("publish: force\n", "1:10 publish is 'force'; use one of none, local, push"),
    ],
)
def test_what_is_wrong_with_a_source_stands_at_its_line(tmp_path: Path, text: str, problem: str) -> None:
    assert only(tmp_path, text + RUN) == problem


FULL = """\
name: nightly
repo: ../shop
ref: main
max_concurrent_runs: 4
isolation: {sandbox: required, network: off}
budget: {max_tokens: 1_000_000, max_cost_usd: 12.5, max_wall_time: 2h}
priority: -2
retry: {max_attempts: 3, on: [lost, validation_failed], initial_backoff: 10s, max_backoff: 1m}
queue_timeout: 6h
defaults:
  agent: claude
  prepare: none
  timeout: 20m
  scope: [src/, tests/]
runs:
  - name: fix-login
    goal: |
      Fix the login
      It loops when the cookie is gone.
    constraints: [Keep the public API]
    acceptance: The tests pass
    non_goals: [No refactoring]
    non_goal_globs: ["*.lock"]
    notes: [See the log]
    agent: {name: codex, arguments: [--model, o9]}
    install: [npm ci]
    validate:
      - npm test -- --run "one two"
      - [npm, run, lint]
      - {line: pytest -q, cwd: api, env: {A: "1"}, timeout: 90s}
      - {script: {interpreter: [bash, -e], text: "a && b"}}
    validate_kinds: [test, lint]
    on_scope_violation: fail
    on_drift: stop
    drift_interval: 30s
    timeout: 1h
    step_timeout: 5m
    idle_timeout: 10m
    prepare_timeout: 30m
    limits: {max_memory: 4G, max_processes: 500}
    max_attempts: 3
    budget: {max_tokens: 5}
    doctor: {command: doctor.sh, max_calls: 2}
    pass_env: [API_KEY]
    mitigate: false
    fail_on_pre_existing: true
  - name: b
    needs: [fix-login]
    goal: {title: T, description: D}
    goal_file: goal.md
    command: sh -c 'echo {context}'
  - {name: c, goal: G, mock: {seed: -3, failure_rate: 0.5, duration: 250ms}}
  - {name: d, goal: G, http: {url: 'https://agents.example.com', headers: {Authorization: agents}}}
"""


def test_full_file_becomes_the_spec(tmp_path: Path) -> None:
    (tmp_path / "goal.md").write_text("## Scope\n- src/\n")
    file = read(tmp_path, FULL)
    assert file.problems == []
    spec = file.spec
    assert (spec.name, spec.ref, spec.max_concurrent_runs) == ("nightly", "main", 4)
    assert spec.path == str(tmp_path.parent / "shop")
    assert (spec.budget.max_tokens, spec.budget.max_cost_microusd) == (1_000_000, 12_500_000)
    assert (spec.priority, spec.queue_timeout.seconds, spec.retry.max_attempts) == (-2, 6 * 3600, 3)
    assert list(spec.retry.on) == [pb.RETRY_ON_LOST, pb.RETRY_ON_VALIDATION_FAILED]
    assert (spec.retry.initial_backoff.seconds, spec.retry.max_backoff.seconds) == (10, 60)
    assert (spec.isolation.sandbox, spec.isolation.network) == (pb.SANDBOX_REQUIRED, pb.NETWORK_OFF)
    first, second, third, elsewhere = spec.runs
    assert elsewhere.http.url == "https://agents.example.com"
    assert dict(elsewhere.http.headers) == {"Authorization": "agents"}
    assert (first.limits.max_memory_bytes, first.limits.max_processes) == (4 << 30, 500)
    assert (first.idle_timeout.seconds, first.prepare_timeout.seconds) == (600, 1800)
    assert (list(first.needs), list(second.needs)) == ([], ["fix-login"])
    assert (first.intention.title, first.intention.description) == (
        "Fix the login",
        "It loops when the cookie is gone.",
    )
    assert list(first.intention.scope) == ["src/", "tests/"]
    assert list(first.intention.acceptance) == ["The tests pass"]
    assert (first.agent.name, list(first.agent.arguments)) == ("codex", ["--model", "o9"])
    assert [list(step.argv.words) for step in first.validate] == [
        ["npm", "test", "--", "--run", "one two"],
        ["npm", "run", "lint"],
        ["pytest", "-q"],
        [],
    ]
    assert (first.validate[2].cwd, dict(first.validate[2].env), first.validate[2].timeout.seconds) == (
        "api",
        {"A": "1"},
        90,
    )
    assert list(first.validate[3].script.interpreter) == ["bash", "-e"]
    assert list(first.validate_kinds) == [toolchain_pb2.STEP_KIND_TEST, toolchain_pb2.STEP_KIND_LINT]
    assert (first.prepare, first.on_drift, first.on_scope_violation) == (
        pb.PREPARE_NONE,
        pb.ON_DRIFT_STOP,
        pb.ON_SCOPE_VIOLATION_FAIL,
    )
    assert (first.timeout.seconds, first.step_timeout.seconds, first.drift_interval.seconds) == (3600, 300, 30)
    assert (first.max_attempts, first.budget.max_tokens, first.doctor.max_calls) == (3, 5, 2)
    assert (first.no_mitigation, first.fail_on_pre_existing, list(first.pass_env)) == (True, True, ["API_KEY"])
    assert second.WhichOneof("executor") == "command"  # the default agent does not get in its way
    assert list(second.command.argv.words) == ["sh", "-c", "echo {context}"]
    assert (second.timeout.seconds, second.intention.description) == (1200, "D")
    assert (third.mock.seed, third.mock.failure_rate, third.mock.duration.nanos) == (-3, 0.5, 250_000_000)


def test_goal_file_is_read_beside_the_batch_and_knows_what_stands_already(tmp_path: Path) -> None:
    (tmp_path / "goals").mkdir()
    (tmp_path / "goals/a.md").write_text("# Do it\n")
    text = "defaults: {goal_file: goals/a.md, scope: [src/]}\nruns:\n  - {name: a, command: x, notes: [n]}\n"
    file = read(tmp_path, text)
    assert file.problems == []
    goal = file.goals[0]
    assert (goal.path, goal.text) == (tmp_path / "goals/a.md", "# Do it\n")
    assert {"scope", "notes"} <= goal.explicit
    assert file.place_of("runs[0].intention.title") == goal.place == Place(1, 23)


def test_goal_file_that_cannot_be_read_is_told_at_its_place(tmp_path: Path) -> None:
    (tmp_path / "x.md").write_bytes(b"a\n\xff")
    (tmp_path / "large.md").write_bytes(b"a" * (MAX_FILE_BYTES + 1))
    runs = [
        f"  - {{name: r{n}, command: x, goal_file: {name}}}\n"
        for n, name in enumerate(("no.md", "x.md", "large.md", "''", "."))
    ]
    problems = told(tmp_path, "runs:\n" + "".join(runs))
    assert [problem.partition(":")[0] for problem in problems] == ["2", "3", "4", "5", "6"]
    for problem, words in zip(
        problems, ("No such file", "not UTF-8", "a goal file has at most", "is not a path", "a directory"), strict=True
    ):
        assert words in problem


def test_file_without_repo_means_its_own_directory(tmp_path: Path) -> None:
    assert read(tmp_path, RUN).spec.path == str(tmp_path)


def test_unknown_keys_are_named_with_the_nearest_known_one(tmp_path: Path) -> None:
    text = "nmae: x\nruns:\n  - name: a\n    goal: g\n    comand: 'true'\n    command: 'true'\n"
    assert told(tmp_path, text) == [
        "1:1 'nmae' is not a key of the file; did you mean 'name'?",
        "5:5 'comand' is not a key of runs[0]; did you mean 'command'?",
    ]


def test_key_at_the_wrong_level_is_told_where_it_belongs(tmp_path: Path) -> None:
    assert "it stands in a run or in 'defaults'" in only(tmp_path, "goal: x\n" + RUN)
    assert "it stands beside 'runs'" in only(tmp_path, RUN.replace("name: a", "name: a, ref: main"))


def test_consent_to_mitigations_is_given_by_pattern(tmp_path: Path) -> None:
    spec = read(tmp_path, RUN.replace("name: a", "name: a, mitigate: {yes_to: [uv.lock_outdated, 'lint.*']}")).spec
    assert list(spec.runs[0].mitigate_yes_to) == ["uv.lock_outdated", "lint.*"]
    assert not spec.runs[0].no_mitigation
    assert "it has yes_to alone" in only(tmp_path, RUN.replace("name: a", "name: a, mitigate: {yes: [x]}"))


def test_all_problems_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = """\
max_concurrent_runs: many
runs:
  - name: 12
    goal: [a]
    command: ""
  - goal: g
    command: a && b
    agent: claude
    timeout: 30
    prepare: maybe
    mitigate: perhaps
    max_attempts: 1.5
  - just text
"""
    lines = [line.split(" ")[0] for line in told(tmp_path, text)]
    assert lines == ["1:22", "3:11", "4:11", "5:14", "6:5", "7:14", "8:5", "9:14", "10:14", "11:15", "12:19", "13:5"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("name: no", "put it in quotes"),
        ("name: 1.10", "put it in quotes"),
        ("name: [a]", "must be text, not a list"),
        ("name:", "must be text, not nothing"),
        ("name: !!python/object:os.system x", "must be text, not something tagged"),
        ("name: 2001-01-01", "YAML reads this as a date"),
        ("timeout: 30", "such as 30s"),
        ("timeout: 1:30", "such as 30s"),
        ("timeout: [1]", "such as 30s"),
        ("scope: {a: b}", "must be a list, not a mapping"),
        ("max_attempts: 0x10", "plain whole number"),
        ("max_attempts: 99999999999", "from 1 to 2,147,483,647"),
        ("command: a 'b", "no closing quotation"),
        ("command: make > log", "only a shell understands"),
        ("command: []", "is empty"),
        ("command: {cwd: x}", "exactly one of line, argv and script"),
        ("command: {argv: [a], line: b}", "exactly one of line, argv and script"),
        ("command: {script: {text: x}}", "needs an interpreter"),
        ("command: {argv: [a], shell: true}", "known are line, argv"),
        ("mock: {failure_rate: 2}", "from 0 to 1"),
        ("mock: {failure_rate: .nan}", "from 0 to 1"),
        ("budget: {max_cost_usd: 0}", "a number from"),
        ("budget: {max_cost: 1}", "known are max_tokens, max_cost_usd"),
        ("doctor: {max_calls: 1}", "has no command"),
        ("agent: {arguments: [a]}", "has no name"),
        ("validate_kinds: [tests]", "use one of install, build, test"),
        ("<<: {a: b}", "put what runs share into 'defaults'"),
        ("name: b", "stands twice"),
        ("? [a]\n    : b", "must be text"),
    ],
)
def test_bad_value_is_told_with_its_line(tmp_path: Path, value: str, message: str) -> None:
    base = {"name": "name: a", "goal": "goal: g", "command": "command: 'true'"}
    if "twice" not in message:
        base.pop(value.split(":")[0], None)
    if value.startswith(("mock", "agent")):
        base.pop("command")
    own = "\n    ".join([*base.values(), value])
    text = f"runs:\n  - {own}\n"
    problem = only(tmp_path, text)
    assert message in problem
    assert int(problem.split(":")[0]) >= 2 + len(base) - ("?" in value)


def test_two_executors_and_none_are_told(tmp_path: Path) -> None:
    text = "runs:\n  - {name: a, goal: g, command: x, agent: y}\n  - {name: b, goal: g}\n"
    problems = told(tmp_path, text)
    assert "has command and agent" in problems[0]
    assert "has none of command, agent, http and mock" in problems[1]


def test_name_as_a_default_is_told(tmp_path: Path) -> None:
    assert "each run needs its own" in only(tmp_path, "defaults: {name: x}\n" + RUN)


def test_problem_in_defaults_is_told_once(tmp_path: Path) -> None:
    runs = "".join(f"  - {{name: r{n}, goal: g, command: x}}\n" for n in range(50))
    assert only(tmp_path, f"defaults:\n  scope: {{}}\nruns:\n{runs}").startswith("2:10 ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1:1 the file is empty"),
        ("# nothing\n", "1:1 the file is empty"),
        ("- a\n", "1:1 the file must be a mapping of keys and values, not a list"),
        ("just text", "1:1 the file must be a mapping"),
        ("name: x\n", "1:1 'runs' is missing"),
        ("runs: []\n", "1:7 runs is empty"),
        ("runs: {}\n", "1:7 runs must be a list, not a mapping"),
        ("runs: [a,\n", "2:1 this is not YAML"),
        ("runs:\n  - a: b: c\n", "2:9 this is not YAML"),
        ("runs:\n\t- a\n", "2:1 this is not YAML"),
        ("runs: *none\n", "1:7 this is not YAML: found undefined alias"),
        ("runs: []\n---\nruns: []\n", "2:1 this is not YAML: but found another document"),
        (b"runs:\n  - \xff\n", "2:5 byte 0xff is not UTF-8"),
        ("runs:\n  - \0\n", "not allowed in YAML"),
        ("runs: 'a\x07'\n", "not allowed in YAML"),
    ],
)
def test_file_that_is_no_batch_is_told(tmp_path: Path, text: str | bytes, message: str) -> None:
    assert message in only(tmp_path, text)


def test_alias_that_contains_itself_is_told(tmp_path: Path) -> None:
    cycle = "this contains itself through a YAML alias"
    assert only(tmp_path, "runs:\n  - {name: a, goal: g, command: x, scope: &s [*s]}\n") == f"2:43 {cycle}"
    assert only(tmp_path, "runs: &r\n  - *r\n") == f"1:7 {cycle}"
    assert told(tmp_path, "runs: [&a {name: n, goal: *a, command: x}]\n") == [
        "1:8 this contains itself through a YAML alias"
    ]


def test_alias_may_be_used_again(tmp_path: Path) -> None:
    text = "runs:\n  - {name: a, goal: g, command: &c make}\n  - {name: b, goal: g, command: *c}\n"
    assert read(tmp_path, text).problems == []


def test_alias_bomb_is_refused_without_being_expanded(tmp_path: Path) -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 20)]
    text = "defaults: {scope: *a19}\n" + RUN
    problems = told(tmp_path, "\n".join(levels) + "\n" + text)
    assert problems
    runs = "\n".join("  - *r" for _ in range(100_000))
    assert any(
        "200,000" in item for item in told(tmp_path, f"runs:\n  - &r {{name: a, goal: g, command: x}}\n{runs}\n")
    )


def test_deep_nesting_is_refused_at_its_place(tmp_path: Path) -> None:
    assert "more than 32 levels deep" in only(tmp_path, "runs: " + "[" * 1_000_000)


def test_file_of_50_mb_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "batch.yaml"
    with path.open("wb") as file:
        file.truncate(50 << 20)
    opened = os.stat(path).st_blocks
    problems = load(path).problems
    assert problems[0].message == f"the file has 52,428,800 bytes; a batch file has at most {MAX_FILE_BYTES:,}"
    assert os.stat(path).st_blocks == opened


def test_largest_file_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, RUN + "#" * (MAX_FILE_BYTES - len(RUN))).problems == []
    assert read(tmp_path, RUN + "#" * (MAX_FILE_BYTES - len(RUN) + 1)).problems != []


def test_missing_file_directory_and_fifo_are_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert load(tmp_path / "none").problems[0].message == "the file cannot be read: No such file or directory"
    assert "this is a directory" in load(tmp_path).problems[0].message
    assert "not a regular file" in load(tmp_path / "fifo").problems[0].message


def test_no_more_problems_are_kept_than_a_person_reads(tmp_path: Path) -> None:
    assert len(told(tmp_path, "runs:\n" + "  - x\n" * 500)) == 100


def test_field_of_the_server_is_found_in_the_file(tmp_path: Path) -> None:
    file = read(tmp_path, FULL)
    lines = FULL.splitlines()

    def line(field: str) -> str:
        return lines[file.place_of(field).line - 1].strip()

    assert line("runs[0].name") == "- name: fix-login"
    assert line("runs[0].intention.title") == "goal: |"
    assert line("runs[0].intention.scope[1]") == "scope: [src/, tests/]"
    assert line("runs[0].validate[2].timeout") == '- {line: pytest -q, cwd: api, env: {A: "1"}, timeout: 90s}'
    assert line("runs[0].agent.name") == "agent: {name: codex, arguments: [--model, o9]}"
    assert line("runs[1].executor") == "- name: b"
    assert line("runs[2].mock.failure_rate").startswith("- {name: c")
    assert line("path") == "repo: ../shop"
    assert line("ref") == "ref: main"
    assert file.place_of("something.else") == Place()


def test_bad_retry_is_told_with_what_is_known(tmp_path: Path) -> None:
    text = "retry: {on: [cancelled], attempts: 2}\nruns: [{name: a, goal: g, command: x}]\n"
    first, second = told(tmp_path, text)
    assert "validation_failed" in first
    assert "'attempts' is not a key of retry" in second


def test_every_key_of_a_run_is_in_the_full_example() -> None:
    assert [key for key in RUN_KEYS if f"{key}:" not in FULL] == []


@settings(max_examples=150, deadline=None)
@given(text=st.text(alphabet=st.sampled_from(list("abrunsgoalme:-[]{}&*!|>'\"#,?% \n\t<~0.1")), max_size=120))
def test_no_text_makes_the_reader_fail(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.getbasetemp()
    read(folder, text)
    read(folder, "runs:\n- " + text.replace("\n", "\n  "))
