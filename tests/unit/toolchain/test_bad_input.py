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


DOUBLING = {
    "Makefile": "a0 = xx\n" + "".join(f"a{n + 1} = $(a{n})$(a{n})\n" for n in range(60)) + "test:\n\techo $(a60)\n",
    "justfile": "a0 := 'xx'\n" + "".join(f"a{n + 1} := a{n} + a{n}\n" for n in range(60)) + "test:\n  echo {{a60}}\n",
    "Taskfile.yml": "version: '3'\nvars: {a0: xx}\ntasks:\n"
    + "".join(f"  t{n}: {{cmds: [{{task: t{n + 1}}}, {{task: t{n + 1}}}]}}\n" for n in range(60))
    + "  test: {deps: [t0]}\n",
    "tox.ini": "[x]\na0 = xx\n"
    + "".join(f"a{n + 1} = {{[x]a{n}}}{{[x]a{n}}}\n" for n in range(60))
    + "[testenv]\ncommands = {[x]a60}\n",
    "package.json": '{"scripts": {'
    + "".join(f'"t{n}": "npm run t{n + 1} && npm run t{n + 1}", ' for n in range(60))
    + '"test": "npm run t0"}}',
    "mise.toml": "".join(f'[tasks.t{n}]\ndepends = ["t{n + 1}", "t{n + 1}"]\nrun = "x"\n' for n in range(60)),
    "deno.jsonc": '{"tasks": {'
    + "".join(f'"t{n}": "deno task t{n + 1} && deno task t{n + 1}", ' for n in range(60))
    + "}}",
    "noxfile.py": "import nox\n" + "".join(f"a{n} = [a{n - 1}, a{n - 1}]\n" for n in range(60)),
    "pom.xml": "<!DOCTYPE a [<!ENTITY a0 'x'>"
    + "".join(f"<!ENTITY a{n + 1} '&a{n};&a{n};'>" for n in range(60))
    + "]><project>&a60;</project>",
    ".github/workflows/ci.yml": "on: push\nx:\n  - &a0 [x]\n"
    + "".join(f"  - &a{n + 1} [*a{n}, *a{n}]\n" for n in range(60))
    + "jobs: {t: {steps: *a60, strategy: {matrix: "
    + "{"
    + ", ".join(f"k{n}: [1, 2, 3, 4]" for n in range(60))
    + "}}}}\n",
    ".gitlab-ci.yml": ".a0: &a0 {script: [make]}\n"
    + "".join(f".a{n + 1}: &a{n + 1} {{<<: [*a{n}, *a{n}], k{n}: *a{n}}}\n" for n in range(60))
    + "test: {<<: *a60}\n",
    ".circleci/config.yml": "commands:\n"
    + "".join(f"  c{n}: {{steps: [c{n + 1}, c{n + 1}]}}\n" for n in range(60))
    + "jobs: {t: {steps: [c0]}}\n",
    "azure-pipelines.yml": "steps:\n" + "- template: azure-pipelines.yml\n" * 2 + "- script: make test\n",
    "Cargo.toml": "[package]\nname = 'a'\n[workspace]\nmembers = [" + "'**/*', " * 5_000 + "]\n",
    "requirements.txt": "-r requirements.txt\n-r ./requirements.txt\n" * 5_000,
}
"""What doubles with every line, so that whoever writes it out never ends."""


@pytest.mark.timeout(60)
@pytest.mark.parametrize("path", sorted(DOUBLING))
def test_what_doubles_with_every_line_is_not_written_out(detect_files: Detect, path: str) -> None:
    detection = detect_files({path: DOUBLING[path], **GOOD})
    assert "good" in {project.workdir for project in detection.projects}
    assert len(detection_to_proto(detection).SerializeToString()) < 1 << 20
