"""What another process of the same user can read of a server."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

NOBODY = 65534

# After setuid the kernel has closed the process already: opened again, so that the test sees what we do about it.
SERVER = """
import ctypes, os, sys
from autopack_kit.process import protect_memory
if os.getuid() == 0:
    os.setuid({nobody})
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
if {protect}:
    protect_memory()
print("ready", flush=True)
sys.stdin.read()
"""
READER = """
import os
if os.getuid() == 0:
    os.setuid({nobody})
for name in ("environ", "mem", "maps"):
    try:
        with open("/proc/{pid}/" + name, "rb") as file:
            print(name, "mem" in name or b"CANARY" in file.read(100000) or name == "maps")
    except PermissionError:
        print(name, "refused")
try:
    print("fd", bool(os.listdir("/proc/{pid}/fd")))
except PermissionError:
    print("fd refused")
"""


@pytest.mark.parametrize(("protect", "expected"), [(False, "environ True"), (True, "environ refused")])
def test_another_process_of_the_user_reads_nothing_of_a_protected_one(protect: bool, expected: str) -> None:
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER.format(protect=protect, nobody=NOBODY)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "SECRET": "CANARY"},
    )
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        reader = [sys.executable, "-c", READER.format(pid=server.pid, nobody=NOBODY)]
        said = subprocess.run(reader, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()
    finally:
        server.kill()
        server.communicate()
    assert expected in said
    if protect:
        assert said == ["environ refused", "mem refused", "maps refused", "fd refused"]
