"""Virtual environments in a tenth of the time: pip is unpacked from the interpreter's own wheel instead of installed.

``python -m venv`` spends some 5 s of its 6 on running pip to install pip. The wheels that it would install
(:mod:`ensurepip`) are plain archives, so unpacking them gives the same environment.
"""

from __future__ import annotations

import ensurepip
import os
import zipfile
from pathlib import Path

__all__ = ["bundled_wheels", "unpack"]

_SCRIPT = """#!{python}
import sys
from pip._internal.cli.main import main
sys.exit(main())
"""
_LONGEST_SHEBANG = 127  # bytes that every Linux kernel reads of a script's first line


def bundled_wheels() -> tuple[Path, ...]:
    """The interpreter's own wheels of pip and its companions; empty where a distribution keeps them elsewhere."""
    found = sorted((Path(ensurepip.__file__).parent / "_bundled").glob("*.whl"))
    return tuple(found) if any(path.name.startswith("pip-") for path in found) else ()


def unpack(virtualenv: Path, wheels: tuple[Path, ...]) -> None:
    """Put ``wheels`` and the command ``pip`` into an environment that was made without pip. Blocks, about 0.3 s."""
    packages = next(virtualenv.glob("lib/python*/site-packages"))
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(packages)
    python = virtualenv / "bin" / "python"
    text = _SCRIPT.format(python=python)
    if len(os.fsencode(python)) + 3 > _LONGEST_SHEBANG or " " in str(python):
        text = f"#!/bin/sh\n'''exec' \"{python}\" \"$0\" \"$@\"\n' '''" + text[text.index("\n") :]
    for name in ("pip", "pip3"):
        script = virtualenv / "bin" / name
        script.write_text(text)
        script.chmod(0o755)
