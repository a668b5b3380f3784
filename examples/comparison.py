"""Record the runs of two batches as a server of Autopack would have them, for a first look at `autopack compare`.

Twelve tasks, each done once before and once after a change that saves a quarter of the tokens. The numbers are made up,
always the same, and scatter as those of agents do.
"""

from __future__ import annotations

import asyncio
import random
import time

from autopack_api.common.v1.common_pb2 import TokenUsage
from autopack_api.telemetry.v1 import telemetry_pb2 as pb
from autopack_cli.needs import Needs
from autopack_cli.session import session
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

TASKS = 12
HOUR = 3_600


def runs_of(task: int, chance: random.Random) -> list[tuple[pb.RunRecord, pb.UsageRecord]]:
    """The two runs of a task, and what each used."""
    size, first = chance.lognormvariate(11, 0.9), chance.randrange(2)
    begin = int(time.time()) - (2 + TASKS - task) * HOUR
    made = []
    for side, batch in enumerate(("before", "after")):
        tokens = int(size * chance.lognormvariate(0, 0.2) * (0.75 if side else 1))
        run = pb.RunRecord(
            run_id=f"{batch}.task-{task}",
            task=f"task-{task}",
            batch_id=batch,
            base_commit="5eed" * 10,
            spec_hash=f"spec-{task}",
            agent="claude",
            agent_version="2.1.0",
            models={"agent": "claude-sonnet-4-5"},
            start_time=Timestamp(seconds=begin + (side ^ first) * HOUR // 2),
            duration=Duration(seconds=tokens // 100),
            outcome=pb.PHASE_OUTCOME_FAILED if chance.random() < 0.2 else pb.PHASE_OUTCOME_SUCCEEDED,
            retries=0,
            token_limit=0,
        )
        usage = pb.UsageRecord(
            run_id=run.run_id,
            usage_id="response-1",
            agent="claude",
            model="claude-sonnet-4-5",
            tokens=TokenUsage(input=tokens * 9 // 10, output=tokens // 10),
            cost_microusd=4 * tokens,
            time=run.start_time,
        )
        made.append((run, usage))
    return made


async def main() -> None:
    """Records them in the server that the commands of this machine use."""
    chance = random.Random(8)  # noqa: S311 (numbers for an example)
    made = [pair for task in range(1, TASKS + 1) for pair in runs_of(task, chance)]
    async with session(None, Needs(("telemetry",))) as client:
        await client.telemetry.RecordRuns(pb.RecordRunsRequest(runs=[run for run, _ in made]))
        await client.telemetry.RecordUsage(pb.RecordUsageRequest(records=[usage for _, usage in made]))
    print(f"recorded {len(made)} runs of {TASKS} tasks")


asyncio.run(main())
