"""What a stack of the docker runtime is when it is up."""

import json
import time

import pytest
from tests.docker.hardening import check_inside, check_outside, check_runs_on
from tests.docker.stack import ROLES

from pulumi_mlflow.core import budgets, limits

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]


def test_second_up_changes_nothing_nor_does_preview_after_a_refresh(dev):
    started = time.monotonic()
    dev.up("--expect-no-changes")
    print(f"second up: {time.monotonic() - started:.1f} s")

    dev.pulumi("refresh", "--yes", "--skip-preview", "--expect-no-changes")
    dev.unchanged()


def test_every_container_is_hardened(dev):
    containers = dev.containers()
    assert set(containers) == set(ROLES)
    for container in containers.values():
        check_outside(container.attrs)
        check_runs_on(container.attrs)
        check_inside(container)
        assert list(container.attrs["NetworkSettings"]["Networks"]) == [dev.deployment]


def test_limits_are_those_of_the_settings(dev):
    found = {role: container.attrs["HostConfig"] for role, container in dev.containers().items()}

    assert found["tracking"]["PidsLimit"] == limits.server_pids(workers=2)
    assert (
        found["tracking"]["CpuQuota"]
        == limits.server_cpus(workers=2) * found["tracking"]["CpuPeriod"]
    )
    assert found["tracking"]["Memory"] == budgets.server_memory_mb(2) << 20
    assert found["database"]["PidsLimit"] == limits.database_pids(150)


def test_one_shot_jobs_are_hardened(dev, watched):
    """As they were described when they were made; they are gone."""
    inspected = {
        name.removeprefix(f"/{dev.deployment}-"): found
        for name, found in watched.watch.inspected.items()
    }
    jobs = {
        name: json.loads(inspected[name]) for name in ("tracking-migration", "artifacts-bucket")
    }

    for attrs in jobs.values():
        check_outside(attrs)
        host = attrs["HostConfig"]
        assert host["PidsLimit"] > 0
        assert host["CpuQuota"] > 0


def test_there_are_no_other_containers(dev):
    expected = sorted(f"{dev.deployment}-{role}" for role in ROLES)
    assert dev.left()["containers"] == expected


def test_only_the_proxy_publishes_a_port_on_loopback(dev):
    published = {
        role: [binding for bindings in found.ports.values() for binding in bindings or ()]
        for role, found in dev.containers().items()
    }

    wanted = {"HostIp": "127.0.0.1", "HostPort": str(dev.settings["access"]["port"])}
    assert published == {"database": [], "artifacts": [], "tracking": [], "proxy": [wanted]}
