"""Readers of CI systems: what a repository's own checks run."""

from __future__ import annotations

from ..workspace import Workspace
from .github import read_github
from .model import MAX_CI_COMMANDS, CiCommand, Gathered

__all__ = ["MAX_CI_COMMANDS", "CiCommand", "read_ci"]


def read_ci(workspace: Workspace) -> list[CiCommand]:
    """The commands of all CI files of the repository, read once; a broken file is a warning."""

    def read(_: str) -> list[CiCommand]:
        gathered = Gathered()
        read_github(workspace, gathered)
        return gathered.commands

    return workspace.once("ci-commands", "", read)
