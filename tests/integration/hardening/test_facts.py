"""Facts of a real repository: what is declared, and since when."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from autopack_api.common.v1.common_pb2 import Argv, Command
from autopack_api.hardening.v1.hardening_pb2 import ProjectFacts
from autopack_api.toolchain.v1.toolchain_pb2 import STEP_KIND_INSTALL, DetectResponse, PackageManager, Project, Step
from autopack_client.facts import project_facts, workspace_paths

if TYPE_CHECKING:
    from tests.integration.hardening.conftest import Repository


def detected(*words: str, workdir: str = ".", ecosystem: str = "python") -> DetectResponse:
    step = Step(kind=STEP_KIND_INSTALL, command=Command(argv=Argv(words=words), cwd=workdir))
    manager = PackageManager(name=words[0])
    return DetectResponse(
        projects=[Project(workdir=workdir, ecosystem=ecosystem, package_manager=manager, steps=[step])]
    )


PIP = detected("pip", "install", "-r", "requirements.txt")


def state(facts: list[ProjectFacts]) -> dict[tuple[str, str], bool]:
    return {(one.path, one.name): one.declared_at_base for one in facts[0].dependencies}


def test_only_what_stands_unchanged_at_the_base_is_declared_there(repository: Repository) -> None:
    repository.write("requirements.txt", "flask\nrequests==2.0\n-r more.txt\n")
    repository.write("more.txt", "six\n")
    base = repository.commit()
    repository.write("requirements.txt", "flask\nrequests==9.9\nevil\n-r more.txt\n--index-url https://x\n")
    assert state(project_facts(PIP, repository.path, base)) == {
        ("requirements.txt", "flask"): True,
        ("requirements.txt", "requests"): False,
        ("requirements.txt", "evil"): False,
        ("requirements.txt", "(--index-url https://x)"): False,
        ("more.txt", "six"): True,
    }


def test_a_file_that_the_install_command_names_counts_whatever_its_name(repository: Repository) -> None:
    repository.write("deps.in", "flask\n")
    base = repository.commit()
    assert state(project_facts(detected("pip", "install", "-r", "deps.in"), repository.path, base)) == {
        ("deps.in", "flask"): True
    }


def test_the_files_of_a_workspace_root_count_for_its_members(repository: Repository) -> None:
    repository.write("web/package.json", '{"dependencies": {"express": "4"}}')
    repository.write("package.json", '{"workspaces": ["web"]}')
    base = repository.commit()
    repository.write(".npmrc", "registry=https://evil\n")
    facts = project_facts(detected("npm", "ci", workdir="web", ecosystem="node"), repository.path, base)
    assert state(facts) == {(".npmrc", "(the content of .npmrc)"): False, ("web/package.json", "express"): True}


@pytest.mark.parametrize("base", [None, "0" * 40, "--help", "no-such-branch"])
def test_without_a_base_commit_nothing_is_declared_there(repository: Repository, base: str | None) -> None:
    repository.write("requirements.txt", "flask\n")
    repository.commit()
    assert state(project_facts(PIP, repository.path, base)) == {("requirements.txt", "flask"): False}


def test_a_directory_without_git_has_facts_but_no_base(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("flask\n")
    assert state(project_facts(PIP, tmp_path, "HEAD")) == {("requirements.txt", "flask"): False}


def test_odd_manifests_declare_nothing_and_those_that_an_installer_would_read_count_as_changed(
    repository: Repository, tmp_path: Path
) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("evil\n")
    repository.write("README.md", "x")
    base = repository.commit()
    (repository.path / "requirements.txt").symlink_to(outside)
    os.mkfifo(repository.path / "Pipfile")
    (repository.path / "package.json").mkdir()
    repository.write("setup.cfg", "x" * (2 << 20))
    repository.write("constraints.txt", "-r ../outside.txt\n-r /etc/passwd\n-r constraints.txt\n")
    names = {name for _, name in state(project_facts(PIP, repository.path, base))}
    included = {"(-r ../outside.txt)", "(-r /etc/passwd)", "(-r constraints.txt)"}
    assert names == included | {"(requirements.txt: not read)", "(setup.cfg: not read)"}


def test_a_manifest_that_the_run_broke_counts_as_changed(repository: Repository) -> None:
    repository.write("pyproject.toml", '[project]\ndependencies = ["flask"]\n')
    base = repository.commit()
    repository.write("pyproject.toml", "= broken")
    ((path, name), at_base), *_ = state(project_facts(PIP, repository.path, base)).items()
    assert (path, at_base) == ("pyproject.toml", False)
    assert "cannot be read" in name


def test_paths_leave_out_what_is_installed(repository: Repository) -> None:
    for path in ("a/b.py", "node_modules/x/index.js", ".venv/bin/python", "top.txt"):
        repository.write(path, "")
    assert workspace_paths(repository.path) == ["a/", "a/b.py", "top.txt"]
