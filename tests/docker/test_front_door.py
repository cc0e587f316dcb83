"""What comes through the proxy, and what does not."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from tests.docker.builds import used
from tests.docker.door import SERVER_INFO, STATIC, Door, door
from tests.docker.stack import DEPLOYMENT, new_name, there_and_back
from tests.support import until

from pulumi_mlflow.core import proxy
from pulumi_mlflow.docker import engine
from pulumi_mlflow.docker.files import FILES_PATH
from pulumi_mlflow.login import HTPASSWD

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

BIG = 300
"""MB: over every memory limit on the way but the server's own."""

ROUTES = (
    "/",
    "/static-files/index.html",
    "/api/2.0/mlflow/experiments/search?max_results=1",
    "/ajax-api/2.0/mlflow/experiments/search?max_results=1",
    "/api/2.0/mlflow-artifacts/artifacts",
    "/version",
)


@pytest.mark.parametrize("route", ROUTES)
def test_anonymous_is_refused(dev, route):
    answer = requests.get(dev.url + route, timeout=10, allow_redirects=False)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic")
    forged = {"X-Remote-User": "mlflow", "X-Forwarded-User": "mlflow", "Remote-User": "mlflow"}
    assert requests.get(dev.url + route, headers=forged, timeout=10).status_code == 401


def test_health_of_the_proxy_is_open(dev):
    assert requests.get(dev.url + proxy.HEALTH_PATH, timeout=10).text == "ok\n"


def test_upload_of_unknown_length_and_any_size(dev):
    """Of 300 MB, in chunks, each way; nothing of it stays in the server's scratch folder."""
    sent, received = there_and_back(dev, 0, BIG, 120)

    assert received == sent
    assert not [c.name for c in dev.containers().values() if c.attrs["State"]["OOMKilled"]]
    until(lambda: int(dev.execute("tracking", "du", "-sm", "/scratch").split()[0]) < 10)


API = "/api/2.0/mlflow/experiments/search"
UPLOAD = "/api/2.0/mlflow-artifacts/artifacts/1/x.bin"
LOGIN = ("ada", "right")
USERS = "".join(
    f"{proxy.htpasswd_line(user, password, 'seed')}\n"
    for user, password in (LOGIN, ("grace", "hers"))
)


@pytest.fixture(scope="module")
def opened(client):
    """nginx with everything that has no need of a provider, before a server of the test's own."""
    with door(client) as found:
        found.start({HTPASSWD: USERS}, cache=True, rate_limit=60)
        yield found


@pytest.fixture
def gate(opened) -> Door:
    # What a test has used of the limit comes back at 60 a second.
    time.sleep(1)
    opened.behind.seen.clear()
    return opened


def ask(gate, path=API, method="GET", login=LOGIN, **options):
    return requests.request(method, gate.url + path, auth=login, timeout=20, **options)


@pytest.mark.parametrize("auth", proxy.MODES)
def test_nginx_takes_its_configuration(client, auth, tmp_path):
    settings = proxy.ProxySettings(
        listen_port=8080,
        upstream_host="tracking",
        upstream_port=5000,
        auth=auth,
        htpasswd_path=f"{FILES_PATH}/{HTPASSWD}",
        oidc_host="oidc",
        oidc_port=4180,
        proxy_secret="x" * 32,
        rate_limit=100,
        cache=True,
    )
    (tmp_path / "nginx.conf").write_text(proxy.render_nginx(settings))
    (tmp_path / HTPASSWD).write_text(USERS)
    name = new_name()
    job = engine.Job(
        name=f"{name}-nginx-t",
        image=used(client, "nginx"),
        entrypoint=["nginx"],
        command=["-t", "-e", "stderr", "-c", f"{FILES_PATH}/nginx.conf"],
        labels={DEPLOYMENT: name},
        timeout=60,
    )

    output = engine.run_job_from_folder(client, job, FILES_PATH, tmp_path)

    assert "test is successful" in output
    assert "[warn]" not in output


def test_each_user_has_a_password(gate):
    for login in (LOGIN, ("grace", "hers")):
        assert ask(gate, login=login).status_code == 200
        assert gate.behind.last.header("Authorization") is None
    gate.behind.seen.clear()
    for login in (None, ("ada", "hers"), ("grace", "right"), ("eve", "right"), ("ada", "")):
        assert ask(gate, login=login).status_code == 401
    assert not gate.behind.seen


ODD = (
    b"GET //api/2.0/x HTTP/1.1",
    b"GET /%2e%2e/api/2.0/x HTTP/1.1",
    b"GET /-/health/../../api/2.0/x HTTP/1.1",
    b"GET /health/../api/2.0/x HTTP/1.1",
    b"GET /health/x HTTP/1.1",
    b"GET /health%2f..%2fapi/2.0/x HTTP/1.1",
    b"GET /healthy HTTP/1.1",
    b"GET /-/health%2f..%2f..%2fapi/2.0/x HTTP/1.1",
    b"GET /-/health/ HTTP/1.1",
    b"GET /-/health;/api HTTP/1.1",
    b"GET /-/HEALTH HTTP/1.1",
    b"GET /api/2.0/x/ HTTP/1.1",
    b"GET http://tracking/api/2.0/x HTTP/1.1",
    b"GET http://127.0.0.1/-/health/../api HTTP/1.1",
    b"GET /api/2.0/x HTTP/1.0",
    b"HEAD /api/2.0/x HTTP/1.1",
    b"OPTIONS /api/2.0/x HTTP/1.1\r\nOrigin: http://localhost",
    b"OPTIONS * HTTP/1.1",
    b"TRACE /api/2.0/x HTTP/1.1",
    b"CONNECT tracking:5000 HTTP/1.1",
    b"PROPFIND /api/2.0/x HTTP/1.1",
    b"GET /api/2.0/x HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk",
    b"GET /api/2.0/x HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket",
    b"GET /-/health HTTP/1.1\r\nX-Original-URL: /api/2.0/x\r\nX-Rewrite-URL: /api/2.0/x",
    b"POST /-/health HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
    b"POST /api/2.0/x HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6",
    b"POST /api/2.0/x HTTP/1.1\r\nTransfer-Encoding: xchunked",
    b"POST /api/2.0/x HTTP/1.1\r\nTransfer-Encoding : chunked",
    b"GET /api/2.0/x HTTP/1.1\r\nAuthorization: Basic\r\nAuthorization: Basic YWRhOnJpZ2h0",
    b"PRI * HTTP/2.0",
)


@pytest.mark.parametrize("line", ODD, ids=lambda line: line.partition(b" HTTP")[0].decode())
def test_no_odd_request_gets_through_without_a_login(gate, line):
    """Spoken by hand, since libraries mend such requests. A second one hides in the first one's body."""
    hidden = b"0\r\n\r\nGET /api/2.0/hidden HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", gate.port), timeout=5) as connection:
        connection.sendall(line + b"\r\nHost: 127.0.0.1\r\n\r\n" + hidden)
        answer = connection.recv(65536)
    status = int(answer.split()[1]) if answer.startswith(b"HTTP/") else 400
    assert status in {400, 401, 405, 501, 505} or b"\r\n\r\nok\n" in answer, answer
    assert not gate.behind.seen


def test_what_is_no_artifact_has_a_limit(gate):
    limit = proxy.BODY_LIMIT_MB << 20
    assert ask(gate, method="POST", data=b"x" * limit).status_code == 200
    answer = ask(gate, method="POST", data=b"x" * (limit + 1))
    assert answer.status_code == 413
    assert answer.json()["error_code"] == "INVALID_PARAMETER_VALUE"
    for path in (UPLOAD, "/ajax-api/2.0/mlflow/upload-artifact"):
        assert ask(gate, path, "PUT", data=b"x" * (limit + 1)).status_code == 200
        assert gate.behind.last.size == limit + 1


def test_a_step_up_as_windows_writes_it_is_refused(gate):
    folder = "/api/2.0/mlflow-artifacts/artifacts/run"
    for name in ("..%5cx", "..%5Cx", "a/..\\x"):
        answer = ask(gate, f"{folder}/{name}", "PUT", data=b"x")
        assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert ask(gate, f"{folder}/a%5cb..txt", "PUT", data=b"x").status_code == 200


def test_each_client_has_a_limit(gate):
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: ask(gate, "/x", login=None), range(300)))
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(refused) > 50
    assert refused[0].json()["error_code"] == "REQUEST_LIMIT_EXCEEDED"
    # Then it goes on.
    until(lambda: ask(gate).status_code == 200, 10)


def test_static_files_are_asked_for_once_and_only_behind_the_login(gate):
    first = ask(gate, STATIC)
    asked = len(gate.behind.seen)
    again = ask(gate, STATIC)
    assert first.content == again.content
    assert len(gate.behind.seen) == asked
    assert first.headers["Content-Encoding"] == "gzip"
    assert first.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    assert ask(gate, STATIC, login=None).status_code == 401
    # An answer of the server's own is never kept, nor one to a path that only looks like it.
    for path in (API, "/", f"{STATIC}?x=1", f"/{STATIC}"):
        before = len(gate.behind.seen)
        assert "immutable" not in ask(gate, path).headers.get("Cache-Control", "")
        ask(gate, path)
        assert len(gate.behind.seen) == before + 2


def test_artifacts_come_as_they_are(gate):
    answer = ask(gate, UPLOAD)
    assert "Content-Encoding" not in answer.headers
    assert "Content-Length" in answer.headers
    assert answer.headers["Content-Security-Policy"].startswith("sandbox;")


def test_another_site_cannot_make_a_browser_change_something(gate):
    answer = ask(gate, method="POST", headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403
    assert answer.json()["error_code"] == "PERMISSION_DENIED"
    assert not gate.behind.seen
    # A page of ours is none; what else says where it comes from is MLflow's to judge.
    for origin, passed in (
        (gate.url, None),
        (f"{gate.url}.evil.example.com", f"{gate.url}.evil.example.com"),
        ("null", "null"),
        ("http://localhost:3000", "http://localhost:3000"),
    ):
        headers = {"Origin": origin, "Sec-Fetch-Site": "same-origin"}
        assert ask(gate, method="POST", headers=headers).status_code == 200
        assert gate.behind.last.header("Origin") == passed


def test_a_server_that_does_not_answer_is_said_in_json(client):
    with door(client) as gate:
        gate.start(auth="none", upstream_port=1)
        answer = ask(gate, login=None)
        assert answer.status_code == 503
        assert answer.json()["error_code"] == "TEMPORARILY_UNAVAILABLE"
        # nginx's own message about it would hold the request's line.
        requests.get(f"{gate.url}/x?q=sentinel", headers={"Referer": "sentinel"}, timeout=10)
        assert "sentinel" not in gate.logs()

        # MLflow's own users: what it leaves open is closed here.
        gate.behind.login = "Basic YWRhOnJpZ2h0"
        gate.start(auth="mlflow", cache=True)
        assert [ask(gate, "/health", login=login).text for login in (None, LOGIN)] == ["OK", "OK"]
        paths = (API, "/", "/healthy", "/favicon.ico", STATIC, SERVER_INFO, "/static-files/x")
        for path in paths:
            for login in (None, ("ada", "wrong")):
                answer = ask(gate, path, login=login)
                assert answer.status_code == 401, path
                assert answer.headers["WWW-Authenticate"] == 'Basic realm="mlflow"'
            assert ask(gate, path).status_code == 200, path
            # Once more, now that it may have been kept.
            assert ask(gate, path, login=None).status_code == 401
        ask(gate)
        assert gate.behind.last.header("Authorization") == "Basic YWRhOnJpZ2h0"
        info = ask(gate, SERVER_INFO).json()
        assert info == {"multipart_uploads_enabled": False, "multipart_downloads_enabled": False}
        assert requests.get(gate.url + proxy.HEALTH_PATH, timeout=10).text == "ok\n"
