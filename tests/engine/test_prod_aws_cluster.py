"""The prod stack with its data in AWS and its servers in a cluster, in the real engine: who makes the database's user, when."""

import pytest
from tests.engine import prod as checks
from tests.engine.prod import STATEFUL, at, brought_up
from tests.stacks.cloud import AWS_CLUSTER, merged

pytestmark = pytest.mark.engine


def images(digit):
    """Images by their digests, so that none is built."""
    digest = f"sha256:{digit * 64}"
    names = ("server", "nginx", "oauth2_proxy")
    return {"registry": {name: f"registry.corp.example/{name}@{digest}" for name in names}}


@pytest.fixture(scope="module")
def prod(tmp_path_factory):
    tree = merged(AWS_CLUSTER, images("d"))
    with brought_up(tmp_path_factory.mktemp("aws-cluster"), tree, ["aws", "kubernetes"]) as found:
        yield found


def test_data_comes_first_then_the_administrators_secret_then_migration_then_servers(prod):
    checks.made_in_order(
        prod.fake.lines(),
        "database-instance",
        "tracking-database-admin",
        "tracking-migration$",
        "tracking-deployment",
        "proxy-deployment",
    )


def test_nothing_changes_where_nothing_is_due(prod):
    checks.stays_as_it_is(prod)


def test_no_secret_is_plain_in_the_state_or_in_what_was_said(prod):
    checks.keeps_secrets(prod)


def test_another_image_has_another_migration_first_with_the_same_secret(prod):
    with prod.settings(images("e")), prod.doing() as done:
        prod.up()
    assert at(done, "create", "tracking-migration$") < at(done, "update", "tracking-deployment")
    assert not [line for line in done if line["name"] == "tracking-database-admin"]
    assert not [line for line in done if line["type"] in STATEFUL]
