"""Ecosystems that are conventions: for each the smallest real tree, its manager and what is run there."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from autopack_toolchain import Detection, Project, SnapshotFile, SnapshotTree, StepKind, detect_tree
from autopack_toolchain.core.registry import default_registry

Detect = Callable[..., Detection]


def lines(project: Project) -> dict[str, str]:
    return {step.kind.value: step.command.line() for step in reversed(project.steps)}


GEMFILE = """source "https://rubygems.example"
ruby "3.2.2"
gem "rake"
group :test do
  gem "rspec"
  gem "rubocop", require: false
end
"""
MIX = """def project do
  [elixir: "~> 1.15", deps: deps()]
end
def application, do: [
  mod: {A, []}
]
defp deps, do: [{:credo, "~> 1.7"}, {:dialyxir, "~> 1.0"}]
"""
DEPS = """{:deps {a/b {:mvn/version "1"}}
 :aliases {:test {:extra-paths ["test"]
                  :exec-fn cognitect.test-runner.api/test}}}
"""

CASES: dict[str, tuple[Mapping[str, str], str, str, dict[str, str]]] = {
    "ruby gem with rspec": (
        {
            "Gemfile": GEMFILE,
            "Gemfile.lock": "GEM\n\nBUNDLED WITH\n   2.4.10\n",
            ".rspec": "--color\n",
            "spec/a_spec.rb": "",
        },
        "ruby",
        "bundler",
        {"install": "bundle install", "test": "bundle exec rspec", "lint": "bundle exec rubocop"},
    ),
    "ruby gem with minitest through rake": (
        {
            "Gemfile": "gemspec\n",
            "a.gemspec": 'spec.add_development_dependency "minitest"\n',
            "Rakefile": 'require "rake/testtask"\nRake::TestTask.new(:test)\ntask default: :test\n',
            "test/test_a.rb": "",
        },
        "ruby",
        "bundler",
        {"install": "bundle install", "test": "bundle exec rake"},
    ),
    "rails": (
        {
            "Gemfile": 'gem "rails"\n',
            "bin/rails": "",
            "config.ru": "",
            "test/models/user_test.rb": "",
        },
        "ruby",
        "bundler",
        {"install": "bundle install", "test": "bin/rails test", "run": "bin/rails server"},
    ),
    "elixir": (
        {
            "mix.exs": MIX,
            "mix.lock": "",
            ".formatter.exs": "",
            "test/a_test.exs": "",
        },
        "elixir",
        "mix",
        {
            "install": "mix deps.get",
            "build": "mix compile",
            "test": "mix test",
            "lint": "mix credo",
            "typecheck": "mix dialyzer",
            "format": "mix format --check-formatted",
            "run": "mix run --no-halt",
        },
    ),
    "erlang": (
        {"rebar.config": '{deps, [{cowboy, "2.9.0"}]}.\n', "test/a_SUITE.erl": "", "src/a.erl": ""},
        "erlang",
        "rebar3",
        {"install": "rebar3 get-deps", "build": "rebar3 compile", "test": "rebar3 ct"},
    ),
    "gleam": (
        {"gleam.toml": 'name = "a"\n[dependencies]\ngleam_stdlib = "~> 0.34"\n', "test/a_test.gleam": ""},
        "gleam",
        "gleam",
        {
            "install": "gleam deps download",
            "build": "gleam build",
            "test": "gleam test",
            "format": "gleam format --check",
            "run": "gleam run",
        },
    ),
    "deno": (
        {
            "deno.jsonc": '{\n  // tools\n  "imports": {"@std/assert": "jsr:@std/assert@1"}\n}\n',
            "main.ts": "",
            "main_test.ts": "",
        },
        "deno",
        "deno",
        {
            "install": "deno install",
            "test": "deno test -A",
            "lint": "deno lint",
            "format": "deno fmt --check",
            "typecheck": "deno check main.ts",
            "run": "deno run -A main.ts",
        },
    ),
    "swift": (
        {
            "Package.swift": '// swift-tools-version:5.9\nlet p = Package(dependencies: [.package(url: "u")],\n'
            'targets: [.executableTarget(name: "a"), .testTarget(name: "aTests")])\n',
            ".swiftlint.yml": "",
            "Tests/aTests/a.swift": "",
        },
        "swift",
        "swiftpm",
        {
            "install": "swift package resolve",
            "build": "swift build",
            "test": "swift test",
            "lint": "swiftlint",
            "run": "swift run",
        },
    ),
    "scala with sbt": (
        {
            "build.sbt": 'scalaVersion := "3.3.1"\n',
            "project/build.properties": "sbt.version=1.9.7\n",
            ".scalafmt.conf": "",
            "src/test/scala/ASpec.scala": "",
        },
        "scala",
        "sbt",
        {"install": "sbt update", "build": "sbt compile", "test": "sbt test", "format": "sbt scalafmtCheckAll"},
    ),
    "scala with the wrapper of mill": (
        {"build.mill": "", "mill": "", "app/test/src/ATests.scala": ""},
        "scala",
        "mill",
        {"build": "./mill __.compile", "test": "./mill __.test"},
    ),
    "clojure with leiningen": (
        {
            "project.clj": '(defproject a "1"\n :dependencies [[org.clojure/clojure "1.11.1"]]\n :main a.core)\n',
            "test/a/core_test.clj": "",
        },
        "clojure",
        "lein",
        {"install": "lein deps", "build": "lein compile", "test": "lein test", "run": "lein run"},
    ),
    "clojure with its command line": (
        {
            "deps.edn": DEPS,
            "test/a_test.clj": "",
        },
        "clojure",
        "clojure-cli",
        {"install": "clojure -P", "test": "clojure -X:test"},
    ),
    "dart": (
        {
            "pubspec.yaml": "name: a\nenvironment:\n  sdk: '>=3.0.0 <4.0.0'\ndev_dependencies:\n  test: any\n",
            "bin/main.dart": "",
            "test/a_test.dart": "",
        },
        "dart",
        "dart",
        {
            "install": "dart pub get",
            "test": "dart test",
            "lint": "dart analyze",
            "format": "dart format --output=none --set-exit-if-changed .",
            "run": "dart run bin/main.dart",
        },
    ),
    "flutter": (
        {
            "pubspec.yaml": "name: a\ndependencies:\n  flutter:\n    sdk: flutter\n",
            "lib/main.dart": "",
            "test/widget_test.dart": "",
        },
        "dart",
        "flutter",
        {
            "install": "flutter pub get",
            "test": "flutter test",
            "lint": "flutter analyze",
            "format": "dart format --output=none --set-exit-if-changed .",
            "run": "flutter run",
        },
    ),
    "haskell with stack": (
        {"stack.yaml": "resolver: lts-21.0\n", "a.cabal": "test-suite spec\n  type: exitcode-stdio-1.0\n"},
        "haskell",
        "stack",
        {"install": "stack build --test --only-dependencies", "build": "stack build", "test": "stack test"},
    ),
    "haskell with cabal": (
        {"a.cabal": "name: a\n\ntest-suite spec\n"},
        "haskell",
        "cabal",
        {
            "install": "cabal build --only-dependencies --enable-tests all",
            "build": "cabal build all",
            "test": "cabal test all",
        },
    ),
    "ocaml with opam": (
        {"dune-project": "(lang dune 3.0)\n", "a.opam": "", "test/dune": "(test (name a))\n", ".ocamlformat": ""},
        "ocaml",
        "opam",
        {
            "install": "opam install . --deps-only --with-test --yes",
            "build": "dune build",
            "test": "dune test",
            "format": "dune build @fmt",
        },
    ),
    "bazel": (
        {
            "MODULE.bazel": 'bazel_dep(name = "rules_cc", version = "0.0.9")\n',
            ".bazelversion": "7.1.0\n",
            "a/a_test.cc": "",
        },
        "bazel",
        "bazel",
        {"install": "bazel fetch //...", "build": "bazel build //...", "test": "bazel test //..."},
    ),
    "zig": (
        {"build.zig": 'b.step("test", "Run tests");\nb.step("run", "Run");\n', "build.zig.zon": '.url = "https://x"\n'},
        "zig",
        "zig",
        {
            "install": "zig build --fetch",
            "build": "zig build",
            "test": "zig build test",
            "format": "zig fmt --check .",
            "run": "zig build run",
        },
    ),
    "crystal": (
        {"shard.yml": "name: a\ncrystal: 1.10.0\ndependencies:\n  db:\n    github: a/b\n", "spec/a_spec.cr": ""},
        "crystal",
        "shards",
        {"install": "shards install", "test": "crystal spec", "format": "crystal tool format --check"},
    ),
    "julia": (
        {"Project.toml": 'uuid = "1"\n[deps]\nA = "2"\n[compat]\njulia = "1.9"\n', "test/runtests.jl": ""},
        "julia",
        "pkg",
        {
            "install": "julia --project=. -e 'using Pkg; Pkg.instantiate()'",
            "test": "julia --project=. -e 'using Pkg; Pkg.test()'",
        },
    ),
    "r": (
        {
            "DESCRIPTION": "Package: a\nDepends: R (>= 4.1)\nImports: rlang\n",
            "tests/testthat.R": "",
            "tests/testthat/test-a.R": "",
        },
        "r",
        "remotes",
        {
            "install": "Rscript -e 'remotes::install_deps(dependencies = TRUE)'",
            "build": "R CMD build .",
            "test": "Rscript -e 'devtools::test()'",
        },
    ),
    "perl": (
        {"cpanfile": "requires 'perl', '5.20';\n", "t/basic.t": ""},
        "perl",
        "cpanm",
        {"install": "cpanm --installdeps --notest .", "test": "prove -lr t"},
    ),
    "perl with carton": (
        {"cpanfile": "requires 'Moo';\n", "cpanfile.snapshot": "", "t/basic.t": ""},
        "perl",
        "carton",
        {"install": "carton install", "test": "carton exec prove -lr t"},
    ),
    "lua": (
        {"a-1.0-1.rockspec": "", ".luacheckrc": "", "spec/a_spec.lua": ""},
        "lua",
        "luarocks",
        {
            "install": "luarocks install --only-deps a-1.0-1.rockspec",
            "test": "busted",
            "lint": "luacheck .",
        },
    ),
    "nim": (
        {"a.nimble": 'requires "nim >= 1.6"\nbin = @["a"]\n', "tests/test_a.nim": ""},
        "nim",
        "nimble",
        {"install": "nimble install --depsOnly --accept", "build": "nimble build", "test": "nimble test"},
    ),
    "emacs lisp with cask": (
        {"Cask": '(depends-on "buttercup")\n', "a.el": "", "test/a-test.el": ""},
        "emacs-lisp",
        "cask",
        {"install": "cask install", "build": "cask build", "test": "cask exec buttercup -L ."},
    ),
    "emacs lisp with eldev": (
        {"Eldev": "", "a.el": "", "test/a-test.el": ""},
        "emacs-lisp",
        "eldev",
        {"install": "eldev prepare test", "build": "eldev compile", "test": "eldev test", "lint": "eldev lint"},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_smallest_project_has_its_manager_and_its_usual_commands(name: str, detect_files: Detect) -> None:
    files, ecosystem, manager, expected = CASES[name]
    (project,) = detect_files(files).projects
    assert (project.workdir, project.ecosystem, project.package_manager.name) == (".", ecosystem, manager)
    assert lines(project) == expected
    assert all(step.evidence and 0 < step.confidence < 1 for step in project.steps)


@pytest.mark.parametrize("name", CASES)
def test_a_snapshot_with_only_the_content_asked_for_gives_the_same_answer(name: str, detect_files: Detect) -> None:
    files = CASES[name][0]
    wants = default_registry().wants_content
    held = [
        SnapshotFile(path, len(text.encode()), content=text.encode() if wants(path) else None)
        for path, text in files.items()
    ]
    assert detect_tree(SnapshotTree(held)) == detect_files(files)


@pytest.mark.parametrize(
    ("files", "ecosystem"),
    [
        ({"mix.exs": ""}, "elixir"),
        ({"Gemfile": 'gem "rspec"\n', ".rspec": ""}, "ruby"),
        ({"pubspec.yaml": "dependencies:\n  a: any\n"}, "dart"),
        ({"build.sbt": ""}, "scala"),
        ({"Package.swift": ".target()"}, "swift"),
        ({"shard.yml": ""}, "crystal"),
        ({"deno.json": "{}", "mod.ts": ""}, "deno"),
        ({"build.zig": ""}, "zig"),
        ({"gleam.toml": ""}, "gleam"),
    ],
)
def test_without_a_test_there_is_no_test_step(files: dict[str, str], ecosystem: str, detect_files: Detect) -> None:
    (project,) = detect_files(files).projects
    assert project.ecosystem == ecosystem
    assert project.step(StepKind.TEST) is None


@pytest.mark.parametrize(
    "files",
    [{"gleam.toml": 'name = "a"\n'}, {"mix.exs": "defp deps, do: []\n"}, {"shard.yml": "name: a\n"}],
    ids=["gleam", "mix", "shards"],
)
def test_nothing_is_installed_where_nothing_is_declared(files: dict[str, str], detect_files: Detect) -> None:
    (project,) = detect_files(files).projects
    assert project.step(StepKind.INSTALL) is None


def test_the_version_of_the_manager_is_the_one_that_its_lock_file_names(detect_files: Detect) -> None:
    files, *_ = CASES["ruby gem with rspec"]
    (project,) = detect_files(files).projects
    assert project.package_manager.version == "2.4.10"


def test_evidence_names_the_line_that_declares_a_tool(detect_files: Detect) -> None:
    files, *_ = CASES["ruby gem with rspec"]
    (project,) = detect_files(files).projects
    lint = project.step(StepKind.LINT)
    assert lint is not None
    assert [(e.path, e.line) for e in lint.evidence] == [("Gemfile", 6)]


def test_a_tool_in_a_comment_is_not_declared(detect_files: Detect) -> None:
    (project,) = detect_files({"Gemfile": '# gem "rubocop"\ngem "rake"\n'}).projects
    assert project.step(StepKind.LINT) is None


def test_applications_of_an_umbrella_belong_to_it_and_other_mix_projects_do_not(detect_files: Detect) -> None:
    files = {"mix.exs": "", "apps/a/mix.exs": "", "apps/a/test/a_test.exs": "", "installer/mix.exs": ""}
    projects = {p.workdir: p for p in detect_files(files).projects}
    assert set(projects) == {".", "installer"}
    assert projects["."].step(StepKind.TEST) is not None


def test_settings_of_deno_beside_a_package_json_do_not_make_its_tests_those_of_deno(detect_files: Detect) -> None:
    files = {"package.json": '{"name": "a"}', "deno.json": "{}", "a.test.ts": ""}
    projects = {p.ecosystem: p for p in detect_files(files).projects}
    assert projects["deno"].confidence < projects["node"].confidence
    assert projects["deno"].step(StepKind.TEST) is None


def test_a_swift_package_with_several_programs_has_none_that_run_would_mean(detect_files: Detect) -> None:
    manifest = '.executableTarget(name: "a"), .executableTarget(name: "b")'
    (project,) = detect_files({"Package.swift": manifest}).projects
    assert project.step(StepKind.RUN) is None


def test_a_file_whose_name_begins_with_a_dash_never_becomes_an_argument(detect_files: Detect) -> None:
    (project,) = detect_files({"-x.rockspec": ""}).projects
    assert all("-x.rockspec" not in step.command.argv for step in project.steps)


def test_projects_in_fixtures_are_none(detect_files: Detect) -> None:
    assert detect_files({"testdata/app/mix.exs": "", "fixtures/Gemfile": ""}).projects == ()
