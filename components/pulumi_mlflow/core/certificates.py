"""A certificate authority and a server certificate for development."""

import datetime as dt
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_DAYS = 3650
"""How long the authority is valid, in days: clients are told of it by hand, so seldom."""

SERVER_DAYS = 365
"""How long a server's certificate is valid, in days: browsers take 398 at most."""

RENEW_DAYS = 30
"""How many days before its end a certificate is renewed."""

_LOOPBACK = ("localhost", "127.0.0.1", "::1")

_SKEW = dt.timedelta(hours=1)
"""Clocks that go after ours still find a new certificate valid."""

_NAME_LIMIT = 64
"""Longest common name, in characters (RFC 5280, A.1)."""


@dataclass(frozen=True)
class Issued:
    """An authority, and a server certificate that it has signed; all PEM.

    Attributes:
        ca: the authority's certificate, for clients.
        ca_key: its key.
        certificate: the server's certificate.
        key: its key.
    """

    ca: str
    ca_key: str = field(repr=False)
    certificate: str
    key: str = field(repr=False)


def issue(name: str, hosts: Iterable[str], now: dt.datetime, known: Issued | None = None) -> Issued:
    """A server certificate, by a new authority or by the one that is known.

    Args:
        name: whose authority it is, such as the deployment.
        hosts: host names and addresses, beside this machine's own.
        now: the time.
        known: what was issued before: its authority signs again while it is valid long enough.
    """
    if known and not is_due(known.ca, now):
        ca = x509.load_pem_x509_certificate(known.ca.encode())
        ca_key = serialization.load_pem_private_key(known.ca_key.encode(), password=None)
        if not isinstance(ca_key, ec.EllipticCurvePrivateKey):
            raise TypeError("ca_key: must be an elliptic curve key")
    else:
        ca_key = ec.generate_private_key(ec.SECP256R1())
        ca = _authority(name, ca_key, now)
    key = ec.generate_private_key(ec.SECP256R1())
    names = sorted({*hosts, *_LOOPBACK})
    end = min(now + dt.timedelta(days=SERVER_DAYS), ca.not_valid_after_utc)
    certificate = (
        _builder(_name(name), ca.subject, key.public_key(), now, end)
        .add_extension(x509.SubjectAlternativeName([_general(host) for host in names]), False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        .add_extension(_usage(ca=False), True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), False
        )
        .sign(ca_key, hashes.SHA256())
    )
    return Issued(_pem(ca), _key_pem(ca_key), _pem(certificate), _key_pem(key))


def is_due(certificate: str, now: dt.datetime) -> bool:
    """Whether a certificate (PEM) must be renewed."""
    end = x509.load_pem_x509_certificate(certificate.encode()).not_valid_after_utc
    return end - now < dt.timedelta(days=RENEW_DAYS)


def _authority(name: str, key: ec.EllipticCurvePrivateKey, now: dt.datetime) -> x509.Certificate:
    own = _name(f"{name} development CA")
    end = now + dt.timedelta(days=CA_DAYS)
    return (
        _builder(own, own, key.public_key(), now, end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .add_extension(_usage(ca=True), True)
        .sign(key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: dt.datetime,
    end: dt.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), False)
    )


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[-_NAME_LIMIT:])])


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return x509.DNSName(host.encode("idna").decode() if not host.isascii() else host)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
