"""The package managers that the tests run: pinned, installed once, with caches and a home of their own.

They stand in the environment that runs the tests, so that ``make clean`` removes them: programs in a directory named
after their pins, and beside it a home that keeps the caches from one run of the tests to the next. The real home is
read for where registries are and how to reach them, and is not written to, except for Go's build cache: it is keyed by
content, and takes the better part of a minute to fill with the standard library.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from autopack_orchestrator.core.environment import base_environment

PINS = Path(__file__).parent / "tools"
PLACE = Path(sys.prefix) / "real-tools"

INSTALL_TIMEOUT_S = 600.0  # some 10 s with a near registry; hang protection

PYTHON_TOOLS = ("hatch", "just", "meson", "ninja", "nox", "pdm", "pipenv", "poetry", "tox", "uv")
NODE_TOOLS = {
    "bun": "bun/bin/bun.exe",
    "bunx": "bun/bin/bunx.exe",
    "deno": "deno/deno",
    "pnpm": "pnpm/bin/pnpm.cjs",
    "yarn": "yarn/bin/yarn.js",
    "berry/yarn": "yarn-berry/bin/yarn.js",
}
"""Where a program stands -> what it is in ``node_modules``. Both Yarns are named ``yarn``, so one has its own place."""

CONFIGURATION = (
    ".npmrc", ".yarnrc", ".yarnrc.yml", ".bunfig.toml", ".pip/pip.conf", ".config/pip/pip.conf", ".config/uv/uv.toml",
    ".config/pypoetry/config.toml", ".config/pypoetry/auth.toml", ".config/pdm/config.toml", ".config/go/env", ".netrc",
    ".cargo/config.toml", ".cargo/config", ".m2/settings.xml", ".m2/settings-security.xml", ".gradle/gradle.properties",
    ".gradle/init.gradle", ".bundle/config", ".config/composer/config.json", ".config/composer/auth.json",
)  # fmt: skip
"""Files of a home that say where packages come from."""

PACKAGES = dict(line.split(" ", 1) for line in (PINS / "debian.txt").read_text().splitlines())
"""Programs that are not installed here -> Debian's packages of them, for the message of a skipped test."""


@dataclass(frozen=True, slots=True)
class Toolbox:
    """What everything that a test runs starts from."""

    home: Path
    environment: dict[str, str]

    def which(self, program: str) -> str | None:
        """Where a program is on the PATH of the tests."""
        return shutil.which(program, path=self.environment["PATH"])


def open_toolbox() -> Toolbox:
    """The installed tools. Installs them if no process did before; others wait for it."""
    pins = [(PINS / name).read_bytes() for name in ("python.txt", "package.json")]
    key = hashlib.sha256(b"\0".join([sys.version.encode(), *pins])).hexdigest()[:16]
    directory, home = PLACE / key, PLACE / "home"
    directory.mkdir(parents=True, exist_ok=True)
    with (PLACE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        links = _link_configuration(home)
        node = "node" if shutil.which("npm") else "no-node"  # one that gets npm later gets its tools then
        if not (directory / f"installed-{node}").exists():
            _install(directory, home)
            (directory / f"installed-{node}").touch()
    return Toolbox(home, _environment(directory / "bin", home) | links)


def _link_configuration(home: Path) -> dict[str, str]:
    """Links in ``home`` to the configuration of the real home; returns the variables that move programs there."""
    real = Path.home()
    moved = {
        ".config": Path(os.environ.get("XDG_CONFIG_HOME", real / ".config")),
        ".cargo": Path(os.environ.get("CARGO_HOME", real / ".cargo")),
    }
    for name in CONFIGURATION:
        first, _, rest = name.partition("/")
        source, link = moved[first] / rest if first in moved else real / name, home / name
        if source.is_file() and not link.is_symlink():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(source)
    return {"RUSTUP_HOME": os.environ.get("RUSTUP_HOME", str(real / ".rustup"))}


def _environment(programs: Path, home: Path) -> dict[str, str]:
    """The environment of a run, as the orchestrator makes it, with ``home`` for the real one."""
    own = Path(sys.prefix) / "bin"  # what the tests themselves run with must not stand in for what a project lacks
    path = [entry for entry in os.environ["PATH"].split(os.pathsep) if entry and Path(entry) != own]
    java = os.environ.get("JAVA_TOOL_OPTIONS", "")
    variables = {
        "HOME": str(home),
        "PATH": os.pathsep.join([str(programs), *path]),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_DATA_HOME": str(home / ".local/share"),
        "UV_CACHE_DIR": str(home / ".cache/uv"),
        "CARGO_HOME": str(home / ".cargo"),
        "GOPATH": str(home / "go"),
        # A cache that its owner can remove; and tests run although they passed in an earlier directory of this name.
        "GOFLAGS": f"{_go('GOFLAGS')} -modcacherw -count=1".strip(),
        "GOCACHE": _go("GOCACHE"),
        "GRADLE_USER_HOME": str(home / ".gradle"),
        # Poetry would ask for pages that not every index has; these are the ones that all other tools read.
        "POETRY_PYPI_MIRROR_URL": _package_index(),
        # Java takes the home from the list of users, whatever HOME says; and these programs end before they get fast.
        "JAVA_TOOL_OPTIONS": f"{java} '-Duser.home={home}' -XX:TieredStopAtLevel=1 -XX:+UseSerialGC".strip(),
    }
    return base_environment(os.environ, (), variables)


def _package_index() -> str:
    """The index of Python packages that pip is configured for."""
    for variable in ("POETRY_PYPI_MIRROR_URL", "PIP_INDEX_URL"):
        if os.environ.get(variable):
            return os.environ[variable]
    asked = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.index-url"], capture_output=True, text=True, check=False
    )
    default = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"
    told = subprocess.run([sys.executable, "-c", default], capture_output=True, text=True, check=True)
    return (asked.stdout or told.stdout).strip()


def _go(setting: str) -> str:
    if shutil.which("go") is None:
        return ""
    return subprocess.run(["go", "env", setting], check=True, capture_output=True, text=True).stdout.strip()


def _install(directory: Path, home: Path) -> None:
    for other in PLACE.iterdir():
        if other.is_dir() and other not in (directory, home):
            shutil.rmtree(other)  # of earlier pins
    programs = directory / "bin"
    (programs / "berry").mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"UV_CACHE_DIR": str(home / ".cache/uv"), "npm_config_cache": str(home / ".npm")}
    uv = shutil.which("uv", path=f"{sys.prefix}/bin{os.pathsep}{os.environ['PATH']}") or "uv"

    def run(*argv: str) -> None:
        subprocess.run(argv, cwd=directory, env=environment, check=True, timeout=INSTALL_TIMEOUT_S)

    run(uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, "python")
    run(uv, "pip", "install", "--quiet", "--python", "python/bin/python", "-r", str(PINS / "python.txt"))
    for name in PYTHON_TOOLS:
        _link(programs / name, directory / "python/bin" / name)
    _link(programs / "python3", Path(sys.base_prefix) / "bin/python3")
    if shutil.which("npm"):
        shutil.copy(PINS / "package.json", directory)
        run("npm", "install", "--no-audit", "--no-fund", "--loglevel=error")
        for name, program in NODE_TOOLS.items():
            _link(programs / name, directory / "node_modules" / program)


def _link(link: Path, target: Path) -> None:
    if not target.exists():
        raise FileNotFoundError(f"{target} was not installed; see {PINS} for what should be there")
    link.unlink(missing_ok=True)
    link.symlink_to(target)
