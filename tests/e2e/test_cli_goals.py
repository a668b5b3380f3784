"""Goals from files, and ranges of commits judged against them, on real git repositories."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from autopack_api.intention.v1 import intention_pb2 as pb
from autopack_cli.demo.repositories import make_python

Cli = Any

GOAL = """\
# Retry failed requests in the HTTP client

Use exponential backoff with jitter; stop after max_attempts.

## Constraints
- No new dependency

## Scope
- `src/`
- the client
"""
AREAS = ("billing", "search", "upload", "login", "mail", "report", "cache", "theme", "export", "chat", "audit", "quota")
RETRY = "def retry_request(backoff, jitter, max_attempts):\n    client = sleep_backoff(jitter)\n"
THEME = "class DarkTheme:\n    color = palette\n    stylesheet = toggle_button\n    hover = border_radius\n"
CUSTOMS = "class CustomsPaper:\n    parcel = shipping_zone\n    tariff = declared_weight\n    country = invoice\n"


def git(path: Path, *words: str) -> str:
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    env |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
    done = subprocess.run(["git", *identity, *words], cwd=path, env=env, capture_output=True, check=True, timeout=60)
    return done.stdout.decode().strip()


def commit(path: Path, name: str, text: str, message: str) -> None:
    (path / name).parent.mkdir(parents=True, exist_ok=True)
    (path / name).write_text(text)
    git(path, "add", ".")
    git(path, "commit", "--quiet", "--message", message)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A main branch of a dozen commits, made once."""
    path = tmp_path_factory.mktemp("history") / "shop"
    path.mkdir()
    git(path, "init", "--quiet", "--initial-branch=main")
    for area in AREAS:
        text = f"def {area}_total(value, limit):\n    return {area}_limit + value\n"
        commit(path, f"src/{area}/main.py", text, f"Let the {area} service load its values")
    return path


@pytest.fixture
def shop(cli: Cli, history: Path) -> Path:
    path = Path(cli.home) / "shop"
    shutil.copytree(history, path)
    (cli.home / "goal.md").write_text(GOAL)
    git(path, "switch", "--quiet", "--create", "work")
    return path


def drift(cli: Cli, repo: Path, *words: str) -> Any:
    return cli("drift", "--goal-file", "goal.md", "--repo", repo, "--since", "main", *words)


def test_context_of_a_markdown_file_has_its_sections_and_what_options_add(cli: Cli) -> None:
    (cli.home / "goal.md").write_text(GOAL)
    done = cli("context", "goal.md", "--scope", "docs/", "--constraint", "Keep the API")
    assert done.returncode == 0
    assert "Goal: Retry failed requests in the HTTP client. Use exponential backoff" in done.stdout
    for line in ("Constraint: No new dependency", "Constraint: Keep the API", "May change: src/", "May change: docs/"):
        assert line in done.stdout.splitlines()
    assert "warning: goal.md: Scope: 'the client' names no path" in done.stderr


def test_context_of_standard_input_and_of_a_run_of_a_batch(cli: Cli) -> None:
    piped = cli("context", "-", "--title", "Fix the login", input=b"It loops.\n\n## Must not\n- break the API")
    assert "Goal: Fix the login. It loops." in piped.stdout
    assert "Constraint: Must not: break the API" in piped.stdout
    (cli.home / "goal.md").write_text(GOAL)
    (cli.home / "batch.yaml").write_text(
        "runs:\n  - {name: a, goal: Fix the login, command: x}\n  - {name: b, goal_file: goal.md, command: x}\n"
    )
    assert "Goal: Fix the login\n" in cli("context", "batch.yaml", "--run", "a").stdout
    assert "May change: src/\n" in cli("context", "batch.yaml", "--run", "b").stdout


def test_context_of_a_file_without_a_goal_names_the_option(cli: Cli) -> None:
    for name, text, words in (
        ("no.md", "## Scope\n- src/", "error: --title is empty, and the text names no goal"),
        ("empty.md", "", "error: FILE is empty"),
    ):
        (cli.home / name).write_text(text)
        done = cli("context", name)
        assert done.returncode == 2
        assert words in done.stderr


def test_commits_on_goal_pass_and_each_is_a_step(cli: Cli, shop: Path) -> None:
    commit(shop, "src/http/retry.py", RETRY, "Retry failed requests")
    commit(shop, "src/http/client.py", RETRY.replace("def ", "async def "), "Use the backoff in the client")
    done = drift(cli, shop, "--fail-on", "watch")
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("on goal  (2 commits)")
    assert "Retry failed requests" in done.stdout
    found = json.loads(drift(cli, shop, "--json").stdout)
    assert (found["mode"], found["run_verdict"], found["failed"]) == ("steps", "VERDICT_ON_GOAL", False)
    assert [step["subject"] for step in found["steps"]] == ["Retry failed requests", "Use the backoff in the client"]
    assert found["since"] == git(shop, "rev-parse", "main")
    assert found["steps"][-1]["commit"] == found["until"] == git(shop, "rev-parse", "HEAD")
    assert "backoff" in found["whole"]["shared_terms"]


def test_two_unrelated_commits_are_drift_which_fails_only_when_asked(cli: Cli, shop: Path) -> None:
    commit(shop, "src/theme/dark.py", THEME, "Dark theme")
    commit(shop, "src/customs/paper.py", CUSTOMS, "Customs papers")
    commit(shop, "src/http/retry.py", RETRY, "Retry failed requests")
    done = drift(cli, shop)
    assert done.returncode == 0
    assert done.stdout.startswith("drift  (3 commits)")
    assert "src/theme/dark.py" in done.stdout  # seems off goal
    failing = drift(cli, shop, "--fail-on", "drift", "--json")
    assert failing.returncode == 1
    found = json.loads(failing.stdout)
    assert [step["step_verdict"] for step in found["steps"]] == ["VERDICT_DRIFT", "VERDICT_DRIFT", "VERDICT_ON_GOAL"]
    assert found["failed"]


def test_path_out_of_scope_fails_even_if_a_later_commit_takes_it_back(cli: Cli, shop: Path) -> None:
    commit(shop, "src/http/retry.py", RETRY, "Retry failed requests")
    commit(shop, "deploy.txt", "x\n", "Note")
    git(shop, "revert", "--no-edit", "HEAD")
    done = drift(cli, shop)
    assert done.returncode == 1
    assert done.stdout.startswith("scope violation")
    assert "deploy.txt  (in " in done.stdout
    assert drift(cli, shop, "--fail-on", "never").returncode == 0
    squashed = drift(cli, shop, "--squash")
    assert squashed.returncode == 0  # what would be merged is within the scope
    assert squashed.stdout.startswith("on goal")


def test_squashed_range_is_one_step_that_names_what_seems_off(cli: Cli, shop: Path) -> None:
    commit(shop, "src/http/retry.py", RETRY, "Retry failed requests")
    commit(shop, "setup.py", THEME, "Dark theme")
    done = drift(cli, shop, "--squash", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 1
    assert (found["mode"], len(found["steps"]), found["run_verdict"]) == ("squash", 1, "VERDICT_SCOPE_VIOLATION")
    assert found["steps"][0]["out_of_scope_paths"] == ["setup.py"]


def test_work_on_the_main_branch_in_the_meantime_is_not_judged(cli: Cli, shop: Path) -> None:
    commit(shop, "src/http/retry.py", RETRY, "Retry failed requests")
    git(shop, "switch", "--quiet", "main")
    commit(shop, "README.md", THEME, "Dark theme")
    git(shop, "switch", "--quiet", "work")
    git(shop, "merge", "--quiet", "--no-edit", "main")
    found = json.loads(drift(cli, shop, "--json").stdout)
    assert [step["subject"] for step in found["steps"]] == ["Retry failed requests"]
    assert not found["failed"]


def test_what_is_too_little_to_judge_is_said_and_never_fails(cli: Cli, shop: Path) -> None:
    commit(shop, "src/x", "1\n", "Tiny")
    done = drift(cli, shop, "--fail-on", "watch")
    assert done.returncode == 0
    assert done.stdout.startswith("not judged: insufficient evidence")


def test_shallow_clone_is_judged_and_says_so(cli: Cli, shop: Path) -> None:
    commit(shop, "src/http/retry.py", RETRY, "Retry failed requests")
    commit(shop, "src/http/client.py", RETRY, "Use it in the client")
    clone = Path(cli.home) / "clone"
    git(Path(cli.home), "clone", "--quiet", "--depth=2", "--branch=work", f"file://{shop}", str(clone))
    done = cli("drift", "--goal-file", "goal.md", "--repo", clone, "--since", "HEAD~1")
    assert done.returncode == 0
    assert "this clone is shallow" in done.stderr
    unknown = cli("drift", "--goal-file", "goal.md", "--repo", clone, "--since", "HEAD~2")
    assert unknown.returncode == 2
    assert "git fetch --unshallow" in unknown.stderr
    git(clone, "fetch", "--quiet", "--depth=1", "origin", "main:main")
    apart = drift(cli, clone)
    assert apart.returncode == 0
    assert "no commit in common" in apart.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--since", "nowhere"), "--since: 'nowhere' is not a commit"),
        (("--since", "--output=x"), "--since: '--output=x' is not a commit"),
        (("--until", "nowhere"), "--until: 'nowhere' is not a commit"),
        (("--since", "HEAD"), "--since: there are no commits between HEAD and HEAD"),
        (("--repo", "."), "--repo: "),
        (("--repo", "missing"), "--repo: "),
        (("--goal", "both"), "--goal: give exactly one of --goal-file and --goal"),
        (("--scope", "[z-a]"), "--scope[1]"),
        (("--goal-file", "missing.md"), "--goal-file: missing.md cannot be read"),
    ],
)
def test_what_cannot_be_judged_is_bad_input_and_says_why(
    cli: Cli, shop: Path, words: tuple[str, ...], message: str
) -> None:
    commit(shop, "src/http/retry.py", RETRY, "Retry failed requests")
    done = drift(cli, shop, *words)
    assert done.returncode == 2
    assert f"error: {message}" in done.stderr


def test_name_of_a_file_cannot_look_like_more_of_the_output(cli: Cli, shop: Path) -> None:
    commit(shop, "docs/a\n  out of scope:      src/forged.py\x1b[2K", RETRY, "Retry failed requests")
    done = drift(cli, shop)
    assert done.returncode == 1
    assert "\x1b" not in done.stdout
    assert sum(line.startswith("  out of scope:") for line in done.stdout.splitlines()) == 1


def test_json_holds_the_responses_of_the_service(cli: Cli) -> None:
    path = cli.home / "demo"
    make_python(path)
    found = json.loads(cli("drift", "--goal", "Find abandoned carts", "--repo", path, "--json").stdout)
    names = {field.name for field in pb.CheckDriftResponse.DESCRIPTOR.fields} | {"commit", "subject"}
    assert set(found["steps"][0]) <= names
    assert found["whole"]["profile_source"].startswith("PROFILE_SOURCE_")
    assert found["whole"]["off_goal_files"] == []  # what is empty, 0 or false is there too


def test_run_takes_its_goal_and_limits_from_a_file(cli: Cli, repository: Path) -> None:
    (cli.home / "goal.md").write_text("# Extend the notes\n\n## Scope\n- `notes.txt`\n\n## Rules\n- Keep it short\n")
    command = f"sh -c 'printenv AUTOPACK_CONTEXT | tee {cli.home}/context notes.txt'"
    done = cli("run", "--repo", repository, "--goal-file", "goal.md", "--scope", "more/", "--command", command,
               "--sandbox", "none")  # fmt: skip
    assert done.returncode == 0, done.stderr
    context = (cli.home / "context").read_text().splitlines()
    for line in ("Goal: Extend the notes", "Constraint: Keep it short", "May change: notes.txt", "May change: more/"):
        assert line in context


def test_batch_takes_goals_from_files_and_its_own_keys_win(cli: Cli, repository: Path) -> None:
    (cli.home / "goal.md").write_text(
        "# Extend the notes\n\nOne line.\n\n## Scope\n- notes.txt\n\n## Rules\n- Keep it\n"
    )
    (cli.home / "batch.yaml").write_text(
        "repo: repository\nisolation: {sandbox: none}\ndefaults: {goal_file: goal.md}\nruns:\n"
        f"  - {{name: a, command: sh -c 'printenv AUTOPACK_CONTEXT | tee {cli.home}/a notes.txt'}}\n"
        "  - {name: b, goal: Mend it, scope: [src/], "
        f"command: sh -c 'mkdir src; printenv AUTOPACK_CONTEXT | tee {cli.home}/b src/x'}}\n"
    )
    done = cli("run", "batch.yaml")
    assert done.returncode == 0, done.stderr
    first, second = ((cli.home / name).read_text().splitlines()[2:-1] for name in ("a", "b"))
    assert first == ["Goal: Extend the notes. One line.", "Constraint: Keep it", "May change: notes.txt"]
    assert second == ["Goal: Mend it. One line.", "Constraint: Keep it", "May change: src/"]


def test_goal_file_without_a_goal_is_refused_at_its_line(cli: Cli, repository: Path) -> None:
    (cli.home / "goal.md").write_text("## Scope\n- notes.txt\n")
    (cli.home / "batch.yaml").write_text(
        "repo: repository\nruns:\n  - name: a\n    goal_file: goal.md\n    command: 'true'\n"
    )
    done = cli("run", "batch.yaml", "--check")
    assert done.returncode == 2
    assert "batch.yaml:4:16: goal_file goal.md: is empty, and the text names no goal" in done.stderr
    assert "error: 1 problem in batch.yaml" in done.stderr
