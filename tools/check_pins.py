"""Check that everything is pinned: constraints.txt has what pyproject.toml asks for, and the image's pins are of it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
IMAGE = "deploy/docker/requirements.txt"
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


def pins(path: str) -> dict[str, str]:
    """Version by name."""
    return {canonicalize_name(name): version for name, version in PIN.findall((ROOT / path).read_text())}


def main() -> int:
    """Check and report."""
    failed = 0
    all_pins = pins("constraints.txt")
    for name, version in pins(IMAGE).items():
        if all_pins.get(name) != version:
            failed += 1
            print(f"{IMAGE} has {name} {version}, constraints.txt {all_pins.get(name, 'does not')}: run `make lock`")
    for requirement in requirements():
        pinned = all_pins.get(canonicalize_name(requirement.name))
        if pinned is None or not requirement.specifier.contains(pinned, prereleases=True):
            failed += 1
            print(f"pyproject.toml asks for {requirement}; constraints.txt has {pinned or 'nothing'}: run `make lock`")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
