"""What a command is for: its program, the wrappers around it, and the tasks that it calls."""

from __future__ import annotations

import shlex

import pytest
from autopack_toolchain.core.classify import Classifier, name_kinds
from autopack_toolchain.core.model import StepKind
from autopack_toolchain.core.programs import default_programs
from autopack_toolchain.core.tasks import Task


def classifier(*tasks: Task) -> Classifier:
    return Classifier(default_programs(), tasks)


def make(name: str, *bodies: str, needs: tuple[str, ...] = (), directory: str = ".") -> Task:
    path = "Makefile" if directory == "." else f"{directory}/Makefile"
    return Task("make", name, path, 1, directory, ("make", name), bodies, needs)


def script(name: str, *bodies: str) -> Task:
    return Task("npm-script", name, "package.json", 1, ".", ("run", name), bodies)


def kinds(line: str, *tasks: Task, directory: str = ".") -> dict[StepKind, tuple[str, str]]:
    """Purpose -> (ecosystem, runner)."""
    uses = classifier(*tasks).uses(tuple(shlex.split(line)), directory)
    return {use.kind: (use.ecosystem, use.runner) for use in uses}


@pytest.mark.parametrize(
    ("line", "kind", "ecosystem", "runner"),
    [
        ("pytest -v --cov", StepKind.TEST, "python", "pytest"),
        ("python3.12 -m pytest tests", StepKind.TEST, "python", "pytest"),
        ("coverage run --source=a,b -m pytest -v", StepKind.TEST, "python", "pytest"),
        ("xvfb-run -a poetry run coverage run -m unittest discover", StepKind.TEST, "python", "unittest"),
        ("uv run --group dev --python 3.12 pytest", StepKind.TEST, "python", "pytest"),
        ("uv run -m pytest", StepKind.TEST, "python", "pytest"),
        ("python manage.py test", StepKind.TEST, "python", "django"),
        ("uvx ruff check .", StepKind.LINT, "python", "ruff"),
        ("ruff format --check", StepKind.FORMAT, "python", "ruff"),
        ("python -m build", StepKind.BUILD, "python", "build"),
        ("npx vitest run", StepKind.TEST, "node", "vitest"),
        ("node --test test/", StepKind.TEST, "node", "node"),
        ("yarn jest --ci", StepKind.TEST, "node", "jest"),
        ("yarn", StepKind.INSTALL, "node", "yarn"),
        ("npm ci", StepKind.INSTALL, "node", "npm"),
        ("bun test", StepKind.TEST, "node", "bun"),
        ("cargo +nightly test --all", StepKind.TEST, "rust", "cargo test"),
        ("cargo nextest run", StepKind.TEST, "rust", "cargo nextest"),
        ("cargo test --no-run", StepKind.BUILD, "rust", "cargo test"),
        ("go test -race -tags integration ./...", StepKind.TEST, "go", "go test"),
        ("gotestsum --junitfile out.xml -- ./...", StepKind.TEST, "go", "go test"),
        ("./gradlew :core:test", StepKind.TEST, "java", "gradle"),
        ("./gradlew check -x test", StepKind.LINT, "java", "gradle"),
        ("./mvnw -B --file pom.xml clean verify", StepKind.TEST, "java", "mvn"),
        ("dotnet test App.sln -c Release", StepKind.TEST, "dotnet", "dotnet test"),
        ("bundle exec rspec", StepKind.TEST, "ruby", "rspec"),
        ("bin/rails test", StepKind.TEST, "ruby", "rails"),
        ("vendor/bin/phpunit", StepKind.TEST, "php", "phpunit"),
        ("php artisan test", StepKind.TEST, "php", "artisan"),
        ("mix test", StepKind.TEST, "elixir", "mix test"),
        ("ctest --test-dir build", StepKind.TEST, "c", "ctest"),
        ("swift test --parallel", StepKind.TEST, "swift", "swift test"),
        ("env CI=1 timeout 60 pytest", StepKind.TEST, "python", "pytest"),
        ("mise exec -- go test ./...", StepKind.TEST, "go", "go test"),
        ("scripts/run-tests.sh", StepKind.TEST, "", ""),
        ("node . test --ignore-scripts", StepKind.TEST, "node", ""),
    ],
)
def test_a_command_is_for_what_its_program_is_for(line: str, kind: StepKind, ecosystem: str, runner: str) -> None:
    assert kinds(line)[kind] == (ecosystem, runner)


@pytest.mark.parametrize(
    "line",
    [
        "cd src",
        "echo pytest",
        "git clone x test",
        "docker run image pytest",
        "pip --version",
        "apt-get install -y pytest",
        "./mvnw package -DskipTests=true --version pytest",
        "pytest --collect-only",
        "./scripts/deploy.sh",
        "",
    ],
)
def test_set_up_noise_is_no_test(line: str) -> None:
    assert StepKind.TEST not in kinds(line)


def test_a_target_is_followed_to_the_runner_through_needs_variables_and_other_tools() -> None:
    tasks = [make("test", needs=("unit",)), make("unit", "npm run -s check"), script("check", "vitest run")]
    assert kinds("make test", *tasks) == {StepKind.TEST: ("node", "vitest")}


def test_a_name_decides_where_the_body_tells_nothing() -> None:
    assert kinds("make test", make("test", "./bin/odd --all")) == {StepKind.TEST: ("", "")}
    assert kinds("make release", make("release", "./bin/odd --all")) == {}


def test_a_name_for_something_else_weighs_down_what_the_body_does() -> None:
    plain, other = make("all", "pytest"), make("lint", "ruff check", "pytest")
    known = classifier(plain, other)
    weight = {use.kind: use.weight for use in known.task_uses(other)}
    assert weight[StepKind.TEST] < weight[StepKind.LINT]
    assert weight[StepKind.TEST] < known.task_uses(plain)[0].weight


def test_tasks_that_call_each_other_end() -> None:
    loop = [make("a", "make b"), make("b", "make a", "pytest"), script("test", "npm run test")]
    assert kinds("make a", *loop)[StepKind.TEST] == ("python", "pytest")
    assert kinds("npm test", *loop) == {StepKind.TEST: ("node", "")}


def test_a_task_of_a_directory_above_is_found_where_its_tool_looks_there() -> None:
    root = Task("just", "test", "justfile", 1, ".", ("just", "test"), ("cargo test",))
    assert kinds("just test", root, directory="crates/a") == {StepKind.TEST: ("rust", "cargo test")}
    assert kinds("make test", make("test", "cargo test"), directory="crates/a") == {StepKind.TEST: ("", "")}


def test_the_directory_that_an_option_names_is_where_it_works() -> None:
    known = classifier()
    for line in ("npm --prefix web ci", "pnpm -C web install", "yarn --cwd=web install"):
        assert [use.directory for use in known.uses(tuple(line.split()), ".")] == ["web"]
    assert known.uses(("mvn", "-f", "api/pom.xml", "test"), ".")[0].directory == "api"
    assert known.uses(("make", "-C", "../../x", "test"), "a")[0].directory in {"?", "a"}


def test_environments_of_tox_named_for_a_version_run_the_tests() -> None:
    py311 = Task("tox", "py311", "tox.ini", 1, ".", ("tox", "-e", "py311"), ("python odd.py",))
    assert StepKind.TEST in kinds("tox -e py311,lint", py311)


def test_a_program_that_stands_for_several_purposes_tells_them_all() -> None:
    assert set(kinds("mvn package")) == {StepKind.TEST, StepKind.BUILD}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("run-tests.sh", {StepKind.TEST}),
        ("lint:ci", {StepKind.LINT}),
        ("type-check", set()),
        ("build_and_test", {StepKind.BUILD, StepKind.TEST}),
        ("latest", set()),
    ],
)
def test_words_of_a_name_and_not_parts_of_words_tell_its_purpose(name: str, expected: set[StepKind]) -> None:
    assert name_kinds(default_programs(), name) == expected


def test_uses_of_one_runner_are_counted_together() -> None:
    known = classifier()
    entries = {known.entry(tuple(line.split()), ".") for line in ("pytest -v", "uv run pytest", "python -m pytest x")}
    assert entries == {"pytest"}
    assert known.entry(("make", "test", "V=1"), ".") == "make test"
