"""Nobody who may write makes the server call out or run code: asked of MLflow's real app, in a process of its own."""

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from pulumi_mlflow.core import server
from pulumi_mlflow.local import app

REVIEWED = Path(__file__).with_name("mlflow_routes.txt")
"""Each handler or route of MLflow 3.17.2, after what its request may do: `own` (it uses the stack's own database and store,
no more), or what it belongs to that is off."""

PROGRAM = """
import faulthandler, json, os, re, socket, sys, warnings
if "DUMP" in os.environ: faulthandler.dump_traceback_later(int(os.environ["DUMP"]), exit=True)
warnings.simplefilter("ignore")
looked_up = []
def nowhere(host, *rest, **more):
    looked_up.append(str(host))
    print("asks for", host, file=sys.stderr)
    raise OSError("no network in this test")
socket.getaddrinfo = nowhere
from mlflow.server import app as flask_app, handlers
handlers.initialize_backend_stores(os.environ["URI"], default_artifact_root=os.environ["FOLDER"])
from pulumi_mlflow.local.app import create_app
from starlette.testclient import TestClient
if os.environ.get("PLAIN"):
    from mlflow.server.fastapi_app import app
else:
    app = create_app()
client = TestClient(app, base_url="http://localhost", client=("127.0.0.1", 50000), raise_server_exceptions=False)
def ask(method, path, body=None, headers=None, data=None):
    answer = client.request(method, path, json=body, content=data, headers=headers)
    return [answer.status_code, answer.text[:400]]

found = {}
native = [(p, m.upper()) for p, ms in app.openapi()["paths"].items() for m in ms]
rules = [(r.endpoint, r.rule, sorted(r.methods - {"HEAD", "OPTIONS"})) for r in flask_app.url_map.iter_rules()]
found["routes"] = sorted({f"{m} {p}" for p, m in native} | {name for name, _, _ in rules})
fill = lambda path: re.sub(r"<[^>]*>|{[^}]*}", "x", path)
found["gateway"] = {
    f"{m} {p}": ask(m, fill(p), {})[0]
    for p, m in native + [(r, m) for _, r, ms in rules for m in ms]
    if "/gateway/" in p
}
found["assistant"] = {f"{m} {p}": ask(m, fill(p), {}) for p, m in native if "/assistant" in p}
for spelled in ("http://localhost//ajax-api/3.0/mlflow/assistant/config", "/%61jax-api/3.0/mlflow/assistant/config", "/ajax-api/3.0/mlflow/assistant/"):
    found["assistant"][spelled] = ask("GET", spelled)
models = "/ajax-api/3.0/mlflow/assistant/providers/ollama/models?base_url=http://assistant.example"
found["assistant"]["models"] = ask("GET", models)
hook = {"name": "h", "url": "https://hook.example/x", "events": [{"entity": "REGISTERED_MODEL", "action": "CREATED"}]}
found["webhook"] = ask("POST", "/api/2.0/mlflow/webhooks", hook)
ask("POST", "/api/2.0/mlflow/registered-models/create", {"name": "m"})
experiment = json.loads(ask("POST", "/api/2.0/mlflow/experiments/create", {"name": "e"})[1])["experiment_id"]
found["elsewhere"] = ask("POST", "/api/2.0/mlflow/experiments/create", {"name": "f", "artifact_location": "http://store.example/x"})
job = {"job_name": "invoke_scorer", "params": {}}
found["jobs"] = {
    path: ask("POST", path, body)[0]
    for path, body in {
        "/ajax-api/3.0/jobs/": job,
        "/ajax-api/3.0/mlflow/scorer/invoke": {"experiment_id": experiment, "serialized_scorer": "{}", "trace_ids": ["t"]},
        "/ajax-api/3.0/mlflow/genai/evaluate/invoke": {"experiment_id": experiment},
        "/ajax-api/3.0/mlflow/issues/invoke": {"experiment_id": experiment},
    }.items()
}
icon = {"name": "io.example/tool", "icons": [{"src": "https://icon.example/a.png"}]}
found["icon"] = ask("POST", "/api/3.0/mlflow/mcp-servers", icon)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
export = ExportTraceServiceRequest()
span = export.resource_spans.add().scope_spans.add().spans.add()
span.trace_id, span.span_id, span.name = bytes(range(16)), bytes(range(8)), "s"
span.start_time_unix_nano, span.end_time_unix_nano = 1, 2
for key, value in {"gen_ai.request.model": "gpt-x", "gen_ai.response.model": "gpt-x", "gen_ai.system": "evil", "gen_ai.provider.name": "evil"}.items():
    pair = span.attributes.add(); pair.key = key; pair.value.string_value = value
for key in ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"):
    pair = span.attributes.add(); pair.key = key; pair.value.int_value = 7
found["trace"] = ask("POST", "/v1/traces", headers={"x-mlflow-experiment-id": experiment, "content-type": "application/x-protobuf"}, data=export.SerializeToString())
ask("GET", "/ajax-api/3.0/mlflow/ui-telemetry")
import time; time.sleep(0.5)  # webhooks are sent from threads
found["looked_up"] = sorted(set(looked_up))
print("FOUND" + json.dumps(found))
"""


def run(folder, variables):
    """What `PROGRAM` finds in a server with these variables."""
    uri = f"sqlite:////{folder}/mlflow.db"
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")
    }
    environment |= {
        "HOME": str(folder),
        # What `mlflow server` sets for its workers.
        "_MLFLOW_SERVER_FILE_STORE": uri,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": str(folder),
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(folder),
        "URI": uri,
        "FOLDER": str(folder),
        **variables,
    }
    environment.pop("PYTEST_CURRENT_TEST", None)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.rpartition("FOUND")[2])


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlflow")
    settings = server.ServerSettings(
        host="127.0.0.1",
        port=1,
        workers=1,
        allowed_hosts=server.allowed_hosts([]),
        artifacts_destination="",
        pool_size=5,
        max_overflow=35,
        scratch_dir=str(folder),
    )
    return run(folder, server.server_environment(settings))


def test_every_route_of_mlflow_has_been_looked_at(found):
    """A new one may call out or run code: look at its handler, turn it off in `core/outgoing.py` if it does, and note it."""
    lines = REVIEWED.read_text().splitlines()
    reviewed = {line.partition(" ")[2]: line.partition(" ")[0] for line in lines if line}
    assert set(found["routes"]) == set(reviewed)
    assert set(reviewed.values()) <= {"own", "gateway", "webhooks", "jobs", "assistant"}


def test_a_writer_makes_the_server_ask_for_no_host(found):
    assert found["looked_up"] == []
    assert found["trace"][0] == 200
    assert found["icon"][0] == 200


def test_the_gateway_is_off(found):
    assert len(found["gateway"]) > 80
    assert set(found["gateway"].values()) == {501}


def test_the_assistant_is_refused_though_the_client_is_on_this_machine(found):
    assert len(found["assistant"]) > 10
    assert {status for status, _ in found["assistant"].values()} == {403}


def test_a_webhook_is_refused_with_its_reason(found):
    status, text = found["webhook"]
    assert status == 400
    assert "webhooks are turned off in this stack and it has no setting that turns them on" in text


def test_jobs_and_other_hosts_are_refused(found):
    assert all(status >= 400 for status in found["jobs"].values())
    assert found["elsewhere"][0] == 400


def test_mlflow_finds_the_app_that_refuses(tmp_path):
    for name, content in app.entry_point().items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    [offered] = metadata.distributions(path=[str(tmp_path)])
    [found] = offered.entry_points
    assert (found.group, found.name) == ("mlflow.app", app.NAME)
    assert found.load() is app.create_app
