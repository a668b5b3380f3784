"""Travis CI: the phases of the jobs of ``.travis.yml``. What a language runs by default is not told here."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

from .document import Value
from .matrix import MAX_VARIANTS
from .model import CiCommand, Gathered
from .scripts import Phase, add_phases, scalars

__all__ = ["read_travis"]

FILE = ".travis.yml"
PHASES = ("before_install", "install", "before_script", "script")
"""In the order in which one shell runs them; what comes after the script reports or deploys."""

MAX_JOBS = 50
"""Jobs at most of a file: more are versions of the same."""

MAX_ENVIRONMENT = 2000
"""Characters at most of one line of variables: they are split by a slow reader."""

_SYSTEMS = {"osx": "macos", "windows": "windows", "linux": "linux"}


def read_travis(gathered: Gathered) -> None:
    """Gathers the commands of all jobs."""
    if gathered.workspace.has(".", FILE):
        root = gathered.root(FILE)
        env = root.get("env")
        shared = _environment(env.get("global") or (env if env.text else Value(None)))
        included = [*root.get("jobs", "include").items(), *root.get("matrix", "include").items()][:MAX_JOBS]
        for row in _rows(root):
            _job(root, Value(None), {**shared, **row}, gathered)
        for job in included:
            _job(root, job, {**shared, **_environment(job.get("env"))}, gathered)


def _job(root: Value, job: Value, env: Mapping[str, str], gathered: Gathered) -> None:
    phases = []
    for name in PHASES:
        lines = job.get(name) or root.get(name)
        if lines.text.lower() not in ("skip", "true", "false", "ignore"):
            phases.append(Phase(name, FILE, scalars(lines)))
    condition = job.get("if").text or root.get("if").text
    system = _SYSTEMS.get(next(iter((job.get("os") or root.get("os")).strings()), "linux"), "")
    command = CiCommand(
        FILE,
        workflow="Travis CI",
        job=job.get("name").text or job.get("stage").text or "test",
        env=env,
        system=system,
        triggers=_triggers(condition),
        condition=condition,
    )
    add_phases(gathered, command, phases, env)


def _rows(root: Value) -> Iterator[dict[str, str]]:
    """Alternatives of the environment that a script of the file uses; else one of them stands for all."""
    several = root.get("env", "jobs") or root.get("env", "matrix") or root.get("env")
    rows = [_environment(item) for item in several.items()]
    names = {name for row in rows for name in row}
    text = "\n".join(line.text for phase in PHASES for line in scalars(root.get(phase)))
    if any(f"${name}" in text or f"${{{name}" in text for name in names):
        yield from rows[:MAX_VARIANTS]
    else:
        yield {}


def _environment(value: Value) -> dict[str, str]:
    """Literal variables: a mapping, a text like ``A=1 B=2``, or a list of both. Encrypted ones are left out."""
    found: dict[str, str] = {}
    for item in [value, *value.items()[:MAX_JOBS]]:
        found |= {name: text for name, text in item.texts().items() if name != "secure"}
        try:
            words = shlex.split(item.text[:MAX_ENVIRONMENT], comments=True)
        except ValueError:  # an unclosed quotation: no variable can be told
            words = []
        for word in words:
            name, equals, text = word.partition("=")
            if equals and name.isidentifier() and "$" not in text:
                found[name] = text
    return found


def _triggers(condition: str) -> frozenset[str]:
    if "cron" in condition and "!=" not in condition:
        return frozenset({"schedule"})
    if "tag" in condition and "present" in condition.lower():
        return frozenset({"release"})
    return frozenset({"push", "pull_request"})
