"""A VPC: addresses of its subnets, names of the services that it reaches by endpoints, its zones."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from . import iam

_LARGEST, _SMALLEST = 16, 24
"""Prefix lengths of a VPC: AWS takes 16 to 28; of 24 a public subnet has 16 addresses, of which AWS keeps 5, and a load
balancer wants 8 free ones."""

ZONES = range(2, 4)
"""How many availability zones: RDS and load balancers want two, and a fourth adds cost and no safety."""

ZONE_FILTERS = {"opt-in-status": ["opt-in-not-required"], "zone-type": ["availability-zone"]}
"""Which zones AWS is asked for: neither local ones nor those of a carrier. Not by their state: subnets stay in a zone
that fails."""

POOR_ZONES = (
    *("apne1-az3", "cac1-az3", "cnn1-az3", "cnn1-az4", "usw1-az2"),  # Fargate
    *("use1-az3",),  # EKS, and the newer classes of RDS
)
"""Ids of zones that not all of our services are in; their names differ from account to account.
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/AWS_Fargate-Regions.html
https://docs.aws.amazon.com/eks/latest/userguide/network-reqs.html"""


_OWN_NAMES = {
    "aws-cn": ("cn.com.amazonaws", ("ec2", "ecr.api", "ecr.dkr", "eks", "sts")),
    "aws-eusc": ("eu.amazonaws", ("ecr.api", "ecr.dkr")),
}
"""Partition → how the names of some services' endpoints begin there, and which services these are; all others begin as
everywhere. As `aws ec2 describe-vpc-endpoint-services` says, and as AWS's CDK has it (aws-ec2, vpc-endpoint.ts)."""


@dataclass(frozen=True)
class Subnets:
    """CIDR blocks, one a zone.

    Attributes:
        private: without a way in.
        public: of the load balancer and of NAT gateways.
    """

    private: tuple[str, ...]
    public: tuple[str, ...]


def zones(found: Sequence[str], region: str) -> list[str]:
    """The zones that a VPC is made in unless others are given: the first two by name, and so the same at every `up`.

    Args:
        found: names of those that AWS has for this account.
        region: that they are in.

    Raises:
        ValueError: there are not two.
    """
    if len(found) < ZONES.start:
        raise ValueError(
            f"zones: needs {ZONES.start} of {region}, and AWS has {', '.join(found) or 'none'} for this account; give "
            "other zones, or take another region"
        )
    return sorted(found)[: ZONES.start]


def endpoint_service(service: str, region: str) -> str:
    """Name of a service of AWS for an endpoint in a VPC.

    Args:
        service: such as `ecr.api`.
        region: that the VPC is in.
    """
    begin, services = _OWN_NAMES.get(iam.partition(region), ("", ()))
    return f"{begin if service in services else 'com.amazonaws'}.{region}.{service}"


def subnets(cidr: str, zones: int) -> Subnets:
    """Blocks of a VPC: an eighth for each private subnet, a sixteenth for each public one.

    They do not depend on the number of zones: a third one moves none of the first two, which would replace them.

    Args:
        cidr: block of the VPC.
        zones: 2 or 3.

    Raises:
        ValueError: a block or number that AWS, or we, cannot use.
    """
    if zones not in ZONES:
        raise ValueError(f"zones: must be 2 or 3 (got {zones})")
    try:
        network = ipaddress.IPv4Network(cidr)
    except ValueError as error:
        raise ValueError(f"cidr: must be a block such as 10.42.0.0/16: {error}") from error
    if not network.is_private:
        raise ValueError(f"cidr: must be of private addresses (RFC 1918) (got {cidr!r})")
    if not _LARGEST <= network.prefixlen <= _SMALLEST:
        raise ValueError(f"cidr: must be /{_LARGEST} to /{_SMALLEST} (got {cidr!r})")
    private = list(network.subnets(prefixlen_diff=3))
    public = list(network.subnets(prefixlen_diff=4))[8:]
    return Subnets(
        private=tuple(str(private[zone]) for zone in range(zones)),
        public=tuple(str(public[zone]) for zone in range(zones)),
    )
