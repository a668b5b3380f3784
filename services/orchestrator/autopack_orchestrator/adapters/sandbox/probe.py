"""Whether bubblewrap works on this host, found out by running it: being installed means nothing inside a container, or
where the kernel or its policy refuses namespaces."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

__all__ = ["INSTALL", "Sandbox", "probe"]

PROBE_TIMEOUT_S = 20.0  # milliseconds where it works; a host that swaps takes its time
MAX_WORDS = 300
INSTALL = (
    "Install bubblewrap (Debian and Ubuntu: apt install bubblewrap; Fedora: dnf install bubblewrap; Alpine: apk add "
    "bubblewrap) and allow it to make namespaces: in a container that takes --security-opt seccomp=unconfined or "
    "CAP_SYS_ADMIN, on Ubuntu 24.04 an AppArmor profile for bwrap."
)
#: What root keeps in the sandbox: package managers that run as root give files away and read those of others. Nothing
#: that mounts, traces, loads or configures: with that, root would undo the sandbox from inside.
ROOT_CAPABILITIES = ("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_SETGID", "CAP_SETUID")
_NAMESPACES = ("--die-with-parent", "--new-session", "--unshare-pid", "--unshare-ipc")
_VERSION = re.compile(r"\d+(?:\.\d+){0,3}")
# Succeeds only where the hidden file is hidden, the host cannot be written, and this is a process namespace of its own.
_CHECK = 'test ! -e "$1/hidden/canary" && ! (: >"$1/canary") 2>/dev/null && test "$$" -le 9'


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What was found out.

    Attributes:
        program: of bubblewrap; empty if there is none.
        options: with which it works here.
        problem: why it does not; empty if it does.
    """

    program: str = ""
    version: str = ""
    options: tuple[str, ...] = ()
    network_off: bool = False
    problem: str = ""

    @property
    def available(self) -> bool:
        """Commands can run in it."""
        return not self.problem


def probe(path: str | None = None) -> Sandbox:
    """Try bubblewrap in the ways that may work. Blocks; bounded."""
    program = shutil.which("bwrap", path=path)
    if program is None:
        return Sandbox(problem=f"bubblewrap (bwrap) is not installed. {INSTALL}")
    found = _run([program, "--version"])
    version = _VERSION.search(found[1])
    known = Sandbox(os.path.abspath(program), version[0] if version else "")
    said = ""
    for options in _variants():
        works, said = _try(known.program, options)
        if works:
            return Sandbox(
                known.program, known.version, options, network_off=_try(known.program, (*options, "--unshare-net"))[0]
            )
    return Sandbox(known.program, known.version, problem=f"bubblewrap does not work here: {said}. {INSTALL}")


def _variants() -> tuple[tuple[str, ...], ...]:
    if os.geteuid() != 0:
        return ((*_NAMESPACES, "--unshare-user"),)
    drop = ("--cap-drop", "ALL")
    keep = tuple(word for capability in ROOT_CAPABILITIES for word in ("--cap-add", capability))
    return (*_NAMESPACES, *drop, *keep), (*_NAMESPACES, "--unshare-user", *drop)


def _try(program: str, options: tuple[str, ...]) -> tuple[bool, str]:
    with tempfile.TemporaryDirectory(prefix="autopack-probe-") as directory:
        hidden = Path(directory) / "hidden"
        hidden.mkdir()
        (hidden / "canary").touch()
        mounts = ("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", str(hidden))
        code, said = _run([program, *options, *mounts, "--", "/bin/sh", "-c", _CHECK, "sh", directory])
    return code == 0, said or "what it should hide can be seen"


def _run(argv: list[str]) -> tuple[int, str]:
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PROBE_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, str(error)[:MAX_WORDS]
    return done.returncode, done.stdout[:MAX_WORDS].decode(errors="replace").strip().rstrip(".")
