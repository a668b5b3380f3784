"""Which programs this machine has."""

from __future__ import annotations

import shutil
from collections.abc import Iterable

__all__ = ["installed"]


def installed(names: Iterable[str]) -> frozenset[str]:
    """Those of the programs that stand on ``PATH`` and may be executed. None is started.

    A name with a slash is a path and never looked for: it would be one of this machine, whatever the repository means.
    """
    return frozenset(name for name in set(names) if name and "/" not in name and shutil.which(name))
