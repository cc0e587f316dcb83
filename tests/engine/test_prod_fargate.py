"""The prod stack on Fargate in the real engine: order, protection, secrets, and no change where none is due.

Beside it, on the same test provider, the cluster of EKS that docs/aws.md shows.
"""

import re

import pytest
from tests.engine import prod as checks
from tests.engine.prod import DATABASE, STATEFUL, at, brought_up
from tests.stacks.cloud import AWS, merged
from tests.support import FULL, ROOT, Workspace

pytestmark = pytest.mark.engine

REPLACES = ROOT / "docs" / "replaces.json"
"""What AWS's own provider replaces, by its source."""


@pytest.fixture(scope="module")
def prod(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fargate")
    variables = {"PULUMI_MLFLOW_REPLACES": str(REPLACES)} if REPLACES.exists() else {}
    with brought_up(folder, merged(AWS, DATABASE), ["aws"], **variables) as found:
        yield found


def test_a_preview_takes_seconds(prod, record_property):
    checks.takes_seconds(prod, record_property)


def test_what_holds_data_comes_first_then_migration_then_servers_then_the_door(prod):
    done = prod.fake.lines()
    instance = at(done, "create", "database-instance")
    task = at(done, "create", "tracking-migration-task")
    ran = at(done, "run", "tracking-migration")
    server = at(done, "create", "tracking-server-service")
    door = at(done, "create", "proxy-server-service")
    assert instance < task < ran < server < door
    assert at(done, "create", "artifacts-policy") < ran


def test_nothing_changes_where_nothing_is_due(prod):
    checks.stays_as_it_is(prod)


def test_no_secret_is_plain_in_the_state_or_in_what_was_said(prod):
    checks.keeps_secrets(prod)


def test_a_failed_migration_stops_the_rollout_and_the_next_up_goes_on(prod):
    """Of another image and a larger size: what holds data is changed where it is."""
    image = f"registry.corp.example/mlflow@sha256:{'e' * 64}"
    with prod.settings({"registry": {"server": image}, "size": "M"}):
        prod.fake.exit_code = 1
        with prod.doing() as done:
            said = prod.up(ok=False)
        assert 'relation "runs" does not exist' in said
        assert not [line for line in done if line["name"] == "tracking-server-service"]
        prod.fake.exit_code = 0
        with prod.doing() as healed:
            prod.up()
    both = [*done, *healed]
    rollout = at(both, "update", "tracking-server-service")
    assert at(both, "create", "tracking-server-task") < rollout
    assert at(both, "create", "tracking-migration-task") < rollout
    assert len(done) + at(healed, "run", "tracking-migration") < rollout
    changed = {(line["what"], line["type"]) for line in both if line["type"] in STATEFUL}
    assert changed == {("update", "aws:rds/instance:Instance")}


@pytest.mark.skipif(not FULL, reason="waits half a minute for what ECS might not show yet")
def test_a_rollout_that_failed_is_begun_again_by_the_next_up(prod):
    """Nothing of the settings changes between the two: whatever was wrong was outside."""
    image = f"registry.corp.example/mlflow@sha256:{'f' * 64}"
    with prod.settings({"registry": {"server": image}}):
        prod.fake.states = ["IN_PROGRESS", "FAILED"]
        with prod.doing() as done:
            assert "rolled back" in prod.up(ok=False)
        assert not [line for line in done if line["type"] == "rollout"]
        with prod.doing() as healed:
            prod.up()
        assert [line["name"] for line in healed if line["type"] == "rollout"] == [
            "mlflow-prod-tracking-server"
        ]
        prod.up("--expect-no-changes")


def test_another_bucket_is_refused_and_none_is_touched(prod):
    with prod.settings({"artifacts": {"bucket": "another-of-corp"}}), prod.doing() as done:
        said = prod.pulumi("preview", ok=False)
    assert "artifacts-of-corp" in said
    assert done == []


@pytest.mark.parametrize(
    "changes", [{"vpc_cidr": "10.43.0.0/16"}, {"zones": ["eu-central-1b", "eu-central-1c"]}]
)
def test_other_addresses_are_refused_and_nothing_is_touched(prod, changes):
    """AWS's provider would make another VPC, or other subnets, under what runs in them."""
    with prod.settings({"aws": changes}), prod.doing() as done:
        said = prod.pulumi("preview", ok=False)
    assert re.search(r"network-(vpc|(private|public)-eu-central-1[ab]).*protect", said, re.DOTALL)
    assert done == []


def test_wrong_settings_register_nothing(prod):
    checks.registers_nothing_of_wrong_settings(prod)


@pytest.fixture(scope="module")
def cluster(prod, tmp_path_factory):
    """A program of its own, word for word the one of the docs."""
    folder = tmp_path_factory.mktemp("cluster")
    program = folder / "program" / "__main__.py"
    program.parent.mkdir()
    page = (ROOT / "docs" / "aws.md").read_text()
    [text] = re.findall(r"```python\n(.*?AwsEksCluster\(.*?)```", page, re.DOTALL)
    program.write_text(text)
    made = Workspace(folder / "project", "cluster", {"kubernetes": "1.33"}, program.parent)
    found = checks.Prod(made, {"kubernetes": "1.33"}, prod.fake, prod.kube, prod.env)
    with found.doing() as done:
        found.up()
    return found, done


def test_a_cluster_comes_before_its_network_nodes_and_what_runs_on_them(cluster):
    _, done = cluster
    order = ("key", "cluster", "eks-pod-identity-agent", "vpc-cni", "nodes", "coredns")
    checks.made_in_order(done, *(f"^eks-{name}$" for name in order))


def test_a_clusters_login_is_a_secret_and_a_second_up_changes_nothing(cluster):
    found, _ = cluster
    with found.doing() as done:
        found.up("--expect-no-changes")
    assert done == []
    state = found.state()
    assert "get-token" not in str(state)
    [outputs] = [one["outputs"] for one in state if one["type"] == "pulumi:pulumi:Stack"]
    assert "ciphertext" in outputs["kubeconfig"]
    assert outputs["security_group"].startswith("sg-")


def test_another_version_size_and_number_of_nodes_changes_a_cluster_in_place(cluster):
    found, _ = cluster
    file = found.workspace.folder / "infra" / "__main__.py"
    usual = file.read_text()
    nodes = {"instance_type": "r6i.xlarge", "disk_gb": 500, "min": 3, "desired": 3, "max": 9}
    file.write_text(usual.replace('"admins":', f'"nodes": {nodes}, "admins":'))
    with found.settings({"kubernetes": "1.34"}), found.doing() as done:
        found.up()
    file.write_text(usual)
    assert [(line["what"], line["name"]) for line in done if line["name"] != "eks-template"] == [
        ("update", "eks-cluster"),
        ("update", "eks-nodes"),
    ]
    assert at(done, "update", "^eks-template$") < at(done, "update", "^eks-nodes$")
    [group] = [line["inputs"] for line in done if line["name"] == "eks-nodes"]
    assert (group["version"], group["scalingConfig"]["maxSize"]) == ("1.34", 9)
    # An autoscaler's by then.
    assert group["scalingConfig"]["desiredSize"] == 2


def test_a_cluster_is_not_destroyed(cluster):
    """The last one of the cluster: its nodes and add-ons are gone."""
    found, _ = cluster
    with found.doing() as done:
        said = found.pulumi("destroy", "--yes", "--skip-preview", ok=False)
    assert "protected" in said
    assert done
    assert not [line for line in done if line["type"] in STATEFUL]
    kept = {one["urn"].rsplit("::", 1)[1] for one in found.state() if one.get("protect")}
    network = {
        f"network-{kind}-eu-central-1{zone}" for kind in ("private", "public") for zone in "ab"
    }
    assert kept == {"eks-cluster", "eks-key", "network-vpc", *network}


def test_what_holds_data_is_destroyed_only_once_it_is_unprotected(prod):
    """The last one: nothing is left."""
    checks.keeps_its_data(prod)
