"""A small agent that tells what it uses with the stock OpenTelemetry SDK, configured by nothing but its variables.

    python sdk_agent.py WITNESS SIGNAL [OTHER_RUN]

Edits the calculator, prints its variables, and writes the secret ones to WITNESS, for a test to look for. SIGNAL is
"span" or "log". With OTHER_RUN it says that the usage is of that run. While the file WITNESS.wait exists, it goes on.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from opentelemetry._logs import LogRecord
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.util.types import AnyValue

USAGE: dict[str, AnyValue] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-5",
    "gen_ai.response.id": "resp-1",
    "gen_ai.usage.input_tokens": 5_000,
    "gen_ai.usage.cache_read.input_tokens": 4_096,
    "gen_ai.usage.output_tokens": 300,
}


def main() -> int:
    """Work, and tell."""
    witness, signal, *other = sys.argv[1:]
    with Path("src/calc.py").open("a") as file:
        file.write("\n\ndef sub(a, b):\n    return a - b\n")
    for name, value in os.environ.items():
        print(f"{name}={value}")
    Path(witness).write_text(os.environ.get("OTEL_EXPORTER_OTLP_HEADERS", ""))
    provider: TracerProvider | LoggerProvider
    attributes = USAGE | ({"autopack.run.id": other[0]} if other else {})
    if signal == "span":
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        with provider.get_tracer("sdk-agent").start_as_current_span("chat gpt-5", attributes=attributes):
            pass
    else:
        provider = LoggerProvider()
        provider.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
        name = "gen_ai.client.inference.operation.details"
        provider.get_logger("sdk-agent").emit(
            LogRecord(timestamp=time.time_ns(), event_name=name, attributes=attributes)
        )
    while Path(f"{witness}.wait").exists():
        time.sleep(0.1)
    provider.shutdown()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
