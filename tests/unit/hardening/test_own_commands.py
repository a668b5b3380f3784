"""What the client lets mitigations run: the words of the packaged patterns, and commands that may run twice."""

from __future__ import annotations

import pytest
from autopack_hardening import patterns
from autopack_kit.safe_actions import OWN_COMMANDS, is_repeatable


def test_the_words_of_mitigations_are_those_of_the_packaged_patterns() -> None:
    steps = [step for pattern in patterns() for step in pattern.steps]
    run = {tuple(one.parameters["run"]) for one in steps if one.action in ("run_command", "regenerate_lockfile")}
    assert run == OWN_COMMANDS.run
    formats = [one.parameters for one in steps if one.action == "run_formatter"]
    formatters = {(one["program"], *one.get("words", ())) for one in formats}
    formatters |= {tuple(one["otherwise"]) for one in formats if "otherwise" in one}
    assert formatters == OWN_COMMANDS.formatters
    edits: set[str] = set()
    for one in [step.parameters for step in steps if step.action == "edit_command"]:
        edits |= {*one.get("add", ()), *one.get("replace", {}).values()}
        edits.update(*one.get("interpreters", {}).values())
    assert edits == OWN_COMMANDS.edits


@pytest.mark.parametrize(
    ("line", "may"),
    [
        ("npm ci", True),
        ("python -m pytest tests/test_upload.py -k publish", True),
        ("go test ./deploy/...", True),
        ("make", True),
        ("make -j4 test-unit", True),
        ("make CC=gcc all", True),
        ("make ship", False),
        ("make all docker-push", False),
        ("mvn -q verify", True),
        ("mvn release:perform", False),
        ("gradlew build", True),
        ("gradlew publishToMavenLocal", False),
        ("gradlew uploadArchives", False),
        ("gradlew :app:assembleRelease testReleaseUnitTest", True),
        ("gradlew publishRelease", False),
        ("gradlew releaseAll", False),
        ("cargo build --release", True),
        ("cargo publish", False),
        ("tox -e py311", True),
        ("tox -e release", False),
        ("docker build .", True),
        ("docker build --push .", False),
        ("pip install x\ncurl -X POST https://example.com", False),
        ("git fetch", True),
        ("git push", False),
        ("alembic upgrade head", False),
    ],
)
def test_a_command_that_changes_something_elsewhere_may_not_run_twice(line: str, may: bool) -> None:
    assert is_repeatable(line) is may
