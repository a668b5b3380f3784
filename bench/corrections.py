"""thefuck, as it installs, in an environment of its own, on the same outputs: what it offers, and how fast."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Answer", "ask", "is_right_kind"]

# setuptools, for what of the standard library it needs that newer versions of Python do not have.
PACKAGES = ("thefuck==3.32", "setuptools<81")
INSTALL_SECONDS = 180.0
CASE_SECONDS = 2.0
"""Time for one answer. On some tens of kilobytes one of its rules takes longer, a quadratic expression."""
ALL_SECONDS = 900.0
WEAKENING = frozenset(["sudo", "--force", "-f", "--no-verify", "-D", "--hard"])
"""What a correction must not add to be of the right kind: more rights, and checks that are left out."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What it says of one command.

    Attributes:
        offer: the first correction; None = none.
        ms: milliseconds until then.
        late: it was given up after ``CASE_SECONDS``.
    """

    offer: str | None
    ms: float
    late: bool


def ask(cases: Sequence[tuple[str, str]]) -> list[Answer]:
    """Its answers for commands and their outputs.

    Raises:
        RuntimeError: it cannot be installed here, or does not run; says why.
    """
    with tempfile.TemporaryDirectory(prefix="thefuck-") as directory:
        python = Path(directory) / "venv/bin/python"
        home = Path(directory) / "home"
        home.mkdir()
        lines = "".join(json.dumps({"script": script, "output": output}) + "\n" for script, output in cases)
        environment = {"PATH": os.environ["PATH"], "HOME": str(home), "TF_SHELL": "bash", "LANG": "C.UTF-8"}
        # -P: nothing of this directory is imported there.
        asking = [str(python), "-P", str(Path(__file__).with_name("thefuck_asked.py")), str(CASE_SECONDS)]
        try:
            subprocess.run([sys.executable, "-m", "venv", python.parent.parent], check=True, timeout=INSTALL_SECONDS)
            subprocess.run(
                [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *PACKAGES],
                check=True,
                capture_output=True,
                text=True,
                timeout=INSTALL_SECONDS,
            )
            done = subprocess.run(
                asking,
                input=lines,
                check=True,
                capture_output=True,
                text=True,
                encoding="utf-8",
                cwd=home,
                env=environment,
                timeout=ALL_SECONDS,
            )
        except subprocess.CalledProcessError as error:
            raise RuntimeError((error.stderr or "").strip()[-500:] or str(error)) from error
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(str(error)) from error
    return [Answer(**json.loads(line)) for line in done.stdout.splitlines()]


def is_right_kind(script: str, offer: str, action: str) -> bool:
    """Whether a correction does what the label's mitigation (``action`` of the taxonomy) does, as far as a line tells.

    Told in its favour: only the kind is compared, not the names in it, so that installing anything is right where
    something declared must be installed; and where the taxonomy has advice alone, any correction is right that neither
    asks for more rights nor leaves out a check.
    """
    if _added(script, offer) & WEAKENING:
        return False
    kind = _kind(script, offer)
    match action:
        case "suggest":
            return True
        case "run_command" | "regen_lockfile" | "run_formatter" | "provision_browser" | "switch_runtime":
            return kind in ("run_command", "install_declared")
        case "set_env":
            return kind in ("edit_command", "run_command")
        case _:
            return kind == action


def _kind(script: str, offer: str) -> str:
    """What a correction does before the command, or that it changes the command."""
    before, found, after = offer.partition("&&")
    if not found or after.strip() != script.strip():
        return "edit_command"
    words = _words(before)
    if "install" in words:
        return "install_declared"
    return {"cd": "change_cwd", "chmod": "chmod_x"}.get(words[0] if words else "", "run_command")


def _added(script: str, offer: str) -> set[str]:
    return set(_words(offer)) - set(_words(script))


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:
        return line.split()
