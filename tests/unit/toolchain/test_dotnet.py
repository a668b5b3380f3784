""".NET: solutions, projects below them, and which of several is meant."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from autopack_toolchain import Detection, Project, StepKind

Detect = Callable[..., Detection]

GROUP = "<PropertyGroup><TargetFramework>net8.0</TargetFramework></PropertyGroup>"
LIBRARY = f'<Project Sdk="Microsoft.NET.Sdk">{GROUP}</Project>'
PROGRAM = LIBRARY.replace("</PropertyGroup>", "<OutputType>Exe</OutputType></PropertyGroup>")
WEB = LIBRARY.replace("Microsoft.NET.Sdk", "Microsoft.NET.Sdk.Web")
TESTS = LIBRARY.replace("</Project>", '<PackageReference Include="Microsoft.NET.Test.Sdk" /></Project>')
LEGACY = '<Project ToolsVersion="15.0" xmlns="http://schemas.microsoft.com/developer/msbuild/2003"></Project>'


def lines(project: Project) -> dict[str, str]:
    return {step.kind.value: step.command.line() for step in reversed(project.steps)}


def test_a_solution_owns_the_projects_below_it(detect_files: Detect) -> None:
    files = {
        "App.sln": "",
        "global.json": '{\n  // pinned\n  "sdk": {\n    "version": "8.0.100"\n  }\n}',
        ".editorconfig": "",
        "src/App/App.csproj": WEB,
        "tests/App.Tests/App.Tests.csproj": TESTS,
    }
    (project,) = detect_files(files).projects
    assert (project.workdir, project.ecosystem, project.package_manager.name) == (".", "dotnet", "dotnet")
    assert lines(project) == {
        "install": "dotnet restore",
        "build": "dotnet build",
        "test": "dotnet test",
        "format": "dotnet format --verify-no-changes",
        "run": "dotnet run --project src/App/App.csproj",
    }
    versions = {(r.constraint, r.source.path, r.source.line) for r in project.runtime_versions}
    assert versions == {("8.0.100", "global.json", 4), ("net8.0", "src/App/App.csproj", 1)}


def test_where_several_solutions_stand_together_the_largest_is_named(detect_files: Detect) -> None:
    files = {"App.sln": "x" * 900, "App.Tools.sln": "x", "a/A.csproj": LIBRARY, "b/B.Tests.csproj": TESTS}
    assert lines(detect_files(files).projects[0])["test"] == "dotnet test App.sln"


def test_a_solution_below_settings_that_hold_for_all_is_named_from_there(detect_files: Detect) -> None:
    files = {
        "Directory.Build.props": "",
        "src/App.slnx": "",
        "src/A/A.fsproj": LIBRARY,
        "src/A.Tests/A.Tests.fsproj": TESTS,
    }
    (project,) = detect_files(files).projects
    assert project.workdir == "."
    assert lines(project)["test"] == "dotnet test src/App.slnx"


def test_a_solution_below_a_root_that_says_nothing_is_a_project_where_it_stands(detect_files: Detect) -> None:
    files = {
        "README.md": "",
        "src/cart/cart.sln": "",
        "src/cart/src/c.csproj": WEB,
        "src/cart/tests/c.tests.csproj": TESTS,
    }
    (project,) = detect_files(files).projects
    assert project.workdir == "src/cart"
    assert lines(project)["test"] == "dotnet test"


def test_projects_without_a_solution_stand_for_themselves(detect_files: Detect) -> None:
    files = {"a/A.csproj": PROGRAM, "b/B.vbproj": LIBRARY}
    projects = {p.workdir: lines(p) for p in detect_files(files).projects}
    assert set(projects) == {"a", "b"}
    assert projects["a"]["run"] == "dotnet run"
    assert "run" not in projects["b"]
    assert "test" not in projects["a"]


def test_the_only_test_project_below_a_project_is_named(detect_files: Detect) -> None:
    files = {"App.csproj": PROGRAM, "tests/App.Tests/App.Tests.csproj": TESTS}
    (project,) = detect_files(files).projects
    assert lines(project)["test"] == "dotnet test tests/App.Tests/App.Tests.csproj"


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("Checks.csproj", TESTS, True),
        ("App.UnitTests.csproj", LIBRARY, True),
        ("AppTests.csproj", "", True),
        ("app.tests.csproj", "", True),
        ("Latest.csproj", LIBRARY, False),
        ("App.Testing.csproj", LIBRARY, False),
    ],
)
def test_a_test_project_is_known_by_its_content_or_its_name(
    name: str, content: str, expected: bool, detect_files: Detect
) -> None:
    (project,) = detect_files({"App.sln": "", f"x/{name}": content}).projects
    assert (project.step(StepKind.TEST) is not None) is expected


def test_several_programs_are_not_guessed_at(detect_files: Detect) -> None:
    files = {"App.sln": "", "a/A.csproj": PROGRAM, "b/B.csproj": WEB}
    assert detect_files(files).projects[0].step(StepKind.RUN) is None


def test_projects_of_the_old_build_engine_have_no_steps(detect_files: Detect) -> None:
    (project,) = detect_files({"App.sln": "", "a/A.csproj": LEGACY, "t/A.Tests.csproj": LEGACY}).projects
    assert project.steps == ()


def test_a_solution_of_native_projects_is_none_of_dotnet(detect_files: Detect) -> None:
    assert detect_files({"gtest.sln": "", "gtest/gtest.vcxproj": ""}).projects == ()


def test_locked_packages_are_restored_as_locked(detect_files: Detect) -> None:
    (project,) = detect_files({"A.csproj": LIBRARY, "packages.lock.json": "{}"}).projects
    assert lines(project)["install"] == "dotnet restore --locked-mode"


def test_a_solution_in_the_directory_of_sources_is_that_of_the_repository(detect_files: Detect) -> None:
    files = {"src/App.sln": "", "src/A/A.csproj": LIBRARY, "src/A.Tests/A.Tests.csproj": TESTS}
    (project,) = detect_files(files).projects
    assert (project.workdir, lines(project)["test"]) == (".", "dotnet test src/App.sln")
