"""Node.js: managers and steps."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from autopack_toolchain import Detection, Project, StepKind

Detect = Callable[..., Detection]


def package(**fields: Any) -> str:
    return json.dumps({"name": "a", "dependencies": {"b": "1"}, **fields}, indent=2)


def at(detection: Detection, workdir: str = ".") -> Project:
    return next(p for p in detection.projects if p.workdir == workdir and p.ecosystem == "node")


def line(project: Project, kind: StepKind) -> str:
    step = project.step(kind)
    return step.command.line() if step else ""


@pytest.mark.parametrize(
    ("files", "manager", "install"),
    [
        ({"package-lock.json": "{}"}, "npm", "npm ci"),
        ({}, "npm", "npm install"),
        ({"yarn.lock": "# yarn lockfile v1\n"}, "yarn", "yarn install --frozen-lockfile"),
        ({"yarn.lock": "__metadata:\n  version: 8\n"}, "yarn-berry", "yarn install --immutable"),
        ({"pnpm-lock.yaml": ""}, "pnpm", "pnpm install --frozen-lockfile"),
        ({"bun.lock": ""}, "bun", "bun install --frozen-lockfile"),
    ],
    ids=["npm", "npm without lock", "yarn 1", "yarn berry", "pnpm", "bun"],
)
def test_the_lock_file_decides_the_manager(
    detect_files: Detect, files: dict[str, str], manager: str, install: str
) -> None:
    project = at(detect_files({"package.json": package(), **files}))
    assert project.package_manager.name == manager
    assert line(project, StepKind.INSTALL) == install


@pytest.mark.parametrize(
    ("named", "manager", "version"),
    [
        ("pnpm@9.1.0+sha512.abc", "pnpm", "9.1.0"),
        ("yarn@1.22.22", "yarn", "1.22.22"),
        ("yarn@4.0.0", "yarn-berry", "4.0.0"),
    ],
)
def test_the_package_manager_field_names_manager_and_version(
    detect_files: Detect, named: str, manager: str, version: str
) -> None:
    found = at(detect_files({"package.json": package(packageManager=named)})).package_manager
    assert (found.name, found.version) == (manager, version)
    assert found.evidence[0].line == 6


def test_the_package_manager_field_wins_over_a_stray_lock_file_with_a_warning(detect_files: Detect) -> None:
    detection = detect_files({"package.json": package(packageManager="pnpm@9.0.0"), "package-lock.json": "{}"})
    manager = at(detection).package_manager
    assert manager.name == "pnpm"
    assert [other.name for other in manager.alternatives] == ["npm"]
    (warning,) = detection.warnings
    assert set(warning.paths) == {"package.json", "package-lock.json"}
    assert "packageManager" in warning.message


def test_bun_runs_tests_that_no_declared_runner_does(detect_files: Detect) -> None:
    files = {"package.json": package(), "bun.lock": "", "src/a.test.ts": ""}
    assert line(at(detect_files(files)), StepKind.TEST) == "bun test"
    files["package.json"] = package(devDependencies={"vitest": "3"})
    assert line(at(detect_files(files)), StepKind.TEST) == "bunx vitest run"


def test_the_placeholder_of_npm_init_is_no_test(detect_files: Detect) -> None:
    scripts = {"test": 'echo "Error: no test specified" && exit 1'}
    assert at(detect_files({"package.json": package(scripts=scripts)})).step(StepKind.TEST) is None


def test_scripts_become_steps_and_the_form_for_ci_stands_first(detect_files: Detect) -> None:
    scripts = {"test": "jest", "test:ci": "jest --ci", "lint": "eslint .", "typecheck": "tsc", "build": "tsc -b"}
    project = at(detect_files({"package.json": package(scripts=scripts), "package-lock.json": "{}"}))
    assert line(project, StepKind.TEST) == "npm run test:ci"
    assert line(project, StepKind.LINT) == "npm run lint"
    assert line(project, StepKind.TYPECHECK) == "npm run typecheck"
    assert line(project, StepKind.BUILD) == "npm run build"


def test_a_runner_that_would_watch_for_changes_is_told_that_it_must_not(detect_files: Detect) -> None:
    project = at(detect_files({"package.json": package(scripts={"test": "react-scripts test"})}))
    step = project.step(StepKind.TEST)
    assert step is not None
    assert (step.command.argv, dict(step.command.env)) == (("npm", "test"), {"CI": "true"})


def test_a_member_of_a_workspace_has_the_manager_of_its_root_and_installs_there(detect_files: Detect) -> None:
    files = {
        "package.json": package(),
        "pnpm-workspace.yaml": "packages: ['packages/*', '!packages/old']\n",
        "pnpm-lock.yaml": "",
        "packages/a/package.json": package(scripts={"test": "vitest run"}),
        "packages/old/package.json": package(),
    }
    detection = detect_files(files)
    member = at(detection, "packages/a")
    install = member.step(StepKind.INSTALL)
    assert member.package_manager.name == "pnpm"
    assert install is not None
    assert install.command.cwd == "."
    assert at(detection, "packages/old").package_manager.name == "npm"


def test_the_lock_file_of_an_unrelated_project_above_says_nothing(detect_files: Detect) -> None:
    detection = detect_files({"package.json": package(), "yarn.lock": "", "site/package.json": package()})
    assert at(detection, "site").package_manager.name == "npm"


def test_a_package_without_dependencies_needs_no_install_and_uses_the_runner_of_node(detect_files: Detect) -> None:
    project = at(detect_files({"package.json": '{"name": "a"}', "test/a.test.js": ""}))
    assert project.step(StepKind.INSTALL) is None
    assert line(project, StepKind.TEST) == "node --test"


def test_fixtures_are_no_projects_and_examples_are_less_sure(detect_files: Detect) -> None:
    files = {"package.json": package(), "test/fixtures/x/package.json": package(), "examples/y/package.json": package()}
    found = {p.workdir: p.confidence for p in detect_files(files).projects}
    assert set(found) == {".", "examples/y"}
    assert found["examples/y"] < found["."]
