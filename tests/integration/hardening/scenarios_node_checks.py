"""Scenarios of prettier, tsc, eslint, vitest and jest."""

from __future__ import annotations

import json

from tests.integration.hardening.scenario import Fixed, Left, Scenario
from tests.integration.hardening.scenarios_node import NPM_LOCK, project

__all__ = ["NODE_CHECKS"]

UNTIDY = "const  x = {a:1}"
TYPED = 'import ms from "ms";\n\nexport const second: number = ms("1s");\n'
TSCONFIG = json.dumps(
    {"compilerOptions": {"strict": True, "noEmit": True, "esModuleInterop": True, "module": "nodenext", "types": []}}
)
ESLINT_CONFIG = """
export default [{ files: ["**/*.js"], rules: { "prefer-const": "error", "no-undef": "error" } }];
"""

CHECKERS: tuple[Scenario, ...] = (
    Scenario(
        name="prettier/unformatted",
        broken="the agent wrote a file that prettier would write otherwise",
        files=project(None, {"app.js": "const x = 1;\n", ".prettierignore": "*.json\n"}, prettier="3.4.2"),
        setup=NPM_LOCK,
        install=True,
        breaks=f"echo '{UNTIDY}' > app.js",
        command=("npx", "--no-install", "prettier", "--check", "app.js"),
        expected=Fixed(("fmt.prettier",), ("run formatter: npx --no-install prettier --write app.js",)),
        needs=("npm",),
    ),
    Scenario(
        name="prettier/declared-command-missing",
        broken="a script runs prettier, which is declared and not installed",
        files=project({"lint": "prettier --check app.js"}, {"app.js": "const x = 1;\n"}, prettier="3.4.2"),
        setup=NPM_LOCK,
        command=("npm", "run", "lint"),
        expected=Fixed(("node.bin_not_found",), ("install prettier as package.json declares",)),
        needs=("npm",),
    ),
    Scenario(
        name="tsc/declared-package-missing",
        broken="a declared package, which brings its types, is not installed",
        files=project(
            None,
            {
                "tsconfig.json": TSCONFIG,
                "app.ts": 'import { parse } from "yaml";\n\nexport const one: number = parse("1");\n',
            },
            typescript="5.7.3",
            yaml="2.6.1",
        ),
        setup=NPM_LOCK,
        install=True,
        breaks="rm -r node_modules/yaml",
        command=("npx", "--no-install", "tsc", "-p", "."),
        expected=Fixed(("tsc.cannot_find_module",), ("install yaml as package.json declares",)),
        needs=("npm",),
    ),
    Scenario(
        name="tsc/declared-types-missing",
        broken="the declared types of a package are not installed",
        files=project(
            None,
            {"tsconfig.json": TSCONFIG, "app.ts": TYPED},
            typescript="5.7.3",
            ms="2.1.3",
            at_types_ms="0.7.34",
        ),
        setup=NPM_LOCK,
        install=True,
        breaks="rm -r node_modules/@types",
        command=("npx", "--no-install", "tsc", "-p", "."),
        expected=Fixed(("tsc.missing_types",), ("install @types/ms as package.json declares",)),
        needs=("npm",),
    ),
    Scenario(
        name="tsc/type-error",
        broken="a text is given where a number is promised",
        files=project(
            None,
            {"tsconfig.json": TSCONFIG, "app.ts": 'export const one: number = "1";\n'},
            typescript="5.7.3",
        ),
        setup=NPM_LOCK,
        install=True,
        command=("npx", "--no-install", "tsc", "-p", "."),
        via="applier",
        expected=Left("tsc.type_error", "type"),
        needs=("npm",),
    ),
    Scenario(
        name="eslint/fixable",
        broken="the agent wrote a let that eslint would write as const",
        files=project(None, {"eslint.config.mjs": ESLINT_CONFIG, "app.js": "export {};\n"}, eslint="9.17.0"),
        setup=NPM_LOCK,
        install=True,
        breaks="echo 'let x = 1; export { x };' > app.js",
        command=("npx", "--no-install", "eslint", "."),
        expected=Fixed(("lint.eslint",), ("run formatter: npx --no-install eslint --fix",)),
        needs=("npm",),
    ),
    Scenario(
        name="eslint/undefined-name",
        broken="a name is used that nothing defines",
        files=project(None, {"eslint.config.mjs": ESLINT_CONFIG, "app.js": "undefinedName();\n"}, eslint="9.17.0"),
        setup=NPM_LOCK,
        install=True,
        command=("npx", "--no-install", "eslint", "."),
        via="applier",
        expected=Left("lint.eslint", "by hand"),
        needs=("npm",),
    ),
    Scenario(
        name="eslint/declared-plugin-missing",
        broken="the configuration needs a declared plugin that is not installed",
        files=project(
            None,
            {
                "eslint.config.mjs": 'import promise from "eslint-plugin-promise";\n\n'
                'export default [promise.configs["flat/recommended"]];\n',
                "app.js": "export {};\n",
            },
            eslint="9.17.0",
            eslint_plugin_promise="7.2.1",
        ),
        setup=NPM_LOCK,
        install=True,
        breaks="rm -r node_modules/eslint-plugin-promise",
        command=("npx", "--no-install", "eslint", "."),
        expected=Fixed(("eslint.plugin_missing",), ("install eslint-plugin-promise as package.json declares",)),
        needs=("npm",),
    ),
)

# npm forgets optional packages of the newest rollup in a lock file that it makes without installing.
VITEST = {"vitest": "2.1.8", "rollup": "4.28.1"}
VITEST_TEST = 'import he from "he";\nimport { expect, test } from "vitest";\n\n' + (
    'test("a sign", () => {\n  expect(he.encode("<")).toBe("&#x3C;");\n});\n'
)
JEST_TEST = 'const he = require("he");\n\ntest("a sign", () => {\n  expect(he.encode("<")).toBe("&#x3C;");\n});\n'

TESTS: tuple[Scenario, ...] = (
    Scenario(
        name="vitest/declared-package-missing",
        broken="a test imports a declared package that is not installed",
        files=project(None, {"app.test.js": VITEST_TEST}, **VITEST, he="1.2.0"),
        setup=NPM_LOCK,
        install=True,
        breaks="rm -r node_modules/he",
        command=("npx", "--no-install", "vitest", "run"),
        expected=Fixed(("vitest.import_failed",), ("install he as package.json declares",)),
        needs=("npm",),
    ),
    Scenario(
        name="vitest/failing-test",
        broken="a test fails",
        files=project(None, {"app.test.js": VITEST_TEST.replace("x3C", "x3E")}, **VITEST, he="1.2.0"),
        setup=NPM_LOCK,
        install=True,
        command=("npx", "--no-install", "vitest", "run"),
        via="applier",
        expected=Left("vitest.test_failed", "test"),
        needs=("npm",),
    ),
    Scenario(
        name="jest/declared-package-missing",
        broken="a test requires a declared package that is not installed",
        files=project(None, {"app.test.js": JEST_TEST}, jest="29.7.0", he="1.2.0"),
        setup=NPM_LOCK,
        install=True,
        breaks="rm -r node_modules/he",
        command=("npx", "--no-install", "jest"),
        expected=Fixed(("jest.cannot_find_module",), ("install he as package.json declares",)),
        needs=("npm",),
    ),
    Scenario(
        name="jest/snapshot",
        broken="what is rendered is no longer what the snapshot has",
        files=project(
            None,
            {
                "app.test.js": 'test("page", () => {\n  expect("new page").toMatchSnapshot();\n});\n',
                "__snapshots__/app.test.js.snap": "// Jest Snapshot v1, https://goo.gl/fbAQLP\n\n"
                'exports[`page 1`] = `"page"`;\n',
            },
            jest="29.7.0",
        ),
        setup=NPM_LOCK,
        install=True,
        command=("npx", "--no-install", "jest", "--ci"),
        via="applier",
        expected=Left("jest.snapshot_mismatch", "snapshot"),
        needs=("npm",),
    ),
    Scenario(
        name="jest/coverage-threshold",
        broken="the tests cover less than the project asks for",
        files=project(
            None,
            {
                "jest.config.js": "module.exports = { coverageThreshold: { global: { lines: 90 } } };\n",
                "app.js": "exports.double = (x) => {\n  return 2 * x;\n};\n",
                "app.test.js": 'require("./app.js");\n\ntest("passes", () => {});\n',
            },
            jest="29.7.0",
        ),
        setup=NPM_LOCK,
        install=True,
        command=("npx", "--no-install", "jest", "--coverage", "--coverageReporters=text"),
        via="applier",
        expected=Left("jest.coverage_threshold", "threshold"),
        needs=("npm",),
    ),
)

NODE_CHECKS: tuple[Scenario, ...] = (*CHECKERS, *TESTS)
