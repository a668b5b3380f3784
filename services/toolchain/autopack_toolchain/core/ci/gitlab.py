"""GitLab CI: the jobs of ``.gitlab-ci.yml`` and of the local files that it includes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice

from .document import Value
from .matrix import MAX_VARIANTS
from .model import MAX_CI_FILES, MAX_VARIABLES, CiCommand, Gathered, system_of
from .scripts import Phase, add_phases, scalars

__all__ = ["read_gitlab"]

FILE = ".gitlab-ci.yml"

MAX_DEPTH = 11
"""Jobs at most that extend each other in a row: as GitLab itself allows."""

MAX_PARENTS = 4
"""Jobs at most that one job extends: people write one or two."""

_NO_JOBS = frozenset(
    {"default", "include", "stages", "variables", "workflow", "image", "services", "cache", "before_script",
     "after_script", "spec", "pages:deploy"}
)  # fmt: skip
_PHASES = ("before_script", "script")
_SOURCE = re.compile(r"CI_PIPELINE_SOURCE\s*==\s*[\"']?(\w+)")
_TAG = re.compile(r"\$CI_COMMIT_TAG(?!\s*==\s*null)")
_CHANGE = frozenset({"push", "pull_request"})


@dataclass(frozen=True, slots=True)
class _Entry:
    """A value, and the file that it stands in."""

    path: str
    value: Value


def read_gitlab(gathered: Gathered) -> None:
    """Gathers the commands of all jobs that are not hidden."""
    if gathered.workspace.has(".", FILE):
        _Reader(gathered).read()


class _Reader:
    def __init__(self, gathered: Gathered) -> None:
        self._workspace = gathered.workspace
        self._gathered = gathered
        self._top: dict[str, _Entry] = {}
        self._known: dict[str, dict[str, _Entry]] = {}
        self._included: set[str] = set()

    def read(self) -> None:
        self._include(FILE)
        variables = self._variables(self._top.get("variables"))
        for name, entry in self._top.items():
            if not self._gathered.look():
                return
            if not name.startswith(".") and name not in _NO_JOBS and entry.value.is_mapping:
                self._job(name, self._merged(name), variables)

    def _include(self, path: str) -> None:
        """The top level of a file; what is written in it stands above what it includes."""
        if path in self._included or len(self._included) >= MAX_CI_FILES:
            return
        self._included.add(path)
        documents = self._gathered.documents(path)
        root = documents[-1] if documents else Value(None)
        include = root.get("include")
        for item in include.items() if include.is_sequence else [include]:
            for file in self._local(item.text or item.get("local").text):
                self._include(file)
        for name, value in root.entries().items():
            self._top[name] = _Entry(path, value)

    def _local(self, name: str) -> Iterator[str]:
        """The files that are meant; only such as a snapshot carries, so that both give the same answer."""
        name = name.lstrip("/")
        if not name.endswith((".yml", ".yaml")) or "$" in name or "://" in name:
            return
        directory, _, pattern = name.rpartition("/")
        for file in sorted(self._workspace.names(directory or ".")):
            path = f"{directory}/{file}" if directory else file
            if fnmatchcase(file, pattern) and self._workspace.registry.wants_content(path):
                yield path

    def _merged(self, name: str, depth: int = MAX_DEPTH) -> dict[str, _Entry]:
        """The fields of a job with those of the jobs that it extends, later ones first."""
        if name not in self._known:
            entry = self._top[name]
            self._known[name] = {}  # a job that extends itself gains nothing
            found: dict[str, _Entry] = {}
            for parent in entry.value.get("extends").strings()[:MAX_PARENTS] if depth else []:
                if parent in self._top:
                    found |= self._merged(parent, depth - 1)
            own = {key: _Entry(entry.path, value) for key, value in entry.value.entries().items()}
            self._known[name] = found | own
        return self._known[name]

    def _job(self, name: str, job: Mapping[str, _Entry], variables: Mapping[str, str]) -> None:
        phases = []
        for phase in _PHASES:
            entry = job.get(phase) or self._default(phase)
            if entry is not None:
                lines = scalars(entry.value, self._follow)
                phases.append(Phase("" if phase == "script" else phase, entry.path, lines))
        if not any(phase.lines for phase in phases) or "script" not in job:
            return
        tags = job["tags"].value.strings() if "tags" in job else []
        env = {**variables, **self._variables(job.get("variables"))}
        script = "\n".join(line.text for line in phases[-1].lines)
        for row in _rows(job["parallel"].value.get("matrix") if "parallel" in job else Value(None), script):
            command = CiCommand(
                job["script"].path,
                workflow="GitLab CI",
                job=name,
                env={**env, **row},
                system=system_of(*tags) or "linux",
                triggers=_triggers(job),
                condition=" || ".join(_conditions(job)),
            )
            add_phases(self._gathered, command, phases, command.env)

    def _default(self, name: str) -> _Entry | None:
        default = self._top.get("default")
        if default is not None and default.value.get(name):
            return _Entry(default.path, default.value.get(name))
        return self._top.get(name)

    def _follow(self, value: Value) -> Value:
        """The list that ``!reference [job, script]`` stands for."""
        if value.tag != "!reference":
            return value
        name, *keys = [item.text for item in value.items()] or [""]
        return self._top[name].value.get(*keys) if name in self._top else Value(None)

    def _variables(self, entry: _Entry | None) -> dict[str, str]:
        """Literal variables; a variable may be a mapping with a ``value``."""
        if entry is None:
            return {}
        entries = islice(entry.value.entries().items(), MAX_VARIABLES)
        found = {name: item.text or item.get("value").text for name, item in entries}
        return {name: text for name, text in found.items() if "$" not in text}


def _rows(matrix: Value, script: str) -> list[dict[str, str]]:
    """Alternatives of the variables that the script uses; one empty one if it uses none."""
    rows: list[dict[str, str]] = []
    for entry in matrix.items()[:MAX_VARIANTS]:
        used = [
            (name, values.strings())
            for name, values in entry.entries().items()
            if f"${name}" in script or f"${{{name}" in script
        ]
        if used:
            name, values = used[0]
            rows += [{name: value} for value in values]
    return rows[:MAX_VARIANTS] or [{}]


def _conditions(job: Mapping[str, _Entry]) -> list[str]:
    if "rules" in job:
        return [rule.get("if").text for rule in job["rules"].value.items() if rule.get("if").text]
    return []


def _triggers(job: Mapping[str, _Entry]) -> frozenset[str]:
    """What starts a job, as far as its rules tell it plainly."""
    if "when" in job and job["when"].value.text == "manual":
        return frozenset({"manual"})
    only = job["only"].value if "only" in job else Value(None)
    names = set(only.strings() or only.get("refs").strings())
    if names and names <= {"tags", "schedules", "web", "api", "triggers"}:
        return frozenset({"release" if "tags" in names else "schedule" if "schedules" in names else "manual"})
    rules = (
        [rule.get("if").text for rule in job["rules"].value.items() if rule.get("when").text != "never"]
        if "rules" in job
        else []
    )
    if not rules or not all(rules):
        return _CHANGE
    if all(_TAG.search(rule) for rule in rules):
        return frozenset({"release"})
    sources = [_SOURCE.search(rule) for rule in rules]
    if all(source and source[1] in ("schedule", "web", "api", "trigger", "pipeline") for source in sources):
        return frozenset({"schedule"})
    return _CHANGE
