from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from autopack_api.intention.v1.intention_pb2 import CheckDriftRequest
from autopack_client.evidence import change_evidence
from autopack_client.profile import build_profile
from autopack_intention import Intention, Step, check_drift
from autopack_intention.convert import step_from_request
from autopack_kit.errors import FailedPrecondition

ENV = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "A Person",
    "GIT_AUTHOR_EMAIL": "person@invalid",
    "GIT_COMMITTER_NAME": "A Person",
    "GIT_COMMITTER_EMAIL": "person@invalid",
}


def git(repository: Path, *arguments: str, **environment: str) -> str:
    return subprocess.run(
        ["git", "-C", str(repository), *arguments], check=True, capture_output=True, text=True, env=ENV | environment
    ).stdout.strip()


def commit(repository: Path, message: str, **environment: str) -> str:
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "--allow-empty", "-m", message, **environment)
    return git(repository, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repo"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    (root / "old.py").write_text("".join(f"line_{n} = {n}\n" for n in range(40)))
    (root / "gone.py").write_text("gone = 1\n")
    commit(root, "Start")
    return root


async def test_evidence_has_renames_deletions_odd_names_and_added_identifiers(repository: Path) -> None:
    base = git(repository, "rev-parse", "HEAD")
    (repository / "old.py").rename(repository / "new.py")
    (repository / "gone.py").unlink()
    (repository / 'tab\tand "quote" ä.py').write_text("def send_request():\n    return retry_policy\n")
    (repository / "with space b").write_text("")
    os.mkfifo(repository / "ignored-by-git")
    tree = commit(repository, "Change") + "^{tree}"
    evidence = await change_evidence(repository, base, tree)
    assert set(evidence.paths) == {"old.py", "new.py", "gone.py", 'tab\tand "quote" ä.py', "with space b"}
    assert set(evidence.added_identifiers) == {"def", "send_request", "return", "retry_policy"}


async def test_evidence_tells_file_by_file_what_changed(repository: Path) -> None:
    base = git(repository, "rev-parse", "HEAD")
    (repository / "old.py").rename(repository / "new.py")
    with (repository / "new.py").open("a") as file:
        file.write("def send_request():\n    return retry_policy\n")
    (repository / "gone.py").unlink()
    (repository / "theme.css").write_text(".button { color: dark_palette }\n")
    commit(repository, "Change")
    evidence = await change_evidence(repository, base, "HEAD")
    files = {file.path: file for file in evidence.files}
    assert {path: file.added for path, file in files.items()} == {"new.py": False, "gone.py": False, "theme.css": True}
    assert set(files["new.py"].added_identifiers) == {"def", "send_request", "return", "retry_policy"}
    assert set(files["theme.css"].added_identifiers) == {"button", "color", "dark_palette"}
    assert files["gone.py"].added_identifiers == ()


async def test_a_real_change_with_a_file_of_another_task_lists_that_file(repository: Path) -> None:
    for name, text in {
        "src/http/client.py": "class HttpClient:\n    retry_policy = RetryPolicy(backoff, jitter)\n",
        "src/http/retry.py": "class RetryPolicy:\n    def delay(self, attempt, backoff, jitter): ...\n",
        "tests/http/test_retry.py": "def test_retry_policy_waits():\n    assert RetryPolicy(backoff).delay(2)\n",
        "web/theme/palette.css": ".dark .button:hover { background: stylesheet_color; toggle: animation }\n",
    }.items():
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text(text)
    commit(repository, "Change")
    evidence = step_from_request(
        CheckDriftRequest(evidence=(await change_evidence(repository, "HEAD~1", "HEAD")).to_proto())
    ).evidence
    goal = Intention("Retry failed requests of the HTTP client", "Exponential backoff with jitter, by a RetryPolicy.")
    assert [file.path for file in check_drift(goal, Step(evidence)).off_goal_files] == ["web/theme/palette.css"]


async def test_programs_named_by_the_repository_never_run(repository: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    trap = tmp_path / "trap.sh"
    trap.write_text(f"#!/bin/sh\ntouch {marker}\ncat\n")
    trap.chmod(0o755)
    for key in (
        "diff.external",
        "diff.trap.command",
        "diff.trap.textconv",
        "core.fsmonitor",
        "core.pager",
        "gpg.program",
    ):
        git(repository, "config", key, str(trap))
    git(repository, "config", "log.showSignature", "true")
    git(repository, "config", "diff.noprefix", "true")
    (repository / ".gitattributes").write_text("* diff=trap\n")
    (repository / "old.py").write_text("changed_identifier = 1\n")
    git(repository, "-c", "core.fsmonitor=false", "add", "-A")
    git(repository, "-c", "core.fsmonitor=false", "commit", "-q", "-m", "Trap")
    marker.unlink(missing_ok=True)
    evidence = await change_evidence(repository, "HEAD~1", "HEAD")
    profile = await build_profile(repository)
    assert "changed_identifier" in evidence.added_identifiers
    assert set(evidence.paths) == {".gitattributes", "old.py"}
    assert profile.messages == ("Trap", "Start")
    assert not marker.exists()


async def test_a_profile_has_messages_and_changes_of_people_without_merges(repository: Path) -> None:
    for number in range(3):
        (repository / f"module_{number}.py").write_text(f"value_{number} = 1\n")
        commit(repository, f"Add module {number}\n\nBecause.\n\nSigned-off-by: A Person <person@invalid>")
    (repository / "package.json").write_text("{}\n")
    commit(repository, "Bump it", GIT_AUTHOR_NAME="dependabot[bot]")
    git(repository, "checkout", "-q", "-b", "side", "HEAD~1")
    commit(repository, "Empty side")
    git(repository, "checkout", "-q", "main")
    git(repository, "merge", "-q", "--no-ff", "-m", "Merge side", "side")
    profile = await build_profile(repository)
    assert sorted(profile.messages) == [
        "Add module 0\n\nBecause.",
        "Add module 1\n\nBecause.",
        "Add module 2\n\nBecause.",
        "Empty side",
        "Start",
    ]
    assert [change.paths for change in profile.background][:3] == [("module_2.py",), ("module_1.py",), ("module_0.py",)]
    assert set(profile.background[-1].paths) == {"gone.py", "old.py"}
    assert len(profile.to_proto().background) == 4
    assert not any(change.files for change in profile.to_proto().background)


async def test_a_revision_that_is_an_option_or_does_not_exist_is_refused(repository: Path, tmp_path: Path) -> None:
    for revision in (f"--output={tmp_path / 'written'}", "no-such-revision"):
        with pytest.raises(FailedPrecondition, match="git diff failed"):
            await change_evidence(repository, revision, "HEAD")
    assert not (tmp_path / "written").exists()


async def test_a_directory_without_commits_is_refused_with_what_git_said(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        await build_profile(tmp_path)
    assert caught.value.reason == "GIT_FAILED"
    assert "not a git repository" in caught.value.message


async def test_no_configuration_hides_what_changed(repository: Path) -> None:
    base = git(repository, "rev-parse", "HEAD")
    (repository / "src").mkdir()
    (repository / "src" / "new.py").write_text("send_request = 1\n")
    (repository / "old.py").write_text("".join(f"line_{n} = {n}\n" if n % 9 else f"retry_{n}\n" for n in range(40)))
    (repository / ".gitmodules").write_text('[submodule "lib"]\n\tpath = lib\n\turl = ./lib\n\tignore = all\n')
    git(repository, "add", "-A")
    git(repository, "update-index", "--add", "--cacheinfo", f"160000,{base},lib")
    git(repository, "commit", "-q", "-m", "Add")
    added = git(repository, "rev-parse", "HEAD")
    git(repository, "update-index", "--cacheinfo", f"160000,{added},lib")
    git(repository, "commit", "-q", "-m", "Bump")
    git(repository, "config", "diff.relative", "true")
    git(repository, "config", "diff.interHunkContext", "100")
    whole = await change_evidence(repository / "src", base, "HEAD")
    assert set(whole.paths) == {".gitmodules", "lib", "old.py", "src/new.py"}
    assert {"retry_9", "retry_36", "send_request"} <= set(whole.added_identifiers)
    assert (await change_evidence(repository, added, "HEAD")).paths == ("lib",)


async def test_one_huge_file_does_not_hide_the_files_after_it(repository: Path) -> None:
    base = git(repository, "rev-parse", "HEAD")
    (repository / "dump.sql").write_text("INSERT INTO orders VALUES (1, 'paid');\n" * 450_000)
    (repository / "later.py").write_text("def send_request():\n    return retry_policy\n")
    commit(repository, "Change")
    evidence = await change_evidence(repository, base, "HEAD")
    assert evidence.paths == ("dump.sql", "later.py")
    assert set(evidence.added_identifiers) == {"def", "send_request", "return", "retry_policy"}
