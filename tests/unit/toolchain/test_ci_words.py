"""Lines of CI in a fresh clone: what CI fills in, what earlier lines made, and parts that stand for no whole."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from autopack_toolchain import Detection, Project, StepKind
from autopack_toolchain.core.model import Source

Detect = Callable[[dict[str, str]], Detection]

RUBY = {"Gemfile": "source 'https://gems.example'\ngem 'rake'\n", "Rakefile": "task :spec do\nend\n"}
PYTHON = {"pyproject.toml": '[project]\nname = "a"\n', "tests/test_a.py": "import pytest\n"}
RUST = {"Cargo.toml": '[workspace]\nmembers = ["a"]\n', "a/Cargo.toml": '[package]\nname = "a"\nversion = "1.0.0"\n'}
CSHARP = '<Project Sdk="Microsoft.NET.Sdk"><ItemGroup><PackageReference Include="xunit" /></ItemGroup></Project>'


def ci(*lines: str, job: str = "test") -> dict[str, str]:
    steps = "".join(f"      - run: {line}\n" for line in lines)
    head = f"on: [pull_request]\njobs:\n  {job}:\n    runs-on: ubuntu-latest\n    steps:\n"
    return {".github/workflows/ci.yml": head + steps}


def at_root(detection: Detection) -> Project:
    return next(project for project in detection.projects if project.workdir == ".")


def line(project: Project, kind: StepKind) -> str:
    step = project.step(kind)
    return step.command.line() if step else ""


def test_code_given_inline_to_an_interpreter_is_no_step(detect_files: Detect) -> None:
    project = at_root(detect_files({**RUBY, **ci("ruby -I lib -r rubocop -e 'exit 0'", "bundle exec rake spec")}))
    assert line(project, StepKind.LINT) == ""
    assert line(project, StepKind.TEST) == "bundle exec rake spec"


def test_a_program_that_is_asked_for_its_version_is_no_step(detect_files: Detect) -> None:
    package = {"package.json": '{"devDependencies": {"typescript": "5"}}'}
    assert line(at_root(detect_files({**package, **ci("npx tsc --version")})), StepKind.BUILD) == ""


def test_all_packages_of_a_cargo_workspace_are_no_selection(detect_files: Detect) -> None:
    command = "cargo test --workspace --all-features"
    step = at_root(detect_files({**RUST, **ci(command)})).step(StepKind.TEST)
    assert step is not None
    assert (step.command.line(), step.source) == (command, Source.CI)
    one = at_root(detect_files({**RUST, **ci("cargo test -p a")})).step(StepKind.TEST)
    assert one is not None
    assert one.source is not Source.CI


def test_the_strongest_line_of_a_job_counts_in_full_beside_a_weaker_one_of_the_same_job(detect_files: Detect) -> None:
    plain = at_root(detect_files({**RUST, **ci("cargo test --all-targets")})).step(StepKind.TEST)
    with_docs = at_root(detect_files({**RUST, **ci("cargo test --all-targets", "cargo test --doc")})).step(
        StepKind.TEST
    )
    assert plain is not None
    assert with_docs is not None
    assert with_docs.evidence[0].weight == plain.evidence[0].weight


def test_the_runner_stands_before_those_of_parts(detect_files: Detect) -> None:
    body = "#!/bin/sh\n$TCLSH tests/main.tcl\n"
    scripts = dict.fromkeys(("runtest", "runtest-cluster", "runtest-sentinel"), body)
    made = {"Makefile": "all:\n\tcc main.c\n", "main.c": ""}
    files = {**made, **scripts, **ci("./runtest-cluster", "./runtest-sentinel", "./runtest --verbose --tags slow")}
    assert line(at_root(detect_files(files)), StepKind.TEST) == "./runtest --verbose --tags slow"


def test_a_script_that_fetches_others_is_no_test_of_what_it_fetches(detect_files: Detect) -> None:
    files = {**RUBY, "script/clone_all_rspec_repos": "#!/bin/sh\n", **ci("script/clone_all_rspec_repos")}
    assert "clone" not in line(at_root(detect_files(files)), StepKind.TEST)


def test_a_program_in_node_modules_above_keeps_its_path(detect_files: Detect) -> None:
    files = {
        "package.json": '{"workspaces": ["packages/*"]}',
        "packages/a/package.json": '{"name": "a", "devDependencies": {"vitest": "1"}}',
        **ci("cd packages/a && ../../node_modules/.bin/vitest --run"),
    }
    project = next(p for p in detect_files(files).projects if p.workdir == "packages/a")
    assert line(project, StepKind.TEST) == "../../node_modules/.bin/vitest --run"


def test_what_an_earlier_line_has_built_is_not_counted_on(detect_files: Detect) -> None:
    files = {"A.Tests/A.Tests.csproj": CSHARP, "A.sln": 'Project("{1}") = "A", "A.Tests\\A.Tests.csproj", "{2}"\n'}
    project = at_root(detect_files({**files, **ci("dotnet build -c Release", "dotnet test -c Release --no-build")}))
    assert line(project, StepKind.TEST) == "dotnet test -c Release"


TOX = "[tox]\nenv_list = py3{12,13}-{tests,mypy}\n[testenv]\ncommands =\n    tests: pytest\n    mypy: mypy src\n"
PLAIN_TOX = (
    "[tox]\nenv_list = {,ci-}py{312,313},fuzz\n[testenv]\ncommands = pytest tests\n[testenv:fuzz]\ncommands = fuzz\n"
)


@pytest.mark.parametrize(
    ("tox", "command", "expected"),
    [
        (TOX, "tox run --installpkg dist/*.whl -f ${PYTHON}-tests", "tox run -e py-tests"),
        (TOX, "tox run -e ${{ matrix.python }}-tests", "tox run -e py-tests"),
        (PLAIN_TOX, "tox -e ci-py$(echo ${{ matrix.python }} | tr -d '.') -- -v", "tox -e ci-py -- -v"),
        (PLAIN_TOX, "tox run -e ${{ matrix.tox }}", "tox run -e py"),
    ],
)
def test_tox_is_called_for_the_python_at_hand_where_ci_fills_it_in(
    detect_files: Detect, tox: str, command: str, expected: str
) -> None:
    project = at_root(detect_files({**PYTHON, "tox.ini": tox, **ci(command)}))
    assert line(project, StepKind.TEST) == expected


def test_an_environment_with_another_factor_is_not_taken_for_the_tests(detect_files: Detect) -> None:
    project = at_root(
        detect_files({**PYTHON, "tox.ini": TOX, **ci("tox run -e ${{ matrix.python }}-mypy", job="checks")})
    )
    assert "tox" not in line(project, StepKind.TEST)
    assert line(project, StepKind.TYPECHECK) == "tox run -e py-mypy"


def test_an_environment_that_installs_and_tests_is_no_install(detect_files: Detect) -> None:
    tox = "[testenv]\ncommands =\n    pip install -e .\n    pytest\n"
    project = at_root(detect_files({**PYTHON, "tox.ini": tox, **ci("tox -e py312")}))
    assert "tox" not in line(project, StepKind.INSTALL)


def test_tests_without_a_marker_are_the_plain_ones(detect_files: Detect) -> None:
    project = at_root(detect_files({**PYTHON, **ci("pytest -m 'not integration'")}))
    step = project.step(StepKind.TEST)
    assert step is not None
    assert (step.command.line(), step.confidence > 0.5) == ("pytest -m 'not integration'", True)


def test_a_step_of_another_build_tool_is_not_the_managers(detect_files: Detect) -> None:
    files = {
        "pom.xml": "<project><modelVersion>4.0.0</modelVersion></project>",
        "build.gradle": "plugins { id 'java' }",
        "mvnw": "#!/bin/sh\n",
        "gradlew": "#!/bin/sh\n",
        "src/test/java/ATest.java": "",
        **ci("./mvnw -B verify", "./gradlew build"),
    }
    project = at_root(detect_files(files))
    other = {"maven": "gradlew", "gradle": "mvnw"}[project.package_manager.name]
    assert all(other not in step.command.line() for step in project.steps)


def test_a_script_that_is_only_named_setup_does_not_stand_before_the_managers_install(detect_files: Detect) -> None:
    project = at_root(detect_files({**RUBY, "setup_db.ps1": "", **ci("./setup_db.ps1", "bundle exec rake spec")}))
    assert line(project, StepKind.INSTALL) == "bundle install"


def test_linters_that_only_hooks_bring_are_run_through_them(detect_files: Detect) -> None:
    hooks = "repos:\n- repo: https://hooks.example/ruff\n  rev: v1\n  hooks:\n  - id: ruff\n"
    step = at_root(detect_files({**PYTHON, ".pre-commit-config.yaml": hooks})).step(StepKind.LINT)
    assert step is not None
    assert (step.command.line(), step.evidence[0].line) == ("pre-commit run --all-files", 5)
    declared = {"pyproject.toml": '[project]\nname = "a"\ndependencies = ["ruff"]\n'}
    project = at_root(detect_files({**declared, ".pre-commit-config.yaml": hooks}))
    assert "ruff" in line(project, StepKind.LINT)
