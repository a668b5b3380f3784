"""Commands that ask one service one question, each with a server of its own for the duration of the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from autopack_api.hardening.v1 import hardening_pb2
from autopack_api.intention.v1 import intention_pb2
from autopack_api.toolchain.v1 import toolchain_pb2
from autopack_cli.demo.repositories import make_mixed, make_node, make_python
from google.protobuf.json_format import Parse

Cli = Any


@pytest.fixture
def shop(cli: Cli) -> Path:
    path = Path(cli.home) / "shop"
    make_python(path)
    return path


def test_detect_prints_projects_and_steps(cli: Cli, shop: Path) -> None:
    done = cli("detect", shop)
    assert done.returncode == 0
    assert "python, pip" in done.stdout
    assert "python -m pip install -r requirements.txt" in done.stdout
    assert "requirements.txt requirements file" in done.stdout


def test_detect_as_json_is_the_response_by_path_and_by_snapshot(cli: Cli) -> None:
    mixed = cli.home / "mixed"
    make_mixed(mixed)
    by_path = Parse(cli("detect", mixed, "--json").stdout, toolchain_pb2.DetectResponse())
    by_snapshot = Parse(cli("detect", mixed, "--snapshot", "--json").stdout, toolchain_pb2.DetectResponse())
    assert {project.workdir for project in by_path.projects} >= {"api", "web"}
    assert by_path == by_snapshot


def test_detect_of_several_paths_as_json_is_a_list_in_their_order(cli: Cli, shop: Path) -> None:
    make_node(cli.home / "window")
    found = json.loads(cli("detect", "window", "shop", "--json").stdout)
    assert [item["projects"][0]["ecosystem"] for item in found] == ["node", "python"]
    assert found[0]["projects"][0]["package_manager"]["name"] == "npm"  # names as in the proto files


def test_detect_of_a_missing_path_says_what_to_do(cli: Cli) -> None:
    for words in (("detect", "nowhere"), ("detect", "nowhere", "--snapshot")):
        done = cli(*words)
        assert done.returncode == 1
        assert "error: " in done.stderr
        assert "what to do: " in done.stderr


def test_detect_answers_for_the_others_when_one_path_fails(cli: Cli, shop: Path) -> None:
    done = cli("detect", "nowhere", shop)
    assert done.returncode == 1
    assert "python, pip" in done.stdout
    assert "nowhere' does not exist" in done.stderr
    found = json.loads(cli("detect", shop, "nowhere", "--json").stdout)
    assert found[0]["projects"][0]["ecosystem"] == "python"
    assert found[1] is None


def test_detect_with_tools_tells_those_that_are_missing(cli: Cli, shop: Path) -> None:
    empty = cli.home / "empty"
    empty.mkdir()
    done = cli("detect", shop, "--tools", env={"PATH": str(empty)})
    assert "python not installed" in done.stdout
    assert "not installed" not in cli("detect", shop).stdout
    refused = cli("detect", shop, "--tools", "--snapshot")
    assert refused.returncode == 2
    assert "--tools" in refused.stderr


def test_detect_shows_workspaces_and_warnings_each_on_one_line(cli: Cli) -> None:
    root = cli.home / "many"
    for name in ("a", "b\nc"):
        (root / "packages" / name).mkdir(parents=True)
        (root / "packages" / name / "package.json").write_text(
            json.dumps({"name": name, "scripts": {"test": "vitest"}})
        )
    (root / "package.json").write_text('{"name": "r", "workspaces": ["packages/*"]}')
    (root / "package-lock.json").write_text("{}")
    (root / "packages/a/pyproject.toml").write_text("[broken\na = 1\n")
    done = cli("detect", root)
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert any(line.startswith("npm workspace of 2: packages/a, packages/b") for line in lines), done.stdout
    assert "member of the npm workspace in ." in lines
    assert any(line.startswith("warning: packages/a/pyproject.toml:1") for line in lines)
    assert not any(line.startswith("c") for line in lines)


def test_context_is_bounded_and_carries_what_it_was_given(cli: Cli) -> None:
    done = cli("context", "--goal", "Fix the login\nIt loops.", "--scope", "src/", "--constraint", "Keep the API")
    assert "Fix the login" in done.stdout
    assert "Keep the API" in done.stdout
    many = [word for number in range(200) for word in ("--constraint", f"Constraint {number} " + "x" * 50)]
    response = Parse(cli("context", "--goal", "G", *many[:200], "--json").stdout, intention_pb2.BuildContextResponse())
    assert response.size_bytes == len(response.text.encode()) <= 2048
    assert response.dropped["constraints"] > 0


def test_bad_context_option_is_named(cli: Cli) -> None:
    for words, option in (
        (("--goal", "G", "--budget", "7"), "--budget"),
        (("--goal", "G", "--scope", "[z-a]"), "--scope[0]"),
        (("--goal", "x" * 501), "--goal"),
        (("--goal", ""), "--goal"),
        ((), "--goal"),
    ):
        done = cli("context", *words)
        assert done.returncode == 2
        assert f"error: {option}" in done.stderr
        assert "intention." not in done.stderr


MISSING = b"""Traceback (most recent call last):
  File "x.py", line 1, in <module>
ModuleNotFoundError: No module named '%s'
"""


def test_diagnose_reads_standard_input_and_names_the_failure(cli: Cli, shop: Path) -> None:
    done = cli(
        "diagnose", "--command", "python -m shop", "--exit-code", "1", "--repo", shop, input=MISSING % b"tinytext"
    )
    assert done.returncode == 0
    assert "py.module_not_found" in done.stdout
    assert "fix: python -m pip install -r requirements.txt (declared in requirements.txt)" in done.stdout
    assert "automatic" in done.stdout


def test_diagnose_reads_a_file_and_prints_the_response(cli: Cli, shop: Path) -> None:
    log = cli.home / "build.log"
    log.write_bytes(b"x" * (3 << 20) + b"\n" + MISSING % b"requests")  # only the last MiB is sent
    done = cli("diagnose", log, "--command", "python -m shop", "--repo", shop, "--json")
    response = Parse(done.stdout, hardening_pb2.DiagnoseResponse())
    assert response.diagnoses[0].captures["module"] == "requests"
    assert not response.diagnoses[0].mitigation.actions  # undeclared: advice, never an action
    assert response.diagnoses[0].mitigation.suggestions


def test_diagnose_of_what_nobody_knows_or_what_succeeded_is_not_explained(cli: Cli, shop: Path) -> None:
    unknown = cli("diagnose", "--command", "make", "--repo", shop, input=b"something else went wrong\n")
    success = cli("diagnose", "--command", "make", "--exit-code", "0", "--repo", shop, input=MISSING % b"tinytext")
    assert (unknown.returncode, success.returncode) == (1, 1)
    assert "No known pattern explains this failure." in unknown.stdout
    assert "succeeded" in success.stdout


def test_diagnose_without_a_command_advises_and_fixes_nothing(cli: Cli) -> None:
    failure = b"ModuleNotFoundError: No module named 'requests'\n"
    done = cli("diagnose", input=failure)
    assert done.returncode == 0, done.stderr
    assert "py.module_not_found" in done.stdout
    assert "suggestion:" in done.stdout
    refused = cli("diagnose", "--fix", "--yes", input=failure)
    assert refused.returncode == 2
    assert "--command" in refused.stderr


def test_diagnose_fixes_a_wrong_directory_and_proves_it(cli: Cli) -> None:
    mixed = cli.home / "mixed"
    make_mixed(mixed)
    log = cli.home / "log"
    log.write_text("ImportError: Start directory is not importable: 'tests'\n")
    command = "python3 -m unittest discover -s tests"
    done = cli("diagnose", log, "--command", command, "--repo", mixed, "--fix", "--yes")
    assert done.returncode == 0, done.stderr
    assert "fixed: python3 -m unittest discover -s tests passes" in done.stderr


def test_diagnose_does_not_call_fixed_what_still_fails(cli: Cli) -> None:
    mixed = cli.home / "mixed"
    make_mixed(mixed)
    (mixed / "api/tests/test_prices.py").write_text("raise SystemExit(3)\n")
    log = cli.home / "log"
    log.write_text("ImportError: Start directory is not importable: 'tests'\n")
    command = "python3 -m unittest discover -s tests"
    done = cli("diagnose", log, "--command", command, "--repo", mixed, "--fix", "--yes")
    assert done.returncode == 1  # the command's own
    assert "not fixed" in done.stderr


def test_fix_from_standard_input_needs_a_yes(cli: Cli) -> None:
    done = cli("diagnose", "--command", "make", "--fix", input=b"x")
    assert done.returncode == 2
    assert "--yes" in done.stderr


def test_config_shows_value_source_and_help_and_masks_passwords(cli: Cli) -> None:
    env = {"AUTOPACK_TELEMETRY_DATABASE_URL": "postgresql+psycopg://me:hunter2@db/x?password=hunter3"}
    for words in (("config",), ("config", "--json"), ("config", "--changed")):
        done = cli(*words, env=env)
        assert done.returncode == 0
        assert "hunter" not in done.stdout
        assert "me:***@db" in done.stdout
    rows = {item["name"]: item for item in json.loads(cli("config", "--json", env=env).stdout)}
    assert rows["AUTOPACK_TELEMETRY_DATABASE_URL"]["source"] == "environment"
    assert rows["AUTOPACK_LOG_LEVEL"]["source"] == "default"
    assert all(item["help"] for item in rows.values())


def test_misspelt_setting_names_the_nearest(cli: Cli) -> None:
    done = cli("health", env={"AUTOPACK_LOG_LEVL": "debug"})
    assert done.returncode == 2
    assert "did you mean AUTOPACK_LOG_LEVEL?" in done.stderr


def test_certs_init_makes_a_set_once(cli: Cli) -> None:
    assert cli("certs", "init", "certs").returncode == 0
    assert (cli.home / "certs/ca.pem").exists()
    again = cli("certs", "init", "certs")
    assert again.returncode == 1
    assert "what to do" in again.stderr


def test_command_without_a_terminal_prints_no_colours(cli: Cli, shop: Path) -> None:
    done = cli("detect", shop)
    assert "\x1b" not in done.stdout + cli("detect", "nowhere").stderr


def test_debug_shows_where_an_error_came_from(cli: Cli) -> None:
    process = cli.start("--debug", "stats", "x")
    _, errors = process.communicate(timeout=120)
    assert "Traceback" in errors
    assert process.returncode == 1
