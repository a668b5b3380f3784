"""Scenarios in which another version of the language is needed, and installed beside the one on the search path."""

from __future__ import annotations

import json

from tests.integration.hardening.scenario import Fixed, Left, Scenario
from tests.integration.hardening.scenario_runtimes import NODE_VERSION
from tests.integration.hardening.scenarios_node import IGNORED as NODE_IGNORED
from tests.integration.hardening.scenarios_node import NPM_LOCK
from tests.integration.hardening.scenarios_python import IGNORED, PIP_INSTALL

__all__ = ["RUNTIMES"]

NODE = (("node", NODE_VERSION),)
PYTHON = (("python", "3.10"),)
JAVA = (("java", "25"),)
ENGINE_STRICT = "engine-strict=true\n"


def needing(node: str) -> str:
    """A package.json for some versions of Node alone, whose check says which one runs."""
    check = "node --version"
    fields = {"name": "acme", "version": "1.0.0", "private": True, "scripts": {"check": check}}
    return json.dumps({**fields, "engines": {"node": node}}, indent=2) + "\n"


def pyproject(python: str) -> str:
    """A project for some versions of Python alone."""
    return (
        f'[project]\nname = "acme"\nversion = "1"\ndescription = "A project"\nrequires-python = "{python}"\n\n'
        '[build-system]\nrequires = ["flit_core==3.12.0"]\nbuild-backend = "flit_core.buildapi"\n'
    )


RUNTIMES: tuple[Scenario, ...] = (
    Scenario(
        name="npm/other-node",
        broken="the project runs on another Node than the one on the search path; nvm has it",
        files={".gitignore": NODE_IGNORED, ".npmrc": ENGINE_STRICT, "package.json": needing(f"~{NODE_VERSION}")},
        setup=f"{NPM_LOCK} --engine-strict=false",
        command=("npm", "ci"),
        expected=Fixed(("npm.ebadengine",), (f"use node {NODE_VERSION}",)),
        needs=("npm",),
        runtimes=NODE,
    ),
    Scenario(
        name="yarn/other-node",
        broken="the project runs on another Node than the one on the search path; nvm has it",
        files={".gitignore": NODE_IGNORED, "package.json": needing(f"~{NODE_VERSION}"), "yarn.lock": ""},
        command=("yarn", "install"),
        expected=Fixed(("yarn.engine_incompatible",), (f"use node {NODE_VERSION}",)),
        needs=("yarn",),
        runtimes=NODE,
    ),
    Scenario(
        name="pnpm/other-node",
        broken="the project runs on another Node than the one on the search path; nvm has it",
        files={".gitignore": NODE_IGNORED, ".npmrc": ENGINE_STRICT, "package.json": needing(f"~{NODE_VERSION}")},
        command=("pnpm", "run", "check"),
        via="applier",
        expected=Fixed(("pnpm.unsupported_engine",), (f"use node {NODE_VERSION}",)),
        needs=("pnpm",),
        runtimes=NODE,
    ),
    Scenario(
        name="npm/no-such-node",
        broken="the project runs on a Node that is not installed",
        files={".gitignore": NODE_IGNORED, ".npmrc": ENGINE_STRICT, "package.json": needing(">=99")},
        setup=f"{NPM_LOCK} --engine-strict=false",
        command=("npm", "ci"),
        via="applier",
        expected=Left("npm.ebadengine", ">=99"),
        needs=("npm",),
        runtimes=NODE,
    ),
    Scenario(
        name="pip/other-python",
        broken="the project runs on another Python than the one of its environment; pyenv has it",
        files={".gitignore": IGNORED, "pyproject.toml": pyproject("==3.10.*"), "acme.py": '"""Nothing."""\n'},
        command=(*PIP_INSTALL, "."),
        expected=Fixed(("pip.requires_python",), ("use python 3.10",)),
        runtimes=PYTHON,
    ),
    Scenario(
        name="uv/other-python",
        broken="the pinned Python is not one that the project allows; pyenv has another",
        files={".gitignore": IGNORED, "pyproject.toml": pyproject("==3.10.*"), "acme.py": '"""Nothing."""\n'},
        command=("uv", "sync"),
        expected=Fixed(("uv.requires_python",), ("use python 3.10",)),
        needs=("uv",),
        runtimes=PYTHON,
    ),
    Scenario(
        name="java/other-jdk",
        broken="the sources are of a later release than the JDK on the search path knows",
        files={".gitignore": "out/\n", "App.java": "class App { public static void main(String[] words) {} }\n"},
        command=("javac", "--release", "25", "-d", "out", "App.java"),
        expected=Fixed(("java.release_not_supported",), ("use java 25",)),
        needs=("javac",),
        runtimes=JAVA,
    ),
    Scenario(
        name="java/compiled-for-later",
        broken="the classes were compiled by a later JDK than the Java that runs them",
        files={".gitignore": "out/\n", "App.java": "class App { public static void main(String[] words) {} }\n"},
        breaks='"$(ls -d /usr/lib/jvm/*25*/bin | head -n1)/javac" -d out App.java',
        command=("java", "-cp", "out", "App"),
        via="applier",
        expected=Fixed(("java.unsupported_class_version",), ("use java 25",)),
        needs=("java",),
        runtimes=JAVA,
    ),
    Scenario(
        name="java/no-such-release",
        broken="no installed JDK knows that release",
        files={".gitignore": "out/\n", "App.java": "class App {}\n"},
        command=("javac", "--release", "99", "-d", "out", "App.java"),
        via="applier",
        expected=Left("java.release_not_supported", "99"),
        needs=("javac",),
    ),
)
