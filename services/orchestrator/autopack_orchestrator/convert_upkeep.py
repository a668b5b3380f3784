"""Merges and collected garbage to proto."""

from __future__ import annotations

from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_kit.convert import command_to_proto, timestamp_to_proto

from autopack_orchestrator.core.garbage import Report
from autopack_orchestrator.core.merging import Step
from autopack_orchestrator.core.text import clean
from autopack_orchestrator.execution.merge import Preview

__all__ = ["preview_to_proto", "report_to_proto"]

MAX_ITEMS = 1000  # with the longest names still far below the size of a message
MAX_PROBLEMS = 100


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


def report_to_proto(report: Report) -> pb.CollectGarbageResponse:
    """What a collection removed."""
    largest = sorted(report.items, key=lambda item: -item.size)[:MAX_ITEMS]
    return pb.CollectGarbageResponse(
        items=[
            pb.GarbageItem(
                kind=pb.GarbageKind.Value(f"GARBAGE_KIND_{item.kind.name}"),
                name=clean(item.name),
                size_bytes=item.size,
                reason=item.reason,
                last_used_time=timestamp_to_proto(item.last_used),
            )
            for item in largest
        ],
        item_count=len(report.items),
        size_bytes=report.size,
        kept_bytes=report.kept_bytes,
        problems=[clean(problem) for problem in report.problems[:MAX_PROBLEMS]],
    )
