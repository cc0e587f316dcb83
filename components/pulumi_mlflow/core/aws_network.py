"""Addresses of a VPC's subnets."""

import ipaddress
from dataclasses import dataclass

_LARGEST, _SMALLEST = 16, 24
"""Prefix lengths of a VPC: AWS takes 16 to 28; of 24 a public subnet has 16 addresses, of which AWS keeps 5, and a load
balancer wants 8 free ones."""

ZONES = range(2, 4)
"""How many availability zones: RDS and load balancers want two, and a fourth adds cost and no safety."""


@dataclass(frozen=True)
class Subnets:
    """CIDR blocks, one a zone.

    Attributes:
        private: without a way in.
        public: of the load balancer and of NAT gateways.
    """

    private: tuple[str, ...]
    public: tuple[str, ...]


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
