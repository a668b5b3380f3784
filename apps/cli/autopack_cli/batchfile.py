"""The batch file: YAML that becomes a ``BatchSpec``, checked as a whole, every problem with its line and column.

Only the form is checked here. What a name or a limit may be is the orchestrator's to say; :meth:`BatchFile.place_of`
finds the line of a field that it refuses.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from autopack_api.orchestrator.v1 import batch_pb2 as pb
from autopack_api.toolchain.v1 import toolchain_pb2

from autopack_cli.batchsource import SOURCE_KEYS, read_source_key
from autopack_cli.batchvalues import MAX_INT32, Values
from autopack_cli.httpvalues import read_http
from autopack_cli.isolation import read_isolation, read_limits
from autopack_cli.yamlnodes import Place, Problem, Problems, compose, read_text

__all__ = ["BatchFile", "GoalFile", "load"]

BATCH_KEYS = (
    "name", "repo", *SOURCE_KEYS, "ref", "max_concurrent_runs", "isolation", "budget", "priority", "retry",
    "queue_timeout", "defaults", "runs",
)  # fmt: skip
EXECUTORS = ("command", "agent", "http", "mock")
INTENTION_LISTS = ("constraints", "acceptance", "scope", "non_goals", "non_goal_globs", "notes")
DURATIONS = ("drift_interval", "timeout", "step_timeout", "idle_timeout", "prepare_timeout")
CHOICES: Mapping[str, Mapping[str, int]] = {
    "prepare": {"auto": pb.PREPARE_AUTO, "none": pb.PREPARE_NONE},
    "on_drift": {"warn": pb.ON_DRIFT_WARN, "stop": pb.ON_DRIFT_STOP},
    "on_scope_violation": {"revert": pb.ON_SCOPE_VIOLATION_REVERT, "fail": pb.ON_SCOPE_VIOLATION_FAIL},
}
STEP_KINDS: Mapping[str, int] = {
    name.removeprefix("STEP_KIND_").lower(): number
    for name, number in toolchain_pb2.StepKind.items()
    if number != toolchain_pb2.STEP_KIND_UNSPECIFIED
}
RUN_KEYS = (
    "name", "goal", "goal_file", *INTENTION_LISTS, *EXECUTORS, *CHOICES, *DURATIONS, "install", "validate",
    "validate_kinds", "max_attempts", "limits", "budget", "doctor", "pass_env", "needs", "mitigate",
    "fail_on_pre_existing",
)  # fmt: skip

# "install[2].argv[0]" -> "install[2].argv" -> "install[2]" -> "install" -> ""
_LAST_STEP = re.compile(r"(\.?[^.\[\]]+|\[[^\[\]]*\])$")


@dataclass(frozen=True, slots=True)
class GoalFile:
    """A file that says the goal of a run.

    Attributes:
        path: where it is.
        text: what it says.
        place: where the batch file names it.
        explicit: keys that the batch file says itself, and which therefore stand.
    """

    path: Path
    text: str
    place: Place
    explicit: frozenset[str]


@dataclass(frozen=True, slots=True)
class BatchFile:
    """What a file says.

    Attributes:
        path: the file.
        spec: the batch as far as it could be read; complete if there are no problems.
        problems: what is wrong, in the order of the file.
        places: the line and column of each field of ``spec``, by its name in a field violation.
        goals: the goal files of runs, by the index of the run; the service has still to read them.
    """

    path: Path
    spec: pb.BatchSpec
    problems: Sequence[Problem]
    places: Mapping[str, Place]
    goals: Mapping[int, GoalFile] = field(default_factory=dict)

    def place_of(self, field: str) -> Place:
        """Where the value of a field stands: the field itself, else what it is part of."""
        while field:
            if field in self.places:
                return self.places[field]
            field = _LAST_STEP.sub("", field)
        return Place()


def load(path: Path) -> BatchFile:
    """Reads a batch file of at most 1 MiB. Never raises for what is in it: see :attr:`BatchFile.problems`."""
    problems = Problems()
    reader = _BatchReader(Values(problems), path)
    text = read_text(path, problems)
    root = compose(text, problems) if text is not None else None
    if root is not None:
        reader.read(root)
    return BatchFile(path, reader.spec, problems.sorted(), reader.places, reader.goals)


class _BatchReader:
    def __init__(self, values: Values, path: Path) -> None:
        self.spec = pb.BatchSpec(path=str(path.absolute().parent.resolve()))
        self.places: dict[str, Place] = {}
        self.goals: dict[int, GoalFile] = {}
        self._texts: dict[Path, str | None] = {}
        self._values = values
        self._folder = path.absolute().parent

    def read(self, root: yaml.Node) -> None:
        values, defaults = self._values, dict[str, tuple[yaml.Node, yaml.Node]]()
        runs: yaml.Node | None = None
        for key, key_node, node in values.entries(root, "the file"):
            self.places[{"repo": "path"}.get(key, key)] = values.place(node)
            match key:
                case "defaults":
                    defaults = self._run_entries(node, "defaults")
                    if "name" in defaults:
                        values.fail(defaults["name"][0], "a name cannot be a default: each run needs its own")
                case "runs":
                    runs = node
                case "name" | "ref":
                    setattr(self.spec, key, values.text(node, key) or "")
                case "repo":
                    if "remote" in self.places:
                        values.fail(key_node, "the file has source and repo; it needs one of them")
                    self._repo(node)
                case "source" | "publish" | "checkout":
                    read_source_key(values, key, key_node, node, self.spec, self.places)
                case "max_concurrent_runs":
                    self.spec.max_concurrent_runs = values.integer(node, key, low=1, high=MAX_INT32) or 0
                case "isolation":
                    read_isolation(values, node, self.spec.isolation)
                case "budget":
                    values.budget(node, self.spec.budget)
                case "priority":
                    self.spec.priority = values.integer(node, key, low=-MAX_INT32, high=MAX_INT32) or 0
                case "retry":
                    values.retry(node, self.spec.retry)
                case "queue_timeout":
                    if (duration := values.duration(node, key)) is not None:
                        self.spec.queue_timeout.CopyFrom(duration)
                case _:
                    values.fail(key_node, _unknown(key, "the file", BATCH_KEYS, RUN_KEYS))
        if runs is None:
            if isinstance(root, yaml.MappingNode):
                values.fail(
                    root, "'runs' is missing: a list of runs, each with a name, a goal, and a command or an agent"
                )
            return
        self._runs(runs, defaults)

    def _repo(self, node: yaml.Node) -> None:
        text = self._values.text(node, "repo")
        if text == "":
            self._values.fail(node, "repo is empty; name the directory of a git repository")
        elif text and "\0" not in text and not text.startswith("~"):
            self.spec.path = str((self._folder / text).resolve())
        elif text:
            try:
                self.spec.path = str(Path(text).expanduser().resolve())
            except (RuntimeError, ValueError):
                self._values.fail(node, f"repo: {text[:80]!r} is not a path")

    def _runs(self, node: yaml.Node, defaults: Mapping[str, tuple[yaml.Node, yaml.Node]]) -> None:
        count = 0
        for item in self._values.items(node, "runs"):
            self.places[f"runs[{count}]"] = self._values.place(item)
            self._run(item, count, defaults)
            count += 1
        if not count and isinstance(node, yaml.SequenceNode) and not node.value:
            self._values.fail(node, "runs is empty; it needs at least one run")

    def _run(self, node: yaml.Node, index: int, defaults: Mapping[str, tuple[yaml.Node, yaml.Node]]) -> None:
        values, what = self._values, f"runs[{index}]"
        own = self._run_entries(node, what)
        chosen = [key for key in EXECUTORS if key in own] or [key for key in EXECUTORS if key in defaults]
        merged = {key: pair for key, pair in defaults.items() if key not in EXECUTORS or key in chosen} | own
        run = self.spec.runs.add()
        writer = _RunWriter(values, run, what, self.places)
        for key, (_, value) in merged.items():
            if key == "goal_file":
                self._goal_file(index, value, f"{what if key in own else 'defaults'}.{key}", frozenset(merged))
            else:
                writer.write(key, value, f"{what if key in own else 'defaults'}.{key}")
        if not isinstance(node, yaml.MappingNode):
            return
        if "name" not in own:
            values.fail(node, f"{what} has no name; give it a short one, for example 'fix-login'")
        if "goal" not in merged and "goal_file" not in merged:
            values.fail(node, f"{what} has no goal; say in one line what is to be done, or name a goal_file")
        if not chosen:
            values.fail(node, f"{what} has none of command, agent, http and mock; say who does the work")
        elif len(chosen) > 1:
            second = merged[chosen[1]][0]
            values.fail(second, f"{what} has {' and '.join(chosen)}; it needs exactly one of {', '.join(EXECUTORS)}")

    def _goal_file(self, index: int, node: yaml.Node, what: str, explicit: frozenset[str]) -> None:
        name = self._values.text(node, what)
        if not name or "\0" in name:
            if name is not None:
                self._values.fail(node, f"{what} is not a path; name a Markdown or text file, relative to this one")
            return
        place, path = self._values.place(node), self._folder / name
        self.places.setdefault(f"runs[{index}].intention", place)
        if path not in self._texts:
            found = Problems()
            self._texts[path] = read_text(path, found, "a goal file")
            for problem in found.items:
                self._values.fail(node, f"{what} {name[:80]!r}: {problem.message}")
        text = self._texts[path]
        if text is not None:
            self.goals[index] = GoalFile(path, text, place, explicit)

    def _run_entries(self, node: yaml.Node, what: str) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        found = {}
        for key, key_node, value in self._values.entries(node, what):
            if key in RUN_KEYS:
                found[key] = (key_node, value)
            else:
                self._values.fail(key_node, _unknown(key, what, RUN_KEYS, BATCH_KEYS))
        return found


class _RunWriter:
    """Writes the values of one run into its message, and notes where they stand."""

    def __init__(self, values: Values, run: pb.RunSpec, what: str, places: dict[str, Place]) -> None:
        self._values = values
        self._run = run
        self._what = what
        self._places = places

    def write(self, key: str, node: yaml.Node, what: str) -> None:
        """One key of :data:`RUN_KEYS`; ``what`` is its name for a person."""
        run, values = self._run, self._values
        self._note(key, node)
        if key in INTENTION_LISTS:
            self._extend(getattr(run.intention, key), f"intention.{key}", node, what)
        elif key in DURATIONS:
            if (duration := values.duration(node, what)) is not None:
                getattr(run, key).CopyFrom(duration)
        elif key in CHOICES:
            if (choice := values.choice(node, what, CHOICES[key])) is not None:
                setattr(run, key, choice)
        elif key in ("install", "validate"):
            self._commands(key, node, what)
        else:
            _WRITERS[key](self, node, what)

    def _note(self, field: str, node: yaml.Node) -> None:
        self._places[f"{self._what}.{field}"] = self._values.place(node)

    def _extend(self, target: Any, field: str, node: yaml.Node, what: str) -> None:
        self._note(field, node)
        for index, (text, place) in enumerate(self._values.texts(node, what)):
            target.append(text)
            self._places[f"{self._what}.{field}[{index}]"] = place

    def _commands(self, field: str, node: yaml.Node, what: str) -> None:
        target = getattr(self._run, field)
        for index, item in enumerate(self._values.items(node, what)):
            self._note(f"{field}[{index}]", item)
            self._values.command(item, f"{what}[{index}]", target.add())

    def _name(self, node: yaml.Node, what: str) -> None:
        self._run.name = self._values.text(node, what) or ""

    def _goal(self, node: yaml.Node, what: str) -> None:
        self._note("intention", node)
        title, description = self._values.goal(node, what)
        self._run.intention.title, self._run.intention.description = title, description

    def _command(self, node: yaml.Node, what: str) -> None:
        self._values.command(node, what, self._run.command)

    def _agent(self, node: yaml.Node, what: str) -> None:
        self._values.agent(node, what, self._run.agent)

    def _http(self, node: yaml.Node, what: str) -> None:
        read_http(self._values, node, what, self._run.http)

    def _mock(self, node: yaml.Node, what: str) -> None:
        self._values.mock(node, what, self._run.mock)

    def _validate_kinds(self, node: yaml.Node, what: str) -> None:
        for item in self._values.items(node, what):
            if (kind := self._values.choice(item, what, STEP_KINDS)) is not None:
                self._run.validate_kinds.append(toolchain_pb2.StepKind.ValueType(kind))

    def _max_attempts(self, node: yaml.Node, what: str) -> None:
        self._run.max_attempts = self._values.integer(node, what, low=1, high=MAX_INT32) or 0

    def _budget(self, node: yaml.Node, what: str) -> None:
        self._values.budget(node, self._run.budget, what)

    def _limits(self, node: yaml.Node, what: str) -> None:
        read_limits(self._values, node, what, self._run.limits)

    def _doctor(self, node: yaml.Node, what: str) -> None:
        self._values.doctor(node, what, self._run.doctor)

    def _pass_env(self, node: yaml.Node, what: str) -> None:
        self._extend(self._run.pass_env, "pass_env", node, what)

    def _needs(self, node: yaml.Node, what: str) -> None:
        self._extend(self._run.needs, "needs", node, what)

    def _mitigate(self, node: yaml.Node, what: str) -> None:
        if not isinstance(node, yaml.MappingNode):
            self._run.no_mitigation = self._values.boolean(node, what) is False
            return
        for key, key_node, value in self._values.entries(node, what):
            if key == "yes_to":
                self._extend(self._run.mitigate_yes_to, "mitigate_yes_to", value, f"yes_to of {what}")
            else:
                self._values.fail(key_node, f"{key[:60]!r} is not a key of {what}; it has yes_to alone")

    def _fail_on_pre_existing(self, node: yaml.Node, what: str) -> None:
        self._run.fail_on_pre_existing = self._values.boolean(node, what) is True


_WRITERS: Mapping[str, Callable[[_RunWriter, yaml.Node, str], None]] = {
    key: getattr(_RunWriter, f"_{key}")
    for key in (
        "name", "goal", "command", "agent", "http", "mock", "validate_kinds", "max_attempts", "limits", "budget",
        "doctor", "pass_env", "needs", "mitigate", "fail_on_pre_existing",
    )
}  # fmt: skip


def _unknown(key: str, what: str, known: Sequence[str], elsewhere: Sequence[str]) -> str:
    if key in elsewhere:
        where = "beside 'runs'" if elsewhere is BATCH_KEYS else "in a run or in 'defaults'"
        return f"{key!r} does not belong into {what}; it stands {where}"
    if key == "<<":
        return "merging with '<<' is not supported; put what runs share into 'defaults'"
    nearest = difflib.get_close_matches(key[:60], known, n=1, cutoff=0.6)
    hint = f"did you mean {nearest[0]!r}?" if nearest else f"known are {', '.join(known)}"
    return f"{key[:60]!r} is not a key of {what}; {hint}"
