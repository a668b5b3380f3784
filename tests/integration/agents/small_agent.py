"""The smallest agent: asks its model once, runs the command that it answers, and ends. For the preset ``generic``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request

TOOL = {"type": "function", "function": {"name": "bash", "parameters": {"type": "object"}}}


def main() -> int:
    """Work on the goal in the first argument."""
    body = {"model": "scripted", "messages": [{"role": "user", "content": sys.argv[1]}], "tools": [TOOL]}
    request = urllib.request.Request(
        f"{os.environ['OPENAI_BASE_URL']}/chat/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            message = json.load(response)["choices"][0]["message"]
    except urllib.error.HTTPError as error:
        print(f"{error.code} {error.reason}", error.read().decode())
        return 1
    for call in message["tool_calls"]:
        subprocess.run(["sh", "-c", json.loads(call["function"]["arguments"])["command"]], check=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
