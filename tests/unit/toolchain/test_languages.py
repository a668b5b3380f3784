"""Sources without a manifest: a language is named, a manager only where one is needed to build them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from autopack_toolchain import Detection

Detect = Callable[..., Detection]


@pytest.mark.parametrize(
    ("files", "ecosystem", "manager", "run"),
    [
        (["start.sh", "README.md"], "shell", "", "bash start.sh"),
        (["site/index.html", "site/app.js", "site/more.js"], "html", "", None),
        (["index.php", "a.html"], "php", "", "php -S localhost:8000"),
        (["main.go"], "go", "go", "go run main.go"),
        (["src/index.ts"], "deno", "deno", "deno run -A src/index.ts"),
        (["index.js"], "node", "", "node index.js"),
        (["src/index.cbl"], "cobol", "cobc", None),
        (["a.c", "b.c", "a.h", "setup.sh"], "c", "", None),
        (["lib/a.rb"], "ruby", "", None),
    ],
)
def test_the_language_with_the_most_files_is_the_project(
    files: list[str], ecosystem: str, manager: str, run: str | None, detect_files: Detect
) -> None:
    (project,) = detect_files(dict.fromkeys(files, "")).projects
    assert (project.workdir, project.ecosystem, project.package_manager.name) == (".", ecosystem, manager)
    assert [step.command.line() for step in project.steps] == ([run] if run else [])
    assert project.confidence < 0.7


def test_a_project_without_a_manager_says_so(detect_files: Detect) -> None:
    (project,) = detect_files({"start.sh": ""}).projects
    manager = project.package_manager
    assert (manager.name, manager.confidence, manager.alternatives, manager.evidence) == ("", 0.0, (), ())


def test_beside_a_project_loose_files_are_none(detect_files: Detect) -> None:
    detection = detect_files({"package.json": '{"name": "a"}', "start.sh": "", "tools/x.pl": ""})
    assert [p.ecosystem for p in detection.projects] == ["node"]


def test_projects_in_side_directories_do_not_hide_the_language(detect_files: Detect) -> None:
    detection = detect_files({"src/a.c": "", "docs/package.json": '{"name": "d"}'})
    assert [(p.workdir, p.ecosystem) for p in detection.projects] == [(".", "c"), ("docs", "node")]


def test_files_of_tooling_are_no_language(detect_files: Detect) -> None:
    assert detect_files({".github/scripts/a.js": "", "README.md": "", "examples/a.sh": ""}).projects == ()
