"""``http`` of a run in a batch file: an agent on a server elsewhere."""

from __future__ import annotations

import yaml
from autopack_api.orchestrator.v1 import batch_pb2 as pb

from autopack_cli.batchvalues import Values

__all__ = ["read_http"]

_DURATIONS = ("poll_interval", "max_poll_interval", "request_timeout")


def read_http(values: Values, node: yaml.Node, what: str, target: pb.HttpExecutor) -> None:
    """A URL, or a mapping: ``url``, ``headers`` (name -> name of a credential), and three durations."""
    if not isinstance(node, yaml.MappingNode):
        target.url = values.text(node, what) or ""
        return
    for key, key_node, value in values.entries(node, what):
        where = f"{what}.{key}"
        if key == "url":
            target.url = values.text(value, where) or ""
        elif key == "headers":
            for name, _, item in values.entries(value, where):
                target.headers[name] = values.text(item, f"{where}.{name}") or ""
        elif key in _DURATIONS:
            if (duration := values.duration(value, where)) is not None:
                getattr(target, key).CopyFrom(duration)
        else:
            known = ", ".join(("url", "headers", *_DURATIONS))
            values.fail(key_node, f"{key[:60]!r} is not a key of {what}; known are {known}")
    if not target.url:
        values.fail(node, f"{what} has no url")
