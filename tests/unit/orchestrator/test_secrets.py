"""Secrets of a run: which values they are, and that no way of cutting a stream lets one through."""

from __future__ import annotations

from autopack_orchestrator.adapters.supervisor.runner import Mask
from autopack_orchestrator.core.model import RunError, RunState
from autopack_orchestrator.core.secrets import MAX_PIECE, MAX_SECRETS, hide, hide_bytes, secret_values
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

KEY = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----\n"


def test_values_of_variables_whose_names_say_so_are_secrets() -> None:
    environment = {
        "ANTHROPIC_API_KEY": "sk-ant-0123456789",
        "npm_config__authToken": "npm-0123456789",
        "GITHUB_PAT": "ghp-0123456789",
        "DATABASE_URL": "postgresql://me:swordfish@host/x",
        "PIP_INDEX_URL": "https://host/simple/path@2:3",
        "LANG": "C.UTF-8",
        "SSH_AUTH_SOCK": "/tmp/agent-0123456789",
        "AUTOPACK_TOKEN_FILE": "/data/runs/token",
        "AUTOPACK_GOAL": "Rotate the token",
        "MAX_TOKENS": "64000",
    }
    found = secret_values(environment, ["the-token-of-the-run"])
    assert set(found) == {
        "the-token-of-the-run", "sk-ant-0123456789", "npm-0123456789", "ghp-0123456789", "swordfish",
    }  # fmt: skip


def test_a_value_of_several_lines_is_hidden_line_by_line_and_a_long_one_in_parts() -> None:
    found = secret_values({"DEPLOY_KEY": KEY, "A_TOKEN": "x" * (MAX_PIECE + 100)})
    assert set(KEY.splitlines()) <= set(found)
    assert {"x" * MAX_PIECE, "x" * 100} <= set(found)
    assert len(secret_values({f"TOKEN_{n}": f"0123456789-{n}" for n in range(2 * MAX_SECRETS)})) == MAX_SECRETS


def test_everything_that_is_stored_is_searched_and_nothing_else_changes() -> None:
    error = RunError("X", "it said 0123456789!", ("use 0123456789", "or not"))
    value = {"error": error, "n": 3, "state": RunState.FAILED, "raw": b"\xff0123456789", "none": None}
    assert hide(value, ["0123456789"]) == {
        "error": RunError("X", "it said **********!", ("use **********", "or not")),
        "n": 3, "state": RunState.FAILED, "raw": b"\xff**********", "none": None,
    }  # fmt: skip
    assert hide("0123456789-long", ["0123456789", "0123456789-long"]) == "*" * 15
    assert hide_bytes(b"\xe9 caf\xe9-secret", ["caf\udce9-secret"]) == b"\xe9 " + b"*" * 11


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.text("abc", min_size=1, max_size=5), max_size=4),
    st.lists(st.text("abcd", max_size=9), max_size=12),
)
def test_no_secret_passes_however_the_stream_is_cut_and_everything_else_does(
    secrets: list[str], chunks: list[str]
) -> None:
    mask = Mask([secret.encode() for secret in secrets])
    shown = b"".join([*(mask.feed(chunk.encode()) for chunk in chunks), mask.rest()]).decode()
    whole = "".join(chunks)
    assert len(shown) == len(whole)
    assert not any(secret in shown for secret in secrets)
    belongs = {
        at + n
        for secret in secrets
        for at in range(len(whole))
        if whole.startswith(secret, at)
        for n in range(len(secret))
    }
    assert all(shown[at] == whole[at] or (shown[at] == "*" and at in belongs) for at in range(len(whole)))


def test_only_what_may_be_a_secret_is_held_back_and_its_beginning_at_the_end_is_masked() -> None:
    mask = Mask([b"0123456789abcdef"])
    assert mask.feed(b"tick 1\n") == b"tick 1\n"
    assert mask.feed(b"now 0123") == b"now "
    assert mask.feed(b"456789") == b""
    assert mask.rest() == b"*" * 10
    assert Mask([b"0123456789abcdef"]).feed(b"x 01") == b"x "
    short = Mask([b"0123456789abcdef"])
    assert short.feed(b"port 0123") + short.rest() == b"port 0123"
