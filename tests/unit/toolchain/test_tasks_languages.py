"""Tasks of composer, cargo, rake, mix and mage."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from autopack_toolchain.core.tasks import Task

Tasks = Callable[..., dict[str, Task]]


def test_scripts_of_composer_are_commands_references_and_methods(tasks_of: Tasks) -> None:
    scripts = {
        "test": ["@lint", "@php artisan config:clear", "phpunit --colors", "App\\Hooks::run", "@composer audit"],
        "lint": "phpcs src",
        "update": "x",
    }
    text = json.dumps({"scripts": scripts, "scripts-descriptions": {"test": "Run the tests"}}, indent=2)
    tasks = tasks_of({"composer.json": text})
    assert tasks["test"] == Task(
        "composer",
        "test",
        "composer.json",
        3,
        ".",
        ("composer", "test"),
        ("php artisan config:clear", "phpunit --colors", "composer audit"),
        ("lint",),
        "Run the tests",
    )
    assert tasks["update"].argv == ("composer", "run-script", "update")


@pytest.mark.parametrize("name", [".cargo/config.toml", ".cargo/config"])
def test_aliases_of_cargo_stand_for_a_command_of_cargo(tasks_of: Tasks, name: str) -> None:
    tasks = tasks_of({name: '[alias]\nxtask = "run --package xtask --"\nci = ["test", "--features", "a b"]\n'})
    assert tasks["xtask"] == Task(
        "cargo-alias", "xtask", name, 2, ".", ("cargo", "xtask"), ("cargo run --package xtask --",)
    )
    assert tasks["ci"].bodies == ("cargo test --features 'a b'",)


RAKEFILE = """\
require "bundler/gem_tasks"
require "rspec/core/rake_task"

RSpec::Core::RakeTask.new(:spec) do |t|
  t.pattern = "spec/**/*_spec.rb"
end
RuboCop::RakeTask.new
Rake::TestTask.new("test:unit") { |t| t.libs << "test" }

desc "Everything"
task default: %i[spec rubocop]

namespace :db do
  desc "Prepare"
  task :prepare, [:name] => [:create, "other:task"] do |t, args|
    sh "rails db:setup #{args[:name]}"
    ruby 'script.rb'
    Rake::Task["spec"].invoke
  end
  task "create"
end

file "SPEC" do
  sh "not part of a task"
end

task ci: :default
task :old => 'db:prepare' do sh("inline") end
"""


def test_tasks_of_rake_are_found_by_their_lines(tasks_of: Tasks) -> None:
    tasks = tasks_of({"Rakefile": RAKEFILE})
    assert set(tasks) == {
        *("", "spec", "rubocop", "test:unit", "default", "db:prepare", "db:create", "ci", "old", "build"),
    }
    assert tasks["spec"] == Task("rake", "spec", "Rakefile", 4, ".", ("rake", "spec"), ("rspec",))
    assert (tasks["default"].needs, tasks["default"].description) == (("spec", "rubocop"), "Everything")
    assert tasks["ci"].needs == ("default",)
    assert tasks["old"].needs == ("db:prepare",)
    assert tasks[""].needs == ("default",)


def test_a_task_in_a_namespace_carries_its_name_and_runs_its_shell_lines(tasks_of: Tasks) -> None:
    task = tasks_of({"Rakefile": RAKEFILE})["db:prepare"]
    assert task.bodies == ("rails db:setup ${_}", "ruby script.rb")
    assert task.needs == ("db:create", "spec")
    assert (task.line, task.description) == (15, "Prepare")


def test_rake_files_in_the_usual_directories_are_read(tasks_of: Tasks) -> None:
    files = {"Rakefile": "# nothing\n", "lib/tasks/ci.rake": 'task :ci do\n  sh "rspec"\nend\n'}
    task = tasks_of(files)["ci"]
    assert (task.path, task.bodies) == ("lib/tasks/ci.rake", ("rspec",))


MIX = """\
defmodule App.MixProject do
  def project do
    [app: :app, aliases: aliases()]
  end

  # what we run
  defp aliases do
    [
      setup: ["deps.get", "ecto.setup"],
      "ecto.setup": ["ecto.create --quiet", "run priv/\\"x\\".exs"],
      test: [
        "ecto.create --quiet",  # before
        "test"
      ],
      lint: "credo --strict",
      web: ["cmd npm test", &custom/1],
    ]
  end

  defp deps do
    [{:phoenix, "~> 1.7", only: [a: "b"]}, other: "x"]
  end
end
"""


def test_aliases_of_mix_run_tasks_of_mix_and_programs(tasks_of: Tasks) -> None:
    tasks = tasks_of({"mix.exs": MIX})
    assert set(tasks) == {"setup", "ecto.setup", "test", "lint", "web"}
    assert tasks["test"] == Task(
        "mix", "test", "mix.exs", 11, ".", ("mix", "test"), ("mix ecto.create --quiet", "mix test")
    )
    assert tasks["ecto.setup"].bodies[1] == 'mix run priv/"x".exs'
    assert tasks["lint"].bodies == ("mix credo --strict",)
    assert tasks["web"].bodies == ("npm test",)


def test_aliases_within_the_project_are_found(tasks_of: Tasks) -> None:
    text = 'def project do\n  [\n    app: :a,\n    aliases: [test: "test --cover", ci: ["format", "test"]]\n  ]\nend\n'
    assert tasks_of({"mix.exs": text})["test"].bodies == ("mix test --cover",)


MAGE = """\
package main

const goexe = "go"

var Default = Build

func Build() error {
\tmg.Deps(Generate, Lint.All)
\treturn sh.RunWith(flags(), goexe, "build", "./...")
}

type Lint mg.Namespace

func (Lint) All(ctx context.Context) error {
\treturn sh.RunV(
\t\t"golangci-lint",
\t\t"run", version(),
\t)
}

func Generate() {
}

func Release(ctx context.Context, version string) error {
\treturn nil
}

func Helper() string {
\treturn "x"
}
"""


@pytest.mark.parametrize("name", ["magefile.go", "magefiles/build.go"])
def test_targets_of_mage_are_exported_functions_that_give_an_error_or_nothing(tasks_of: Tasks, name: str) -> None:
    tasks = tasks_of({name: MAGE})
    assert set(tasks) == {"", "build", "lint:all", "generate", "release"}
    assert tasks["build"] == Task(
        "mage", "build", name, 7, ".", ("mage", "build"), ("go build ./...",), ("generate", "lint:all")
    )
    assert tasks["lint:all"].bodies == ("golangci-lint run ${_}",)
    assert tasks["release"].required == ("version",)
    assert tasks[""].needs == ("build",)
