"""Wrong directory, scope, tests that are not found, and rights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from autopack_hardening import (
    ChangeCwd,
    Diagnosis,
    DirectoryExists,
    Ending,
    Failure,
    FileExists,
    PathAbsent,
    ProjectFacts,
    RestoreOutOfScope,
    SetEnv,
    diagnose,
)
from autopack_kit.commands import Command

NO_MANIFEST = (
    b"npm error enoent Could not read package.json: Error: ENOENT: no such file or directory, open '/w/package.json'\n"
)
NO_PATH = b"ERROR: file or directory not found: tests/unit\n"


def failure(command: Command, output: bytes, *paths: str, code: int = 1, **facts: object) -> Failure:
    return replace(Failure(command, Ending(exit_code=code), output, paths=paths), **facts)  # type: ignore[arg-type]


def found(one: Failure, name: str) -> Diagnosis:
    return next(
        diagnosis for diagnosis in diagnose(one).diagnoses if name in (diagnosis.pattern_id, *diagnosis.aliases)
    )


def cwd(one: Failure, name: str = "wrong_working_dir") -> str | None:
    actions = [action.kind for action in found(one, name).mitigation.actions]
    return actions[0].cwd if actions and isinstance(actions[0], ChangeCwd) else None


def test_the_only_directory_with_the_manifest_is_where_the_command_belongs() -> None:
    diagnosis = found(failure(Command.of("npm", "test"), NO_MANIFEST, "web/package.json"), "wrong_working_dir")
    (action,) = diagnosis.mitigation.actions
    assert action.kind == ChangeCwd("web")
    assert action.preconditions == (
        DirectoryExists("web"),
        FileExists("web/package.json"),
        PathAbsent("package.json"),
    )
    assert diagnosis.mitigation.automatic


def test_installed_copies_of_a_manifest_do_not_count() -> None:
    paths = ("web/package.json", "web/node_modules/x/package.json", "vendor/y/package.json")
    assert cwd(failure(Command.of("npm", "test"), NO_MANIFEST, *paths)) == "web"


def test_two_directories_with_the_manifest_are_listed_and_none_is_chosen() -> None:
    one = failure(Command.of("npm", "test"), NO_MANIFEST, "web/package.json", "api/package.json")
    diagnosis = found(one, "wrong_working_dir")
    assert diagnosis.mitigation.actions == ()
    assert "api, web" in diagnosis.mitigation.suggestions[0].text


def test_a_path_of_the_command_that_exists_elsewhere_moves_the_command() -> None:
    one = failure(Command.of("pytest", "tests/unit"), NO_PATH, "backend/tests/unit/test_a.py", "README.md", code=4)
    assert cwd(one) == "backend"


def test_tests_are_not_run_elsewhere_for_what_one_of_them_missed() -> None:
    output = b'file "acme.toml" does not exist\nFAILED tests/test_a.py::test_x\n1 failed in 0.1s\n'
    mitigation = found(failure(Command.of("pytest"), output, "backend/acme.toml"), "os.no_such_file").mitigation
    assert mitigation.actions
    assert "other tests" in mitigation.consent_reason


def test_a_command_that_runs_too_deep_is_moved_up() -> None:
    one = failure(Command.of("pytest", "tests/unit", cwd="tests"), NO_PATH, "tests/unit/test_a.py", code=4)
    assert cwd(one) == "."


def test_an_absolute_path_is_read_as_the_command_had_it() -> None:
    output = b"python: can't open file '/w/run/manage.py': [Errno 2] No such file or directory\n"
    one = failure(Command.of("python", "manage.py", "test"), output, "backend/manage.py", code=2)
    assert cwd(one, "os.no_such_file") == "backend"


def test_a_command_that_also_names_a_file_of_the_old_place_needs_consent() -> None:
    command = Command.of("pytest", "-c", "ci/pytest.ini", "tests/unit")
    one = failure(command, NO_PATH, "ci/pytest.ini", "backend/tests/unit/test_a.py", code=4)
    diagnosis = found(one, "wrong_working_dir")
    assert not diagnosis.mitigation.automatic
    assert "ci/pytest.ini" in diagnosis.mitigation.consent_reason


@pytest.mark.parametrize(
    ("words", "output"),
    [
        ("rm -r parts", b"rm: cannot remove 'parts': No such file or directory\n"),
        ("kubectl delete -f parts", b'error: the path "parts" does not exist\n'),
        ("docker build .", b"#8 0.2 /bin/sh: 1: cd: can't cd to parts\n"),
    ],
)
def test_what_takes_away_or_reaches_beyond_the_workspace_is_not_moved_unasked(words: str, output: bytes) -> None:
    mitigation = found(failure(Command.of(*words.split()), output, "web/parts/a.js"), "os.no_such_file").mitigation
    assert mitigation.actions
    assert "take away" in mitigation.consent_reason


@pytest.mark.parametrize(
    ("word", "more", "is_automatic"),
    [
        ("./lib", ("lib/a.js", "web/lib/a.js"), False),
        ("./left-pad", (), False),
        ("../shared", (), False),
        ("./...", (), True),
        ("--prefix=./x", (), True),
    ],
)
def test_a_path_that_may_mean_something_else_there_needs_consent(
    word: str, more: tuple[str, ...], is_automatic: bool
) -> None:
    one = failure(Command.of("npm", "install", word), NO_MANIFEST, "web/package.json", *more)
    assert found(one, "wrong_working_dir").mitigation.automatic is is_automatic


def test_a_manifest_that_is_missing_in_a_directory_that_the_command_names_moves_nothing() -> None:
    output = (
        b"npm error enoent Could not read package.json: Error: ENOENT: no such file, open '/app/a b/c/package.json'\n"
    )
    one = failure(Command.of("npm", "install", "a b/c"), output, "web/package.json")
    assert found(one, "wrong_working_dir").mitigation.actions == ()


def test_a_program_given_by_a_relative_path_is_not_moved_away_from() -> None:
    one = failure(Command.of(".venv/bin/pytest", "tests/unit"), NO_PATH, "backend/tests/unit/test_a.py", code=4)
    assert not found(one, "wrong_working_dir").mitigation.automatic


@pytest.mark.parametrize("path", ["../../etc", "/etc/passwd", "../x"])
def test_a_path_that_leads_out_is_nowhere(path: str) -> None:
    output = f"ERROR: file or directory not found: {path}\n".encode()
    one = failure(Command.of("pytest", path), output, "a/etc/x", "etc/passwd", "b/x", code=4)
    assert [found.mitigation.actions for found in diagnose(one).diagnoses] == [()]


def test_the_projects_own_module_in_src_is_put_on_the_path_of_the_rerun() -> None:
    output = b"E   ModuleNotFoundError: No module named 'acme'\n"
    command = Command.of("pytest", env={"PYTHONPATH": "lib"})
    one = failure(command, output, "src/acme/__init__.py", "tests/test_a.py", code=2)
    (action,) = found(one, "wrong_working_dir").mitigation.actions
    assert action.kind == SetEnv({"PYTHONPATH": "src:lib"})


def test_a_path_that_was_tried_is_not_tried_again() -> None:
    output = b"E   ModuleNotFoundError: No module named 'acme'\n"
    command = Command.of("pytest", env={"PYTHONPATH": "src"})
    assert diagnose(failure(command, output, "src/acme/__init__.py", code=2)).diagnoses == ()


def test_a_module_run_by_name_moves_the_command_to_its_package() -> None:
    output = b"/usr/bin/python: No module named acme\n"
    one = failure(Command.of("python", "-m", "acme"), output, "backend/acme/__init__.py", "backend/acme/__main__.py")
    assert cwd(one) == "backend"


def test_changes_outside_the_scope_that_the_caller_knows_are_restored() -> None:
    output = b"ERROR: path 'infra/main.tf' is outside the scope of this task\n"
    one = failure(Command.of("agent"), output, scope=("src/",), out_of_scope_paths=("infra/main.tf", "src/a.py"))
    (action,) = found(one, "scope_mismatch").mitigation.actions
    assert action.kind == RestoreOutOfScope(("infra/main.tf",))


@pytest.mark.parametrize("facts", [{"scope": ("src/",)}, {"out_of_scope_paths": ("infra/main.tf",)}, {}])
def test_a_path_that_only_the_output_names_is_never_restored(facts: dict[str, Any]) -> None:
    output = b"ERROR: path 'src/../infra/main.tf' is outside the scope of this task\n"
    assert found(failure(Command.of("agent"), output, **facts), "scope_mismatch").mitigation.actions == ()


NO_TESTS = b"collected 0 items\n\n===== no tests ran in 0.01s =====\n"


def test_tests_that_the_selection_missed_are_listed() -> None:
    one = failure(Command.of("pytest", "docs"), NO_TESTS, "tests/test_a.py", "docs/x.md", code=5)
    diagnosis = found(one, "missing_test_discovery")
    assert diagnosis.mitigation.actions == ()
    assert "tests/test_a.py" in diagnosis.mitigation.suggestions[0].text


def test_tests_of_the_only_other_project_are_offered_with_consent() -> None:
    project = ProjectFacts("backend", "python")
    command = Command.of("pytest", cwd="tools")
    paths = ("backend/tests/test_a.py", "tools/x.py")
    diagnosis = found(failure(command, NO_TESTS, *paths, code=5, projects=(project,)), "missing_test_discovery")
    assert [action.kind for action in diagnosis.mitigation.actions] == [ChangeCwd("backend")]
    assert not diagnosis.mitigation.automatic


def test_other_exit_codes_of_pytest_are_not_about_discovery() -> None:
    assert diagnose(failure(Command.of("pytest"), NO_TESTS, code=1)).diagnoses == ()


@pytest.mark.parametrize("code", [1, 126])
def test_refused_access_is_advice_that_widens_no_right(code: int) -> None:
    one = failure(Command.of("./run.sh"), b"bash: line 1: ./run.sh: Permission denied\n", code=code)
    mitigation = found(one, "permission_error").mitigation
    assert not mitigation.automatic
    text = " ".join(suggestion.text for suggestion in mitigation.suggestions)
    assert "sudo" not in text
    assert "chmod 777" not in text
    assert "./run.sh" in text
