"""Generate the Python stubs under gen/ from the contracts under protos/.

``python tools/generate.py`` writes them; ``--check`` only compares and exits 1 on a difference. The generator is pinned
(grpcio-tools in pyproject.toml): newer ones refuse older protobuf runtimes that users have.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import re
import shutil
import sys
import tempfile
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
TARGET = ROOT / "gen" / "autopack_api"

# The wire packages are autopack.<service>.v1; the import name is autopack_api, because `autopack` is not ours.
IMPORT = re.compile(r"^(from|import) autopack\.", re.MULTILINE)
DOTTED_USE = re.compile(r"\bautopack\.(common|toolchain|hardening|intention|orchestrator|telemetry)\.v1\.")


def generate(target: Path) -> None:
    """Write the stubs of every proto file to ``target``."""
    with tempfile.TemporaryDirectory() as scratch:
        well_known = resources.files("grpc_tools") / "_proto"
        files = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
        # The plugins protoc-gen-mypy(_grpc) stand beside the interpreter, which may not be the PATH's.
        os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        arguments = ["protoc", f"-I{PROTOS}", f"-I{well_known}"]
        arguments += [f"--{kind}={scratch}" for kind in ("python_out", "grpc_python_out", "mypy_out", "mypy_grpc_out")]
        if protoc.main([*arguments, *files]) != 0:
            raise SystemExit("protoc failed; its message is above")
        source = Path(scratch) / "autopack"
        for path in source.rglob("*.py*"):
            if path.suffix in {".py", ".pyi"}:
                path.write_text(rename(path.read_text(), stub=path.suffix == ".pyi"))
        for directory in [source, *(path for path in source.rglob("*") if path.is_dir())]:
            (directory / "__init__.py").write_text("")
        (source / "py.typed").write_text("")
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)


def rename(text: str, *, stub: bool) -> str:
    """``text`` of a stub with the import name autopack_api instead of the wire package."""
    text = IMPORT.sub(r"\1 autopack_api.", text)
    # Type stubs use full dotted names; descriptors in .py files must keep the wire package.
    return DOTTED_USE.sub(r"autopack_api.\1.v1.", text) if stub else text


def differences(left: Path, right: Path) -> list[str]:
    """Relative paths that are not the same in both trees."""
    names = {str(path.relative_to(side)) for side in (left, right) for path in side.rglob("*") if path.is_file()}
    names = {name for name in names if "__pycache__" not in name}
    return sorted(
        name
        for name in names
        if not ((left / name).is_file() and (right / name).is_file() and filecmp.cmp(left / name, right / name, False))
    )


def main() -> int:
    """Generate, or compare with ``--check``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only; exit 1 on a difference")
    if not parser.parse_args().check:
        generate(TARGET)
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch) / "autopack_api"
        generate(fresh)
        changed = differences(fresh, TARGET)
    for name in changed:
        print(f"gen/autopack_api/{name} differs from protos/; run `make stubs` and commit the result", file=sys.stderr)
    return 1 if changed else 0


if __name__ == "__main__":
    raise SystemExit(main())
