"""Whether a front door refuses those who may not pass, on every route that MLflow has.

The routes are MLflow's own tables rather than a list of ours, so that a new version's routes are asked too.
"""

import re
import warnings
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import requests

from .stack import basic_auth

REFUSED = requests.codes.unauthorized
"""The only answer that counts: a 404 or 403 of MLflow itself means that the request got through to it."""

OPEN_PATHS = frozenset({"/health"})
"""What load balancers ask without a login; it tells nothing."""

SAMPLE_PATHS = (
    "/",
    "/static-files/index.html",
    "/version",
    "/graphql",
    "/api/2.0/mlflow/experiments/search",
    "/ajax-api/2.0/mlflow/experiments/search",
    "/api/2.0/mlflow-artifacts/artifacts",
    "/get-artifact",
)
"""One path of each kind, for the wrong password: a server may spend 50 ms and more on checking each."""

_PLACEHOLDER = "pulumi-mlflow-verify"
_TIMEOUT = 10  # seconds: a refusal needs no work
_THREADS = 8


@dataclass(frozen=True, order=True)
class Route:
    """A path that an MLflow server knows, and a method to ask for it."""

    path: str
    method: str = "GET"


@dataclass(frozen=True)
class Leak:
    """A route that was not refused."""

    route: Route
    answer: str
    """Status code, or the name of the connection's error."""

    def __str__(self) -> str:
        return f"{self.route.method} {self.route.path} → {self.answer}"


def mlflow_routes() -> list[Route]:
    """Every path and method of the MLflow server that is installed here, without `OPEN_PATHS`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow.server import app as flask_app  # noqa: PLC0415, takes seconds
        from mlflow.server.fastapi_app import app as native_app  # noqa: PLC0415

        native = native_app.openapi()["paths"]
    found = {
        Route(_fill(rule.rule), m)
        for rule in flask_app.url_map.iter_rules()
        for m in rule.methods or ()
    }
    found |= {Route(_fill(path), m.upper()) for path, methods in native.items() for m in methods}
    return sorted(
        r for r in found if r.path not in OPEN_PATHS and r.method not in {"HEAD", "OPTIONS"}
    )


def refused_everywhere(base: str, routes: Iterable[Route]) -> list[Leak]:
    """Ask every route without a login.

    Writing requests are sent only if every reading one was refused, so that an open server is not written to.

    Args:
        base: the server's URL.
        routes: what to ask.

    Returns:
        The routes that were not refused.
    """
    asked = list(routes)
    leaks = _ask(base, sorted({Route(r.path) for r in asked}), None)
    return leaks or _ask(base, [r for r in asked if r.method != "GET"], None)


def refuses_password(base: str, login: tuple[str, str]) -> list[Leak]:
    """Ask `SAMPLE_PATHS` with a login that must not pass; returns those that were not refused."""
    return _ask(base, [Route(path) for path in SAMPLE_PATHS], login)


def _fill(path: str) -> str:
    """A path with a value in place of each `<variable>` or `{variable}`."""
    return re.sub(r"<[^>]*>|\{[^}]*\}", _PLACEHOLDER, path)


def _ask(base: str, routes: Iterable[Route], login: tuple[str, str] | None) -> list[Leak]:
    with requests.Session() as session, ThreadPoolExecutor(_THREADS) as pool:
        # A function of our own as `auth` keeps requests from adding a login of ~/.netrc.
        session.auth = basic_auth(*login) if login else (lambda request: request)
        answers = pool.map(lambda route: _answer(session, base, route), routes)
        return [leak for leak in answers if leak]


def _answer(session: requests.Session, base: str, route: Route) -> Leak | None:
    body: dict[str, str] | None = None if route.method == "GET" else {}
    try:
        answer = session.request(
            route.method,
            base + route.path,
            json=body,
            timeout=_TIMEOUT,
            allow_redirects=False,
            stream=True,
        )
    except requests.RequestException as error:
        return Leak(route, type(error).__name__)
    with answer:
        return None if answer.status_code == REFUSED else Leak(route, str(answer.status_code))
