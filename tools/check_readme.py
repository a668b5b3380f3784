"""Run the commands that the documents show, and follow their links.

In a block fenced as ``console`` or ``sh``, the lines that begin with ``$ `` are commands; the rest is what they print.
The commands of one block run in one shell, in a fresh clone of the project, with a home of their own. The word
``no-run`` after the language leaves a block out. A block fenced as ``python`` is run as a file.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
# Those of the clients have tests of their own, beside a server that they call.
DOCUMENTS = ("*.md", "docs/**/*.md", "services/*/README.md", "examples/*.md")

# What a document shows a newcomer ends in seconds; more is a command that waits for something.
BLOCK_SECONDS = 120
SKIP = "no-run"
FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]\n]*\]\((?P<target>[^)\s]+)\)")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block that is to be run."""

    place: str
    argv: tuple[str, ...]
    text: str


def documents() -> list[Path]:
    """Every document of the project that a person reads."""
    return sorted(path for pattern in DOCUMENTS for path in ROOT.glob(pattern) if path.is_file())


def blocks(path: Path) -> Iterator[Block]:
    """The blocks of one document that are to be run."""
    text = path.read_text()
    for match in FENCE.finditer(text):
        language, *words = match["info"].split() or [""]
        if SKIP in words:
            continue
        place = f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1}"
        if language in {"console", "sh"} and (commands := typed(match["body"])):
            yield Block(place, ("bash", "-euo", "pipefail", "-c"), commands)
        elif language == "python":
            yield Block(place, (str(BIN / "python"), "-c"), match["body"])


def typed(body: str) -> str:
    """What a person types: the lines behind ``$ `` and their continuations."""
    lines: list[str] = []
    goes_on = False
    for line in body.splitlines():
        if goes_on or line.startswith("$ "):
            lines.append(line if goes_on else line[2:])
            goes_on = line.endswith("\\")
    return "\n".join(lines)


def broken_links(path: Path) -> list[str]:
    """Links to files that are not there; addresses elsewhere are not looked at."""
    text = FENCE.sub("", path.read_text())
    targets = (match["target"].partition("#")[0] for match in LINK.finditer(text))
    return [
        f"{path.relative_to(ROOT)}: there is no {target}"
        for target in targets
        if target and "://" not in target and not target.startswith("mailto:") and not (path.parent / target).exists()
    ]


def run(block: Block, scratch: Path, checkout: Path) -> str:
    """What went wrong, empty if nothing did."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AUTOPACK_")}
    environ = kept | {
        "PATH": os.pathsep.join([str(BIN), os.environ["PATH"]]),
        "HOME": str(scratch / "home"),
        "XDG_DATA_HOME": str(scratch / "data"),
        "NO_COLOR": "1",
    }
    try:
        done = subprocess.run(
            [*block.argv, block.text], cwd=checkout, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", timeout=BLOCK_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"{block.place}: it did not end within {BLOCK_SECONDS} s"
    if done.returncode == 0:
        return ""
    return f"{block.place}: exit code {done.returncode}\n{block.text.rstrip()}\n{done.stdout.rstrip()}"


def main() -> int:
    """Check and report."""
    paths = documents()
    failures = [fault for path in paths for fault in broken_links(path)]
    count = 0
    with tempfile.TemporaryDirectory(prefix="autopack-docs-") as name:
        scratch = Path(name)
        (scratch / "home").mkdir()
        checkout = scratch / "autopack"
        subprocess.run(["git", "clone", "--quiet", "--shared", str(ROOT), str(checkout)], check=True)
        for block in (block for path in paths for block in blocks(path)):
            count += 1
            if failure := run(block, scratch, checkout):
                failures.append(failure)
    print("\n".join([*failures, f"{count} blocks ran, {len(paths)} documents read, {len(failures)} failures"]))
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
