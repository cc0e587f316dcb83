"""Rules over the database's settings."""

from collections.abc import Iterator

from models import Settings, TlsMode
from problems import Drop, Path, Problem, Put, Rule
from pulumi_mlflow.contracts import Engine
from pulumi_mlflow.core import urls

HOST_OF_CONTAINERS = "host.docker.internal"
"""The engine's machine, as containers know it."""

_LONGEST_USER = 32
"""https://dev.mysql.com/doc/refman/8.0/en/user-names.html"""

_MYSQL_FAMILY = (Engine.MYSQL, Engine.MARIADB)


def _user_length(settings: Settings) -> Iterator[Problem]:
    name = settings.database.username
    if settings.database.engine in _MYSQL_FAMILY and len(name) > _LONGEST_USER:
        path = ("database", "username")
        yield Problem(
            Rule.USER_LENGTH,
            path,
            f"must have at most {_LONGEST_USER} characters for {settings.database.engine.value} "
            f'(got {len(name)}: "{name[:40]}…")',
            Put(path, "mlflow"),
        )


def _pgbouncer(settings: Settings) -> Iterator[Problem]:
    database = settings.database
    if database.pgbouncer and database.engine is not Engine.POSTGRESQL:
        path = ("database", "pgbouncer")
        yield Problem(
            Rule.PGBOUNCER,
            path,
            f"must be false for {database.engine.value}, whose protocol PgBouncer does not speak (got true)",
            Put(path, value=False),
        )


def _existing(settings: Settings) -> Iterator[Problem]:
    database = settings.database
    existing = database.existing
    if existing is None:
        return
    path: Path = ("database", "existing")
    if database.engine is Engine.SQLITE:
        yield Problem(
            Rule.EXISTING_ENGINE,
            path,
            "has no meaning for sqlite, a file in a volume of this stack (got a mapping)",
            Drop(path),
        )
        return
    if "memory_mb" in database.model_fields_set:
        memory: Path = ("database", "memory_mb")
        yield Problem(
            Rule.EXISTING_MEMORY,
            memory,
            f"has no meaning for a server that this stack does not make (got {database.memory_mb})",
            Drop(memory),
        )
    if urls.is_loopback(existing.host):
        host = (*path, "host")
        yield Problem(
            Rule.EXISTING_LOOPBACK,
            host,
            "must not be loopback, which is the container itself; the engine's machine is "
            f'{HOST_OF_CONTAINERS} (got "{existing.host}")',
            Put(host, HOST_OF_CONTAINERS),
        )
    verified = existing.tls_mode in (TlsMode.VERIFY_CA, TlsMode.VERIFY_FULL)
    if verified and existing.ca_file is None:
        yield Problem(
            Rule.CA_MISSING,
            (*path, "ca_file"),
            f"must name the certificate of the authority, since tls_mode is {existing.tls_mode.value}; without "
            "it the connection can only be encrypted (got nothing)",
            Put((*path, "tls_mode"), TlsMode.REQUIRE.value),
        )
    if existing.ca_file is not None and not verified:
        yield Problem(
            Rule.CA_UNUSED,
            (*path, "ca_file"),
            f"has no effect while tls_mode is {existing.tls_mode.value}, which verifies nothing "
            f'(got "{existing.ca_file}")',
            Put((*path, "tls_mode"), TlsMode.VERIFY_FULL.value),
        )


CHECKS = (_user_length, _pgbouncer, _existing)
