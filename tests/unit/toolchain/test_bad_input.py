"""Broken manifests are warnings that name file and line; the rest of the tree is still detected."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from autopack_toolchain import Detection, DetectionWarning, SnapshotFile, SnapshotTree, detect_tree
from autopack_toolchain.convert import detection_to_proto
from autopack_toolchain.core.registry import default_registry
from hypothesis import given, settings
from hypothesis import strategies as st

Detect = Callable[..., Detection]

BOMB = "a: &a [x,x]\n" + "".join(f"b{n}: &b{n} [*a,*a]\n" for n in range(40))
GOOD = {"good/go.mod": "module good\n", "good/a.go": ""}


@pytest.mark.parametrize(
    ("path", "content", "place"),
    [
        ("pyproject.toml", "[project]\nname = \n", "pyproject.toml:2: invalid TOML"),
        ("pyproject.toml", "a = " + "[" * 100_000, "pyproject.toml: invalid TOML: nested too deeply"),
        ("pyproject.toml", "a = 1\nb" + ".b" * 500_000 + " = 1\n", "pyproject.toml:2: invalid TOML: a key of more"),
        ("package.json", '{\n"a": ,\n}', "package.json:2: invalid JSON"),
        ("package.json", "[" * 200_000, "package.json: invalid JSON: nested too deeply"),
        ("pom.xml", "<project>\n<a></b>\n</project>", "pom.xml:2: invalid XML"),
        ("pom.xml", '<!DOCTYPE a [<!ENTITY x "y">]><project>&x;</project>', "pom.xml: XML with a document type"),
        ("setup.cfg", "name = a\n[metadata]\n", "setup.cfg:1: invalid INI"),
        ("setup.cfg", "[metadata]\nname\n more\n", "setup.cfg: invalid INI: a continuation"),
        ("package.json", '{"engines": {"node": "\\ud800"}}', "package.json: invalid JSON: a \\u escape"),
        ("rush.json", '{"projects": [', "rush.json: invalid JSON5"),
        ("composer.json", "{,}", "composer.json:1: invalid JSON"),
        ("setup.py", "from setuptools import setup\nsetup(\n", "setup.py:2: invalid Python"),
        ("Cargo.toml", "[package\n", "Cargo.toml:1: invalid TOML"),
        ("pyproject.toml", "a = " + "9" * 5_000, "pyproject.toml: invalid TOML: Exceeds the limit"),
        ("tox.ini", "[a]\n" + "=\n" * 300_000, "tox.ini: INI of more than 10,000 lines"),
        ("setup.py", "f'" + "{a}" * 300_000 + "'", "setup.py: Python of more than 65,536 characters"),
    ],
)
def test_a_broken_manifest_is_a_warning_with_its_line_and_the_rest_is_found(
    detect_files: Detect, path: str, content: str, place: str
) -> None:
    detection = detect_files({path: content, **GOOD})
    assert "good" in {p.workdir for p in detection.projects}
    assert any(w.message.startswith(place) and w.paths == (path,) for w in detection.warnings), detection.warnings


@pytest.mark.parametrize(
    "content",
    [
        BOMB,
        "a: &a\n  b: 1\nc:\n  <<: [" + "*a," * 5000 + "]\n",
        "a: [\n",
        "[" * 50_000,
        "- " * 200_000,
        "[ # ]\n" * 100_000,
    ],
)
def test_a_yaml_bomb_is_a_warning(detect_files: Detect, content: str) -> None:
    detection = detect_files({"package.json": '{"name": "a"}', "pnpm-workspace.yaml": content})
    assert any(w.message.startswith("pnpm-workspace.yaml") for w in detection.warnings)


def test_a_manifest_that_is_not_utf8_is_a_warning_with_its_line(detect_files: Detect) -> None:
    detection = detect_files({"package.json": b'{"name": "a",\n"author": "\xff"}'})
    assert [p.ecosystem for p in detection.projects] == ["node"]
    assert detection.warnings[0].message.startswith("package.json:2: not UTF-8")


def test_a_manifest_over_the_limit_is_a_warning(detect_files: Detect) -> None:
    detection = detect_files({"package.json": b" " * ((1 << 20) + 1), **GOOD})
    assert [(w.reason, w.paths) for w in detection.warnings] == [("MANIFEST_TOO_LARGE", ("package.json",))]


@pytest.mark.parametrize("mode", [0o010644, 0o040755, 0o120777])
def test_an_entry_that_is_no_file_is_a_warning(mode: int) -> None:
    detection = detect_tree(SnapshotTree([SnapshotFile("pyproject.toml", 0, mode)]))
    assert detection.projects == ()
    assert [(w.reason, w.paths) for w in detection.warnings] == [("NOT_A_FILE", ("pyproject.toml",))]


def test_a_truncated_snapshot_is_told() -> None:
    detection = detect_tree(SnapshotTree([], truncated=True))
    assert [w.reason for w in detection.warnings] == ["TREE_TRUNCATED"]


def test_content_that_was_not_sent_is_a_warning_that_names_the_file() -> None:
    detection = detect_tree(SnapshotTree([SnapshotFile("package.json", 10)]))
    assert [(w.reason, w.paths) for w in detection.warnings] == [("MANIFEST_NOT_READ", ("package.json",))]


def test_a_requirements_file_that_includes_itself_ends(detect_files: Detect) -> None:
    detection = detect_files({"requirements.txt": "-r requirements.txt\n-r ../outside.txt\nflask\n"})
    assert [p.ecosystem for p in detection.projects] == ["python"]


_REGISTRY = default_registry()
NAMES = st.sampled_from(
    sorted(
        _REGISTRY.content_names
        | {name for ecosystem in _REGISTRY.ecosystems.values() for name in ecosystem.locks}
        | {"requirements.txt", "test_a.py", "a.sln", "a.csproj", "a.Tests.csproj", "a.gemspec", "a.cabal", "main.go"}
        | {"index.html", "start.sh", "src/main.rs", "bin/rails", "configure", "-x.rockspec", ".github/workflows/ci.yml"}
    )
)
FRAGMENTS = st.sampled_from(
    [
        "[project]\n",
        "[tool.poetry]\n",
        "dependencies = ",
        "[",
        "]",
        "{",
        "}",
        '"scripts": ',
        '{"scripts": 1, "workspaces": 3}',
        '{"engines": [], "devEngines": {"packageManager": [1]}}',
        "1",
        '"a"',
        "\n",
        "=",
        "\0",
        "packages: ",
        "- *a\n",
        "<project>",
        "[dependency-groups]\ntest = [1, {include-group = 'x'}]\n",
        "module a\n",
        "setup(install_requires=x)\n",
        "test: test\n",
        "[tool]\nuv = 1\npytest = 2\n",
        "[workspace]\nmembers = 1\n",
        "-r \n",
        "-e",
        "\ufffd",
        "[tool.poetry.group]\na = 1\n",
        '{"workspaces": {"packages": [1, {}, "**"]}, "volta": 3}',
        '{"sdk": [1], "require": ["php"], "require-dev": {"phpunit/phpunit": []}, "config": {"bin-dir": 3}}',
        '{"projects": [{"projectFolder": "../../.."}], "pnpmVersion": []}',
        '{"workflowPresets": [1, {"name": 2, "steps": [{"type": "test"}]}]}',
        "[tools]\npython = {version = [1]}\nnode = 1979-05-27\n",
        "[tool.pixi.workspace]\na = 1\n",
        "dependencies:\n - 1\n - python=3\n - pip: [a, 1]\n",
        "<modules><module>../..</module></modules>",
        "use (\n ./a\n ..\n)\n",
        "include 'a:b:../c'\n",
        "enable_testing()\n",
        ' "\\ud800" ',
    ]
)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.tuples(st.sampled_from(["", "a/", "a/b/", "tests/"]), NAMES),
        st.lists(FRAGMENTS, max_size=6).map("".join),
        max_size=8,
    )
)
def test_no_tree_makes_detection_raise_and_the_answer_does_not_depend_on_the_order(
    files: dict[tuple[str, str], str],
) -> None:
    held = [SnapshotFile(a + b, len(text.encode()), content=text.encode()) for (a, b), text in files.items()]
    first = detect_tree(SnapshotTree(held))
    assert first == detect_tree(SnapshotTree(reversed(held)))
    assert all(isinstance(w, DetectionWarning) and w.message for w in first.warnings)
    assert all(0 < p.confidence < 1 for p in first.projects)
    assert all(0 < p.package_manager.confidence < 1 for p in first.projects if p.package_manager.name)
    assert all(p.package_manager.confidence == 0 for p in first.projects if not p.package_manager.name)
    detection_to_proto(first).SerializeToString()
