"""An identity provider for tests, which containers and the test reach under one URL."""

import contextlib
import datetime as dt
import logging
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import flask
import oidc_provider_mock
import requests
from authlib import jose
from oidc_provider_mock._storage import User
from werkzeug.serving import make_server

from pulumi_mlflow.core import certificates

CLIENT = "mlflow"

ADA = {
    "email": "ada@example.com",
    "email_verified": True,
    "name": "Ada",
    "groups": ["ml-team", "all"],
}

os.environ.setdefault("AUTHLIB_INSECURE_TRANSPORT", "1")


def write_certificate(folder: Path, name: str, *hosts: str) -> list[Path]:
    """A server's certificate, its key and its authority, as files of a folder."""
    issued = certificates.issue(name, list(hosts), dt.datetime.now(dt.UTC))
    parts = {"crt": issued.certificate, "key": issued.key, "ca": issued.ca}
    for end, text in parts.items():
        (folder / f"{name}.{end}").write_text(text)
    return [folder / f"{name}.{end}" for end in parts]


class Issuer:
    """A provider with one user, Ada.

    Attributes:
        url: its issuer URL.
    """

    def __init__(self, url: str, app: flask.Flask) -> None:
        self.url = url
        with app.test_request_context():
            app.preprocess_request()
            self._key = flask.g.oidc_provider_mock_storage.jwk

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Claims of a token that is right; a change of None takes one away."""
        now = int(dt.datetime.now(dt.UTC).timestamp())
        right = {"iss": self.url, "aud": CLIENT, "sub": "ada", "iat": now, "exp": now + 300, **ADA}
        return {key: value for key, value in {**right, **changes}.items() if value is not None}

    def token(self, **changes: Any) -> str:
        """A token that it has signed, right but for these claims."""
        return sign(self.claims(**changes), self._key)

    def public_key(self) -> bytes:
        return bytes(self._key.as_pem(is_private=False))

    @property
    def key_id(self) -> str:
        return str(self._key.thumbprint())


def sign(claims: dict[str, Any], key: Any, **header: str) -> str:
    """A token by any key."""
    found = jose.JsonWebToken(["RS256", "HS256", "none"]).encode(
        {"alg": "RS256", **header}, claims, key
    )
    return str(found.decode())


def new_key() -> Any:
    return jose.RSAKey.generate_key(2048, is_private=True)


@contextlib.contextmanager
def issuer(address: str, certificate: tuple[Path, Path] | None = None) -> Iterator[Issuer]:
    """Run a provider on an address of this machine.

    Args:
        address: where the containers find this machine.
        certificate: files of a certificate and its key, for https.
    """
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app = oidc_provider_mock.app(user_claims=[User(sub="ada", claims=dict(ADA))])
    ssl = (str(certificate[0]), str(certificate[1])) if certificate else None
    server = make_server(address, 0, app, threaded=True, ssl_context=ssl)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Issuer(f"{'https' if ssl else 'http'}://{address}:{server.server_port}", app)
    finally:
        server.shutdown()
        server.server_close()


def log_in(
    session: requests.Session, url: str, user: str = "ada", verify: Any = None
) -> list[requests.Response]:
    """Log in as a browser does: from a page of ours to the provider's form and back.

    Returns:
        All answers, those that redirect included; the last is the page.
    """
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    form = session.get(url, headers=browser, timeout=10, verify=verify)
    assert form.status_code == 200, (form.status_code, form.text)
    assert parse_qs(urlsplit(form.url).query)["client_id"] == [CLIENT], form.url
    assert re.search("<form", form.text)
    page = session.post(form.url, data={"sub": user}, headers=browser, timeout=10, verify=verify)
    return [*form.history, form, *page.history, page]
