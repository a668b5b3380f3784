"""Tasks of a Rakefile, found by the shape of its lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..workspace import Workspace, join
from .model import MAX_TASKS, Task, bodies, unique
from .text import MAX_FILES

__all__ = ["RAKEFILES", "read_rake"]

RAKEFILES = ("rakefile", "Rakefile", "rakefile.rb", "Rakefile.rb")
"""The order in which rake looks for them."""

_DIRECTORIES = ("rakelib", "lib/tasks", "tasks")
"""Where files ``*.rake`` are loaded from: by rake itself, by Rails, and by custom."""

_TASK = re.compile(
    r"""^(\s*)(?:multi)?task[ (]\s*(?::(\w+[?!]?)|["']([\w:.-]+)["']|(\w+):(?!:))(.*)$""",
)
_NAMESPACE = re.compile(r"""^(\s*)namespace[ (]\s*[:"']?(\w+)""")
_CLASS = re.compile(
    r"""^\s*(?:\w+\s*=\s*)?([A-Z][\w:]*)\.(?:new|create)\b\s*\(?\s*(?::(\w+)|["']([\w:.-]+)["'])?""",
)
_DESCRIPTION = re.compile(r"""^\s*desc\s*\(?\s*["']([^"']{0,300})["']""")
_SHELL = re.compile(r"""^\s*(?:sh|system|ruby|exec)[ (]\s*(?:"([^"]*)"|'([^']*)')""")
_INVOKE = re.compile(r"""Rake::Task\[\s*[:"']([\w:.-]+)["']?\s*\]\.(?:invoke|execute)""")
_NAME = re.compile(r""":(\w+)|["']([\w:.-]+)["']|\b(\w+)\b""")
_INTERPOLATION = re.compile(r"#\{[^{}]*\}")

_CLASSES = {
    "RSpec::Core::RakeTask": ("spec", "rspec"),
    "Rake::TestTask": ("test", "ruby -Itest -Ilib"),
    "Minitest::TestTask": ("test", "ruby -Itest -Ilib"),
    "Rails::TestTask": ("test", "rails test"),
    "RuboCop::RakeTask": ("rubocop", "rubocop"),
    "StandardRB::RakeTask": ("standard", "standardrb"),
    "Cucumber::Rake::Task": ("cucumber", "cucumber"),
    "Reek::Rake::Task": ("reek", "reek"),
    "YARD::Rake::YardocTask": ("yard", "yard doc"),
    "RDoc::Task": ("rdoc", "rdoc"),
    "Steep::RakeTask": ("steep", "steep check"),
}
"""Classes that define a task: its name where none is given, and the program it starts."""


@dataclass(slots=True)
class _Found:
    path: str
    line: int
    needs: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    description: str = ""


def read_rake(workspace: Workspace, directory: str) -> Iterator[Task]:
    """One task per ``task``, ``namespace:task`` and task class, and one for ``rake`` alone."""
    name = next(name for name in RAKEFILES if name in workspace.names(directory))
    found: dict[str, _Found] = {}
    paths = [join(directory, name)]
    for below in _DIRECTORIES:
        place = join(directory, below)
        paths += [join(place, file) for file in sorted(workspace.names(place)) if file.endswith(".rake")]
    for path in paths[:MAX_FILES]:
        _read(workspace, path, found)
    _gems(workspace, paths[0], found)
    if "default" in found:
        first = found["default"]
        yield Task("rake", "", first.path, first.line, directory, ("rake",), needs=("default",))
    for task, item in list(found.items())[:MAX_TASKS]:
        resolved = (_resolved(need, task, found) for need in item.needs)
        needs = unique((need for need in resolved if need in found), task)
        lines = bodies(item.lines)
        yield Task("rake", task, item.path, item.line, directory, ("rake", task), lines, needs, item.description)


def _read(workspace: Workspace, path: str, found: dict[str, _Found]) -> None:
    spaces: list[tuple[int, str]] = []
    current: _Found | None = None
    description, inside = "", 0
    for number, line in enumerate(workspace.lines(path), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        indent = len(line) - len(line.lstrip())
        if not line.lstrip().startswith(("end", "}", ")", "]")):
            spaces = [space for space in spaces if space[0] < indent]
            current = current if indent > inside else None
        if match := _NAMESPACE.match(line):
            spaces.append((indent, match[2]))
        elif match := _DESCRIPTION.match(line):
            description = match[1]
        elif match := _TASK.match(line):
            key = f"{match[4]}: " if match[4] else ""
            name = ":".join([*(space for _, space in spaces), match[2] or match[3] or match[4]])
            current = found.setdefault(name, _Found(path, number))
            current.needs += _needs(key, match[5])
            inside = indent
            current.description, description = current.description or description, ""
        elif (match := _CLASS.match(line)) and match[1] in _CLASSES:
            default, program = _CLASSES[match[1]]
            name = ":".join([*(space for _, space in spaces), match[2] or match[3] or default])
            current = found.setdefault(name, _Found(path, number, lines=[program]))
            inside = indent
            current.description, description = current.description or description, ""
        elif current is not None:
            if match := _SHELL.match(line):
                text = _INTERPOLATION.sub("${_}", match[1] or match[2] or "")
                current.lines.append(f"ruby {text}" if line.lstrip().startswith("ruby") else text)
            current.needs += _INVOKE.findall(line)


def _needs(key: str, rest: str) -> list[str]:
    """Prerequisites after ``=>`` or after the colon of ``name:``; words of a block are none."""
    text = rest if key else rest.partition("=>")[2]
    text = re.split(r"\bdo\b|\{", text)[0].strip()
    if text.startswith(("%i[", "%w[")):
        return text[3:].partition("]")[0].split()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    return [a or b for a, b, _ in _NAME.findall(text) if a or b]


def _resolved(need: str, task: str, found: dict[str, _Found]) -> str:
    """A prerequisite as rake finds it: in the task's own namespace first."""
    space = task.rpartition(":")[0]
    return f"{space}:{need}" if space and f"{space}:{need}" in found else need


def _gems(workspace: Workspace, path: str, found: dict[str, _Found]) -> None:
    """Tasks that a library brings: those of bundler's gem helper."""
    line = workspace.line(path, 'require "bundler/gem_tasks"') or workspace.line(path, "require 'bundler/gem_tasks'")
    if line:
        found.setdefault("build", _Found(path, line, lines=["gem build"], description="Build the gem"))
