"""What a profile costs to make, and a drift check to ask for: a real server in its own process, one call at a time."""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence

from autopack_api.intention.v1 import intention_pb2 as pb
from autopack_api.intention.v1 import intention_pb2_grpc as pb_grpc
from autopack_intention import Evidence, Profile, Scorer
from autopack_kit.channel import open_channel

from bench.echo import Row, cores, server

__all__ = ["run"]

MESSAGES, CHANGES = 1_000, 50
PROFILES = 11
CALLS = 1_000
WARM_UP = 100
MAX_PROFILE_MS, MAX_CHECK_MS = 250, 1.5


def run() -> list[Row]:
    """Both numbers."""
    messages, changes = history()
    return [profile_row(messages, changes), check_row(messages, changes)]


def history() -> tuple[list[str], list[pb.ChangeEvidence]]:
    """A made-up repository, always the same: a few words are in most messages and most words in few, half of the
    messages have a body, and half of the changes have two files or fewer, as in real ones."""
    chance = random.Random(1)
    syllables = [a + b for a in "bcdfglmnprstv" for b in ("a", "e", "i", "o", "u", "ar", "en", "or")]
    words = ["".join(chance.choices(syllables, k=chance.randint(2, 4))) for _ in range(4_000)]
    weights = [1 / rank for rank in range(1, len(words) + 1)]

    def some(count: int) -> list[str]:
        return chance.choices(words, weights, k=count)

    def message() -> str:
        body = "\n\n" + " ".join(some(chance.randint(20, 120))) if chance.random() < 0.5 else ""
        return f"Fix {'_'.join(some(2))} when {' '.join(some(5))} (#{chance.randint(1, 9_999)}){body}"

    def change() -> pb.ChangeEvidence:
        files = [
            pb.FileChange(
                path=f"src/{'/'.join(some(2))}/{'_'.join(some(2))}.py",
                hunk_headers=[f"def {'_'.join(some(2))}(self, {some(1)[0]}: str) -> None:" for _ in range(2)],
                added_identifiers=["_".join(some(2)) for _ in range(12)],
            )
            for _ in range(chance.choice((1, 1, 2, 2, 2, 3, 4, 6, 12)))
        ]
        return pb.ChangeEvidence(
            paths=[file.path for file in files],
            hunk_headers=[header for file in files for header in file.hunk_headers],
            added_identifiers=[name for file in files for name in file.added_identifiers][:30],
            files=files,
        )

    return [message() for _ in range(MESSAGES)], [change() for _ in range(CHANGES)]


def profile_row(messages: Sequence[str], changes: Sequence[pb.ChangeEvidence]) -> Row:
    """The median of profiles counted, hashed, and made ready for the first check."""
    background = [
        Evidence(tuple(change.paths), tuple(change.hunk_headers), tuple(change.added_identifiers)) for change in changes
    ]
    taken = []
    for _ in range(PROFILES):
        start = time.perf_counter()
        profile = Profile.build(messages, background)
        assert profile.id
        Scorer(profile).goal("")
        taken.append(time.perf_counter() - start)
    note = f"must be <= {MAX_PROFILE_MS}; {len(profile.vocabulary.frequencies):,} terms"
    return f"profile of {MESSAGES:,} messages", statistics.median(taken) * 1000, "ms", note


def check_row(messages: Sequence[str], changes: Sequence[pb.ChangeEvidence]) -> Row:
    """The median of checks through the whole stack, server and client on a core each where there are two."""
    servers, client = cores()
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, client)
    try:
        taken = asyncio.run(checks(servers, messages, changes))
    finally:
        os.sched_setaffinity(0, before)
    p99 = statistics.quantiles(taken, n=100)[98] * 1000
    note = f"must be <= {MAX_CHECK_MS}; p99 {p99:.2f} ms, {CALLS:,} calls"
    return "drift check over gRPC, p50", statistics.median(taken) * 1000, "ms", note


async def checks(servers: set[int], messages: Sequence[str], changes: Sequence[pb.ChangeEvidence]) -> list[float]:
    """Seconds of each check, of one goal and the background's changes in turn."""
    goal = pb.Intention(title=messages[0].partition("\n")[0][:200], description=messages[1], scope=["src/"])
    taken = []
    with tempfile.TemporaryDirectory(prefix="ap-bench-") as directory:
        address = f"unix:{directory}/s"
        command = [sys.executable, "-m", "autopack_intention", "--address", address]
        async with server(command, address, directory, servers), open_channel(address) as channel:
            stub = pb_grpc.IntentionServiceStub(channel)
            profile = pb.Profile(messages=messages, background=changes)
            stored = await stub.PutProfile(pb.PutProfileRequest(profile=profile))
            for number in range(WARM_UP + CALLS):
                request = pb.CheckDriftRequest(
                    intention=goal, profile_id=stored.profile_id, evidence=changes[number % CHANGES], earlier_z=[1.0]
                )
                start = time.perf_counter()
                await stub.CheckDrift(request)
                taken.append(time.perf_counter() - start)
    return taken[WARM_UP:]
