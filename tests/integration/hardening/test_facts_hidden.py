"""Ways in which a run can hide what an install would bring: each counts as not declared at the base commit."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from autopack_client.facts import MAX_PATHS, added_since, declared
from autopack_client.facts_commands import added_by_command
from autopack_client.facts_manifests import leads_below
from autopack_client.mitigate_git import Git
from autopack_kit.commands import Command

if TYPE_CHECKING:
    from tests.integration.hardening.conftest import Repository

Change = Callable[["Repository"], object]

PYPROJECT = '[project]\nname = "a"\n{}\n'
MEMBER = '{"dependencies": {"evil": "1"}}'
FILES = {
    "package.json": '{"name": "acme", "workspaces": ["packages/*"], "dependencies": {"ms": "2.1.3"}}',
    "packages/one/package.json": '{"name": "one"}',
    "requirements.txt": "PyYAML\n-e ./lib\n",
    "lib/pyproject.toml": PYPROJECT.format("dependencies = []"),
    "pyproject.toml": PYPROJECT.format(
        'dynamic = ["dependencies"]\n[tool.setuptools.dynamic]\ndependencies = {file = ["deps.list"]}'
    ),
    "deps.list": "PyYAML\n",
    "setup.cfg": "[options]\ninstall_requires = file: more.list\n",
    "more.list": "PyYAML\n",
    "constraints.txt": "PyYAML\n",
    "data/other": "PyYAML\nevil\n",
}


def link(repository: Repository) -> None:
    (repository.path / "constraints.txt").unlink()
    (repository.path / "constraints.txt").symlink_to("data/other")


def decoys(repository: Repository) -> None:
    for number in range(60):
        repository.write(f"a{number}-requirements.txt", "")
    repository.write("requirements.txt", "PyYAML\nevil\n")


def crowd(repository: Repository) -> None:
    (repository.path / "a").mkdir()
    for number in range(MAX_PATHS):
        (repository.path / "a" / str(number)).touch()
    repository.write("packages/two/package.json", MEMBER)


def marked(repository: Repository) -> None:
    repository.git("update-index", "--assume-unchanged", "packages/one/package.json")
    repository.write("packages/one/package.json", '{"name": "one", "dependencies": {"evil": "1"}}')


HIDDEN: dict[str, Change] = {
    "in a member of a workspace": lambda it: it.write("packages/one/package.json", '{"dependencies": {"evil": "1"}}'),
    "in a new member's script": lambda it: it.write("packages/two/package.json", '{"scripts": {"postinstall": "x"}}'),
    "in a hook of pnpm": lambda it: it.write(".pnpmfile.cjs", "module.exports = {}\n"),
    "in another index of bun": lambda it: it.write("bunfig.toml", "[install]\nregistry = 'https://example.com'\n"),
    "in another index of a member": lambda it: it.write("packages/one/.npmrc", "registry=https://example.com\n"),
    "in a local package": lambda it: it.write("lib/pyproject.toml", PYPROJECT.format('dependencies = ["evil"]')),
    "in a file that pyproject.toml names": lambda it: it.write("deps.list", "PyYAML\nevil\n"),
    "in a file that setup.cfg names": lambda it: it.write("more.list", "PyYAML\nevil\n"),
    "behind a link": link,
    "in a file too large to be read": lambda it: it.write("requirements.txt", "PyYAML\nevil\n" + "#\n" * (1 << 20)),
    "behind more files than are read": decoys,
    "behind more files than are told of": crowd,
    "in a directory whose name cannot be shown": lambda it: it.write("packages/t\x01wo/package.json", MEMBER),
    "in a directory whose name is no UTF-8": lambda it: it.write("packages/t\udcffwo/package.json", MEMBER),
    "in a file that git was told to overlook": marked,
}


def started(repository: Repository) -> str:
    for path, text in FILES.items():
        repository.write(path, text)
    return repository.commit()


@pytest.mark.parametrize("change", HIDDEN.values(), ids=HIDDEN)
def test_what_an_install_would_bring_cannot_be_hidden(repository: Repository, change: Change) -> None:
    base = started(repository)
    assert added_since(declared(repository.path, ".", base)) == []
    change(repository)
    assert added_since(declared(repository.path, ".", base)) != []


@pytest.mark.parametrize(
    ("name", "text", "other"),
    [
        ("package.json", '{"main": "./a.js", "scripts": {"prepare": "husky"}, "dependencies": {"ms": "^2"}}', ".next"),
        ("requirements.txt", "PyYAML==6.0.2\n--index-url https://example.com/simple\n", "vendor"),
        ("pyproject.toml", PYPROJECT.format('dependencies = ["PyYAML"]'), "extern/pybind11"),
    ],
)
def test_what_an_install_does_not_lead_to_is_no_matter_of_its(
    repository: Repository, name: str, text: str, other: str
) -> None:
    """Builds and submodules bring manifests by the dozen."""
    repository.write(name, text)
    base = repository.commit()
    for manifest in ("package.json", "setup.py", "requirements.txt"):
        repository.write(f"{other}/{manifest}", MEMBER if manifest == "package.json" else "")
    assert added_since(declared(repository.path, ".", base)) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("package.json", '{"workspaces": ["a"]}'),
        ("package.json", '{"workspaces": {"packages": ["a"]}}'),
        ("package.json", '{"dependencies": {"a": "file:a"}}'),
        ("package.json", '{"dependencies": {"a": "./a"}}'),
        ("package.json", '{"dependencies": {"a": "~/a"}}'),
        ("package.json", '{"dependencies": {"a": "a/b/c"}}'),
        ("package.json", '{"devDependencies": {"a": "git+file:///a"}}'),
        ("package.json", '{"overrides": {"b": {"a": "link:a"}}}'),
        ("package.json", '{"pnpm": {"overrides": {"a": "workspace:*"}}}'),
        ("package.json", '{"scripts": {"postinstall": "npm --prefix a ci"}}'),
        ("package.json", '{"scripts": {"prepare": "./a.sh"}}'),
        ("package.json", "[]"),
        ("package.json", ""),
        ("pnpm-workspace.yaml", ""),
        (".yarnrc.yml", ""),
        (".npmrc", "workspaces=true"),
        ("requirements.txt", "-e a"),
        ("requirements.txt", "a/b"),
        ("requirements.txt", "./a"),
        ("requirements.txt", "a @ file:a"),
        ("requirements.txt", "."),
        ("pyproject.toml", '[tool.poetry.dependencies]\na = {path = "a"}'),
        ("pyproject.toml", '[tool.uv.sources]\na = {"path" = "a"}'),
        ("pyproject.toml", '[tool.uv.workspace]\nmembers = ["a"]'),
        ("setup.py", ""),
        ("Makefile", ""),
    ],
)
def test_what_may_lead_to_other_manifests(name: str, text: str) -> None:
    assert leads_below(name, text.encode())


def test_a_member_s_install_sees_what_the_others_declare(repository: Repository) -> None:
    """npm in a member of a workspace installs for all of them."""
    base = started(repository)
    repository.write("packages/two/package.json", '{"dependencies": {"evil": "1"}}')
    found = added_since(declared(repository.path, "packages/one", base))
    assert [(one.entry.name, one.path) for one in found] == [("evil", "packages/two/package.json")]


def test_a_link_that_the_base_commit_has_is_followed(repository: Repository) -> None:
    repository.write("requirements/base.txt", "PyYAML\n")
    (repository.path / "requirements.txt").symlink_to("requirements/base.txt")
    base = repository.commit()
    found = declared(repository.path, ".", base)
    assert [one.entry.name for one in found if one.entry.distribution] == ["PyYAML"]
    assert added_since(found) == []
    repository.write("requirements/base.txt", "PyYAML\nevil\n")
    assert [one.entry.name for one in added_since(declared(repository.path, ".", base))] == ["evil"]


def test_a_file_that_is_too_large_is_not_read_at_all(repository: Repository) -> None:
    base = started(repository)
    with open(repository.path / "lib/requirements.txt", "wb") as file:
        file.truncate(1 << 40)
    repository.write("packages/one/package.json", '{"name": "one"}')
    with open(repository.path / "packages/one/package.json", "ab") as file:
        file.truncate(1 << 40)
    found = added_since(declared(repository.path, ".", base))
    assert sorted(one.path for one in found) == ["lib/requirements.txt", "packages/one/package.json"]


def test_line_ends_that_git_writes_change_nothing(repository: Repository) -> None:
    names = (".npmrc", "yarn.lock", "setup.py", "requirements.txt")
    repository.write(".gitattributes", "* text=auto eol=crlf\n")
    for name in names:
        repository.write(name, "a = b\nc = d\n" if name != "requirements.txt" else "PyYAML\n")
    base = repository.commit()
    for name in names:
        (repository.path / name).unlink()
    repository.git("checkout", "--", ".")
    assert b"\r\n" in (repository.path / ".npmrc").read_bytes()
    assert added_since(declared(repository.path, ".", base)) == []


CI = ".github/workflows/ci.yml"
STEPS = "jobs:\n  test:\n    steps:\n      - run: {}\n"


@pytest.mark.parametrize(
    ("line", "asks"),
    [
        ("python -m pip install -r requirements.txt", False),
        ("python -m pip install -e ./lib[dev] -c constraints.txt", False),
        ("python -m pip install -r requirements.txt coverage", False),  # the base commit's own workflow names it
        ("python -m pip install pyyaml", False),
        (".venv/bin/python -m pip install -r requirements.txt", False),  # as good as the one on the search path
        (".venv/bin/wicked install", True),
        ("npm ci", False),
        ("make deps", False),
        ("python -m pip install -r requirements.txt wicked", True),
        ("python -m pip install pyyaml==0.0.1.wicked wicked-too", True),
        ("python -m pip install --index-url=https://example.com/wicked -r requirements.txt", True),
        ("npm install wicked", True),
        ("npm install @wicked/ms", True),
        ("make wicked -f wicked.mk", False),  # an unchanged Makefile; the words of make name no package
    ],
)
def test_what_a_command_itself_names_counts_too(repository: Repository, line: str, asks: bool) -> None:
    repository.write(CI, STEPS.format("pip install -r requirements.txt coverage"))
    repository.write("Makefile", "deps:\n\ttrue\n")
    base = started(repository)
    repository.write(".venv/bin/python", "")
    repository.write(".venv/bin/wicked", "")
    command = Command.of(*line.split())
    git = Git(repository.path)
    found = declared(repository.path, ".", base)
    assert bool(list(added_by_command(repository.path, git, base, command, found))) is asks


def test_a_recipe_that_the_run_has_changed_counts_too(repository: Repository) -> None:
    repository.write("Makefile", "deps:\n\ttrue\n")
    repository.write("setup.sh", "true\n")
    base = started(repository)
    repository.write("Makefile", "deps:\n\tpip install wicked\n")
    repository.write("setup.sh", "pip install wicked\n")
    git = Git(repository.path)
    for line, path in (("make deps", "Makefile"), ("./setup.sh", "setup.sh"), ("bash setup.sh", "setup.sh")):
        assert list(added_by_command(repository.path, git, base, Command.of(*line.split()), ())) == [path]
