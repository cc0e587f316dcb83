"""Logins at an identity provider: by browser and by token, and what is refused."""

import base64
import hmac
import json
import re
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from tests.docker.door import Door, door
from tests.docker.identity import Issuer, issuer, log_in, new_key, sign, write_certificate

from pulumi_mlflow.core import proxy
from pulumi_mlflow.docker import files

pytestmark = [pytest.mark.docker, pytest.mark.timeout(120)]

API = "/api/2.0/mlflow/experiments/search?max_results=1&filter=sentinel-query"
SECRET = "sentinelproxysecret0123456789"
COOKIE_SECRET = "sentinel-cookie-secret-012345678"
FORGED = {
    "X-Mlflow-User": "admin",
    "X-Mlflow-Groups": "admins",
    "X-Mlflow-Claims": "eyJncm91cHMiOlsiYWRtaW5zIl19",
    "X-Mlflow-Groups-Claim": "Z3JvdXBz",
    "X-Mlflow-Proxy-Secret": SECRET,
    "X-Auth-Request-Email": "admin",
    "X-Auth-Request-Groups": "admins",
    "X-Forwarded-User": "admin",
    "X-Forwarded-Email": "admin",
    "X-Forwarded-Uri": "/ping",
    "X-Original-URL": "/-/health",
    "X-Mlflow_User": "admin",
    "X_Mlflow_User": "admin",
    "Remote-User": "admin",
}


@pytest.fixture(scope="module")
def opened(client):
    with door(client) as found, issuer(found.gateway) as provider:
        found.start_oidc(
            issuer=provider.url,
            audiences=["mlflow-sdk"],
            allowed_groups=["ml-team"],
            email_domains=["example.com"],
            claims=True,
        )
        found.start(auth="oidc-mlflow", proxy_secret=SECRET, cache=True)
        yield found, provider


@pytest.fixture
def gate(opened) -> Door:
    opened[0].behind.seen.clear()
    return opened[0]


@pytest.fixture
def provider(opened) -> Issuer:
    return opened[1]


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def ask(gate, **headers):
    return requests.get(gate.url + API, headers=headers, timeout=10, allow_redirects=False)


def told(seen):
    """The claims of the user that the server was told."""
    text = seen.header("X-Mlflow-Claims")
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def is_refused(gate, answer):
    """As a program is told, and nothing of it got through."""
    assert answer.status_code == 401
    assert answer.json()["error_code"] == "UNAUTHENTICATED"
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="MLflow"'
    assert not gate.behind.seen
    return True


def test_browser_logs_in_and_comes_back_to_its_page(gate):
    session = requests.Session()
    answers = log_in(session, f"{gate.url}/?o=1")
    assert answers[0].status_code == 302
    asked = parse_qs(urlsplit(answers[0].headers["Location"]).query)
    assert asked["redirect_uri"] == [f"{gate.url}/oauth2/callback"]
    assert asked["code_challenge_method"] == ["S256"]
    assert answers[-1].status_code == 200
    assert answers[-1].url == f"{gate.url}/?o=1"
    [cookie] = [a.headers["Set-Cookie"] for a in answers if "Set-Cookie" in a.headers][1:]
    for flag in ("HttpOnly", "SameSite=Lax", "Path=/"):
        assert cookie.count(flag) == 2, "the session's and the ended login's"
    assert "Domain" not in cookie
    # The session is worth a login, and the server gets a name instead.
    assert session.get(gate.url + API, timeout=10).status_code == 200
    assert gate.behind.last.header("X-Mlflow-User") == "ada@example.com"
    assert told(gate.behind.last)["groups"] == ["ml-team", "all"]
    assert gate.behind.last.header("Cookie") is None


def test_logout(gate):
    session = requests.Session()
    log_in(session, gate.url)
    gate.behind.seen.clear()
    page = session.get(f"{gate.url}/-/logout", timeout=10)
    assert page.url == f"{gate.url}/-/logged-out"
    assert "logged out" in page.text
    assert is_refused(gate, session.get(gate.url + API, timeout=10))


def test_program_uploads_what_is_larger_than_other_requests_may_be(gate, provider):
    body = bytes((proxy.BODY_LIMIT_MB + 1) << 20)
    url = f"{gate.url}/api/2.0/mlflow-artifacts/artifacts/1/a.bin"
    answer = requests.put(url, data=body, headers=bearer(provider.token()), timeout=60)
    assert answer.status_code == 200
    assert gate.behind.last.size == len(body)
    refused = requests.put(url, data=body, headers=bearer("x"), timeout=60)
    assert refused.status_code == 401


@pytest.mark.parametrize("audience", ["mlflow", "mlflow-sdk", ["account", "mlflow-sdk"]])
def test_program_sends_a_token(gate, provider, audience):
    answer = ask(gate, **bearer(provider.token(aud=audience)))
    assert answer.status_code == 200
    seen = gate.behind.last
    assert seen.header("X-Mlflow-User") == "ada@example.com"
    assert told(seen)["groups"] == ["ml-team", "all"]
    assert seen.header("X-Mlflow-Proxy-Secret") == SECRET
    assert seen.header("Authorization") is None


def tokens(provider):
    """What must not pass: what is wrong with it → token."""
    right = provider.claims()
    head, body, signature = provider.token().split(".")
    other_body = base64.urlsafe_b64encode(json.dumps({**right, "sub": "eve"}).encode())
    key_id = provider.key_id
    return {
        "expired": provider.token(exp=right["iat"] - 1),
        "for another client": provider.token(aud="other"),
        "for nobody": provider.token(aud=None),
        "of another issuer": provider.token(iss="https://issuer.example.com"),
        "signed by somebody else": sign(right, new_key()),
        "signed by somebody else under the key's name": sign(right, new_key(), kid=key_id),
        "not signed": sign(right, "", alg="none"),
        "signed with the public key as a password": _hs256(right, provider.public_key()),
        "changed": f"{head}.{other_body.decode().rstrip('=')}.{signature}",
        "without its signature": f"{head}.{body}.",
        "of a group that may not": provider.token(groups=["guests"]),
        "without groups": provider.token(groups=None),
        "of a domain that may not": provider.token(email="ada@example.org"),
        "of a domain that ends alike": provider.token(email="ada@evilexample.com"),
        "of an address that is not checked": provider.token(email_verified=False),
        "no token": "sentinel-no-token",
        "empty": "",
    }


def _hs256(claims, secret):
    """By hand: libraries refuse to sign with a public key, and so ought those that check."""
    parts = ({"alg": "HS256", "typ": "JWT"}, claims)
    text = b".".join(base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=") for p in parts)
    mac = base64.urlsafe_b64encode(hmac.digest(secret, text, "sha256")).rstrip(b"=")
    return f"{text.decode()}.{mac.decode()}"


def test_wrong_tokens(gate, provider):
    for what, token in tokens(provider).items():
        assert is_refused(gate, ask(gate, **bearer(token))), what


def in_other_forms(token):
    """What people paste by mistake."""
    password = base64.b64encode(f"mlflow:{token}".encode()).decode()
    no_name = base64.b64encode(token.encode()).decode()
    return [token, f"Bearer {token} sentinel-more", f"Basic {password}", f"Basic {no_name}"]


def test_tokens_in_other_forms(gate, provider):
    for form in in_other_forms(provider.token()):
        assert is_refused(gate, ask(gate, Authorization=form))


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(
    "path", [API, "/", "/static-files/static/js/main.c2f5f8d4.js", "/health/x", "//api/2.0/x"]
)
def test_nobody_passes_without_a_login(gate, method, path):
    answer = requests.request(method, gate.url + path, headers=FORGED, timeout=10)
    assert answer.status_code == 401
    assert not gate.behind.seen


def test_health_is_a_constant_for_everybody(gate):
    for headers in ({}, FORGED, bearer("x"), {"Accept": "text/html"}):
        answer = requests.get(
            f"{gate.url}/health", headers=headers, timeout=10, allow_redirects=False
        )
        assert (answer.status_code, answer.text) == (200, "OK")
    assert not gate.behind.seen


def test_a_browser_without_a_session_is_sent_away_from_every_page(gate):
    for path in ("/", "/api/2.0/mlflow/experiments/search", "//example.org/%2e"):
        request = requests.Request("GET", gate.url + path, headers={"Accept": "text/html"})
        with requests.Session() as session:
            answer = session.send(request.prepare(), allow_redirects=False, timeout=10)
        assert answer.status_code == 302
        state = parse_qs(urlsplit(answer.headers["Location"]).query)["state"][0]
        # Never to what a browser takes for another host.
        assert state.partition(":")[2] == ("/" if path.startswith("//") else path)
    assert not gate.behind.seen


def test_what_a_logged_in_client_says_of_itself_is_not_passed_on(gate, provider):
    assert ask(gate, **FORGED, **bearer(provider.token())).status_code == 200
    seen = gate.behind.last
    assert seen.header("X-Mlflow-User") == "ada@example.com"
    assert told(seen)["groups"] == ["ml-team", "all"]
    values = {value for name, value in seen.headers if name.lower() != "x-original-url"}
    assert not values & {"admin", "admins", "/ping"}
    # A user without groups gets no groups of another's making.
    assert not [name for name, _ in seen.headers if "_" in name]


GROUPS = [
    "ml-team",
    "x,ml-admins",
    "a b",
    " ä ",
    "/deep/group",
    "q\"uo'te",
    "東京",
    "back\\slash",
    "$x{",
]


def test_groups_arrive_as_they_are_called(gate, provider):
    """By token; a browser's session is read from the same claims."""
    assert ask(gate, **bearer(provider.token(groups=GROUPS))).status_code == 200
    assert told(gate.behind.last)["groups"] == GROUPS
    many = ["ml-team", *(f"{number:036}" for number in range(200))]
    assert ask(gate, **bearer(provider.token(groups=many))).status_code == 200
    assert told(gate.behind.last)["groups"] == many


def test_a_group_that_may_log_in_is_its_whole_name(client):
    with door(client) as gate, issuer(gate.gateway) as provider:
        gate.start_oidc(issuer=provider.url, allowed_groups=["x,ml-team", 'q"uote'])
        gate.start(auth="oidc")
        passes = {"x,ml-team": 200, 'q"uote': 200, "ml-team": 401, "x": 401, "y,x,ml-team": 401}
        for group, status in passes.items():
            assert ask(gate, **bearer(provider.token(groups=[group]))).status_code == status, group
        assert ask(gate, **bearer(provider.token(groups=["x", "ml-team"]))).status_code == 401


def test_login_service_is_reached_only_where_logins_need_it(gate):
    for path in ("/oauth2/auth", "/oauth2/userinfo", "/oauth2/start", "/ping", "/metrics"):
        assert requests.get(gate.url + path, timeout=10).status_code == 401, path
    assert requests.get(f"{gate.url}/-/oidc", timeout=10).status_code == 404


def test_no_log_holds_a_secret(gate, provider):
    """Of logins that succeed, fail, and come back without their cookie."""
    session = requests.Session()
    answers = log_in(session, f"{gate.url}/?q=sentinel-query")
    callback = next(a.url for a in answers if "/oauth2/callback?" in a.url)
    code = parse_qs(urlsplit(callback).query)["code"][0]
    stray = {"Cookie": "other_csrf=sentinel-cookie; x=sentinel-cookie"}
    assert requests.get(callback, timeout=10).status_code == 403
    assert requests.get(callback, headers=stray, timeout=10).status_code == 403
    assert session.get(callback, timeout=10).status_code == 403
    given = [cookie.value for cookie in session.cookies]
    used = [*tokens(provider).values(), provider.token()]
    for token in used:
        ask(gate, **bearer(token), Referer=f"{gate.url}/?token=sentinel-referer")
        for form in in_other_forms(token):
            ask(gate, Authorization=form)
    page = {"Accept": "text/html"}
    requests.get(f"{gate.url}//x?q=sentinel-query", headers=page, timeout=10)
    gate.container("oidc").pause()
    try:
        gate.behind.seen.clear()
        # Neither open nor silent for ever, when nobody can be asked.
        with pytest.raises(requests.Timeout):
            requests.get(gate.url + API, headers=bearer(used[-1]), timeout=2)
    finally:
        gate.container("oidc").unpause()

    log = gate.logs()

    assert "ada@example.com" in log
    assert "came back without its cookie" in log
    parts = {part for token in used for part in token.split(".") if part}
    for secret in (code, *given, *parts, SECRET, COOKIE_SECRET):
        assert secret not in log
    assert not re.findall("sentinel-[a-z-]+|code=|state=|access_token=", log)


def test_without_the_login_service_nobody_passes(client):
    with door(client) as gate:
        gate.start(auth="oidc", oidc_host=gate.gateway, oidc_port=1)
        answer = ask(gate)
        assert answer.status_code == 503
        assert answer.json()["error_code"] == "TEMPORARILY_UNAVAILABLE"
        assert not gate.behind.seen


def test_provider_with_an_authority_of_its_own_and_tls(client, tmp_path):
    with door(client) as gate:
        certificate, key, ca = write_certificate(tmp_path, "test", gate.gateway)
        folder = files.FILES_PATH
        tls = {"tls.crt": certificate.read_text(), "tls.key": key.read_text()}
        paths = {"certificate_path": f"{folder}/tls.crt", "key_path": f"{folder}/tls.key"}
        with issuer(gate.gateway, (certificate, key)) as provider:
            settings = {"issuer": provider.url, "secure": True, "cookie_name": "__Host-mlflow"}
            settings["claims"] = True
            with pytest.raises(AssertionError, match="certificate signed by unknown authority"):
                gate.start_oidc(**settings)
            gate.start_oidc({"ca.pem": ca.read_text()}, **settings, ca_path=f"{folder}/ca.pem")
            gate.start(tls, auth="oidc-mlflow", proxy_secret=SECRET, **paths)

            session = requests.Session()
            answers = log_in(session, gate.url, verify=ca)
            assert answers[-1].status_code == 200
            [cookie] = [c for c in session.cookies if c.name == "__Host-mlflow"]
            assert cookie.secure
            # A service account has no address, and is let in where none is asked for.
            token = provider.token(sub="service-account-ci", email=None, groups=None)
            answer = requests.get(gate.url + API, headers=bearer(token), verify=ca, timeout=10)
            assert answer.status_code == 200
            assert gate.behind.last.header("X-Mlflow-User") == "service-account-ci"
            assert "groups" not in told(gate.behind.last)

            # In mode `oidc` the server asks nobody, and is told of nobody.
            gate.start(tls, auth="oidc", **paths)
            assert session.get(gate.url + API, verify=ca, timeout=10).status_code == 200
            assert not [n for n, _ in gate.behind.last.headers if n.startswith("X-Mlflow")]
