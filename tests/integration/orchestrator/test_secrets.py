"""What a run was given in confidence stays out of everything that is shown and stored of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_api.orchestrator.v1.batch_pb2 import Doctor

from tests.service.orchestrator.bench import argv, bench, repository, run, shell

CANARY = "sk-canary-4f1c90a2b7"

# Prints the run's token, and a passed secret in two writes with a pause between them, so that it comes in two chunks.
AGENT = """
cat "$AUTOPACK_TOKEN_FILE"; echo " was the token"
printf 'the key is sk-canary-'; sleep 0.3; printf '4f1c90a2b7!\\n'
echo "not given: ${NOT_PASSED_TOKEN-nothing}; short: $SHORT_TOKEN"
git commit -qm "Use $OPENAI_API_KEY" --allow-empty
echo "# more" >> src/calc.py
"""


async def test_secrets_that_a_run_prints_are_in_no_log_event_or_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = repository(tmp_path / "calc")
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    monkeypatch.setenv("NOT_PASSED_TOKEN", "never-inherited-0123")
    monkeypatch.setenv("SHORT_TOKEN", "true")
    doctor = Doctor(command=argv("sh", "-c", 'env; cat "$AUTOPACK_DIAGNOSIS_FILE"; echo "$OPENAI_API_KEY"; exit 1'))
    passable = ("OPENAI_API_KEY", "SHORT_TOKEN")
    async with bench(tmp_path, passable_env=passable) as stack:
        fails = shell('echo "Error: key $OPENAI_API_KEY was refused" >&2; echo "and $MINE_SECRET"; exit 3')
        fails.env["MINE_SECRET"] = "of-the-step-0123"
        spec = run("one", AGENT, validate=[fails], doctor=doctor, pass_env=passable, fail_on_pre_existing=True)
        (done,) = await stack.finish(repo, spec)
        log = await stack.log(done.run_id)
        events = "\n".join(map(str, stack.events[done.batch_id]))
        token = (stack.data / "orchestrator" / "runs" / done.batch_id / "one" / "attempt-1" / "token").read_text()
    assert (done.state, done.error.reason) == (pb.RUN_STATE_FAILED, "VALIDATION_FAILED")
    assert b"*" * len(token) + b" was the token\n" in log
    assert b"the key is " + b"*" * len(CANARY) + b"!\n" in log
    assert b"not given: nothing; short: true\n" in log
    assert b"Error: key " + b"*" * len(CANARY) + b" was refused" in log
    for secret in (token, CANARY, "of-the-step-0123"):
        assert secret.encode() not in log
        assert secret not in events
        assert secret not in str(done)
    await stack.settled()
    stored = [path for path in (stack.data / "orchestrator").rglob("*") if path.is_file() and path.name != "token"]
    assert any(path.suffix == ".sqlite3" for path in stored)
    found = {path.name for path in stored if CANARY.encode() in path.read_bytes() and ".git" not in str(path)}
    assert not found, "in files of the run"
