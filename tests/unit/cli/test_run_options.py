"""``autopack run`` without a batch file: options that do not make a batch are refused before anything starts."""

from __future__ import annotations

import pytest
from autopack_cli.main import app
from autopack_kit.errors import InvalidArgument
from typer.testing import CliRunner


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "--goal: is missing"),
        (("--goal", "g", "--goal-file", "x.md", "--command", "a"), "give --goal or --goal-file, not both"),
        (("--goal-file", "/nonexistent.md", "--command", "a"), "--goal-file: /nonexistent.md cannot be read"),
        (("batch.yaml", "--goal-file", "x.md"), "not both"),
        (("--goal", "g"), "exactly one of --command and --agent"),
        (("--goal", "g", "--command", "a", "--agent", "b"), "exactly one of --command and --agent"),
        (("--goal", "g", "--command", "a && b"), "--command: has '&&', which only a shell understands"),
        (("--goal", "g", "--command", "a", "--validate", "'"), "--validate: cannot be split into words"),
        (("batch.yaml", "--goal", "g"), "not both"),
    ],
)
def test_bad_options_are_refused(words: tuple[str, ...], message: str) -> None:
    result = CliRunner().invoke(app, ["run", *words])
    assert isinstance(result.exception, InvalidArgument)
    assert message in str(result.exception)
