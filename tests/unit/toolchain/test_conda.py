"""conda and pixi: environments with Python in them, and others."""

from __future__ import annotations

from collections.abc import Callable

from autopack_toolchain import Detection, Project, StepKind

Detect = Callable[..., Detection]

ENVIRONMENT = """name: a
dependencies:
  - conda-forge::python=3.11
  - numpy>=1.26
  - pip:
      - pytest
"""


def lines(project: Project) -> dict[str, str]:
    return {step.kind.value: step.command.line() for step in reversed(project.steps)}


def test_an_environment_with_python_is_a_python_project_of_conda(detect_files: Detect) -> None:
    (project,) = detect_files({"environment.yml": ENVIRONMENT, "a.py": "", "tests/test_a.py": ""}).projects
    assert (project.ecosystem, project.package_manager.name) == ("python", "conda")
    found = lines(project)
    assert found["install"] == "conda env create --prefix ./.conda --file environment.yml"
    assert found["test"] == "conda run --prefix ./.conda python -m pytest"
    assert ("python", "3.11") in {(r.name, r.constraint) for r in project.runtime_versions}


def test_beside_a_manifest_of_python_conda_is_an_alternative(detect_files: Detect) -> None:
    files = {"environment.yml": ENVIRONMENT, "pyproject.toml": '[project]\nname = "a"\n[build-system]\n'}
    (project,) = detect_files(files).projects
    assert project.package_manager.name == "pip"
    assert "conda" in {other.name for other in project.package_manager.alternatives}


def test_an_environment_without_python_is_a_project_of_its_own_kind(detect_files: Detect) -> None:
    (project,) = detect_files({"environment.yaml": "dependencies:\n  - r-base\n  - gdal\n"}).projects
    assert (project.ecosystem, project.package_manager.name) == ("conda", "conda")
    assert set(lines(project)) == {"install"}


def test_pixi_with_its_lock_file(detect_files: Detect) -> None:
    pixi = '[workspace]\nchannels = ["conda-forge"]\n[dependencies]\npython = ">=3.11,<4"\npytest = "*"\n'
    (project,) = detect_files({"pixi.toml": pixi, "pixi.lock": "", "test_a.py": ""}).projects
    assert (project.ecosystem, project.package_manager.name) == ("python", "pixi")
    assert lines(project)["install"] == "pixi install --locked"
    assert lines(project)["test"] == "pixi run python -m pytest"


def test_pixi_inside_of_pyproject(detect_files: Detect) -> None:
    text = '[project]\nname = "a"\n[tool.pixi.workspace]\nchannels = []\n[tool.pixi.pypi-dependencies]\nb = "*"\n'
    (project,) = detect_files({"pyproject.toml": text, "pixi.lock": ""}).projects
    assert project.package_manager.name == "pixi"


def test_environments_that_hold_nothing_are_no_projects(detect_files: Detect) -> None:
    files = {"environment.yml": "name: a\n", "pixi.toml": "[tasks]\n", "b/environment.yml": "dependencies: 3\n"}
    assert detect_files(files).projects == ()


def test_a_test_step_needs_a_test(detect_files: Detect) -> None:
    (project,) = detect_files({"environment.yml": ENVIRONMENT}).projects
    assert project.step(StepKind.TEST) is None
