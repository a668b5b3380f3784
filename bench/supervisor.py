"""What one supervised run costs beside ``xargs -P``, which starts the same command without any guarantee.

The command is ``true``: everything measured is the starting, watching and cleaning up.
"""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from autopack_orchestrator.adapters.sandbox import Sandbox, View, home_rules, prepare_home, probe, words
from autopack_orchestrator.adapters.supervisor import ExecutionSpec, execution_dir, start

__all__ = ["run"]

RUNS = 64
CONCURRENCY = 8
Row = tuple[str, float, str, str]


def _children_cpu_ms() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (usage.ru_utime + usage.ru_stime) * 1000


def _own_cpu_ms() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return (usage.ru_utime + usage.ru_stime) * 1000


async def _supervised(root: Path, sandbox: Sandbox | None = None) -> None:
    root.mkdir()
    (root / "tmp").mkdir()
    home = Path.home()
    slots = asyncio.Semaphore(CONCURRENCY)
    true = shutil.which("true") or "/bin/true"

    async def one(number: int) -> None:
        run_dir = root / str(number)
        options: tuple[str, ...] = ()
        if sandbox is not None:
            mounts = tuple(prepare_home(home, run_dir / "home", root / "caches", home_rules()))
            view = View(root, root / "tmp", mounts, hidden=(), readable=(), git=None)
            options = words(sandbox, view, root)
        log = root / f"{number}.log"
        spec = ExecutionSpec((true,), root, {"PATH": os.defpath}, log, run_dir, timeout_s=60, sandbox=options)
        async with slots:
            outcome = await (await start(execution_dir(run_dir, 1, "true"), spec)).wait()
        assert outcome.ok, outcome

    async with asyncio.TaskGroup() as group:
        for number in range(RUNS):
            group.create_task(one(number))


def _inside(directory: Path) -> list[Row]:
    """The same in the sandbox, as whole runs have it: with a private home directory."""
    sandbox = probe()
    if not sandbox.available:
        return []
    asyncio.run(_supervised(directory / "inside-warm-up", sandbox))
    cpu, wall = _children_cpu_ms(), time.perf_counter()
    asyncio.run(_supervised(directory / "inside", sandbox))
    cpu, wall = _children_cpu_ms() - cpu, time.perf_counter() - wall
    note = f"{RUNS} x true, {CONCURRENCY} at once"
    return [
        ("supervised run in the sandbox: CPU", cpu / RUNS, "ms", f"{note}; target <= 40"),
        ("supervised runs in the sandbox", RUNS / wall, "1/s", f"{note}; own process namespace and home"),
    ]


def run() -> list[Row]:
    """Rows of (name, value, unit, note)."""
    note = f"{RUNS} x true, {CONCURRENCY} at once"
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_supervised(Path(directory) / "warm-up"))
        cpu, own, wall = _children_cpu_ms(), _own_cpu_ms(), time.perf_counter()
        asyncio.run(_supervised(Path(directory) / "measured"))
        wall = time.perf_counter() - wall
        cpu, own = _children_cpu_ms() - cpu, _own_cpu_ms() - own
        inside = _inside(Path(directory))
    before, begun = _children_cpu_ms(), time.perf_counter()
    words = b"\n".join(b"x" for _ in range(RUNS))
    subprocess.run(["xargs", "-P", str(CONCURRENCY), "-n", "1", "true"], input=words, check=True)
    xargs_wall, xargs_cpu = time.perf_counter() - begun, _children_cpu_ms() - before
    return [
        *inside,
        ("supervised run: CPU of supervisor and command", cpu / RUNS, "ms", f"{note}; target <= 40"),
        ("supervised run: CPU of the orchestrator", own / RUNS, "ms", note),
        ("supervised runs", RUNS / wall, "1/s", note),
        ("xargs -P: CPU per run", xargs_cpu / RUNS, "ms", f"{note}; no timeout, no log, leaves processes behind"),
        ("xargs -P", RUNS / xargs_wall, "1/s", note),
    ]


if __name__ == "__main__":
    for row in run():
        print("{:<50} {:>10.1f} {:<4} {}".format(*row))
