"""Whether a front door refuses those who may not pass, and nobody else, on every route that MLflow has.

The routes are MLflow's own tables rather than a list of ours, so that a new version's routes are asked too. Requests
are written byte for byte as given: client libraries tidy paths up before they send them.
"""

import http
import http.client
import re
import threading
import time
import warnings
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import NamedTuple
from urllib.parse import urlsplit

from pulumi_mlflow.contracts import AuthMode

from .stack import FrontDoor

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
"""One path of each kind, for the wrong login: a server may spend 50 ms and more on checking each."""

PLACEHOLDER = "pulumi-mlflow-verify"
"""Takes the place of every variable in a path. Nothing on the server has this name or id."""

OPTIONS_ONLY = frozenset(
    {
        "/ajax-api/3.0/mlflow/demo/generate",
        "/ajax-api/3.0/mlflow/demo/delete",
        "/ajax-api/3.0/mlflow/gateway/supported-models",
    }
)
"""Routes that do something whatever they are sent: make or delete runs, or ask the Internet. Who is logged in asks
them for their options only."""

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_LOGIN_PAGES = ("/oauth2/",)
_TIMEOUT = (
    20  # seconds: a refusal needs no work, and other routes are asked for nothing that exists
)
_THREADS = 8
_UNAUTHORIZED = 401
_PATIENCE = 60  # times that a request is sent again if there were too many
_START = 1 << 16  # bytes of an answer that are read


@dataclass(frozen=True, order=True)
class Route:
    """A path that an MLflow server knows, and a method to ask for it."""

    path: str
    method: str = "GET"


@dataclass(frozen=True)
class Leak:
    """A route that was not answered as it must be."""

    route: Route
    answer: str
    """Status code, or the name of the connection's error."""

    def __str__(self) -> str:
        return f"{self.route.method} {self.route.path} → {self.answer}"


def mlflow_routes(mode: AuthMode | None = None) -> list[Route]:
    """Every path and method of the MLflow server that is installed here, without `OPEN_PATHS`.

    Args:
        mode: with MLflow's own users, their routes are there too.
    """
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
    if mode in {AuthMode.MLFLOW, AuthMode.OIDC_MLFLOW}:
        found |= _user_routes()
    return sorted(
        r for r in found if r.path not in OPEN_PATHS and r.method not in {"HEAD", "OPTIONS"}
    )


def _user_routes() -> set[Route]:
    """Routes of MLflow's auth app, which could only be made with its database; so both methods of each path."""
    from mlflow.server.auth import _RBAC_ROUTES, routes  # noqa: PLC0415

    found = {Route(path, method) for _, method, *paths in _RBAC_ROUTES for path in paths}
    known = {route.path for route in found}
    names = [value for key, value in vars(routes).items() if key.isupper() and key != "HOME"]
    paths = {path for path in names if isinstance(path, str) and path not in known}
    return found | {Route(_fill(path), method) for path in paths for method in ("GET", "POST")}


def variants(routes: Iterable[Route]) -> list[Route]:
    """The same routes as somebody writes them who wants to slip by: other paths for one place, other methods."""
    asked = list(routes)
    found = set()
    for path in {route.path for route in asked}:
        found |= {Route(path, "HEAD"), Route(path, "OPTIONS")}
    for route in asked:
        path = route.path
        spelled = {
            f"/{path}",
            f"/%2e{path}",
            f"{path}/",
            path.replace("/", "//"),
            f"/x/%2e%2e{path}",
        }
        spelled |= {f"/%{ord(path[1]):02x}{path[2:]}"} if len(path) > 1 else set()
        found |= {replace(route, path=other) for other in spelled if other != path}
    known = set(asked)
    return sorted(found - known)


def refused_everywhere(
    door: FrontDoor, routes: Iterable[Route], authorization: str | None = None
) -> list[Leak]:
    """Ask every route without a login, or with a wrong one.

    Writing requests are sent only if every reading one was refused, so that an open server is not written to.

    Args:
        door: the server; its login is not used.
        routes: what to ask.
        authorization: the header `Authorization` of somebody who may not pass.

    Returns:
        The routes that were not refused.
    """
    asked = sorted(set(routes))
    reading = {route if route.method in _READING else Route(route.path) for route in asked}
    leaks = _leaks(door, sorted(reading), authorization, refused=True)
    writing = [route for route in asked if route.method not in _READING]
    return leaks or _leaks(door, writing, authorization, refused=True)


def refuses_login(door: FrontDoor, authorization: str) -> list[Leak]:
    """Ask `SAMPLE_PATHS` with a login that must not pass; returns those that were not refused."""
    return refused_everywhere(door, [Route(path) for path in SAMPLE_PATHS], authorization)


def passes_everywhere(door: FrontDoor, routes: Iterable[Route]) -> list[Leak]:
    """Ask every route with the login; returns those that were refused, or did not get through to MLflow.

    The requests change nothing: bodies are no JSON, and what paths name is not there.
    """
    asked = {
        replace(route, method="OPTIONS") if route.path in OPTIONS_ONLY else route
        for route in routes
    }
    return _leaks(door, sorted(asked), door.authorization, refused=False)


def _fill(path: str) -> str:
    """A path with a value in place of each `<variable>` or `{variable}`."""
    return re.sub(r"<[^>]*>|\{[^}]*\}", PLACEHOLDER, path)


def _leaks(
    door: FrontDoor, routes: Iterable[Route], authorization: str | None, *, refused: bool
) -> list[Leak]:
    """The routes whose answer is a refusal, or is none, where it must not be."""
    asker = Asker(door, authorization)

    def ask(route: Route) -> Leak | None:
        try:
            answer = asker.ask(route)
        except (OSError, http.client.HTTPException) as error:
            return Leak(route, type(error).__name__)
        turned_away = _turns_away(door, answer)
        wrong = not turned_away if refused else turned_away or answer.by_a_lonely_proxy
        return Leak(route, str(answer.status)) if wrong else None

    with ThreadPoolExecutor(_THREADS) as pool:
        return [leak for leak in pool.map(ask, routes) if leak]


def _turns_away(door: FrontDoor, answer: "Answer") -> bool:
    """Whether somebody is told to log in.

    A 403 or 404 is not that: it is of MLflow itself, so the request got through to it. A browser may be sent to the
    proxy's own page for it, or to the identity provider.
    """
    if answer.status == _UNAUTHORIZED:
        return True
    if not answer.location or not door.wants_token:
        return False
    there = urlsplit(answer.location)
    elsewhere = there.netloc not in {"", urlsplit(door.tracking_uri).netloc}
    return elsewhere or there.path.startswith(_LOGIN_PAGES)


class Answer(NamedTuple):
    """What there is to know of an answer."""

    status: int
    location: str
    """Where a redirect leads; empty for any other answer."""
    start: bytes
    """Of the body."""

    @property
    def by_a_lonely_proxy(self) -> bool:
        """Whether it is a proxy's own, which reached no server. MLflow's 503 is for features that are off."""
        return self.status in {502, 504} or b"TEMPORARILY_UNAVAILABLE" in self.start


class Asker:
    """Sends requests as they are written, over a connection that each thread keeps.

    Args:
        door: the server.
        authorization: the header `Authorization`; None for no such header.
    """

    def __init__(self, door: FrontDoor, authorization: str | None) -> None:
        self._url = urlsplit(door.tracking_uri)
        self._headers = {"Authorization": authorization} if authorization else {}
        self._tls = door.trust() if self._url.scheme == "https" else None
        self._local = threading.local()

    def ask(self, route: Route, body: bytes = b"{") -> Answer:
        """Send one request.

        Args:
            route: path, encoded, and method.
            body: what a writing method sends; unless told, something that is no JSON.

        Raises:
            OSError: the server does not answer.
            HTTPException: it does not answer in HTTP.
        """
        for _ in range(_PATIENCE):
            answer = self._ask_again(route, body)
            if answer.status != http.HTTPStatus.TOO_MANY_REQUESTS:
                break
            time.sleep(1)  # what the proxy asks for, which limits the rate of each client
        return answer

    def _ask_again(self, route: Route, body: bytes) -> Answer:
        try:
            return self._ask(route, body, self._connection())
        except (ConnectionError, http.client.HTTPException):
            # A kept connection may be closed at any time between two requests; a new one may not.
            self._local.connection = None
            return self._ask(route, body, self._connection())

    def _connection(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            host, port = self._url.hostname or "", self._url.port
            connection = (
                http.client.HTTPSConnection(host, port, timeout=_TIMEOUT, context=self._tls)
                if self._tls
                else http.client.HTTPConnection(host, port, timeout=_TIMEOUT)
            )
            self._local.connection = connection
        return connection

    def _ask(self, route: Route, body: bytes, connection: http.client.HTTPConnection) -> Answer:
        headers, content = self._headers, None
        if route.method not in _READING:
            headers, content = {**headers, "Content-Type": "application/json"}, body
        try:
            connection.request(route.method, self._url.path + route.path, content, headers)
            answer = connection.getresponse()
            found = Answer(answer.status, answer.headers.get("Location", ""), answer.read(_START))
            if not answer.isclosed():
                connection.close()  # the rest is not waited for
        except BaseException:
            connection.close()
            raise
        return found
