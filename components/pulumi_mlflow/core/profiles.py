"""Sizes of cloud stacks: servers, and a database that has connections and memory for the most of them."""

import math
from dataclasses import dataclass

from . import aws_database, budgets

_ROUND = 10


@dataclass(frozen=True)
class Profile:
    """What a size stands for, where nothing else is given.

    Attributes:
        replicas: fewest servers; two, so that one may go.
        max_replicas: most servers.
        workers: processes of each.
        instance_class: of RDS.
        database_mb: memory of a database in a cluster, in MiB.
        storage_gb: disk of the database, in GiB.
    """

    replicas: int
    max_replicas: int
    workers: int
    instance_class: str
    database_mb: int
    storage_gb: int


PROFILES = {
    # A burstable class, for a quiet team: 8 GiB, to which RDS gives 901 connections.
    "S": Profile(2, 3, 2, "db.t4g.large", 4096, 50),
    # 16 GiB and 1802 connections.
    "M": Profile(2, 6, 2, "db.r7g.large", 8192, 100),
    # 32 GiB and 3604 connections, for servers of four processes.
    "L": Profile(3, 6, 4, "db.r7g.xlarge", 16384, 250),
}
"""Size → profile. Classes are the smallest that hold all servers' connections, with users of MLflow's own, during a
rollout (tests/core/test_profiles.py computes it); how many servers a team needs is an estimate, not measured."""


def peak_replicas(max_replicas: int, *, doubled: bool) -> int:
    """Most servers that run at once: while a version is rolled out, old and new ones.

    Args:
        max_replicas: most servers.
        doubled: whether all new ones start before the old ones end, as on ECS (`deployment_maximum_percent` 200);
            a Deployment of ours starts one more.
    """
    return 2 * max_replicas if doubled else max_replicas + 1


def connections(
    workers: int,
    max_replicas: int,
    pool_size: int,
    max_overflow: int,
    *,
    doubled: bool,
    own_users: bool,
) -> int:
    """Connections that a database needs for all servers in a rollout, rounded up.

    Args:
        workers: processes of each server.
        max_replicas: most servers.
        pool_size: connections that each pool keeps.
        max_overflow: connections that each pool may open beyond those.
        doubled: see `peak_replicas`.
        own_users: whether the server has users of its own.
    """
    needed = budgets.database_connections(
        workers,
        peak_replicas(max_replicas, doubled=doubled),
        pool_size,
        max_overflow,
        own_users=own_users,
    )
    return math.ceil(needed / _ROUND) * _ROUND


def smallest(needed: int) -> str | None:
    """The smallest size whose class of RDS has so many connections, or None.

    Args:
        needed: as of `connections`.
    """
    fits = (
        size
        for size, profile in PROFILES.items()
        if not aws_database.check_connections(profile.instance_class, needed)
    )
    return next(fits, None)
