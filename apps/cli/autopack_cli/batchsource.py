"""The keys of a batch file that say where its repository is, what worktrees hold, and where branches go."""

from __future__ import annotations

from collections.abc import Mapping

import yaml
from autopack_api.orchestrator.v1 import batch_pb2 as pb

from autopack_cli.batchvalues import Values
from autopack_cli.yamlnodes import Place

__all__ = ["SOURCE_KEYS", "read_source_key"]

SOURCE_KEYS = ("source", "publish", "checkout")
PUBLISH: Mapping[str, int] = {"none": pb.PUBLISH_NONE, "local": pb.PUBLISH_LOCAL, "push": pb.PUBLISH_PUSH}
_LISTS = ("sparse_paths", "copy_untracked")
_FLAGS = ("submodules", "lfs", "worktreeinclude")


def read_source_key(
    values: Values, key: str, key_node: yaml.Node, node: yaml.Node, spec: pb.BatchSpec, places: dict[str, Place]
) -> None:
    """One of :data:`SOURCE_KEYS`."""
    if key == "publish":
        if (choice := values.choice(node, key, PUBLISH)) is not None:
            spec.publish = pb.Publish.ValueType(choice)
    elif key == "checkout":
        _checkout(values, node, spec.checkout, places)
    elif "path" in places:
        values.fail(key_node, "the file has repo and source; it needs one of them")
    else:
        places["remote"] = values.place(node)
        _source(values, node, spec.remote, places)


def _source(values: Values, node: yaml.Node, target: pb.RemoteSource, places: dict[str, Place]) -> None:
    target.SetInParent()
    for key, key_node, value in values.entries(node, "source"):
        places[f"remote.{key}"] = values.place(value)
        if key == "url":
            target.url = values.text(value, "source.url") or ""
        elif key == "credential":
            target.credential = values.text(value, "source.credential") or ""
        else:
            values.fail(key_node, f"{key[:60]!r} is not a key of source; known are url, credential")
    if isinstance(node, yaml.MappingNode) and not target.url:
        values.fail(node, "source has no url; give an https:// or ssh:// URL, or use repo for a directory")


def _checkout(values: Values, node: yaml.Node, target: pb.Checkout, places: dict[str, Place]) -> None:
    for key, key_node, value in values.entries(node, "checkout"):
        places[f"checkout.{key}"] = values.place(value)
        if key in _LISTS:
            for index, (text, place) in enumerate(values.texts(value, f"checkout.{key}")):
                getattr(target, key).append(text)
                places[f"checkout.{key}[{index}]"] = place
        elif key in _FLAGS:
            setattr(target, key, values.boolean(value, f"checkout.{key}") is True)
        else:
            known = ", ".join((*_LISTS, *_FLAGS))
            values.fail(key_node, f"{key[:60]!r} is not a key of checkout; known are {known}")
