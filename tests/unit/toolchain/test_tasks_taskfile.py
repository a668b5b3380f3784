"""Tasks of Taskfiles."""

from __future__ import annotations

from collections.abc import Callable

from autopack_toolchain.core.tasks import Task

Tasks = Callable[..., dict[str, Task]]

TASKFILE = """\
version: '3'
vars:
  BIN: bin/app
  OUT: '{{.BIN}}.exe'
  SHA: {sh: git rev-parse HEAD}
includes:
  docs: ./docs
  flat: {taskfile: ci/Taskfile.ci.yml, flatten: true}
tasks:
  default:
    - task: test
  test:
    desc: Run the tests
    aliases: [t]
    deps: [generate, {task: docs:build}]
    cmds:
      - go test ./... {{.CLI_ARGS}}
      - cmd: echo {{.OUT}} {{.SHA}}
        silent: true
      - task: lint
      - defer: rm -f x
  lint: golangci-lint run
  web:test:
    dir: web
    cmd: npm test {{if .CI}}--ci{{end}} {{.NOWHERE}}
  generate:
    cmds:
      - for: [a, b]
        cmd: protoc {{.ITEM}}
"""
FILES = {
    "Taskfile.yml": TASKFILE,
    "docs/Taskfile.yml": "tasks:\n  build:\n    deps: [prepare, ':lint']\n    cmds: [mkdocs build]\n  prepare: x\n",
    "ci/Taskfile.ci.yml": "version: 3\ntasks:\n  check:\n    cmds: ['echo ok']\n",
}


def test_a_task_runs_its_commands_and_needs_what_it_calls(tasks_of: Tasks) -> None:
    tasks = tasks_of(FILES)
    assert tasks["test"] == Task(
        "task",
        "test",
        "Taskfile.yml",
        12,
        ".",
        ("task", "test"),
        ("go test ./...", "echo bin/app.exe $(git rev-parse HEAD)"),
        ("generate", "docs:build", "lint"),
        "Run the tests",
    )
    assert tasks["lint"].bodies == ("golangci-lint run",)


def test_task_alone_runs_the_default(tasks_of: Tasks) -> None:
    tasks = tasks_of(FILES)
    assert (tasks[""].argv, tasks[""].needs) == (("task",), ("default",))
    assert tasks["default"].needs == ("test",)


def test_a_task_in_another_directory_runs_there_and_unknown_templates_stay_visible(tasks_of: Tasks) -> None:
    task = tasks_of(FILES)["web:test"]
    assert task.bodies == ("cd web && npm test ${_}--ci${_} ${NOWHERE}",)
    assert task.line == 23


def test_a_default_holds_where_nothing_else_is_set(tasks_of: Tasks) -> None:
    text = """\
version: 3
vars:
  GO: '{{default "go" .GO}}'
tasks:
  test:
    vars: {FILES: '{{.FILES | default "./..."}}'}
    cmd: '{{.GO | default "no"}} test {{.FILES}} {{default "" .OPTIONS}}'
"""
    assert tasks_of({"Taskfile.yml": text})["test"].bodies == ("go test ./...",)


def test_a_loop_runs_its_command_with_an_item_that_is_not_known(tasks_of: Tasks) -> None:
    assert tasks_of(FILES)["generate"].bodies == ("protoc ${ITEM}",)


def test_tasks_of_included_files_carry_the_name_of_the_include(tasks_of: Tasks) -> None:
    tasks = tasks_of(FILES)
    assert tasks["docs:build"].needs == ("docs:prepare", "lint")
    assert (tasks["docs:build"].path, tasks["docs:build"].line) == ("docs/Taskfile.yml", 2)
    assert tasks["check"].bodies == ("echo ok",)


def test_an_alias_needs_its_task(tasks_of: Tasks) -> None:
    assert tasks_of(FILES)["t"].needs == ("test",)


def test_files_that_include_each_other_end(tasks_of: Tasks) -> None:
    text = "version: 3\nincludes: {a: ./Taskfile.yml, b: ./Taskfile.yml}\ntasks: {x: y}\n"
    assert "x" in tasks_of({"Taskfile.yml": text})
