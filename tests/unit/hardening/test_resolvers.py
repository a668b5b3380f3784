"""What a pattern's actions become, given the facts; and what comes first of several explanations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from autopack_hardening import (
    Action,
    Approval,
    Diagnosis,
    EditCommand,
    Ending,
    Failure,
    FileExists,
    Outcome,
    RegenerateLockfile,
    RemoveStaleLock,
    RetryWithBackoff,
    RunCommand,
    RunFormatter,
    Runtime,
    SetEnv,
    SwitchRuntime,
)
from autopack_hardening.adapters.registry import built_in
from autopack_hardening.core.patternfile import parse_pattern
from autopack_hardening.core.patterns import Pattern
from autopack_hardening.core.rules import check_step
from autopack_hardening.core.rules.runtime import satisfies
from autopack_kit.commands import Command

BASE: dict[str, Any] = {
    "id": "tool.broken",
    "title": "Broken",
    "tier": 2,
    "any": [r"(?m)^broken(?:: (?P<path>\S+))?(?: needs (?P<constraint>.+))?$"],
    "suggestions": ["Mend it."],
    "examples": [{"output": "broken"}, {"output": "broken\n"}],
    "near_misses": [{"output": "whole"}],
}


def pattern(mitigation: object = None, **changes: Any) -> Pattern:
    more = {} if mitigation is None else {"mitigation": mitigation, "approval": "automatic"}
    return parse_pattern({**BASE, **more, **changes}, "tool", "tool.toml", check_step)


def diagnosis(one: Pattern, output: bytes = b"broken\n", *words: str, **facts: Any) -> Diagnosis:
    failure = Failure(Command.of(*(words or ("npm", "ci"))), Ending(exit_code=1), output)
    (found,) = built_in([one]).diagnose(replace(failure, **facts)).diagnoses
    return found


def actions(mitigation: object, output: bytes = b"broken\n", *words: str, **facts: Any) -> list[Action]:
    return list(diagnosis(pattern(mitigation), output, *words, **facts).mitigation.actions)


def test_variables_are_added_to_the_options_that_the_command_had() -> None:
    more = {"action": "set_env", "env": {"NODE_OPTIONS": "--max-old-space-size=4096"}}
    (plain,) = actions(more)
    assert plain.kind == SetEnv({"NODE_OPTIONS": "--max-old-space-size=4096"})
    failure = Failure(
        Command.of("npm", "test", env={"NODE_OPTIONS": "--no-warnings"}), Ending(exit_code=1), b"broken\n"
    )
    (found,) = built_in([pattern(more)]).diagnose(failure).diagnoses
    assert found.mitigation.actions[0].kind == SetEnv({"NODE_OPTIONS": "--no-warnings --max-old-space-size=4096"})


def test_a_command_runs_only_where_what_it_needs_is_and_what_it_makes_is_not() -> None:
    venv = {"action": "run_command", "run": ["uv", "venv"], "requires": ["pyproject.toml"], "creates": [".venv"]}
    (action,) = actions(venv, paths=("pyproject.toml",))
    assert action.kind == RunCommand(Command.of("uv", "venv"))
    assert FileExists("pyproject.toml") in action.preconditions
    assert actions(venv, paths=("setup.py",)) == []


def test_a_formatter_is_started_as_the_command_did_on_the_files_that_are_named_here_and_in_scope() -> None:
    black = {"action": "run_formatter", "program": "black", "words": ["-q"]}
    output = b"broken: /work/app/src/a.py\nbroken: src/b.py\nbroken: ../out.py\nbroken: docs/c.py\n"
    (action,) = actions(
        black,
        output,
        *("uv", "run", "black", "--check", "."),
        paths=("src/a.py", "src/b.py", "docs/c.py"),
        scope=("src/**",),
    )
    command = Command.of("uv", "run", "black", "-q", "src/a.py", "src/b.py")
    assert action.kind == RunFormatter(command, ("src/a.py", "src/b.py"))
    assert actions(black, output, "make", "lint", paths=("src/a.py",)) == []


def test_what_a_command_needs_may_be_in_a_foreign_directory() -> None:
    again = {"action": "run_command", "run": ["go", "mod", "vendor"], "requires": ["vendor/modules.txt"]}
    assert actions(again, paths=("go.mod", "vendor/modules.txt"))
    assert actions(again, paths=("go.mod", "vendor/a.go")) == []


def test_a_formatter_is_started_only_where_the_output_says_that_it_can_mend_something() -> None:
    lint = {"action": "run_formatter", "program": "eslint", "words": ["--fix"], "where": "constraint"}
    assert actions(lint, b"broken: a.js needs --fix\n", "eslint", ".", paths=("a.js",))
    assert actions(lint, b"broken: a.js\n", "eslint", ".", paths=("a.js",)) == []


def test_a_lock_file_is_resolved_beside_its_manifest_and_never_without_consent() -> None:
    lock = {"action": "regenerate_lockfile", "run": ["uv", "lock"], "manifest": "pyproject.toml", "files": ["uv.lock"]}
    failure = Failure(Command.of("uv", "sync", cwd="api/src"), Ending(exit_code=1), b"broken\n")
    core = built_in([pattern(lock)])
    (found,) = core.diagnose(replace(failure, paths=("api/pyproject.toml", "api/src/a.py"))).diagnoses
    assert found.mitigation.actions[0].kind == RegenerateLockfile(Command.of("uv", "lock", cwd="api"), ("api/uv.lock",))
    assert found.mitigation.approval is Approval.CONSENT
    (elsewhere,) = core.diagnose(replace(failure, paths=("web/pyproject.toml",))).diagnoses
    assert elsewhere.mitigation.actions == ()


def test_the_highest_installed_runtime_that_fits_is_switched_to() -> None:
    switch = {"action": "switch_runtime", "runtime": "python"}
    installed = tuple(
        Runtime(name, version, f"/opt/{version}/bin")
        for name, version in (("python", "3.9.1"), ("python", "3.12.4"), ("python", "3.13.0"), ("node", "22.0.0"))
    )
    (action,) = actions(switch, b"broken needs >=3.12,<4\n", runtimes=installed)
    assert action.kind == SwitchRuntime("python", "3.13.0", "/opt/3.13.0/bin")
    assert actions(switch, b"broken needs >=3.14\n", runtimes=installed) == []
    assert actions(switch, b"broken needs >=3.12\n") == []


def test_the_lowest_runtime_is_switched_to_where_the_project_states_its_own() -> None:
    """Gradle 8.5 needs Java 17, and does not run on Java 25."""
    switch = {"action": "switch_runtime", "runtime": "java", "at_least": True}
    installed = tuple(Runtime("java", one, f"/opt/{one}/bin") for one in ("1.8.0", "25.0.1", "17.0.9", "21.0.2"))
    assert [
        action.kind.version
        for needs in ("17", "1.8", "8", "18", ">=8", "<17")
        for action in actions(switch, f"broken needs {needs}\n".encode(), runtimes=installed)
        if isinstance(action.kind, SwitchRuntime)
    ] == ["17.0.9", "1.8.0", "1.8.0", "21.0.2", "25.0.1", "1.8.0"]


@pytest.mark.parametrize(
    ("version", "constraint", "fits"),
    [
        ("3.13.0", ">=3.12", True),
        ("3.13.0", "~=3.12.1", False),
        ("3.12.4", "~3.10", False),
        ("3.10.4", "~3.10", True),
        ("22.12.0", "~22.11.0", False),
        ("22.11.1", "~22.11.0", True),
        ("22.12.0", "~22", True),
        ("20.1.0", "^18 || >=22", False),
        ("22.1.0", "^18 || >=22", True),
        ("17.0.2", "17", True),
        ("1.8.0", "1.8", True),
        ("3.13.0", "==3.12.*", False),
        ("3.13.0", "!=3.13", False),
        ("3.13.0", "<3.14", True),
        ("3.13.0", "a newer one", False),
        ("3.13.0", ">=3.12; rm -rf /", False),
        ("", ">=3", False),
    ],
)
def test_constraints_are_read_as_tools_print_them(version: str, constraint: str, fits: bool) -> None:
    assert satisfies(version, constraint) is fits


def test_a_pause_is_automatic_only_for_what_may_run_twice() -> None:
    retry = pattern({"action": "retry_with_backoff", "attempts": 2})
    fetched = diagnosis(retry, b"broken\n", "npm", "ci").mitigation
    assert fetched.actions[0].kind == RetryWithBackoff(2, 2.0, 30.0)
    assert fetched.automatic
    for words in (("npm", "publish"), ("git", "push"), ("terraform", "apply"), ("make", "deploy"), ("./do.sh",)):
        assert diagnosis(retry, b"broken\n", *words).mitigation.approval is Approval.CONSENT


def test_a_stale_lock_is_named_from_the_cwd() -> None:
    (action,) = actions({"action": "remove_stale_lock", "path": ".git/index.lock"})
    assert action.kind == RemoveStaleLock(".git/index.lock", 60)


def test_another_command_is_never_automatic() -> None:
    one = pattern({"action": "edit_command", "drop": ["--offline"], "add": ["-q"]})
    found = diagnosis(one, b"broken\n", "cargo", "build", "--offline").mitigation
    assert found.actions[0].kind == EditCommand(Command.of("cargo", "build", "-q"))
    assert found.approval is Approval.CONSENT
    assert diagnosis(one, b"broken\n", "cargo", "build", "-q").mitigation.actions == ()


def test_other_words_are_for_the_command_lines_that_the_pattern_names() -> None:
    one = pattern({"action": "edit_command", "add": ["--set-upstream"], "commands": ["git push", "git push -*"]})
    found = diagnosis(one, b"broken\n", "/usr/bin/git", "push", "-v").mitigation
    assert found.actions[0].kind == EditCommand(Command.of("/usr/bin/git", "push", "-v", "--set-upstream"))
    assert diagnosis(one, b"broken\n", "git", "pull").mitigation.actions == ()


def test_half_a_mitigation_is_none() -> None:
    both = [{"action": "run_command", "run": ["uv", "venv"], "creates": [".venv"]}, {"action": "restore_out_of_scope"}]
    assert actions(both) == []


def test_a_cause_comes_before_what_wraps_it_whatever_the_priorities() -> None:
    cause = pattern(id="tool.cause", any=["(?m)^cause$"], priority=9)
    wrapper = pattern(id="tool.wrapper", any=["(?m)^wrapper$"], priority=1, wraps=["tool.c*"])
    failure = Failure(None, Ending(exit_code=1), b"cause\nwrapper\n")
    found = built_in([cause, wrapper]).diagnose(failure).diagnoses
    assert [one.pattern_id for one in found] == ["tool.cause", "tool.wrapper"]


def test_a_wrapper_that_reads_the_line_of_its_cause_is_left_out() -> None:
    special = pattern(id="tool.special", any=["(?m)^broken gear$"])
    general = pattern(id="tool.general", any=["(?m)^broken [a-z]+$"], wraps=["tool.special"])
    failure = Failure(None, Ending(exit_code=1), b"broken gear\n")
    found = built_in([special, general]).diagnose(failure).diagnoses
    assert [one.pattern_id for one in found] == ["tool.special"]


def test_two_readings_of_one_line_are_ambiguous_and_neither_is_automatic() -> None:
    retry = {"action": "retry_with_backoff"}
    one, other = pattern(retry, id="tool.one"), pattern(retry, id="tool.other")
    result = built_in([one, other]).diagnose(Failure(Command.of("npm", "ci"), Ending(exit_code=1), b"broken\n"))
    assert result.outcome is Outcome.AMBIGUOUS
    assert [found.mitigation.approval for found in result.diagnoses] == [Approval.CONSENT, Approval.CONSENT]
    assert "read in another way" in result.diagnoses[0].mitigation.consent_reason


@pytest.mark.parametrize(
    ("output", "matches"),
    [
        (b"broken\n", True),
        (b"broken\nbut not really\n", False),
        (b"broken\nDone. Your build exited with 0.\n", False),
        (b"Done. Your build exited with 0.\nbroken\n", True),
        # Maven tells of its own troubles.
        (b"broken\n[INFO] BUILD SUCCESS\n", True),
    ],
)
def test_what_was_overcome_or_is_excluded_does_not_count(output: bytes, matches: bool) -> None:
    core = built_in([pattern(none=["(?m)^but not really$"])])
    assert bool(core.diagnose(Failure(None, Ending(exit_code=1), output)).diagnoses) is matches


def test_everything_that_must_occur_must_occur() -> None:
    core = built_in([pattern(all=["(?m)^first$", "(?m)^second$"])])
    for output, matches in ((b"first\nbroken\n", False), (b"first\nsecond\nbroken\n", True)):
        assert bool(core.diagnose(Failure(None, Ending(exit_code=1), output)).diagnoses) is matches


def test_a_line_of_noise_does_not_count_unless_the_pattern_says_so() -> None:
    for noisy in (False, True):
        core = built_in([pattern(any=[{"re": "broken", "noisy": noisy}])])
        found = core.diagnose(Failure(None, Ending(exit_code=1), b"npm warn broken\n")).diagnoses
        assert bool(found) is noisy


def test_a_literal_code_is_a_word() -> None:
    core = built_in([pattern(any=[], codes=["E404"], suggestions=["It is not there."])])
    for output, matches in (
        (b"npm error code E404\n", True),
        (b"[E404] x", True),
        (b"E4040\n", False),
        (b"xE404", False),
    ):
        assert bool(core.diagnose(Failure(None, Ending(exit_code=1), output)).diagnoses) is matches


@pytest.mark.parametrize(
    ("output", "advice"),
    [
        (b"broken pump in hall 3\n", ["Look after the pump.", "Hall 3 is loud."]),
        (b"broken pump\n", ["Look after the pump."]),
        (b"broken valve of pump 7\n", ["Pump 7 needs a valve."]),
        (b"broken valve\n", ["Something needs a valve."]),
    ],
)
def test_the_first_of_the_other_suggestions_that_can_be_filled_in_stands_where_there_is_none(
    output: bytes, advice: list[str]
) -> None:
    core = built_in(
        [
            pattern(
                any=[r"broken (?P<part>pump)(?: in hall (?P<hall>\d))?", r"broken valve(?: of pump (?P<number>\d))?"],
                suggestions=["Look after the {part}.", "Hall {hall} is loud."],
                otherwise=["Pump {number} needs a valve.", "Something needs a valve."],
            )
        ]
    )
    (found,) = core.diagnose(Failure(None, Ending(exit_code=1), output)).diagnoses
    assert [one.text for one in found.mitigation.suggestions] == advice


def test_an_occurrence_that_captures_more_decides_before_a_later_one_and_of_equal_ones_the_last() -> None:
    core = built_in(
        [pattern(any=[r"(?m)^broken: (?P<part>\w+)", "(?m)^[0-9] broken"], suggestions=["Mend the {part}."])]
    )
    output = b"broken: pump\nbroken: valve\n2 broken\n"
    (found,) = core.diagnose(Failure(None, Ending(exit_code=1), output)).diagnoses
    assert (found.line, found.excerpt) == (2, b"broken: valve")
    assert [one.text for one in found.mitigation.suggestions] == ["Mend the valve."]


def test_the_excerpt_is_the_line_of_the_last_word_of_what_was_found() -> None:
    core = built_in([pattern(any=[r"(?m)^broken: (?P<path>\S+)\s*\z"])])
    (found,) = core.diagnose(Failure(None, Ending(exit_code=1), b"start\nbroken: a/b\n\n\n")).diagnoses
    assert (found.line, found.excerpt) == (2, b"broken: a/b")
