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


@pytest.mark.parametrize(
    ("files", "command"),
    [
        ({"go.mod": "module a\n", "main.go": ""}, "go run ."),
        ({"go.mod": "module a\n", "cmd/tool/main.go": "", "a.go": ""}, "go run ./cmd/tool"),
        ({"go.mod": "module a\n", "cmd/a/main.go": "", "cmd/b/main.go": ""}, None),
        ({"Cargo.toml": '[package]\nname = "a"\n', "src/main.rs": ""}, "cargo run"),
        ({"Cargo.toml": '[package]\nname = "a"\n', "src/lib.rs": ""}, None),
        (
            {
                "Cargo.toml": '[workspace]\nmembers = ["x", "y"]\n',
                "x/Cargo.toml": '[package]\nname = "tool"\n',
                "x/src/main.rs": "",
                "y/Cargo.toml": '[package]\nname = "lib"\n',
            },
            "cargo run --package tool",
        ),
        (
            {
                "pom.xml": POM
                % "<build><plugins><plugin><artifactId>spring-boot-maven-plugin</artifactId></plugin></plugins></build>"
            },
            "mvn -B spring-boot:run",
        ),
        (
            {"build.gradle.kts": 'plugins {\n    id("org.springframework.boot") version "3.2.0"\n}\n'},
            "gradle --no-daemon bootRun",
        ),
        (
            {"settings.gradle": "include 'app'", "app/build.gradle": "plugins {\n  id 'application'\n}\n"},
            "gradle --no-daemon run",
        ),
        ({"build.gradle.kts": 'plugins {\n    id("org.springframework.boot") apply false\n}\n'}, None),
    ],
)
def test_a_program_is_started_where_only_one_can_be_meant(
    files: dict[str, str], command: str | None, detect_files: Detect
) -> None:
    step = detect_files(files).projects[0].step(StepKind.RUN)
    assert (step.command.line() if step else None) == command


def test_nextest_is_the_runner_where_it_is_configured(detect_files: Detect) -> None:
    files = {"Cargo.toml": '[package]\nname = "a"\n', ".config/nextest.toml": "", "tests/a.rs": ""}
    assert lines(detect_files(files).projects[0])["test"] == "cargo nextest run"


@pytest.mark.parametrize(
    ("plugin", "kind", "task"),
    [
        ('id "com.diffplug.spotless" version "6"', "format", "spotlessCheck"),
        ("id 'checkstyle'", "lint", "checkstyleMain"),
        ('id("io.gitlab.arturbosch.detekt")', "lint", "detekt"),
        ('id("org.jlleitschuh.gradle.ktlint") version "12"', "lint", "ktlintCheck"),
    ],
)
def test_plugins_of_gradle_bring_checks(plugin: str, kind: str, task: str, detect_files: Detect) -> None:
    (project,) = detect_files({"build.gradle": f"plugins {{\n    {plugin}\n}}\n"}).projects
    assert lines(project)[kind] == f"gradle --no-daemon {task}"


def test_kotlin_is_a_language_of_the_jvm(detect_files: Detect) -> None:
    (project,) = detect_files({"build.gradle.kts": "", "src/main/kotlin/A.kt": ""}).projects
    assert project.ecosystem == "java"
    assert ("src/main/kotlin/A.kt", "Kotlin source") in {(e.path, e.signal) for e in project.evidence}


def test_ant_builds_by_its_default_target_and_tests_by_a_target_of_this_name(detect_files: Detect) -> None:
    build = '<project default="jar"><target name="jar"/><target name="test"/></project>'
    (project,) = detect_files({"build.xml": build, "test/ATest.java": ""}).projects
    assert project.package_manager.name == "ant"
    assert lines(project) == {"build": "ant", "test": "ant test"}


def test_a_build_file_of_phing_is_none_of_ant(detect_files: Detect) -> None:
    build = '<project default="x"><target name="x"/></project>'
    assert {p.ecosystem for p in detect_files({"build.xml": build, "composer.json": "{}"}).projects} == {"php"}


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("java { toolchain { languageVersion = JavaLanguageVersion.of(21) } }", "21"),
        ("kotlin { jvmToolchain(17) }", "17"),
        ("sourceCompatibility = '11'", "11"),
        ("sourceCompatibility = JavaVersion.VERSION_1_8", "1_8"),
    ],
)
def test_the_java_of_a_gradle_build(text: str, version: str, detect_files: Detect) -> None:
    (project,) = detect_files({"build.gradle": text}).projects
    assert [(r.name, r.constraint) for r in project.runtime_versions] == [("java", version)]


def test_maven_is_named_first_where_a_project_is_kept_for_gradle_too(detect_files: Detect) -> None:
    (project,) = detect_files({"pom.xml": POM % "", "build.gradle": "", "settings.gradle": ""}).projects
    assert (project.package_manager.name, project.package_manager.alternatives[0].name) == ("maven", "gradle")


def test_a_crate_without_dependencies_has_nothing_to_install(detect_files: Detect) -> None:
    (project,) = detect_files({"Cargo.toml": '[package]\nname = "a"\n'}).projects
    assert project.step(StepKind.INSTALL) is None
    (project,) = detect_files({"Cargo.toml": '[package]\nname = "a"\n[dependencies]\nb = "1"\n'}).projects
    assert lines(project)["install"] == "cargo fetch"
