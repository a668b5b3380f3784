"""PHP: Composer, and the tools that composer.json declares."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from autopack_toolchain import Detection, Project, StepKind

Detect = Callable[..., Detection]


def lines(project: Project) -> dict[str, str]:
    return {step.kind.value: step.command.line() for step in reversed(project.steps)}


def manifest(*development: str, **more: object) -> str:
    return json.dumps({"require": {"php": ">=8.1"}, "require-dev": dict.fromkeys(development, "*"), **more}, indent=1)


def test_a_library_with_its_tools_has_a_step_for_each(detect_files: Detect) -> None:
    files = {
        "composer.json": manifest("phpunit/phpunit", "squizlabs/php_codesniffer", "phpstan/phpstan", "laravel/pint"),
        "composer.lock": "{}",
        "phpcs.xml.dist": "",
        "phpstan.neon": "",
        "tests/ATest.php": "",
    }
    (project,) = detect_files(files).projects
    assert (project.ecosystem, project.package_manager.name) == ("php", "composer")
    assert lines(project) == {
        "install": "composer install --no-interaction",
        "test": "vendor/bin/phpunit",
        "lint": "vendor/bin/phpcs",
        "typecheck": "vendor/bin/phpstan analyse",
        "format": "vendor/bin/pint --test",
    }
    assert [(r.name, r.constraint) for r in project.runtime_versions] == [("php", ">=8.1")]


@pytest.mark.parametrize(
    ("package", "settings", "command"),
    [
        ("pestphp/pest", "phpunit.xml", "vendor/bin/pest"),
        ("codeception/codeception", "codeception.yml", "vendor/bin/codecept run"),
        ("symfony/phpunit-bridge", "phpunit.xml.dist", "vendor/bin/simple-phpunit"),
    ],
)
def test_the_declared_runner_is_the_one_that_runs(
    package: str, settings: str, command: str, detect_files: Detect
) -> None:
    files = {"composer.json": manifest(package), settings: "", "tests/ATest.php": ""}
    assert lines(detect_files(files).projects[0])["test"] == command


def test_programs_are_where_composer_was_told_to_put_them(detect_files: Detect) -> None:
    files = {"composer.json": manifest("phpunit/phpunit", config={"bin-dir": "bin"}), "tests/ATest.php": ""}
    assert lines(detect_files(files).projects[0])["test"] == "bin/phpunit"


def test_a_directory_of_programs_that_is_no_plain_path_is_not_used(detect_files: Detect) -> None:
    config = {"bin-dir": "$(touch x); rm"}
    files = {"composer.json": manifest("phpunit/phpunit", config=config), "tests/ATest.php": ""}
    assert lines(detect_files(files).projects[0])["test"] == "vendor/bin/phpunit"


def test_without_tests_there_is_no_test_step_and_without_packages_no_install(detect_files: Detect) -> None:
    (project,) = detect_files({"composer.json": '{"require": {"php": "8.2"}}', "phpunit.xml": ""}).projects
    assert project.step(StepKind.TEST) is None
    assert project.step(StepKind.INSTALL) is None


def test_laravel_is_tested_and_started_by_artisan(detect_files: Detect) -> None:
    files = {
        "composer.json": json.dumps({"require": {"laravel/framework": "^11"}}),
        "artisan": "",
        "public/index.php": "",
        "tests/Feature/ATest.php": "",
    }
    found = lines(detect_files(files).projects[0])
    assert found["test"] == "php artisan test"
    assert found["run"] == "php artisan serve"


def test_pages_without_a_manifest_are_a_project_without_a_manager(detect_files: Detect) -> None:
    (project,) = detect_files({"index.php": "<?php", "stuff/page.php": "<?php"}).projects
    assert (project.ecosystem, project.package_manager.name, project.package_manager.confidence) == ("php", "", 0.0)
    assert lines(project) == {"run": "php -S localhost:8000"}


def test_a_broken_manifest_is_a_warning_and_still_a_project(detect_files: Detect) -> None:
    detection = detect_files({"composer.json": "{"})
    assert [w.reason for w in detection.warnings] == ["BROKEN_MANIFEST"]
    assert [p.ecosystem for p in detection.projects] == ["php"]
