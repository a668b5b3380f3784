"""The values of a batch file in their friendly forms: commands as lines, durations with units, goals as sentences."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

import yaml
from autopack_api.common.v1 import common_pb2
from autopack_api.orchestrator.v1 import batch_pb2 as pb
from autopack_kit.settings import parse_duration
from google.protobuf.duration_pb2 import Duration

from autopack_cli.yamlnodes import Place, Reader

__all__ = ["MAX_INT32", "Values", "parse_line", "split_goal"]

MAX_INT32 = (1 << 31) - 1
MAX_INT64 = (1 << 63) - 1
MAX_COST_USD = 1e9
"""A typing error beyond doubt, and far below what 64 bits hold in millionths."""
MICRO = 1_000_000

RETRY_ON: Mapping[str, int] = {
    name.removeprefix("RETRY_ON_").lower(): number for name, number in pb.RetryOn.items() if number
}

_SHELL_WORDS = frozenset({"&&", "||", "|", ";", ">", ">>", "<", "<<", "&", "2>", "2>&1"})


def parse_line(line: str) -> list[str]:
    """The words of a command line, quotes removed as a shell would.

    Raises:
        ValueError: it is empty, a quote is open, or it needs a shell.
    """
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise ValueError(f"cannot be split into words: {str(error).lower()}") from error
    if not words:
        raise ValueError("is empty; name a program")
    found = next((word for word in words if word in _SHELL_WORDS), None)
    if found is not None:
        raise ValueError(
            f"has {found!r}, which only a shell understands, and no shell runs; split it into several commands, or use "
            "{script: {interpreter: [bash, -e], text: ...}}"
        )
    return words


def split_goal(text: str) -> tuple[str, str]:
    """Title and description of a goal: the first line, and what follows."""
    title, _, rest = text.strip().partition("\n")
    return title.strip(), rest.strip()


class Values(Reader):
    """Reads the values that stand in batch files."""

    def texts(self, node: yaml.Node, what: str) -> Iterator[tuple[str, Place]]:
        """A list of strings, or one string for a list of one."""
        items = [node] if isinstance(node, yaml.ScalarNode) else self.items(node, what)
        for item in items:
            text = self.text(item, f"an item of {what}" if item is not node else what)
            if text is not None:
                yield text, self.place(item)

    def choice(self, node: yaml.Node, what: str, choices: Mapping[str, int]) -> int | None:
        """One of some words."""
        text = self.text(node, what)
        if text is None:
            return None
        if text not in choices:
            self.fail(node, f"{what} is {text[:60]!r}; use one of {', '.join(choices)}")
            return None
        return choices[text]

    def duration(self, node: yaml.Node, what: str) -> Duration | None:
        """``30s``, ``5m``, ``2h``."""
        if not isinstance(node, yaml.ScalarNode):
            self.fail(node, f"{what} must be a duration, such as 30s, 5m or 2h")
            return None
        try:
            value = parse_duration(node.value)
        except (ValueError, OverflowError):
            self.fail(node, f"{what} is {node.value[:40]!r}; use a number with a unit, such as 30s, 5m or 2h")
            return None
        message = Duration()
        message.FromTimedelta(value)
        return message

    def goal(self, node: yaml.Node, what: str) -> tuple[str, str]:
        """Title and description."""
        if not isinstance(node, yaml.MappingNode):
            return split_goal(self.text(node, what) or "")
        found = {"title": "", "description": ""}
        for key, key_node, value in self.entries(node, what):
            if key in found:
                found[key] = self.text(value, f"{what}.{key}") or ""
            else:
                self.fail(key_node, f"{key[:60]!r} is not a key of {what}; known are title, description")
        return found["title"], found["description"]

    def command(self, node: yaml.Node, what: str, target: common_pb2.Command) -> None:
        """A line, a list of words, or a mapping: ``line``, ``argv`` or ``script``; ``cwd``, ``env``, ``timeout``."""
        if isinstance(node, yaml.MappingNode):
            self._command_mapping(node, what, target)
        elif isinstance(node, yaml.SequenceNode):
            target.argv.words.extend(text for text, _ in self.texts(node, what))
            if not node.value:
                self.fail(node, f"{what} is empty; name a program")
        elif (line := self.text(node, what)) is not None:
            self._line(node, line, what, target)

    def agent(self, node: yaml.Node, what: str, target: pb.AgentPreset) -> None:
        """The name of a preset, or a mapping with ``name`` and ``arguments``."""
        if not isinstance(node, yaml.MappingNode):
            target.name = self.text(node, what) or ""
            return
        for key, key_node, value in self.entries(node, what):
            if key == "name":
                target.name = self.text(value, f"{what}.name") or ""
            elif key == "arguments":
                target.arguments.extend(text for text, _ in self.texts(value, f"{what}.arguments"))
            else:
                self.fail(key_node, f"{key[:60]!r} is not a key of {what}; known are name, arguments")
        if not target.name:
            self.fail(node, f"{what} has no name")

    def mock(self, node: yaml.Node, what: str, target: pb.MockExecutor) -> None:
        """``seed``, ``failure_rate``, ``duration``."""
        target.SetInParent()
        for key, key_node, value in self.entries(node, what):
            if key == "seed":
                target.seed = self.integer(value, f"{what}.seed", low=-MAX_INT64, high=MAX_INT64) or 0
            elif key == "failure_rate":
                target.failure_rate = self.number(value, f"{what}.failure_rate", low=0, high=1) or 0.0
            elif key == "duration":
                if (duration := self.duration(value, f"{what}.duration")) is not None:
                    target.duration.CopyFrom(duration)
            else:
                self.fail(key_node, f"{key[:60]!r} is not a key of {what}; known are seed, failure_rate, duration")

    def budget(self, node: yaml.Node, target: pb.Budget, what: str = "budget") -> None:
        """``max_tokens``, ``max_cost_usd``, ``max_wall_time``."""
        for key, key_node, value in self.entries(node, what):
            if key == "max_tokens":
                tokens = self.integer(value, f"{what}.max_tokens", low=1, high=MAX_INT64)
                if tokens is not None:
                    target.max_tokens = tokens
            elif key == "max_cost_usd":
                cost = self.number(value, f"{what}.max_cost_usd", low=1 / MICRO, high=MAX_COST_USD)
                if cost is not None:
                    target.max_cost_microusd = round(cost * MICRO)
            elif key == "max_wall_time":
                if (duration := self.duration(value, f"{what}.max_wall_time")) is not None:
                    target.max_wall_time.CopyFrom(duration)
            else:
                known = "max_tokens, max_cost_usd, max_wall_time"
                self.fail(key_node, f"{key[:60]!r} is not a key of {what}; known are {known}")

    def retry(self, node: yaml.Node, target: pb.RetryPolicy, what: str = "retry") -> None:
        """``max_attempts``, ``on``, ``initial_backoff``, ``max_backoff``."""
        for key, key_node, value in self.entries(node, what):
            if key == "max_attempts":
                target.max_attempts = self.integer(value, f"{what}.max_attempts", low=1, high=MAX_INT32) or 0
            elif key == "on":
                for item in [value] if isinstance(value, yaml.ScalarNode) else self.items(value, f"{what}.on"):
                    if (kind := self.choice(item, f"{what}.on", RETRY_ON)) is not None:
                        target.on.append(pb.RetryOn.ValueType(kind))
            elif key in ("initial_backoff", "max_backoff"):
                if (duration := self.duration(value, f"{what}.{key}")) is not None:
                    getattr(target, key).CopyFrom(duration)
            else:
                known = "max_attempts, on, initial_backoff, max_backoff"
                self.fail(key_node, f"{key[:60]!r} is not a key of {what}; known are {known}")

    def doctor(self, node: yaml.Node, what: str, target: pb.Doctor) -> None:
        """A command, or a mapping with ``command`` and ``max_calls``."""
        if not isinstance(node, yaml.MappingNode):
            self.command(node, what, target.command)
            return
        for key, key_node, value in self.entries(node, what):
            if key == "command":
                self.command(value, f"{what}.command", target.command)
            elif key == "max_calls":
                target.max_calls = self.integer(value, f"{what}.max_calls", low=1, high=MAX_INT32) or 0
            else:
                self.fail(key_node, f"{key[:60]!r} is not a key of {what}; known are command, max_calls")
        if not target.HasField("command"):
            self.fail(node, f"{what} has no command")

    def _line(self, node: yaml.Node, line: str, what: str, target: common_pb2.Command) -> None:
        try:
            target.argv.words.extend(parse_line(line))
        except ValueError as error:
            self.fail(node, f"{what} {error}")

    def _command_mapping(self, node: yaml.MappingNode, what: str, target: common_pb2.Command) -> None:
        programs = []
        for key, key_node, value in self.entries(node, what):
            where = f"{what}.{key}"
            if key in ("line", "argv", "script"):
                programs.append(key)
            if key == "line":
                if (line := self.text(value, where)) is not None:
                    self._line(value, line, where, target)
            elif key == "argv":
                target.argv.words.extend(text for text, _ in self.texts(value, where))
            elif key == "script":
                self._script(value, where, target.script)
            elif key == "cwd":
                target.cwd = self.text(value, where) or ""
            elif key == "env":
                for name, _, item in self.entries(value, where):
                    target.env[name] = self.text(item, f"{where}.{name}") or ""
            elif key == "timeout":
                if (duration := self.duration(value, where)) is not None:
                    target.timeout.CopyFrom(duration)
            else:
                self.fail(
                    key_node, f"{key[:60]!r} is not a key of {what}; known are line, argv, script, cwd, env, timeout"
                )
        if len(programs) != 1:
            self.fail(node, f"{what} needs exactly one of line, argv and script")

    def _script(self, node: yaml.Node, what: str, target: common_pb2.Script) -> None:
        for key, key_node, value in self.entries(node, what):
            if key == "interpreter":
                target.interpreter.extend(text for text, _ in self.texts(value, f"{what}.interpreter"))
            elif key == "text":
                target.text = self.text(value, f"{what}.text") or ""
            else:
                self.fail(key_node, f"{key[:60]!r} is not a key of {what}; known are interpreter, text")
        if not target.interpreter or not target.text:
            self.fail(node, f"{what} needs an interpreter, for example [bash, -e], and a text")
