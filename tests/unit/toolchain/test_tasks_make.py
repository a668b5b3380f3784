"""Targets of makefiles: what they run, with the variables that the file gives."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from autopack_toolchain.core.tasks import Task

Tasks = Callable[..., dict[str, Task]]


def body(tasks: dict[str, Task], name: str = "test") -> tuple[str, ...]:
    return tasks[name].bodies


def test_a_target_carries_its_line_its_call_its_recipe_and_what_it_needs(tasks_of: Tasks) -> None:
    make = ".PHONY: test\n\ntest: build  ## Run the tests\n\t@echo go\n\t-pytest tests\nbuild:\n\tpython -m build\n"
    task = tasks_of({"Makefile": make})["test"]
    assert task == Task(
        "make", "test", "Makefile", 3, ".", ("make", "test"), ("echo go", "pytest tests"), ("build",), "Run the tests"
    )


def test_a_makefile_of_a_directory_is_called_there(tasks_of: Tasks) -> None:
    task = tasks_of({"sub/Makefile": "test:\n\tgo test ./...\n"}, directory="sub")["test"]
    assert (task.directory, task.path, task.argv) == ("sub", "sub/Makefile", ("make", "test"))


def test_make_without_a_target_makes_the_first_one_that_is_no_special_target(tasks_of: Tasks) -> None:
    tasks = tasks_of({"Makefile": ".SUFFIXES:\n.PHONY: all\nall: test\ntest:\n\tpytest\n"})
    assert tasks[""].argv == ("make",)
    assert tasks[""].needs == ("all",)


def test_make_without_a_target_makes_the_named_default_goal(tasks_of: Tasks) -> None:
    assert tasks_of({"Makefile": ".DEFAULT_GOAL := b\na:\n\tx\nb:\n\ty\n"})[""].needs == ("b",)


@pytest.mark.parametrize(
    ("definitions", "line", "expected"),
    [
        ("PYTHON = python3", "$(PYTHON) -m pytest", "python3 -m pytest"),
        ("GO ?= go", "${GO} test ./...", "go test ./..."),
        ("BIN := .venv/bin\nPY = $(BIN)/python", "$(PY) -m pytest", ".venv/bin/python -m pytest"),
        ("export FLAGS = -v", "pytest $(FLAGS)", "pytest -v"),
        ("A = x\nA += y", "run $(A)", "run x y"),
        ("A := 1\nB := $(A)\nA := 2", "run $(B)", "run 1"),
        ("", "pytest $(ARGS)", "pytest"),
        ("", "$(MAKE) -C docs html", "make -C docs html"),
        ("", "cd $(CURDIR)/sub && pytest", "cd ./sub && pytest"),
        ("ROOT := $(shell dirname $(realpath $(firstword $(MAKEFILE_LIST))))", "cd $(ROOT)/sub", "cd ./sub"),
        ("PY := $(shell which python3)", "$(PY) -m pytest", "python3 -m pytest"),
        ("BIN = $(shell go env GOPATH)/bin", "$(BIN)/golangci-lint run", "$(go env GOPATH)/bin/golangci-lint run"),
        ("", "$(HOME)/bin/tool", "${HOME}/bin/tool"),
        ("", "echo $$HOME $@", "echo $HOME test"),
        ("F = $(foreach f,a b,$(f))", "lint $(F)", "lint ${foreach}"),
        ("A = $(B)\nB = $(A)", "run $(A)", "run ${_}"),
        ("X = a # note", "run $(X)", "run a"),
    ],
)
def test_variables_are_expanded_as_far_as_the_file_tells_them(
    tasks_of: Tasks, definitions: str, line: str, expected: str
) -> None:
    assert body(tasks_of({"Makefile": f"{definitions}\ntest:\n\t{line}\n"})) == (expected,)


def test_a_variable_of_one_target_stands_before_that_of_the_file(tasks_of: Tasks) -> None:
    tasks = tasks_of({"Makefile": "T = all\nunit: T = unit\nunit:\n\tpytest $(T)\ntest:\n\tpytest $(T)\n"})
    assert body(tasks, "unit") == ("pytest unit",)
    assert tasks["unit"].needs == ()
    assert body(tasks) == ("pytest all",)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("ifeq ($(OS),Windows_NT)", "posix"),
        ("ifneq ($(OS),Windows_NT)", "windows"),
        ('ifeq "$(shell uname -s)" "Darwin"', "posix"),
        ("ifdef UNSET", "posix"),
        ("ifndef UNSET", "windows"),
        ("ifeq ($(shell arch),arm64)", "windows"),  # not known: the first branch holds
    ],
)
def test_a_conditional_is_decided_where_the_file_tells_it(tasks_of: Tasks, condition: str, expected: str) -> None:
    make = f"{condition}\nNAME = windows\nelse\nNAME = posix\nendif\ntest:\n\trun $(NAME)\n"
    assert body(tasks_of({"Makefile": make})) == (f"run {expected}",)


def test_of_several_branches_the_one_that_holds_is_read(tasks_of: Tasks) -> None:
    make = "A = 2\nifeq ($(A),1)\nB = 1\nelse ifeq ($(A),2)\nB = 2\nelse ifeq ($(A),2)\nB = 3\nelse\nB = 4\nendif\n"
    assert body(tasks_of({"Makefile": make + "test:\n\trun $(B)\n"})) == ("run 2",)


def test_recipe_lines_of_a_branch_that_does_not_hold_are_left_out(tasks_of: Tasks) -> None:
    make = "test:\nifdef WINDOWS\n\tpytest.exe\nelse\n\tpytest\nendif\n\tcoverage report\n"
    assert body(tasks_of({"Makefile": make})) == ("pytest", "coverage report")


def test_files_that_are_included_are_read_with_their_own_lines(tasks_of: Tasks) -> None:
    files = {
        "Makefile": "include make/*.mk\n-include missing.mk\n",
        "make/go.mk": "GO = go\n\ntest:\n\t$(GO) test ./...\n",
        "make/more.mk": "include make/go.mk\n",
    }
    task = tasks_of(files)["test"]
    assert (task.path, task.line, task.bodies) == ("make/go.mk", 3, ("go test ./...",))


def test_a_file_outside_of_the_tree_is_not_included(tasks_of: Tasks) -> None:
    files = {"sub/Makefile": "include ../../secret.mk\ntest:\n\tpytest\n"}
    assert set(tasks_of(files, directory="sub")) == {"", "test"}


@pytest.mark.parametrize(
    ("make", "names"),
    [
        ("%.o: %.c\n\tcc $<\ntest:\n\tx\n", {"test"}),
        ("define CANNED\ntest:\n\tx\nendef\nreal:\n\ty\n", {"real"}),
        (".c.o:\n\tcc\n.PHONY: a\na:\n\tx\n", {"a"}),
        ("lint format: FLAGS = -v\nlint format:\n\truff $@\n", {"lint", "format"}),
        ("a b &: c\n\tx\n", {"a", "b"}),
        ("A := b: c\ntest:\n\tx\n", {"test"}),
        (".venv/bin/python: pyproject.toml\n\tuv sync\n", {".venv/bin/python"}),
        ("$(NAME)-test:\n\tx\n", set()),
    ],
)
def test_only_explicit_targets_are_tasks(tasks_of: Tasks, make: str, names: set[str]) -> None:
    assert {name for name in tasks_of({"Makefile": make}) if name} == names


def test_recipes_of_double_colon_rules_are_put_together(tasks_of: Tasks) -> None:
    tasks = tasks_of({"Makefile": "all:: a\n\tone\nall:: b\n\ttwo\na b:\n\tx\n"})
    assert body(tasks, "all") == ("one", "two")
    assert tasks["all"].needs == ("a", "b")


def test_a_command_after_the_semicolon_and_continued_lines_are_part_of_the_recipe(tasks_of: Tasks) -> None:
    tasks = tasks_of({"Makefile": "a: ; one\nb:\n\ttwo \\\n\t\tthree && \\\n\t\tfour\n"})
    assert body(tasks, "a") == ("one",)
    assert body(tasks, "b") == ("two three && four",)


def test_the_makefile_that_make_finds_first_is_read(tasks_of: Tasks) -> None:
    files = {"Makefile": "b:\n\tx\n", "GNUmakefile": "a:\n\tx\n"}
    assert {name for name in tasks_of(files) if name} == {"a"}
