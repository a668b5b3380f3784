"""Ruby, PHP and Elixir projects: what detection proposes is run, with the real tools."""

from __future__ import annotations

import json

import pytest
from autopack_toolchain import StepKind

from tests.integration.toolchain.real_project import RealProject

pytestmark = pytest.mark.timeout(900)


def test_bundler_and_rake(project: RealProject) -> None:
    project.needs("ruby", "bundle", "rake")
    test = """
require "minitest/autorun"
require_relative "../lib/calc"

class CalcTest < Minitest::Test
  def test_add
    File.write("the-test-ran", "")
    assert_equal 42, Calc.add(40, 2)
  end
end
"""
    project.write(
        {
            "Gemfile": 'gem "minitest"\ngem "rake"\n',  # both are installed, so that no source of gems is needed
            "Rakefile": 'require "rake/testtask"\n\nRake::TestTask.new(:test) do |task|\n'
            '  task.pattern = "test/*_test.rb"\nend\n\ntask default: :test\n',
            "lib/calc.rb": "module Calc\n  def self.add(a, b) = a + b\nend\n",
            "test/calc_test.rb": test,
        }
    )
    project.tool("bundle", "lock", "--local")
    project.prove(manager="bundler", test="test/calc_test.rb")


def test_composer_and_phpunit(project: RealProject) -> None:
    project.needs("php", "composer", "phpunit")
    test = """
<?php

use PHPUnit\\Framework\\TestCase;

final class CalcTest extends TestCase
{
    public function testAdd(): void
    {
        touch("the-test-ran");
        $this->assertSame(42, add(40, 2));
    }
}
"""
    manifest = {
        "name": "example/calc",
        "autoload": {"files": ["src/calc.php"]},
        "require": {"php": ">=7.4"},
        "scripts": {"test": "phpunit --bootstrap vendor/autoload.php tests"},
    }
    project.write(
        {
            "composer.json": json.dumps(manifest),
            "src/calc.php": "<?php\n\nfunction add(int $a, int $b): int\n{\n    return $a + $b;\n}\n",
            "tests/CalcTest.php": test,
            ".gitignore": "vendor/\n.phpunit.result.cache\n",
        }
    )
    project.prove(manager="composer", test="tests/CalcTest.php")


def test_mix(project: RealProject) -> None:
    project.needs("mix")
    manifest = """
defmodule Calc.MixProject do
  use Mix.Project

  def project do
    [app: :calc, version: "1.0.0", deps: []]
  end
end
"""
    test = """
defmodule CalcTest do
  use ExUnit.Case

  test "adds" do
    File.write!("the-test-ran", "")
    assert Calc.add(40, 2) == 42
  end
end
"""
    project.write(
        {
            "mix.exs": manifest,
            ".formatter.exs": '[inputs: ["{mix,.formatter}.exs", "{lib,test}/**/*.{ex,exs}"]]\n',
            "lib/calc.ex": "defmodule Calc do\n  def add(a, b), do: a + b\nend\n",
            "test/test_helper.exs": "ExUnit.start()\n",
            "test/calc_test.exs": test,
            ".gitignore": "_build/\ndeps/\n",
        }
    )
    checks = (StepKind.BUILD, StepKind.FORMAT)
    project.prove(manager="mix", test="test/calc_test.exs", also=checks, installs=False)
