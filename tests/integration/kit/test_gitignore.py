"""What is ignored is what git itself ignores: the same patterns, asked of both."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from autopack_kit.gitignore import parse_ignore_file
from autopack_kit.pruning import Place, Pruner, PruneRules
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

# ASCII alone: of other names git matches bytes, we characters.
DIRECTORIES = [
    *("a", "b", "ab", "a b", "a]", "A", "!a", "#a", "a-b", "x\\y", "a*", "[a]", ".a", "a\nb"),
    *("a/a", "a/b", "a/ab", "b/a", "b/b", "ab/a", ".a/a"),
    *("a/a/a", "a/b/a", "a/b/ab", "b/a/b"),
]

WORDS = st.sampled_from(
    [
        *(
            "a",
            "b",
            "ab",
            "*",
            "**",
            "***",
            "?",
            "/",
            "!",
            "#",
            " ",
            "\\ ",
            ".",
            "-",
            "[",
            "]",
            "\\",
            "\\*",
            "\\[",
            "\t",
            "\r",
        ),
        *("[ab]", "[!a]", "[^b]", "[a-b]", "[]a]", "[[:alpha:]]", "[[:upper:]]"),
        *("[a\\-b]", "[!-]", "[/b]", "[+-a]", "[b-a]", "[-a]", "[a-]"),
    ]
)
PATTERNS = st.lists(st.lists(WORDS, min_size=1, max_size=6).map("".join), min_size=1, max_size=4)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "init", "-q", root], check=True)
    for directory in DIRECTORIES:
        (root / directory).mkdir(parents=True, exist_ok=True)
    return root


def ignored_by_git(root: Path, files: dict[str, str]) -> set[str]:
    """The directories that git does not enter."""
    for path, text in files.items():
        (root / path).write_bytes(text.encode())
    done = subprocess.run(
        ["git", "-C", root, "check-ignore", "--no-index", "-z", "--stdin"],
        input=b"\0".join(map(os.fsencode, DIRECTORIES)),
        capture_output=True,
        check=False,
        env={**os.environ, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"},
    )
    for path in files:
        (root / path).unlink()
    assert done.returncode in {0, 1}, done.stderr
    return set(map(os.fsdecode, done.stdout.split(b"\0"))) - {""}


def ignored_by_us(files: dict[str, str]) -> set[str]:
    """The same, by the rule that walks follow."""
    pruner = Pruner(PruneRules(), lambda _: None)
    places: dict[str, Place | None] = {}

    def entered(path: str) -> Place | None:
        if path not in places:
            above, _, name = path.rpartition("/")
            outer = entered(above) if path else Place()
            place = pruner.below(outer, name) if path and outer else outer
            content = files.get(f"{path}/.gitignore" if path else ".gitignore")
            places[path] = pruner.with_ignore_file(place, content.encode()) if place and content else place
        return places[path]

    return {directory for directory in DIRECTORIES if entered(directory) is None}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PATTERNS, PATTERNS)
@example(["a/**", "!a/b/", "**/b", "/b/**/b"], ["*"])
@example(["*", "!*/", "a"], ["!a", "/b"])
@example(["a[/[ab]b", "b[!x]a", "a[+-a]b"], ["b[^x]a"])
@example(["a/*", "!a/b", "\\!a", "\\#a", "a\\ b", "[a-", "**/"], ["**"])
def test_directories_are_ignored_as_git_ignores_them(repository: Path, outer: list[str], inner: list[str]) -> None:
    files = {".gitignore": "\n".join(outer), "a/.gitignore": "\n".join(inner) + "\n"}
    assert ignored_by_us(files) == ignored_by_git(repository, files)


def test_patterns_that_would_backtrack_are_matched_at_once() -> None:
    file = parse_ignore_file("*a" * 60 + "b\n")
    assert file is not None
    assert file.names.last("a" * 200) is None
    assert file.names.last("a" * 200 + "b") == (0, True)
