"""Rules over several settings, checked before any resource is registered."""

import ipaddress
import math
from collections.abc import Callable, Iterable, Iterator, Mapping

from models import EXAMPLE_HOST, Images, Runtime, Settings, Store
from problems import Path, Problem, Put, Rule
from pulumi_mlflow.contracts import AuthMode, Engine
from pulumi_mlflow.core import budgets

OFFERED: Mapping[Path, Mapping[Runtime, tuple[str, ...]]] = {
    ("database", "engine"): {
        Runtime.LOCAL: (Engine.SQLITE.value,),
        Runtime.DOCKER: (Engine.POSTGRESQL.value,),
        Runtime.AWS: (Engine.POSTGRESQL.value, Engine.MYSQL.value),
        Runtime.KUBERNETES: (Engine.POSTGRESQL.value, Engine.MYSQL.value),
    },
    ("artifacts", "store"): {
        Runtime.LOCAL: (Store.FOLDER.value,),
        Runtime.DOCKER: (Store.VERSITYGW.value,),
        Runtime.AWS: (Store.S3.value,),
        Runtime.KUBERNETES: (Store.S3.value, Store.VERSITYGW.value),
    },
    ("access", "auth"): {
        Runtime.LOCAL: (AuthMode.NONE.value,),
        Runtime.DOCKER: (AuthMode.BASIC.value, AuthMode.NONE.value),
        Runtime.AWS: (AuthMode.OIDC.value, AuthMode.MLFLOW.value, AuthMode.BASIC.value),
        Runtime.KUBERNETES: (AuthMode.OIDC.value, AuthMode.MLFLOW.value, AuthMode.BASIC.value),
    },
}
"""What each runtime offers in this release; the first is its default."""

VERSIONS: Mapping[Engine, tuple[str, ...]] = {
    Engine.POSTGRESQL: ("15", "14", "16", "17"),
    Engine.MYSQL: ("8.4", "8.0"),
    Engine.SQLITE: ("3",),
}
"""Major versions of each engine; the first is the default."""

BUILD_VERSION = "15"
"""PostgreSQL of Debian 12, from which images are built where no image registry is reachable."""

_RULE_OF_KEY: Mapping[Path, Rule] = {
    ("database", "engine"): Rule.ENGINE,
    ("artifacts", "store"): Rule.STORE,
    ("access", "auth"): Rule.AUTH,
}

_MOST_CONNECTIONS = 1000
"""PostgreSQL starts a process per connection: above this the mend is fewer connections, not more of them."""

_USUAL: Mapping[Path, int] = {
    ("tracking", "workers"): 2,
    ("tracking", "replicas"): 2,
    ("database", "pool_size"): budgets.POOL_SIZE,
    ("database", "max_overflow"): budgets.MAX_OVERFLOW,
}


def check(settings: Settings) -> list[Problem]:
    """All problems that several settings have together."""
    return [problem for rule in _CHECKS for problem in rule(settings)]


def _offered(settings: Settings) -> Iterator[Problem]:
    values: dict[Path, str] = {
        ("database", "engine"): settings.database.engine.value,
        ("artifacts", "store"): settings.artifacts.store.value,
        ("access", "auth"): settings.access.auth.value,
    }
    for path, value in values.items():
        offered = OFFERED[path][settings.runtime]
        if value not in offered:
            yield Problem(
                _RULE_OF_KEY[path],
                path,
                f"must be {' or '.join(offered)} while mlflow:runtime is {settings.runtime} "
                f'(got "{value}")',
                Put(path, offered[0]),
            )


def _auth_none(settings: Settings) -> Iterator[Problem]:
    access = settings.access
    if access.auth is not AuthMode.NONE or _is_loopback(access.bind):
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
    if settings.runtime is Runtime.DOCKER and _is_loopback(bind):
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


def _replicas(settings: Settings) -> Iterator[Problem]:
    replicas = settings.tracking.replicas
    path = ("tracking", "replicas")
    if replicas == 1:
        return
    if settings.database.engine is Engine.SQLITE:
        yield Problem(
            Rule.SQLITE_REPLICAS,
            path,
            f"must be 1 with SQLite, a file that one server uses (got {replicas})",
            Put(path, 1),
        )
    elif settings.runtime is Runtime.DOCKER:
        yield Problem(
            Rule.DOCKER_REPLICAS,
            path,
            f"must be 1 in the docker runtime of this release (got {replicas})",
            Put(path, 1),
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


def _database_version(settings: Settings) -> Iterator[Problem]:
    engine, version = settings.database.engine, settings.database.version
    path = ("database", "version")
    if version not in VERSIONS[engine]:
        yield Problem(
            Rule.DATABASE_VERSION,
            path,
            f"must be one of {', '.join(sorted(VERSIONS[engine]))} for {engine.value} "
            f'(got "{version}")',
            Put(path, VERSIONS[engine][0]),
        )
    elif settings.images is Images.BUILD and version != BUILD_VERSION:
        yield Problem(
            Rule.BUILD_VERSION,
            path,
            f"must be {BUILD_VERSION} where images are built from packages, which hold no other "
            f'(got "{version}")',
            Put(path, BUILD_VERSION),
        )


def _connections(settings: Settings) -> Iterator[Problem]:
    if settings.database.engine is Engine.SQLITE:
        return
    tracking, database = settings.tracking, settings.database
    problem = budgets.check_connections(
        tracking.workers,
        tracking.replicas,
        database.pool_size,
        database.max_overflow,
        database.max_connections,
    )
    if problem:
        path = ("database", "max_connections")
        yield Problem(Rule.CONNECTIONS, path, problem, _fewer_or_more(settings))


def _fewer_or_more(settings: Settings) -> Put:
    """More connections where that is reasonable, else less of what is furthest over its usual value."""
    tracking, database = settings.tracking, settings.database
    needed = budgets.CONNECTION_HEADROOM + budgets.server_connections(
        tracking.workers, tracking.replicas, database.pool_size, database.max_overflow
    )
    if needed <= _MOST_CONNECTIONS:
        return Put(("database", "max_connections"), math.ceil(needed / 10) * 10)
    values: dict[Path, int] = {
        ("tracking", "workers"): tracking.workers,
        ("tracking", "replicas"): tracking.replicas,
        ("database", "pool_size"): database.pool_size,
        ("database", "max_overflow"): database.max_overflow,
    }
    furthest: Path = max(values, key=lambda key: values[key] / _USUAL[key])
    return Put(furthest, _USUAL[furthest])


def _worker_memory(settings: Settings) -> Iterator[Problem]:
    tracking = settings.tracking
    if tracking.memory_mb is None:
        return
    problem = budgets.check_memory(tracking.workers, tracking.memory_mb)
    if problem:
        path = ("tracking", "memory_mb")
        yield Problem(
            Rule.WORKER_MEMORY,
            path,
            problem,
            Put(path, budgets.server_memory_mb(tracking.workers)),
        )


_CHECKS: tuple[Callable[[Settings], Iterable[Problem]], ...] = (
    _offered,
    _auth_none,
    _host_missing,
    _replicas,
    _port_privileged,
    _database_version,
    _connections,
    _worker_memory,
)


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback
