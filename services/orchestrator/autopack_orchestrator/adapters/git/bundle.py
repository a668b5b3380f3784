"""Git bundles from outside: are they whole, and what is in them."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from autopack_kit.errors import InvalidArgument

from .command import run_git
from .origin import Origin
from .remotes import parse_refs

__all__ = ["bundle_origin", "bundle_refs", "check_bundle"]

MAX_HEADER = 64 << 10
MAX_REFS = 1000  # told to the sender
VERIFY_TIMEOUT_S = 600.0


async def check_bundle(file: Path) -> dict[str, str]:
    """The references in a bundle, the first 1,000.

    Raises:
        InvalidArgument: BUNDLE_INVALID, it is none, or needs commits or files that it lacks.
    """
    header = await asyncio.to_thread(_header, file)
    if not header.startswith((b"# v2 git bundle\n", b"# v3 git bundle\n")):
        raise _invalid("It is not a git bundle.")
    if b"\n@filter=" in header.partition(b"\n\n")[0]:
        raise _invalid("It lacks files: it was made with a filter.")
    object_format = "sha256" if b"\n@object-format=sha256\n" in header.partition(b"\n\n")[0] else "sha1"
    with tempfile.TemporaryDirectory(dir=file.parent, prefix="verify-") as scratch:
        empty = Path(scratch) / "empty"
        await run_git("init", "--quiet", "--bare", "--template=", f"--object-format={object_format}", str(empty))
        verified = await run_git(
            *("bundle", "verify", "--quiet", str(file)), git_dir=empty, check=False, timeout_s=VERIFY_TIMEOUT_S
        )
        if verified.returncode != 0:
            raise _invalid(f"git bundle verify: {verified.error}")
        # It looks at the header alone: whether the objects are whole shows when they are read.
        unpacked = await run_git(
            *("bundle", "unbundle", str(file)), git_dir=empty, check=False, timeout_s=VERIFY_TIMEOUT_S
        )
        if unpacked.returncode != 0:
            raise _invalid(f"Its objects cannot be read: {unpacked.error}")
    refs = await bundle_refs(file)
    if not refs:
        raise _invalid("There is no branch or tag in it.")
    return dict(list(refs.items())[:MAX_REFS])


async def bundle_refs(file: Path) -> dict[str, str]:
    """Every reference in a bundle, by its full name."""
    return parse_refs((await run_git("bundle", "list-heads", str(file))).stdout)


def bundle_origin(file: Path, tenant: str) -> Origin:
    """A bundle as mirrors take it: one mirror per tenant and content."""
    identity = "\0".join(("upload", tenant, file.stem)).encode()
    return Origin(identity, str(file), {"GIT_ALLOW_PROTOCOL": "file"})


def _header(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(MAX_HEADER)


def _invalid(message: str) -> InvalidArgument:
    return InvalidArgument(
        message,
        reason="BUNDLE_INVALID",
        remedy="Make it of a complete repository (not a shallow or partial clone): git bundle create FILE HEAD main",
    )
