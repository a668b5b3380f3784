"""Workspaces: what ties packages together, which they are, and where that is declared."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from autopack_toolchain import Detection, Project, StepKind
from autopack_toolchain.convert import detection_to_proto
from autopack_toolchain.core.globs import directory_matcher

Detect = Callable[..., Detection]

PACKAGE = json.dumps({"name": "a", "scripts": {"test": "vitest run"}})
POM = '<project xmlns="http://maven.apache.org/POM/4.0.0">%s</project>'


def package(**fields: object) -> str:
    return json.dumps({"name": "root", **fields}, indent=1)


def found(detection: Detection) -> dict[str, Project]:
    return {project.workdir: project for project in detection.projects}


def members(detection: Detection, tool: str, root: str = ".") -> tuple[str, ...]:
    workspace = found(detection)[root].workspace
    assert workspace is not None
    assert (workspace.tool, workspace.root) == (tool, root)
    return workspace.members


@pytest.mark.parametrize(
    ("tool", "files"),
    [
        ("npm", {"package.json": package(workspaces=["packages/*"])}),
        (
            "yarn",
            {"package.json": package(workspaces={"packages": ["packages/*"]}), "yarn.lock": "# yarn lockfile v1\n"},
        ),
        ("yarn", {"package.json": package(workspaces=["packages/*"], packageManager="yarn@4.1.0")}),
        ("bun", {"package.json": package(workspaces=["packages/*"]), "bun.lock": ""}),
        ("pnpm", {"package.json": package(), "pnpm-workspace.yaml": "packages:\n  - packages/*\n"}),
        ("nx", {"package.json": package(workspaces=["packages/*"]), "nx.json": "{}"}),
        ("turbo", {"package.json": package(workspaces=["packages/*"]), "turbo.json": "{}"}),
        ("lerna", {"package.json": package(), "lerna.json": '{"packages": ["packages/*"]}'}),
    ],
)
def test_a_workspace_of_node_names_its_tool_and_its_members(
    tool: str, files: dict[str, str], detect_files: Detect
) -> None:
    inner = {"packages/b/package.json": PACKAGE, "packages/a/package.json": PACKAGE, "other/package.json": PACKAGE}
    detection = detect_files({**files, **inner})
    assert members(detection, tool) == ("packages/a", "packages/b")
    projects = found(detection)
    member = projects["packages/a"].workspace
    assert member is not None
    assert (member.tool, member.root, member.members) == (tool, ".", ())
    assert projects["other"].workspace is None


def test_the_evidence_of_a_workspace_is_the_line_that_declares_it(detect_files: Detect) -> None:
    files = {"package.json": package(), "pnpm-workspace.yaml": "# all\npackages:\n  - a\n", "a/package.json": PACKAGE}
    workspace = found(detect_files(files))["."].workspace
    assert workspace is not None
    assert (workspace.evidence.path, workspace.evidence.line) == ("pnpm-workspace.yaml", 2)


def test_the_message_carries_the_workspace_and_the_tool_of_each_step(detect_files: Detect) -> None:
    files = {"package.json": package(workspaces=["p/*"], scripts={"test": "vitest run"}), "p/a/package.json": PACKAGE}
    root, member = detection_to_proto(detect_files(files)).projects
    assert (root.workspace.tool, root.workspace.root, list(root.workspace.members)) == ("npm", ".", ["p/a"])
    assert (root.workspace.evidence.path, root.workspace.evidence.line) == ("package.json", 3)
    assert (member.workspace.tool, member.workspace.root, list(member.workspace.members)) == ("npm", ".", [])
    assert {step.tool for step in root.steps} == {"npm"}


def test_a_program_of_the_repository_needs_no_tool(detect_files: Detect) -> None:
    wrapper = ("gradlew", "gradle/wrapper/gradle-wrapper.jar", "gradle/wrapper/gradle-wrapper.properties")
    files = {"build.gradle": "", **dict.fromkeys(wrapper, "")}
    detection = detect_files(files, executable=frozenset({"gradlew"}))
    assert {step.tool for step in detection.projects[0].steps} == {""}
    project = detection_to_proto(detect_files({"go.mod": "module a\n", "a.go": ""})).projects[0]
    assert not project.HasField("workspace")


def test_rush_has_a_root_without_a_package_json(detect_files: Detect) -> None:
    rush = """{
  /* versions */
  "pnpmVersion": "8.15.0",
  "projects": [{ "packageName": "a", "projectFolder": "apps/a" },]
}"""
    files = {"rush.json": rush, "common/scripts/install-run-rush.js": "", "apps/a/package.json": PACKAGE}
    detection = detect_files(files)
    assert members(detection, "rush") == ("apps/a",)
    root = found(detection)["."]
    assert (root.package_manager.name, root.package_manager.version) == ("pnpm", "8.15.0")
    install = root.step(StepKind.INSTALL)
    assert install is not None
    assert install.command.argv == ("node", "common/scripts/install-run-rush.js", "install")


@pytest.mark.parametrize(
    ("files", "command"),
    [
        (
            {"package.json": package(workspaces=["p/*"], devDependencies={"nx": "1"}), "nx.json": "{}"},
            "npx --no-install nx run-many -t test",
        ),
        (
            {
                "package.json": package(devDependencies={"turbo": "2"}),
                "pnpm-workspace.yaml": "packages: ['p/*']",
                "turbo.json": '{"tasks": {"test": {}}}',
            },
            "pnpm exec turbo run test",
        ),
        ({"package.json": package(workspaces=["p/*"])}, "npm run test --workspaces --if-present"),
        (
            {"package.json": package(), "pnpm-workspace.yaml": "packages: ['p/*']"},
            "pnpm --recursive run test",
        ),
    ],
    ids=["nx", "turbo", "npm", "pnpm"],
)
def test_a_root_without_a_test_script_runs_those_of_its_members(
    files: dict[str, str], command: str, detect_files: Detect
) -> None:
    detection = detect_files({**files, "p/a/package.json": PACKAGE})
    step = found(detection)["."].step(StepKind.TEST)
    assert step is not None
    assert step.command.line() == command


def test_a_script_of_the_root_stands_before_the_task_runner(detect_files: Detect) -> None:
    root = package(workspaces=["p/*"], devDependencies={"nx": "1"}, scripts={"test": "nx affected -t test"})
    detection = detect_files({"package.json": root, "nx.json": "{}", "p/a/package.json": PACKAGE})
    tests = [s.command.line() for s in found(detection)["."].steps if s.kind is StepKind.TEST]
    assert tests == ["npm test", "npx --no-install nx run-many -t test"]


def test_members_without_a_test_script_give_no_test_step(detect_files: Detect) -> None:
    placeholder = package(scripts={"test": 'echo "Error: no test specified" && exit 1'})
    detection = detect_files({"package.json": package(workspaces=["p/*"]), "p/a/package.json": placeholder})
    assert found(detection)["."].step(StepKind.TEST) is None


def test_cargo_members_are_those_named_and_the_path_dependencies_of_the_root(detect_files: Detect) -> None:
    root = """
[package]
name = "root"
[workspace]
members = ["crates/*"]
exclude = ["crates/old"]
[dependencies]
linked = { path = "./linked" }
"""
    crate = '[package]\nname = "x"\n'
    files = {
        "Cargo.toml": root,
        "crates/a/Cargo.toml": crate,
        "crates/a/deep/Cargo.toml": crate,
        "crates/old/Cargo.toml": crate,
        "linked/Cargo.toml": crate,
    }
    detection = detect_files(files)
    assert members(detection, "cargo") == ("crates/a", "linked")
    assert set(found(detection)) == {".", "crates/a/deep", "crates/old"}


def test_go_work_ties_modules_together_and_its_directory_is_a_project(detect_files: Detect) -> None:
    files = {
        "go.work": "go 1.22\n\nuse (\n\t./api // the server\n\t./lib\n\t../outside\n)\n",
        "api/go.mod": "module api\n",
        "api/main.go": "",
        "api/a_test.go": "",
        "lib/go.mod": "module lib\n",
        "lib/l.go": "",
    }
    detection = detect_files(files)
    assert members(detection, "go") == ("api", "lib")
    root = found(detection)["."]
    assert {s.kind.value: s.command.line() for s in reversed(root.steps)} == {
        "install": "go mod download",
        "build": "go build ./api/... ./lib/...",
        "test": "go test ./api/...",
        "lint": "go vet ./api/... ./lib/...",
    }
    assert [r.constraint for r in root.runtime_versions] == ["1.22"]


def test_uv_members_but_for_those_that_are_excluded(detect_files: Detect) -> None:
    root = '[project]\nname = "r"\n[tool.uv.workspace]\nmembers = ["packages/*"]\nexclude = ["packages/old"]\n'
    inner = '[project]\nname = "a"\n'
    files = {"pyproject.toml": root, "packages/a/pyproject.toml": inner, "packages/old/pyproject.toml": inner}
    assert members(detect_files(files), "uv") == ("packages/a",)


def test_gradle_projects_are_directories_that_exist(detect_files: Detect) -> None:
    settings = """include ':core', "tools:cli"
include(":missing")
includeBuild("plugins")
"""
    files = {
        "settings.gradle": settings,
        "core/build.gradle": "",
        "tools/cli/src/main/java/A.java": "",
        "plugins/a": "",
    }
    assert members(detect_files(files), "gradle") == ("core", "tools/cli")


def test_maven_modules_include_those_of_modules(detect_files: Detect) -> None:
    files = {
        "pom.xml": POM % "<modules><module>a</module><module>gone</module></modules>",
        "a/pom.xml": POM % "<modules><module>b</module><module>../../out</module></modules>",
        "a/b/pom.xml": POM % "",
    }
    assert members(detect_files(files), "maven") == ("a", "a/b")


def test_modules_that_name_each_other_end(detect_files: Detect) -> None:
    files = {
        "pom.xml": POM % "<modules><module>a</module></modules>",
        "a/pom.xml": POM % "<modules><module>b</module></modules>",
        "a/b/pom.xml": POM % "<modules><module>..</module></modules>",
    }
    assert members(detect_files(files), "maven") == ("a", "a/b")


def test_at_most_a_thousand_members_are_listed(detect_files: Detect) -> None:
    files = {f"p/m{n:04}/package.json": PACKAGE for n in range(1002)}
    detection = detect_files({"package.json": package(workspaces=["p/*"]), **files})
    listed = members(detection, "npm")
    assert len(listed) == 1000
    assert listed[0] == "p/m0000"


@pytest.mark.parametrize(
    ("patterns", "directory", "expected"),
    [
        (["packages/*"], "packages/a", True),
        (["packages/*"], "packages/a/b", False),
        (["packages/**"], "packages/a/b", True),
        (["**/plugin-*"], "a/b/plugin-x", True),
        (["./apps/{web,api}"], "apps/api", True),
        (["apps/{web,api}"], "apps/docs", False),
        (["packages/*", "!packages/old"], "packages/old", False),
        (["a.b/*"], "aXb/c", False),
        (["{a", "x}y{"], "{a", True),
        ([], "a", False),
    ],
)
def test_globs_of_members(patterns: list[str], directory: str, expected: bool) -> None:
    assert directory_matcher(patterns)(directory) is expected
