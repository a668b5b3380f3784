"""Starts children that leave its session, ignore SIGTERM and forget where they came from, and then hangs."""

import os
import signal
import subprocess
import sys
import time

CHILD = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('child', flush=True); time.sleep(3600)"
)


def daemon() -> None:
    """A grandchild whose parent is gone, in a session and a directory of its own."""
    if os.fork():
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    os.chdir("/")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(3600)
    os._exit(0)


children = [
    subprocess.Popen([sys.executable, "-c", CHILD], start_new_session=True, stdout=subprocess.PIPE, text=True)
    for _ in range(2)
]
for child in children:
    assert child.stdout is not None
    child.stdout.readline()
daemon()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("started 3 children that left the session; hanging", flush=True)
time.sleep(3600)
