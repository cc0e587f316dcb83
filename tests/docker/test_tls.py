"""TLS at the front door, and the certificate that is made for development."""

import datetime as dt
import socket
import ssl

import pytest
import requests
from tests.docker.door import door

from pulumi_mlflow.core import certificates, proxy
from pulumi_mlflow.docker.files import FILES_PATH

pytestmark = [pytest.mark.docker, pytest.mark.timeout(120)]

NOW = dt.datetime.now(dt.UTC)
PATHS = {"certificate_path": f"{FILES_PATH}/tls.crt", "key_path": f"{FILES_PATH}/tls.key"}


@pytest.fixture(scope="module")
def gate(client):
    issued = certificates.issue("test", ["mlflow.example.com"], NOW)
    with door(client) as found:
        files = {"tls.crt": issued.certificate, "tls.key": issued.key}
        found.start(files, auth="none", hsts=True, **PATHS)
        yield found, issued.ca


def connect(gate, ca, name="127.0.0.1", version=None):
    context = ssl.create_default_context(cadata=ca)
    # As strict as Python 3.13 is by itself.
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    if version:
        context.minimum_version = context.maximum_version = version
        context.set_ciphers("DEFAULT@SECLEVEL=0")
    with socket.create_connection(("127.0.0.1", gate.port), timeout=10) as plain:
        return context.wrap_socket(plain, server_hostname=name).version()


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "mlflow.example.com", "::1"])
def test_it_is_known_by_its_authority_under_all_its_names(gate, name):
    assert connect(*gate, name) == "TLSv1.3"


def test_nobody_else_is_known_by_it(gate):
    found, ca = gate
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        connect(found, ca, "other.example.com")
    other = certificates.issue("test", [], NOW).ca
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(found, other)


def test_nothing_older_than_tls_1_2(gate):
    assert connect(*gate, version=ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
    with (
        pytest.warns(DeprecationWarning, match="TLSv1_1"),
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        connect(*gate, version=ssl.TLSVersion.TLSv1_1)


def test_plain_http_is_sent_to_https(gate):
    found, _ = gate
    url = f"http://127.0.0.1:{found.port}/api/2.0/x?q=1"
    answer = requests.post(url, json={}, timeout=10, allow_redirects=False)
    assert answer.status_code == 308
    assert answer.headers["Location"] == f"https://127.0.0.1:{found.port}/api/2.0/x?q=1"


def test_browsers_stay_with_tls(gate, tmp_path):
    found, ca = gate
    (tmp_path / "ca.pem").write_text(ca)
    answer = requests.get(found.url + "/x", verify=tmp_path / "ca.pem", timeout=10)
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
    assert ["X-Forwarded-Proto", "https"] in answer.json()
    # A page of ours is not another site, and others are.
    for origin, passed in ((found.url, None), ("http://127.0.0.1", "http://127.0.0.1")):
        requests.post(
            found.url + "/x", headers={"Origin": origin}, verify=tmp_path / "ca.pem", timeout=10
        )
        assert found.behind.last.header("Origin") == passed
    health = requests.get(found.url + proxy.HEALTH_PATH, verify=tmp_path / "ca.pem", timeout=10)
    assert health.text == "ok\n"
