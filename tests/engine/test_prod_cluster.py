"""The prod stack in a Kubernetes cluster, in the real engine, as its twin on Fargate."""

import pytest
from tests.engine import prod as checks
from tests.engine.prod import DATABASE, STATEFUL, at, brought_up
from tests.stacks.cloud import KUBERNETES, merged

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def prod(tmp_path_factory):
    with brought_up(
        tmp_path_factory.mktemp("cluster"), merged(KUBERNETES, DATABASE), ["kubernetes"]
    ) as found:
        yield found


def test_a_preview_takes_seconds(prod, record_property):
    checks.takes_seconds(prod, record_property)


def test_the_denial_comes_first_then_data_then_migration_then_servers_then_the_door(prod):
    checks.made_in_order(
        prod.fake.lines(),
        "network-",
        "database-cluster",
        "tracking-migration$",
        "tracking-deployment",
        "proxy-deployment",
    )


def test_nothing_changes_where_nothing_is_due(prod):
    checks.stays_as_it_is(prod)


def test_no_secret_is_plain_in_the_state_or_in_what_was_said(prod):
    checks.keeps_secrets(prod)


def test_another_image_has_another_migration_first_and_touches_no_data(prod):
    image = "registry.corp.example/mlflow:3.17.2-1"
    with prod.settings({"registry": {"server": image}}), prod.doing() as done:
        prod.up()
    rollout = at(done, "update", "tracking-deployment")
    assert at(done, "create", "tracking-migration$") < rollout
    assert rollout < at(done, "delete", "tracking-migration$")  # the old job, at the end
    assert not [line for line in done if line["type"] in STATEFUL]


def test_a_change_that_failed_and_was_taken_back_takes_nothing_away_that_is_in_use(prod):
    """What had the old name waits for its deletion, and must not be what has the new one."""
    with prod.settings({"registry": {"server": "registry.corp.example/mlflow:missing"}}):
        said = prod.up(ok=False)
    assert "manifest unknown" in said
    prod.up()
    there = prod.kube.objects()
    for one in prod.state():
        if one["type"].startswith("kubernetes:"):
            key = (one["inputs"]["kind"], one["inputs"]["metadata"]["name"])
            assert key in there, f"{one['urn']} is gone"
    checks.stays_as_it_is(prod)


def test_what_holds_data_is_destroyed_only_once_it_is_unprotected(prod):
    """The last one: nothing is left."""
    checks.keeps_its_data(prod)
