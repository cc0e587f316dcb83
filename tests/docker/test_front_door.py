"""What comes through the proxy, and what does not."""

import hashlib
import os

import pytest
import requests
from tests.docker.stack import DEPLOYMENT
from tests.support import until

from pulumi_mlflow.core import proxy
from pulumi_mlflow.docker import engine
from pulumi_mlflow.docker.files import FILES_PATH

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
    session = dev.session()
    url = f"{dev.url}/api/2.0/mlflow-artifacts/artifacts/big/payload.bin"
    sent, received = hashlib.sha256(), hashlib.sha256()
    block = os.urandom(1_000_000)

    def chunks():
        for number in range(BIG):
            part = number.to_bytes(4, "big") + block[4:]
            sent.update(part)
            yield part

    assert session.put(url, data=chunks(), timeout=120).status_code == 200
    with session.get(url, stream=True, timeout=120) as answer:
        assert answer.status_code == 200
        for part in answer.iter_content(1_000_000):
            received.update(part)
    session.delete(url, timeout=60).raise_for_status()

    assert received.digest() == sent.digest()
    assert not [c.name for c in dev.containers().values() if c.attrs["State"]["OOMKilled"]]
    until(lambda: int(dev.execute("tracking", "du", "-sm", "/scratch").split()[0]) < 10)


@pytest.mark.parametrize("auth", ["basic", "none"])
def test_nginx_takes_its_configuration(dev, client, auth, tmp_path):
    settings = proxy.ProxySettings(
        listen_port=8080,
        upstream_host="tracking",
        upstream_port=5000,
        auth=auth,
        htpasswd_path=f"{FILES_PATH}/htpasswd",
    )
    (tmp_path / "nginx.conf").write_text(proxy.render_nginx(settings))
    (tmp_path / "htpasswd").write_text(proxy.htpasswd_line("mlflow", "password", "seed"))
    job = engine.Job(
        name=f"{dev.deployment}-nginx-t",
        image=dev.container("proxy").image.id,
        entrypoint=["nginx"],
        command=["-t", "-e", "stderr", "-c", f"{FILES_PATH}/nginx.conf"],
        labels={DEPLOYMENT: dev.deployment},
        timeout=60,
    )

    output = engine.run_job_from_folder(client, job, FILES_PATH, tmp_path)

    assert "test is successful" in output
    assert "[warn]" not in output
