"""The version of an installed agent, as installers leave it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from autopack_orchestrator.adapters.agent_versions import installed_version


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def linked(tmp_path: Path, target: Path, name: str) -> str:
    (tmp_path / "bin").mkdir(exist_ok=True)
    (tmp_path / "bin" / name).symlink_to(target)
    return str(tmp_path / "bin")


@pytest.mark.parametrize("names", ["dist/index.js", {"gemini": "dist/index.js"}])
def test_of_npm(tmp_path: Path, names: object) -> None:
    package = tmp_path / "lib/node_modules/@google/gemini-cli"
    script = program(package / "dist/index.js")
    (package / "package.json").write_text(json.dumps({"name": "x", "version": "0.61.0", "bin": names}))
    (package / "dist/package.json").write_text("no JSON")
    assert installed_version("gemini", linked(tmp_path, script, "gemini")) == "0.61.0"


def test_of_another_package_around_it_says_nothing(tmp_path: Path) -> None:
    script = program(tmp_path / "app/tools/agent")
    (tmp_path / "app/package.json").write_text(json.dumps({"version": "9.9.9"}))
    assert installed_version("agent", linked(tmp_path, script, "agent")) == ""


def test_of_a_python_environment(tmp_path: Path) -> None:
    script = program(tmp_path / "venv/bin/mini")
    site = tmp_path / "venv/lib/python3.12/site-packages"
    for name, text in (("other-1.0", "[console_scripts]\nminify = x:y\n"), ("mini_swe_agent-2.4.6", "mini = a:b\n")):
        (site / f"{name}.dist-info").mkdir(parents=True)
        (site / f"{name}.dist-info/entry_points.txt").write_text(text)
    assert installed_version("mini", linked(tmp_path, script, "mini")) == "2.4.6"


def test_of_an_installer_that_names_a_directory_or_the_file_after_it(tmp_path: Path) -> None:
    script = program(tmp_path / "share/claude/versions/2.1.330")
    assert installed_version("claude", linked(tmp_path, script, "claude")) == "2.1.330"
    script = program(tmp_path / "Cellar/codex/0.169.0-beta.1/libexec/codex")
    assert installed_version("codex", linked(tmp_path, script, "codex")) == "0.169.0-beta.1"


def test_that_was_replaced_is_looked_at_again(tmp_path: Path) -> None:
    first = linked(tmp_path, program(tmp_path / "v1.2/agent"), "agent")
    assert installed_version("agent", first) == "1.2"
    (tmp_path / "bin/agent").unlink()
    assert installed_version("agent", linked(tmp_path, program(tmp_path / "v1.3/agent"), "agent")) == "1.3"


def test_of_what_is_not_there_and_of_what_says_nothing(tmp_path: Path) -> None:
    assert installed_version("agent", str(tmp_path)) == ""
    assert installed_version("agent", linked(tmp_path, program(tmp_path / "opt/agent"), "agent")) == ""


def test_of_a_real_program() -> None:
    """pytest itself, in the environment that runs it."""
    assert installed_version("pytest", f"{sys.prefix}/bin") == pytest.__version__
