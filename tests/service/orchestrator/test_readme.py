"""The README's example is what it says."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

from tests.service.orchestrator.bench import Bench, repository

README = Path(__file__).parents[3] / "services" / "orchestrator" / "README.md"
CHANGING = re.compile(r"batch-[a-z0-9]{6}|[0-9a-f]{12}|\d+\.\d+|/\S*/python\S*")


async def test_the_example_of_the_readme_prints_what_stands_there(stack: Bench, tmp_path: Path) -> None:
    text = README.read_text()
    code = re.findall(r"```python no-run\n(.*?)```", text, re.DOTALL)[0]
    expected = re.findall(r"```text\n(.*?)```", text, re.DOTALL)[0]
    repo = repository(tmp_path / "readme", {"calc.py": "def add(a, b):\n    return a + b\n"})
    example = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stack.target.address, str(repo), stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await example.communicate()
    assert example.returncode == 0
    assert CHANGING.sub("~", printed.decode()) == CHANGING.sub("~", expected)
