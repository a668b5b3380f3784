"""Which runtimes are found, in the directories of real version managers, and how one is switched to."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from autopack_api.hardening.v1 import hardening_pb2 as pb
from autopack_client.mitigate import Applier, LocalRunner, State
from autopack_client.runtimes import installed_runtimes
from autopack_kit.commands import Command

from tests.integration.hardening.conftest import Repository

PYTHON = f"{sys.base_prefix}/bin/python3"
PROGRAM = {"python": "python3", "rust": "rustc"}

LAYOUTS = [
    ("python", "~/.pyenv/versions/3.11.7/bin", {}),
    ("python", "/pyenv/versions/3.11.7/bin", {"PYENV_ROOT": "/pyenv"}),
    ("python", "~/.local/share/uv/python/cpython-3.11.7-linux-x86_64-gnu/bin", {}),
    ("python", "/data/uv/python/cpython-3.11.7-linux-x86_64-gnu/bin", {"XDG_DATA_HOME": "/data"}),
    ("python", "~/.local/share/hatch/pythons/3.11/python/bin", {}),
    ("python", "~/.asdf/installs/python/3.11.7/bin", {}),
    ("python", "/tools/Python/3.11.7/x64/bin", {"RUNNER_TOOL_CACHE": "/tools"}),
    ("node", "~/.nvm/versions/node/v20.1.0/bin", {}),
    ("node", "~/.config/nvm/versions/node/v20.1.0/bin", {}),
    ("node", "/nvm/versions/node/v20.1.0/bin", {"NVM_DIR": "/nvm"}),
    ("node", "~/.local/share/fnm/node-versions/v20.1.0/installation/bin", {}),
    ("node", "~/.volta/tools/image/node/20.1.0/bin", {}),
    ("node", "/opt/n/n/versions/node/20.1.0/bin", {"N_PREFIX": "/opt/n"}),
    ("node", "~/.nodenv/versions/20.1.0/bin", {}),
    ("node", "~/.local/share/pnpm/nodejs/20.1.0/bin", {}),
    ("node", "~/.local/share/mise/installs/node/20.1.0/bin", {}),
    ("node", "~/.asdf/installs/nodejs/20.1.0/bin", {}),
    ("java", "~/.sdkman/candidates/java/21.0.2-tem/bin", {}),
    ("java", "/sdkman/candidates/java/21.0.2-tem/bin", {"SDKMAN_DIR": "/sdkman"}),
    ("java", "~/.jdks/temurin-21.0.2/bin", {}),
    ("java", "~/.local/share/mise/installs/java/21.0.2/bin", {}),
    ("java", "/tools/Java_Temurin-Hotspot_jdk/21.0.2-13/x64/bin", {"RUNNER_TOOL_CACHE": "/tools"}),
    ("go", "~/sdk/go1.22.1/bin", {}),
    ("go", "~/.asdf/installs/golang/1.22.1/go/bin", {}),
    ("go", "~/.goenv/versions/1.22.1/bin", {}),
    ("go", "~/go/pkg/mod/golang.org/toolchain@v0.0.1-go1.22.1.linux-amd64/bin", {}),
    ("rust", "~/.rustup/toolchains/1.80-x86_64-unknown-linux-gnu/bin", {}),
    ("rust", "/rustup/toolchains/1.80-x86_64-unknown-linux-gnu/bin", {"RUSTUP_HOME": "/rustup"}),
    ("ruby", "~/.rbenv/versions/3.3.0/bin", {}),
    ("cmake", "~/.asdf/installs/cmake/3.30.0/bin", {}),
]
"""(runtime, directory of its programs, variables); absolute ones are put below the test's own directory."""


@pytest.mark.parametrize(("name", "place", "variables"), LAYOUTS, ids=[one[1] for one in LAYOUTS])
def test_what_a_version_manager_installed_is_found(
    tmp_path: Path, name: str, place: str, variables: dict[str, str]
) -> None:
    """The directories are those of the version managers, the program in them is the real one of this machine."""
    program = PROGRAM.get(name, name)
    real = PYTHON if name == "python" else _real(name)
    if real is None:
        pytest.skip(f"{program} is not installed here")
    home = tmp_path / "home"
    directory = Path(str(place).replace("~", str(home))) if place[0] == "~" else tmp_path / place[1:]
    directory.mkdir(parents=True)
    (directory / program).symlink_to(real)
    environment = {"HOME": str(home), "PATH": ""} | {key: f"{tmp_path}{value}" for key, value in variables.items()}
    found = [one.directory for one in installed_runtimes(environment, tmp_path / "work") if one.name == name]
    expected = os.path.dirname(os.path.realpath(real)) if name == "java" else str(directory)
    assert expected in found


def _real(name: str) -> str | None:
    """The program itself: behind rustup's name of it stands one that first asks for a home."""
    if name == "rust" and shutil.which("rustup"):
        asked = subprocess.run(["rustup", "which", "rustc"], capture_output=True, text=True, check=True)
        return asked.stdout.strip()
    return shutil.which(PROGRAM.get(name, name))


@pytest.mark.parametrize(
    ("says", "version"),
    [
        ("v22.1.0", "22.1.0"),
        ("v23.0.0-nightly20240501", None),
        ("v21.0.0-rc.1", None),
        ("rustc 1.80.0 (051478957 2024-07-21)", "1.80.0"),
        ("rustc 1.97.0-nightly (1a2b3c 2026-01-01)", None),
        ("Python 3.14.0rc2", None),
        ("Python 3.15.0a1+", None),
        ("go version go1.23rc1 linux/amd64", None),
        ("go version go1.23.4 linux/amd64", "1.23.4"),
        ('openjdk version "26-ea" 2026-03-17', None),
        ('openjdk version "21" 2023-09-19', "21"),
        ('openjdk version "1.8.0_402"', "1.8.0"),
        ("cmake version 4.0.0-rc1", None),
        ("ruby 3.3.0 (2023-12-25 revision 5124f9ac75) [x86_64-linux]", "3.3.0"),
    ],
)
def test_a_version_that_is_not_released_is_not_offered(tmp_path: Path, says: str, version: str | None) -> None:
    directory = tmp_path / "bin"
    directory.mkdir()
    (directory / "node").write_text(f"#!/bin/sh\necho '{says}'\n")
    (directory / "node").chmod(0o755)
    found = installed_runtimes({"PATH": str(directory)}, tmp_path / "work")
    assert [one.version for one in found if one.name == "node"] == ([version] if version else [])


def test_pythons_that_share_a_directory_are_told_apart(tmp_path: Path) -> None:
    """As Debian has them in /usr/bin, where ``python3`` is one of them."""
    directory = tmp_path / "bin"
    directory.mkdir()
    for name, version in (("python3", "3.8.1"), ("python3.8", "3.8.1"), ("python3.12", "3.12.4"), ("python2", "2.7.1")):
        (directory / name).write_text(f"#!/bin/sh\necho Python {version}\n")
        (directory / name).chmod(0o755)
    (directory / "python3.12-config").write_text("#!/bin/sh\necho 3.99.1\n")
    found = installed_runtimes({"PATH": str(directory)}, tmp_path / "work")
    pythons = [
        (one.version, one.directory) for one in found if one.name == "python" and one.directory == str(directory)
    ]
    assert pythons == [("3.8.1", str(directory)), ("3.12.4", str(directory))]


def test_a_link_to_the_workspace_is_no_installed_runtime(tmp_path: Path) -> None:
    planted = tmp_path / "work/node"
    planted.parent.mkdir()
    planted.write_text("#!/bin/sh\necho v99.0.0\n")
    planted.chmod(0o755)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/node").symlink_to(planted)
    assert not [one for one in installed_runtimes({"PATH": f"{tmp_path}/bin"}, tmp_path / "work") if one.name == "node"]


def _mitigation(one: pb.InstalledRuntime) -> pb.Mitigation:
    switch = pb.SwitchRuntime(name=one.name, version=one.version, directory=one.directory)
    return pb.Mitigation(actions=[pb.Action(switch_runtime=switch)], automatic=True)


def _this_python(workspace: Path) -> pb.InstalledRuntime:
    environment = {"PATH": f"{sys.base_prefix}/bin", "HOME": str(workspace.parent)}
    found = installed_runtimes(environment, workspace)
    return next(one for one in found if one.directory == f"{sys.base_prefix}/bin" and one.name == "python")


async def test_a_switch_leaves_what_stands_before_on_the_search_path(repository: Repository, tmp_path: Path) -> None:
    """A directory of many programs, as /usr/bin, must not stand in for the project's own environment."""
    logs = tmp_path / "logs"
    for name in ("logs", "own", "old", "other"):
        (tmp_path / name).mkdir()
    for directory, program, says in (("own", "tool", "own"), ("old", "node", "v18.0.0"), ("other", "node", "v22.0.0")):
        (tmp_path / directory / program).write_text(f"#!/bin/sh\necho {says}\n")
    (tmp_path / "other/tool").write_text("#!/bin/sh\necho other\n")
    for file in tmp_path.glob("*/*"):
        if file.is_file():
            file.chmod(0o755)
    path = f"{tmp_path}/own:{tmp_path}/old:/usr/bin:/bin"
    runtime = pb.InstalledRuntime(name="node", version="22.0.0", directory=f"{tmp_path}/other")
    applier = Applier(repository.path, LocalRunner(logs), runtimes=[runtime], search_path=path)
    outcome = await applier.apply(_mitigation(runtime), Command.of("sh", "-c", "tool; node"))
    ran = await LocalRunner(logs).run(outcome.rerun, repository.path)
    assert ran.output.read_text().split() == ["own", "v22.0.0"]


async def test_the_environment_of_another_python_is_removed_when_it_did_not_help(
    repository: Repository, tmp_path: Path
) -> None:
    (tmp_path / "logs").mkdir()
    runtime = _this_python(repository.path)
    applier = Applier(repository.path, LocalRunner(tmp_path / "logs"), runtimes=[runtime], interactive=True)
    outcome = await applier.apply(_mitigation(runtime), Command.of("false"))
    assert outcome.state is State.APPLIED
    place = repository.path / f".autopack-python-{runtime.version}"
    assert (place / "bin/python").exists()
    again = await applier.apply(_mitigation(runtime), Command.of("false"))
    assert again.state is State.APPLIED, again.reasons  # it is used, not made again
    await applier.undo(again)
    assert place.exists()
    await applier.undo(outcome)
    assert not os.path.lexists(place)


@pytest.mark.parametrize("part", [".gitignore", "bin", "pyvenv.cfg", ""])
async def test_an_environment_that_a_repository_brings_is_not_written_through(
    repository: Repository, tmp_path: Path, part: str
) -> None:
    (tmp_path / "logs").mkdir()
    runtime = _this_python(repository.path)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "file").write_text("theirs\n")
    name = f".autopack-python-{runtime.version}"
    for path in (f"{name}/bin/python", f"{name}/pyvenv.cfg", f"{name}/.gitignore"):
        repository.write(path, "*\n")
    place = repository.path / name / part
    (shutil.rmtree if place.is_dir() else os.unlink)(place)
    place.symlink_to(theirs if part in ("", "bin") else theirs / "file")
    applier = Applier(repository.path, LocalRunner(tmp_path / "logs"), runtimes=[runtime])
    outcome = await applier.apply(_mitigation(runtime), Command.of("false"))
    assert outcome.state is State.REFUSED
    assert "no virtual environment that was made for this" in outcome.reasons[0]
    assert sorted(path.name for path in theirs.iterdir()) == ["file"]
    assert (theirs / "file").read_text() == "theirs\n"
