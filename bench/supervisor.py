"""What supervised runs cost beside other ways to start the same command many times, 8 and 32 at once.

The command is ``true``: everything measured is the starting, watching and cleaning up. The others guarantee nothing: no
timeout, no log, no result that outlives them, and what the command leaves behind stays.
"""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from autopack_orchestrator.adapters.supervisor import ExecutionSpec, execution_dir, start

__all__ = ["run"]

RUNS = 96
CONCURRENCY = (8, 32)
Row = tuple[str, float, str, str]
TRUE = shutil.which("true") or "/bin/true"


async def _supervised(root: Path, at_once: int) -> None:
    root.mkdir()
    slots = asyncio.Semaphore(at_once)

    async def one(number: int) -> None:
        run_dir = root / str(number)
        spec = ExecutionSpec((TRUE,), root, {"PATH": os.defpath}, root / f"{number}.log", run_dir, timeout_s=60)
        async with slots:
            outcome = await (await start(execution_dir(run_dir, 1, "true"), spec)).wait()
        assert outcome.ok, outcome

    async with asyncio.TaskGroup() as group:
        for number in range(RUNS):
            group.create_task(one(number))


async def _plain(at_once: int) -> None:
    slots = asyncio.Semaphore(at_once)

    async def one() -> None:
        async with slots:
            assert await (await asyncio.create_subprocess_exec(TRUE)).wait() == 0

    async with asyncio.TaskGroup() as group:
        for _ in range(RUNS):
            group.create_task(one())


def _program(*words: str) -> None:
    subprocess.run(words, input=b"x\n" * RUNS, check=True)


def _measure(work: Callable[[], None]) -> tuple[float, float, float]:
    """Milliseconds of CPU per run in children and in this process, and runs per second."""

    def cpu(who: int) -> float:
        usage = resource.getrusage(who)
        return (usage.ru_utime + usage.ru_stime) * 1000

    children, own, begun = cpu(resource.RUSAGE_CHILDREN), cpu(resource.RUSAGE_SELF), time.perf_counter()
    work()
    seconds = time.perf_counter() - begun
    return (
        (cpu(resource.RUSAGE_CHILDREN) - children) / RUNS,
        (cpu(resource.RUSAGE_SELF) - own) / RUNS,
        RUNS / seconds,
    )


def _compare(directory: Path, at_once: int) -> list[Row]:
    note = f"{RUNS} x true, {at_once} at once"
    asyncio.run(_supervised(directory / f"warm-up-{at_once}", at_once))
    cpu, own, rate = _measure(lambda: asyncio.run(_supervised(directory / f"measured-{at_once}", at_once)))
    others: list[tuple[str, Callable[[], None]]] = [
        ("xargs -P", lambda: _program("xargs", "-P", str(at_once), "-n", "1", TRUE)),
        ("plain asyncio", lambda: asyncio.run(_plain(at_once))),
    ]
    if parallel := _gnu_parallel():
        others.append(("GNU parallel", lambda: _program(parallel, "-j", str(at_once), TRUE)))
    rows = [
        ("supervised run: CPU of supervisor and command", cpu, "ms", f"{note}; target <= 40"),
        ("supervised run: CPU of the orchestrator", own, "ms", note),
        ("supervised runs", rate, "1/s", note),
    ]
    for name, work in others:
        other_cpu, other_own, other_rate = _measure(work)
        rows.append((f"{name}: CPU per run", other_cpu + other_own, "ms", f"{note}; no timeout, no log"))
        rows.append((name, other_rate, "1/s", note))
    return rows


def _gnu_parallel() -> str:
    """Its path; "" if it is not installed. Another program of moreutils has the same name."""
    found = shutil.which("parallel")
    if found is None:
        return ""
    version = subprocess.run([found, "--version"], capture_output=True, check=False)
    return found if b"GNU parallel" in version.stdout else ""


def run() -> list[Row]:
    """Rows of (name, value, unit, note)."""
    with tempfile.TemporaryDirectory() as directory:
        rows = [row for at_once in CONCURRENCY for row in _compare(Path(directory), at_once)]
    if not _gnu_parallel():
        print("GNU parallel is not installed (apt install parallel): it is not measured", file=sys.stderr)
    return rows


if __name__ == "__main__":
    for row in run():
        print("{:<50} {:>10.1f} {:<4} {}".format(*row))
