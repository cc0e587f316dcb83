"""AwsNetwork and AwsArtifactStore under mocks: what is open, protected, encrypted, and what is refused."""

import json

import pytest
from tests.components import aws_support
from tests.components.aws_support import ACCOUNT, NETWORK, REGION, Program
from tests.iam.simulator import EVERYTHING, STRANGERS, EndpointPolicy, ResourcePolicy

import pulumi_mlflow
from pulumi_mlflow.aws.artifacts import AwsArtifactStore
from pulumi_mlflow.aws.network import AwsNetwork

STORE = {"bucket": "artifacts-of-acme", "network": NETWORK, "deployment": "mlflow-prod"}


def network(**args):
    return Program(lambda: AwsNetwork("network", {"region": REGION, **args}))


def store(**args):
    return Program(lambda: AwsArtifactStore("artifacts", {**STORE, **args}))


@pytest.fixture(scope="module")
def usual():
    return network()


@pytest.fixture(scope="module")
def bucket():
    return store()


def test_the_components_are_those_of_this_clone():
    assert pulumi_mlflow.__file__.startswith(__file__.rpartition("/tests/")[0])


def test_private_subnets_have_no_way_out_by_themselves(usual):
    routes = [item.name for item in usual.of("ec2/route:Route")]
    assert routes == ["network-public-default"]
    assert not usual.of("ec2/natGateway:NatGateway")
    assert not usual.made.network["internet"]


@pytest.mark.parametrize(("nat", "gateways"), [("single", 1), ("per-zone", 2)])
def test_nat_gives_every_private_subnet_a_way(nat, gateways):
    found = network(nat=nat)
    assert len(found.of("ec2/natGateway:NatGateway")) == gateways
    ways = {
        name: found[f"network-private-{name}-default"]["natGatewayId"]
        for name in (f"{REGION}a", f"{REGION}b")
    }
    assert len(set(ways.values())) == gateways
    assert found.made.network["internet"]


def test_zones_are_those_that_the_account_has(monkeypatch):
    monkeypatch.setattr(aws_support, "ZONES", "dfa")
    found = {item.name for item in network().of("ec2/subnet:Subnet")}
    zones = [f"{REGION}a", f"{REGION}d"]
    assert found == {f"network-{kind}-{z}" for kind in ("public", "private") for z in zones}


def test_an_account_with_one_zone_is_told_so(monkeypatch):
    monkeypatch.setattr(aws_support, "ZONES", "a")
    with pytest.raises(ValueError, match=f"zones: needs 2 of {REGION}, and AWS has {REGION}a"):
        network()


def test_nothing_is_asked_where_the_zones_are_given_or_the_network_is_there(monkeypatch):
    monkeypatch.setattr(aws_support, "look_up", None)
    network(zones=[f"{REGION}a", f"{REGION}c"])
    network(existing=EXISTING)


def test_endpoints_have_the_names_that_they_have_in_china():
    found = network(region="cn-north-1", zones=["cn-north-1a", "cn-north-1b"])
    names = {item.inputs["serviceName"] for item in found.of("ec2/vpcEndpoint:VpcEndpoint")}
    assert names == {
        "cn.com.amazonaws.cn-north-1.ecr.api",
        "cn.com.amazonaws.cn-north-1.ecr.dkr",
        "com.amazonaws.cn-north-1.logs",
        "com.amazonaws.cn-north-1.s3",
        "com.amazonaws.cn-north-1.secretsmanager",
    }


def test_what_a_database_stands_in_is_protected():
    """AWS replaces VPC and subnets by their addresses, which follow from `cidr` and `zones`."""
    found = network(zones=[f"{REGION}{zone}" for zone in "abc"])
    subnets = {f"network-{kind}-{REGION}{zone}" for kind in ("private", "public") for zone in "abc"}
    assert found.protected() == {"network-vpc"} | subnets


def test_no_subnet_gives_public_addresses(usual):
    subnets = usual.of("ec2/subnet:Subnet")
    assert len(subnets) == 4
    assert {item.inputs["mapPublicIpOnLaunch"] for item in subnets} == {False}


def test_the_services_that_tasks_need_are_inside(usual):
    services = {
        item.inputs["serviceName"].removeprefix(f"com.amazonaws.{REGION}."): item.inputs
        for item in usual.of("ec2/vpcEndpoint:VpcEndpoint")
    }
    assert set(services) == {"s3", "ecr.api", "ecr.dkr", "logs", "secretsmanager"}
    for name, inputs in services.items():
        assert inputs["vpcEndpointType"] == ("Gateway" if name == "s3" else "Interface")
        assert inputs.get("privateDnsEnabled", True)
    assert services["s3"]["routeTableIds"] == [
        f"network-private-{REGION}a-routes-id",
        f"network-private-{REGION}b-routes-id",
    ]
    policy = EndpointPolicy(services["s3"]["policy"])
    assert policy.decide("s3:PutObject", "arn:aws:s3:::x/y", owner=STRANGERS) == "none"
    assert policy.decide("s3:PutObject", "arn:aws:s3:::x/y") == "allow"


def test_buckets_of_others_are_named():
    found = network(foreign_buckets=["theirs"])
    policy = EndpointPolicy(found["network-s3"]["policy"])
    other = {"owner": STRANGERS}
    assert policy.decide("s3:PutObject", "arn:aws:s3:::theirs/x", **other) == "allow"
    assert policy.decide("s3:ListBucket", "arn:aws:s3:::theirs", **other) == "allow"
    assert policy.decide("s3:PutObject", "arn:aws:s3:::theirs-too/x", **other) == "none"


def test_groups_let_nothing_in_but_https_from_the_vpc(usual):
    assert usual["network-default"]["ingress"] == []
    assert usual["network-default"]["egress"] == []
    [rule] = usual.of("vpc/securityGroupIngressRule:SecurityGroupIngressRule")
    assert (rule.inputs["cidrIpv4"], rule.inputs["fromPort"], rule.inputs["toPort"]) == (
        "10.42.0.0/16",
        443,
        443,
    )
    for group in usual.of("ec2/securityGroup:SecurityGroup"):
        assert "ingress" not in group.inputs
        assert "egress" not in group.inputs


def test_what_uses_the_endpoints_comes_after_them(usual):
    assert usual.endpoint("endpoints") == ("network-endpoints-group-id", False)
    assert usual.made.network["place"] == "vpc:mlflow-prod"


def test_flow_logs_can_be_left_out():
    assert network().of("ec2/flowLog:FlowLog")
    assert not network(flow_logs=False).of("ec2/flowLog:FlowLog")


def test_all_that_can_have_tags_has_ours(usual, bucket):
    untagged = (
        "Route",
        "RouteTableAssociation",
        "RolePolicy",
        "BucketPolicy",
        "BucketPublicAccessBlock",
        "BucketOwnershipControls",
        "BucketVersioning",
        "BucketServerSideEncryptionConfiguration",
        "BucketLifecycleConfiguration",
        "BucketLogging",
    )
    for program in (usual, bucket):
        for item in program.seen.values():
            if item.typ.startswith("aws:") and not item.typ.endswith(untagged):
                tags = item.inputs["tags"]
                assert tags["pulumi-mlflow/deployment"] == "mlflow-prod", item.name
                assert tags["Name"].startswith("mlflow-prod")


def test_children_have_their_component_as_parent(usual, bucket):
    for program, name in ((usual, "network"), (bucket, "artifacts")):
        strangers = {n for n, item in program.seen.items() if item.parent != name} - {name}
        assert strangers <= {f"{name}-guard"}


EXISTING = {
    "vpc_id": "vpc-9",
    "cidr": "10.0.0.0/16",
    "private_subnets": ["a", "b"],
    "endpoints": "sg-9",
    "s3_endpoint": "vpce-9",
    "s3_prefixes": "pl-9",
}


def test_an_adopted_vpc_is_not_touched():
    found = network(existing=EXISTING)
    assert set(found.seen) == {"network"}
    assert found.made.network["vpc_id"] == "vpc-9"
    assert found.made.network["s3_prefixes"] == "pl-9"


def without(*keys, **more):
    return {"existing": {k: v for k, v in {**EXISTING, **more}.items() if k not in keys}}


@pytest.mark.parametrize(
    ("args", "refusal"),
    [
        ({"zones": [f"{REGION}a"]}, "network: zones: must be 2 or 3"),
        ({"zones": [f"{REGION}a", f"{REGION}a"]}, "zones: must be different ones"),
        ({"zones": ["us-east-1a", "us-east-1b"]}, f"zones: must be different ones of {REGION}"),
        ({"nat": "yes"}, "nat: must be one of none, single, per-zone"),
        ({"cidr": "1.0.0.0/16"}, "private addresses"),
        (without(private_subnets=["a"]), "existing.private_subnets: must be 2 subnets"),
        (without(public_subnets=["a"]), "existing.public_subnets: must be 2 subnets"),
        (without("endpoints"), "tasks could not pull their image"),
        (without("s3_endpoint"), "tasks could not pull their image"),
        (without("s3_prefixes"), "must be given together"),
    ],
)
def test_networks_that_cannot_be_are_refused_before_anything_is_registered(args, refusal):
    with pytest.raises(ValueError, match=refusal):
        network(**args)


def test_a_bucket_is_closed_encrypted_and_kept(bucket):
    assert bucket["artifacts-bucket-private"] == {
        "bucket": "artifacts-bucket-id",
        "blockPublicAcls": True,
        "blockPublicPolicy": True,
        "ignorePublicAcls": True,
        "restrictPublicBuckets": True,
    }
    assert bucket["artifacts-bucket-owner"]["rule"] == {"objectOwnership": "BucketOwnerEnforced"}
    assert bucket["artifacts-bucket-versions"]["versioningConfiguration"] == {"status": "Enabled"}
    [rule] = bucket["artifacts-bucket-encryption"]["rules"]
    assert rule["bucketKeyEnabled"] is True
    assert rule["applyServerSideEncryptionByDefault"]["sseAlgorithm"] == "aws:kms"
    assert rule["applyServerSideEncryptionByDefault"]["kmsMasterKeyId"].endswith("artifacts-key")
    assert bucket["artifacts-bucket"]["forceDestroy"] is False
    assert bucket["artifacts-key"]["enableKeyRotation"] is True
    assert bucket["artifacts-key"]["deletionWindowInDays"] == 30


def test_all_that_holds_data_is_protected(bucket):
    assert bucket.protected() == {
        "artifacts-guard",
        "artifacts-key",
        "artifacts-bucket",
        "artifacts-access-logs",
    }
    assert store(replica_region="eu-west-1").protected() - bucket.protected() == {
        "artifacts-replica",
        "artifacts-replica-key",
    }


def test_its_policy_refuses_the_world(bucket):
    policy = ResourcePolicy(bucket["artifacts-policy"]["policy"])
    target = "arn:aws:s3:::artifacts-of-acme/x"
    assert policy.decide("s3:GetObject", target, identity=EVERYTHING) == "deny"
    inside = {"aws:SourceVpce": "vpce-s3"}
    assert policy.decide("s3:GetObject", target, inside) == "none"
    assert policy.decide("s3:GetObject", target, inside, identity=EVERYTHING) == "allow"
    assert "artifacts-bucket-private" in bucket.waits_for("artifacts-policy")


def test_clients_of_the_store_itself_need_it_open_to_logins():
    found = store(vpc_only=False)
    policy = ResourcePolicy(found["artifacts-policy"]["policy"])
    target = "arn:aws:s3:::artifacts-of-acme/x"
    assert policy.decide("s3:GetObject", target) == "none"
    assert policy.decide("s3:GetObject", target, identity=EVERYTHING) == "allow"
    assert found.made.endpoint["reach"] == ["vpc:mlflow-prod", "public"]
    assert store().made.endpoint["reach"] == ["vpc:mlflow-prod"]


@pytest.mark.parametrize(("vpc_only", "address"), [(False, "none"), (True, "deny")])
def test_addresses_of_clients_count_for_a_store_that_they_may_use(vpc_only, address):
    found = store(vpc_only=vpc_only, clients=["203.0.113.0/24"])
    policy = ResourcePolicy(found["artifacts-policy"]["policy"])

    def asked(key, value):
        target = "arn:aws:s3:::artifacts-of-acme/x"
        return policy.decide("s3:GetObject", target, {key: value})

    assert asked("aws:SourceIp", "203.0.113.7") == address
    assert asked("aws:SourceIp", "198.51.100.7") == "deny"
    assert asked("aws:SourceVpce", "vpce-s3") == "none"


def test_unfinished_uploads_and_old_versions_go(bucket):
    rules = {rule["id"]: rule for rule in bucket["artifacts-bucket-lifecycle"]["rules"]}
    assert rules["unfinished-uploads"]["abortIncompleteMultipartUpload"] == {
        "daysAfterInitiation": 7
    }
    assert rules["deleted"]["noncurrentVersionExpiration"] == {"noncurrentDays": 30}
    # Nothing that is current ever goes by itself.
    assert not [r for r in rules.values() if r.get("expiration", {}).get("days")]
    changed = store(expire_multipart_days=3, keep_deleted_days=365, tiering_days=90)
    rules = {rule["id"]: rule for rule in changed["artifacts-bucket-lifecycle"]["rules"]}
    assert rules["unfinished-uploads"]["abortIncompleteMultipartUpload"] == {
        "daysAfterInitiation": 3
    }
    assert rules["deleted"]["noncurrentVersionExpiration"] == {"noncurrentDays": 365}
    assert rules["tiering"]["transitions"] == [{"days": 90, "storageClass": "INTELLIGENT_TIERING"}]


def test_accesses_are_logged_in_a_bucket_of_their_own(bucket):
    logs = bucket["artifacts-access-logs"]["bucket"]
    assert logs == "artifacts-of-acme-access-logs"
    assert bucket["artifacts-logging"]["targetBucket"] == "artifacts-access-logs-id"
    policy = ResourcePolicy(bucket["artifacts-access-logs-policy"]["policy"])
    context = {
        "aws:SourceAccount": ACCOUNT,
        "aws:SourceArn": "arn:aws:s3:::artifacts-of-acme",
    }
    who = "logging.s3.amazonaws.com"
    assert policy.decide("s3:PutObject", f"arn:aws:s3:::{logs}/x", context, who=who) == "allow"
    assert bucket["artifacts-access-logs-private"]["restrictPublicBuckets"] is True
    assert not store(access_logs=False).seen.get("artifacts-logging")


def test_the_endpoint_is_there_when_the_bucket_is_closed(bucket):
    assert bucket.endpoint("uri") == ("s3://artifacts-of-acme", False)
    assert store(prefix="runs").endpoint("uri") == ("s3://artifacts-of-acme/runs", False)
    assert bucket.endpoint("region") == (REGION, False)
    assert "access_key" not in bucket.made.endpoint


def test_a_replica_is_as_closed_as_the_bucket():
    found = store(replica_region="eu-west-1")
    for name in ("bucket", "replica"):
        assert found[f"artifacts-{name}-private"]["restrictPublicBuckets"] is True
        assert found[f"artifacts-{name}-versions"]["versioningConfiguration"]["status"] == "Enabled"
    for name in ("", "-private", "-owner", "-versions", "-encryption", "-lifecycle", "-policy"):
        assert found[f"artifacts-replica{name}"]["region"] == "eu-west-1", name
    [rule] = found["artifacts-replication"]["rules"]
    assert rule["deleteMarkerReplication"] == {"status": "Disabled"}
    assert rule["destination"]["encryptionConfiguration"]["replicaKmsKeyId"].endswith(
        "artifacts-replica-key"
    )
    assert {"artifacts-bucket-versions", "artifacts-replica-versions"} <= found.waits_for(
        "artifacts-replication"
    )
    # The copying role comes from outside of the VPC.
    policy = ResourcePolicy(found["artifacts-policy"]["policy"])
    role = f"arn:aws:iam::{ACCOUNT}:role/{found['artifacts-replication-role']['name']}"
    own = json.loads(found["artifacts-replication-access"]["policy"])
    action, target = "s3:GetObjectVersionForReplication", "arn:aws:s3:::artifacts-of-acme/x"
    assert policy.decide(action, target, who=role, identity=own) == "allow"
    assert policy.decide(action, target, who=f"{role}-2", identity=own) == "deny"


def test_trusted_roles_come_from_outside():
    role = f"arn:aws:iam::{ACCOUNT}:role/backup"
    policy = ResourcePolicy(store(trusted_roles=[role])["artifacts-policy"]["policy"])
    target = "arn:aws:s3:::artifacts-of-acme/x"
    assert policy.decide("s3:GetObject", target, who=role) == "none"
    assert policy.decide("s3:GetObject", target, who=role, identity=EVERYTHING) == "allow"


def test_another_bucket_is_refused_by_the_guard(bucket):
    assert bucket["artifacts-guard"]["settings"] == {
        "mlflow:artifacts.store": "s3",
        "mlflow:artifacts.bucket": "artifacts-of-acme",
    }
    assert "artifacts-guard" in bucket.seen["artifacts-bucket"].after


@pytest.mark.parametrize(
    ("args", "refusal"),
    [
        ({"bucket": "Not_a_bucket"}, "artifacts: bucket: must be lower-case"),
        ({"prefix": "a/../b"}, "artifacts: prefix"),
        ({"expire_multipart_days": 0}, "expire_multipart_days: must be ≥ 1"),
        ({"keep_deleted_days": 0}, "keep_deleted_days: must be ≥ 1"),
        ({"tiering_days": 0}, "tiering_days: must be ≥ 1"),
        ({"replica_region": REGION}, "replica_region: must be another region"),
        (
            {"network": {k: v for k, v in NETWORK.items() if k != "s3_endpoint"}},
            "vpc_only: the VPC has no endpoint",
        ),
        (
            {
                "network": {k: v for k, v in NETWORK.items() if k != "s3_endpoint"},
                "vpc_only": False,
                "clients": ["203.0.113.0/24"],
            },
            "clients: the VPC has no endpoint",
        ),
    ],
)
def test_stores_that_cannot_be_are_refused(args, refusal):
    with pytest.raises(ValueError, match=refusal):
        store(**args)


def test_policies_are_json_without_wildcards_for_actions(bucket):
    for program in (bucket, store(replica_region="eu-west-1"), network()):
        for item in program.seen.values():
            if item.typ == "aws:iam/rolePolicy:RolePolicy":
                for statement in json.loads(item.inputs["policy"])["Statement"]:
                    assert not [action for action in statement["Action"] if "*" in action]
