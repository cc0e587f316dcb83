"""Rules over the files that settings name: they are read here, before anything is made."""

import datetime as dt
import ipaddress
from collections.abc import Iterator
from pathlib import Path as File

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from models import FrontTls, Settings
from problems import Drop, Path, Problem, Put, Rule


def check(settings: Settings, root: File) -> list[Problem]:
    """All problems with files.

    Args:
        settings: settings that are right but for their files.
        root: folder that relative paths start at.
    """
    return [*_authorities(settings, root), *_front_door(settings, root)]


def read(root: File, name: str) -> str:
    """The text of a file that a setting names, once `check` has passed.

    Args:
        root: folder that relative paths start at.
        name: the setting's value.
    """
    return (root / name).read_text()


def _authorities(settings: Settings, root: File) -> Iterator[Problem]:
    named: dict[Path, str | None] = {}
    if settings.database.existing:
        named["database", "existing", "ca_file"] = settings.database.existing.ca_file
    for key in ("ca_file", "rds_proxy_ca_file"):
        named["database", key] = getattr(settings.database, key)
    if settings.artifacts.existing:
        named["artifacts", "existing", "ca_file"] = settings.artifacts.existing.ca_file
    if settings.backup and settings.backup.dump:
        named["backup", "dump", "ca_file"] = settings.backup.dump.ca_file
    if settings.access.oidc:
        named["access", "oidc", "ca_file"] = settings.access.oidc.ca_file
    for path, name in named.items():
        if name is not None:
            yield from _certificates(root, path, name, Drop(path))[1]


def _certificates(
    root: File, path: Path, name: str, mend: Drop | Put
) -> tuple[list[x509.Certificate], list[Problem]]:
    """The certificates in a file, or what is wrong with it."""
    try:
        return x509.load_pem_x509_certificates((root / name).read_bytes()), []
    except OSError as error:
        return [], [_unreadable(path, name, error, mend)]
    except ValueError:
        text = f'must be a file with certificates in PEM form (got "{name}")'
        return [], [Problem(Rule.FILE_CONTENT, path, text, mend)]


def _unreadable(path: Path, name: str, error: OSError, mend: Drop | Put) -> Problem:
    return Problem(
        Rule.FILE_MISSING,
        path,
        f'must be a file that can be read (got "{name}": {error.strerror})',
        mend,
    )


def _front_door(settings: Settings, root: File) -> Iterator[Problem]:
    access = settings.access
    if access.tls is not FrontTls.FILES or access.tls_certificate is None or access.tls_key is None:
        return
    # Whatever is wrong with them, a certificate that we make is the way on.
    mend = Put(("access", "tls"), FrontTls.SELF_SIGNED.value)
    path, key_path = ("access", "tls_certificate"), ("access", "tls_key")
    certificates, problems = _certificates(root, path, access.tls_certificate, mend)
    yield from problems
    try:
        key = serialization.load_pem_private_key((root / access.tls_key).read_bytes(), None)
    except OSError as error:
        yield _unreadable(key_path, access.tls_key, error, mend)
        return
    except (ValueError, TypeError):
        text = "must be a file with an unencrypted private key in PEM form (got a path to none)"
        yield Problem(Rule.FILE_CONTENT, key_path, text, mend)
        return
    if not certificates:
        return
    leaf = certificates[0]
    if leaf.public_key() != key.public_key():
        text = "must hold the key of access.tls_certificate (got another key)"
        yield Problem(Rule.TLS_PAIR, key_path, text, mend)
    now = dt.datetime.now(dt.UTC)
    if not leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc:
        dates = f"{leaf.not_valid_before_utc:%Y-%m-%d} to {leaf.not_valid_after_utc:%Y-%m-%d}"
        text = f"must be valid today (got one from {dates})"
        yield Problem(Rule.TLS_DATES, path, text, mend)
    missing = [host for host in access.hosts if not _covers(leaf, host)]
    if missing:
        text = (
            f"must be made for every host of access.hosts (got one that lacks {', '.join(missing)})"
        )
        yield Problem(Rule.TLS_HOST, path, text, mend)


def _covers(certificate: x509.Certificate, host: str) -> bool:
    """Whether clients take the certificate for this host (RFC 6125: the subject's common name no longer counts)."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    try:
        return ipaddress.ip_address(host) in names.get_values_for_type(x509.IPAddress)
    except ValueError:
        pass
    known = [name.lower() for name in names.get_values_for_type(x509.DNSName)]
    parent = host.lower().partition(".")[2]
    return host.lower() in known or f"*.{parent}" in known
