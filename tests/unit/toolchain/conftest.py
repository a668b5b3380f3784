"""Trees from plain mappings: detection is pure, so that a test needs no disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from autopack_toolchain import Detection, SnapshotFile, SnapshotTree, detect_tree

Files = Mapping[str, str | bytes]


@pytest.fixture
def detect_files() -> Callable[..., Detection]:
    """Detection of files given as path -> content; paths in ``executable`` have the execute bit."""

    def detect(files: Files, executable: frozenset[str] = frozenset()) -> Detection:
        held = []
        for path, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            held.append(SnapshotFile(path, len(data), 0o100755 if path in executable else 0o100644, data))
        return detect_tree(SnapshotTree(held))

    return detect
