"""No stack of ours breaks a rule: all rules over the real plans of dev, local and prod."""

import dataclasses
import functools

import pytest
from policy import checks
from policy.checks import labels
from tests.policy import plans

PLANS = {
    "dev": lambda cache: plans.stack("dev", cache, images="registry"),
    "dev, images built": lambda cache: plans.stack("dev", cache, images="build"),
    "local": lambda cache: plans.stack("local", cache),
    "aws": lambda _: plans.aws(),
    "aws, aurora": lambda _: plans.aws("aurora-mysql", auth="oidc-mlflow", proxy=True, most=6),
    "kubernetes": lambda _: plans.kubernetes(plans.in_cluster),
    "kubernetes, existing": lambda _: plans.kubernetes(plans.outside),
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
def aws(cache):
    return composed("aws", cache)


def told(resources):
    return [f"{rule.name}: {finding}" for rule, finding in checks.judge(resources)]


def test_every_rule_passes(plan):
    assert told(plan) == []
    assert len(plan) > 3


def test_more_servers_than_the_database_has_connections_for_are_found(aws):
    """Three times the replicas is what AwsTrackingServer scales to unless told otherwise."""

    def more(one):
        if one.name != "tracking-scaling":
            return one
        return dataclasses.replace(one, inputs={**one.inputs, "maxCapacity": 6})

    [found] = told([more(one) for one in aws])
    assert found.startswith("connection-budget: database-instance: it accepts 490 connections")
    assert "raise max_connections to 1426" in found


def test_what_nobody_protects_is_found(aws):
    bare = [dataclasses.replace(one, protected=False) for one in aws]
    found = {f.resource.name for rule, f in checks.judge(bare) if rule.name == "stateful-protected"}
    # All that is protected is protected because the rule wants it.
    assert found == {one.name for one in aws if one.protected}


def test_all_that_takes_tags_is_known_to_the_rule(plan):
    with_tags = {one.type for one in plan if one.type.startswith("aws:") and "tags" in one.inputs}
    assert with_tags <= labels.TAGGED
