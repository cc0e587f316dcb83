"""Settings of the front door, of a login by a provider, and of a bucket of others, each seen in what runs.

Which test has seen which setting stands in tests/stacks/test_every_setting.py.
"""

import json
import re
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from tests.docker.builds import used
from tests.docker.identity import issuer, write_certificate
from tests.docker.neighbours import SECRET, bucket, this_machine
from tests.docker.stack import DockerStack, dev_settings, log_run, new_name, sweep
from tests.support import free_port, until

from pulumi_mlflow.docker.files import FILES_PATH

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

HOST = "mlflow.example.com"
SEARCH = "/api/2.0/mlflow/experiments/search?max_results=1"
CREATE = "/api/2.0/mlflow/experiments/create"
CLIENT = {"oidc_client_secret": SECRET}
KEYS = {"artifacts_access_key": SECRET, "artifacts_secret_key": SECRET}


@pytest.fixture
def stack(client, tmp_path):
    settings = dev_settings()
    settings |= {"database": {"engine": "sqlite"}, "artifacts": {"store": "folder"}}
    made = DockerStack(client, tmp_path / "project", settings)
    try:
        yield made
    finally:
        made.close()


def asked(stack, path, times):
    """What the server behind nginx has answered to each of the requests for a path; nothing where it was not asked.

    The engine writes a container's log a moment after the answer: the lines are waited for.
    """

    def answers():
        lines = stack.container("proxy").logs(tail=200).decode().splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [line["upstream_status"].strip("-") for line in found if line["path"] == path]

    until(lambda: len(answers()) >= times)
    return answers()


def test_settings_of_the_front_door_are_seen_in_what_runs(stack, tmp_path):
    """`hosts`, `users`, `bind`, `tls`, `rate_limit`, `cache`, `html_sources`; and the server's memory and pool."""
    stack.up()
    port, session = stack.settings["access"]["port"], stack.session()
    here = f"http://127.0.0.1:{port}"
    script = re.search(r"static-files/static/js/main\.\w+\.js", session.get(here + "/").text)[0]
    for _ in range(2):
        session.get(f"{here}/{script}", timeout=20).raise_for_status()
    assert asked(stack, f"/{script}", 2) == ["200", ""], "nginx has kept it"
    assert session.get(here + SEARCH, headers={"Host": HOST}, timeout=10).status_code == 403

    certificate, key, ca = write_certificate(stack.folder, "front", HOST)
    access = {
        "hosts": [HOST],
        "users": ["ada"],
        "bind": "127.0.0.2",
        "rate_limit": 5,
        "cache": False,
        "html_sources": ["https://cdn.jsdelivr.net"],
    }
    files = {"tls": "files", "tls_certificate": certificate.name, "tls_key": key.name}
    stack.change({"access": {**access, **files}, "tracking": {"memory_mb": 1800}})
    stack.up()

    with pytest.raises(requests.ConnectionError):
        requests.get(here, timeout=5)
    outputs = stack.outputs()
    assert outputs["tracking_uri"] == f"https://{HOST}:{port}"
    trust = ssl.create_default_context(cafile=str(ca))
    with (
        socket.create_connection(("127.0.0.2", port), 5) as plain,
        trust.wrap_socket(plain, server_hostname=HOST) as sealed,
    ):
        assert ("DNS", HOST) in sealed.getpeercert()["subjectAltName"]
    assert stack.container("tracking").attrs["HostConfig"]["Memory"] == 1800 << 20

    # As the certificate's name does not lead here: by address, without a look at the name.
    there, users = f"https://127.0.0.2:{port}", {"mlflow": outputs["password"], **outputs["users"]}
    assert set(users) == {"mlflow", "ada"}

    def ask(path=SEARCH, login=("ada", users["ada"])):
        found = requests.get(
            there + path,
            auth=login,
            headers={"Host": HOST},
            verify=False,  # noqa: S501
            timeout=20,
        )
        if path.startswith("/get-artifact"):
            policy = found.headers["Content-Security-Policy"]
            assert policy.startswith("sandbox allow-scripts; ")
            assert "https://cdn.jsdelivr.net" in policy
        return found.status_code

    assert ask() == 200
    assert ask("/get-artifact?path=a.html&run_uuid=0") != 401
    assert ask(login=("ada", users["mlflow"])) == 401
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(), range(40)))
    assert answers.count(429) > 10
    stack.change({"access": {"rate_limit": 0}})
    stack.up()
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: ask(), range(40))) == {200}
    assert [ask(f"/{script}") for _ in range(2)] == [200, 200]
    assert asked(stack, f"/{script}", 2) == ["200", "200"], "nobody keeps it"


def test_settings_of_a_provider_are_seen_in_what_runs(stack, client):
    """All of `access.oidc`, its secret, and what groups may do."""
    host = this_machine(client)
    certificate, key, ca = write_certificate(stack.folder, "provider", host)
    with issuer(host, (certificate, key)) as provider:
        oidc = {
            "issuer": provider.url,
            "ca_file": ca.name,
            "client_id": "door",
            "audiences": ["sdk"],
            "scopes": ["teams"],
            "groups_claim": "teams",
            "allowed_groups": ["ml", "ops"],
            "email_domains": ["example.com"],
        }
        port = free_port()
        stack.settings["access"] = {"auth": "oidc", "port": port, "oidc": oidc}
        stack.settings["access"]["public_url"] = "https://ml.example.com"
        stack.write(**CLIENT)
        stack.up()

        def ask(path=SEARCH, sent=None, host=f"127.0.0.1:{port}", **claims):
            token = provider.token(**{"aud": "door", "teams": ["ml"], "groups": None, **claims})
            return requests.request(
                "POST" if sent else "GET",
                stack.url + path,
                headers={"Authorization": f"Bearer {token}", "Host": host},
                json=sent,
                timeout=20,
            ).status_code

        assert ask() == 200
        assert ask(aud="sdk") == 200
        assert ask(aud="mlflow") == 401
        refused = {401, 403}
        assert ask(teams=["sales"]) in refused
        assert ask(teams=None, groups=["ml"]) in refused, "of another claim"
        assert ask(email="ada@example.org") in refused
        page = requests.get(
            stack.url, headers={"Accept": "text/html"}, timeout=20, allow_redirects=False
        )
        while page.status_code == 302 and not page.headers["Location"].startswith(provider.url):
            page = requests.get(
                stack.url + urlsplit(page.headers["Location"]).path,
                timeout=20,
                allow_redirects=False,
            )
        wanted = parse_qs(urlsplit(page.headers["Location"]).query)
        assert wanted["client_id"] == ["door"]
        # As the proxy that ends TLS before ours has it; it passes the name on by which it was asked.
        assert wanted["redirect_uri"] == [f"https://127.0.0.1:{port}/oauth2/callback"]
        assert stack.outputs()["tracking_uri"] == "https://ml.example.com"
        assert ask(host="ml.example.com") == 200
        assert "teams" in wanted["scope"][0].split()
        assert SECRET in stack.execute("oidc", "sh", "-c", f"cat {FILES_PATH}/*")

        permissions = {"default": "NO_PERMISSIONS", "groups": {"ml": "READ"}}
        stack.settings["access"] |= {"auth": "oidc-mlflow", "permissions": permissions}
        oidc["admin_groups"] = ["ops"]
        stack.write(**CLIENT)
        stack.up()

        owned = requests.post(
            stack.url + CREATE,
            headers={"Authorization": f"Bearer {provider.token(aud='door', teams=['ops'])}"},
            json={"name": "of ops"},
            timeout=20,
        ).json()["experiment_id"]
        get = f"/api/2.0/mlflow/experiments/get?experiment_id={owned}"
        tag = {"experiment_id": owned, "key": "k", "value": "v"}
        setting = "/api/2.0/mlflow/experiments/set-experiment-tag"
        bob = {"sub": "bob", "email": "bob@example.com"}
        assert ask("/api/2.0/mlflow/users/get?username=ada@example.com", teams=["ops"]) == 200
        assert (ask(get, **bob), ask(setting, tag, **bob)) == (200, 403)
        oidc["allowed_groups"].append("guests")
        permissions["groups"]["ml"] = "EDIT"
        stack.write(**CLIENT)
        stack.up()
        assert ask(setting, tag, **bob) == 200
        eve = {"sub": "eve", "email": "eve@example.com", "teams": ["guests"]}
        assert ask(get, **eve) == 403
        permissions["default"] = "READ"
        stack.write(**CLIENT)
        stack.up()
        assert (ask(get, **eve), ask(setting, tag, **eve)) == (200, 403)


def test_settings_of_an_existing_bucket_are_seen_in_what_runs(stack, client, tmp_path):
    """`bucket`, and all of `artifacts.existing`: a store with TLS by an authority of its own, in a region of its own."""
    host = this_machine(client)
    certificate, key, ca = write_certificate(stack.folder, "store", host)
    name, port = new_name(), free_port()
    existing = {
        "endpoint_url": f"https://{host}:{port}",
        "region": "eu-north-1",
        "prefix": "ours/runs",
    }
    try:
        store = bucket(
            client,
            name,
            used(client, "versitygw"),
            (host, port),
            bucket="team",
            region="eu-north-1",
            tls=(certificate.read_text(), key.read_text()),
        )
        for change, cause in (
            ({}, "certificate verify failed"),
            ({"ca_file": ca.name, "region": "eu-west-1"}, "another region than 'eu-west-1'"),
            ({"ca_file": ca.name, "addressing": "path"}, ""),
        ):
            there = {**existing, **change}
            stack.settings["artifacts"] = {"store": "s3", "bucket": "team", "existing": there}
            stack.write(**KEYS)
            said = stack.up(ok=not cause)
            assert cause in said, said
        # What boto3 makes of it: tests/components/test_addressing.py.
        environment = stack.container("tracking").attrs["Config"]["Env"]
        assert "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE=path" in environment
        with stack.mlflow() as door:
            run = log_run(door, tmp_path / "logged")
        listed = store.list_objects_v2(Bucket="team")["Contents"]
        [kept] = [entry["Key"] for entry in listed if run.run_id in entry["Key"]]
        assert kept.startswith("ours/runs/")
        assert kept.endswith(f"/{run.run_id}/artifacts/weights.bin")
    finally:
        sweep(client, name)
