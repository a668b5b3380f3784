"""What manifests declare."""

from __future__ import annotations

import json

import pytest
from autopack_client.facts_manifests import ManifestError, declares, entries, included, is_lock, is_manifest
from autopack_hardening import patterns
from hypothesis import given
from hypothesis import strategies as st


def names(path: str, content: str) -> list[str]:
    return [entry.name for entry in entries(path, content.encode()) if entry.distribution]


def directives(path: str, content: str) -> list[str]:
    return [entry.name for entry in entries(path, content.encode()) if not entry.distribution]


def test_requirements_are_read_line_by_line() -> None:
    content = (
        "# comment\nFlask[async]>=2  # why\nrequests == 2.31 \\\n    --hash=sha256:abc\n-e git+https://x/y#egg=acme\n"
        "pkg @ https://x/pkg.whl\n-r dev.txt\n--extra-index-url https://evil\nhttps://x/y.whl\n./local\n"
    )
    assert names("requirements.txt", content) == ["Flask", "requests", "acme", "pkg"]
    assert directives("requirements.txt", content) == [
        "(-r dev.txt)",
        "(--extra-index-url https://evil)",
        "(https://x/y.whl)",
        "(./local)",
    ]
    assert included("app/requirements.txt", content.encode()) == ("app/dev.txt",)


PYPROJECT = """
[build-system]
requires = ["hatchling"]
[project]
dependencies = ["httpx>=0.27"]
optional-dependencies = { dev = ["pytest"] }
[dependency-groups]
lint = ["ruff", { include-group = "dev" }]
[tool.poetry.dependencies]
python = "^3.11"
django = { version = "^5", extras = ["x"] }
[tool.poetry.group.test.dependencies]
pytest-django = "*"
[[tool.uv.index]]
url = "https://index"
"""
PIPFILE = '[packages]\nflask = "*"\n[dev-packages]\npytest = "*"\n[[source]]\nurl = "https://index"\n'
SETUP_CFG = "[options]\ninstall_requires =\n    flask>=2\n    requests\n[options.extras_require]\ntest = pytest\n"
SETUP_PY = "from setuptools import setup\nsetup(install_requires=['flask', 'six'], extras_require={'t': ['pytest']})\n"


@pytest.mark.parametrize(
    ("path", "content", "expected"),
    [
        ("pyproject.toml", PYPROJECT, ["httpx", "hatchling", "pytest", "ruff", "django", "pytest-django"]),
        ("a/Pipfile", PIPFILE, ["pytest", "flask"]),
        ("setup.cfg", SETUP_CFG, ["flask", "requests", "pytest"]),
        ("setup.py", SETUP_PY, ["flask", "six", "pytest"]),
        ("poetry.lock", '[[package]]\nname = "flask"\nversion = "3"\n', ["flask"]),
        ("Pipfile.lock", '{"_meta": {}, "default": {"flask": {"version": "==3"}}}', ["flask"]),
    ],
)
def test_every_kind_of_python_manifest_is_read(path: str, content: str, expected: list[str]) -> None:
    assert is_manifest(path)
    assert names(path, content) == expected


def test_package_json_and_its_lock_are_read() -> None:
    manifest = {
        "dependencies": {"express": "^4"},
        "devDependencies": {"jest": "29"},
        "scripts": {"test": "jest", "postinstall": "node evil.js"},
    }
    lock = {"packages": {"": {}, "node_modules/express": {"version": "4"}, "node_modules/a/node_modules/@b/c": {}}}
    assert names("package.json", json.dumps(manifest)) == ["express", "jest"]
    assert directives("package.json", json.dumps(manifest)) == ["(scripts: postinstall)"]
    assert names("package-lock.json", json.dumps(lock)) == ["express", "@b/c"]


def test_an_opaque_lock_is_compared_as_a_whole() -> None:
    before, after = entries("yarn.lock", b"a"), entries("yarn.lock", b"b")
    assert before != after
    assert entries(".npmrc", b"registry=x") != entries(".npmrc", b"registry=y")


def test_a_changed_constraint_is_another_entry() -> None:
    assert entries("requirements.txt", b"a==1") != entries("requirements.txt", b"a==2")
    assert entries("requirements.txt", b"a == 1 # x") == entries("requirements.txt", b"a  ==  1")


def test_names_are_compared_normalised() -> None:
    assert declares(entries("requirements.txt", b"Ruamel.YAML"), "ruamel-yaml")
    assert not declares(entries("requirements.txt", b"--index-url http://x"), "--index-url http://x")


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("pyproject.toml", b"= 1"),
        ("pyproject.toml", b"project = 3"),
        ("package.json", b"[1]"),
        ("package.json", b"{" * 100_000),
        ("package.json", b'{"dependencies": [1]}'),
        ("setup.cfg", b"x"),
        ("setup.py", b"def"),
        ("requirements.txt", b"\xff\xfe"),
        ("poetry.lock", b"[[package]]"),
    ],
)
def test_a_broken_manifest_is_an_error_that_names_it(path: str, content: bytes) -> None:
    with pytest.raises(ManifestError, match=path):
        entries(path, content)


@given(st.sampled_from(["requirements.txt", "pyproject.toml", "package.json", "setup.py", "Pipfile"]), st.binary())
def test_any_bytes_are_entries_or_an_error(path: str, content: bytes) -> None:
    try:
        entries(path, content)
    except ManifestError as error:
        assert path in str(error)  # noqa: PT017


def test_every_lock_file_that_a_pattern_makes_anew_is_known_as_one() -> None:
    """Or the applier refuses what the service offers."""
    files = {file for pattern in patterns() for step in pattern.steps for file in step.parameters.get("files", ())}
    assert {"package-lock.json", "uv.lock", "Cargo.lock", "go.sum"} <= files
    assert {file for file in files if not is_lock(file)} == set()
