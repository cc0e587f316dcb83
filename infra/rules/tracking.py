"""Rules over the server's settings."""

import math
from collections.abc import Iterator, Mapping

from models import Settings
from problems import Path, Problem, Put, Rule
from pulumi_mlflow.contracts import Engine
from pulumi_mlflow.core import budgets
from sections import Runtime

_MOST_CONNECTIONS = 1000
"""PostgreSQL starts a process per connection: above this the mend is fewer connections, not more of them."""

_USUAL: Mapping[Path, int] = {
    ("tracking", "workers"): 2,
    ("tracking", "replicas"): 2,
    ("database", "pool_size"): budgets.POOL_SIZE,
    ("database", "max_overflow"): budgets.MAX_OVERFLOW,
}


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
        pooled=database.pgbouncer,
        own_users=settings.access.auth.by_server,
    )
    if problem:
        path = ("database", "max_connections")
        yield Problem(Rule.CONNECTIONS, path, problem, _fewer_or_more(settings))


def _fewer_or_more(settings: Settings) -> Put:
    """More connections where that is reasonable, else less of what is furthest over its usual value."""
    tracking, database = settings.tracking, settings.database
    needed = budgets.database_connections(
        tracking.workers,
        tracking.replicas,
        database.pool_size,
        database.max_overflow,
        pooled=database.pgbouncer,
        own_users=settings.access.auth.by_server,
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


CHECKS = (_replicas, _connections, _worker_memory)
