"""The row, the span and the gauges of a step, against a collector on this machine."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from schemas.contract import ContractError
from schemas.steps import noted_step
from schemas.store import create, rows_of_day
from schemas.tables import NIGHT_STEPS

DS = date(2026, 1, 14)


@dataclass
class Collector:
    """An OTLP collector: the requests by path."""

    requests: dict[str, list[bytes]] = field(default_factory=dict)

    def take(self, path: str, body: bytes) -> None:
        self.requests.setdefault(path, []).append(body)


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    found = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.take(self.path, self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def warehouse(tmp_path: Path) -> str:
    create(str(tmp_path), NIGHT_STEPS)
    return str(tmp_path)


def run(warehouse: str, error: Exception | None = None) -> None:
    with noted_step(warehouse, NIGHT_STEPS, DS, "publish") as counts:
        counts["inserted"] = 7
        if error:
            raise error


def noted(warehouse: str) -> dict[str, str | None]:
    rows = rows_of_day(warehouse, NIGHT_STEPS, DS)
    assert all(dict(row["counts"]) == {"inserted": 7} for row in rows)
    return {row["step"]: row["failed"] for row in rows}


def test_a_failed_step_keeps_its_sentence_until_it_succeeds(warehouse: str) -> None:
    run(warehouse)
    with pytest.raises(ContractError):
        run(warehouse, ContractError("titles: the table is empty"))
    # What the first run did still holds.
    assert noted(warehouse) == {"publish": None, "publish failed": "titles: the table is empty"}
    run(warehouse)
    assert noted(warehouse) == {"publish": None}


def test_an_error_is_raised_though_its_row_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="the table is empty"):
        run(str(tmp_path), ContractError("titles: the table is empty"))


def test_a_collector_gets_a_span_and_gauges_of_each_step(warehouse: str, collector: Collector) -> None:
    run(warehouse)
    with pytest.raises(ContractError):
        run(warehouse, ContractError("titles: the table is empty"))
    traces, metrics = (collector.requests[f"/v1/{signal}"] for signal in ("traces", "metrics"))
    spans = []
    for body in traces:
        (resource,) = ExportTraceServiceRequest.FromString(body).resource_spans
        about = {each.key: each.value.string_value for each in resource.resource.attributes}
        assert about["service.name"] == "marquee"
        spans += [span for scope in resource.scope_spans for span in scope.spans]
    assert [(span.name, span.status.message) for span in spans] == [
        ("marquee publish", ""),
        ("marquee publish", "titles: the table is empty"),
    ]
    assert [each.value.string_value for each in spans[0].attributes if each.key == "marquee.ds"] == [str(DS)]
    assert [each.value.int_value for each in spans[0].attributes if each.key == "marquee.inserted"] == [7]
    assert spans[0].end_time_unix_nano >= spans[0].start_time_unix_nano
    points: dict[str, list[float]] = {}
    for body in metrics:
        (found,) = ExportMetricsServiceRequest.FromString(body).resource_metrics
        for metric in (metric for scope in found.scope_metrics for metric in scope.metrics):
            for point in metric.gauge.data_points:
                points.setdefault(metric.name, []).append(point.as_int or point.as_double)
    assert points["marquee.step.count"] == [7, 7]
    assert points["marquee.step.failed"] == [0, 1]
    assert len(points["marquee.step.duration"]) == 2


def test_a_step_goes_on_without_a_collector_or_the_sdk(
    warehouse: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    run(warehouse)
    for name in [name for name in sys.modules if name.startswith("opentelemetry.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    capsys.readouterr()
    run(warehouse)
    assert noted(warehouse) == {"publish": None}
    assert "OpenTelemetry's SDK is not installed" in capsys.readouterr().err
