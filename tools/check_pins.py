"""Check that constraints.txt pins everything that pyproject.toml asks for, in a version that it accepts."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


def requirements() -> list[Requirement]:
    """Every direct requirement: of the project, its extras and its build."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = document["project"]
    lines = [*document["build-system"]["requires"], *project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        lines += extra
    found = [Requirement(line) for line in lines]
    return [requirement for requirement in found if requirement.name != project["name"]]


def main() -> int:
    """Check and report."""
    pins = {canonicalize_name(name): version for name, version in PIN.findall((ROOT / "constraints.txt").read_text())}
    failed = 0
    for requirement in requirements():
        version = pins.get(canonicalize_name(requirement.name))
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            failed += 1
            print(f"pyproject.toml asks for {requirement}; constraints.txt has {version or 'nothing'}: run `make lock`")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
