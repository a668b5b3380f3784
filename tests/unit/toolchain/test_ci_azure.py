"""Azure pipelines: stages, jobs, steps, variables and templates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from textwrap import dedent

import pytest
from autopack_toolchain.core.ci import CiCommand, read_ci
from autopack_toolchain.core.shell import PLACEHOLDER
from autopack_toolchain.core.workspace import Workspace

Make = Callable[..., Workspace]


def read(workspace_of: Make, text: str, more: Mapping[str, str] | None = None) -> list[CiCommand]:
    files = {"azure-pipelines.yml": text, **(more or {})}
    return read_ci(workspace_of({path: dedent(content).lstrip() for path, content in files.items()}))


def test_scripts_of_all_levels_are_read(workspace_of: Make) -> None:
    commands = read(
        workspace_of,
        """
        trigger: [main]
        pool: {vmImage: ubuntu-latest}
        variables: {config: Release, secret: $(x)}
        stages:
          - stage: Build
            condition: succeeded()
            jobs:
              - job: unit
                steps:
                  - checkout: self
                  - bash: |
                      make $(config)
                    displayName: Tests
                    workingDirectory: $(Build.SourcesDirectory)/sub
                    env: {A: "1"}
                    condition: always()
              - deployment: ship
                pool: {vmImage: windows-2022}
                strategy: {runOnce: {deploy: {steps: [{script: ship.cmd}]}}}
        """,
    )
    unit, ship = commands
    assert (unit.script, unit.line, unit.job, unit.step) == ("make Release\n", 12, "unit", "Tests")
    assert (unit.workdir, unit.shell, unit.system) == ("sub", "bash", "linux")
    assert (unit.env, unit.condition) == ({"CONFIG": "Release", "A": "1"}, "succeeded() && always()")
    assert unit.triggers == {"push", "pull_request"}
    assert (ship.script, ship.job, ship.system, ship.shell) == ("ship.cmd", "ship", "windows", "cmd")


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("make -j$(nproc)", "make -j$(nproc)"),
        ("ls $(Agent.TempDirectory)", f"ls {PLACEHOLDER}"),
        ("make ${{ parameters.kind }}", "make unit"),
        ("make ${{ parameters.unknown }}", f"make {PLACEHOLDER}"),
        ("make ${{ variables.v }}", "make w"),
        ("make $(V)", "make w"),
    ],
)
def test_variables_and_parameters_are_put_in(workspace_of: Make, script: str, found: str) -> None:
    text = f"""
        parameters: [{{name: kind, default: unit}}]
        variables: [{{name: v, value: w}}, {{group: g}}]
        steps: [{{script: "{script}"}}]
        """
    assert [command.script for command in read(workspace_of, text)] == [found]


def test_a_matrix_gives_its_variables(workspace_of: Make) -> None:
    text = """
        jobs:
          - job: a
            strategy:
              matrix:
                win: {image: windows-latest, tox: py}
                lin: {image: ubuntu-latest, tox: lint}
            pool: {vmImage: $(image)}
            steps: [{script: tox -e $(tox)}]
        """
    found = [(command.script, command.system) for command in read(workspace_of, text)]
    assert found == [("tox -e lint", "linux"), ("tox -e py", "windows")]


def test_templates_of_the_repository_are_entered_with_their_parameters(workspace_of: Make) -> None:
    more = {
        ".azure-pipelines/steps.yml": """
            parameters: {target: all, before: []}
            steps:
              - ${{ each s in parameters.before }}:
                  - ${{ s }}
              - ${{ parameters.before }}
              - script: make ${{ parameters.target }}
              - template: steps.yml
            """,
        ".azure-pipelines/jobs.yml": "jobs: [{job: inner, steps: [{template: /.azure-pipelines/steps.yml}]}]\n",
    }
    text = """
        jobs:
          - job: a
            steps:
              - template: .azure-pipelines/steps.yml
                parameters: {target: unit, before: [{script: make before}]}
              - template: x.yml@other
              - template: missing.yml
          - template: .azure-pipelines/jobs.yml
        """
    commands = read(workspace_of, text, more)
    found = list(dict.fromkeys((c.script, c.job) for c in commands))
    assert found == [("make before", "a"), ("make unit", "a"), ("make all", "a"), ("make all", "inner")]
    assert commands[1].path == ".azure-pipelines/steps.yml"
    assert commands[1].depth == 1


def test_steps_under_template_conditions_are_read(workspace_of: Make) -> None:
    text = """
        steps:
          - ${{ if eq(variables['x'], 'y') }}:
              - script: make a
          - ${{ else }}:
              - script: make b
        """
    assert [command.script for command in read(workspace_of, text)] == ["make a", "make b"]


def test_tasks_that_run_scripts_are_scripts_and_others_are_told(workspace_of: Make) -> None:
    text = """
        steps:
          - task: Bash@3
            inputs: {targetType: inline, script: make a}
          - task: CmdLine@2
            inputs: {script: make b, workingDirectory: sub}
          - task: DotNetCoreCLI@2
            inputs: {command: test, projects: '**/*.csproj'}
        """
    a, b, dotnet = read(workspace_of, text)
    assert (a.script, b.script, b.workdir) == ("make a", "make b", "sub")
    assert (dotnet.uses, dotnet.with_) == ("DotNetCoreCLI", {"command": "test", "projects": "**/*.csproj"})


@pytest.mark.parametrize(
    ("head", "triggers"),
    [
        ("trigger: none", {"pull_request"}),
        ("pr: none", {"push"}),
        ("trigger: {tags: {include: [v*]}}\npr: none", {"release"}),
        ("trigger: none\npr: none\nschedules: [{cron: x}]", {"schedule"}),
        ("trigger: none\npr: none", {"manual"}),
    ],
)
def test_what_starts_a_pipeline_is_told(workspace_of: Make, head: str, triggers: set[str]) -> None:
    (command,) = read(workspace_of, f"{head}\nsteps: [{{script: make}}]\n")
    assert command.triggers == triggers


def test_conditions_that_hold_each_other_many_times_are_bounded(workspace_of: Make) -> None:
    lists = "".join(f"a{n}: &a{n} [{', '.join([f'{{CONDITION: *a{n - 1}}}'] * 30)}]\n" for n in range(1, 8))
    text = f"a0: &a0 []\n{lists}steps: *a7\n".replace("CONDITION", "'${{ if x }}'")
    assert read(workspace_of, text) == []
