"""What a cloud stack's `size` stands for, put into its settings where they say nothing else."""

from typing import Any, TypeVar, cast

from cloud_models import Compute
from models import Settings
from pulumi_mlflow.core import aws_database, budgets, profiles
from sections import CLOUD, Runtime, Section

_Section = TypeVar("_Section", bound=Section)


def fargate(settings: Settings) -> bool:
    """Whether servers are tasks of ECS."""
    return settings.runtime is Runtime.AWS and (
        settings.aws is None or settings.aws.compute is Compute.FARGATE
    )


def rds(settings: Settings) -> bool:
    """Whether the stack makes a database in AWS."""
    return settings.runtime is Runtime.AWS and settings.database.existing is None


def jobs_connections(settings: Settings) -> int:
    """Connections that the server that runs jobs may ask for; 0 where there is none."""
    database = settings.database
    if settings.tracking.jobs is None:
        return 0
    return budgets.jobs_connections(
        database.pool_size, database.max_overflow, own_users=settings.access.auth.by_server
    )


def needed_connections(settings: Settings) -> int:
    """Connections that the servers of a cloud stack may ask for while a version is rolled out."""
    tracking, database = settings.tracking, settings.database
    servers = profiles.connections(
        tracking.workers,
        max(tracking.replicas, tracking.max_replicas or 1),
        database.pool_size,
        database.max_overflow,
        doubled=fargate(settings),
        own_users=settings.access.auth.by_server,
    )
    return servers + jobs_connections(settings)


def sized(settings: Settings) -> Settings:
    """Settings whose every number is known. What was given, and what was not, can still be told (`model_fields_set`).

    Args:
        settings: valid each by itself.
    """
    if settings.runtime not in CLOUD:
        return settings
    profile = profiles.PROFILES[settings.size.value]
    given = settings.tracking.model_fields_set
    replicas = settings.tracking.replicas if "replicas" in given else profile.replicas
    tracking = _with(
        settings.tracking,
        replicas=replicas,
        workers=settings.tracking.workers if "workers" in given else profile.workers,
        max_replicas=settings.tracking.max_replicas or max(replicas, profile.max_replicas),
    )
    database = settings.database
    values: dict[str, Any] = {
        "instance_class": database.instance_class or profile.instance_class,
        "storage_gb": database.storage_gb or profile.storage_gb,
    }
    if "memory_mb" not in database.model_fields_set:
        values["memory_mb"] = profile.database_mb
    whole = _with(settings, tracking=tracking, database=_with(database, **values))
    if "max_connections" in database.model_fields_set:
        return whole
    needed = needed_connections(whole)
    if rds(whole) and database.rds_proxy:
        # Servers connect to the proxy, which shares what the class has among them.
        needed = min(needed, aws_database.most_connections(whole.database.instance_class or ""))
    return _with(whole, database=_with(whole.database, max_connections=needed))


def _with(section: _Section, **values: Any) -> _Section:
    """A copy with other values, which do not count as given."""
    copy = type(section).model_construct(section.model_fields_set, **{**dict(section), **values})
    return cast("_Section", copy)
