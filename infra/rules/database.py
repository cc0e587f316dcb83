"""Rules over the database's settings."""

import re
from collections.abc import Iterator

import sizes
from models import Database, Settings, TlsMode
from problems import Drop, Path, Problem, Put, Rule, got, same_region, unused
from pulumi_mlflow.contracts import Engine
from pulumi_mlflow.core import aws_database, urls
from sections import CLOUD, Runtime

HOST_OF_CONTAINERS = "host.docker.internal"
"""The engine's machine, as containers know it."""

EXAMPLE_DATABASE = "db.example.com"

_MADE_ELSEWHERE = "for a server that this stack does not make"

_LONGEST_USER = 32
"""https://dev.mysql.com/doc/refman/8.0/en/user-names.html"""

_MYSQL_FAMILY = (Engine.MYSQL, Engine.MARIADB)

_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]{0,62}")
"""What we make needs no quotes anywhere. PostgreSQL's NAMEDATALEN is 64 with its closing zero."""

_RESERVED = {
    "name": {"postgres", "template0", "template1", "mysql", "sys", "information_schema"},
    "username": {"root", "mysql", "public", "rdsadmin"},
}
_MYSQLS_OWN = {"mysql", "sys", "information_schema", "performance_schema"}
_SYSTEM = {
    Engine.POSTGRESQL: {"template0", "template1", "rdsadmin"},
    Engine.MYSQL: _MYSQLS_OWN,
    Engine.MARIADB: _MYSQLS_OWN,
}
"""Databases that nobody may use for tables of their own."""

_NAME_RULES = {"name": Rule.DATABASE_NAME, "username": Rule.DATABASE_USER}
_LONGEST = {
    # Bytes in PostgreSQL, characters in the others.
    Engine.POSTGRESQL: {"name": 63, "username": 63},
    Engine.MYSQL: {"name": 64, "username": _LONGEST_USER},
    Engine.MARIADB: {"name": 64, "username": 128},
}


def _made_names(settings: Settings) -> Iterator[Problem]:
    database = settings.database
    if database.existing is not None:
        return
    for key, rule in _NAME_RULES.items():
        name, path = getattr(database, key), ("database", key)
        reason = None
        if not _IDENTIFIER.fullmatch(name):
            reason = "must be 1-63 lower-case letters, digits or _, and start with a letter or _"
        elif name in _RESERVED[key] or name.startswith("pg_"):
            reason = "must not be a name that the database keeps for itself"
        if reason:
            yield Problem(rule, path, f"{reason} {got(path, name, ())}", Put(path, "mlflow"))


def _existing_names(settings: Settings) -> Iterator[Problem]:
    database = settings.database
    if database.existing is None or database.engine not in _LONGEST:
        return
    for key, longest in _LONGEST[database.engine].items():
        name, path = getattr(database, key), ("database", key)
        postgresql = database.engine is Engine.POSTGRESQL
        length = len(name.encode()) if postgresql else len(name)
        if length > longest:
            unit = "bytes" if postgresql else "characters"
            text = f"must have at most {longest} {unit} for {database.engine.value} {got(path, name, ())}"
            yield Problem(Rule.NAME_LENGTH, path, text, Put(path, "mlflow"))
    if database.name.lower() in _SYSTEM[database.engine]:
        path = ("database", "name")
        text = f"must not be a database that the server keeps for itself {got(path, database.name, ())}"
        yield Problem(Rule.SYSTEM_DATABASE, path, text, Put(path, "mlflow"))


def _user_length(settings: Settings) -> Iterator[Problem]:
    name = settings.database.username
    if settings.database.existing is not None:
        return
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
        yield unused(
            Rule.EXISTING_ENGINE, path, "for sqlite, a file in a volume of this stack", existing
        )
        return
    if "memory_mb" in database.model_fields_set:
        yield _unused(Rule.EXISTING_MEMORY, "memory_mb", _MADE_ELSEWHERE, database)
    cloud = settings.runtime in CLOUD
    if urls.is_loopback(existing.host) or (cloud and existing.host == HOST_OF_CONTAINERS):
        host = (*path, "host")
        text = f"must not be loopback, which is the container itself; the engine's machine is {HOST_OF_CONTAINERS}"
        yield Problem(
            Rule.EXISTING_LOOPBACK,
            host,
            f'{"must be a host that servers in the cloud reach" if cloud else text} (got "{existing.host}")',
            Put(host, EXAMPLE_DATABASE if cloud else HOST_OF_CONTAINERS),
        )
    if cloud:
        yield from _not_made(settings)
    if existing.search_path and database.engine is not Engine.POSTGRESQL:
        yield unused(
            Rule.SEARCH_PATH,
            (*path, "search_path"),
            f"for {database.engine.value}, where a database has no schemas",
            existing.search_path,
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


_OF_MADE = (
    "aurora",
    "instance_class",
    "storage_gb",
    "storage_class",
    "instances",
    "archive",
    "multi_az",
    "read_replica",
    "rds_proxy",
    "iam_auth",
    "backup_days",
    "backup_region",
    "ca_file",
    "rds_proxy_ca_file",
    "apply_immediately",
    "allow_major_upgrade",
    "deletion_protection",
)
"""Settings of a database that a cloud stack makes."""


def _not_made(settings: Settings) -> Iterator[Problem]:
    database = settings.database
    for key in _OF_MADE:
        if key in database.model_fields_set:
            yield _unused(Rule.NOT_MADE, key, _MADE_ELSEWHERE, database)


def _unused(rule: Rule, key: str, why: str, database: Database) -> Problem:
    return unused(rule, ("database", key), why, getattr(database, key))


def _rds(settings: Settings) -> Iterator[Problem]:
    database = settings.database
    if not sizes.rds(settings):
        return
    names = {"name": database.name}
    if sizes.fargate(settings):
        names["username"] = database.username
    for key, name in names.items():
        reason = aws_database.check_name(name)
        if name == aws_database.ADMIN:
            reason = f'is the administrator\'s (got "{name}")'
        if reason:
            yield Problem(Rule.RDS_NAME, ("database", key), reason, Drop(("database", key)))
    region = settings.aws.region if settings.aws else ""
    if database.backup_region == region:
        yield same_region(("database", "backup_region"), region)
    if database.rds_proxy_ca_file and not database.rds_proxy:
        yield _unused(Rule.RDS_PROXY, "rds_proxy_ca_file", "without database.rds_proxy", database)
    if database.aurora:
        yield from _aurora(database)


def _rds_cannot(settings: Settings) -> Iterator[Problem]:
    """What RDS or its parameter groups would refuse."""
    database = settings.database
    if not sizes.rds(settings):
        return
    engine = f"aurora-{database.engine.value}" if database.aurora else database.engine.value
    if database.read_replica and sizes.fargate(settings):
        path: Path = ("database", "read_replica")
        if reason := aws_database.check_replica(engine):
            yield Problem(Rule.READ_REPLICA, path, reason, Drop(path))
    if reason := aws_database.check_major_upgrade(
        allowed=database.allow_major_upgrade, immediately=database.apply_immediately
    ):
        path = ("database", "allow_major_upgrade")
        mend = Put(("database", "apply_immediately"), value=True)
        yield Problem(Rule.MAJOR_UPGRADE, path, reason, mend)


def _aurora(database: Database) -> Iterator[Problem]:
    if "backup_region" in database.model_fields_set:
        why = "with aurora, whose backups backup.copy_region copies"
        yield _unused(Rule.AURORA, "backup_region", why, database)
    if "storage_gb" in database.model_fields_set:
        yield _unused(
            Rule.AURORA, "storage_gb", "with aurora, whose disk grows by itself", database
        )
    if (database.instance_class or "").startswith("db.m"):
        path: Path = ("database", "instance_class")
        yield Problem(
            Rule.AURORA,
            path,
            f'must be a db.r, db.t or db.x class with aurora (got "{database.instance_class}")',
            Put(path, "db.r7g.large"),
        )


def _in_cluster(settings: Settings) -> Iterator[Problem]:
    database = settings.database
    if settings.runtime is not Runtime.KUBERNETES or database.existing is not None:
        return
    if database.engine is Engine.MYSQL:
        path: Path = ("database", "engine")
        yield Problem(
            Rule.CLUSTER_MYSQL,
            path,
            "must be postgresql where the database is made in the cluster; another one can be given as "
            f'database.existing (got "{database.engine.value}")',
            Put(path, Engine.POSTGRESQL.value),
        )


CHECKS = (
    _made_names,
    _existing_names,
    _user_length,
    _pgbouncer,
    _existing,
    _rds,
    _rds_cannot,
    _in_cluster,
)
