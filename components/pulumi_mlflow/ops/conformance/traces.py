"""Traces: by MLflow's client, and by any program that speaks OpenTelemetry."""

import secrets
import time
from typing import Any

import tenacity

from .behaviour import CheckError
from .server import Server

_OTLP_PATH = "/v1/traces"
_PATIENCE = 20  # seconds until a trace that the server took can be read


def keeps_trace(server: Server) -> str:
    """A trace with a nested span, what went in and came out, is read back."""
    import mlflow  # noqa: PLC0415

    client, experiment = server.client, server.experiment_id()
    root = client.start_trace(
        "verify", inputs={"question": "how much is ü?"}, experiment_id=experiment
    )
    child = client.start_span("step", root.trace_id, parent_id=root.span_id, attributes={"n": 1})
    client.end_span(root.trace_id, child.span_id, outputs={"sum": 2})
    client.end_trace(root.trace_id, outputs={"answer": "2 🚀"})
    mlflow.flush_trace_async_logging()
    found = _read(server, root.trace_id)
    spans = {span.name: span for span in found.data.spans}
    if set(spans) != {"verify", "step"}:
        raise CheckError(f"spans 'verify' and 'step' logged, {sorted(spans)} found")
    if spans["step"].parent_id != spans["verify"].span_id:
        raise CheckError("the inner span has lost its parent")
    if spans["verify"].outputs != {"answer": "2 🚀"} or spans["step"].get_attribute("n") != 1:
        raise CheckError("outputs or attributes came back changed")
    return f"{root.trace_id}, {len(spans)} spans"


def takes_otlp(server: Server) -> str:
    """A span that is sent as OTLP over HTTP, without MLflow's client, is a trace."""
    experiment, now = server.experiment_id(), time.time_ns()
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    name = f"otlp-{server.mark}"
    body = {
        "traceId": trace,
        "spanId": span,
        "name": name,
        "kind": 1,
        "startTimeUnixNano": str(now - 1_000_000),
        "endTimeUnixNano": str(now),
        "attributes": [{"key": "greeting", "value": {"stringValue": "grüezi"}}],
        "status": {"code": 1},
    }
    server.request(
        "POST",
        _OTLP_PATH,
        json={"resourceSpans": [{"scopeSpans": [{"spans": [body]}]}]},
        headers={"x-mlflow-experiment-id": experiment},
    )
    found = _read(server, f"tr-{trace}")
    if [s.name for s in found.data.spans] != [name]:
        raise CheckError(f"span '{name}' sent, {[s.name for s in found.data.spans]} found")
    if found.data.spans[0].get_attribute("greeting") != "grüezi":
        raise CheckError("the span's attribute came back changed")
    return f"tr-{trace}"


def _read(server: Server, trace_id: str) -> Any:
    """A trace, which the server may take in after it has answered."""
    attempts = tenacity.Retrying(
        stop=tenacity.stop_after_delay(_PATIENCE), wait=tenacity.wait_fixed(0.2), reraise=True
    )
    return attempts(server.client.get_trace, trace_id, display=False)
