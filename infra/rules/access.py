"""Rules over the front door's settings."""

import ipaddress
from collections.abc import Iterator
from urllib.parse import urlsplit

from models import FrontTls, Settings
from problems import Drop, Path, Problem, Put, Rule, unused
from pulumi_mlflow.contracts import AuthMode
from pulumi_mlflow.core import urls
from sections import Runtime
from values import EXAMPLE_HOST, EXAMPLE_ISSUER

_OPEN_ISSUERS = {
    "accounts.google.com",
    "login.microsoftonline.com",
    "gitlab.com",
    "appleid.apple.com",
    "login.salesforce.com",
    "www.linkedin.com",
    "token.actions.githubusercontent.com",
}
"""Providers at which anybody can have an account. Microsoft's hosts every company's, told apart by the path."""

_MICROSOFT = "login.microsoftonline.com"
_MICROSOFT_OPEN = {"common", "organizations", "consumers"}
"""https://learn.microsoft.com/entra/identity-platform/v2-protocols-oidc"""


def _auth_none(settings: Settings) -> Iterator[Problem]:
    access = settings.access
    if access.auth is not AuthMode.NONE or urls.is_loopback(access.bind):
        return
    mend = (
        Put(("access", "bind"), "127.0.0.1")
        if settings.runtime is Runtime.LOCAL
        else Put(("access", "auth"), AuthMode.BASIC.value)
    )
    yield Problem(
        Rule.AUTH_NONE,
        ("access", "auth"),
        f'must not be none while mlflow:access.bind is beyond loopback (got "none" on "{access.bind}")',
        mend,
    )


def _host_missing(settings: Settings) -> Iterator[Problem]:
    if settings.runtime is Runtime.LOCAL or settings.access.hosts:
        return
    bind = settings.access.bind
    if settings.runtime is Runtime.DOCKER and urls.is_loopback(bind):
        return
    host = EXAMPLE_HOST
    if settings.runtime is Runtime.DOCKER and not ipaddress.ip_address(bind).is_unspecified:
        host = bind
    yield Problem(
        Rule.HOST_MISSING,
        ("access", "hosts"),
        f"must name the public host, since others than this machine reach the server (got []; "
        f"put your own name for {host})",
        Put(("access", "hosts", 0), host),
    )


def _port_privileged(settings: Settings) -> Iterator[Problem]:
    port = settings.access.port
    if settings.runtime is Runtime.LOCAL and port < 1024:  # noqa: PLR2004 - ports of root
        yield Problem(
            Rule.PORT_PRIVILEGED,
            ("access", "port"),
            f"must be ≥ 1024 in the local runtime, whose server runs as you (got {port})",
            Put(("access", "port"), 5000),
        )


def _plain_text(settings: Settings) -> Iterator[Problem]:
    access = settings.access
    if (
        settings.runtime is Runtime.DOCKER
        and not urls.is_loopback(access.bind)
        and "tls" not in access.model_fields_set
        and not (access.tls_certificate or access.tls_key)
    ):
        path: Path = ("access", "tls")
        yield Problem(
            Rule.PLAIN_TEXT,
            path,
            f"must be given while mlflow:access.bind is beyond loopback ({access.bind}), or logins cross the network "
            "unencrypted; none is right where TLS ends before us (got nothing)",
            Put(path, FrontTls.SELF_SIGNED.value),
        )


def _tls(settings: Settings) -> Iterator[Problem]:
    access = settings.access
    given = {
        key: getattr(access, key)
        for key in ("tls_certificate", "tls_key")
        if getattr(access, key) is not None
    }
    if access.tls is FrontTls.FILES and len(given) != 2:  # noqa: PLR2004 - certificate and key
        yield Problem(
            Rule.TLS_FILES,
            ("access", "tls"),
            "must not be files without both access.tls_certificate and access.tls_key "
            f'(got "files" and {" and ".join(given) or "neither"})',
            Put(("access", "tls"), FrontTls.SELF_SIGNED.value),
        )
    elif given and "tls" not in access.model_fields_set:
        yield Problem(
            Rule.TLS_FILES,
            ("access", "tls"),
            f"must be files for {' and '.join(given)} to have an effect (got nothing)",
            Put(("access", "tls"), FrontTls.FILES.value),
        )


def _oidc(settings: Settings) -> Iterator[Problem]:
    access = settings.access
    path: Path = ("access", "oidc")
    if not access.auth.by_provider:
        if access.oidc is not None:
            why = f"while access.auth is {access.auth.value}, only with oidc and oidc-mlflow"
            yield unused(Rule.OIDC_UNUSED, path, why, access.oidc)
        return
    if access.oidc is None:
        cognito = settings.aws is not None and settings.aws.cognito is not None
        if settings.runtime is not Runtime.LOCAL and not cognito:
            yield Problem(
                Rule.OIDC_MISSING,
                path,
                f"must name the provider's issuer and client_id for access.auth {access.auth.value} (got nothing)",
                Put((*path, "issuer"), EXAMPLE_ISSUER),
            )
        return
    if (
        _is_open(access.oidc.issuer)
        and not access.oidc.allowed_groups
        and not access.oidc.email_domains
    ):
        yield Problem(
            Rule.OIDC_EVERYBODY,
            (*path, "email_domains"),
            f"must say whose users may log in, since anybody can have an account at {access.oidc.issuer} "
            "(got []; put your own domain for example.com)",
            Put((*path, "email_domains", 0), "example.com"),
        )
    if access.oidc.admin_groups and access.auth is not AuthMode.OIDC_MLFLOW:
        yield unused(
            Rule.ADMIN_GROUPS,
            (*path, "admin_groups"),
            "while access.auth is oidc, only with oidc-mlflow",
            access.oidc.admin_groups,
        )


def _is_open(issuer: str) -> bool:
    parts = urlsplit(issuer)
    tenant = parts.path.strip("/").split("/")[0]
    if parts.hostname == _MICROSOFT:
        return tenant in _MICROSOFT_OPEN
    return parts.hostname in _OPEN_ISSUERS


def _users(settings: Settings) -> Iterator[Problem]:
    access = settings.access
    if access.auth is not AuthMode.BASIC:
        for key in ("username", "users"):
            if key in access.model_fields_set and settings.runtime is not Runtime.LOCAL:
                why = f"while access.auth is {access.auth.value}, only with basic"
                yield unused(Rule.USERS_UNUSED, ("access", key), why)
        return
    seen = {access.username}
    for index, name in enumerate(access.users):
        if name in seen:
            yield Problem(
                Rule.USERS_TWICE,
                ("access", "users", index),
                f'must not be named twice (got "{name}")',
                Drop(("access", "users", index)),
            )
            return  # the indexes of the others change with the mend
        seen.add(name)


def _permissions(settings: Settings) -> Iterator[Problem]:
    access = settings.access
    path: Path = ("access", "permissions")
    if access.permissions is None:
        return
    if not access.auth.by_server:
        why = f"while access.auth is {access.auth.value}, only with mlflow and oidc-mlflow"
        yield unused(Rule.PERMISSIONS_UNUSED, path, why, access.permissions)
    elif access.permissions.groups and access.auth is not AuthMode.OIDC_MLFLOW:
        yield unused(
            Rule.PERMISSION_GROUPS,
            (*path, "groups"),
            "while access.auth is mlflow, whose users have no groups",
            access.permissions.groups,
        )


CHECKS = (
    _auth_none,
    _host_missing,
    _port_privileged,
    _plain_text,
    _tls,
    _oidc,
    _users,
    _permissions,
)
