"""What a batch asks for, and what becomes of it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from autopack_kit.errors import FailedPrecondition
from autopack_orchestrator.adapters.cgroups import Cgroups, probe
from autopack_orchestrator.adapters.host import Host
from autopack_orchestrator.adapters.sandbox import Sandbox
from autopack_orchestrator.core.isolation import Isolation, Limits, Network, SandboxMode, check_limits, resource_limits
from autopack_orchestrator.execution.isolate import check_isolation, confined_environment

WORKS = Sandbox("/usr/bin/bwrap", "0.8.0", network_off=True)
MISSING = Sandbox(problem="bubblewrap is not installed.")
NO_NETWORK = Sandbox("/usr/bin/bwrap", "0.8.0", network_off=False)
AUTO, REQUIRED, NONE = SandboxMode.AUTO, SandboxMode.REQUIRED, SandboxMode.NONE
OFF = Network.OFF


@pytest.mark.parametrize(
    ("sandbox", "server", "asked", "inside"),
    [
        (WORKS, AUTO, None, True),
        (WORKS, AUTO, NONE, False),
        (WORKS, NONE, None, False),
        (WORKS, NONE, REQUIRED, True),
        (WORKS, REQUIRED, AUTO, True),
        (MISSING, AUTO, None, False),
        (MISSING, NONE, AUTO, False),
    ],
)
def test_a_run_is_in_the_sandbox_as_asked_and_possible(
    sandbox: Sandbox, server: SandboxMode, asked: SandboxMode | None, inside: bool
) -> None:
    assert check_isolation(Host(sandbox, Cgroups(), server), Isolation(asked)) is inside


@pytest.mark.parametrize(
    ("sandbox", "server", "isolation", "reason"),
    [
        (MISSING, AUTO, Isolation(REQUIRED), "SANDBOX_UNAVAILABLE"),
        (MISSING, REQUIRED, Isolation(AUTO), "SANDBOX_UNAVAILABLE"),
        (WORKS, REQUIRED, Isolation(NONE), "SANDBOX_REQUIRED"),
        (MISSING, AUTO, Isolation(network=OFF), "NETWORK_NEEDS_SANDBOX"),
        (WORKS, AUTO, Isolation(NONE, OFF), "NETWORK_NEEDS_SANDBOX"),
        (NO_NETWORK, AUTO, Isolation(network=OFF), "NETWORK_NEEDS_SANDBOX"),
    ],
)
def test_what_the_host_cannot_give_or_must_not_is_refused(
    sandbox: Sandbox, server: SandboxMode, isolation: Isolation, reason: str
) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        check_isolation(Host(sandbox, Cgroups(), server), isolation)
    assert caught.value.reason == reason


def test_limits_that_no_control_group_holds_are_those_of_each_process() -> None:
    limits = Limits(max_memory_bytes=1 << 30, max_processes=100, max_open_files=64, max_cpu_time=timedelta(minutes=1))
    in_groups = resource_limits(limits, memory_in_group=True, processes_in_group=True)
    assert in_groups == {"RLIMIT_FSIZE": 32 << 30, "RLIMIT_CORE": 0, "RLIMIT_NOFILE": 64, "RLIMIT_CPU": 60}
    alone = resource_limits(limits, memory_in_group=False, processes_in_group=False)
    assert alone == {**in_groups, "RLIMIT_DATA": 1 << 30, "RLIMIT_NPROC": 100}
    assert set(resource_limits(Limits(), memory_in_group=False, processes_in_group=False)) == {
        "RLIMIT_FSIZE",
        "RLIMIT_CORE",
    }


def test_limits_at_their_ends_are_allowed_and_beyond_them_not() -> None:
    assert not list(check_limits(Limits(16 << 20, 8, 1 << 20, 16, timedelta(seconds=1))))
    assert len(list(check_limits(Limits((16 << 20) - 1, 7, (1 << 20) - 1, 15, timedelta(0))))) == 5


def test_variables_that_lead_to_read_only_caches_are_left_out_in_the_sandbox() -> None:
    given = {"PATH": "/bin", "HOME": "/home/user", "TMPDIR": "/scratch", "XDG_CACHE_HOME": "/cache", "CARGO_HOME": "/c"}
    home = Host(WORKS, Cgroups(), home=Path("/home/user"))
    assert confined_environment(home, given) == {"PATH": "/bin", "HOME": "/home/user"}
    assert confined_environment(Host(WORKS, Cgroups()), given)["HOME"] == "/tmp"


def _second_version(root: Path, controllers: str, own: str = "/user") -> Path:
    (root / own.lstrip("/") / "autopack").mkdir(parents=True)
    (root / "cgroup.controllers").write_text(controllers)
    for group in (root / own.lstrip("/"), root / own.lstrip("/") / "autopack"):
        (group / "cgroup.controllers").write_text(controllers)
        (group / "cgroup.subtree_control").write_text(controllers)
        (group / "cgroup.procs").write_text("")
    table = root / "table"
    table.write_text(f"0::{own}\n")
    return table


def test_control_groups_of_version_2_are_found_where_they_were_handed_to_us(tmp_path: Path) -> None:
    table = _second_version(tmp_path, "cpu memory pids")
    found = probe(tmp_path, table)
    assert (found.version, found.memory, found.processes) == (2, tmp_path / "user/autopack", tmp_path / "user/autopack")
    assert found.problem == ""
    ((group, files),) = found.groups(Limits(max_memory_bytes=1 << 30, max_processes=50), sandboxed=True).items()
    assert Path(group).parent == tmp_path / "user/autopack"
    assert files == {"memory.max": str(1 << 30), "pids.max": "53"}


def test_a_controller_that_is_missing_is_told(tmp_path: Path) -> None:
    table = _second_version(tmp_path, "pids")
    found = probe(tmp_path, table)
    assert (found.version, found.memory, found.processes) == (2, None, tmp_path / "user/autopack")
    assert "memory cannot be used" in found.problem
    assert "Delegate=yes" in found.problem


def test_a_host_without_control_groups_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "table").write_text("0::/user\n")
    assert "Delegate=yes" in probe(tmp_path, tmp_path / "table").problem
    assert "no control groups" in probe(tmp_path, tmp_path / "nothing").problem
