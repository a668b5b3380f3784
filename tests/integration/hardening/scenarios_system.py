"""Scenarios of git, make and the operating system."""

from __future__ import annotations

from tests.integration.hardening.scenario import Fixed, Left, Scenario
from tests.integration.hardening.scenarios_python import IGNORED, importing

__all__ = ["SYSTEM"]

MAKE: tuple[Scenario, ...] = (
    Scenario(
        name="make/wrong-directory",
        broken="make runs above the only directory with a Makefile",
        files={"native/Makefile": "check:\n\t@echo checked\n"},
        command=("make",),
        expected=Fixed(("make.no_makefile",), ("run in native",)),
        needs=("make",),
    ),
    Scenario(
        name="make/declared-package-missing",
        broken="a recipe needs a declared distribution that is not installed",
        files={
            ".gitignore": IGNORED,
            "Makefile": "test:\n\tpython -m unittest\n",
            "requirements.txt": "PyYAML==6.0.2\n",
            "test_app.py": importing("yaml"),
        },
        command=("make", "test"),
        expected=Fixed(("py.module_not_found",), ("install PyYAML as requirements.txt declares",)),
        needs=("make",),
    ),
    Scenario(
        name="make/declared-command-missing",
        broken="a recipe runs a declared program that is not installed",
        files={".gitignore": IGNORED, "Makefile": "moo:\n\tcowsay -t moo\n", "requirements.txt": "cowsay==6.1\n"},
        command=("make", "moo"),
        expected=Fixed(("os.command_not_found",), ("install cowsay as requirements.txt declares",)),
        needs=("make",),
    ),
    Scenario(
        name="make/no-such-target",
        broken="the Makefile has no such target",
        files={"Makefile": "check:\n\t@echo checked\n"},
        command=("make", "chekc"),
        via="applier",
        expected=Left("make.no_rule", "target"),
        needs=("make",),
    ),
)

AUTHOR = {
    "GIT_AUTHOR_NAME": "A User",
    "GIT_AUTHOR_EMAIL": "user@example.com",
    "GIT_COMMITTER_NAME": "A User",
    "GIT_COMMITTER_EMAIL": "user@example.com",
}
DIVERGED = (
    "git switch -q -c other; echo two > app.txt; git commit -qam two; git switch -q main; "
    "echo three > app.txt; git commit -qam three"
)
REMOTE = "git init -q --bare -b main ../remote.git; git remote add origin ../remote.git"

GIT: tuple[Scenario, ...] = (
    Scenario(
        name="git/no-identity",
        broken="git does not know who commits",
        files={"app.txt": "one\n"},
        setup="git config user.useConfigOnly true",
        breaks="echo two > app.txt",
        command=("git", "commit", "-q", "-a", "-m", "Change"),
        via="applier",
        expected=Fixed(("git.identity_unknown",), ("run with GIT_AUTHOR_EMAIL=",)),
    ),
    Scenario(
        name="git/stale-lock",
        broken="a git that was killed an hour ago left its lock",
        files={"app.txt": "one\n"},
        breaks="echo two > app.txt; touch -d '1 hour ago' .git/index.lock",
        command=("git", "add", "app.txt"),
        via="applier",
        expected=Fixed(("git.index_lock",), ("remove .git/index.lock",)),
    ),
    Scenario(
        name="git/worktree-gone",
        broken="the directory of a registered worktree was removed by hand",
        files={"app.txt": "one\n"},
        breaks="git worktree add -q ../other -b other; rm -r ../other",
        command=("git", "worktree", "add", "../other", "other"),
        via="applier",
        expected=Fixed(("git.worktree_path_exists",), ("git worktree prune",)),
    ),
    Scenario(
        name="git/no-upstream",
        broken="the branch is pushed for the first time",
        files={"app.txt": "one\n"},
        breaks=f"{REMOTE}; git switch -q -c feature",
        command=("git", "push"),
        via="applier",
        expected=Fixed(("git.no_upstream",), ("git push --set-upstream origin HEAD",), consent=True),
    ),
    Scenario(
        name="git/branch-exists",
        broken="the branch to be made is there already",
        files={"app.txt": "one\n"},
        breaks="git branch feature",
        command=("git", "switch", "-c", "feature"),
        via="applier",
        expected=Fixed(("git.branch_exists",), ("git switch feature",), consent=True),
    ),
    Scenario(
        name="git/branch-in-another-worktree",
        broken="the branch is checked out elsewhere",
        files={"app.txt": "one\n"},
        breaks="git worktree add -q ../other -b other",
        command=("git", "switch", "other"),
        via="applier",
        expected=Fixed(("git.worktree_checked_out",), ("git switch other --detach",), consent=True),
    ),
    Scenario(
        name="git/held-lock",
        broken="another git took the lock a moment ago",
        files={"app.txt": "one\n"},
        breaks="echo two > app.txt; touch .git/index.lock",
        command=("git", "add", "app.txt"),
        via="applier",
        expected=Left("git.index_lock", "git"),
    ),
    Scenario(
        name="git/merge-conflict",
        broken="two branches changed the same line",
        files={"app.txt": "one\n"},
        breaks=DIVERGED,
        command=("git", "merge", "other"),
        env=AUTHOR,
        via="applier",
        expected=Left("git.merge_conflict", "conflict"),
    ),
    Scenario(
        name="git/push-rejected",
        broken="the remote has commits that are not here",
        files={"app.txt": "one\n"},
        breaks=f"{REMOTE}; {DIVERGED}; git push -q origin other:main",
        command=("git", "push", "origin", "main"),
        via="applier",
        expected=Left("git.push_rejected", "Fetch"),
    ),
    Scenario(
        name="git/push-refused-by-policy",
        broken="a hook of the remote refuses the push",
        files={"app.txt": "one\n"},
        breaks=f"{REMOTE}; printf '#!/bin/sh\\necho main is protected >&2\\nexit 1\\n'"
        " > ../remote.git/hooks/pre-receive; chmod +x ../remote.git/hooks/pre-receive",
        command=("git", "push", "origin", "main"),
        via="applier",
        expected=Left("git.push_hook_declined", "rule of the server"),
    ),
    Scenario(
        name="git/conflict-markers",
        broken="the marks of a conflict were left in a file",
        files={"app.txt": "one\n"},
        breaks="printf '<<<<<<< HEAD\\none\\n=======\\ntwo\\n>>>>>>> other\\n' > app.txt",
        command=("git", "diff", "--check"),
        via="applier",
        expected=Left("git.conflict_markers", "two changes met"),
    ),
    Scenario(
        name="git/dirty-checkout",
        broken="uncommitted work would be overwritten",
        files={"app.txt": "one\n"},
        breaks=f"{DIVERGED}; echo mine > app.txt",
        command=("git", "switch", "other"),
        via="applier",
        expected=Left("git.local_changes_overwritten", "ommit"),
    ),
)

SYSTEM_ITSELF: tuple[Scenario, ...] = (
    Scenario(
        name="system/declared-command-missing",
        broken="a declared program is not installed",
        files={".gitignore": IGNORED, "requirements.txt": "cowsay==6.1\n"},
        command=("cowsay", "-t", "moo"),
        expected=Fixed(("os.command_not_found",), ("install cowsay as requirements.txt declares",)),
    ),
    Scenario(
        name="system/file-elsewhere",
        broken="the command names a file from the wrong directory",
        files={"backend/config/app.toml": "debug = false\n"},
        command=("grep", "debug", "config/app.toml"),
        expected=Fixed(("os.no_such_file",), ("run in backend",)),
    ),
    Scenario(
        name="system/script-of-bash",
        broken="sh is given a script of bash",
        files={"check.sh": 'names=(one two)\necho "${names[1]}"\n'},
        command=("sh", "check.sh"),
        via="applier",
        expected=Fixed(("os.shell_syntax",), ("edit command: bash check.sh",), consent=True),
        needs=("bash", "dash"),
    ),
    Scenario(
        name="system/script-not-executable",
        broken="a script lacks the right to be executed",
        files={"check.sh": "#!/bin/sh\necho checked\n"},
        command=("./check.sh",),
        expected=Fixed(("os.permission_exec",), ("edit command: sh ./check.sh",), consent=True),
    ),
    Scenario(
        name="system/undeclared-command",
        broken="a program that nothing declares is not installed",
        files={".gitignore": IGNORED, "requirements.txt": "cowsay==6.1\n"},
        command=("figlet-ng", "moo"),
        expected=Left("os.command_not_found", "figlet-ng"),
    ),
    Scenario(
        name="system/windows-line-ends",
        broken="a script has the line ends of Windows",
        files={"check.sh": "for one in a b\r\ndo\r\n  echo $one\r\ndone\r\n"},
        command=("bash", "check.sh"),
        via="applier",
        expected=Left("os.crlf_script", "line"),
        needs=("bash",),
    ),
    Scenario(
        name="system/out-of-time",
        broken="the command does not end in time",
        files={"README.md": "# Acme\n"},
        command=("timeout", "1", "sleep", "60"),
        via="applier",
        expected=Left("os.timeout", "time"),
    ),
)

SYSTEM: tuple[Scenario, ...] = (*MAKE, *GIT, *SYSTEM_ITSELF)
