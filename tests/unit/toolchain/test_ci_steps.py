"""What a repository's own CI runs becomes its steps: parsed, and without what only CI needs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from autopack_toolchain import Detection, Project, StepKind
from autopack_toolchain.core.model import Source

Detect = Callable[[dict[str, str]], Detection]

PYTHON = {
    "pyproject.toml": '[project]\nname = "a"\n[project.optional-dependencies]\ntest = ["pytest"]\n',
    "test_a.py": "import pytest\n",
}
NODE = {"package.json": '{"scripts": {"test": "vitest", "build": "tsc -b"}, "devDependencies": {"vitest": "1"}}'}


def workflow(*steps: str, job: str = "test", on: str = "[push, pull_request]", runner: str = "ubuntu-latest") -> str:
    lines = [f"on: {on}", "jobs:", f"  {job}:", f"    runs-on: {runner}", "    steps:"]
    for step in steps:
        first, *others = step.splitlines()
        lines += [f"      - {first}", *(f"        {other}" for other in others)]
    return "\n".join(lines) + "\n"


def only(detection: Detection) -> Project:
    assert len(detection.projects) == 1, [(p.workdir, p.ecosystem) for p in detection.projects]
    return detection.projects[0]


def line(project: Project, kind: StepKind) -> str:
    step = project.step(kind)
    return step.command.line() if step else ""


def test_the_command_of_a_pull_request_stands_before_the_languages_habit(detect_files: Detect) -> None:
    ci = workflow("run: pip install -e .[test]", "name: Tests\nrun: pytest -n auto --cov tests")
    project = only(detect_files({**PYTHON, ".github/workflows/ci.yml": ci}))
    step = project.step(StepKind.TEST)
    assert step is not None
    assert (step.command.argv, step.source) == (("pytest", "-n", "auto", "--cov", "tests"), Source.CI)
    assert (step.evidence[0].path, step.evidence[0].line) == (".github/workflows/ci.yml", 8)
    assert line(project, StepKind.INSTALL) == "python -m pip install -e '.[test]'"


def test_expressions_secrets_and_their_options_are_left_out(detect_files: Detect) -> None:
    step = "run: TOKEN=${{ secrets.T }} MODE=fast pytest --py ${{ matrix.py }} --x=${{ matrix.x }} -v tests"
    ci = workflow(step + "\nenv:\n  API_TOKEN: abc")
    project = only(detect_files({**PYTHON, ".github/workflows/ci.yml": ci}))
    command = project.steps[[s.kind for s in project.steps].index(StepKind.TEST)].command
    assert command.argv == ("pytest", "-v", "tests")
    assert dict(command.env) == {"MODE": "fast"}


def test_a_tool_of_the_environment_runs_through_the_manager_that_owns_it(detect_files: Detect) -> None:
    files = {**PYTHON, "uv.lock": "version = 1\n"}
    ci = workflow("run: uv sync --all-extras", "run: |\n  source .venv/bin/activate\n  pytest -q")
    project = only(detect_files({**files, ".github/workflows/ci.yml": ci}))
    assert line(project, StepKind.TEST) == "uv run pytest -q"
    assert line(project, StepKind.INSTALL) == "uv sync --all-extras"


def test_what_ci_installs_with_decides_between_two_lock_files(detect_files: Detect) -> None:
    files = {**NODE, "package-lock.json": "{}", "yarn.lock": "# yarn lockfile v1\n"}
    ci = workflow("run: yarn install --frozen-lockfile", "run: yarn test")
    detection = detect_files({**files, ".github/workflows/ci.yml": ci})
    assert only(detection).package_manager.name == "yarn"
    assert line(only(detection), StepKind.TEST).endswith("yarn test")
    assert [warning.reason for warning in detection.warnings] == ["CONFLICTING_LOCK_FILES"]


@pytest.mark.parametrize(
    "noise",
    [
        "run: pip install pytest",
        "run: docker compose run tests pytest",
        "run: echo pytest",
        "run: twine upload dist/*",
        "uses: actions/checkout@v4",
        "run: ${{ inputs.command }}",
    ],
)
def test_set_up_and_deploys_are_no_tests(detect_files: Detect, noise: str) -> None:
    project = only(detect_files({**PYTHON, ".github/workflows/ci.yml": workflow(noise)}))
    step = project.step(StepKind.TEST)
    assert step is not None
    assert step.source is not Source.CI


@pytest.mark.parametrize(
    ("weaker", "job", "on", "runner"),
    [
        ("run: pytest tests/e2e", "e2e", "[push]", "ubuntu-latest"),
        ("run: pytest -m slow", "nightly", "{schedule: [{cron: '0 0 * * *'}]}", "ubuntu-latest"),
        ("run: pytest -x", "windows", "[push]", "windows-latest"),
        ("run: pytest tests/test_one.py", "test", "[push]", "ubuntu-latest"),
    ],
)
def test_a_special_job_does_not_stand_before_the_plain_one(
    detect_files: Detect, weaker: str, job: str, on: str, runner: str
) -> None:
    files = {
        ".github/workflows/a.yml": workflow(weaker, job=job, on=on, runner=runner),
        ".github/workflows/b.yml": workflow("run: pytest -q"),
    }
    assert line(only(detect_files({**PYTHON, **files})), StepKind.TEST) == "pytest -q"


def test_a_command_belongs_to_the_project_of_its_directory(detect_files: Detect) -> None:
    files = {
        "api/go.mod": "module a\n",
        "api/a_test.go": "package a\n",
        "web/package.json": NODE["package.json"],
        ".github/workflows/ci.yml": workflow(
            "run: go test -race ./...\nworking-directory: api", "run: cd web && npm test -- --run"
        ),
    }
    projects = {project.workdir: project for project in detect_files(files).projects}
    api, web = projects["api"].step(StepKind.TEST), projects["web"].step(StepKind.TEST)
    assert api is not None
    assert web is not None
    assert (api.command.cwd, api.command.argv) == ("api", ("go", "test", "-race", "./..."))
    assert (web.command.cwd, web.command.argv) == ("web", ("npm", "test", "--", "--run"))


def test_a_target_that_ci_calls_is_known_by_what_it_runs(detect_files: Detect) -> None:
    files = {
        **PYTHON,
        "Makefile": "everything: style\n\tpython -m pytest tests -q -x --cov src\nstyle:\n\truff check .\n",
        ".github/workflows/ci.yml": workflow("run: make everything"),
    }
    project = only(detect_files(files))
    assert line(project, StepKind.TEST) == "make everything"
    assert "make everything" in {step.command.line() for step in project.steps if step.kind is StepKind.LINT}


def test_an_action_stands_for_the_command_it_runs(detect_files: Detect) -> None:
    files = {
        "go.mod": "module a\n",
        "a.go": "package a\n",
        ".github/workflows/ci.yml": workflow("uses: golangci/golangci-lint-action@v8", job="lint"),
    }
    assert line(only(detect_files(files)), StepKind.LINT) == "golangci-lint run"


def test_a_broken_workflow_is_a_warning_and_the_rest_is_still_read(detect_files: Detect) -> None:
    files = {
        ".github/workflows/a.yml": "on: push\njobs:\n  a: [\n    run: x\n",
        ".github/workflows/b.yml": workflow("run: pytest -q"),
    }
    detection = detect_files({**PYTHON, **files})
    assert line(only(detection), StepKind.TEST) == "pytest -q"
    assert [(w.reason, w.paths) for w in detection.warnings] == [("BROKEN_MANIFEST", (".github/workflows/a.yml",))]


def test_a_line_in_a_directory_that_only_a_shell_knows_runs_in_the_project_without_the_rest_of_its_block(
    detect_files: Detect,
) -> None:
    block = 'run: |\n  cd "$(dirname "$MODULE")"\n  go test -race ./...\n  git push --tags'
    files = {"api/go.mod": "module a\n", "api/a_test.go": "package a\n", ".github/workflows/ci.yml": workflow(block)}
    step = only(detect_files(files)).step(StepKind.TEST)
    assert step is not None
    assert (step.command.cwd, step.command.argv) == ("api", ("go", "test", "-race", "./..."))
