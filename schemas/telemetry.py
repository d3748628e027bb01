"""OpenTelemetry: a span and gauges for each step, if the standard variables (`OTEL_EXPORTER_OTLP_ENDPOINT`, …) name a
collector. Without the SDK, or without an answer from the collector, the step goes on.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from datetime import date
from importlib import import_module
from typing import Any

_SERVICE = "marquee"


def emit_step(step: str, ds: date, seconds: float, counts: Mapping[str, int], failed: str | None) -> None:
    """Send a finished step's span (`marquee STEP`, an error with the cause if it failed) and its gauges:
    `marquee.step.duration` (s), `marquee.step.failed` (0 or 1) and `marquee.step.count`, by step.

    Gauges, because a night's steps are processes of a few minutes: each would begin a counter at 0.
    """
    signals = [signal for signal in ("traces", "metrics") if _is_wanted(signal)]
    try:
        for signal in signals:
            send = _send_span if signal == "traces" else _send_gauges
            send(_exporter(signal), step, ds, seconds, counts, failed)
    except ImportError as error:
        print(f"OTEL_EXPORTER_OTLP_… is set, and OpenTelemetry's SDK is not installed: {error}", file=sys.stderr)
    except Exception as error:
        # The step's work is done, and its row is written.
        print(f"OpenTelemetry could not send the step {step}: {error}", file=sys.stderr)


def _is_wanted(signal: str) -> bool:
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    if os.environ.get(f"OTEL_{signal.upper()}_EXPORTER", "otlp") != "otlp":
        return False
    return bool(_variable("ENDPOINT", signal))


def _variable(name: str, signal: str) -> str:
    """`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` or, for all signals, `OTEL_EXPORTER_OTLP_ENDPOINT`."""
    of_all = os.environ.get(f"OTEL_EXPORTER_OTLP_{name}", "")
    return os.environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_{name}") or of_all


def _exporter(signal: str) -> Any:
    protocol = "grpc" if _variable("PROTOCOL", signal) == "grpc" else "http"
    module, name = (
        ("trace_exporter", "OTLPSpanExporter") if signal == "traces" else ("metric_exporter", "OTLPMetricExporter")
    )
    return getattr(import_module(f"opentelemetry.exporter.otlp.proto.{protocol}.{module}"), name)()


def _resource() -> Any:
    from opentelemetry.sdk.resources import Resource

    named = "OTEL_SERVICE_NAME" in os.environ or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    return Resource.create({} if named else {"service.name": _SERVICE})


def _send_span(
    exporter: Any, step: str, ds: date, seconds: float, counts: Mapping[str, int], failed: str | None
) -> None:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.trace import Status, StatusCode

    provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    ended = time.time_ns()
    attributes = {"marquee.step": step, "marquee.ds": str(ds)} | {f"marquee.{name}": n for name, n in counts.items()}
    span = provider.get_tracer(_SERVICE).start_span(
        f"marquee {step}", start_time=ended - int(seconds * 1e9), attributes=attributes
    )
    if failed:
        span.set_status(Status(StatusCode.ERROR, failed))
    span.end(ended)
    provider.shutdown()


def _send_gauges(
    exporter: Any, step: str, _: date, seconds: float, counts: Mapping[str, int], failed: str | None
) -> None:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    provider = MeterProvider([PeriodicExportingMetricReader(exporter)], _resource(), shutdown_on_exit=False)
    meter, about = provider.get_meter(_SERVICE), {"step": step}
    meter.create_gauge("marquee.step.duration", unit="s").set(seconds, about)
    meter.create_gauge("marquee.step.failed").set(int(failed is not None), about)
    for name, number in counts.items():
        meter.create_gauge("marquee.step.count").set(number, {**about, "count": name})
    # It exports once more before it ends.
    provider.shutdown()
