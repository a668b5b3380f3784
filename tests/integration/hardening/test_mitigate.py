"""The applier in a real repository: what it refuses, what it changes, what it undoes."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from autopack_api.common.v1 import common_pb2
from autopack_api.hardening.v1 import hardening_pb2 as pb
from autopack_client.mitigate import Applier, LocalRunner, Ran, State
from autopack_client.mitigate_git import Git
from autopack_kit.commands import Command, Script
from autopack_kit.convert import command_to_proto
from autopack_kit.errors import Unavailable

from tests.robustness.processes import HANG_LIMIT_S, alive

if TYPE_CHECKING:
    from tests.integration.hardening.conftest import Repository

TEST = Command.of("pytest", "tests")
WRITES = "from pathlib import Path; Path('installed').mkdir(); Path('package-lock.json').write_text('new')"
INSTALL = Command.of(sys.executable, "-c", WRITES)


class Recorder:
    """A runner that must not be asked."""

    def __init__(self) -> None:
        self.asked: list[Command] = []

    async def run(self, command: Command, cwd: Path) -> Ran:
        self.asked.append(command)
        return Ran(command, 0, cwd / "none")


@pytest.fixture
def project(repository: Repository) -> Repository:
    repository.write("package.json", '{"dependencies": {"express": "4"}}')
    repository.write("package-lock.json", "{}")
    repository.write(".gitignore", "installed/\n")
    repository.write("src/a.py", "a = 1\n")
    repository.write("infra/main.tf", "base\n")
    repository.write("web/tests/test_a.py", "")
    repository.commit()
    return repository


def facts(*commands: Command) -> list[pb.ProjectFacts]:
    return [pb.ProjectFacts(workdir=".", ecosystem="node", install=[command_to_proto(one) for one in commands])]


def install(command: Command = INSTALL, *names: str, path: str = "package.json") -> pb.Mitigation:
    names = names or ("express",)
    action = pb.InstallDeclared(commands=[command_to_proto(command)], distributions=names, declared_in=path)
    needed = [pb.Precondition(declared_at_base=pb.DeclaredIn(name=name, path=path)) for name in names]
    return pb.Mitigation(actions=[pb.Action(install_declared=action, preconditions=needed)], automatic=True)


def change_cwd(path: str, *preconditions: pb.Precondition) -> pb.Mitigation:
    action = pb.Action(change_cwd=pb.ChangeCwd(cwd=path), preconditions=preconditions)
    return pb.Mitigation(actions=[action], automatic=True)


def set_env(**variables: str) -> pb.Mitigation:
    return pb.Mitigation(actions=[pb.Action(set_env=pb.SetEnv(env=variables))], automatic=True)


def restore(*paths: str) -> pb.Mitigation:
    action = pb.Action(restore_out_of_scope=pb.RestoreOutOfScope(paths=paths))
    return pb.Mitigation(actions=[action], automatic=True)


def applier(
    project: Repository, tmp_path: Path, *, consent: bool = False, interactive: bool = False, base: str | None = "HEAD"
) -> Applier:
    return Applier(
        project.path, LocalRunner(tmp_path), facts=facts(INSTALL), base_commit=base, scope=("src/",),
        consent=consent, interactive=interactive,
    )  # fmt: skip


async def test_an_install_reports_the_tracked_files_it_changed_and_undoes_them(
    project: Repository, tmp_path: Path
) -> None:
    one = applier(project, tmp_path)
    outcome = await one.apply(install(), TEST)
    assert (outcome.state, outcome.reasons) == (State.APPLIED, ())
    assert outcome.rerun == TEST
    assert outcome.changed == ("package-lock.json",)
    assert b"+new" in outcome.diff
    assert (project.path / "installed").is_dir()
    assert await one.undo(outcome) == ("package-lock.json",)
    assert (project.path / "package-lock.json").read_text() == "{}"
    assert project.git("status", "--porcelain") == ""


async def test_undo_brings_back_the_uncommitted_work_that_stood_before(project: Repository, tmp_path: Path) -> None:
    (project.path / "package-lock.json").write_text('{"agent": 1}')
    project.write("new.txt", "untracked")
    one = applier(project, tmp_path, consent=True)
    before = project.git("status", "--porcelain")
    await one.undo(await one.apply(install(), TEST))
    assert (project.path / "package-lock.json").read_text() == '{"agent": 1}'
    assert project.git("status", "--porcelain") == before


@pytest.mark.parametrize("name", ["x", "a=b", "a.b c"])
async def test_filters_that_an_agent_configured_never_run(project: Repository, tmp_path: Path, name: str) -> None:
    ran = tmp_path / "ran"
    (project.path / ".gitattributes").write_text("* filter=x\n" if name == "x" else f'* filter="{name}"\n')
    (project.path / ".git" / "info" / "attributes").write_text("* filter=x\n")
    for known in {"x", name}:
        for kind in ("clean", "smudge"):
            project.git("config", f"filter.{known}.{kind}", f"touch {ran}; cat")
        project.git("config", f"filter.{known}.required", "true")
    (project.path / "package-lock.json").write_text("agent")
    outcome = await applier(project, tmp_path, consent=True).apply(install(), TEST)
    assert (outcome.state, outcome.changed) == (State.APPLIED, ("package-lock.json",))
    await applier(project, tmp_path).undo(outcome)
    assert (project.path / "package-lock.json").read_text() == "agent"
    assert not ran.exists()


async def test_filters_of_a_person_run_in_their_own_checkout(project: Repository, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    (project.path / ".git" / "info" / "attributes").write_text("*.json filter=x\n")
    project.git("config", "filter.x.clean", f"touch {ran}; cat")
    (project.path / "src" / "data.json").write_text("{}")
    (project.path / "package.json").write_text('{"dependencies": {"express":  "4"}}')
    outcome = await applier(project, tmp_path, interactive=True).apply(install(), TEST)
    assert outcome.state is State.APPLIED
    assert ran.exists()


def test_git_that_says_nothing_is_ended_at_its_deadline(project: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autopack_client.mitigate_git.GIT_TIMEOUT_S", 0.2)
    (project.path / ".git" / "info" / "attributes").write_text("*.json filter=slow\n")
    project.git("config", "filter.slow.clean", "sleep 3; cat")
    (project.path / "package.json").write_text("{  }")
    with pytest.raises(Unavailable) as caught:
        Git(project.path, trusted=True).snapshot()
    assert caught.value.reason == "GIT_TIMEOUT"


async def test_new_files_that_git_does_not_ignore_are_reported(project: Repository, tmp_path: Path) -> None:
    (project.path / ".gitignore").unlink()
    project.git("rm", "-q", "--cached", ".gitignore")
    project.commit()
    command = Command.of(sys.executable, "-c", "import os; os.mkdir('d'); open('d/x', 'w'); open('e', 'w')")
    one = Applier(project.path, LocalRunner(tmp_path), facts=facts(command), base_commit="HEAD")
    outcome = await one.apply(install(command), TEST)
    assert outcome.created == ("d/", "e")


async def test_an_install_that_fails_is_undone_and_its_output_kept(project: Repository, tmp_path: Path) -> None:
    text = "print('no space left'); open('package-lock.json', 'w').write('half'); raise SystemExit(3)"
    command = Command.of(sys.executable, "-c", text)
    one = Applier(project.path, LocalRunner(tmp_path), facts=facts(command), base_commit="HEAD")
    outcome = await one.apply(install(command), TEST)
    assert outcome.state is State.FAILED
    assert "exited 3" in outcome.reasons[0]
    assert outcome.ran[0].output.read_bytes() == b"no space left\n"
    assert (project.path / "package-lock.json").read_text() == "{}"


@pytest.mark.parametrize(
    ("mitigation", "words"),
    [
        (install(Command.of("pip", "install", "evil")), "no install command of a project here"),
        (install(Command.of(*INSTALL.argv, cwd="web")), "no install command of a project here"),
        (install(INSTALL, "left-pad"), "does not declare 'left-pad'"),
        (install(INSTALL, "express", path="../package.json"), "does not declare"),
        (pb.Mitigation(actions=[pb.Action(install_declared=pb.InstallDeclared())], automatic=True), "needs commands"),
        (pb.Mitigation(automatic=True), "only advice"),
        (pb.Mitigation(actions=[pb.Action()], automatic=True), "does not know"),
        (change_cwd("web", pb.Precondition()), "does not know"),
        (change_cwd(".."), "leads out"),
        (change_cwd("/etc"), "leads out"),
        (change_cwd("out"), "leads out"),
        (change_cwd("out/.."), "leads out"),
        (change_cwd("src/a.py"), "no directory"),
        (change_cwd("web", pb.Precondition(file_exists="web/gone")), "web/gone is no file"),
        (change_cwd("web", pb.Precondition(directory_exists="gone")), "gone is no directory"),
        (change_cwd("web", pb.Precondition(path_absent="src")), "src exists"),
        (change_cwd("web", pb.Precondition(file_exists="out/passwd")), "leads out"),
        (set_env(PATH="web"), "would set 'PATH'"),
        (set_env(LD_PRELOAD="x.so"), "would set 'LD_PRELOAD'"),
        (set_env(PYTHONPATH="/tmp"), "leads out"),
        (set_env(PYTHONPATH="src:out"), "leads out"),
        (restore("src/a.py"), "inside the scope"),
        (restore("../x"), "leads out"),
        (restore("out/passwd"), "leads out"),
        (restore(".git/config"), "leads out"),
        (restore("infra"), "is a directory"),
        (pb.Mitigation(actions=change_cwd("web").actions, consent_reason="may differ"), "needs consent: may differ"),
    ],
)
async def test_what_is_not_proven_is_refused_and_nothing_happens(
    project: Repository, tmp_path: Path, mitigation: pb.Mitigation, words: str
) -> None:
    (project.path / "out").symlink_to("/etc")
    runner = Recorder()
    one = Applier(project.path, runner, facts=facts(INSTALL), base_commit="HEAD", scope=("src/",))
    before = project.git("status", "--porcelain", "--ignored")
    outcome = await one.apply(mitigation, TEST)
    assert outcome.state is State.REFUSED
    assert words in " ".join(outcome.reasons)
    assert outcome.rerun == TEST
    assert runner.asked == []
    assert project.git("status", "--porcelain", "--ignored") == before


@pytest.mark.parametrize(
    "words",
    [("sudo", "npm", "ci"), ("/usr/bin/sudo", "npm", "ci"), ("npm", "ci", "--force")],
)
async def test_consent_does_not_allow_what_is_never_allowed(project: Repository, words: tuple[str, ...]) -> None:
    command = Command.of(*words)
    runner = Recorder()
    one = Applier(project.path, runner, facts=facts(command), base_commit="HEAD", consent=True)
    outcome = await one.apply(install(command), TEST)
    assert outcome.state is State.REFUSED
    assert runner.asked == []


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("package.json", '{"dependencies": {"express": "4", "evil": "1"}}'),
        ("package.json", '{"dependencies": {"express": "4"}, "scripts": {"postinstall": "node evil.js"}}'),
        ("package-lock.json", '{"packages": {"node_modules/express": {"resolved": "https://evil"}}}'),
        (".npmrc", "registry=https://evil\n"),
    ],
)
async def test_whatever_the_run_changed_about_the_install_needs_consent(
    project: Repository, tmp_path: Path, path: str, content: str
) -> None:
    project.write(path, content)
    refused = await applier(project, tmp_path).apply(install(), TEST)
    assert refused.state is State.REFUSED
    assert f"in {path}" in " ".join(refused.reasons)
    assert (await applier(project, tmp_path, consent=True).apply(install(), TEST)).state is State.APPLIED


async def test_without_a_base_commit_an_install_is_refused(project: Repository, tmp_path: Path) -> None:
    outcome = await applier(project, tmp_path, base=None).apply(install(), TEST)
    assert outcome.state is State.REFUSED
    assert "no base commit" in outcome.reasons[0]


async def test_a_modified_lock_file_in_a_persons_checkout_is_not_touched(project: Repository, tmp_path: Path) -> None:
    project.write("package-lock.json", '{"packages": {"node_modules/express": {}}}')
    outcome = await applier(project, tmp_path, consent=True, interactive=True).apply(install(), TEST)
    assert outcome.state is State.REFUSED
    assert "package-lock.json is modified" in outcome.reasons[0]


async def test_a_changed_directory_and_variables_make_the_command_to_rerun(project: Repository, tmp_path: Path) -> None:
    one = applier(project, tmp_path)
    moved = await one.apply(change_cwd("web"), TEST)
    assert moved.rerun == Command.of("pytest", "tests", cwd="web")
    unasked = await one.apply(change_cwd("web"), Command.of("/bin/rm", "-r", "tests"))
    assert "needs consent" in unasked.reasons[0]
    command = Command.of("pytest", env={"PYTHONPATH": "lib", "A": "1"})
    assert dict((await one.apply(set_env(PYTHONPATH="src:lib"), command)).rerun.env) == {
        "A": "1",
        "PYTHONPATH": "src:lib",
    }


async def test_changes_outside_the_scope_are_restored_and_can_be_brought_back(
    project: Repository, tmp_path: Path
) -> None:
    project.write("infra/main.tf", "changed\n")
    project.write("infra/new.tf", "added\n")
    project.write("src/a.py", "a = 2\n")
    one = applier(project, tmp_path)
    outcome = await one.apply(restore("infra/main.tf", "infra/new.tf"), TEST)
    assert outcome.state is State.APPLIED
    assert set(outcome.changed) == {"infra/main.tf", "infra/new.tf"}
    assert project.git("status", "--porcelain").split() == ["M", "src/a.py"]
    await one.undo(outcome)
    assert (project.path / "infra/main.tf").read_text() == "changed\n"
    assert (project.path / "infra/new.tf").read_text() == "added\n"


async def test_a_persons_own_checkout_is_never_reverted(project: Repository, tmp_path: Path) -> None:
    project.write("infra/main.tf", "changed\n")
    outcome = await applier(project, tmp_path, consent=True, interactive=True).apply(restore("infra/main.tf"), TEST)
    assert outcome.state is State.REFUSED
    assert (project.path / "infra/main.tf").read_text() == "changed\n"


async def test_the_index_of_the_repository_stays_byte_for_byte(project: Repository, tmp_path: Path) -> None:
    project.write("src/a.py", "a = 2\n")
    project.git("add", "src/a.py")
    index = project.path / ".git" / "index"
    before = index.read_bytes()
    one = applier(project, tmp_path)
    await one.undo(await one.apply(install(), TEST))
    assert index.read_bytes() == before


async def test_hooks_of_the_repository_do_not_run(project: Repository, tmp_path: Path) -> None:
    hook = project.write(".git/hooks/post-checkout", "#!/bin/sh\ntouch hooked\n")
    hook.chmod(0o755)
    one = applier(project, tmp_path)
    await one.undo(await one.apply(install(), TEST))
    assert not (project.path / "hooked").exists()


async def test_outside_of_git_only_what_touches_nothing_is_applied(tmp_path: Path) -> None:
    workspace = tmp_path / "plain"
    (workspace / "web").mkdir(parents=True)
    (workspace / "package.json").write_text('{"dependencies": {"express": "4"}}')
    one = Applier(workspace, LocalRunner(tmp_path), facts=facts(INSTALL), base_commit="HEAD", scope=("src/",))
    assert (await one.apply(change_cwd("web"), TEST)).state is State.APPLIED
    assert (await one.apply(install(), TEST)).state is State.REFUSED
    assert (await one.apply(restore("package.json"), TEST)).state is State.REFUSED


async def test_with_consent_an_install_outside_of_git_is_applied_and_nothing_can_be_undone(tmp_path: Path) -> None:
    workspace = tmp_path / "plain"
    workspace.mkdir()
    (workspace / "package.json").write_text('{"dependencies": {"express": "4"}}')
    mitigation = install()
    del mitigation.actions[0].preconditions[:]
    one = Applier(workspace, LocalRunner(tmp_path), facts=facts(INSTALL), consent=True, interactive=True)
    outcome = await one.apply(mitigation, TEST)
    assert (outcome.state, outcome.reasons) == (State.APPLIED, ())
    assert await one.undo(outcome) == ()


async def test_a_machine_without_git_gets_refusals_and_no_crash(
    project: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    one = Applier(project.path, Recorder(), facts=facts(INSTALL), base_commit="HEAD", scope=("src/",))
    assert (await one.apply(install(), TEST)).state is State.REFUSED
    assert (await one.apply(restore("infra/main.tf"), TEST)).state is State.REFUSED


def test_a_message_of_a_later_version_with_an_unknown_command_is_refused(project: Repository, tmp_path: Path) -> None:
    broken = install()
    broken.actions[0].install_declared.commands[0].CopyFrom(common_pb2.Command(cwd="."))
    assert "neither argv nor script" in " ".join(applier(project, tmp_path).check(broken, TEST))


@pytest.mark.parametrize(
    ("program", "content", "says"),
    [
        ("no-such-program-anywhere", None, "sh: 1: no-such-program-anywhere: not found"),
        ("./no/such/file", None, "sh: line 1: ./no/such/file: No such file or directory"),
        (
            "./check",
            "#! /no/such/perl -w\n",
            "sh: line 1: ./check: /no/such/perl: bad interpreter: No such file or directory",
        ),
        ("./check", "#!/bin/sh\r\n", "sh: line 1: ./check: /bin/sh^M: bad interpreter: No such file or directory"),
        ("./check", "\0", "sh: line 1: ./check: Exec format error"),
    ],
)
async def test_a_program_that_cannot_be_started_exits_127_with_the_words_of_a_shell(
    tmp_path: Path, program: str, content: str | None, says: str
) -> None:
    if content is not None:
        (tmp_path / program).write_text(content)
        (tmp_path / program).chmod(0o755)
    ran = await LocalRunner(tmp_path).run(Command.of(program), tmp_path)
    assert (ran.exit_code, ran.started) == (127, False)
    assert ran.output.read_text() == f"{says}\n"


async def test_a_directory_that_is_not_there_is_told_as_a_shell_tells_it(tmp_path: Path) -> None:
    ran = await LocalRunner(tmp_path).run(Command.of("ls"), tmp_path / "gone")
    assert (ran.exit_code, ran.started) == (1, False)
    assert ran.output.read_text() == f"sh: line 1: cd: {tmp_path}/gone: No such file or directory\n"


async def test_a_program_that_may_not_be_executed_exits_126_with_the_words_of_a_shell(tmp_path: Path) -> None:
    (tmp_path / "check.sh").write_text("#!/bin/sh\n")
    ran = await LocalRunner(tmp_path).run(Command.of("./check.sh"), tmp_path)
    assert (ran.exit_code, ran.started) == (126, True)
    assert ran.output.read_bytes() == b"sh: 1: ./check.sh: Permission denied\n"


async def test_a_command_past_its_time_is_killed_with_its_children(tmp_path: Path) -> None:
    text = "import subprocess, time; print(subprocess.Popen(['sleep', '300']).pid, flush=True); time.sleep(300)"
    ran = await LocalRunner(tmp_path, timeout=1.0).run(Command.of(sys.executable, "-c", text), tmp_path)
    assert ran.timed_out
    assert ran.exit_code == -9
    assert not alive(int(ran.output.read_bytes()))


async def test_when_a_cancelled_command_has_ended_so_have_its_children(tmp_path: Path) -> None:
    mark = tmp_path / "pids"
    stubborn = tmp_path / "stubborn.py"
    stubborn.write_text(
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"print(os.getpid(), file=open({str(mark)!r}, 'a'))\n"
        "time.sleep(300)\n"
    )
    loop = f"for i in 1 2 3 4 5 6 7 8; do {sys.executable} {stubborn} & done; wait"
    task = asyncio.create_task(LocalRunner(tmp_path).run(Command.of("sh", "-c", loop), tmp_path))
    async with asyncio.timeout(HANG_LIMIT_S):
        while not mark.exists() or len(mark.read_text().split()) < 8:  # noqa: ASYNC110  # other processes write it
            await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [pid for pid in mark.read_text().split() if alive(int(pid))] == []


async def test_of_endless_output_the_beginning_and_the_end_are_kept(tmp_path: Path) -> None:
    text = "import os\nos.write(1, b'first')\nfor _ in range(400): os.write(1, b'x' * 65536)\nos.write(1, b'last')"
    ran = await LocalRunner(tmp_path).run(Command.of(sys.executable, "-c", text), tmp_path)
    content = ran.output.read_bytes()
    assert (ran.exit_code, ran.dropped) == (0, True)
    assert (content[:5], content[-4:]) == (b"first", b"last")
    assert b"\n[the middle of the output was dropped]\n" in content
    assert len(content) < 18 << 20


async def test_a_script_is_given_to_its_interpreter(tmp_path: Path) -> None:
    ran = await LocalRunner(tmp_path, env=dict(os.environ)).run(
        Command(script=Script(("sh",), "echo hi; exit 4")), tmp_path
    )
    assert (ran.exit_code, ran.output.read_bytes()) == (4, b"hi\n")
