"""Each check of `verify` passes on a real server, and fails where the server fails."""

import os
import re

import mlflow
import pytest

from pulumi_mlflow.ops import refusal, verify
from pulumi_mlflow.ops.refusal import Route
from pulumi_mlflow.ops.stack import FrontDoor
from pulumi_mlflow.ops.verify import Result

REFUSALS = ["anonymous is refused", "wrong password is refused"]


def results(front):
    return {o.title: o for o in verify.verify(front, lambda title: None)}


def results_of(outcomes, *titles):
    return [outcomes[t].result for t in titles]


def test_a_guarded_server_passes_all_twice(door, server, monkeypatch):
    monkeypatch.setenv("MLFLOW_RUN_ID", "of-somebody-else")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "of-another-server")
    before = dict(os.environ)
    with door(server) as guarded:
        for _ in range(2):
            outcomes = results(guarded.front)
            assert {o.result for o in outcomes.values()} == {Result.PASSED}, outcomes
            assert verify.succeeded(list(outcomes.values()))
    assert dict(os.environ) == before
    client = mlflow.MlflowClient(server, server)
    versions = client.search_model_versions(f"name = '{verify.MODEL}'")
    champion = client.get_model_version_by_alias(verify.MODEL, verify.ALIAS)
    assert int(champion.version) == len(versions) == 2
    run = client.get_run(champion.run_id)
    assert run.info.status == "FINISHED"
    assert [f.file_size for f in client.list_artifacts(champion.run_id, "large")] == [100_000_000]


def test_an_open_server_that_should_want_a_login_fails_and_is_not_written_to(door, server):
    written = []

    def leaks(method, path):
        if method != "GET":
            written.append(path)
        return True

    with door(server, leaks) as opened:
        routes = refusal.mlflow_routes()
        leaked = refusal.refused_everywhere(opened.url, routes)
    assert {leak.route.path for leak in leaked} == {r.path for r in routes}
    assert not written


def test_a_server_without_login_is_not_asked_to_refuse(server):
    checks = verify._Verification(FrontDoor(tracking_uri=server), None)
    for run in (checks.refuses_anonymous, checks.refuses_wrong_password):
        with pytest.raises(verify.NotApplicableError):
            run()


@pytest.mark.parametrize(
    ("hole", "example"),
    [
        (lambda method, path: path == "/", "GET /"),
        (lambda method, path: path.startswith("/get-artifact"), "GET /get-artifact"),
        (
            lambda method, path: method == "PUT" and path.startswith("/api/2.0/mlflow-artifacts/"),
            "PUT /api/2.0/mlflow-artifacts/artifacts/pulumi-mlflow-verify",
        ),
        (
            lambda method, path: method == "POST" and path == "/api/2.0/mlflow/runs/create",
            "POST /api/2.0/mlflow/runs/create",
        ),
        (lambda method, path: path == "/v1/traces", "GET /v1/traces"),
    ],
)
def test_one_hole_is_found_and_named(door, server, hole, example):
    with door(server, hole) as holed:
        checks = verify._Verification(holed.front, None)
        with pytest.raises(verify.CheckError, match="1 not refused, such as " + re.escape(example)):
            checks.refuses_anonymous()


def test_a_door_that_takes_any_password_is_found(door, server):
    with door(server, any_password=True) as gullible:
        checks = verify._Verification(gullible.front, None)
        assert checks.refuses_anonymous()
        with pytest.raises(verify.CheckError, match="8 not refused, such as GET / → 200"):
            checks.refuses_wrong_password()


def test_a_login_in_netrc_does_not_make_anonymous_requests_pass_for_refused(
    door, server, tmp_path, monkeypatch
):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with door(server, any_password=True) as gullible:
        assert refusal.refused_everywhere(gullible.url, [Route("/")]) == []


def test_routes_cover_api_ui_artifacts_and_the_native_ones():
    routes = refusal.mlflow_routes()
    assert len(routes) > 400
    assert {
        Route("/"),
        Route("/get-artifact"),
        Route("/api/2.0/mlflow/experiments/search", "POST"),
        Route("/ajax-api/2.0/mlflow/experiments/search", "POST"),
        Route("/api/2.0/mlflow-artifacts/artifacts/pulumi-mlflow-verify", "PUT"),
        Route("/v1/traces", "POST"),
        Route("/api/3.0/mlflow/server-info"),
    } <= set(routes)
    assert Route("/health") not in routes
    assert not [r for r in routes if set("<>{}") & set(r.path)]


def test_changed_bytes_fail_their_check_and_no_other(door, server):
    def tamper(path, content):
        large = path.startswith("/api/2.0/mlflow-artifacts") and len(content) == 100_000_000
        return content[:-1] + bytes([content[-1] ^ 1]) if large else content

    with door(server, tamper=tamper) as corrupting:
        outcomes = results(corrupting.front)
    failed = [o for o in outcomes.values() if o.result is not Result.PASSED]
    assert [(o.title, o.result) for o in failed] == [("100 MB artifact down", Result.FAILED)]
    assert "sha256" in failed[0].detail
    assert not verify.succeeded(list(outcomes.values()))


def test_nothing_there_ends_soon_and_says_so():
    outcomes = list(results(FrontDoor(tracking_uri="http://127.0.0.1:9")).values())
    assert outcomes[0].result is Result.FAILED
    assert "ConnectionError" in outcomes[0].detail
    assert {o.result for o in outcomes[1:]} == {Result.NOT_RUN}
    assert sum(o.seconds for o in outcomes) < 30


def test_details_never_hold_the_password(door, server):
    def fail():
        raise RuntimeError(f"Basic {guarded.front.login[1]}")

    with door(server) as guarded:
        outcome = verify._run(verify.Check("leaks", fail), [], guarded.front)
    assert outcome.result is Result.FAILED
    assert outcome.detail == "RuntimeError: Basic …"
