"""Costs by a table of prices: each kind of resource, what has no price, what is assumed."""

import re

import pytest
import yaml

from pulumi_mlflow.core import costs
from pulumi_mlflow.core.plan import UNKNOWN, Resource
from pulumi_mlflow.ops import cost
from pulumi_mlflow.ops.errors import OpsError

TABLE = cost.load_prices()
PRICE = TABLE.prices
HOURS = 730


def aws(kind, called="it", refers=None, **inputs):
    module, kind = kind.split(".")
    token = f"aws:{module}/{kind[0].lower()}{kind[1:]}:{kind}"
    return Resource(token, called, inputs, refers=refers or {})


def fargate(least, most, **task):
    return [
        aws("ecs.Service", "server", {"taskDefinition": ["task"]}, launchType="FARGATE", desiredCount=1, name="s"),
        aws("ecs.TaskDefinition", "task", cpu="1024", memory="2048", **task),
        aws("appautoscaling.Target", resourceId="service/c/s", minCapacity=least, maxCapacity=most),
    ]  # fmt: skip


ONE = (PRICE["fargate-vcpu-hour"] + 2 * PRICE["fargate-gb-hour"]) * HOURS
ARM = (PRICE["fargate-arm-vcpu-hour"] + 2 * PRICE["fargate-arm-gb-hour"]) * HOURS
RDS = {"instanceClass": "db.t4g.medium", "storageType": "gp3", "allocatedStorage": 50}
CLASS = PRICE["rds-db.t4g.medium-hour"] * HOURS
DISK = PRICE["rds-gp3-gb"] * 50

CASES = {
    "fargate": (fargate(2, 6), 2 * ONE, 6 * ONE),
    "fargate on arm": (fargate(1, 1, runtimePlatform={"cpuArchitecture": "ARM64"}), ARM, ARM),
    "disk of a task": (fargate(1, 1, ephemeralStorage={"sizeInGib": 30}), ONE + 10 * PRICE["fargate-storage-gb-hour"] * HOURS, None),
    "rds": ([aws("rds.Instance", **RDS)], CLASS + DISK, None),
    "rds in two zones": ([aws("rds.Instance", multiAz=True, **RDS)], 2 * (CLASS + DISK), None),
    "rds with its own secret": ([aws("rds.Instance", manageMasterUserPassword=True, **RDS)], CLASS + DISK + 0.4, None),
    "replica": (
        [aws("rds.Instance", **RDS), aws("rds.Instance", "r", replicateSourceDb="it", **{**RDS, "allocatedStorage": None})],
        2 * (CLASS + DISK),
        None,
    ),
    "rds proxy": ([aws("rds.Proxy"), aws("rds.Instance", instanceClass="db.r7g.xlarge")], 4 * 0.015 * HOURS + PRICE["rds-db.r7g.xlarge-hour"] * HOURS, None),
    "aurora": ([aws("rds.ClusterInstance", instanceClass="db.r7g.large"), aws("rds.Cluster")], 0.276 * HOURS + 5, None),
    "nat": ([aws("ec2.NatGateway")], 0.045 * HOURS + 0.45, None),
    "endpoint": ([aws("ec2.VpcEndpoint", vpcEndpointType="Interface", subnetIds=["a", "b"])], 2 * 0.01 * HOURS, None),
    "endpoint of S3": ([aws("ec2.VpcEndpoint", vpcEndpointType="Gateway")], 0, None),
    "balancer": ([aws("lb.LoadBalancer", subnets=["a", "b"])], (0.0225 + 0.008 + 0.01) * HOURS, None),
    "balancer inside": ([aws("lb.LoadBalancer", internal=True)], (0.0225 + 0.008) * HOURS, None),
    "bucket": ([aws("s3.Bucket")], 2.3, None),
    "bucket of logs": ([aws("s3.Bucket"), aws("s3.BucketLogging", "l", {"targetBucket": ["it"]})], 0.023, None),
    "firewall": ([aws("wafv2.WebAcl", rules=[{}, {}])], 7, None),
    "eks": ([aws("eks.Cluster")], 73, None),
    "small things": ([aws("kms.Key"), aws("secretsmanager.Secret"), aws("cloudwatch.MetricAlarm")], 1.5, None),
    "nothing": ([aws("iam.Role"), Resource("kubernetes:apps/v1:Deployment", "d")], 0, None),
}  # fmt: skip


@pytest.mark.parametrize(("resources", "least", "most"), CASES.values(), ids=CASES)
def test_what_it_costs(resources, least, most):
    found = costs.bill(resources, TABLE)
    assert found.least == pytest.approx(least)
    assert found.most == pytest.approx(least if most is None else most)
    assert found.unpriced == ()


@pytest.mark.parametrize(
    ("resource", "said"),
    [
        (aws("rds.Instance", instanceClass="db.x2g.large"), "rds-db.x2g.large-hour"),
        (aws("ecs.Service", launchType="EC2"), "machines of EC2"),
        (aws("ecs.Service", launchType="FARGATE"), "its task definition is not in the plan"),
        (aws("eks.NodeGroup"), "machines of EC2"),
    ],
)
def test_what_has_no_price_is_said(resource, said):
    found = costs.bill([resource], TABLE)
    assert found.least == 0
    assert any(said in one for one in found.unpriced)


@pytest.mark.parametrize("resources", [case[0] for case in CASES.values()], ids=CASES)
def test_what_is_not_known_yet_is_said_where_it_makes_the_bill_lower(resources):
    known = costs.bill(resources, TABLE)
    unknown = costs.bill(
        [Resource(one.type, one.name, dict.fromkeys(one.inputs, UNKNOWN)) for one in resources],
        TABLE,
    )
    assert unknown.unpriced or unknown.least >= known.least
    assert not [said for said in unknown.unpriced if "EC2" in said or "-unknown-" in said]


def test_every_price_says_whence_and_the_report_says_what_it_rests_on():
    content = yaml.safe_load(cost.PRICES.read_text())
    for name, one in content["prices"].items():
        assert one["page"].startswith("https://aws.amazon.com/"), name
        source = r"recalled|(infracost|terraform-provider-aws|third party), 20\d\d(-\d\d)?"
        assert re.fullmatch(source, one["seen"]), name
    bill = costs.bill(CASES["rds"][0], TABLE)
    text = "\n".join(cost.report(costs.bill([], TABLE), bill, TABLE))
    assert "54  USD a month" in text
    for word in (
        TABLE.region,
        TABLE.as_of,
        "check them before you rely on them",
        "SageMaker",
        "artifacts_gb 100",
    ):
        assert word in text


def test_assumptions_are_changed_by_name():
    table = cost.load_prices(assumptions=["artifacts_gb=500"])
    assert costs.bill([aws("s3.Bucket")], table).least == pytest.approx(11.5)
    for wrong in ("artifacts_gb", "artifacts_gb=x", "other=1"):
        with pytest.raises(OpsError, match="artifacts_gb=100"):
            cost.load_prices(assumptions=[wrong])


def test_a_table_that_is_none_is_refused(tmp_path):
    file = tmp_path / "prices.yaml"
    for text in ("", "prices: {}", "[", "as_of: x"):
        file.write_text(text)
        with pytest.raises(OpsError, match=r"prices\.yaml"):
            cost.load_prices(file)
    with pytest.raises(OpsError, match="pulumi preview --json"):
        cost.load_plan(file)


@pytest.mark.parametrize(("usd", "text"), [(0, "0"), (0.1, "1"), (2.0, "2"), (1234.5, "1,235")])
def test_an_estimate_has_no_cents(usd, text):
    assert costs.dollars(usd) == text
