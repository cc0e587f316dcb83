"""A door that lets somebody in who may not pass is found, on whatever route and in whatever spelling."""

import functools
import re

import pytest

from pulumi_mlflow.contracts import AuthMode
from pulumi_mlflow.ops import refusal
from pulumi_mlflow.ops.conformance import access, behaviour
from pulumi_mlflow.ops.conformance.server import Server
from pulumi_mlflow.ops.refusal import Route
from pulumi_mlflow.ops.stack import FrontDoor

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def door(door):
    """A door that answers whom it lets in by itself: a server takes 15 ms and more for each of hundreds of routes."""
    return functools.partial(door, NOWHERE, answers=lambda method, path: (200, b""))


def test_an_open_server_that_should_want_a_login_fails_and_is_not_written_to(door):
    written = []

    def leaks(method, path):
        if method != "GET":
            written.append(path)
        return True

    with door(leaks) as opened:
        routes = refusal.mlflow_routes()
        leaked = refusal.refused_everywhere(opened.front, routes)
    assert {leak.route.path for leak in leaked} == {r.path for r in routes}
    assert not written


def test_a_server_without_login_is_not_asked_to_refuse(tmp_path):
    open_server = Server(FrontDoor(tracking_uri=NOWHERE), tmp_path)
    for run in (
        access.refuses_anonymous,
        access.refuses_wrong_login,
        access.refuses_variants,
        access.refuses_wrong_login_everywhere,
    ):
        with pytest.raises(behaviour.NotApplicableError):
            run(open_server)


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
def test_one_hole_is_found_and_named(door, hole, example, tmp_path):
    with (
        door(hole) as holed,
        pytest.raises(behaviour.CheckError, match="1 not refused, such as " + re.escape(example)),
    ):
        access.refuses_anonymous(Server(holed.front, tmp_path))


@pytest.mark.parametrize(
    ("hole", "example"),
    [
        (lambda method, path: method == "OPTIONS" and path == "/graphql", "OPTIONS /graphql"),
        (lambda method, path: method == "HEAD" and path == "/version", "HEAD /version"),
        (lambda method, path: path == "//version", "GET //version"),
        (lambda method, path: path == "/%2e/version", "GET /%2e/version"),
        (lambda method, path: path == "/version/", "GET /version/"),
        (lambda method, path: path == "/%76ersion", "GET /%76ersion"),
    ],
)
def test_one_hole_in_one_spelling_is_found_and_named(door, hole, example, tmp_path, monkeypatch):
    routes = [Route(path) for path in refusal.SAMPLE_PATHS]
    monkeypatch.setattr(refusal, "mlflow_routes", lambda mode: routes)
    with (
        door(hole) as holed,
        pytest.raises(behaviour.CheckError, match="1 not refused, such as " + re.escape(example)),
    ):
        access.refuses_variants(Server(holed.front, tmp_path))


def test_a_door_that_takes_any_password_is_found(door, tmp_path):
    with door(any_password=True) as gullible:
        asked = Server(gullible.front, tmp_path)
        assert access.refuses_anonymous(asked)
        with pytest.raises(behaviour.CheckError, match="8 not refused, such as GET / → 200"):
            access.refuses_wrong_login(asked)
        with pytest.raises(behaviour.CheckError, match="not refused, such as GET / → 200"):
            access.refuses_wrong_login_everywhere(asked)


@pytest.mark.parametrize(
    ("location", "refused"),
    [("/oauth2/start?rd=/", True), ("http://issuer.example/authorize", True), ("/other", False)],
)
def test_a_redirect_is_a_refusal_only_where_it_leads_to_a_login(door, location, refused):
    with door() as guarded:
        front = guarded.front.model_copy(update={"auth_mode": AuthMode.OIDC})
        answer = refusal.Answer(302, location, b"")
        assert refusal._turns_away(front, answer) is refused
        assert not refusal._turns_away(guarded.front, answer)


def test_a_login_in_netrc_does_not_make_anonymous_requests_pass_for_refused(
    door, tmp_path, monkeypatch
):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with door(any_password=True) as gullible:
        assert refusal.refused_everywhere(gullible.front, [Route("/")]) == []
        anonymous = FrontDoor(tracking_uri=gullible.url)
        assert anonymous.get("/version").status_code == 401


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


def test_routes_of_mlflows_own_users_are_asked_where_they_are():
    added = set(refusal.mlflow_routes(AuthMode.MLFLOW)) - set(refusal.mlflow_routes(AuthMode.BASIC))
    assert {
        Route("/api/2.0/mlflow/users/create", "POST"),
        Route("/ajax-api/2.0/mlflow/users/list"),
        Route("/signup"),
    } <= added


def test_each_route_is_spelled_in_every_way():
    found = refusal.variants([Route("/a/b", "POST")])
    assert {str(refusal.Leak(route, "")).removesuffix(" → ") for route in found} == {
        "HEAD /a/b",
        "OPTIONS /a/b",
        "POST //a/b",
        "POST //a//b",
        "POST /%2e/a/b",
        "POST /x/%2e%2e/a/b",
        "POST /a/b/",
        "POST /%61/b",
    }
