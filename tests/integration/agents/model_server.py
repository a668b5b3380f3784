"""A model provider on loopback that follows a script: one edit by the agent's own shell tool, then a last word.

It speaks what the agents speak: Anthropic's Messages, OpenAI's Responses and Chat Completions, and Gemini's
generateContent, each streamed and not. Which turn it is, is read from the conversation itself, so that a request that
is sent twice gets the same answer. What it says that each answer used, differs from answer to answer and is kept, so
that a test can compare it with what an agent reports.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["KINDS", "Call", "ModelServer", "Say", "Used", "serve_model"]

MAX_REQUEST_BYTES = 16 << 20  # agents send their whole instructions with every turn, some 100 KB


@dataclass(frozen=True, slots=True)
class Call:
    """The model asks for a line of shell to be run."""

    command: str


@dataclass(frozen=True, slots=True)
class Say:
    """The model says something, and has nothing more to do."""

    text: str


Turn = Call | Say


@dataclass(frozen=True, slots=True)
class Used:
    """The tokens of one answer; the kinds are disjoint but for ``reasoning``, which is a part of ``output``."""

    input: int
    cache_read: int
    cache_write: int
    output: int
    reasoning: int


KINDS = tuple(Used.__dataclass_fields__)

#: The tools with which agents run a line of shell, and how its arguments are written.
SHELL_TOOLS: Mapping[str, str] = {
    "Bash": "command",
    "bash": "command",
    "execute_bash": "command",
    "exec_command": "cmd",
    "shell_command": "command",
    "run_shell_command": "command",
    "terminal": "command",
}


@dataclass(slots=True)
class ModelServer:
    """The provider as a test sees it.

    Attributes:
        port: on 127.0.0.1.
        turns: what it answers, by the number of tool results that the conversation has; the last one for ever.
        status: what it answers instead, if it is not 200: an overloaded provider.
        requests: method, path and body of everything that was asked.
        used: what each answer said that it used.
    """

    turns: Sequence[Turn]
    status: int = 200
    port: int = 0
    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    used: list[Used] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def use(self, *, cache_write: bool = False, reasoning: bool = False) -> tuple[str, Used]:
        """The id of another answer, and what it uses: no two answers use the same."""
        with self._lock:
            number = len(self.used) + 1
            # One kind taken for another, or one answer counted twice, is seen in the sums. All stay small: agents begin
            # to shorten a conversation that fills half of a model's window.
            used = Used(
                input=100 + number,
                cache_read=2_000 + 10 * number,
                cache_write=5_000 + 200 * number if cache_write else 0,
                output=400 + 3 * number,
                reasoning=30 + number if reasoning else 0,
            )
            self.used.append(used)
        return f"{number:08d}", used

    def total(self) -> dict[str, int]:
        """The sum of what all answers used, by kind."""
        return {kind: sum(getattr(one, kind) for one in self.used) for kind in KINDS}

    def turn(self, results: int, tools: Iterable[str]) -> tuple[Turn, str]:
        """The answer to a conversation with so many tool results, and the tool that it uses.

        A request without tools is no turn of the work: agents ask for titles and summaries in between.
        """
        tool = next((name for name in tools if name in SHELL_TOOLS), "")
        turn = self.turns[min(results, len(self.turns) - 1)]
        if isinstance(turn, Call) and not tool:
            return Say("ok"), ""
        return turn, tool


def arguments(tool: str, command: str) -> dict[str, str]:
    """The arguments of a shell tool."""
    extra = {"description": "Edit the file"} if tool in ("Bash", "run_shell_command") else {}
    if tool == "terminal":
        extra = {"security_risk": "LOW", "summary": "Edit the file"}
    return {SHELL_TOOLS[tool]: command, **extra}


@contextmanager
def serve_model(*turns: Turn, status: int = 200) -> Iterator[ModelServer]:
    """A provider on a port of its own that follows this script."""
    model = ModelServer(turns, status)

    class Handler(_Handler):
        owner = model

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    model.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, name="model", daemon=True)
    thread.start()
    try:
        yield model
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    owner: ModelServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.owner.requests.append(("GET", self.path, None))
        self._json({"data": [], "models": [], "object": "list"})

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        length = min(int(self.headers.get("Content-Length", "0")), MAX_REQUEST_BYTES)
        body = json.loads(self.rfile.read(length) or b"{}")
        self.owner.requests.append(("POST", self.path, body))
        path = self.path.partition("?")[0]
        if self.owner.status != 200:
            self._json({"error": {"type": "overloaded_error", "message": "Overloaded"}}, self.owner.status)
        elif path.endswith("/messages"):
            self._answer(body.get("stream", False), *anthropic(self.owner, body))
        elif path.endswith("/responses"):
            self._answer(body.get("stream", False), *responses(self.owner, body))
        elif path.endswith("/chat/completions"):
            self._answer(body.get("stream", False), *completions(self.owner, body))
        elif path.endswith(("/count_tokens", ":countTokens")):
            self._json({"input_tokens": 100, "totalTokens": 100})
        elif path.endswith((":streamGenerateContent", ":generateContent")):
            self._answer(path.endswith(":streamGenerateContent"), *gemini(self.owner, body))
        else:
            self._json({"error": {"message": "not known here"}}, 404)

    def _answer(self, stream: bool, whole: object, events: Sequence[tuple[str, object]]) -> None:
        if not stream:
            self._json(whole)
            return
        lines = []
        for name, data in events:
            text = data if isinstance(data, str) else json.dumps(data)
            lines.append((f"event: {name}\n" if name else "") + f"data: {text}\n\n")
        self._send(200, "text/event-stream", "".join(lines).encode())

    def _json(self, value: object, status: int = 200) -> None:
        self._send(status, "application/json", json.dumps(value).encode())

    def _send(self, status: int, content_type: str, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("request-id", f"req_{len(self.owner.used):08d}")  # Anthropic's; Claude Code reports it
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: a test prints what it needs."""


Answer = tuple[object, Sequence[tuple[str, object]]]


def anthropic(model: ModelServer, body: dict[str, Any]) -> Answer:
    """Anthropic's Messages API, version 2023-06-01."""
    results = sum(
        block.get("type") == "tool_result"
        for message in body["messages"]
        if isinstance(message["content"], list)
        for block in message["content"]
    )
    turn, tool = model.turn(results, (item.get("name", "") for item in body.get("tools") or ()))
    block: dict[str, Any]
    if isinstance(turn, Call):
        reason, given = "tool_use", arguments(tool, turn.command)
        block = {"type": "tool_use", "id": f"toolu_{results}", "name": tool, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(given)}
        full = {**block, "input": given}
    else:
        reason = "end_turn"
        block, delta = {"type": "text", "text": ""}, {"type": "text_delta", "text": turn.text}
        full = {"type": "text", "text": turn.text}
    number, used = model.use(cache_write=True)
    usage = {
        "input_tokens": used.input, "cache_read_input_tokens": used.cache_read,
        "cache_creation_input_tokens": used.cache_write, "output_tokens": used.output,
    }  # fmt: skip
    head = {
        "id": f"msg_{number}", "type": "message", "role": "assistant", "model": body.get("model", ""), "content": [],
        "stop_reason": None, "stop_sequence": None, "usage": {**usage, "output_tokens": 1},
    }  # fmt: skip
    end = {"stop_reason": reason, "stop_sequence": None}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": head},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": end, "usage": {"output_tokens": used.output}},
        {"type": "message_stop"},
    ]
    whole = {**head, **end, "content": [full], "usage": usage}
    return whole, [(str(event["type"]), event) for event in events]


def responses(model: ModelServer, body: dict[str, Any]) -> Answer:
    """OpenAI's Responses API."""
    given = body["input"] if isinstance(body["input"], list) else []
    results = sum(str(item.get("type", "")).endswith("_call_output") for item in given)
    turn, tool = model.turn(results, (item.get("name", "") for item in body.get("tools") or ()))
    item: dict[str, Any]
    if isinstance(turn, Call):
        item = {
            "type": "function_call", "id": f"fc_{results}", "call_id": f"call_{results}", "name": tool,
            "arguments": json.dumps(arguments(tool, turn.command)), "status": "completed",
        }  # fmt: skip
    else:
        content = [{"type": "output_text", "text": turn.text, "annotations": []}]
        item = {"type": "message", "id": f"m_{results}", "role": "assistant", "status": "completed", "content": content}
    number, used = model.use(cache_write=True, reasoning=True)
    given_in = used.input + used.cache_read + used.cache_write  # input and output are inclusive there
    usage = {
        "input_tokens": given_in,
        "input_tokens_details": {"cached_tokens": used.cache_read, "cache_write_tokens": used.cache_write},
        "output_tokens": used.output, "output_tokens_details": {"reasoning_tokens": used.reasoning},
        "total_tokens": given_in + used.output,
    }  # fmt: skip
    whole = {
        "id": f"resp_{number}", "object": "response", "model": body.get("model", ""), "status": "completed",
        "output": [item], "usage": usage,
    }  # fmt: skip
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {**whole, "status": "in_progress", "output": []}},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": whole},
    ]
    return whole, [(str(event["type"]), event) for event in events]


def completions(model: ModelServer, body: dict[str, Any]) -> Answer:
    """OpenAI's Chat Completions API."""
    results = sum(message["role"] == "tool" for message in body["messages"])
    turn, tool = model.turn(results, (item["function"]["name"] for item in body.get("tools") or ()))
    message: dict[str, Any] = {"role": "assistant", "content": turn.text if isinstance(turn, Say) else None}
    if isinstance(turn, Call):
        function = {"name": tool, "arguments": json.dumps(arguments(tool, turn.command))}
        message["tool_calls"] = [{"index": 0, "id": f"call_{results}", "type": "function", "function": function}]
    number, used = model.use(reasoning=True)
    head = {"id": f"chatcmpl-{number}", "created": 1, "model": body.get("model", "")}
    reason = "tool_calls" if isinstance(turn, Call) else "stop"
    given = used.input + used.cache_read  # both are inclusive there
    usage = {
        "prompt_tokens": given, "prompt_tokens_details": {"cached_tokens": used.cache_read},
        "completion_tokens": used.output, "completion_tokens_details": {"reasoning_tokens": used.reasoning},
        "total_tokens": given + used.output,
    }  # fmt: skip
    whole = {
        **head, "object": "chat.completion", "usage": usage,
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
    }  # fmt: skip
    chunk = {**head, "object": "chat.completion.chunk"}
    events: list[tuple[str, object]] = [
        ("", {**chunk, "choices": [{"index": 0, "delta": message, "finish_reason": None}]}),
        ("", {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}], "usage": usage}),
        ("", "[DONE]"),
    ]
    return whole, events


def gemini(model: ModelServer, body: dict[str, Any]) -> Answer:
    """Gemini's generateContent, version v1beta."""
    results = sum("functionResponse" in part for content in body["contents"] for part in content.get("parts", ()))
    names = (
        declared["name"] for tool in body.get("tools") or () for declared in tool.get("functionDeclarations") or ()
    )
    turn, tool = model.turn(results, names)
    part: dict[str, Any] = {"text": turn.text} if isinstance(turn, Say) else {}
    if isinstance(turn, Call):
        part = {"functionCall": {"name": tool, "args": arguments(tool, turn.command)}}
    number, used = model.use(reasoning=True)
    whole = {
        "candidates": [{"index": 0, "content": {"role": "model", "parts": [part]}, "finishReason": "STOP"}],
        "responseId": f"gemini-{number}", "modelVersion": "gemini-2.5-flash",
        "usageMetadata": {
            "promptTokenCount": used.input + used.cache_read, "cachedContentTokenCount": used.cache_read,
            # Thoughts are no part of the candidates there.
            "candidatesTokenCount": used.output - used.reasoning, "thoughtsTokenCount": used.reasoning,
            "totalTokenCount": used.input + used.cache_read + used.output,
        },
    }  # fmt: skip
    return whole, [("", whole)]
