"""Refuse text that must not be committed: paths of someone's machine, and where packages were downloaded from.

``python tools/check_text.py [FILE...]`` checks the files, by default all that git knows. Test data may hold such text,
because logs and lock files from outside do; pins may hold no address at all.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Larger files are data, not text of ours.
MAX_BYTES = 2_000_000

RULES = (
    ("a path of someone's machine", re.compile(r"(?<![\w.$}-])/(?:home|Users|root)/[\w.-]+")),
    ("a package index", re.compile(r"\b(?:pypi|pythonhosted|npmjs|crates)\.(?:org|com|io)\b")),
    ("a package index", re.compile(r"--(?:extra-)?index-url|\b_authToken\b")),
)
ANY_ADDRESS = ("an address; pins hold names, versions and hashes", re.compile(r"://|^-(?!-hash)", re.MULTILINE))
PINS = ("constraints.txt", "deploy/docker/requirements.txt")
# Text from outside, kept as it came, and this file, which has to name what it refuses.
EXEMPT = re.compile(r"^(tests/|tools/check_text\.py$|LICENSE$)|/data/")
# The words that no mitigation may contain: these two, and nothing else that the rules refuse.
REFUSED_WORDS = {"kit/autopack_kit/safe_actions.py": frozenset({"--index-url", "--extra-index-url"})}


def tracked() -> list[str]:
    """The files that git knows, and those that it would add."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [name for name in listed.stdout.split("\0") if name]


def faults(name: str) -> list[str]:
    """What is wrong with one file, as lines for a person."""
    path = ROOT / name
    if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_BYTES:
        return []
    text = path.read_bytes().decode("utf-8", "replace")
    rules = [ANY_ADDRESS] if name in PINS else [] if EXEMPT.search(name) else list(RULES)
    # No exemption for the place where this very copy of the project stands.
    here = (("the path of this checkout", re.compile(re.escape(str(ROOT)) + r"\b")),) if len(ROOT.parts) > 2 else ()
    return [
        f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {what}: {match.group()!r}"
        for what, pattern in (*rules, *here)
        for match in pattern.finditer(text)
        if match.group() not in REFUSED_WORDS.get(name, ())
    ]


def main() -> int:
    """Check and report."""
    found = [fault for name in sys.argv[1:] or tracked() for fault in faults(name)]
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
