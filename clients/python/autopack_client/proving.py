"""From a failure to a proof: mitigations one after the other, each judged by running the same command again.

    chain = Chain(bench)
    ended = await chain.work_off(failed)        # ended.ok: fixed, and proven so

Bounded: every pattern is acted upon at most once, and only so many in total. A missing package behind a wrong directory
is two of them. What did not help is undone before anything else is tried. Whoever calls says, as a :class:`Bench`, how
commands run, who diagnoses, what is agreed to, and where each result goes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from autopack_api.hardening.v1.hardening_pb2 import Diagnosis
from autopack_kit.commands import Command
from autopack_kit.errors import AutopackError

from autopack_client.mitigate import Applier, Outcome, State
from autopack_client.proof import Ended, Proof, judge

__all__ = ["MAX_MITIGATIONS", "Attempt", "Bench", "Chain"]

MAX_MITIGATIONS = 8
"""In one chain; each costs at least one run of the failed command. Real ones are one or two long."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One mitigation and what it came to.

    Attributes:
        diagnosis: what was acted upon.
        outcome: what the applier did; None if it could not even look.
        proof: None if the mitigation was not applied, so that there was nothing to prove.
        after: the last run of the command; None likewise.
        problem: why it could not be applied, where that is an error.
    """

    diagnosis: Diagnosis
    outcome: Outcome | None
    proof: Proof | None = None
    after: Ended | None = None
    problem: str = ""


class Bench(Protocol):
    """Where a chain works."""

    async def run(self, command: Command) -> Ended:
        """Runs a command to its end, as the failed one ran. Without diagnoses."""

    async def diagnose(self, ended: Ended) -> Sequence[Diagnosis]:
        """What explains a failure, best first; nothing if that cannot be found out."""

    async def applier(self, diagnosis: Diagnosis, command: Command) -> Applier | None:
        """What applies the mitigation, with or without consent; None = it is not agreed to."""

    async def attempted(self, attempt: Attempt) -> None:
        """A mitigation was refused, failed, or was applied and judged."""


@dataclass(slots=True)
class Chain:
    """The mitigations of one run.

    Attributes:
        limit: mitigations that may still be applied.
    """

    bench: Bench
    limit: int = MAX_MITIGATIONS
    _used: set[str] = field(default_factory=set)

    async def work_off(self, failed: Ended) -> Ended:
        """Acts upon the failure, and upon what comes to light behind it, for as long as that helps.

        Args:
            failed: with its diagnoses.

        Returns:
            The last failure, or the run that passed. Its command is the one with which the caller should go on.
        """
        while True:
            attempt = await self._next(failed)
            if attempt is None:
                return failed
            assert attempt.after is not None
            failed = attempt.after
            if failed.ok:
                return failed

    async def _next(self, failed: Ended) -> Attempt | None:
        """The first mitigation that fixes something or leads further; None if there is none."""
        for diagnosis in failed.diagnoses:
            if not diagnosis.mitigation.actions:
                return None  # the best explanation left is one that only a person can act upon; others would be guesses
            if diagnosis.pattern_id in self._used or self.limit <= 0:
                continue
            attempt = await self._try(diagnosis, failed)
            if attempt is None:
                continue
            await self.bench.attempted(attempt)
            if attempt.proof in (Proof.FIXED, Proof.PROGRESSED):
                return attempt
        return None

    async def _try(self, diagnosis: Diagnosis, failed: Ended) -> Attempt | None:
        try:
            applier = await self.bench.applier(diagnosis, failed.command)
            if applier is None:
                return None
            self._used.add(diagnosis.pattern_id)
            outcome = await applier.apply(diagnosis.mitigation, failed.command)
        except (AutopackError, OSError) as error:
            return Attempt(diagnosis, None, problem=str(error))
        if outcome.state is not State.REFUSED:
            self.limit -= 1
        if outcome.state is not State.APPLIED:
            return Attempt(diagnosis, outcome)
        try:
            after, proof = await self._prove(diagnosis, failed, outcome)
        except BaseException:  # interrupted before anything was proven
            await applier.undo(outcome)
            raise
        if proof in (Proof.UNCHANGED, Proof.WORSE):
            await applier.undo(outcome)
        return Attempt(diagnosis, outcome, proof, after)

    async def _prove(self, diagnosis: Diagnosis, failed: Ended, outcome: Outcome) -> tuple[Ended, Proof]:
        """Runs the command again: once, or after each pause until it is another story."""
        for pause in outcome.pauses or (0.0,):
            await asyncio.sleep(pause)
            after = await self.bench.run(outcome.rerun)
            if not after.ok:
                after = replace(after, diagnoses=tuple(await self.bench.diagnose(after)))
            proof = judge(failed, after, diagnosis)
            if proof is not Proof.UNCHANGED:
                break
        return after, proof
