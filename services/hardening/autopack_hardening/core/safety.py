"""What no mitigation may ever do, whoever wrote its pattern. Checked when a pattern is loaded and on every action made.

The rule behind it: a mitigation makes a command work as the project means it to; it never makes a check weaker, never
takes rights, and never runs or installs what a log names.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence

from autopack_kit.commands import Command

from autopack_hardening.core.actions import (
    Action,
    EditCommand,
    InstallDeclared,
    RegenerateLockfile,
    RemoveStaleLock,
    RestoreOutOfScope,
    RetryWithBackoff,
    RunCommand,
    RunFormatter,
    SetEnv,
)

__all__ = ["CONSENT_ONLY", "CUSTOM_FORBIDDEN", "MAX_ATTEMPTS", "MAX_WAIT_S", "refusal", "unsafe_env", "unsafe_words"]

CUSTOM_FORBIDDEN = frozenset(["run_command", "edit_command", "set_env", "run_formatter", "regenerate_lockfile"])
"""Actions of which custom patterns may have none: they would carry words of whoever wrote the pattern."""
CONSENT_ONLY = frozenset(["regenerate_lockfile", "edit_command"])
"""Never automatic: other versions than the reviewed ones are installed; another command passes than the one that
failed."""

PROGRAMS = frozenset(
    [
        "black", "bun", "cargo", "cmake", "corepack", "eslint", "git", "go", "gofmt", "gradle", "isort", "java", "make",
        "mvn", "node", "npm", "npx", "pdm", "pip", "pipenv", "pnpm", "poetry", "pre-commit", "prettier", "pytest",
        "python", "python3", "ruff", "rustfmt", "tox", "uv", "yarn", "sh", "bash",
    ]
)  # fmt: skip
"""Programs that a pattern's own words may start."""
FORBIDDEN_PROGRAMS = frozenset(["sudo", "su", "doas", "pkexec", "run0", "chmod", "chown", "curl", "wget", "rm", "kill"])
FORBIDDEN_WORDS = frozenset(
    [
        "sudo", "chmod", "777", "-u", "-U", "-f", "-k", "--force", "--no-verify", "--hard", "-X",
        "--insecure", "--allow-dirty", "--legacy-peer-deps", "--passwithnotests", "--pass-with-no-tests",
        "--skip-tests", "-dskiptests",
        "--no-require-hashes", "--break-system-packages", "--trusted-host", "--index-url", "--extra-index-url",
        "--find-links", "--registry", "--unsafe-fixes", "--update", "--updatesnapshot", "--update-snapshot",
        "--update-snapshots", "--snapshot-update", "--exit-zero", "--no-fail", "--ignore-engines", "--cov-fail-under",
        "--engine-strict=false", "--strict-ssl=false", "--no-verify-ssl", "--no-gpg-sign", "--skip-integrity-check",
        "--no-frozen-lockfile", "--suppress-no-test-exit-code", "-dmaven.test.skip", "--user", "--system", "-g",
        "--global",
    ]
)  # fmt: skip
"""Words, lower-cased and without a value, that turn a check off, take rights, or leave the project."""
_CASED_WORDS = frozenset(["-u", "-U", "-f", "-k", "-X", "-g"])

HARMLESS_VARIABLES: Mapping[str, re.Pattern[str]] = {
    name: re.compile(value)
    for name, value in {
        "PYTHONPATH": r"[^:\0]+(?::[^:\0]+)*",
        "PYTHONIOENCODING": r"utf-8",
        "PYTHONUTF8": r"1",
        "LC_ALL": r"C\.UTF-8",
        "LANG": r"C\.UTF-8",
        "CHOKIDAR_USEPOLLING": r"1|true",
        "WATCHPACK_POLLING": r"true",
        "NODE_OPTIONS": r"--max-old-space-size=\d{3,5}",
        "MAVEN_OPTS": r"-Xmx\d{1,5}[mg]",
        "GRADLE_OPTS": r"-Xmx\d{1,5}[mg]|-Dorg\.gradle\.jvmargs=-Xmx\d{1,5}[mg]",
        "MAKEFLAGS": r"-j\d{1,2}",
        "CARGO_BUILD_JOBS": r"\d{1,2}",
        "GOFLAGS": r"-p=\d{1,2}",
        "PORT": r"0",
        "DJANGO_SETTINGS_MODULE": r"[A-Za-z_][\w.]*",
        "GIT_AUTHOR_NAME": r"autopack",
        "GIT_AUTHOR_EMAIL": r"autopack@localhost",
        "GIT_COMMITTER_NAME": r"autopack",
        "GIT_COMMITTER_EMAIL": r"autopack@localhost",
        "UV_PYTHON_DOWNLOADS": r"never",
        "TMPDIR": r"\.autopack-tmp",
    }.items()
}
"""Variables that a mitigation may set, each with the values it may have."""

MAX_ATTEMPTS = 3
MAX_WAIT_S = 60.0

# Commands that may run twice: they read, or they bring about a state.
_REPEATABLE = re.compile(
    r"(?:npm|pnpm|yarn|bun) (?:ci|install|i|test|run (?:build|test|lint)|view|audit)\b|yarn$|yarn install"
    r"|(?:\S*python[\d.]* -m )?pip[\d.]* (?:install|download|index)\b"
    r"|uv (?:sync|pip (?:install|sync|compile)|lock)\b"
    r"|(?:poetry|pdm|pipenv) (?:install|sync|lock|update)\b|git (?:fetch|clone|ls-remote|pull|submodule update)\b"
    r"|go (?:mod download|build|test|get|vet|install)\b|cargo (?:fetch|build|test|check|update|clippy)\b"
    r"|mvnw? |gradlew? |apt-get (?:update|install)\b|(?:docker|podman) (?:pull|build)\b|\S*pytest\b|tox\b|nox\b|make\b"
)
_NOT_REPEATABLE = re.compile(r"\b(?:publish|deploy|push|upload|release|apply|migrate|delete|destroy|prune)\b")


def unsafe_words(words: Sequence[str], *, is_whole: bool = True) -> str:
    """Why ``words`` may be no part of a command; empty = they may.

    Args:
        words: argument vector, or words that are put into one.
        is_whole: the first word is the program.
    """
    if is_whole and words and posixpath.basename(words[0]) not in PROGRAMS:
        return f"the program {words[0]!r} is not among {', '.join(sorted(PROGRAMS))}"
    for word in words:
        if posixpath.basename(word) in FORBIDDEN_PROGRAMS:
            return f"{word!r} is never run by a mitigation"
        if word in _CASED_WORDS or _bare(word) in FORBIDDEN_WORDS - _CASED_WORDS:
            return f"{word!r} turns a check off, takes rights or leaves the project"
        if any(char in word for char in "\0\n|;&$`<>"):
            return f"{word!r} is for a shell, and there is none"
    return ""


def unsafe_env(env: Mapping[str, str]) -> str:
    """Why the variables may not be set; empty = they may."""
    for name, value in env.items():
        allowed = HARMLESS_VARIABLES.get(name)
        if allowed is None:
            return f"the variable {name} is not among {', '.join(sorted(HARMLESS_VARIABLES))}"
        if not allowed.fullmatch(value):
            return f"{name} may not be {value!r}; it must match {allowed.pattern}"
    return ""


def refusal(action: Action, failed: Command | None) -> str:
    """Why ``action`` may not be proposed for the command that failed; empty = it may. The last line of defence."""
    kind = action.kind
    match kind:
        case RunCommand(command) | RegenerateLockfile(command, _):
            return unsafe_words(command.argv)
        case RunFormatter(command, paths):
            return unsafe_words(command.argv[: len(command.argv) - len(paths)], is_whole=False) or _outside(paths)
        case EditCommand(command):
            before = failed.argv if failed is not None else ()
            return unsafe_words([word for word in command.argv if word not in before], is_whole=False)
        case InstallDeclared(commands, _, _):
            return next(filter(None, (unsafe_install(command) for command in commands)), "")
        case SetEnv(env):
            before_env = failed.env if failed is not None else {}
            return unsafe_env({name: _added(value, before_env.get(name, "")) for name, value in env.items()})
        case RestoreOutOfScope(paths):
            return _outside(paths)
        case RemoveStaleLock(path, _):
            return _outside((path,))
        case RetryWithBackoff(attempts, _, max_s):
            return "" if 1 <= attempts <= MAX_ATTEMPTS and max_s <= MAX_WAIT_S else "it waits too often or too long"
        case _:
            return ""


def unsafe_install(command: Command) -> str:
    """Why a project's own install command may not be run unasked; empty = it may."""
    for word in command.argv:
        if posixpath.basename(word) in FORBIDDEN_PROGRAMS:
            return f"{word!r} is never run by a mitigation"
        if word in ("--force", "--break-system-packages", "--no-verify", "--trusted-host", "--legacy-peer-deps"):
            return f"{word!r} turns a check off"
    return ""


def is_repeatable(line: str) -> bool:
    """Whether the command ``line`` may run twice without asking: it reads, or it brings about a state."""
    return _REPEATABLE.match(line) is not None and _NOT_REPEATABLE.search(line) is None


def _bare(word: str) -> str:
    return word.partition("=")[0].lower() if word.lower() not in FORBIDDEN_WORDS else word.lower()


def _added(value: str, before: str) -> str:
    """What of ``value`` is new beside what the variable had."""
    return value.removesuffix(before).removesuffix(":").removeprefix(before).strip() if before else value


def _outside(paths: Sequence[str]) -> str:
    for path in paths:
        if path.startswith("/") or ".." in path.split("/"):
            return f"{path!r} leads out of the workspace"
    return ""
