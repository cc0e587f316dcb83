"""Certificates and keys that rows of bad_configs.yaml ask for by kind."""

import datetime as dt
import functools
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "mlflow.corp.example"
_PLAIN = serialization.NoEncryption()


@functools.cache
def _key(_name: str) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _certificate(host: str = HOST, days: int = 30) -> bytes:
    now = dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(_key("its own").public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=60))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(_key("its own"), hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


def _private(name: str) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return _key(name).private_bytes(serialization.Encoding.PEM, form, _PLAIN)


KINDS = {
    "certificate": _certificate,
    "expired": lambda: _certificate(days=-1),
    "other-host": lambda: _certificate("other.corp.example"),
    "key": lambda: _private("its own"),
    "other-key": lambda: _private("another"),
    "text": lambda: b"no PEM\n",
}


def write(folder: Path, files: dict[str, str]) -> None:
    """Make the files of a row: name → kind."""
    for name, kind in files.items():
        (folder / name).write_bytes(KINDS[kind]())
