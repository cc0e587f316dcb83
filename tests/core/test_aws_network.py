"""Subnets of a VPC never overlap, lie within it, and do not move when a zone is added."""

import ipaddress
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulumi_mlflow.core import aws_network

blocks = st.builds(
    lambda second, length: str(ipaddress.IPv4Network((f"10.{second}.0.0", length))),
    st.integers(0, 255),
    st.integers(16, 24),
)


@given(blocks, st.sampled_from([2, 3]))
def test_they_lie_apart_within_the_block(cidr, zones):
    found = aws_network.subnets(cidr, zones)
    networks = [ipaddress.IPv4Network(item) for item in (*found.private, *found.public)]
    assert len(networks) == 2 * zones
    assert all(item.subnet_of(ipaddress.IPv4Network(cidr)) for item in networks)
    assert not [pair for pair in combinations(networks, 2) if pair[0].overlaps(pair[1])]
    # A load balancer wants 8 free addresses besides the 5 that AWS keeps.
    assert all(item.num_addresses >= 16 for item in networks)


@given(blocks)
def test_a_third_zone_moves_none_of_two(cidr):
    two, three = aws_network.subnets(cidr, 2), aws_network.subnets(cidr, 3)
    assert three.private[:2] == two.private
    assert three.public[:2] == two.public


@pytest.mark.parametrize(
    ("cidr", "zones", "refusal"),
    [
        ("10.0.0.0/16", 1, "zones: must be 2 or 3"),
        ("10.0.0.0/16", 4, "zones: must be 2 or 3"),
        ("10.0.0.0/25", 2, "must be /16 to /24"),
        ("10.0.0.0/8", 2, "must be /16 to /24"),
        ("8.8.0.0/16", 2, "private addresses"),
        ("10.0.0.1/16", 2, "host bits set"),
        ("everything", 2, "must be a block such as"),
    ],
)
def test_what_cannot_be_is_refused(cidr, zones, refusal):
    with pytest.raises(ValueError, match=refusal):
        aws_network.subnets(cidr, zones)


@pytest.mark.parametrize(
    ("found", "chosen"),
    [
        (["eu-central-1c", "eu-central-1a", "eu-central-1b"], ["eu-central-1a", "eu-central-1b"]),
        # As of an account in N. California, and of one in Tokyo.
        (["us-west-1c", "us-west-1b"], ["us-west-1b", "us-west-1c"]),
        (["ap-northeast-1d", "ap-northeast-1a"], ["ap-northeast-1a", "ap-northeast-1d"]),
    ],
)
def test_zones_are_of_those_that_there_are_and_the_same_at_every_up(found, chosen):
    assert aws_network.zones(found, "r") == chosen
    assert aws_network.zones(found[::-1], "r") == chosen


@pytest.mark.parametrize(("found", "said"), [([], "none"), (["r-1a"], "r-1a")])
def test_an_account_without_two_zones_is_refused(found, said):
    with pytest.raises(ValueError, match=f"needs 2 of r-1, and AWS has {said} for this account"):
        aws_network.zones(found, "r-1")


@pytest.mark.parametrize(
    ("service", "region", "name"),
    [
        ("ecr.api", "eu-central-1", "com.amazonaws.eu-central-1.ecr.api"),
        ("ecr.api", "us-gov-west-1", "com.amazonaws.us-gov-west-1.ecr.api"),
        ("ecr.api", "cn-north-1", "cn.com.amazonaws.cn-north-1.ecr.api"),
        ("ecr.dkr", "cn-northwest-1", "cn.com.amazonaws.cn-northwest-1.ecr.dkr"),
        ("logs", "cn-north-1", "com.amazonaws.cn-north-1.logs"),
        ("secretsmanager", "cn-north-1", "com.amazonaws.cn-north-1.secretsmanager"),
        ("s3", "cn-north-1", "com.amazonaws.cn-north-1.s3"),
        ("sts", "cn-north-1", "cn.com.amazonaws.cn-north-1.sts"),
        ("ecr.dkr", "eusc-de-east-1", "eu.amazonaws.eusc-de-east-1.ecr.dkr"),
    ],
)
def test_endpoints_have_the_names_of_their_partition(service, region, name):
    assert aws_network.endpoint_service(service, region) == name
