"""The agents that the tests run: the real programs, pinned, each installed once into a directory of its own.

They stand in the environment that runs the tests, so that ``make clean`` removes them, in directories named after their
pins. Installing all takes about a minute and 3 GB; an agent that cannot be installed here is a skipped test.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

__all__ = ["homes", "installed"]

PINS = Path(__file__).parent / "tools"
PLACE = Path(sys.prefix) / "real-agents"
INSTALL_TIMEOUT_S = 900.0  # half a gigabyte each; hang protection
NODE_AGENTS = ("claude", "codex", "gemini")
NEEDED_PYTHON = {"openhands": "3.12"}


def installed(agent: str) -> Path:
    """The directory with the program of an agent. Installs it if no process did before; others wait for it."""
    kind = "node" if agent in NODE_AGENTS else agent
    pins = PINS / ("package.json" if kind == "node" else f"{kind}.txt")
    directory = PLACE / f"{kind}-{hashlib.sha256(pins.read_bytes()).hexdigest()[:12]}"
    PLACE.mkdir(parents=True, exist_ok=True)
    with (PLACE / f"{kind}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / "installed").exists():
            for other in PLACE.glob(f"{kind}-*"):
                shutil.rmtree(other)  # of earlier pins, or half made
            directory.mkdir()
            _install_node(directory) if kind == "node" else _install_python(directory, agent, pins)
            (directory / "installed").touch()
    return directory / ("node_modules/.bin" if kind == "node" else "bin")


def homes() -> Path:
    """Where homes for agents are made: Codex refuses to work from one below the directory for temporary files."""
    directory = PLACE / "homes"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _install_node(directory: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed (Debian: npm)")
    shutil.copy(PINS / "package.json", directory)
    _run("npm", "install", "--no-audit", "--no-fund", "--loglevel=error", cwd=directory)


def _install_python(directory: Path, agent: str, pins: Path) -> None:
    uv = shutil.which("uv", path=f"{sys.prefix}/bin{os.pathsep}{os.environ['PATH']}") or "uv"
    python = sys.executable
    if agent in NEEDED_PYTHON:
        python = _python(uv, NEEDED_PYTHON[agent])
        if not python:
            pytest.skip(f"{agent} needs Python {NEEDED_PYTHON[agent]}, and there is none here")
    _run(uv, "venv", "--quiet", "--allow-existing", "--python", python, ".", cwd=directory)
    _run(uv, "pip", "install", "--quiet", "--python", "bin/python", "-r", str(pins), cwd=directory)


def _python(uv: str, version: str) -> str:
    """An interpreter of this version, on the PATH or among those of pyenv; empty if there is none."""
    words = (uv, "python", "find", "--no-python-downloads", "--no-project", version)
    found = subprocess.run(words, cwd=PLACE, capture_output=True, text=True, check=False)
    if found.returncode == 0:
        return found.stdout.strip()
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    return next((str(path) for path in sorted(versions.glob(f"{version}*/bin/python"))), "")


def _run(*argv: str, cwd: Path) -> None:
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False, timeout=INSTALL_TIMEOUT_S)
    if done.returncode != 0:
        pytest.skip(f"{' '.join(argv[:3])} failed: {(done.stderr or done.stdout).strip()[-300:]}")
