"""Check docker-compose.yml with the real Compose, offline: it is valid, and every service of the project is in it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

HARDENED = {"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"]}
BESIDE = {"postgres", "worker"}  # what is no service of the project
LIMITS = ("mem_limit", "cpus", "pids_limit")


def rendered() -> dict[str, Any]:
    """The file as Compose understands it."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "docker-compose"), "--profile", "*", "config", "--format", "json"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise SystemExit(done.stderr.strip())
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def faults(document: dict[str, Any], expected: set[str]) -> list[str]:
    """What is wrong, as lines for a person. ``expected``: the names of the project's services."""
    services: dict[str, dict[str, Any]] = document["services"]
    found = [f"{name}: not in docker-compose.yml" for name in sorted(expected - set(services))]
    found += [f"{name}: no such service of the project" for name in sorted(set(services) - expected - BESIDE)]
    for name, service in sorted(services.items()):
        found += [f"{name}: {key} must be {value}" for key, value in HARDENED.items() if service.get(key) != value]
        found += [f"{name}: has no {key}" for key in LIMITS if not service.get(key)]
        found += [f"{name}: has no healthcheck"] if "test" not in service.get("healthcheck", {}) else []
        for port in service.get("ports", []):
            if port.get("host_ip") != "127.0.0.1":
                found.append(f"{name}: port {port['target']} is published beyond loopback")
        if name in expected and service.get("command", [])[:2] != ["serve", name]:
            found.append(f"{name}: its command must begin with: serve {name}")
    return found


def main() -> int:
    """Check and report."""
    expected = {path.parent.name for path in (ROOT / "services").glob("*/README.md")}
    expected |= {path.parent.parent.name for path in (ROOT / "services").glob("*/autopack_*/__init__.py")}
    found = faults(rendered(), expected)
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
