"""Directories of large trees."""

from __future__ import annotations

from collections.abc import Callable

from autopack_toolchain import Detection
from autopack_toolchain.core.places import MAX_DIRECTORIES, nearest, under


def test_what_lies_below_a_directory_is_not_what_begins_with_its_name() -> None:
    directories = sorted([".", "a", "a-b", "a.b", "a/b", "a/b/c", "a0", "b"])
    assert list(under(directories, "a")) == ["a/b", "a/b/c"]
    assert list(under(directories, "a/b")) == ["a/b/c"]
    assert list(under(directories, "b")) == []
    assert list(under(directories, ".")) == directories[1:]
    assert list(under([], "a")) == []


def test_of_too_many_directories_those_nearest_to_the_root_stay() -> None:
    deep = [f"a/b/{n:04}" for n in range(MAX_DIRECTORIES)]
    found = nearest([*deep, ".", "z"])
    assert len(found) == MAX_DIRECTORIES
    assert {".", "z"} <= set(found)
    assert found == sorted(found)


def test_a_tree_of_thousands_of_projects_is_answered_with_a_warning(detect_files: Callable[..., Detection]) -> None:
    manifests = ("mix.exs", "A.csproj", "CMakeLists.txt", "composer.json", "Cargo.toml", "pom.xml", "go.mod")
    files = {f"p{n}/{n}/{name}": "" for n in range(1500) for name in manifests}
    detection = detect_files(files)
    assert len(detection.projects) == 200
    assert "TOO_MANY_PROJECTS" in {warning.reason for warning in detection.warnings}
