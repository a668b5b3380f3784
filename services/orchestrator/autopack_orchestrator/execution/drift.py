"""Is the agent still on its goal? Judged by steps: its commits, and the worktree whenever it is looked at."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from weakref import WeakValueDictionary

from autopack_client.evidence import Evidence, change_evidence
from autopack_client.profile import build_profile
from autopack_kit.errors import AutopackError, NotFound

from autopack_orchestrator.adapters import git
from autopack_orchestrator.adapters.peers import DriftJudgement
from autopack_orchestrator.core.model import EventKind
from autopack_orchestrator.execution.context import RunContext, make_event

__all__ = ["DriftWatch", "Profiles"]

MAX_STEPS_PER_LOOK = 20  # an agent that commits more between two looks is judged by its latest ones
SHOWN = 8  # terms and files of each kind in an event
MAX_PROFILE_IDS = 1_000  # as many as the intention service keeps per tenant; an id forgotten costs one more PutProfile
PROFILE_LOST = "PROFILE_NOT_FOUND"  # the intention service's reason: evicted, or its disk is gone


_Key = tuple[str, str, str]


@dataclass(slots=True)
class Profiles:
    """What each repository usually talks about, built and stored once per tenant and commit.

    Attributes:
        ids: least recently used first, at most ``MAX_PROFILE_IDS``.
    """

    ids: dict[_Key, str] = field(default_factory=dict)
    # Of the keys that a run is at or waits for.
    _locks: MutableMapping[_Key, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    async def get(self, ctx: RunContext, mirror: git.Mirror) -> str:
        """The id of the profile; empty, with a warning, when there is none: the check is then weaker."""
        key = (ctx.run.tenant, str(mirror.path), ctx.run.base_commit)
        # The runs of a batch begin together: one of them builds what all of them use.
        async with self._locks.setdefault(key, asyncio.Lock()):
            if (known := self.ids.pop(key, None)) is None:
                known = await self._build(ctx, mirror)
            if known:
                self.ids[key] = known  # now the most recently used
            while len(self.ids) > MAX_PROFILE_IDS:
                del self.ids[next(iter(self.ids))]
            return known

    async def _build(self, ctx: RunContext, mirror: git.Mirror) -> str:
        try:
            return await ctx.peers.put_profile(await build_profile(mirror.path, ctx.run.base_commit))
        except (AutopackError, OSError, ValueError) as error:
            await ctx.warn("intention", f"The history could not be profiled: {error}")
            return ""

    async def put_again(self, ctx: RunContext, mirror: git.Mirror) -> str:
        """As :meth:`get`, for a profile that the intention service has lost since."""
        self.ids.pop((ctx.run.tenant, str(mirror.path), ctx.run.base_commit), None)
        return await self.get(ctx, mirror)


@dataclass(frozen=True, slots=True)
class _Step:
    base: str
    target: str


@dataclass(slots=True)
class DriftWatch:
    """Looks at a run's work and remembers how far it has looked. What it finds is stored with the run.

    Attributes:
        profiles: where its profile comes from, also a second time.
        profile_id: what it is measured against; empty without one.
        last: the commit or tree up to which the work was judged.
    """

    profiles: Profiles
    profile_id: str
    last: str
    _single: _Step | None = None

    async def look(self, ctx: RunContext, *, final: bool) -> str:
        """Judge every step since the last look; returns the verdict on the run so far, empty without any step.

        Never ends a run by itself and never fails one: a look that does not succeed is a warning.
        """
        await self._check_context(ctx)
        try:
            steps = await self._steps(ctx)
            # A run that turns out to have one step is judged by that step, so it is asked about again, as the last.
            again = final and not steps and self._single is not None and len(ctx.result.drift_z) == 1
            if again and self._single is not None:
                await self._judge(ctx, self._single, earlier=(), final=True)
            for number, step in enumerate(steps, start=1):
                self._single = step
                await self._judge(ctx, step, earlier=ctx.result.drift_z, final=final and number == len(steps))
        except (AutopackError, OSError, ValueError) as error:
            await ctx.warn("intention", f"Drift could not be judged: {error}")
        return ctx.result.drift_verdict

    async def _check_context(self, ctx: RunContext) -> None:
        """Tell that the goal was edited where the agent reads it: it is judged by the goal that was submitted."""
        path = Path(ctx.variables["AUTOPACK_CONTEXT_FILE"])
        if await asyncio.to_thread(_holds, path, ctx.variables["AUTOPACK_CONTEXT"]):
            return
        await ctx.warn(  # which it does once
            "intention",
            "The file with the run's context was edited while the agent worked. "
            "The goal that it is judged by is the one that was submitted.",
        )

    async def _steps(self, ctx: RunContext) -> list[_Step]:
        """Each commit since the last look, and what is not committed.

        After a look that found work which was not committed, the next step is everything since then: a commit of the
        same work must not be judged a second time.
        """
        tree = await git.worktree_tree(ctx.worktree, ctx.environment_paths)
        commits = await git.own_commits(ctx.worktree, self.last)
        steps, base = [], self.last
        for target in (*commits[-MAX_STEPS_PER_LOOK:], tree):
            if await git.changes(ctx.worktree.mirror, base, target):
                steps.append(_Step(base, target))
                base = target
        tip = await git.branch_tip(ctx.worktree)
        clean = tip is not None and not await git.changes(ctx.worktree.mirror, tip, tree)
        self.last = tip if tip is not None and clean else base
        return steps

    async def _judge(self, ctx: RunContext, step: _Step, *, earlier: tuple[float, ...], final: bool) -> None:
        evidence = await change_evidence(ctx.worktree.mirror.trusted, step.base, step.target)
        note = await git.commit_message(ctx.worktree.mirror, step.target)  # what the agent says of its commit
        judgement = await self._ask(ctx, evidence, note, earlier=earlier, final=final)
        z = "unknown" if judgement.z is None else f"{judgement.z:.2f}"
        await ctx.write(
            drift_verdict=judgement.run_verdict,
            drift_z=(*earlier, judgement.z) if _counts(judgement) else earlier,
            drift_tree=step.target,
            events=(
                make_event(
                    EventKind.DRIFT,
                    f"step: {judgement.step_verdict}, run: {judgement.run_verdict} (z {z})",
                    step_verdict=judgement.step_verdict,
                    run_verdict=judgement.run_verdict,
                    z=z,
                    shared=", ".join(judgement.shared_terms[:SHOWN]),
                    unexplained=", ".join(judgement.unexplained_terms[:SHOWN]),
                    off_goal_files=", ".join(judgement.off_goal_files[:SHOWN]),
                    advisories=", ".join(judgement.advisories),
                ),
            ),
        )

    async def _ask(
        self, ctx: RunContext, evidence: Evidence, note: str, *, earlier: tuple[float, ...], final: bool
    ) -> DriftJudgement:
        """The judgement; a profile that was lost since is put again, once."""

        async def ask() -> DriftJudgement:
            return await ctx.peers.check_drift(
                ctx.run.spec.intention, self.profile_id, evidence, note=note, earlier_z=earlier, final=final
            )

        try:
            return await ask()
        except NotFound as error:
            if error.reason != PROFILE_LOST:
                raise
        self.profile_id = await self.profiles.put_again(ctx, ctx.worktree.mirror)
        return await ask()


def _holds(path: Path, text: str) -> bool:
    """Whether a file holds exactly a text, read no further than that."""
    expected = text.encode()
    try:
        with path.open("rb") as file:
            return file.read(len(expected) + 1) == expected
    except OSError:
        return False


def _counts(judgement: DriftJudgement) -> bool:
    """Whether a step says anything about the run: one with too little evidence does not."""
    return judgement.z is not None and judgement.step_verdict != "insufficient_evidence"
