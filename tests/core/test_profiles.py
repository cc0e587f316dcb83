"""Sizes: each class of database holds the connections of all servers, and none larger than needed is taken."""

import pytest

from pulumi_mlflow.core import aws_database, budgets, profiles


def most(profile):
    """Connections with users of MLflow's own, in a rollout on Fargate."""
    return profiles.connections(
        profile.workers,
        profile.max_replicas,
        budgets.POOL_SIZE,
        budgets.MAX_OVERFLOW,
        doubled=True,
        own_users=True,
    )


@pytest.mark.parametrize("size", profiles.PROFILES)
def test_a_class_holds_all_servers(size):
    profile = profiles.PROFILES[size]

    assert aws_database.check_connections(profile.instance_class, most(profile)) is None
    assert profiles.smallest(most(profile)) == size


@pytest.mark.parametrize("size", profiles.PROFILES)
def test_a_class_is_one_of_aurora_too(size):
    assert profiles.PROFILES[size].instance_class[:4] in ("db.t", "db.r")


def test_a_rollout_doubles_tasks_and_adds_one_pod():
    assert profiles.peak_replicas(3, doubled=True) == 6
    assert profiles.peak_replicas(3, doubled=False) == 4


def test_connections_are_rounded_up():
    found = profiles.connections(2, 3, 5, 35, doubled=True, own_users=False)

    assert found == 720
    assert budgets.check_connections(2, 6, 5, 35, found) is None
    assert budgets.check_connections(2, 6, 5, 35, found - 10)


def test_more_than_any_class_has():
    assert profiles.smallest(3605) is None
    assert profiles.smallest(902) == "M"


@pytest.mark.parametrize("size", profiles.PROFILES)
def test_a_database_in_a_cluster_has_memory_for_its_connections(size):
    profile = profiles.PROFILES[size]
    needed = profiles.connections(
        profile.workers, profile.max_replicas, 5, 35, doubled=False, own_users=True
    )

    parameters = budgets.postgres_parameters(profile.database_mb, needed)

    # 2 MB are a backend's own; what each sorts with comes on top.
    own = needed * (2 + int(parameters["work_mem"].removesuffix("kB")) / 1024)
    assert int(parameters["shared_buffers"].removesuffix("MB")) + own < profile.database_mb
