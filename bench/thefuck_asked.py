"""Asks thefuck for corrections. Runs with the Python of an environment that has it; nothing of Autopack is there.

Lines of JSON on the standard input: ``{"script": ..., "output": ...}``; on the standard output one for each:
``{"offer": the first correction or null, "ms": how long that took, "late": whether it was given up}``.
Its argument is the seconds that one answer may take. No program is started and no connection made, whatever a rule
wants: a rule that cannot do without has no correction.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
from typing import Any

REFUSED = ("subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.system", "pty.", "socket.connect")


class Late(BaseException):
    """The time is over; no ``Exception``, for thefuck takes those of its rules as no match."""


def refuse(event: str, _: tuple[Any, ...]) -> None:
    """Lets nothing be run."""
    if event.startswith(REFUSED):
        raise PermissionError(event)


def give_up(*_: object) -> None:
    """Ends a case."""
    raise Late


def ask(get: Any, command: Any, seconds: float) -> dict[str, Any]:
    """The first correction, which is the one that a person is shown."""
    started = time.perf_counter()
    is_late = False
    offer = None
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        first = next(iter(get(command)), None)
        offer = None if first is None else str(first.script)
    except Late:
        is_late = True
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return {"offer": offer, "ms": 1e3 * (time.perf_counter() - started), "late": is_late}


def main() -> None:
    """Answers all."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what its rules print is no answer
    importlib.import_module("thefuck.conf").settings.init()
    corrector: Any = importlib.import_module("thefuck.corrector")
    types: Any = importlib.import_module("thefuck.types")
    sys.addaudithook(refuse)
    # Its rules are loaded once, not for every command as its own program must.
    rules = corrector.get_rules()
    corrector.get_rules = lambda: rules
    own = types.Rule.get_corrected_commands

    def without_errors(rule: Any, command: Any) -> Any:
        try:
            yield from own(rule, command)
        except Exception:
            # What ends its program ends this rule alone here.
            return

    types.Rule.get_corrected_commands = without_errors
    signal.signal(signal.SIGALRM, give_up)
    for line in sys.stdin:
        case = json.loads(line)
        found = ask(corrector.get_corrected_commands, types.Command(case["script"], case["output"]), float(sys.argv[1]))
        print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    main()
