"""Who is let in, and who is not."""

import base64
import json

import requests

from pulumi_mlflow.ops import refusal
from pulumi_mlflow.ops.stack import FrontDoor, basic

from .behaviour import CheckError, NotApplicableError
from .server import Server

_WEBHOOK_URLS = (
    "http://127.0.0.1:9/",
    "https://127.0.0.1:9/",
    "https://169.254.169.254/latest/meta-data/",
    "https://10.0.0.1/",
    "https://[::1]:9/",
    "http://192.0.2.1/",
    "https://1.1.1.1/pulumi-mlflow-verify",
)
"""By address, so that no name has to be looked up. The last is what MLflow takes by itself: a public one, by TLS."""

_YEAR_2100 = 4_102_444_800


def answers(server: Server) -> str:
    """The health check and the version, with the login."""
    health = server.door.get("/health")
    if not health.ok:
        raise CheckError(f"/health answered {health.status_code}")
    return f"MLflow {server.door.version()}"


def refuses_anonymous(server: Server) -> str:
    """No route of MLflow's but /health answers without a login."""
    _require_login(server.door)
    routes = refusal.mlflow_routes(server.door.auth_mode)
    _no_leak(refusal.refused_everywhere(server.door, routes))
    return f"{len(routes)} routes: API, UI, artifacts"


def refuses_wrong_login(server: Server) -> str:
    """Neither another password nor a foreign token, nor an empty one, opens any kind of route."""
    for wrong in _wrong_logins(server.door):
        _no_leak(refusal.refuses_login(server.door, wrong))
    return "API, UI, artifacts"


def refuses_variants(server: Server) -> str:
    """Spelled another way, or asked by another method, no route answers without a login."""
    _require_login(server.door)
    routes = refusal.variants(refusal.mlflow_routes(server.door.auth_mode))
    _no_leak(refusal.refused_everywhere(server.door, routes))
    return f"{len(routes)} variants: // %2e / HEAD OPTIONS"


def refuses_wrong_login_everywhere(server: Server) -> str:
    """A wrong login opens no route at all."""
    wrong, *_ = _wrong_logins(server.door)
    routes = refusal.mlflow_routes(server.door.auth_mode)
    _no_leak(refusal.refused_everywhere(server.door, routes, wrong))
    return f"{len(routes)} routes"


def lets_in_everywhere(server: Server) -> str:
    """Every route and variant gets through to MLflow with the login."""
    routes = refusal.mlflow_routes(server.door.auth_mode)
    try:
        spelled = [route for route in routes if route.path not in refusal.OPTIONS_ONLY]
        asked = [*routes, *refusal.variants(spelled)]
        leaks = refusal.passes_everywhere(server.door, asked)
    finally:
        # The route that uploads has uploaded.
        for prefix in ("api", "ajax-api"):
            path = f"/{prefix}/2.0/mlflow-artifacts/artifacts/{refusal.PLACEHOLDER}"
            server.door.session().delete(server.door.tracking_uri + path, timeout=60)
    if leaks:
        raise CheckError(f"{len(leaks)} do not get through, such as {leaks[0]}")
    return f"{len(asked)} routes and variants"


def sends_no_webhooks(server: Server) -> str:
    """Nobody can make the server call a URL: not inside the network, and in our stacks not outside of it either."""
    for url in _WEBHOOK_URLS:
        answer = server.door.session().post(
            f"{server.door.tracking_uri}/api/2.0/mlflow/webhooks",
            json={
                "name": f"pulumi-mlflow-verify-{server.mark}",
                "url": url,
                "events": [{"entity": "REGISTERED_MODEL", "action": "CREATED"}],
            },
            timeout=60,
        )
        if answer.ok:
            made = answer.json()["webhook"]["webhook_id"]
            server.request("DELETE", f"/api/2.0/mlflow/webhooks/{made}")
            if url == _WEBHOOK_URLS[-1] and server.door.auth_mode is None:
                raise NotApplicableError("this server has webhooks, to public addresses by TLS")
            raise CheckError(f"the server would have called {url}")
        if answer.status_code >= requests.codes.server_error:
            raise CheckError(f"a webhook to {url} answered {answer.status_code}")
    return f"{len(_WEBHOOK_URLS)} URLs refused, public and private"


def _require_login(door: FrontDoor) -> None:
    if door.authorization is None:
        raise NotApplicableError("the server asks for no login")


def _wrong_logins(door: FrontDoor) -> list[str]:
    """Headers `Authorization` that must not pass, such as a forger would try first."""
    _require_login(door)
    if door.login:
        username, password = door.login
        return [
            basic(username, f"{password}x"),
            basic(username, ""),
            basic(f"{username}x", password),
            f"Bearer {_foreign_token()}",
        ]
    token = (door.authorization or "").removeprefix("Bearer ")
    # The last character of a signature has bits that do not count.
    other = "A" if token[-10] != "A" else "B"
    return [
        f"Bearer {token[:-10]}{other}{token[-9:]}",
        "Bearer ",
        f"Bearer {_foreign_token()}",
        basic("mlflow", "mlflow"),
    ]


def _foreign_token() -> str:
    """A token of another issuer, right in its form but for the signature."""
    claims = {"iss": "https://evil.example", "sub": "mlflow", "aud": "mlflow", "exp": _YEAR_2100}
    parts = (json.dumps({"alg": "RS256", "typ": "JWT"}), json.dumps(claims), "no signature")
    return ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)


def _no_leak(leaks: list[refusal.Leak]) -> None:
    if leaks:
        raise CheckError(f"{len(leaks)} not refused, such as {leaks[0]}")
