"""The first values of a process may be read by several threads at once."""

from __future__ import annotations

import subprocess
import sys

# A process of its own each time: only the first use of a type in a process builds its description.
PROGRAM = """
import sys, threading
from autopack_kit.commands import Command
from autopack_orchestrator.core import codec
from autopack_orchestrator.core.model import Intention, RunResult, RunSpec, StepOutcome, StepResult

sys.setswitchinterval(1e-6)
spec = RunSpec("a", Intention("b"), command=Command.of("x"))
result = RunResult(steps=(StepResult(Command.of("x"), StepOutcome.PASSED),))
texts = [(codec.dumps(spec), RunSpec, spec), (codec.dumps(result), RunResult, result)]
together = threading.Barrier(8)
wrong = []

def read():
    together.wait()
    for _ in range(20):
        wrong.extend(1 for text, kind, value in texts if codec.loads(text, kind) != value)

threads = [threading.Thread(target=read) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
sys.exit(len(wrong))
"""


def test_threads_that_read_the_first_values_at_once_do_not_crash() -> None:
    # Without the lock about every second process crashed.
    codes = [subprocess.run([sys.executable, "-c", PROGRAM], check=False).returncode for _ in range(6)]
    assert codes == [0] * 6
