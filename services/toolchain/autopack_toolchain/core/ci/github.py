"""GitHub Actions: the workflows that a change starts, with the repository's own actions and workflows that they use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from ..workspace import join
from .document import Value
from .expressions import fill
from .github_steps import MAX_DEPTH, Place, StepReader, checkout_path, env_of, inputs_of
from .matrix import known_values, matrix_rows, variants, varying_keys
from .model import CiCommand, Gathered

__all__ = ["WORKFLOWS", "read_github"]

WORKFLOWS = ".github/workflows"

_ON = re.compile(r"^(?:on|'on'|\"on\")[ \t]*:.*(?:\n(?:[ \t#-].*)?)*", re.MULTILINE)
_EVENT = re.compile(r"[a-z_]+")
_CHANGE_EVENTS = frozenset({"push", "pull_request", "pull_request_target", "merge_group"})
_TRIGGERS = {
    "pull_request_target": "pull_request",
    "workflow_dispatch": "manual",
    "repository_dispatch": "manual",
    "workflow_call": "call",
}
_LIKELY = frozenset({"ci", "test", "tests", "unit", "build", "check", "checks", "lint", "pr", "main", "pull", "verify"})
_UNLIKELY = frozenset(
    {
        "release",
        "publish",
        "deploy",
        "docs",
        "doc",
        "stale",
        "codeql",
        "label",
        "labeler",
        "scorecard",
        "nightly",
        "docker",
    }
)
_WORDS = re.compile(r"[a-z]+")


def read_github(gathered: Gathered) -> None:
    """Gathers the commands of all workflows; those that no change starts are read only where no other is."""
    _Reader(gathered).read()


class _Reader:
    def __init__(self, gathered: Gathered) -> None:
        self._workspace = gathered.workspace
        self._gathered = gathered
        self._steps = StepReader(gathered)
        self._called: set[str] = set()

    def read(self) -> None:
        names = [name for name in self._workspace.names(WORKFLOWS) if name.endswith((".yml", ".yaml"))]
        paths = [join(WORKFLOWS, name) for name in sorted(names, key=_preference)]
        events = {path: _events(self._workspace.text(path)) for path in paths}
        started = [path for path in paths if _is_change(events[path], self._workspace.text(path))]
        self._all(started)
        called = [p for p in paths if "workflow_call" in events[p] and p not in self._called and p not in started]
        self._all(called if called and not self._gathered.commands else [])
        if not self._gathered.commands:
            self._all([path for path in paths if path not in started and path not in called])

    def _all(self, paths: list[str]) -> None:
        for path in paths:
            if not self._gathered.full:
                self._workflow(path)

    def _workflow(self, path: str) -> None:
        root = self._gathered.root(path)
        triggers = _triggers(root.get("on"))
        declared = root.get("on", "workflow_dispatch", "inputs")
        command = CiCommand(path, workflow=root.get("name").text or path.rpartition("/")[2], triggers=triggers)
        self._jobs(root, command, inputs_of(declared, {}))

    def _jobs(self, root: Value, command: CiCommand, inputs: Mapping[str, str]) -> None:
        values = {"github.workspace": "$GITHUB_WORKSPACE", **inputs}
        for key, job in root.get("jobs").entries().items():
            if not self._gathered.look():
                return
            condition = " && ".join(filter(None, (command.condition, job.get("if").text)))
            own = replace(command, job=key, condition=condition)
            if uses := job.get("uses").text:
                self._call(uses, job, own, values)
            else:
                self._job(root, job, own, values)

    def _job(self, root: Value, job: Value, command: CiCommand, values: Mapping[str, str]) -> None:
        steps = job.get("steps").items()
        runs = (job.get("defaults", "run"), root.get("defaults", "run"))
        workdir, shell = (
            next(filter(None, (run.get(k).text for run in runs)), "") for k in ("working-directory", "shell")
        )
        place = Place(
            command,
            values,
            matrix_rows(job.get("strategy", "matrix")),
            tuple(job.get("runs-on").strings() or job.get("runs-on", "labels").strings()),
            next((path for path in checkout_path(steps) if path), ""),
            (workdir, shell),
            {**env_of(root), **env_of(job)},
        )
        self._steps.read(steps, place)

    def _call(self, uses: str, job: Value, command: CiCommand, values: Mapping[str, str]) -> None:
        """A workflow of this repository, also where it is named by the name of the repository."""
        path = uses.removeprefix("./")
        if not uses.startswith("./"):
            _, marker, name = uses.partition("@")[0].partition(f"/{WORKFLOWS}/")
            path = join(WORKFLOWS, name) if marker else ""
        if command.depth >= MAX_DEPTH or not path.startswith(WORKFLOWS) or not self._workspace.has(".", path):
            return
        self._called.add(path)
        root = self._gathered.root(path)
        given = job.get("with").texts()
        seen: list[dict[str, str]] = []
        rows_of_call = matrix_rows(job.get("strategy", "matrix"))
        for rows in variants(rows_of_call, varying_keys(rows_of_call), given.values()):
            known = {**values, **known_values(rows)}
            inputs = inputs_of(
                root.get("on", "workflow_call", "inputs"), {name: fill(text, known) for name, text in given.items()}
            )
            if inputs not in seen:
                seen.append(inputs)
                self._jobs(root, replace(command, path=path, depth=command.depth + 1), inputs)


def _preference(name: str) -> tuple[int, str]:
    words = set(_WORDS.findall(name.lower().removesuffix(".yml").removesuffix(".yaml")))
    return (0 if words & _LIKELY else 1) + (2 if words & _UNLIKELY else 0), name


def _events(text: str) -> set[str]:
    """A cheap look at what may start a workflow, without parsing it; may name too much, never too little."""
    match = _ON.search(text)
    if match is None:
        return set(_CHANGE_EVENTS) if text.strip() else set()
    return {event for line in match[0].splitlines() for event in _EVENT.findall(line.partition("#")[0])}


def _is_change(events: set[str], text: str) -> bool:
    """Whether a commit or a pull request may start it, and it runs anything."""
    found = events & _CHANGE_EVENTS
    if found == {"push"} and "tags" in events and "branches" not in events:
        return False
    return bool(found) and ("run:" in text or "uses:" in text)


def _triggers(on: Value) -> frozenset[str]:
    if not on.is_mapping:
        return frozenset(_TRIGGERS.get(event, event) for event in on.strings())
    found = set(on.entries())
    push = on.get("push")
    if push.get("tags") and not push.get("branches"):
        found = (found - {"push"}) | {"release"}
    return frozenset(_TRIGGERS.get(event, event) for event in found)
