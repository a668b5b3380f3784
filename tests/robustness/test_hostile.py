"""Agents that do what they should not: to their worktree's git data, to the processes around them, to memory and disk.

Beside each works an agent that does nothing of the kind, and nothing happens to it.
"""

from __future__ import annotations

import pytest
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_api.orchestrator.v1.batch_pb2 import RunSpec

from tests.robustness.history import History, finish
from tests.robustness.machine import Machine
from tests.robustness.traffic import agent, batch, git, run, submit
from tests.robustness.validators import fingerprint, nothing_is_left, validate

WORK = agent(1)
HOOKS = """
hooks=$(git rev-parse --git-path hooks); mkdir -p "$hooks" .hooks
for name in post-checkout pre-commit post-commit reference-transaction post-merge pre-push fsmonitor; do
  for place in "$hooks" .hooks; do
    printf '#!/bin/sh\\necho "$0" >> "%s"\\n' "$CANARY" > "$place/$name"; chmod +x "$place/$name"
  done
done
git config core.hooksPath "$PWD/.hooks"; git config core.fsmonitor "$PWD/.hooks/fsmonitor"
git config filter.evil.clean "$PWD/.hooks/fsmonitor"; git config core.editor "$PWD/.hooks/fsmonitor"
rm -f "$CANARY"
"""
#: name -> (what the agent does before its work, states in which the run may end)
IN_GIT = {
    "repoints its worktree at the user's repository": 'echo "gitdir: $REPO/.git" > .git',
    "puts a repository of its own in the place": "rm -f .git; git init -q .; git add -A; git commit -qm mine",
    "breaks the git data of its worktree": """
        d=$(git rev-parse --git-dir); echo junk > "$d/HEAD"; echo junk > "$d/index"; echo /nowhere > "$d/commondir"
    """,
    "leaves hooks and programs in the settings": HOOKS,
    "locks its index and its head": 'd=$(git rev-parse --git-dir); touch "$d/index.lock" "$d/HEAD.lock"',
}
ENDS = {pb.RUN_STATE_SUCCEEDED, pb.RUN_STATE_FAILED}


@pytest.mark.parametrize("what", IN_GIT)
async def test_an_agent_that_writes_into_git_reaches_no_other_run_and_not_the_users_repository(
    machine: Machine, what: str
) -> None:
    before = fingerprint(machine.repo)
    canary = machine.root / "canary"
    evil = run("evil", IN_GIT[what] + "\n" + WORK, witness=machine.witness)
    evil.command.env.update({"REPO": str(machine.repo), "CANARY": str(canary)})
    history = await carried_out(machine, evil)
    one, other = history.runs
    assert one.state in ENDS
    assert one.error.reason != "INTERNAL", one.error
    assert (other.state, other.attempt) == (pb.RUN_STATE_SUCCEEDED, 1)
    if one.state == pb.RUN_STATE_SUCCEEDED:
        changed = git(machine.repo, "diff", "--name-only", "main", one.branch).splitlines()
        assert "lib/made_evil.py" in changed
        assert git(machine.repo, "merge-base", "main", one.branch) == git(machine.repo, "rev-parse", "main")
    assert not canary.exists(), canary.read_text()
    assert fingerprint(machine.repo) == before


@pytest.mark.parametrize(
    ("what", "reasons"),
    [
        ("kill -9 0", {"AGENT_FAILED"}),
        ("kill -9 $PPID; sleep 600", {"LOST"}),
        ('for f in /proc/[0-9]*; do grep -qs "$AUTOPACK_RUN_DIR" $f/environ && kill -9 ${f#/proc/}; done; sleep 600',
         {"AGENT_FAILED", "LOST"}),
    ],
    ids=["its process group", "its supervisor", "everything with its mark"],
)  # fmt: skip
async def test_an_agent_that_kills_what_is_around_it_ends_its_own_run_alone(
    machine: Machine, what: str, reasons: set[str]
) -> None:
    evil = run("evil", f"setsid sleep 1000 & echo hello; {what}", witness=machine.witness, max_attempts=1)
    evil.timeout.FromSeconds(20)
    history = await carried_out(machine, evil)
    one, other = history.runs
    assert one.error.reason in reasons, one.error
    assert (other.state, other.attempt) == (pb.RUN_STATE_SUCCEEDED, 1)


async def test_an_agent_that_deletes_its_worktree_ends_its_own_run_alone(machine: Machine) -> None:
    history = await carried_out(machine, run("evil", 'cd /; rm -rf "$AUTOPACK_WORKSPACE"', witness=machine.witness))
    one, other = history.runs
    assert (one.state, one.error.reason) == (pb.RUN_STATE_FAILED, "WORKSPACE_GONE")
    assert (other.state, other.attempt) == (pb.RUN_STATE_SUCCEEDED, 1)


@pytest.mark.long
async def test_a_hundred_thousand_files_are_delivered_or_refused_with_the_reason(machine: Machine) -> None:
    """In a bounded result, whichever it is."""
    many = """
python3 - <<'END'
import os
for d in range(100):
    os.makedirs(f"lib/many/{d}")
    for f in range(1000):
        os.close(os.open(f"lib/many/{d}/{f}.txt", os.O_CREAT | os.O_WRONLY))
END
"""
    history = await carried_out(machine, run("evil", many + WORK, witness=machine.witness), limit_s=150)
    one, other = history.runs
    assert (other.state, other.attempt) == (pb.RUN_STATE_SUCCEEDED, 1)
    assert one.ByteSize() < 4 << 20
    if one.state == pb.RUN_STATE_SUCCEEDED:
        assert len(git(machine.repo, "ls-tree", "-r", "--name-only", one.branch, "lib/many").splitlines()) == 100_000
    else:
        assert one.error.reason not in ("", "INTERNAL"), one.error


async def carried_out(machine: Machine, evil: RunSpec, limit_s: float = 120.0) -> History:
    """The history of this run and of a harmless one beside it; nothing of either is left."""
    server = await machine.serve()
    async with server.client() as client:
        spec = batch(machine.repo, [evil, run("other", agent(8), witness=machine.witness)])
        batch_id = await submit(client, spec)
        history = await finish(client, batch_id, machine.witness, limit_s)
    validate(history)
    await nothing_is_left(machine, history)
    return history
