"""Rules over the server's settings."""

import math
from collections.abc import Iterator, Mapping

import sizes
from models import Extra, Settings
from problems import Drop, Mend, Path, Problem, Put, Rule, unused
from pulumi_mlflow.contracts import Engine
from pulumi_mlflow.core import aws_database, budgets, ecs, profiles
from sections import CLOUD, Runtime

_MOST_CONNECTIONS = 1000
"""PostgreSQL starts a process per connection: above this the mend is fewer connections, not more of them."""

_MOST_IN_RDS = 3600
"""What the class of the largest size has, see core/profiles.py."""

_USUAL: Mapping[Path, int] = {
    ("tracking", "workers"): 2,
    ("tracking", "replicas"): 2,
    ("tracking", "max_replicas"): 3,
    ("database", "pool_size"): budgets.POOL_SIZE,
    ("database", "max_overflow"): budgets.MAX_OVERFLOW,
}


def _replicas(settings: Settings) -> Iterator[Problem]:
    replicas = settings.tracking.replicas
    path = ("tracking", "replicas")
    if replicas == 1 or settings.runtime in CLOUD:
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


def _max_replicas(settings: Settings) -> Iterator[Problem]:
    tracking = settings.tracking
    if tracking.max_replicas is not None and tracking.max_replicas < tracking.replicas:
        path: Path = ("tracking", "max_replicas")
        yield Problem(
            Rule.MAX_REPLICAS,
            path,
            f"must be ≥ tracking.replicas, {tracking.replicas} (got {tracking.max_replicas})",
            Put(path, tracking.replicas),
        )


def _peak(settings: Settings) -> int:
    """Most servers at once: in a cloud those of autoscaling, while a version is rolled out."""
    tracking = settings.tracking
    if settings.runtime not in CLOUD:
        return tracking.replicas
    most = max(tracking.replicas, tracking.max_replicas or 1)
    return profiles.peak_replicas(most, doubled=sizes.fargate(settings))


def _connections(settings: Settings) -> Iterator[Problem]:
    if settings.database.engine is Engine.SQLITE:
        return
    tracking, database = settings.tracking, settings.database
    jobs = sizes.jobs_connections(settings)
    problem = budgets.check_connections(
        tracking.workers,
        _peak(settings),
        database.pool_size,
        database.max_overflow,
        database.max_connections - jobs,
        pooled=database.pgbouncer,
        own_users=settings.access.auth.by_server,
    )
    if problem and not (sizes.rds(settings) and database.rds_proxy):
        path = ("database", "max_connections")
        if settings.runtime in CLOUD:
            problem = (
                f"{problem}; counted are tracking.max_replicas, "
                f"{tracking.max_replicas or tracking.replicas}, while a version is rolled out"
            )
        if jobs:
            problem = (
                f"{problem}; {jobs} of {database.max_connections} are for the server that runs jobs"
            )
        yield Problem(Rule.CONNECTIONS, path, problem, _fewer_or_more(settings))
    elif sizes.rds(settings):
        yield from _class_connections(settings)


def _class_connections(settings: Settings) -> Iterator[Problem]:
    """RDS's own limit, which the class's memory sets."""
    database, path = settings.database, ("database", "max_connections")
    instance_class = database.instance_class or ""
    reason = aws_database.check_connections(instance_class, database.max_connections)
    if not reason:
        return
    needed = sizes.needed_connections(settings)
    fitting = profiles.smallest(needed)
    mend: Mend
    if not aws_database.check_connections(instance_class, needed):
        mend = Put(path, needed)
    elif fitting:
        larger = profiles.PROFILES[fitting].instance_class
        mend = Put(("database", "instance_class"), larger)
    else:
        mend = _furthest(settings)
    yield Problem(Rule.CLASS_CONNECTIONS, path, reason, mend)


def _fewer_or_more(settings: Settings) -> Put:
    """More connections where that is reasonable, else less of what is furthest over its usual value."""
    tracking, database = settings.tracking, settings.database
    needed = budgets.database_connections(
        tracking.workers,
        _peak(settings),
        database.pool_size,
        database.max_overflow,
        pooled=database.pgbouncer,
        own_users=settings.access.auth.by_server,
    )
    needed += sizes.jobs_connections(settings)
    # RDS's limit by class is a rule of its own.
    most = _MOST_IN_RDS if sizes.rds(settings) else _MOST_CONNECTIONS
    if needed <= most:
        return Put(("database", "max_connections"), math.ceil(needed / 10) * 10)
    return _furthest(settings)


def _furthest(settings: Settings) -> Put:
    """Less of what is furthest over its usual value."""
    tracking, database = settings.tracking, settings.database
    values: dict[Path, int] = {
        ("tracking", "workers"): tracking.workers,
        ("tracking", "replicas"): tracking.replicas,
        ("tracking", "max_replicas"): tracking.max_replicas or 1,
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


def _fargate(settings: Settings) -> Iterator[Problem]:
    tracking = settings.tracking
    if not sizes.fargate(settings):
        return
    wanted = {
        "cpus": (1, tracking.cpus, None),
        "memory_mb": (1, None, tracking.memory_mb),
        "workers": (tracking.workers, None, None),
    }
    for key, size in wanted.items():
        try:
            ecs.server_size(*size)
        except ValueError:
            path: Path = ("tracking", key)
            yield Problem(
                Rule.FARGATE_SIZE,
                path,
                "must fit into 16 CPUs and 122880 MiB, what a task of Fargate has at most (half a CPU a worker); take "
                f"more replicas of fewer workers (got {getattr(tracking, key):g})",
                Put(path, 2) if key == "workers" else Drop(path),
            )
    try:
        ecs.storage_gb(tracking.scratch_mb or 0)
    except ValueError as error:
        path = ("tracking", "scratch_mb")
        yield Problem(Rule.FARGATE_DISK, path, str(error).removeprefix("scratch_mb: "), Drop(path))


def _extras(settings: Settings) -> Iterator[Problem]:
    """What would be in the image, or would not, and nothing would use."""
    extras = settings.tracking.extras
    if extras and settings.registry is not None and settings.registry.server is not None:
        why = "with registry.server, an image that there is and that has what it has"
        yield unused(Rule.EXTRA_UNUSED, ("tracking", "extras"), why, extras)
        return
    scraped = settings.monitoring is not None and settings.monitoring.namespace is not None
    users = {
        Extra.METRICS: (scraped, "monitoring.namespace"),
        Extra.REDIS: (settings.jobs_redis_url is not None, "jobs_redis_url"),
    }
    for index, extra in enumerate(extras):
        used, by = users.get(extra, (True, ""))
        if not used:
            why = f"without {by}, which brings it along by itself"
            yield unused(Rule.EXTRA_UNUSED, ("tracking", "extras", index), why, extra.value)


CHECKS = (_extras, _replicas, _max_replicas, _connections, _worker_memory, _fargate)
