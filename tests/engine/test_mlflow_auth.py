"""MLflow's own users, on real servers with SQLite: started as the image starts them, asked over HTTP."""

import base64
import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.support import FULL, ROOT, free_port, until

from pulumi_mlflow.core import auth, server

pytestmark = pytest.mark.engine

IMAGE = ROOT / "images" / "mlflow"
PASSWORD = "100% adm1n:p@ssw/ord"
PROXY_SECRET = "the-proxy's-secret"
SEARCH = "/api/2.0/mlflow/experiments/search?max_results=1"
ARTIFACT = "/api/2.0/mlflow-artifacts/artifacts/{}/run/artifacts/file"

PUBLIC = {
    "/health",
    "/static-files/<path:path>",
    "/api/3.0/mlflow/server-info",
    "/ajax-api/3.0/mlflow/server-info",
}
"""What MLflow answers without a login: that it lives, its page's scripts, which features it has. The proxy closes the
last one."""

SERVE = """
import json, os, socket, sys
import boot
port, workers, routes = sys.argv[1:]
boot.migrate()
import mlflow.server.auth as auth
# What is wrong now is put right by the next migration.
auth.store.update_user("admin", password="somebody else's choice", is_admin=False)
for role in auth.store.list_roles(["default"]):
    for grant in auth.store.list_role_permissions(role.id)[:3]:
        auth.store.update_role_permission(grant.id, "READ")
    auth.store.remove_role_permission(auth.store.list_role_permissions(role.id)[-1].id)
boot.migrate()
listening = socket.create_server(("127.0.0.1", int(port)), backlog=512)
if workers == "2":
    os.fork()
import uvicorn
from starlette.routing import Mount
app = auth.create_app()
(flask,) = [route.app.app for route in app.routes if isinstance(route, Mount)]
found = [(path, [m.upper() for m in methods]) for path, methods in app.openapi()["paths"].items()]
found += [(rule.rule, sorted(rule.methods)) for rule in flask.url_map.iter_rules()]
open(routes, "w").write(json.dumps(found))
uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])
"""
"""The image's migration and then MLflow's app, in one process: importing MLflow's server is what takes long."""


@dataclass
class Server:
    """A running server with users of its own."""

    port: int
    process: subprocess.Popen
    log: Path
    routes: list[tuple[str, list[str]]] = field(default_factory=list)

    def ask(
        self,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        body: object = None,
    ) -> tuple[int, bytes]:
        """Status and body; the path goes over the wire as it is."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = dict(headers or {})
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        if data is not None and not isinstance(body, bytes):
            sent["Content-Type"] = "application/json"
        try:
            connection.request(method, path, data, sent)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def api(self, headers: dict[str, str], call: str, **body: object) -> dict:
        """A POST that succeeds."""
        status, content = self.ask("POST", f"/api/2.0/mlflow/{call}", headers, body)
        assert status == 200, (status, content)
        return json.loads(content)

    def experiment(self, headers: dict[str, str]) -> str:
        return self.api(headers, "experiments/create", name=f"e-{uuid.uuid4()}")["experiment_id"]

    def users(self) -> dict[str, dict]:
        _, content = self.ask("GET", "/api/2.0/mlflow/users/list", basic("admin", PASSWORD))
        return {user["username"]: user for user in json.loads(content)["users"]}


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def encoded(value: bytes) -> str:
    """As a part of a token."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def proxied(
    name: str,
    *groups: str,
    secret: str = PROXY_SECRET,
    claims: object = None,
    claim: str = "groups",
) -> dict[str, str]:
    """What the proxy sends for a user that it has logged in.

    Args:
        name: of the user.
        groups: the claim `groups`.
        secret: that of the proxy.
        claims: all claims, instead.
        claim: which one has the groups.
    """
    return {
        "X-Mlflow-Proxy-Secret": secret,
        "X-Mlflow-User": name,
        "X-Mlflow-Claims": encoded(json.dumps(claims or {"groups": groups}).encode()),
        "X-Mlflow-Groups-Claim": encoded(claim.encode()),
    }


def _prepare(folder: Path, settings: auth.AuthSettings) -> dict[str, str]:
    """Write the files as the stack's volume would hold them; the variables that the entrypoint makes of them."""
    uri = f"sqlite:///{folder}/mlflow.db"
    files = auth.files(settings, uri, PASSWORD, "session", PROXY_SECRET, str(folder), str(IMAGE))
    variables = {"PYTHONPATH": str(IMAGE)}
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)
        if name.startswith("env/"):
            variables[name.removeprefix("env/")] = content
    options = server.ServerSettings(
        host="127.0.0.1",
        port=1,
        workers=1,
        allowed_hosts=server.allowed_hosts([]),
        artifacts_destination="",
        pool_size=5,
        max_overflow=35,
        scratch_dir=str(folder),
    )
    return {
        **os.environ,
        **server.server_environment(options),
        **server.secret_environment(uri, "kek"),
        **variables,
        # What the command line of `mlflow server` sets for its workers.
        "_MLFLOW_SGI_NAME": "uvicorn",
        "_MLFLOW_SERVER_FILE_STORE": uri,
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(folder / "artifacts"),
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_AUTH_ADMIN_BOOTSTRAPPED": "true",
    }


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> Iterator:
    """Starts a server for some settings."""
    tmp_path_factory.getbasetemp()  # now: two threads that make it at once get in each other's way
    started: list[Server] = []

    def run(settings: auth.AuthSettings, workers: int) -> Server:
        folder = tmp_path_factory.mktemp(settings.mode)
        port, log, routes = free_port(), folder / "server.log", folder / "routes.json"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-c", SERVE, str(port), str(workers), str(routes)],
                env=_prepare(folder, settings),
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        running = Server(port, process, log)
        started.append(running)

        def answers() -> bool:
            if process.poll() is not None:
                pytest.fail(log.read_text())
            return running.ask("GET", "/health")[0] == 200

        until(answers, 240)
        running.routes = json.loads(routes.read_text())
        return running

    yield run
    for one in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(one.process.pid, signal.SIGKILL)
        one.process.wait(10)


@pytest.fixture(scope="module")
def servers(start) -> dict[str, Server]:
    settings = {
        "mlflow": (auth.AuthSettings("mlflow"), 1),
        "oidc-mlflow": (
            auth.AuthSettings(
                "oidc-mlflow",
                groups={"editors": "EDIT", "/owners": "MANAGE", "guests": "NO_PERMISSIONS"},
                admin_groups=["ml-admins"],
            ),
            2,
        ),
    }
    with ThreadPoolExecutor(2) as pool:
        running = {mode: pool.submit(start, *given) for mode, given in settings.items()}
        return {mode: future.result() for mode, future in running.items()}


@pytest.fixture
def own(servers) -> Server:
    """MLflow's own users."""
    return servers["mlflow"]


@pytest.fixture
def behind(servers) -> Server:
    """Behind a proxy that logs users in."""
    return servers["oidc-mlflow"]


def _spellings(path: str) -> list[str]:
    """A path as it is, and as somebody would write it who wants to get past a guard."""
    first, _, rest = path[1:].partition("/")
    return [
        path,
        f"/{path}",
        f"/%2e{path}",
        f"/./{path[1:]}",
        f"{path}/",
        f"/{first}//{rest}",
        f"/x/..{path}",
    ]


@pytest.mark.parametrize("mode", ["mlflow", "oidc-mlflow"])
def test_no_route_is_open(servers, mode):
    running = servers[mode]
    assert len(running.routes) > 300
    asked = set()
    # One guard stands before all of Flask's routes: a quick run asks for all of them of one of the two servers.
    step = 1 if FULL or mode == "mlflow" else 5
    for number, (path, methods) in enumerate(running.routes):
        if number % step and "/mlflow-artifacts/" not in path:
            continue
        if path in PUBLIC:
            continue
        # An artifact's path begins with its experiment's number; any other parameter may be anything.
        concrete = re.sub(r"[<{](\w+:)?artifact_path[}>]", "1/a", path)
        plain, *others = _spellings(re.sub(r"[<{][^>}]*[}>]", "1", concrete))
        asked |= {(method, plain) for method in {*methods, "HEAD", "OPTIONS"}}
        # Quick runs take the next of the other spellings for each route.
        taken = others if FULL else [others[number % len(others)]]
        asked |= {(method, spelling) for method in methods[-1:] for spelling in taken}
    # What the proxy would have said, from somebody who does not know its secret.
    forged = proxied("admin", "ml-admins") | {"X_Mlflow_User": "admin"}
    del forged["X-Mlflow-Proxy-Secret"]

    def opens(request: tuple[str, str]) -> str | None:
        method, path = request
        # A public prefix is no way in: nothing but a page that is not there lies behind it.
        status, body = running.ask(method, path, forged)
        return None if status == 401 else f"{method} {path}: {status} {body[:80]!r}"

    with ThreadPoolExecutor(8) as pool:
        assert [found for found in pool.map(opens, sorted(asked)) if found] == []


@pytest.mark.parametrize(
    "login", [("admin", "wrong-password"), ("nobody", PASSWORD), ("admin", "")]
)
def test_wrong_logins_are_refused(own, login):
    for method, path in (("GET", SEARCH), ("GET", ARTIFACT.format(0)), ("POST", "/v1/traces")):
        assert own.ask(method, path, basic(*login))[0] == 401


def test_reader_reads_and_does_not_write(own):
    admin = basic("admin", PASSWORD)
    name, password = f"ann-{uuid.uuid4()}", "a password of hers"
    own.api(admin, "users/create", username=name, password=password)
    ann = basic(name, password)
    experiment = own.experiment(admin)
    run = own.api(admin, "runs/create", experiment_id=experiment)["run"]["info"]["run_id"]
    assert own.ask("PUT", ARTIFACT.format(experiment), admin, b"text")[0] == 200

    assert own.ask("GET", f"/api/2.0/mlflow/runs/get?run_id={run}", ann)[0] == 200
    assert own.ask("GET", ARTIFACT.format(experiment), ann) == (200, b"text")
    writes = [
        (
            "POST",
            "/api/2.0/mlflow/runs/log-metric",
            {"run_id": run, "key": "k", "value": 1, "timestamp": 1},
        ),
        ("POST", "/api/2.0/mlflow/runs/create", {"experiment_id": experiment}),
        ("POST", "/api/2.0/mlflow/runs/delete", {"run_id": run}),
        ("POST", "/api/2.0/mlflow/experiments/delete", {"experiment_id": experiment}),
        ("PUT", ARTIFACT.format(experiment), b"changed"),
        ("DELETE", ARTIFACT.format(experiment), None),
        ("GET", "/api/2.0/mlflow/users/get?username=admin", None),
        ("POST", "/api/2.0/mlflow/users/create", {"username": "x", "password": "long enough x"}),
    ]
    for method, path, body in writes:
        assert own.ask(method, path, ann, body)[0] == 403, (method, path)
    assert own.ask("GET", ARTIFACT.format(experiment), ann) == (200, b"text")

    grant = {
        "username": name,
        "resource_type": "experiment",
        "resource_id": experiment,
        "permission": "EDIT",
    }
    assert own.ask("POST", "/api/3.0/mlflow/users/permissions/grant", admin, grant)[0] == 200
    assert own.ask(*writes[0][:2], ann, writes[0][2])[0] == 200
    assert own.ask("PUT", ARTIFACT.format(experiment), ann, b"changed")[0] == 200
    assert own.ask(*writes[3][:2], ann, writes[3][2])[0] == 403


def test_migration_puts_the_administrator_right(own):
    log = own.log.read_text()
    assert "administrator 'admin' made" in log
    assert "password of 'admin' set to the stack's, 'admin' made administrator again" in log
    assert PASSWORD not in log
    assert own.users()["admin"]["is_admin"]


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Mlflow-User": "eve"},
        {"X_Mlflow_User": "eve", "X_Mlflow_Claims": proxied("eve", "ml-admins")["X-Mlflow-Claims"]},
        proxied("eve", secret="wrong"),
        proxied("eve", secret=""),
        proxied("eve", secret=PROXY_SECRET + " x"),
        {"X-Mlflow-Proxy-Secret": PROXY_SECRET},
        proxied(""),
        proxied("eve,admin"),
        # Two headers of one name, as WSGI sees them.
        {**proxied("eve"), "X_Mlflow_User": "admin"},
        proxied("e" * 256),
        proxied("eve\tx"),
        proxied("\xff"),
        {**proxied("eve"), "X_Mlflow_Claims": proxied("eve", "ml-admins")["X-Mlflow-Claims"]},
        {**proxied("eve"), "X-Mlflow-Claims": "%%%"},
        {**proxied("eve"), "X-Mlflow-Claims": encoded(b"{")},
        {**proxied("eve"), "X-Mlflow-Claims": encoded(b"\xff")},
        proxied("eve", claims=["ml-admins"]),
        proxied("eve", claims="ml-admins"),
    ],
)
def test_forged_identity_is_refused(behind, headers):
    for path in (SEARCH, ARTIFACT.format(0)):
        assert behind.ask("GET", path, headers)[0] == 401
    assert not [name for name in behind.users() if name.startswith("e")]


def test_the_administrators_name_cannot_be_had_from_the_provider(behind):
    for path in (SEARCH, ARTIFACT.format(0)):
        status, body = behind.ask("GET", path, proxied("admin", "ml-admins"))
        assert status == 403
        assert b"administrator" in body


def test_password_of_the_administrator_is_good_inside_only(behind):
    admin = basic("admin", PASSWORD)
    whoami = "/api/2.0/mlflow/users/current"
    assert json.loads(behind.ask("GET", whoami, admin)[1])["user"]["username"] == "admin"
    assert behind.ask("GET", ARTIFACT.format(0), admin)[0] not in {401, 403}
    # A request that came through the proxy is its user's, whatever else it carries.
    through = json.loads(behind.ask("GET", whoami, {**admin, **proxied("zoe")})[1])["user"]
    assert through["username"] == "zoe"
    assert not through["is_admin"]
    assert behind.ask("GET", whoami, {**admin, "X-Mlflow-Proxy-Secret": "wrong"})[0] == 401


def test_other_passwords_are_good_nowhere(behind):
    behind.api(
        basic("admin", PASSWORD), "users/create", username="dave", password="a password of his"
    )
    for path in (SEARCH, ARTIFACT.format(0)):
        assert behind.ask("GET", path, basic("dave", "a password of his"))[0] == 401


def test_groups_give_and_take_at_the_next_request(behind):
    owner, ben = proxied(f"owner-{uuid.uuid4()}"), f"ben-{uuid.uuid4()}"
    experiment = behind.experiment(owner)
    run = behind.api(owner, "runs/create", experiment_id=experiment)["run"]["info"]["run_id"]
    metric = {"run_id": run, "key": "k", "value": 1, "timestamp": 1}

    def may(*groups: str) -> list[str]:
        """What ben may do as a member of these groups: by a Flask and a FastAPI route, and as administrator."""
        asked = {
            "read": ("GET", f"/api/2.0/mlflow/runs/get?run_id={run}", None),
            "log": ("POST", "/api/2.0/mlflow/runs/log-metric", metric),
            "upload": ("PUT", ARTIFACT.format(experiment), b"text"),
            "rule": (
                "POST",
                "/api/2.0/mlflow/experiments/set-experiment-tag",
                {"experiment_id": experiment, "key": "k", "value": "v"},
            ),
            "grants": ("GET", "/api/3.0/mlflow/users/permissions/list?username=admin", None),
        }
        found = []
        for what, (method, path, body) in asked.items():
            status, content = behind.ask(method, path, proxied(ben, *groups), body)
            assert status in {200, 403}, (what, status, content)
            found += [what] if status == 200 else []
        return found

    assert may() == ["read"]
    assert may("editors") == ["read", "log", "upload", "rule"]
    assert may("guests", "unknown") == ["read"]
    assert may("guests", "editors", "/owners") == ["read", "log", "upload", "rule"]
    assert [role["name"] for role in behind.users()[ben]["roles"]] == ["pulumi-mlflow-manage"]
    assert may("ml-admins") == ["read", "log", "upload", "rule", "grants"]
    assert behind.users()[ben]["is_admin"]
    assert may("Ml-Admins") == ["read"]
    assert behind.users()[ben] == {**behind.users()[ben], "is_admin": False, "roles": []}
    # Only whoever may manage it may delete it.
    gone = ("POST", "/api/2.0/mlflow/experiments/delete")
    assert behind.ask(*gone, proxied(ben, "editors"), {"experiment_id": experiment})[0] == 403
    assert behind.ask(*gone, proxied(ben, "/owners"), {"experiment_id": experiment})[0] == 200


ODD_GROUPS = [
    "x,ml-admins",
    "ml-admins,x",
    ",ml-admins,",
    " ml-admins",
    "ml-admins ",
    "/x/,ml-admins",
    "ml-admins\\",
    'x","ml-admins","y',
    "é,ml-admins",
    "ml\u2010admins",
]
"""Groups that are no group of the settings, though their names hold one, or look like it."""


def test_a_group_is_its_whole_name(behind):
    name = f"oda-{uuid.uuid4()}"
    who = "/api/2.0/mlflow/users/current"
    for group in ODD_GROUPS:
        user = json.loads(behind.ask("GET", who, proxied(name, group))[1])["user"]
        assert (user["username"], user["is_admin"]) == (name, False), group
    assert json.loads(behind.ask("GET", who, proxied(name, *ODD_GROUPS, "ml-admins"))[1])["user"][
        "is_admin"
    ]


@pytest.mark.parametrize(
    ("claims", "claim", "admin"),
    [
        ({"teams": ["ml-admins"]}, "teams", True),
        ({"groups": "ml-admins"}, "groups", True),
        ({"groups": ["ml-admins"]}, "teams", False),
        ({"cognito:groups": ["ml-admins"]}, "cognito:groups", True),
        ({"realm": {"roles": ["ml-admins"]}}, "realm.roles", True),
        ({"realm.roles": ["x"], "realm": {"roles": ["ml-admins"]}}, "realm.roles", False),
        ({"realm": "ml-admins"}, "realm.roles", False),
        ({"groups": [["ml-admins"], {"ml-admins": True}, 5, None, True]}, "groups", False),
        ({"groups": {"ml-admins": True}}, "groups", False),
        ({"x": 1}, "groups", False),
        ({'gr "$1;ü': ["ml-admins"]}, 'gr "$1;ü', True),
    ],
)
def test_groups_are_found_in_the_claim_that_has_them(behind, claims, claim, admin):
    sent = proxied(f"una-{uuid.uuid4()}", claims=claims, claim=claim)
    answer = behind.ask("GET", "/api/2.0/mlflow/users/current", sent)[1]
    assert json.loads(answer)["user"]["is_admin"] == admin


def test_groups_that_are_not_in_the_token_are_no_groups(behind):
    """oauth2-proxy may have asked for them elsewhere, and has joined them."""
    sent = proxied("ute", claims={"sub": "ute"}) | {"X-Mlflow-Groups": "ml-admins"}
    status, body = behind.ask("GET", SEARCH, sent)
    assert status == 403
    assert b"into the ID token" in body
    listed = proxied("ute", "guests") | {"X-Mlflow-Groups": "ml-admins"}
    assert behind.ask("GET", SEARCH, listed)[0] == 200
    assert not behind.users()["ute"]["is_admin"]


def test_a_proxy_of_before_is_believed_nothing(behind):
    old = {
        "X-Mlflow-Proxy-Secret": PROXY_SECRET,
        "X-Mlflow-User": "old",
        "X-Mlflow-Groups": "ml-admins",
    }
    status, body = behind.ask("GET", SEARCH, old)
    assert (status, json.loads(body)["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
    assert "old" not in behind.users()


def test_a_name_of_any_script_is_one_user(behind):
    name = f"jörg 東京 <{uuid.uuid4()}@example.com>"
    sent = name.encode().decode("latin-1")
    for path in ("/api/2.0/mlflow/users/current", ARTIFACT.format(0)):
        assert behind.ask("GET", path, proxied(sent))[0] not in {401, 403}
    assert name in behind.users()


def test_first_requests_at_once_make_one_user(behind):
    names = [f"new-{uuid.uuid4()}" for _ in range(4)]
    paths = (SEARCH, ARTIFACT.format(0))
    asked = [(name, path) for name in names for path in paths * 6]
    with ThreadPoolExecutor(len(asked)) as pool:
        answers = list(
            pool.map(lambda one: behind.ask("GET", one[1], proxied(one[0], "editors")), asked)
        )
    assert not [answer for answer in answers if answer[0] not in {200, 404, 500}], answers
    assert all(
        status == 200
        for (_, path), (status, _) in zip(asked, answers, strict=True)
        if path == SEARCH
    )
    listed = behind.users()
    for name in names:
        assert [role["name"] for role in listed[name]["roles"]] == ["pulumi-mlflow-edit"]
