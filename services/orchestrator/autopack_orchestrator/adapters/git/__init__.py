"""Git for runs: sources, private mirrors, worktrees, and what a run changed."""

from .access import Access, Credentials
from .apply import apply_patch
from .bundle import bundle_origin, bundle_refs, check_bundle
from .capture import (
    OURS,
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
from .checkout import open_view
from .command import GitError, GitResult, run_git
from .history import commit_message, directories, own_commits, uncommitted
from .join import join_commits
from .lfs import bring_lfs_home, new_lfs_objects, push_lfs
from .lock import RepositoryLocks
from .merging import check_branch_name, merge_all
from .mirror import Mirror, Mirrors
from .names import check_ref, worktree_name_problem
from .origin import Origin
from .records import Workspace
from .remotes import Remote, Remotes, choose_ref, ref_not_found
from .source import Source, open_source, resolve
from .submodules import Fetch, Submodule, fill_submodules
from .untracked import copy_untracked
from .workspace import GcReport, Workspaces

__all__ = [
    "OURS",
    "Access",
    "Change",
    "ChangeKind",
    "Credentials",
    "Fetch",
    "GcReport",
    "GitError",
    "GitResult",
    "Identity",
    "Mirror",
    "Mirrors",
    "Origin",
    "Remote",
    "Remotes",
    "RepositoryLocks",
    "Source",
    "Submodule",
    "Workspace",
    "Workspaces",
    "apply_patch",
    "branch_tip",
    "bring_lfs_home",
    "bundle_origin",
    "bundle_refs",
    "changes",
    "check_branch_name",
    "check_bundle",
    "check_ref",
    "choose_ref",
    "commit",
    "commit_message",
    "commit_tree",
    "copy_untracked",
    "directories",
    "fill_submodules",
    "join_commits",
    "merge_all",
    "move_branch",
    "new_lfs_objects",
    "open_source",
    "open_view",
    "own_commits",
    "patch",
    "push_lfs",
    "ref_not_found",
    "resolve",
    "restore_paths",
    "run_git",
    "uncommitted",
    "worktree_name_problem",
    "worktree_tree",
]
