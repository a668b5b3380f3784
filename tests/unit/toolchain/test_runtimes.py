"""Versions of runtimes: every file that names one, with the line, and the nearest of those above."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from autopack_toolchain import Detection

Detect = Callable[..., Detection]

GO = {"go.mod": "module a\n"}
NODE = {"package.json": '{"name": "a"}'}
PYTHON = {"pyproject.toml": '[project]\nname = "a"\n'}
RUST = {"Cargo.toml": '[package]\nname = "a"\n'}
JAVA = {"build.gradle": ""}
RUBY = {"Gemfile": 'source "x"\n'}


def versions(detection: Detection, workdir: str = ".") -> list[tuple[str, str, str, int]]:
    project = next(project for project in detection.projects if project.workdir == workdir)
    return [(r.name, r.constraint, r.source.path, r.source.line) for r in project.runtime_versions]


@pytest.mark.parametrize(
    ("files", "name", "constraint", "line"),
    [
        ({**PYTHON, ".python-version": "# pinned\n3.12.1\n"}, "python", "3.12.1", 2),
        ({**PYTHON, "runtime.txt": "python-3.11.4\n"}, "python", "3.11.4", 1),
        ({**NODE, ".nvmrc": "v20.11.0\n"}, "node", "20.11.0", 1),
        ({**NODE, ".nvmrc": "lts/iron\n"}, "node", "lts/iron", 1),
        ({**NODE, ".node-version": "18"}, "node", "18", 1),
        ({"package.json": '{\n "volta": {\n  "node": "20.1.0"\n }\n}'}, "node", "20.1.0", 3),
        (
            {"package.json": '{\n "devEngines": {\n  "runtime": {"name": "node", "version": ">=22"}\n }\n}'},
            "node",
            ">=22",
            3,
        ),
        ({**GO, ".tool-versions": "nodejs 20\ngolang 1.22.1 1.21\n"}, "go", "1.22.1", 2),
        ({**GO, "mise.toml": '[tools]\nnode = "20"\ngo = "1.23"\n'}, "go", "1.23", 3),
        ({**NODE, ".mise.toml": '[tools]\nnode = ["20", "18"]\n'}, "node", "20", 2),
        ({**NODE, ".config/mise/config.toml": "[tools]\nnode = { version = '21' }\n"}, "node", "21", 2),
        ({**NODE, "mise.toml": "[tools]\nnode = 20\n"}, "node", "20", 2),
        ({**RUST, "rust-toolchain": "nightly-2024-01-01\n"}, "rust", "nightly-2024-01-01", 1),
        ({**RUST, "rust-toolchain": '[toolchain]\nchannel = "1.75"\n'}, "rust", "1.75", 2),
        ({**RUST, "rust-toolchain.toml": '[toolchain]\nchannel = "stable"\n'}, "rust", "stable", 2),
        ({**JAVA, ".java-version": "21\n"}, "java", "21", 1),
        ({**JAVA, ".sdkmanrc": "# use sdk env\njava=21.0.2-tem\n"}, "java", "21.0.2-tem", 2),
        ({**JAVA, ".tool-versions": "java temurin-21.0.1+12\n"}, "java", "temurin-21.0.1+12", 1),
        ({**JAVA, "system.properties": "java.runtime.version=17\n"}, "java", "17", 1),
        ({**RUBY, ".ruby-version": "ruby-3.3.0\n"}, "ruby", "3.3.0", 1),
        ({"Gemfile": 'source "x"\nruby "~> 3.2"\n'}, "ruby", "~> 3.2", 2),
        ({"composer.json": '{\n "require": {\n  "php": "^8.2"\n }\n}'}, "php", "^8.2", 3),
        ({"mix.exs": '[\n elixir: "~> 1.15"\n]'}, "elixir", "~> 1.15", 2),
        ({"Package.swift": "// swift-tools-version: 5.10\n"}, "swift", "5.10", 1),
        ({"pubspec.yaml": "environment:\n  sdk: ^3.4.0\n"}, "dart", "^3.4.0", 2),
        ({"deno.json": "{}", ".dvmrc": "1.40.0"}, "deno", "1.40.0", 1),
        ({"build.sbt": 'ThisBuild / scalaVersion := "3.4.1"\n'}, "scala", "3.4.1", 1),
    ],
)
def test_a_version_is_told_with_its_line(
    files: dict[str, str], name: str, constraint: str, line: int, detect_files: Detect
) -> None:
    found = versions(detect_files(files))
    assert [(n, c, at) for n, c, _, at in found] == [(name, constraint, line)]


def test_a_version_file_above_holds_and_the_nearest_one_wins(detect_files: Detect) -> None:
    files = {
        ".nvmrc": "18\n",
        ".tool-versions": "nodejs 18.1\n",
        "web/package.json": '{"name": "w"}',
        "app/.nvmrc": "20\n",
        "app/ui/package.json": '{"name": "u"}',
    }
    detection = detect_files(files)
    assert versions(detection, "web") == [("node", "18.1", ".tool-versions", 1), ("node", "18", ".nvmrc", 1)]
    assert versions(detection, "app/ui")[-1] == ("node", "20", "app/.nvmrc", 1)


def test_a_file_that_is_not_looked_for_above_holds_for_its_own_directory(detect_files: Detect) -> None:
    detection = detect_files({"runtime.txt": "python-3.9\n", "a/setup.py": ""})
    assert versions(detection, "a") == []


def test_versions_of_other_runtimes_are_left_out(detect_files: Detect) -> None:
    assert versions(detect_files({**GO, ".nvmrc": "20", ".tool-versions": "terraform 1.7\npython 3.12\n"})) == []


@pytest.mark.parametrize(
    "text",
    ["\x1b[31m20", "2" * 80, "", "# nothing\n", "\u202e20"],
    ids=["escape", "long", "empty", "comment", "direction"],
)
def test_what_can_be_no_version_is_not_told(text: str, detect_files: Detect) -> None:
    assert versions(detect_files({**NODE, ".nvmrc": text})) == []


def test_values_of_another_type_are_not_told(detect_files: Detect) -> None:
    files = {
        "package.json": '{"volta": {"node": {"x": 1}}, "devEngines": {"runtime": [1, {"name": 2}]}}',
        "mise.toml": "tools = 3",
    }
    assert versions(detect_files(files)) == []
