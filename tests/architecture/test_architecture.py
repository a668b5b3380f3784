"""The rules of the house hold in this repository, and each rule catches what it forbids."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


def _load_rules() -> ModuleType:
    # tests/ has no packages, so a neighbour is loaded by its path.
    spec = importlib.util.spec_from_file_location("architecture_rules", Path(__file__).with_name("rules.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


rules = _load_rules()


def plant(root: Path, path: str, text: str) -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def test_services_never_import_each_other() -> None:
    assert rules.foreign_service_imports(ROOT) == []


def test_core_is_pure() -> None:
    assert rules.impure_core(ROOT) == []


def test_only_service_and_convert_import_the_stubs() -> None:
    assert rules.stub_imports(ROOT) == []


def test_every_service_has_the_same_room_plan() -> None:
    assert rules.missing_rooms(ROOT) == []


def test_no_file_is_too_long() -> None:
    assert rules.long_files(ROOT) == []


@pytest.mark.parametrize("name", rules.facades(ROOT))
def test_facade_offers_what_its_all_says(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    exported = module.__all__
    assert sorted(set(exported)) == sorted(exported)
    assert [item for item in exported if not hasattr(module, item)] == []


def test_facades_are_those_of_all_services_and_the_client() -> None:
    assert set(rules.facades(ROOT)) == {*rules.SERVICE_PACKAGES, "autopack_client"}


@pytest.mark.parametrize(
    "text",
    [
        "import autopack_hardening",
        "import autopack_hardening.core as core",
        "from autopack_hardening import diagnose",
        "def f() -> None:\n    from autopack_hardening.core import x",
        "import importlib\nimportlib.import_module('autopack_hardening')",
    ],
)
@pytest.mark.parametrize("where", ["services/toolchain/autopack_toolchain/core/a.py", "kit/autopack_kit/a.py"])
def test_import_of_another_service_is_caught(tmp_path: Path, where: str, text: str) -> None:
    plant(tmp_path, where, text)
    assert len(rules.foreign_service_imports(tmp_path)) == 1


def test_import_of_the_own_package_is_no_violation(tmp_path: Path) -> None:
    plant(tmp_path, "services/toolchain/autopack_toolchain/service.py", "import autopack_toolchain.core")
    assert rules.foreign_service_imports(tmp_path) == []


@pytest.mark.parametrize(
    "text",
    [
        "import grpc",
        "import grpc.aio",
        "from google.protobuf import message",
        "from autopack_api.toolchain.v1 import toolchain_pb2",
        "import sqlalchemy as sa",
        "import sqlite3",
        "import os\nx = os.environ['A']",
        "import os\nx = os.getenv('A')",
        "from os import environ",
        "from os import getenv as g",
        "from autopack_kit.server import Server",
        "from autopack_kit import channel",
        "from autopack_toolchain.service import ToolchainService",
        "from autopack_toolchain import adapters",
        "from ...adapters import filesystem",
        "from ... import service",
        "def f() -> None:\n    import grpc",
    ],
)
def test_impure_core_is_caught(tmp_path: Path, text: str) -> None:
    plant(tmp_path, "services/toolchain/autopack_toolchain/core/deep/a.py", text)
    assert rules.impure_core(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "import os.path",
        "from autopack_kit.errors import NotFound",
        "from autopack_kit import errors",
        "from autopack_kit.commands import Command",
        "import re2",
        "from autopack_toolchain.core.model import Step",
        "from .model import Step",
        "from . import model",
        "from ..errors import bad_path",
        "environ = {}\nx = environ.get('A')",
    ],
)
def test_pure_core_is_no_violation(tmp_path: Path, text: str) -> None:
    plant(tmp_path, "services/toolchain/autopack_toolchain/core/a.py", text)
    assert rules.impure_core(tmp_path) == []


@pytest.mark.parametrize(
    ("where", "count"),
    [
        ("services/toolchain/autopack_toolchain/service.py", 0),
        ("services/toolchain/autopack_toolchain/convert.py", 0),
        ("services/toolchain/autopack_toolchain/convert_plan.py", 0),
        ("kit/autopack_kit/convert.py", 0),
        ("services/toolchain/autopack_toolchain/errors.py", 1),
        ("services/toolchain/autopack_toolchain/adapters/convert.py", 1),
        ("services/toolchain/autopack_toolchain/core/service.py", 1),
        ("kit/autopack_kit/channel.py", 1),
    ],
)
def test_import_of_the_stubs_is_caught_outside_of_service_and_convert(tmp_path: Path, where: str, count: int) -> None:
    plant(tmp_path, where, "import autopack_api.toolchain.v1.toolchain_pb2")
    assert len(rules.stub_imports(tmp_path)) == count


def test_missing_room_is_caught(tmp_path: Path) -> None:
    for name in rules.SERVICES:
        plant(tmp_path, f"services/{name}/README.md", "x")
        for room in (*rules.ROOM_PLAN[:-1], "core/__init__.py"):
            plant(tmp_path, f"services/{name}/autopack_{name}/{room}", "")
    assert rules.missing_rooms(tmp_path) == []
    (tmp_path / "services/hardening/autopack_hardening/errors.py").unlink()
    assert rules.missing_rooms(tmp_path) == ["services/hardening/autopack_hardening/errors.py: missing"]


def test_long_file_is_caught(tmp_path: Path) -> None:
    plant(tmp_path, "kit/autopack_kit/a.py", "x = 1\n" * rules.MAX_LINES)
    assert rules.long_files(tmp_path) == []
    plant(tmp_path, "kit/autopack_kit/a.py", "x = 1\n" * (rules.MAX_LINES + 1))
    assert len(rules.long_files(tmp_path)) == 1
