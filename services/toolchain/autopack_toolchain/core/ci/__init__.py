"""Readers of CI systems: what a repository's own checks run."""

from __future__ import annotations

from ..workspace import Workspace
from .azure import read_azure
from .circleci import read_circleci
from .github import read_github
from .gitlab import read_gitlab
from .model import MAX_CI_COMMANDS, CiCommand, Gathered
from .travis import read_travis

__all__ = ["MAX_CI_COMMANDS", "CiCommand", "read_ci"]

_READERS = (read_github, read_gitlab, read_circleci, read_azure, read_travis)


def read_ci(workspace: Workspace) -> list[CiCommand]:
    """The commands of all CI files of the repository, read once; a broken file is a warning."""

    def read(_: str) -> list[CiCommand]:
        gathered = Gathered(workspace)
        for reader in _READERS:
            reader(gathered)
        if gathered.full:
            message = (
                f"The CI files have more than {MAX_CI_COMMANDS:,} commands, or use each other too often: some were not "
                "read. Shorten them, or detect a repository of its own."
            )
            workspace.warn("TOO_MANY_CI_COMMANDS", message)
        return gathered.commands

    return workspace.once("ci-commands", "", read)
