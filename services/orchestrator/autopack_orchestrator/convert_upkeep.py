"""Merges and collected garbage to proto."""

from __future__ import annotations

from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_kit.convert import command_to_proto

from autopack_orchestrator.core.merging import Step
from autopack_orchestrator.core.text import clean
from autopack_orchestrator.execution.merge import Preview

__all__ = ["preview_to_proto"]


def preview_to_proto(preview: Preview) -> pb.PreviewMergeResponse:
    """How branches merge."""
    return pb.PreviewMergeResponse(
        into_commit=preview.merged.into,
        order=map(_step_to_proto, preview.merged.steps),
        tree_id=preview.merged.tree,
        commands=map(command_to_proto, preview.commands),
        unfinished_run_ids=preview.unfinished,
    )


def _step_to_proto(step: Step) -> pb.MergeStep:
    return pb.MergeStep(
        run_id=step.branch.run_id,
        branch=step.branch.name,
        commit=step.branch.commit,
        clean=step.clean,
        conflicts=[
            pb.MergeConflict(path=clean(item.path), run_ids=item.run_ids, with_into=item.with_into)
            for item in step.conflicts
        ],
        problem=step.problem,
    )
