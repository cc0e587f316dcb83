"""Logins at a real Keycloak: its own login page, and its own tokens."""

import base64
import html
import json
import os
import re
import shutil
import subprocess
import time

import pytest
import requests
from tests.docker.door import door
from tests.docker.identity import write_certificate
from tests.support import FULL, free_port, tool

from pulumi_mlflow.docker.files import FILES_PATH

pytestmark = [
    pytest.mark.docker,
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not FULL, reason="Keycloak takes minutes to start; FULL=1 runs it"),
]

PASSWORD = "sentinel-password"
SECRET = "sentinel-client-secret"
PROXY_SECRET = "sentinelproxysecret0123456789"
API = "/api/2.0/mlflow/experiments/search"


def mapper(kind, **config):
    shown = {"access.token.claim": "true", "id.token.claim": "true"}
    protocol = {"protocol": "openid-connect", "protocolMapper": kind}
    return {"name": kind, **protocol, "config": {**shown, **config}}


def client_of(name, *mappers):
    return {
        "clientId": name,
        "secret": SECRET,
        "redirectUris": ["http://127.0.0.1:*"],
        "directAccessGrantsEnabled": True,
        "attributes": {"pkce.code.challenge.method": "S256"},
        "protocolMappers": list(mappers),
    }


GROUPS = mapper("oidc-group-membership-mapper", **{"claim.name": "groups", "full.path": "false"})
AUDIENCE = mapper("oidc-audience-mapper", **{"included.client.audience": "mlflow"})


def user(name, *groups):
    return {
        "username": name,
        "email": f"{name}@example.com",
        "emailVerified": True,
        "enabled": True,
        "firstName": name,
        "lastName": name,
        "groups": [f"/{group}" for group in groups],
        "credentials": [{"type": "password", "value": PASSWORD, "temporary": False}],
    }


MALLORYS = {"x,ml-admins", "ml-admins,ml-team", "a b", "tëam", 'q"uote', "ml-team"}
"""Two of them hold the name of a group that administers, which she is no member of."""

REALM = {
    "realm": "ml",
    "enabled": True,
    "sslRequired": "none",
    "groups": [{"name": name} for name in sorted({*MALLORYS, "guests", "ml-admins"})],
    "users": [user("ada", "ml-team"), user("eve", "guests"), user("mallory", *MALLORYS)],
    # The second one's tokens are for no client of ours: it has no audience mapper.
    "clients": [client_of("mlflow", GROUPS, AUDIENCE), client_of("other", GROUPS)],
}


def keycloak(folder, address, port, certificate, key):
    """Start one, with its data in memory; the process. It takes logins from elsewhere by TLS only."""
    shutil.copytree(tool("keycloak"), folder, symlinks=True)
    admin = {"KC_BOOTSTRAP_ADMIN_USERNAME": "admin", "KC_BOOTSTRAP_ADMIN_PASSWORD": PASSWORD}
    listen = [
        f"--http-host={address}",
        f"--http-port={free_port()}",
        f"--https-port={port}",
        f"--https-certificate-file={certificate}",
        f"--https-certificate-key-file={key}",
    ]
    with (folder / "test.log").open("w") as log:
        return subprocess.Popen(
            [folder / "bin" / "kc.sh", "start-dev", "--db=dev-mem", *listen],
            env={**os.environ, **admin},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def admin_token(url, ca, deadline):
    form = {"grant_type": "password", "client_id": "admin-cli", "username": "admin"}
    token = f"{url}/realms/master/protocol/openid-connect/token"
    while True:
        try:
            data = {**form, "password": PASSWORD}
            answer = requests.post(token, data=data, verify=ca, timeout=20)
        except requests.RequestException as error:
            if time.monotonic() > deadline:
                raise TimeoutError("Keycloak did not start") from error
            time.sleep(1)
            continue
        assert answer.status_code == 200, answer.text
        return answer.json()["access_token"]


def log_in(session, url, name, ca):
    """By the form of Keycloak's own page."""
    browser = {"Accept": "text/html"}
    form = session.get(url, headers=browser, verify=ca, timeout=60)
    action = html.unescape(re.search(r'<form[^>]* action="([^"]+)"', form.text)[1])
    data = {"username": name, "password": PASSWORD}
    return session.post(action, data=data, headers=browser, verify=ca, timeout=60)


def groups_of(seen):
    """The groups that the server was told."""
    text = seen.header("X-Mlflow-Claims")
    return set(json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))["groups"])


def test_browser_and_token(client, tmp_path):
    with door(client) as gate:
        port = free_port()
        url = f"https://{gate.gateway}:{port}"
        issuer = f"{url}/realms/ml"
        certificate, key, ca = write_certificate(tmp_path, "test", gate.gateway)
        process = keycloak(tmp_path / "keycloak", gate.gateway, port, certificate, key)
        try:
            bearer = {"Authorization": f"Bearer {admin_token(url, ca, time.monotonic() + 900)}"}
            made = requests.post(
                f"{url}/admin/realms", json=REALM, headers=bearer, verify=ca, timeout=60
            )
            assert made.status_code == 201, made.text
            gate.start_oidc(
                {"ca.pem": ca.read_text()},
                issuer=issuer,
                client_secret=SECRET,
                allowed_groups=["ml-team"],
                ca_path=f"{FILES_PATH}/ca.pem",
                claims=True,
            )
            gate.start(auth="oidc-mlflow", proxy_secret=PROXY_SECRET)

            session = requests.Session()
            page = log_in(session, f"{gate.url}/?o=1", "ada", ca)
            assert (page.status_code, page.url) == (200, f"{gate.url}/?o=1")
            assert gate.behind.last.header("X-Mlflow-User") == "ada@example.com"
            assert groups_of(gate.behind.last) == {"ml-team"}
            mallory = requests.Session()
            assert log_in(mallory, gate.url, "mallory", ca).status_code == 200
            assert groups_of(gate.behind.last) == MALLORYS
            gate.behind.seen.clear()
            assert log_in(requests.Session(), gate.url, "eve", ca).status_code == 403
            assert not gate.behind.seen

            def token(name, of="mlflow"):
                form = {"grant_type": "password", "username": name, "password": PASSWORD}
                answer = requests.post(
                    f"{issuer}/protocol/openid-connect/token",
                    data={**form, "client_id": of, "client_secret": SECRET, "scope": "openid"},
                    verify=ca,
                    timeout=60,
                )
                return answer.json()["access_token"]

            def ask(given):
                headers = {"Authorization": f"Bearer {given}"}
                return requests.get(gate.url + API, headers=headers, timeout=20).status_code

            assert ask(token("mallory")) == 200
            assert groups_of(gate.behind.last) == MALLORYS
            assert ask(token("ada")) == 200
            assert gate.behind.last.header("X-Mlflow-User") == "ada@example.com"
            assert [ask(token("eve")), ask(token("ada", "other"))] == [401, 401]
            assert ask(admin_token(url, ca, time.monotonic() + 60)) == 401
            assert "sentinel" not in gate.logs()
        finally:
            os.killpg(process.pid, 15)
            process.wait(60)
