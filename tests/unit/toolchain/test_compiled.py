"""Go, Rust, Maven and Gradle."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from autopack_toolchain import Detection, Project, StepKind

Detect = Callable[..., Detection]
POM = '<project xmlns="http://maven.apache.org/POM/4.0.0"><properties><java.version>17</java.version></properties>%s</project>'


def lines(project: Project) -> dict[str, str]:
    return {step.kind.value: step.command.line() for step in reversed(project.steps)}


def test_go_module(detect_files: Detect) -> None:
    files = {"go.mod": "module a\n\ngo 1.22\n\nrequire b v1.0.0\n", "a.go": "", "a_test.go": "", ".golangci.yml": ""}
    (project,) = detect_files(files).projects
    assert lines(project) == {
        "install": "go mod download",
        "build": "go build ./...",
        "test": "go test ./...",
        "lint": "golangci-lint run",
    }
    assert [(r.constraint, r.source.line) for r in project.runtime_versions] == [("1.22", 3)]


def test_go_module_without_tests_or_requirements_has_neither_step(detect_files: Detect) -> None:
    (project,) = detect_files({"go.mod": "module a\n", "a.go": ""}).projects
    assert set(lines(project)) == {"build", "lint"}


def test_tests_of_a_nested_go_module_do_not_count_for_the_outer_one(detect_files: Detect) -> None:
    outer, inner = detect_files({"go.mod": "module a\n", "b/go.mod": "module b\n", "b/b_test.go": ""}).projects
    assert outer.step(StepKind.TEST) is None
    assert inner.step(StepKind.TEST) is not None


def test_cargo_members_belong_to_their_workspace(detect_files: Detect) -> None:
    files = {
        "Cargo.toml": '[workspace]\nmembers = ["crates/*"]\n',
        "Cargo.lock": "",
        "rust-toolchain.toml": '[toolchain]\nchannel = "1.80"\n',
        "crates/a/Cargo.toml": '[package]\nname = "a"\n',
        "other/Cargo.toml": '[package]\nname = "o"\n',
    }
    detection = detect_files(files)
    assert [p.workdir for p in detection.projects] == [".", "other"]
    root = detection.projects[0]
    assert lines(root)["install"] == "cargo fetch --locked"
    assert lines(root)["test"] == "cargo test --workspace"
    assert [r.constraint for r in root.runtime_versions] == ["1.80"]


def test_maven_modules_belong_to_their_root(detect_files: Detect) -> None:
    files = {
        "pom.xml": POM % "<modules><module>a</module></modules>",
        "a/pom.xml": POM % "",
        "a/src/test/java/ATest.java": "",
    }
    (project,) = detect_files(files).projects
    assert lines(project)["install"] == "mvn -B test-compile"
    assert lines(project)["test"] == "mvn -B test"
    assert [r.constraint for r in project.runtime_versions] == ["17"]


@pytest.mark.parametrize(
    ("present", "executable", "program"),
    [
        (["mvnw", ".mvn/wrapper/maven-wrapper.properties"], {"mvnw"}, "./mvnw -B test"),
        (["mvnw", ".mvn/wrapper/maven-wrapper.properties"], set(), "sh mvnw -B test"),
        (["mvnw"], {"mvnw"}, "mvn -B test"),
    ],
)
def test_the_maven_wrapper_is_used_only_when_it_can_run(
    detect_files: Detect, present: list[str], executable: set[str], program: str
) -> None:
    files = {"pom.xml": POM % "", "src/test/java/ATest.java": "", **dict.fromkeys(present, "")}
    (project,) = detect_files(files, frozenset(executable)).projects
    assert lines(project)["test"] == program


def test_the_gradle_wrapper_needs_its_jar_and_properties(detect_files: Detect) -> None:
    url = "distributionUrl=https\\://example.org/distributions/gradle-8.7-bin.zip\n"
    files = {
        "settings.gradle": "",
        "app/build.gradle": "",
        "app/src/test/java/ATest.java": "",
        "gradlew": "",
        "gradle/wrapper/gradle-wrapper.properties": url,
    }
    (project,) = detect_files(files, frozenset({"gradlew"})).projects
    assert lines(project)["test"] == "gradle --no-daemon test"
    assert project.package_manager.version == "8.7"
    (project,) = detect_files({**files, "gradle/wrapper/gradle-wrapper.jar": ""}, frozenset({"gradlew"})).projects
    assert lines(project)["test"] == "./gradlew --no-daemon test"


def test_maven_and_gradle_side_by_side_give_alternatives_and_a_warning(detect_files: Detect) -> None:
    detection = detect_files({"pom.xml": POM % "", "build.gradle": ""})
    (project,) = detection.projects
    names = {project.package_manager.name, *(a.name for a in project.package_manager.alternatives)}
    assert names == {"maven", "gradle"}
    assert [w.reason for w in detection.warnings] == ["SEVERAL_PACKAGE_MANAGERS"]


def test_projects_of_several_languages_stand_beside_each_other(detect_files: Detect) -> None:
    files = {"go.mod": "module a\n", "package.json": '{"name": "a"}', "api/pyproject.toml": '[project]\nname = "b"\n'}
    found = [(p.workdir, p.ecosystem) for p in detect_files(files).projects]
    assert sorted(found[:2]) == [(".", "go"), (".", "node")]
    assert found[2] == ("api", "python")
