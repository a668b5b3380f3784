"""What simple commands a piece of shell text runs, where, and under what conditions."""

from __future__ import annotations

import pytest
from autopack_toolchain.core.shell import (
    MAX_SHELL_BYTES,
    PLACEHOLDER,
    UNKNOWN,
    Simple,
    directory_after,
    directory_left,
    directory_of,
    simple_commands,
)
from hypothesis import given, settings
from hypothesis import strategies as st


def argvs(text: str) -> list[tuple[str, ...]]:
    return [command.argv for command in simple_commands(text)]


def only(text: str) -> Simple:
    (command,) = simple_commands(text)
    return command


@pytest.mark.parametrize(
    ("text", "argv"),
    [
        ("python -m pytest -v --cov", ("python", "-m", "pytest", "-v", "--cov")),
        ("pytest -k 'not slow' \"a b\"c", ("pytest", "-k", "not slow", "a bc")),
        ("make test \\\n  V=1 # all of them", ("make", "test", "V=1")),
        ("pytest > out.txt 2>&1 -q", ("pytest", "-q")),
        ("pip install -e .[test]", ("pip", "install", "-e", ".[test]")),
        (r"echo a\ b \"c", ("echo", "a b", '"c')),
        ("npm test -- --grep=a#b", ("npm", "test", "--", "--grep=a#b")),
        ("time -p make", ("-p", "make")),
        ("! make", ("make",)),
        ("pytest ''", ("pytest", "")),
        ("echo é 中文", ("echo", "é", "中文")),
        ("npm ci\r\n", ("npm", "ci")),
    ],
)
def test_a_plain_command_gives_its_words_as_a_shell_would_split_them(text: str, argv: tuple[str, ...]) -> None:
    command = only(text)
    assert command.argv == argv
    assert command.literal
    assert not command.guarded
    assert not command.piped


@pytest.mark.parametrize(
    "text",
    [
        "pytest $ARGS",
        "pytest *.py",
        "pytest ~/x",
        "make -j$(nproc)",
        "make -j`nproc`",
        "cp {a,b} c",
        f"tox -e {PLACEHOLDER}",
        "python - <<EOF\nprint()\nEOF",
        "cat < file",
        "A=$(date) make",
        "echo $'a\\n'",
        "diff <(a) b",
    ],
)
def test_a_command_that_only_a_shell_can_complete_is_not_literal(text: str) -> None:
    assert not only(text).literal


def test_what_is_not_exact_stays_in_argv_as_it_is_written() -> None:
    assert only('make "-j$(nproc --all)" ${X:?y} "$Y/z"').argv == ("make", "-j$(nproc --all)", "${X:?y}", "$Y/z")


def test_reading_from_the_null_device_leaves_a_command_literal() -> None:
    assert only("make </dev/null").literal


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("cd x && pytest", [("pytest", "x")]),
        ("cd x\npytest\ncd ..\nmake", [("pytest", "x"), ("make", "")]),
        ("(cd x && pytest)\nmake", [("pytest", "x"), ("make", "")]),
        ("cd a; cd b/../c; make", [("make", "a/c")]),
        ("cd a; cd -; make", [("make", "")]),
        ("pushd a; pytest; popd; make", [("pytest", "a"), ("make", "")]),
        ("pushd a; cd b; popd; make", [("make", "")]),
        ("mkdir b && cd b && cmake ..\nmake", [("mkdir", ""), ("cmake", "b"), ("make", "b")]),
        ("cd $X; make", [("make", UNKNOWN)]),
        ("cd; make", [("make", UNKNOWN)]),
        ("cd /tmp; make", [("make", UNKNOWN)]),
        (f"cd {PLACEHOLDER}; make", [("make", UNKNOWN)]),
        ('cd a; cd "$GITHUB_WORKSPACE/b"; make', [("make", "/b")]),
        ('cd a; cd "$(git rev-parse --show-toplevel)"; make', [("make", "/")]),
        ("if [ -d b ]; then cd b; fi; make", [("[", ""), ("make", UNKNOWN)]),
        ("cd a | true; make", [("true", ""), ("make", "")]),
        ("cd ../..; make", [("make", "../..")]),
    ],
)
def test_a_directory_holds_for_what_follows_and_ends_with_its_subshell(
    text: str, places: list[tuple[str, str]]
) -> None:
    assert [(command.argv[0], command.cwd) for command in simple_commands(text)] == places


def test_a_directory_that_a_text_insists_on_is_the_one_afterwards() -> None:
    assert simple_commands("cd x || exit 1\nmake")[-1].cwd == "x"


@pytest.mark.parametrize(
    ("text", "guarded"),
    [
        ("a && b", {"a": False, "b": False}),
        ("a || b && c", {"a": False, "b": True, "c": True}),
        ("[ -f x ] && b; c", {"[": False, "b": True, "c": False}),
        ("[[ -f x && y ]] && b", {"b": True}),
        ("[[ -f x &&\n y ]] && b\nc", {"b": True, "c": False}),
        ("command -v uv && b", {"command": False, "b": True}),
        (
            "if a; then b; elif c; then d; else e; fi; f",
            {"a": False, "b": True, "c": True, "d": True, "e": True, "f": False},
        ),
        ("if ! a; then b; fi", {"a": False, "b": True}),
        ("while a; do b; done; c", {"a": False, "b": True, "c": False}),
        ("for x in *; do b; done", {"b": True}),
        ("for ((i=0; i<3; i++)); do b; done; c", {"b": True, "c": False}),
        ("case $x in a|b) c;; *) d;; esac; e", {"c": True, "d": True, "e": False}),
        ("((x > 1)) && b", {"b": True}),
        ("{ a; b; } || c", {"a": False, "b": False, "c": True}),
    ],
)
def test_what_stands_behind_a_condition_is_guarded(text: str, guarded: dict[str, bool]) -> None:
    assert {command.argv[0]: command.guarded for command in simple_commands(text)} == guarded


def test_parts_of_a_pipeline_are_piped() -> None:
    found = {command.argv[0]: command.piped for command in simple_commands("a | b |& c; d; (e; f) | g")}
    assert found == {"a": True, "b": True, "c": True, "d": False, "e": True, "f": True, "g": True}


def test_a_loop_over_a_written_list_is_unrolled() -> None:
    text = 'for P in "s1" s2; do\n  pushd src/$P\n  go test\n  popd\ndone\nmake'
    found = [(command.argv, command.cwd, command.guarded, command.line) for command in simple_commands(text)]
    assert found == [
        (("go", "test"), "src/s1", False, 2),
        (("go", "test"), "src/s2", False, 2),
        (("make",), "", False, 5),
    ]


def test_a_function_runs_where_it_is_called_with_what_it_is_given() -> None:
    text = 'f() {\n (cd $1 && go test "$@")\n}\nfunction g { f "$@"; }\nunused() { never; }\nf a\ng b\nf'
    found = [(command.argv, command.cwd) for command in simple_commands(text)]
    assert found[:2] == [(("go", "test", "a"), "a"), (("go", "test", "b"), "b")]
    assert found[2][1] == UNKNOWN


def test_a_function_that_calls_itself_ends() -> None:
    assert argvs("f() { a; f; }\nf") == [("a",)]


def test_variables_of_known_values_are_put_in() -> None:
    text = 'X="a b"; Y=$(date)\nexport Z=1 W\nrun $X "$X" ${X}c ${V:-d} $Y "$@"'
    command = only(text)
    assert command.argv == ("run", "a", "b", "a b", "a", "bc", "d", "$Y")
    assert command.env == {"Z": "1"}
    assert not command.literal


def test_given_variables_are_put_in_and_are_no_environment_of_the_command() -> None:
    (command,) = simple_commands("$PYTHON -m pytest", {"PYTHON": "python3"})
    assert command.argv == ("python3", "-m", "pytest")
    assert command.literal
    assert command.env == {}


def test_a_variable_set_under_a_condition_keeps_the_value_that_it_has_without() -> None:
    text = 'P=""\nif [ -d venv ]; then P=venv/bin/; N=1; fi\n${P}pytest $N'
    assert simple_commands(text)[-1].argv == ("pytest", "$N")


def test_assignments_before_a_command_are_its_environment() -> None:
    command = only("A=1 B='x y' make test")
    assert (command.argv, command.env, command.literal) == (("make", "test"), {"A": "1", "B": "x y"}, True)


def test_unset_forgets_a_variable() -> None:
    command = simple_commands("export A=1; unset A; make $A")[-1]
    assert (command.env, command.argv) == ({}, ("make", "$A"))


def test_here_documents_and_comments_run_nothing_and_lines_stay_right() -> None:
    text = "# make\ncat <<-'EOF' <<B\n\tmake a\n\tEOF\nmake b\nB\npytest\n"
    assert [(command.argv[0], command.line) for command in simple_commands(text)] == [("cat", 1), ("pytest", 6)]


@pytest.mark.parametrize(
    "text", ["echo 'a\nmake", 'echo "a\nmake', "echo $(a\nmake", "echo ${a\nmake", "echo `a\nmake"]
)
def test_what_is_never_closed_ends_with_its_line(text: str) -> None:
    assert simple_commands(text)[-1].argv == ("make",)
    assert simple_commands(text)[-1].line == 1


@pytest.mark.parametrize("text", ["fi\nmake", "done; make", ")\nmake", "&& make", "| make", ";; make", "} ; make"])
def test_an_end_or_an_operator_of_nothing_is_passed_over(text: str) -> None:
    assert argvs(text)[-1] == ("make",)


def test_arrays_are_no_commands() -> None:
    assert argvs('a=(1 2\n3)\nm[$k]=1\nrun "${a[@]}"') == [("run", "${a[@]}")]


def test_the_source_is_one_line_of_bounded_length() -> None:
    assert only("make   a \\\n b  >x").text == "make a b >x"
    assert len(only("make " + "x" * 5000).text) <= 500


def test_values_that_double_do_not_grow_without_bound() -> None:
    text = "x=ab\n" + "x=$x$x\n" * 60 + "run $x"
    assert len(simple_commands(text)[-1].argv[1]) < 2000


@pytest.mark.parametrize(
    "unit",
    [
        "(",
        "{ ",
        "$(",
        '"$(',
        "<<",
        "a | ",
        "\0",
        ")",
        "'",
        '"\n',
        "if ",
        "f() { f; f; }\n",
        "g() { f; f; }; g;\n",
        "a=(",
    ],
)
def test_hostile_text_ends(unit: str) -> None:
    assert len(simple_commands((unit * MAX_SHELL_BYTES)[: 2 * MAX_SHELL_BYTES])) <= 1000


def test_functions_that_call_functions_are_followed_a_bounded_number_of_times() -> None:
    text = "".join(f"f{n}() {{ f{n + 1}; f{n + 1}; }}\n" for n in range(30)) + "f30() { a; }\nf0"
    assert len(simple_commands(text)) <= 1000


@pytest.mark.parametrize(
    ("start", "cwd", "found"),
    [
        (".", "", "."),
        (".", "a", "a"),
        ("a/b", "..", "a"),
        ("a", "/b", "b"),
        ("a", "/", "."),
        ("a", "../..", UNKNOWN),
        (UNKNOWN, "a", UNKNOWN),
        ("a", UNKNOWN, UNKNOWN),
    ],
)
def test_a_directory_is_told_from_the_root(start: str, cwd: str, found: str) -> None:
    assert directory_of(start, cwd) == found


def test_a_change_of_directory_that_leaves_the_repository_is_unknown() -> None:
    assert directory_after(".", "a/") == "a"
    assert directory_after("a", "./b/..") == "a"
    assert directory_after(".", "$GITHUB_WORKSPACE/b") == "b"
    assert directory_after(".", "/home/x") == UNKNOWN
    assert directory_after(".", "$HOME") == UNKNOWN
    assert directory_after(".", f"a/{PLACEHOLDER}") == UNKNOWN


def test_the_directory_in_which_a_text_ends_is_told() -> None:
    assert directory_left("cd a && make\ncd b") == "a/b"
    assert directory_left("make") == ""


WORDS = (
    "if then fi for in do done case esac while function else elif select time f f() cd pushd popd export unset test -f "
    "0 a a= x=1 x=$x$x $x $@ $1 ~ EOF A ! é"
)
SIGNS = "( ) { } $( ${ \" ' ` << <<- <( > >& 2> | || && ; ;; & \\ # $(( (( x[ += $ $' * @( a=( [ [[ ]]"
FRAGMENTS = st.sampled_from([*WORDS.split(), *SIGNS.split(), "<<A\n", "\n", "\\\n", "\t", "\f", "\0"])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(FRAGMENTS, st.sampled_from(["", " ", "\n"])), max_size=30))
def test_no_text_makes_the_reader_raise(parts: list[tuple[str, str]]) -> None:
    text = "".join(fragment + separator for fragment, separator in parts)
    for command in simple_commands(text):
        assert command.argv
        assert 0 <= command.line <= text.count("\n")
        assert "\n" not in command.text
    assert isinstance(directory_of(".", directory_left(text)), str)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_no_characters_make_the_reader_raise(text: str) -> None:
    assert all(command.argv for command in simple_commands(text))
