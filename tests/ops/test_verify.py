"""Each behaviour is proved on a real server, and fails where the server, or what is before it, fails.

Who is let in is in test_refusal.py.
"""

import json
import os
import posixpath
from urllib.parse import unquote

import mlflow
import pytest
from pydantic import SecretStr

from pulumi_mlflow.ops import refusal, verify
from pulumi_mlflow.ops.conformance import BEHAVIOURS, artifacts, behaviour, names, runs
from pulumi_mlflow.ops.conformance.server import Server, client_environment, quiet
from pulumi_mlflow.ops.refusal import Route
from pulumi_mlflow.ops.stack import FrontDoor, basic
from pulumi_mlflow.ops.verify import Level, Result

BY_TITLE = {b.title: b for b in BEHAVIOURS}
BY_PROOF = {b.prove: b for b in BEHAVIOURS}


def results(front):
    return {o.title: o for o in verify.verify(front, lambda title: None)}


def prove(front, title, folder):
    """One behaviour, after all that it needs."""
    wanted = []

    def add(found):
        for need in found.needs:
            add(BY_PROOF[need])
        if found not in wanted:
            wanted.append(found)

    add(BY_TITLE[title])
    with client_environment(front, folder), quiet():
        outcomes = behaviour.run(wanted, Server(front, folder), lambda title: None)
    before = [o for o in outcomes[:-1] if o.result is not Result.PASSED]
    assert not before, before
    return outcomes[-1]


@pytest.fixture
def brief(monkeypatch):
    """Less of what is only repeated, at 15 ms a request; tests/engine/test_clone.py runs `make verify` as it is."""
    monkeypatch.setattr(artifacts, "ARTIFACT_BYTES", 300_000)
    monkeypatch.setattr(names, "HOSTILE", names.HOSTILE[5:7])
    monkeypatch.setattr(runs, "WRITES", 10)


@pytest.mark.usefixtures("brief")
def test_a_guarded_server_passes_all_twice(door, server, monkeypatch):
    monkeypatch.setenv("MLFLOW_RUN_ID", "of-somebody-else")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "of-another-server")
    monkeypatch.setattr(artifacts, "ARTIFACT_BYTES", 3_000_000)
    before = dict(os.environ)
    client = mlflow.MlflowClient(server, server)
    experiments, models = in_sight(client)
    with door(server) as guarded:
        for _ in range(2):
            outcomes = results(guarded.front)
            assert {o.result for o in outcomes.values()} == {Result.PASSED}, outcomes
            assert verify.succeeded(outcomes.values())
    assert dict(os.environ) == before
    versions = client.search_model_versions(f"name = '{verify.MODEL}'")
    champion = client.get_model_version_by_alias(verify.MODEL, verify.ALIAS)
    assert int(champion.version) == len(versions) == 2
    run = client.get_run(champion.run_id)
    assert run.info.status == "FINISHED"
    assert [f.file_size for f in client.list_artifacts(champion.run_id, "large")] == [3_000_000]
    # Nothing else stays in sight.
    assert in_sight(client) == (experiments | {verify.EXPERIMENT}, models | {verify.MODEL})


def in_sight(client):
    """Names of experiments and of models: other tests have some on this server."""
    experiments = {e.name for e in client.search_experiments()}
    return experiments, {m.name for m in client.search_registered_models()}


@pytest.mark.parametrize("status", [401, 502])
def test_a_route_that_is_closed_to_all_is_found(door, server, status, tmp_path):
    def answers(method, path):
        return (status, b"") if (method, path) == ("GET", "/version") else None

    routes = [Route("/version"), Route("/graphql", "OPTIONS")]
    with door(server, answers=answers) as shut:
        leaks = refusal.passes_everywhere(shut.front, routes)
    assert [str(leak) for leak in leaks] == [f"GET /version → {status}"]


def swapped(where, old, new):
    """A door that changes the answers of some paths."""
    return {"tamper": lambda path, body: body.replace(old, new) if where in path else body}


def played(status, content, method, start):
    """A door that answers some requests itself."""
    body = json.dumps(content).encode()
    return {
        "answers": lambda m, path: (status, body) if m == method and start in path else None,
    }


def walks_up(path):
    """What a proxy does that tidies paths before it passes them on."""
    path, _, query = path.partition("?")
    if "escape.txt" not in path:
        return f"{path}?{query}" if query else path
    return posixpath.normpath(unquote(path)).replace("\0", "")


FAULTS = {
    "server answers": played(503, {}, "GET", "/health"),
    "run reads back": swapped("/runs/get", b'"log_loss"', b'"log_lass"'),
    "run deleted, restored": swapped("/runs/search", b'"run_id"', b'"run"'),
    "tags": swapped("/runs/get", b'"tags": [', b'"tags": [{"key": "gone", "value": "1"}, '),
    "nested runs": swapped("/runs/search", b"child 1", b"child 2")
    | played(200, {}, "POST", "/runs/search"),
    "dataset": swapped("/runs/get", b'"digest": "', b'"digest": "0'),
    "10 000 metrics by log_batch": swapped("/get-history", b'"step": 5000', b'"step": 4'),
    "concurrent clients": swapped("/get-history", b'"value": 77.0', b'"value": 76.0'),
    "trace": swapped("/traces", b"2 ", b"3 "),
    "trace by OTLP": swapped("/traces", b"greeting", b"farewell"),
    "plot": swapped("accuracy.png", b"PNG", b"GIF"),
    "model with signature": swapped("MLmodel", b"pixel_0_0", b"pixel_9_9"),
    "registry alias 'champion'": swapped(
        "/registered-models/alias", b'"version": "', b'"version": "1'
    ),
    "'champion' predicts the same": played(404, {}, "GET", "/model-versions/get-download-uri"),
    "100 MB artifact down": swapped("payload.bin", b"\x00", b"\x01"),
    "hostile names": swapped("/runs/get", b"DROP TABLE", b"KEEP TABLE"),
    "no path out of the artifacts": {"reroute": walks_up},
    "no webhooks": played(200, {"webhook": {"webhook_id": "1"}}, "POST", "/webhooks"),
    "search finds the run": played(200, {}, "POST", "/runs/search"),
}
"""Title → what is wrong with the door."""


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize("title", FAULTS)
def test_a_fault_is_found(door, server, title, tmp_path):
    with door(server, **FAULTS[title]) as faulty:
        outcome = prove(faulty.front, title, tmp_path)
    assert outcome.result is Result.FAILED, outcome
    assert outcome.detail


def test_every_quick_behaviour_has_a_fault():
    """But for those that only prepare others, and those that have tests of their own above."""
    elsewhere = {"anonymous is refused", "wrong login is refused"}
    prepare = {"run: parameters, metrics", "100 MB artifact up"}
    quick = {b.title for b in BEHAVIOURS if b.level is Level.QUICK}
    assert quick - set(FAULTS) == elsewhere | prepare


def test_nothing_there_ends_soon_and_says_so():
    outcomes = list(results(FrontDoor(tracking_uri="http://127.0.0.1:9")).values())
    assert outcomes[0].result is Result.FAILED
    assert "ConnectionError" in outcomes[0].detail
    assert {o.result for o in outcomes[1:]} == {Result.NOT_RUN}
    assert sum(o.seconds for o in outcomes) < 30


def test_details_never_hold_a_secret(tmp_path):
    front = FrontDoor(
        tracking_uri="http://127.0.0.1:9", username="ann", password=SecretStr("S3ntinel")
    )

    def fail(server):
        raise RuntimeError(f"login {front.login[1]}")

    (outcome,) = behaviour.run(
        [behaviour.Behaviour("leaks", fail)], Server(front, tmp_path), lambda title: None
    )
    assert outcome.result is Result.FAILED
    assert outcome.detail == "RuntimeError: login …"


def test_the_client_logs_in_as_the_door_says(tmp_path):
    by_password = FrontDoor(tracking_uri="http://x", username="ann", password=SecretStr("p:ä"))
    by_token = FrontDoor(tracking_uri="http://x", token=SecretStr("t"), ca="PEM")
    assert by_password.authorization == basic("ann", "p:ä") == "Basic YW5uOnA6w6Q="
    assert by_token.authorization == "Bearer t"
    assert by_token.login is None
    with client_environment(by_token, tmp_path):
        found = {k: v for k, v in os.environ.items() if k.startswith("MLFLOW_TRACKING_")}
    assert found == {
        "MLFLOW_TRACKING_URI": "http://x",
        "MLFLOW_TRACKING_TOKEN": "t",
        "MLFLOW_TRACKING_SERVER_CERT_PATH": str(tmp_path / "ca.pem"),
    }
    assert (tmp_path / "ca.pem").read_text() == "PEM"


def test_the_report_is_for_programs():
    outcome = verify.Outcome("tags", Result.PASSED, 1.234, "set")
    found = json.loads(verify.report([outcome]))
    assert found["outcomes"] == [
        {"title": "tags", "result": "passed", "seconds": 1.23, "detail": "set"}
    ]
    assert found["at"].endswith("+00:00")
