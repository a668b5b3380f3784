"""Scenarios of npm, Node itself, pnpm and yarn."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tests.integration.hardening.scenario import Fixed, Left, Scenario

__all__ = ["NODE", "NPM_LOCK", "project"]

IGNORED = "node_modules/\n.pnpm-store/\n"
NPM_LOCK = "npm install --package-lock-only --ignore-scripts --no-audit --no-fund --loglevel=error"
PNPM_LOCK = "pnpm install --lockfile-only --ignore-scripts"
YARN_LOCK = "yarn install --ignore-scripts --silent && rm -r node_modules"
ADDS_HE = """sed -i 's/"ms": "2.1.3"/"ms": "2.1.3", "he": "1.2.0"/' package.json"""
APP = 'const ms = require("ms");\n\nif (ms("1s") !== 1000) process.exit(1);\n'
NODE_TEST = 'const { test } = require("node:test");\n\ntest("passes", () => {});\n'


def manifest(scripts: Mapping[str, str] | None = None, **dependencies: str) -> str:
    """A package.json; ``at_types_ms`` stands for ``@types/ms``, and a line under a name for a hyphen."""
    named = {name.replace("at_types_", "@types/").replace("_", "-"): version for name, version in dependencies.items()}
    fields = {"name": "acme", "version": "1.0.0", "private": True, "scripts": scripts or {}, "dependencies": named}
    return json.dumps(fields, indent=2) + "\n"


def project(
    scripts: Mapping[str, str] | None = None, files: Mapping[str, str] | None = None, **dependencies: str
) -> Mapping[str, str]:
    """Files of a package."""
    return {".gitignore": IGNORED, "package.json": manifest(scripts, **dependencies), **(files or {})}


NPM: tuple[Scenario, ...] = (
    Scenario(
        name="npm/declared-package-missing",
        broken="a package that package.json declares is not installed",
        files=project(None, {"app.js": APP}, ms="2.1.3"),
        setup=NPM_LOCK,
        command=("node", "app.js"),
        expected=Fixed(("node.module_not_found",), ("install ms as package.json declares",)),
        needs=("npm",),
    ),
    Scenario(
        name="npm/wrong-directory",
        broken="npm runs above the only package.json",
        files={"README.md": "# Acme\n", "web/package.json": manifest({"check": "node app.js"}), "web/app.js": "\n"},
        command=("npm", "run", "check"),
        expected=Fixed(("npm.no_package_json",), ("run in web",)),
        needs=("npm",),
    ),
    Scenario(
        name="npm/package-behind-directory",
        broken="a wrong directory, and behind it a declared package that is not installed",
        files={
            ".gitignore": IGNORED,
            "web/package.json": manifest({"check": "node app.js"}, ms="2.1.3"),
            "web/app.js": APP,
        },
        setup=f"cd web; {NPM_LOCK}",
        command=("npm", "run", "check"),
        expected=Fixed(
            ("npm.no_package_json", "node.module_not_found"), ("run in web", "install ms as web/package.json declares")
        ),
        needs=("npm",),
    ),
    Scenario(
        name="npm/declared-command-missing",
        broken="a script runs a program of a declared package that is not installed",
        files=project({"encode": "he --encode x"}, he="1.2.0"),
        setup=NPM_LOCK,
        command=("npm", "run", "encode"),
        expected=Fixed(("node.bin_not_found",), ("install he as package.json declares",)),
        needs=("npm",),
    ),
    Scenario(
        name="npm/lock-out-of-sync",
        broken="a dependency was added, and package-lock.json was not made anew",
        files=project(None, ms="2.1.3"),
        setup=f"{NPM_LOCK}; {ADDS_HE}",
        command=("npm", "ci"),
        via="applier",
        expected=Fixed(("npm.lock_out_of_sync",), ("regenerate lockfile: npm install",), consent=True),
        needs=("npm",),
    ),
    Scenario(
        name="npm/lock-missing",
        broken="package-lock.json was never made",
        files=project(None, ms="2.1.3"),
        command=("npm", "ci"),
        via="applier",
        expected=Fixed(("npm.no_lockfile",), ("regenerate lockfile: npm install",), consent=True),
        needs=("npm",),
    ),
    Scenario(
        name="npm/out-of-memory",
        broken="the heap of Node is too small for the program",
        files={"app.js": "const kept = [];\nfor (let i = 0; i < 40; i++) kept.push(new Array(1 << 17).fill(i));\n"},
        command=("node", "app.js"),
        env={"NODE_OPTIONS": "--max-old-space-size=16"},
        via="applier",
        expected=Fixed(("node.heap_oom",), ("run with NODE_OPTIONS=--max-old-space-size=",), consent=True),
        needs=("node",),
    ),
    Scenario(
        name="npm/undeclared-package",
        broken="a package is required that nothing declares, although the registry has one of that name",
        files=project(None, {"app.js": APP.replace('"ms"', '"he"')}, ms="2.1.3"),
        setup=NPM_LOCK,
        install=True,
        command=("node", "app.js"),
        expected=Left("node.module_not_found", "he"),
        needs=("npm",),
    ),
    Scenario(
        name="npm/declared-by-the-run",
        broken="the agent requires a package, and declares it itself",
        files=project(None, {"app.js": "\n"}, ms="2.1.3"),
        setup=NPM_LOCK,
        breaks=f"""echo 'require("he")' > app.js; {ADDS_HE}""",
        command=("node", "app.js"),
        via="applier",
        expected=Left("node.module_not_found", "he", consent_helps=True),
        needs=("npm",),
    ),
    Scenario(
        name="npm/integrity",
        broken="the archive is not the one whose hash was reviewed",
        files=project(None, ms="2.1.3"),
        setup=f"""{NPM_LOCK}; sed -i 's/"sha512-....../"sha512-AAAAAA/' package-lock.json""",
        command=("npm", "ci"),
        via="applier",
        expected=Left("npm.eintegrity", "integrity"),
        needs=("npm",),
    ),
    Scenario(
        name="npm/no-such-version",
        broken="the pinned version does not exist",
        files=project(None, ms="99.0.0"),
        command=("npm", "install"),
        via="applier",
        expected=Left("npm.etarget", "version"),
        needs=("npm",),
    ),
    Scenario(
        name="npm/no-such-script",
        broken="package.json has no such script",
        files=project({"check": "node app.js"}),
        command=("npm", "run", "chekc"),
        via="applier",
        expected=Left("npm.missing_script", "chekc"),
        needs=("npm",),
    ),
    Scenario(
        name="npm/failing-test",
        broken="a test of node:test fails",
        files=project({"test": "node --test"}, {"app.test.js": NODE_TEST.replace("{}", "{ throw new Error(1); }")}),
        command=("npm", "test"),
        expected=Left("node.test_failed", "test"),
        needs=("npm",),
    ),
)

PNPM: tuple[Scenario, ...] = (
    Scenario(
        name="pnpm/wrong-directory",
        broken="pnpm runs above the only package.json",
        files={".gitignore": IGNORED, "web/package.json": manifest(None, ms="2.1.3")},
        setup=f"cd web; {PNPM_LOCK}",
        command=("pnpm", "install", "--frozen-lockfile"),
        expected=Fixed(("pnpm.no_manifest",), ("run in web",)),
        needs=("pnpm",),
    ),
    Scenario(
        name="pnpm/declared-command-missing",
        broken="a program of a declared package is not installed",
        files=project(None, he="1.2.0"),
        setup=PNPM_LOCK,
        command=("pnpm", "exec", "he", "--encode", "x"),
        expected=Fixed(("pnpm.exec_not_found",), ("install he as package.json declares",)),
        needs=("pnpm",),
    ),
    Scenario(
        name="pnpm/declared-package-missing",
        broken="a script requires a declared package that is not installed",
        files=project({"check": "node app.js"}, {"app.js": APP}, ms="2.1.3"),
        setup=PNPM_LOCK,
        command=("pnpm", "run", "check"),
        expected=Fixed(("node.module_not_found",), ("install ms as package.json declares",)),
        needs=("pnpm",),
    ),
    Scenario(
        name="pnpm/lock-outdated",
        broken="a dependency was added, and pnpm-lock.yaml was not made anew",
        files=project(None, ms="2.1.3"),
        setup=f"{PNPM_LOCK}; {ADDS_HE}",
        command=("pnpm", "install", "--frozen-lockfile"),
        via="applier",
        expected=Fixed(("pnpm.lock_outdated",), ("regenerate lockfile: pnpm install",), consent=True),
        needs=("pnpm",),
    ),
    Scenario(
        name="pnpm/lock-missing",
        broken="pnpm-lock.yaml was never made",
        files=project(None, ms="2.1.3"),
        command=("pnpm", "install", "--frozen-lockfile"),
        via="applier",
        expected=Fixed(("pnpm.no_lockfile",), ("regenerate lockfile: pnpm install",), consent=True),
        needs=("pnpm",),
    ),
    Scenario(
        name="pnpm/undeclared-command",
        broken="the command is nothing that the project declares",
        files=project(None, ms="2.1.3"),
        setup=PNPM_LOCK,
        command=("pnpm", "exec", "he", "--encode", "x"),
        via="applier",
        expected=Left("pnpm.exec_not_found", "he"),
        needs=("pnpm",),
    ),
    Scenario(
        name="pnpm/integrity",
        broken="the archive is not the one whose hash was reviewed",
        files=project(None, ms="2.1.3"),
        setup=f"{PNPM_LOCK}; sed -i 's/integrity: sha512-....../integrity: sha512-AAAAAA/' pnpm-lock.yaml",
        command=("pnpm", "install", "--frozen-lockfile", "--fetch-retries=0"),
        via="applier",
        expected=Left("pnpm.integrity", "tampered"),
        needs=("pnpm",),
    ),
)

YARN: tuple[Scenario, ...] = (
    Scenario(
        name="yarn/wrong-directory",
        broken="yarn runs above the only package.json",
        files={"README.md": "# Acme\n", "web/package.json": manifest({"check": "node app.js"}), "web/app.js": "\n"},
        command=("yarn", "run", "check"),
        expected=Fixed(("yarn.no_package_json",), ("run in web",)),
        needs=("yarn",),
    ),
    Scenario(
        name="yarn/declared-command-missing",
        broken="a program of a declared package is not installed",
        files=project(None, he="1.2.0"),
        setup=YARN_LOCK,
        command=("yarn", "run", "he", "--encode", "x"),
        expected=Fixed(("yarn.missing_script",), ("install he as package.json declares",)),
        needs=("yarn",),
    ),
    Scenario(
        name="yarn/no-such-script",
        broken="neither a script nor a program of a declared package has that name",
        files=project({"check": "node app.js"}, ms="2.1.3"),
        setup=YARN_LOCK,
        install=True,
        command=("yarn", "run", "chekc"),
        via="applier",
        expected=Left("yarn.missing_script", "chekc"),
        needs=("yarn",),
    ),
    Scenario(
        name="yarn/lock-outdated",
        broken="a dependency was added, and yarn.lock was not made anew",
        files=project(None, ms="2.1.3"),
        setup=f"{YARN_LOCK}; {ADDS_HE}",
        command=("yarn", "install", "--frozen-lockfile"),
        via="applier",
        expected=Fixed(("yarn.frozen_lockfile",), ("regenerate lockfile: yarn install",), consent=True),
        needs=("yarn",),
    ),
    Scenario(
        name="yarn/no-such-version",
        broken="the pinned version does not exist",
        files=project(None, ms="99.0.0"),
        command=("yarn", "install"),
        via="applier",
        expected=Left("yarn.no_version", "version"),
        needs=("yarn",),
    ),
    Scenario(
        name="yarn/integrity",
        broken="the archive is not the one whose hash was reviewed",
        files=project(None, ms="2.1.3"),
        setup=f"{YARN_LOCK}; sed -i 's/sha512-....../sha512-AAAAAA/; s/#[0-9a-f]*\"$/\"/' yarn.lock",
        command=("yarn", "install", "--frozen-lockfile"),
        via="applier",
        expected=Left("yarn.integrity", "tampered"),
        needs=("yarn",),
    ),
)

NODE: tuple[Scenario, ...] = (*NPM, *PNPM, *YARN)
