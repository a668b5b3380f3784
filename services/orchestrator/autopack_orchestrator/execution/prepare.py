"""Before the agent: detect, plan, make the environment, install, and tell the run about itself."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from autopack_kit.commands import Command
from autopack_kit.errors import AutopackError

from autopack_orchestrator.adapters import git
from autopack_orchestrator.adapters.agents import known_agents
from autopack_orchestrator.adapters.peers import Detection
from autopack_orchestrator.adapters.virtualenv import bundled_wheels, unpack
from autopack_orchestrator.core.environment import base_environment
from autopack_orchestrator.core.model import Prepare
from autopack_orchestrator.core.plan import DetectedProject, StepPlan, plan_steps
from autopack_orchestrator.execution.commands import execute
from autopack_orchestrator.execution.context import RunContext

__all__ = ["detect", "make_virtualenvs", "plan", "run_variables"]

VENV_TIMEOUT_S = 300.0  # seconds on a quiet machine; unpacking pip on a loaded disk takes minutes
#: Package managers that install into whatever interpreter is first on the PATH; the others make their own ``.venv``.
_NEED_VIRTUALENV = frozenset({"pip"})


async def detect(ctx: RunContext) -> Detection | None:
    """What the toolchain service says about the worktree; None, with a warning, if it cannot answer."""
    try:
        detection = await ctx.peers.detect(ctx.workspace)
    except AutopackError as error:
        await ctx.warn("toolchain", f"The repository could not be examined: {error.message}")
        return None
    for warning in detection.warnings[:20]:
        await ctx.warn("toolchain", warning)
    return detection


async def plan(ctx: RunContext, detection: Detection | None) -> StepPlan:
    """The install and validation steps of the run."""
    spec = ctx.run.spec
    if detection is None and not spec.validate:
        raise ctx.fail(
            "TOOLCHAIN_UNAVAILABLE",
            "The toolchain service cannot be reached, and the run names no validation steps of its own.",
            "Start the service, or give the run `validate` steps.",
        )
    steps = plan_steps(spec, detection.projects if detection else ())
    if not steps.validate:
        await ctx.warn(
            "validation",
            "No validation step was found or given: the change is committed without having been validated.",
        )
    return steps


async def make_virtualenvs(ctx: RunContext, projects: Sequence[DetectedProject]) -> None:
    """An environment inside the worktree for every project whose manager would otherwise use the host's."""
    for project in projects:
        if project.package_manager not in _NEED_VIRTUALENV or not project.steps:
            continue  # sources without a manifest or a test are a project too, in which nothing is run
        virtualenv = ctx.workspace / project.workdir / ".venv"
        if virtualenv.is_symlink():  # whatever is installed would be installed where it leads, outside of the worktree
            raise ctx.fail(
                "PREPARE_FAILED",
                f"{virtualenv.relative_to(ctx.workspace).as_posix()!r} is a symbolic link in the repository; "
                "Autopack installs into no environment outside of its worktree.",
                "Remove the link from the repository and name `.venv` in .gitignore.",
            )
        if os.path.lexists(virtualenv):
            continue
        wheels = bundled_wheels()
        options = ["--without-pip"] if wheels else []
        command = Command.of(sys.executable, "-m", "venv", *options, ".venv", cwd=project.workdir)
        finished = await execute(ctx, "venv", command, timeout_s=VENV_TIMEOUT_S)
        if not finished.ok:
            raise ctx.fail(
                "PREPARE_FAILED",
                f"The virtual environment of {project.workdir!r} could not be made: {finished.words()}.",
                "See the log; Debian needs the package python3-venv.",
            )
        if wheels:
            await asyncio.to_thread(unpack, virtualenv, wheels)


def should_install(ctx: RunContext) -> bool:
    """Whether install steps run before the agent."""
    return ctx.run.spec.prepare is Prepare.AUTO


async def run_variables(
    ctx: RunContext, *, context: str, token: str, telemetry_address: str, identity: git.Identity
) -> dict[str, str]:
    """The environment that everything of this run starts from.

    The context and the token are files too: a context does not fit every command line, and a token in a variable would
    be inherited by everything.
    """
    directory = ctx.directory
    context_file, token_file = directory / "context.txt", directory / "token"
    await asyncio.to_thread(_write_private, context_file, context)
    spec = ctx.run.spec
    variables = {
        "AUTOPACK_RUN_ID": ctx.run.run_id,
        "AUTOPACK_BATCH_ID": ctx.run.batch_id,
        "AUTOPACK_RUN_NAME": ctx.run.name,
        "AUTOPACK_ATTEMPT": str(ctx.run.attempt),
        "AUTOPACK_GOAL": spec.intention.title,
        "AUTOPACK_CONTEXT": context,
        "AUTOPACK_CONTEXT_FILE": str(context_file),
        "AUTOPACK_WORKSPACE": str(ctx.workspace),
        **identity.env(),  # an agent that commits without an identity of its own would be refused by git
    }
    if telemetry_address:
        variables["AUTOPACK_ADDRESS"] = telemetry_address
    if token:
        await asyncio.to_thread(_write_private, token_file, token)
        variables["AUTOPACK_TOKEN_FILE"] = str(token_file)
    passed = list(spec.pass_env)
    if spec.agent is not None:
        allowed = frozenset(ctx.settings.passable_env)
        passed += [name for name in known_agents()[spec.agent.name].pass_env if name in allowed]
    return base_environment(ctx.server_environment, passed, variables)


def _write_private(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
