"""What reads like a failure and is none, in the packaged data."""

from __future__ import annotations

import pytest
from autopack_hardening import Ending, Failure
from autopack_hardening.adapters.registry import diagnostician, load_noise
from autopack_hardening.core.literals import need
from autopack_hardening.core.patterns import parse_line
from autopack_kit.commands import Command, Script

REFUSED = "Error: connect ECONNREFUSED 127.0.0.1:5432\n"
JEST = "Test Suites: 1 passed, 1 total\nTests:       2 skipped, 3 passed, 5 total\nSnapshots:   0 total\nTime:  1.2 s\n"
ENDS = (
    JEST + "Ran all test suites.\n",
    JEST + "Ran all test suites.\nDone in 3.21s.\n",
    " Test Files  2 passed (2)\n      Tests  4 passed | 1 skipped (5)\n   Start at  10:00:00\n   Duration  1.50s\n",
    "  3 passing (24ms)\n  2 pending\n\n",
    "# tests 4\n# pass 3\n# fail 0\n# cancelled 0\n# skipped 1\n# todo 0\n# duration_ms 747.8\n",
    "\u2139 fail 0\n\u2139 cancelled 0\n\u2139 skipped 0\n\u2139 todo 0\n\u2139 duration_ms 74.8\n",
    "============ 213 passed, 1 skipped, 1 warning in 12.34s ============\n",
    "3 passed in 0.12s\n",
    "  py311: OK (12.30 seconds)\n  congratulations :) (13.10 seconds)\n",
    "ok  \texample.com/app/a\t0.011s\n?   \texample.com/app/b\t[no test files]\n",
    '{"Action":"pass","Package":"example.com/app/a","Elapsed":0.019}\n',
    "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\n",
    "Time: 0.039\n\nOK (2 tests)\n\n",
    "12 examples, 0 failures, 1 pending\n",
    "[==========] 2 tests from 1 test suite ran. (3 ms total)\n[  PASSED  ] 2 tests.\n",
    "100% tests passed, 0 tests failed out of 12\n\nTotal Test time (real) =   3.21 sec\n",
    "Files=1, Tests=3,  0 wallclock secs\nResult: PASS\n",
    "Passed!  - Failed:     0, Passed:    12, Skipped:     0, Total:    12, Duration: 1 s - A.dll (net8.0)\n",
    "  1 flaky\n    a.spec.ts:3:1\n  2 passed (34.0s)\n",
    "Done in 32.11s.\n",
    "ok 1 - starts\nok 2 - stops\n1..2\n",
    "3 tests, 0 failures, 1 skipped\n",
    ".S\n\n2 runs, 3 assertions, 0 failures, 0 errors, 1 skips\n\nYou have skipped tests.\n",
    "14 passed, 0 failed\n",
)
VERDICTS = (
    "FAIL src/a.test.js\n",
    "FAILED tests/test_a.py::test_b - AssertionError\n",
    "FAIL\texample.com/app/c\t0.2s\n",
    "Tests:       1 failed, 3 passed, 4 total\n",
    "not ok 2 - stops\n",
    "not ok 2 - tells of #12 # and stops\n",
    "2 runs, 3 assertions, 0 failures, 1 errors, 0 skips\n",
    "  1 failing\n",
    "==== 1 failed, 3 passed in 0.12s ====\n",
    "test result: FAILED. 1 passed; 1 failed; 0 ignored\n",
    "npm error Lifecycle script `test` failed with error:\n",
    "error Command failed with exit code 1.\n",
    "Found 2 errors in 1 file.\n",
    "src/a.ts(3,1): error TS2304: Cannot find name 'b'.\n",
    "\u2716 3 problems (1 error, 2 warnings)\n",
    "make[1]: *** [Makefile:3: lint] Error 1\n",
    "[INFO] BUILD FAILURE\n",
    'Jest: "global" coverage threshold for statements (80%) not met: 50%\n',
    "FAIL Required test coverage of 80% not reached. Total coverage: 50.00%\n",
    "Process completed with exit code 1.\n",
    "ERROR: No matching distribution found for acme\n",
)


SORTED = "ERROR: /app/a.py Imports are incorrectly sorted and/or formatted.\n"
PYTEST = "============================= test session starts ==============================\ncollected 2 items\n\n"
PYTEST_END = "============================== 2 passed in 0.12s ===============================\n"


def found(output: str, command: str = "", exit_code: int = 1) -> list[str]:
    failure = Failure(parse_line(command), Ending(exit_code), output.encode())
    return [one.pattern_id for one in diagnostician().diagnose(failure).diagnoses]


@pytest.mark.parametrize("end", ENDS)
def test_what_passing_tests_print_is_no_failure(end: str) -> None:
    assert found(REFUSED)
    assert found(REFUSED + end) == []
    # Not where the output goes on.
    assert found(REFUSED + end + "then the deployment broke\n")
    # What comes after it counts in any case.
    assert found(end + REFUSED) == found(REFUSED)


@pytest.mark.parametrize("verdict", VERDICTS)
def test_one_that_passes_does_not_hide_one_that_failed(verdict: str) -> None:
    for end in ENDS:
        assert set(found(REFUSED)) <= set(found(REFUSED + verdict + end)), end


def test_what_ends_an_output_is_looked_for_at_its_end() -> None:
    """Within a line that is looked at alone, the end of the line would be that of the text."""
    regexes = [one.regex for one in load_noise().passed]
    assert not [one for one in regexes if need(one).stays_in_line or not need(one).words]


@pytest.mark.parametrize(
    "output",
    [
        "W: Failed to fetch http://deb.example/dists/x/InRelease  Temporary failure resolving 'deb.example'\n",
        "* connect to 10.0.0.1 port 80 failed: Connection refused\n* Connected to x.example (10.0.0.2) port 80 (#0)\n",
        "npm verb stack Error: EPERM: operation not permitted\nadded 2 packages in 3s\n",
        "Colours are off if the NO_COLOR environment variable is set.\n",
        '127.0.0.1 - - [10/Oct/2026 10:00:01] "GET /a HTTP/1.1" 503 -\n',
        "error: cannot read the widget: No such file or directory, taking the default\n",
        "nc: connect to db port 5432 (tcp) failed: Connection refused\ndb:5432 is available after 3 seconds\n",
    ],
)
def test_lines_that_are_no_failure(output: str) -> None:
    assert found(output) == []


def test_a_run_that_passes_speaks_for_itself_only() -> None:
    """What another tool found before it was not overcome, whether or not that tool has a verdict."""
    assert found(SORTED) == ["fmt.isort"]
    assert found(SORTED + PYTEST + PYTEST_END) == ["fmt.isort"]
    assert found(PYTEST + SORTED + PYTEST_END) == []
    assert found(PYTEST + REFUSED + PYTEST_END) == []
    assert found(REFUSED + PYTEST + PYTEST_END) == found(REFUSED)
    assert found(REFUSED + "Compiling\n" + PYTEST + PYTEST_END, "pytest") == []


def test_where_a_run_begins_is_known_if_it_is_all_there_is() -> None:
    assert found(SORTED + "2 passed in 0.12s\n", "pytest -q") == []
    assert found(SORTED + "2 passed in 0.12s\n", "isort --check . ; pytest -q") == ["fmt.isort"]
    assert found(SORTED + "2 passed in 0.12s\n", "bash ci.sh") == ["fmt.isort"]
    assert found(SORTED + "2 passed in 0.12s\n", "make check") == ["fmt.isort"]
    # What programs live through may be of that run.
    assert found(REFUSED + "2 passed in 0.12s\n", "bash ci.sh") == []


@pytest.mark.parametrize("end", ["ready\n", "[7] [INFO] Listening at: http://0.0.0.0:8000\n", "2 checks passed\n\n"])
def test_a_program_that_ends_well_lived_through_its_troubles(end: str) -> None:
    assert found(REFUSED + end, "./app") == []
    # What a linter found is there whatever is told in the end.
    assert found(SORTED + end, "./app") == ["fmt.isort"]
    # Something failed all the same.
    assert found(REFUSED + "FAIL src/a.test.js\n" + end, "./app")
    assert found(REFUSED + end, "./app", 3) == found(REFUSED)


@pytest.mark.parametrize("command", ["bash deploy.sh", "./release.sh", "make report", "npm run ci", "", "./app"])
@pytest.mark.parametrize("end", ["Done.\n", "Build finished in 2s\n", "Deployment complete\n", "Logs saved\n"])
def test_that_the_end_is_reached_is_no_success(command: str, end: str) -> None:
    assert found(REFUSED + end, command) == found(REFUSED)


@pytest.mark.parametrize("command", ["bash deploy.sh", "./release.sh", "make report", "npm run ci", ""])
def test_of_several_programs_the_last_line_must_speak_of_nothing_else(command: str) -> None:
    for end in ("ready for the build\n", "report uploaded: ok\n", "0 files copied, 132 up to date\n"):
        assert found(REFUSED + end, command) == found(REFUSED), end
    for end in ("ok\n", "All good!\n", "== 12 tests passed ==\n"):
        assert found(REFUSED + end, command) == [], end


@pytest.mark.parametrize(
    "end",
    [
        "the server was not ready\n",
        "finished with 3 errors\n",
        "info Visit https://example.com/done\n",
        "2 of 3 checks passed\n",
        "passed: 2/3\n",
        "ready: no\n",
        "Analysis ready, 2 problems\n",
        "x" * 500 + " ok\n",
    ],
)
def test_a_last_line_that_is_not_all_well(end: str) -> None:
    assert found(REFUSED + end, "./app") == found(REFUSED)


def test_an_installer_that_succeeds_speaks_for_itself_only() -> None:
    header = "a.c:1:10: fatal error: Python.h: No such file or directory\ncompilation terminated.\n"
    assert found(header) == ["native.missing_header"]
    assert found(header + "Successfully installed markupsafe-1.0\nnow the tests\n") == []
    assert found(SORTED + "Successfully installed markupsafe-1.0\nnow the tests\n") == ["fmt.isort"]


def test_a_thread_that_ends_is_not_the_program() -> None:
    for thread, line in {
        "main": 'Exception in thread "main" java.lang.IllegalStateException: pool closed\n\tat S.main(S.java:1)\n',
        "Thread-0": 'Exception in thread "Thread-0" java.lang.IllegalStateException: closed\n\tat S.run(S.java:1)\n',
        "<unnamed>": "thread '<unnamed>' (7) panicked at src/main.rs:1:1:\nboom\n",
    }.items():
        assert bool(found(line)) == (thread == "main"), thread


@pytest.mark.parametrize(
    "command",
    [
        "cat build.log",
        "grep -n make x",
        "tail -n 5 a.log | grep -v INFO",
        "git show HEAD",
        "man 3 open",
        "kubectl logs x",
    ],
)
def test_what_a_command_shows_is_not_its_own_failure(command: str) -> None:
    log = "  make: *** [all] Error 2\n12:fatal error: x.h: No such file or directory\nDone.\nError: ENOENT x\n"
    assert found(log, command) == []
    assert found(log, f"{command} && ./build")


@pytest.mark.parametrize(
    ("command", "output", "pattern"),
    [
        ("cat nope", "cat: nope: No such file or directory\n", "os.no_such_file"),
        ("grep x nope | head", "bash: line 1: grep: command not found\n", "os.command_not_found"),
        ("git log", "fatal: not a git repository (or any of the parent directories): .git\n", "git.not_a_repository"),
        (
            "kubectl get pods",
            "Unable to connect to the server: dial tcp 10.0.0.1:443: connect: connection refused\n",
            "net.connection_refused",
        ),
        ("tool --help", "tool: command not found\n", "os.command_not_found"),
        ("tool --help", "  --x  error: y\nerror: unrecognized arguments: --y\n", "cli.unknown_option"),
        # A command within the command may say anything.
        ("echo $(python a.py)", "ModuleNotFoundError: No module named 'yaml'\n", "py.module_not_found"),
    ],
)
def test_what_such_a_command_says_itself(command: str, output: str, pattern: str) -> None:
    assert found(output, command)[:1] == [pattern]


MISSING = "ModuleNotFoundError: No module named 'acme'\n"


@pytest.mark.parametrize(
    ("end", "command"),
    [
        ("Cleanup complete.\n", "./run.sh"),
        ("Cleaning up... done\n", "./run.sh"),
        ("Temporary files cleaned up\n", "./run.sh"),
        ("Stopping app_db_1 ... done\n", "docker-compose up"),
        ("INFO:     Application shutdown complete.\n", "uvicorn app:app"),
        ("INFO:root:Connection closed\n", "python serve.py"),
        ("==> Builds finished but no artifacts were created.\n", "packer build ."),
        ("nox > Command python a.py failed with exit code 1\nnox > * tests: failed\nnox > * lint: success\n", "nox"),
        ("ERROR:   py27: commands failed\n  py36: commands succeeded\n", "tox"),
        ("  py311: FAIL code 1 (1.00 seconds)\n  lint: OK (2 seconds)\n", "tox"),
    ],
)
def test_what_is_put_away_at_the_end_or_passes_besides_hides_no_failure(end: str, command: str) -> None:
    assert found(MISSING + end, command)[:1] == ["py.module_not_found"]


@pytest.mark.parametrize(
    "line",
    [
        "ModuleNotFoundError: No module named 'retrying'\n",
        "ModuleNotFoundError: No module named 'optional'\n",
        "src/a.ts(3,5): error TS2339: Property 'fallback' does not exist on type 'X'.\n",
        "src/optional/a.ts(3,5): error TS2339: Property 'b' does not exist on type 'X'.\n",
        "a.cpp:1:10: fatal error: optional: No such file or directory\n",
        "a.ts(1,24): error TS1016: A required parameter cannot follow an optional parameter.\n",
        "1700000000 ERROR could not connect to server: Connection refused\n",
    ],
)
def test_names_and_times_are_no_talk_of_something_overcome(line: str) -> None:
    assert found(line)


@pytest.mark.parametrize(
    "sign", ["redis not found, continuing without cache\n", "db:5432 is available after 3 seconds\n"]
)
def test_who_goes_on_without_a_service_has_not_fixed_what_else_failed(sign: str) -> None:
    assert found(REFUSED + sign) == []
    assert found("ERROR: No matching distribution found for acme\n" + sign) == ["pip.no_matching_distribution"]


def test_an_error_that_make_ignores_hides_no_other() -> None:
    header = "a.c:1:10: fatal error: foo.h: No such file or directory\nmake: *** [Makefile:3: a.o] Error 1\n"
    ignored = "rm: cannot remove 'junk': No such file or directory\nmake: [Makefile:5: clean] Error 1 (ignored)\n"
    assert found(header + ignored, "make -k")[0] == "native.missing_header"
    assert found(ignored, "make -k") == []


@pytest.mark.parametrize("command", ["npm run ci", "just ci", "python ci.py", "node tools/ci.mjs"])
def test_what_runs_others_may_have_failed_before_the_run_that_passed(command: str) -> None:
    assert found(MISSING + PYTEST + PYTEST_END, command) == ["py.module_not_found"]
    assert found(PYTEST + MISSING + PYTEST_END, command) == []


@pytest.mark.parametrize("text", ["tail -f a.log & python a.py", "cat a |& python a.py", "diff <(python a.py)|cat"])
def test_only_showing_is_all_that_is_run(text: str) -> None:
    failure = Failure(Command(script=Script(("bash",), text)), Ending(1), MISSING.encode())
    assert [one.pattern_id for one in diagnostician().diagnose(failure).diagnoses] == ["py.module_not_found"]


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("awk 1 gone.txt", "mawk: cannot open gone.txt (No such file or directory)\n"),
        ("xzcat gone.xz", "xz: gone.xz: No such file or directory\n"),
    ],
)
def test_what_shows_text_may_have_another_name(command: str, line: str) -> None:
    assert found(line, command) == ["os.no_such_file"]


@pytest.mark.parametrize(
    ("command", "end"),
    [
        ("python a.py; true", ""),
        ("python a.py; ./b || true", ""),
        ("python a.py && echo fine", ""),
        ("python a.py; echo next", "another line\n"),
        ("python a.py; s=$?; echo next; exit $s", "next\n"),
        ("sh a.sh", "next\n"),
        ("echo 'a || true'; python a.py", "a || true\n"),
        ("(python a.py || true)", ""),
        ("python a.py || echo none > a.txt", ""),
        ("echo a#b; python a.py", ""),
        ("exec python a.py || true", ""),
        ("python a.py || true; exit 1 || true", ""),
        ("python a.py || true; : ${NAME:?is to be set}", ""),
        ("python a.py || true" + 2048 * " " + "; python b.py", ""),
        ("cat a.txt" + 2048 * " " + "; python a.py", ""),
    ],
)
def test_what_fails_in_a_script_is_told_whatever_stands_beside_it(command: str, end: str) -> None:
    assert found(MISSING + end, command)[:1] == ["py.module_not_found"]
