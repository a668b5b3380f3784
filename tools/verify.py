"""Run every check of the project that is not a test: ``make verify``.

All steps run, two at a time; each prints one line with its time, and the last lines of its output where it failed.
Exits 1 if any failed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent

# Of a failed step: enough for the whole message of one fault, little enough to find it.
SHOWN_LINES = 40
# The longest step, mypy without a cache, takes about a minute: more than this is a hang.
STEP_SECONDS = 600
WORKERS = 2


@dataclass(frozen=True, slots=True)
class Step:
    """One check: exit code 0 means that all is well."""

    name: str
    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """How a check ended."""

    step: Step
    ok: bool
    seconds: float
    output: str


def steps() -> list[Step]:
    """Every check, the slowest first so that the others run beside it."""
    python = sys.executable
    return [
        Step("mypy --strict", ("mypy",)),
        Step("documents: commands and links", (python, "tools/check_readme.py")),
        Step("ruff check", ("ruff", "check", ".")),
        Step("ruff format", ("ruff", "format", "--check", ".")),
        Step("buf lint", ("buf", "lint")),
        Step("buf format", ("buf", "format", "--diff", "--exit-code")),
        breaking(),
        Step("stubs are those of the contracts", (python, "tools/generate.py", "--check")),
        Step("pins match pyproject.toml", (python, "tools/check_pins.py")),
        Step("forbidden text", (python, "tools/check_text.py")),
        Step("hadolint", ("hadolint", "--config", ".hadolint.yaml", "deploy/docker/Dockerfile")),
        Step("docker-compose: valid, every service", (python, "tools/check_compose.py")),
    ]


def breaking() -> Step:
    """The contracts against those of the last release; without a release there is nothing to break."""
    found = subprocess.run(
        ["git", "describe", "--tags", "--abbrev=0", "--match", "v[0-9]*"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    tag = found.stdout.strip()
    if found.returncode != 0:
        return Step("buf breaking: no release tag yet, nothing to compare with", ("true",))
    return Step(f"buf breaking against {tag}", ("buf", "breaking", "--against", f".git#tag={tag}"))


def run(step: Step) -> Result:
    """Run one check from the root of the project, with the tools of the environment that runs this file."""
    start = time.monotonic()
    environ = {**os.environ, "PATH": os.pathsep.join([str(BIN), os.environ["PATH"]])}
    try:
        done = subprocess.run(
            step.argv, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", timeout=STEP_SECONDS, check=False,
        )  # fmt: skip
        ok, output = done.returncode == 0, done.stdout
    except subprocess.TimeoutExpired:
        ok, output = False, f"it did not end within {STEP_SECONDS} s"
    except OSError as error:
        ok, output = False, f"it could not be started: {error}; run `make verify`, which installs it"
    return Result(step, ok, time.monotonic() - start, output)


def main() -> int:
    """Run all and report."""
    start = time.monotonic()
    failed = 0
    with ThreadPoolExecutor(WORKERS) as pool:
        for future in as_completed([pool.submit(run, step) for step in steps()]):
            result = future.result()
            print(f"{'ok    ' if result.ok else 'FAILED'} {result.seconds:5.1f} s  {result.step.name}", flush=True)
            if not result.ok:
                failed += 1
                lines = result.output.rstrip().splitlines()
                print("\n".join(f"    {line}" for line in lines[-SHOWN_LINES:]), flush=True)
    print(f"{failed} failed" if failed else "all checks passed", f"in {time.monotonic() - start:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
