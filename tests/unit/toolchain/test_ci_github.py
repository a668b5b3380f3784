"""GitHub workflows: what runs, where, with which values, and what starts it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from textwrap import dedent

import pytest
from autopack_toolchain.core.ci import CiCommand, read_ci
from autopack_toolchain.core.shell import PLACEHOLDER
from autopack_toolchain.core.workspace import Workspace

Make = Callable[..., Workspace]
CI = ".github/workflows/ci.yml"


def read(workspace_of: Make, text: str, more: Mapping[str, str] | None = None) -> list[CiCommand]:
    files = {CI: text, **(more or {})}
    return read_ci(workspace_of({path: dedent(content).lstrip() for path, content in files.items()}))


def scripts(commands: list[CiCommand]) -> list[str]:
    return [command.script.strip() for command in commands if command.script]


def test_a_run_block_tells_where_and_when_it_runs(workspace_of: Make) -> None:
    commands = read(
        workspace_of,
        """
        name: Checks
        on:
          push: {branches: [main]}
          pull_request:
        env: {A: "1", S: "${{ secrets.S }}"}
        jobs:
          unit:
            if: github.repository == 'a/b'
            runs-on: ubuntu-24.04
            env: {B: "${{ env.A }}2"}
            steps:
              - uses: actions/setup-python@v5
                with: {python-version: "3.10"}
              - name: Run
                if: always()
                env: {C: x}
                run: |
                  # first
                  pytest -q
        """,
    )
    setup, run = commands
    assert (setup.uses, setup.with_, setup.script) == ("actions/setup-python", {"python-version": "3.10"}, "")
    assert (run.path, run.line, run.workflow, run.job, run.step) == (CI, 18, "Checks", "unit", "Run")
    assert run.script == "# first\npytest -q\n"
    assert (run.workdir, run.shell, run.system, run.depth) == (".", "bash", "linux", 0)
    assert run.env == {"A": "1", "B": "12", "C": "x"}
    assert run.triggers == {"push", "pull_request"}
    assert run.condition == "github.repository == 'a/b' && always()"


@pytest.mark.parametrize(
    ("run", "line"), [("run: make", 6), ("run: |\n    make", 7), ("run: >-\n    make", 7), ('run: "make"', 6)]
)
def test_the_line_is_that_on_which_the_script_begins(workspace_of: Make, run: str, line: int) -> None:
    step = run.replace("\n", "\n        ")
    (command,) = read(workspace_of, f"on: push\njobs:\n  a:\n    runs-on: x\n    steps:\n      - {step}\n")
    assert command.line == line


@pytest.mark.parametrize(
    ("defaults", "job_defaults", "step", "workdir", "shell"),
    [
        ("{working-directory: a}", "{}", "", "a", "bash"),
        ("{working-directory: a}", "{working-directory: ./b/}", "", "b", "bash"),
        ("{working-directory: a}", "{working-directory: b}", "working-directory: c", "c", "bash"),
        ("{shell: pwsh}", "{}", "", ".", "pwsh"),
        ("{shell: pwsh}", "{shell: 'bash -l {0}'}", "", ".", "bash"),
        ("{}", "{}", "shell: /usr/bin/zsh -e {0}", ".", "zsh"),
        ("{}", "{}", "working-directory: ${{ github.workspace }}/d", "d", "bash"),
        ("{}", "{}", "working-directory: ${{ env.X }}", "?", "bash"),
        ("{}", "{}", "working-directory: /tmp", "?", "bash"),
        ("{}", "{}", "working-directory: ../up", "?", "bash"),
    ],
)
def test_directory_and_shell_come_from_the_nearest_level(
    workspace_of: Make, defaults: str, job_defaults: str, step: str, workdir: str, shell: str
) -> None:
    (command,) = read(
        workspace_of,
        f"""
        on: push
        defaults: {{run: {defaults}}}
        jobs:
          a:
            runs-on: ubuntu-latest
            defaults: {{run: {job_defaults}}}
            steps:
              - run: make
                {step}
        """,
    )
    assert (command.workdir, command.shell) == (workdir, shell)


@pytest.mark.parametrize(
    ("runner", "system", "shell"),
    [
        ("ubuntu-latest", "linux", "bash"),
        ("[self-hosted, Linux, X64]", "linux", "bash"),
        ("{group: g, labels: [windows-2022]}", "windows", "pwsh"),
        ("macos-14", "macos", "bash"),
        ("my-runner", "", "bash"),
        ("${{ matrix.os }}", "linux", "bash"),
    ],
)
def test_the_runner_tells_the_system(workspace_of: Make, runner: str, system: str, shell: str) -> None:
    matrix = "matrix: {os: [windows-latest, ubuntu-latest]}"
    text = f"on: push\njobs:\n  a:\n    strategy: {{{matrix}}}\n    runs-on: {runner}\n    steps: [{{run: make}}]\n"
    (command,) = read(workspace_of, text)
    assert (command.system, command.shell) == (system, shell)


def matrix(workspace_of: Make, values: str, *steps: str) -> list[str]:
    lines = "".join(f"      - {step}\n" for step in steps)
    text = f"on: push\njobs:\n  a:\n    runs-on: x\n    strategy:\n      matrix: {values}\n    steps:\n{lines}"
    return scripts(read(workspace_of, text))


def test_a_matrix_value_that_is_the_only_one_is_put_in(workspace_of: Make) -> None:
    found = matrix(workspace_of, "{py: ['3.11'], os: [a, b]}", "run: tox -e py${{ matrix.py }} --on ${{ matrix.os }}")
    assert found == [f"tox -e py3.11 --on {PLACEHOLDER}"]


def test_a_matrix_value_that_tells_what_runs_makes_a_command_each(workspace_of: Make) -> None:
    assert matrix(workspace_of, "{cmd: [make a, make b]}", "run: ${{ matrix.cmd }}") == ["make a", "make b"]
    assert matrix(workspace_of, "{t: [lint, unit]}", "run: npm run test:${{ matrix.t }}") == [
        "npm run test:lint",
        "npm run test:unit",
    ]


def test_included_entries_of_a_matrix_keep_their_values_together(workspace_of: Make) -> None:
    values = "{include: [{name: a, dir: x, cmd: make a}, {name: b, dir: y, cmd: make b}]}"
    found = matrix(workspace_of, values, "run: ${{ matrix.cmd }} --log ${{ matrix.name }}.log")
    assert found == ["make a --log a.log", "make b --log b.log"]


def test_an_included_entry_adds_to_the_combinations_that_it_fits(workspace_of: Make) -> None:
    values = "{kind: [unit, lint], include: [{kind: lint, cmd: make lint}]}"
    assert matrix(workspace_of, values, "run: make ${{ matrix.kind }}; ${{ matrix.cmd }}") == [
        f"make unit; {PLACEHOLDER}",
        "make lint; make lint",
    ]


def test_a_directory_of_the_matrix_makes_a_command_each(workspace_of: Make) -> None:
    text = """
        on: push
        jobs:
          a:
            runs-on: x
            strategy: {matrix: {package: [a, b]}}
            steps: [{run: npm test, working-directory: "packages/${{ matrix.package }}"}]
        """
    assert [command.workdir for command in read(workspace_of, text)] == ["packages/a", "packages/b"]


def test_a_matrix_gives_a_bounded_number_of_commands(workspace_of: Make) -> None:
    values = "{a: [" + ", ".join(f"t{n}" for n in range(300)) + "]}"
    assert len(matrix(workspace_of, values, "run: make ${{ matrix.a }}")) == 8


def test_a_computed_matrix_leaves_placeholders(workspace_of: Make) -> None:
    assert matrix(workspace_of, "${{ fromJSON(needs.x.outputs.y) }}", "run: make ${{ matrix.a }}") == [
        f"make {PLACEHOLDER}"
    ]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("secrets.TOKEN", PLACEHOLDER),
        ("'it''s'", "it's"),
        ("inputs.x || 'd'", "d"),
        ("github.event.inputs.x || 'd'", "d"),
        ("secrets.A || 'd'", PLACEHOLDER),
        ("env.E", "e"),
        ("env['E']", "e"),
        ("ENV.e", "e"),
        ("format('{0}', 1)", PLACEHOLDER),
        ("matrix.a && 'x' || 'y'", PLACEHOLDER),
    ],
)
def test_an_expression_is_its_value_or_a_placeholder(workspace_of: Make, expression: str, value: str) -> None:
    text = (
        f"on: push\nenv: {{E: e}}\njobs:\n  a:\n    runs-on: x\n    steps:\n      - run: make ${{{{ {expression} }}}}\n"
    )
    assert scripts(read(workspace_of, text)) == [f"make {value}"]


ACTION = """
    inputs:
      task: {default: unit}
      extra: {}
    runs:
      using: composite
      steps:
        - run: make ${{ inputs.task }} ${{ inputs.extra }}
          shell: bash
          working-directory: sub
    """


def test_a_composite_action_of_the_repository_is_entered_with_its_inputs(workspace_of: Make) -> None:
    path = ".github/actions/build/action.yml"
    text = """
        on: push
        jobs:
          a:
            runs-on: ubuntu-latest
            env: {E: "1"}
            steps:
              - uses: ./.github/actions/build
                with: {extra: "-v"}
              - uses: ./.github/actions/build/
                with: {task: "${{ secrets.X }}"}
              - uses: ./.github/actions/missing
        """
    commands = read(workspace_of, text, {path: ACTION})
    assert scripts(commands) == ["make unit -v", f"make {PLACEHOLDER}"]
    first = commands[0]
    assert (first.path, first.line, first.job, first.depth) == (path, 7, "a", 1)
    assert (first.workdir, first.env, first.system) == ("sub", {"E": "1"}, "linux")


def test_a_reusable_workflow_of_the_repository_runs_for_its_caller(workspace_of: Make) -> None:
    called = """
        on:
          workflow_call:
            inputs:
              cmd: {type: string, default: make}
        jobs:
          inner:
            runs-on: ubuntu-latest
            steps: [{run: "${{ inputs.cmd }} test"}]
        """
    text = """
        on: [pull_request]
        jobs:
          a: {uses: ./.github/workflows/tests.yml}
          b: {uses: owner/name/.github/workflows/tests.yml@main, with: {cmd: just}}
          c: {uses: other/name/.github/workflows/elsewhere.yml@main}
        """
    commands = read(workspace_of, text, {".github/workflows/tests.yml": called})
    assert scripts(commands) == ["make test", "just test"]
    assert {(command.job, command.depth) for command in commands} == {("inner", 1)}
    assert commands[0].triggers == {"pull_request"}


def test_a_workflow_with_several_callers_is_started_by_what_starts_them(workspace_of: Make) -> None:
    called = "on: workflow_call\njobs: {a: {runs-on: x, steps: [{run: make}]}}\n"
    caller = "on: pull_request\njobs: {b: {uses: ./.github/workflows/tests.yml}}\n"
    more = {".github/workflows/tests.yml": called, ".github/workflows/pr.yml": caller}
    (command,) = read(workspace_of, caller.replace("pull_request", "push"), more)
    assert command.triggers == {"push", "pull_request"}


def test_a_workflow_and_an_action_that_use_themselves_end(workspace_of: Make) -> None:
    text = """
        on: [push, workflow_call]
        jobs:
          a: {uses: ./.github/workflows/ci.yml}
          b: {runs-on: x, steps: [{uses: ./}]}
        """
    action = "runs: {steps: [{run: make, shell: bash}, {uses: ./}]}"
    assert set(scripts(read(workspace_of, text, {"action.yml": action}))) == {"make"}


def test_a_checkout_into_a_directory_is_the_root(workspace_of: Make) -> None:
    text = """
        on: push
        jobs:
          a:
            runs-on: x
            steps:
              - {uses: actions/checkout@v4, with: {path: src}}
              - {run: make a, working-directory: src}
              - {run: make b, working-directory: src/sub}
              - {run: make c}
              - {uses: ./src/.github/actions/x}
        """
    action = {".github/actions/x/action.yml": "runs: {steps: [{run: make d, working-directory: src}]}"}
    found = {c.script: c.workdir for c in read(workspace_of, text, action) if c.script}
    assert found == {"make a": ".", "make b": "sub", "make c": "?", "make d": "."}


@pytest.mark.parametrize(
    ("on", "triggers"),
    [
        ("push", {"push"}),
        ("[push, pull_request_target]", {"push", "pull_request"}),
        ("{pull_request: {branches: [main]}}", {"pull_request"}),
        ("{push: {tags: [v*], branches: [main]}, workflow_dispatch: {}}", {"push", "manual"}),
        ("{merge_group: {}, schedule: [{cron: x}]}", {"merge_group", "schedule"}),
    ],
)
def test_what_starts_a_workflow_is_told(workspace_of: Make, on: str, triggers: set[str]) -> None:
    (command,) = read(workspace_of, f"on: {on}\njobs: {{a: {{runs-on: x, steps: [{{run: make}}]}}}}\n")
    assert command.triggers == triggers


def job(on: str, run: str) -> str:
    return f"on: {on}\njobs: {{a: {{runs-on: x, steps: [{{run: {run}}}]}}}}\n"


@pytest.mark.parametrize("on", ["release", "[schedule]", "{push: {tags: [v*]}}", "{issues: {types: [opened]}}"])
def test_a_workflow_that_no_change_starts_is_left_out(workspace_of: Make, on: str) -> None:
    other = {".github/workflows/other.yml": job(on, "publish")}
    assert scripts(read(workspace_of, job("push", "make"), other)) == ["make"]


def test_a_workflow_that_no_change_starts_is_read_where_there_is_no_other(workspace_of: Make) -> None:
    (command,) = read(workspace_of, job("{push: {tags: [v*]}}", "make"))
    assert command.script == "make"
    assert command.triggers == {"release"}
    (command,) = read(workspace_of, job("workflow_call", "make"))
    assert command.triggers == {"call"}


def test_the_word_on_may_be_quoted(workspace_of: Make) -> None:
    text = '# on: schedule\nname: x\n"on":\n  # comment\n  push:\n\njobs: {a: {runs-on: x, steps: [{run: make}]}}\n'
    assert scripts(read(workspace_of, text)) == ["make"]


def test_aliases_and_merge_keys_are_resolved(workspace_of: Make) -> None:
    text = """
        on: push
        x: &base {runs-on: windows-latest, env: {A: "1"}}
        y: &steps [{run: make}]
        jobs:
          a: {<<: *base, steps: *steps}
          b: {<<: [{runs-on: ubuntu-latest}, *base], steps: *steps}
        """
    found = [(c.job, c.system, dict(c.env)) for c in read(workspace_of, text)]
    assert found == [("a", "windows", {"A": "1"}), ("b", "linux", {"A": "1"})]


def test_likelier_workflows_come_first(workspace_of: Make) -> None:
    files = {f".github/workflows/{name}.yml": job("push", name) for name in ("aaa", "zz-tests", "docs", "publish-test")}
    assert [c.script for c in read_ci(workspace_of(files))] == ["zz-tests", "aaa", "publish-test", "docs"]


def test_workflows_in_a_directory_below_are_not_those_of_the_repository(workspace_of: Make) -> None:
    assert read_ci(workspace_of({"sub/.github/workflows/ci.yml": job("push", "make")})) == []
