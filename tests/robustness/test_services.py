"""The services that only advise are gone, or cannot write: runs go on, and say so."""

from __future__ import annotations

import resource

import pytest
from autopack_api.common.v1.common_pb2 import Argv, Command
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_client import watch_batch

from tests.robustness.history import runs_of, sightings
from tests.robustness.machine import Machine, Server
from tests.robustness.processes import until
from tests.robustness.traffic import batch, gated, run, submit


@pytest.mark.parametrize(
    ("service", "fault"),
    [("telemetry", "killed"), ("telemetry", "disk full"), ("intention", "killed"), ("hardening", "killed")],
)
async def test_a_service_that_fails_in_the_middle_of_a_run_is_a_warning(
    machine: Machine, service: str, fault: str
) -> None:
    peer = await machine.serve(only=service)
    server = await machine.serve(settings={f"AUTOPACK_ORCHESTRATOR_{service.upper()}_ADDRESS": peer.address})
    fails = [Command(argv=Argv(words=["sh", "-c", "test ! -e lib/made_one.py"]))]
    fields = {"validate": fails} if service == "hardening" else {}
    spec = batch(machine.repo, [run("one", gated(), witness=machine.witness, gate=machine.gate, **fields)])
    async with server.client() as client:
        batch_id = await submit(client, spec)
        await until(lambda: sightings(machine.witness), "the agent is at work")
        await break_down(peer, fault)
        machine.gate.touch()
        events = [event async for event in watch_batch(client, batch_id)]
        (one,) = await runs_of(client, batch_id)
    about = {event.attributes["about"] for event in events if event.kind == pb.EVENT_KIND_WARNING}
    assert about == {service}
    assert one.warnings
    if service == "hardening":
        assert (one.state, one.error.reason) == (pb.RUN_STATE_FAILED, "VALIDATION_FAILED")
    else:
        assert one.state == pb.RUN_STATE_SUCCEEDED


async def break_down(peer: Server, fault: str) -> None:
    """From now on it does not answer, or cannot write a byte to any file."""
    if fault == "killed":
        await peer.kill()
    else:
        resource.prlimit(peer.pid, resource.RLIMIT_FSIZE, (0, 0))
