"""``python -m bench [NAME...] [--full] [--json]``: run the benchmarks and print one table.

Each module has ``run()``, which gives rows of (what, value, unit, beside): ``beside`` says what the number must be
compared with, measured in the same run or named as a constant.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import os
import platform
import sys
import traceback
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from bench import FULL

Row = tuple[str, float, str, str]

# In the order of the table: what the whole product stands on comes first.
ORDER = (
    "echo", "supervisor", "worktrees", "recovery", "orchestrator_queue", "toolchain", "hardening",
    "drift", "telemetry", "telemetry_load",
    "otlp", "cluster",
)  # fmt: skip
PACKAGES = ("grpcio", "protobuf", "sqlalchemy", "google-re2")
HERE = Path(__file__).resolve().parent


def available() -> list[str]:
    """The benchmarks that exist, in their order."""
    return [name for name in ORDER if (HERE / f"{name}.py").is_file()]


def machine() -> dict[str, str]:
    """What the numbers depend on."""
    load = os.getloadavg()[0]
    facts = {
        "cores": str(len(os.sched_getaffinity(0))),
        "load before": f"{load:.1f}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
    }
    return facts | {name: importlib.metadata.version(name) for name in PACKAGES}


def measure(names: list[str]) -> tuple[dict[str, list[Row]], list[str]]:
    """The rows of each benchmark, and the names of those that did not end well."""
    results: dict[str, list[Row]] = {}
    failed = []
    for name in names:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        try:
            results[name] = list(importlib.import_module(f"bench.{name}").run())
        except Exception:
            # One broken benchmark must not take the numbers of the others with it; the exit code tells.
            traceback.print_exc()
            failed.append(name)
    return results, failed


def table(results: dict[str, list[Row]]) -> Table:
    """All rows for a person."""
    drawn = Table("benchmark", "what", Column("value", justify="right"), "unit", "beside")
    for name, rows in results.items():
        for index, (what, value, unit, beside) in enumerate(rows):
            number = f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
            drawn.add_row("" if index else name, what, number, unit, beside)
        drawn.add_section()
    return drawn


def main() -> int:
    """Measure and print."""
    known = ", ".join(available())
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Autopack beside what it must beat.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these of {known}; default: all")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--full", action="store_true", help="also what takes minutes or gigabytes")
    options = parser.parse_args()
    if options.full:
        os.environ[FULL] = "1"
    if unknown := set(options.names) - set(available()):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are {known}")
    facts = machine()
    results, failed = measure(options.names or available())
    if options.json:
        rows = [
            {"benchmark": name, "what": what, "value": value, "unit": unit, "beside": beside}
            for name, found in results.items()
            for what, value, unit, beside in found
        ]
        print(json.dumps({"machine": facts, "results": rows, "failed": failed}, indent=2))
    else:
        console = Console(width=None if sys.stdout.isatty() else 160)
        console.print(", ".join(f"{name} {value}" for name, value in facts.items()), highlight=False)
        console.print(table(results))
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
