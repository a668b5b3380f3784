"""Records of worktrees on a disk that lost what it had confirmed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog

if TYPE_CHECKING:
    from tests.integration.orchestrator.conftest import World


@pytest.mark.parametrize("content", [b"", b"{\0\0\0", b"[]", b'{"branch": "b"}'])
async def test_a_torn_record_is_set_aside_with_a_warning_and_its_worktree_and_all_others_stay(
    world: World, tmp_path: Path, content: bytes
) -> None:
    mirror = await world.mirrors.ensure(await world.source(), world.head)
    torn, whole = [
        await world.workspaces.create(mirror, world.head, f"autopack/b/{name}", world.worktrees / name, name)
        for name in ("torn", "whole")
    ]
    (torn.path / "work.txt").write_text("not committed")
    torn.record.write_bytes(content)
    with structlog.testing.capture_logs() as logs:
        found = world.workspaces.existing(mirror)
    assert [workspace.run_id for workspace in found] == ["whole"]
    aside = torn.record.with_name("torn.json.torn")
    assert aside.read_bytes() == content
    (warning,) = [entry for entry in logs if entry["event"] == "worktree_record_torn"]
    assert (warning["log_level"], warning["record"]) == ("warning", str(aside))
    assert "'torn'" in warning["remedy"]
    report = await world.workspaces.gc(mirror, [whole.run_id], tmp_path / "harvested", min_age_s=0)
    assert report.removed == ()
    assert (torn.path / "work.txt").read_text() == "not committed"
