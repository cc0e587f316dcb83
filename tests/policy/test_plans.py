"""No stack of ours breaks a rule: all rules over the real plans of dev, local and prod."""

import dataclasses
import functools

import pytest
from policy import checks
from policy.checks import labels
from tests.policy import plans
from tests.stacks import cloud

MYSQL = {"size": "L", "database": {"engine": "mysql", "version": "8.0"}}
ARCHIVED = {
    "database": {
        "archive": {
            "bucket": "archive-of-corp",
            "role_arn": "arn:aws:iam::111122223333:role/archive",
        }
    }
}
PLANS = {
    "dev": lambda cache: plans.stack("dev", cache, images="registry"),
    "dev, images built": lambda cache: plans.stack("dev", cache, images="build"),
    "local": lambda cache: plans.stack("local", cache),
    "prod": lambda _: plans.prod(),
    "prod, mysql": lambda _: plans.prod(cloud.merged(cloud.AWS, MYSQL)),
    "prod, EKS": lambda _: plans.prod(cloud.AWS_CLUSTER),
    "a cluster of EKS": lambda _: plans.eks(),
    "a cluster of EKS, public": lambda _: plans.eks(
        public=True, allowed_cidrs=["52.1.0.0/16", "10.0.0.0/8"]
    ),
    "prod, kubernetes": lambda _: plans.prod(cloud.merged(cloud.KUBERNETES, ARCHIVED)),
    "kubernetes, store within": lambda _: plans.kubernetes(plans.in_cluster),
}


@functools.cache
def composed(name, cache):
    return PLANS[name](cache)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module", params=PLANS)
def plan(request, cache):
    return composed(request.param, cache)


@pytest.fixture(scope="module")
def prod(cache):
    return composed("prod", cache)


def told(resources):
    return [f"{rule.name}: {finding}" for rule, finding in checks.judge(resources)]


def test_every_rule_passes(plan):
    assert len(plan) > 3
    assert told(plan) == []


def test_a_database_in_a_cluster_without_an_archive_is_found():
    [found] = told(plans.prod(cloud.KUBERNETES))
    assert found.startswith("backups-in-stack: database-cluster: no copy of it is made")


def test_more_servers_than_the_database_has_connections_for_are_found(prod):
    """Three times the replicas is what AwsTrackingServer scales to unless told otherwise."""

    def more(one):
        if one.name != "tracking-scaling":
            return one
        return dataclasses.replace(one, inputs={**one.inputs, "maxCapacity": 60})

    [found] = told([more(one) for one in prod])
    assert found.startswith("connection-budget: database-instance: it accepts ")
    assert "raise max_connections to 14170" in found


def test_what_nobody_protects_is_found(prod):
    bare = [dataclasses.replace(one, protected=False) for one in prod]
    found = {f.resource.name for rule, f in checks.judge(bare) if rule.name == "stateful-protected"}
    # All that is protected is protected because the rule wants it.
    assert found == {one.name for one in prod if one.protected}


def without(resources, kind, *names):
    """The resources, one kind of them without some inputs."""
    return [
        dataclasses.replace(one, inputs={k: v for k, v in one.inputs.items() if k not in names})
        if one.type.endswith(f":{kind}")
        else one
        for one in resources
    ]


@pytest.mark.parametrize(
    ("kind", "name", "rules"),
    [
        ("Cluster", "vpcConfig", {"no-public-cluster"}),
        ("Cluster", "encryptionConfig", {"cluster-secrets-encrypted"}),
        ("Cluster", "enabledClusterLogTypes", {"cluster-audit-log"}),
        ("LaunchTemplate", "blockDeviceMappings", {"node-disks-encrypted"}),
        ("LaunchTemplate", "metadataOptions", {"node-metadata-tokens", "node-metadata-hops"}),
    ],
)
def test_a_cluster_without_what_the_rules_want_is_found(cache, kind, name, rules):
    """So the rules see our own cluster, and not only the cases of test_rules.py."""
    found = checks.judge(without(composed("a cluster of EKS", cache), kind, name))
    assert {rule.name for rule, _ in found} == rules


def test_all_that_takes_tags_is_known_to_the_rule(plan):
    with_tags = {one.type for one in plan if one.type.startswith("aws:") and "tags" in one.inputs}
    assert with_tags <= labels.TAGGED
