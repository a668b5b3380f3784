"""Git for runs: sources, private mirrors, worktrees, and what a run changed."""

from .capture import (
    Change,
    ChangeKind,
    Identity,
    branch_tip,
    changes,
    commit,
    commit_tree,
    move_branch,
    patch,
    restore_paths,
    worktree_tree,
)
from .command import GitError, GitResult, run_git
from .history import commit_message, directories, own_commits, uncommitted
from .join import join_commits
from .lock import RepositoryLocks
from .mirror import Mirror, Mirrors
from .names import check_ref, worktree_name_problem
from .records import Workspace
from .source import Source, open_source, resolve
from .workspace import GcReport, Workspaces

__all__ = [
    "Change",
    "ChangeKind",
    "GcReport",
    "GitError",
    "GitResult",
    "Identity",
    "Mirror",
    "Mirrors",
    "RepositoryLocks",
    "Source",
    "Workspace",
    "Workspaces",
    "branch_tip",
    "changes",
    "check_ref",
    "commit",
    "commit_message",
    "commit_tree",
    "directories",
    "join_commits",
    "move_branch",
    "open_source",
    "own_commits",
    "patch",
    "resolve",
    "restore_paths",
    "run_git",
    "uncommitted",
    "worktree_name_problem",
    "worktree_tree",
]
