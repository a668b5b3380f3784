"""JavaScript projects of every manager: what detection proposes is run, with the real tools."""

from __future__ import annotations

import json

import pytest
from autopack_toolchain import StepKind

from tests.integration.toolchain.real_project import RealProject

pytestmark = pytest.mark.timeout(900)

CALC = """
exports.add = (a, b) => a + b;
"""

NODE_TEST = """
const { test } = require("node:test");
const assert = require("node:assert");
const fs = require("node:fs");
const { add } = require("../calc.js");

test("adds", () => {
  fs.writeFileSync("the-test-ran", "");
  assert.strictEqual(add(40, 2), 42);
});
"""

JEST_TEST = """
const fs = require("node:fs");
const { add } = require("../calc.js");

test("adds", () => {
  fs.writeFileSync("the-test-ran", "");
  expect(add(40, 2)).toBe(42);
});
"""

MODULE = """
export const add = (a: number, b: number): number => a + b;
"""

VITEST_TEST = """
import { writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { add } from "./calc";

test("adds", () => {
  writeFileSync("the-test-ran", "");
  expect(add(40, 2)).toBe(42);
});
"""

IGNORED = "node_modules/\ndist/\n.yarn/\n"


def manifest(**fields: object) -> str:
    return json.dumps({"name": "calc", "version": "1.0.0", "private": True, **fields}, indent=2) + "\n"


def test_node_without_dependencies(project: RealProject) -> None:
    project.needs("node", "npm")
    project.write({"package.json": manifest(), "calc.js": CALC, "test/calc.test.js": NODE_TEST, ".gitignore": IGNORED})
    project.prove(manager="npm", test="test/calc.test.js", installs=False)


def test_npm_with_scripts(project: RealProject) -> None:
    project.needs("npm")
    scripts = {
        "build": "tsc --outDir dist",
        "test": "node --test",
        "lint": "prettier --check package.json",
        "typecheck": "tsc --noEmit",
        "format:check": "prettier --check src",
        "start": "node calc.js",
    }
    tools = {"typescript": "5.7.3", "prettier": "3.4.2"}
    compiler = {"strict": True, "module": "nodenext", "target": "es2022", "types": [], "rootDir": "src"}
    project.write(
        {
            "package.json": manifest(scripts=scripts, devDependencies=tools),
            "tsconfig.json": json.dumps({"compilerOptions": compiler, "include": ["src"]}),
            "src/sum.ts": MODULE,
            "calc.js": CALC,
            "test/calc.test.js": NODE_TEST,
            ".gitignore": IGNORED,
        }
    )
    project.tool("npm", "install", "--package-lock-only")
    project.prove(manager="npm", test="test/calc.test.js", also=tuple(StepKind))


@pytest.mark.long
def test_npm_and_jest_without_a_script_or_a_lock_file(project: RealProject) -> None:
    project.needs("npm")
    project.write(
        {
            "package.json": manifest(devDependencies={"jest": "29.7.0"}),
            "calc.js": CALC,
            "test/calc.test.js": JEST_TEST,
            ".gitignore": IGNORED,
        }
    )
    project.prove(manager="npm", test="test/calc.test.js")


def test_a_member_of_npm_workspaces(project: RealProject) -> None:
    project.needs("npm")
    member = manifest(scripts={"test": "node --test"}, dependencies={"wide": "1.0.0"})
    project.write(
        {
            "package.json": manifest(workspaces=["packages/*"]).replace("calc", "everything"),
            "packages/calc/package.json": member,
            "packages/calc/calc.js": 'exports.add = require("wide").add;\n',
            "packages/calc/test/calc.test.js": NODE_TEST,
            "packages/wide/package.json": manifest(main="index.js").replace("calc", "wide"),
            "packages/wide/index.js": CALC,
            ".gitignore": IGNORED,
        }
    )
    project.tool("npm", "install", "--package-lock-only")
    project.prove(manager="npm", workdir="packages/calc", test="packages/calc/test/calc.test.js")


def test_pnpm_and_vitest_that_would_watch(project: RealProject) -> None:
    project.needs("pnpm")
    project.write(
        {
            "package.json": manifest(scripts={"test": "vitest"}, devDependencies={"vitest": "3.2.4"}, type="module"),
            "src/calc.ts": MODULE,
            "src/calc.test.ts": VITEST_TEST,
            ".gitignore": IGNORED,
        }
    )
    project.tool("pnpm", "install", "--lockfile-only")
    project.prove(manager="pnpm", test="src/calc.test.ts")


def test_yarn_1_and_mocha_without_a_script(project: RealProject) -> None:
    project.needs("yarn")
    test = JEST_TEST.replace("expect(add(40, 2)).toBe(42)", 'require("node:assert").strictEqual(add(40, 2), 42)')
    project.write(
        {
            "package.json": manifest(devDependencies={"mocha": "10.8.2"}),
            "calc.js": CALC,
            "test/calc.test.js": test.replace("test(", "it("),
            ".gitignore": IGNORED,
        }
    )
    project.tool("yarn", "install", "--ignore-scripts")
    project.prove(manager="yarn", test="test/calc.test.js")


@pytest.mark.long
@pytest.mark.parametrize("linker", ["pnp", "node-modules"])
def test_yarn_berry(project: RealProject, linker: str) -> None:
    project.needs("yarn")
    project.prefer("berry")
    project.write(
        {
            "package.json": manifest(
                packageManager="yarn@4.18.1",
                scripts={"test": "mocha", "lint": "prettier --check calc.js"},
                devDependencies={"mocha": "10.8.2", "prettier": "3.4.2"},
            ),
            ".yarnrc.yml": f"nodeLinker: {linker}\nenableTelemetry: false\n",
            "calc.js": CALC.lstrip(),
            "test/calc.test.js": NODE_TEST.replace('"node:test"', '"node:test"')
            .replace("test(", "it(")
            .replace('const { test } = require("node:test");\n', ""),
            ".gitignore": IGNORED + ".pnp.*\n",
        }
    )
    project.tool("yarn", "install", "--mode=update-lockfile")
    project.prove(manager="yarn-berry", test="test/calc.test.js", also=(StepKind.LINT,))


def test_bun(project: RealProject) -> None:
    project.needs("bun")
    project.write(
        {
            "package.json": manifest(dependencies={"left-pad": "1.3.0"}, scripts={"test": "bun test"}),
            "src/calc.ts": MODULE,
            "src/calc.test.ts": VITEST_TEST.replace('"vitest"', '"bun:test"'),
            ".gitignore": IGNORED,
        }
    )
    project.tool("bun", "install", "--lockfile-only")
    project.prove(manager="bun", test="src/calc.test.ts")


def test_bun_without_a_script(project: RealProject) -> None:
    project.needs("bun")
    project.write(
        {
            "package.json": manifest(dependencies={"left-pad": "1.3.0"}),
            "src/calc.ts": MODULE,
            "src/calc.test.ts": VITEST_TEST.replace('"vitest"', '"bun:test"'),
            ".gitignore": IGNORED,
        }
    )
    project.tool("bun", "install", "--lockfile-only")
    project.prove(manager="bun", test="src/calc.test.ts")


def test_deno(project: RealProject) -> None:
    project.needs("deno")
    test = """
import { add } from "./calc.ts";

Deno.test("adds", () => {
  Deno.writeTextFileSync("the-test-ran", "");
  if (add(40, 2) !== 42) throw new Error("wrong");
});
"""
    project.write(
        {
            "deno.json": '{ "tasks": { "test": "deno test --allow-write" } }\n',
            "calc.ts": MODULE,
            "calc_test.ts": test,
        }
    )
    project.prove(manager="deno", test="calc_test.ts", installs=False)
