"""What is known of a cluster of EKS without asking AWS: what it takes, who may reach it, how to log in."""

import ipaddress
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

LOG_TYPES = ("api", "audit", "authenticator", "controllerManager", "scheduler")
"""https://docs.aws.amazon.com/eks/latest/userguide/control-plane-logs.html."""

OLDEST_MINOR = 27
"""Of Kubernetes 1: what the components of the runtime `kubernetes` need (docs/kubernetes.md)."""

ADDONS_BEFORE_NODES = ("eks-pod-identity-agent", "vpc-cni", "kube-proxy")
"""DaemonSets, in their order: a node without a network is never ready, and the network's role comes by the agent."""

ADDONS_AFTER_NODES = ("coredns", "aws-ebs-csi-driver", "metrics-server")
"""Deployments: such an add-on is degraded for as long as there is no node, and its creation fails."""

ADDONS = (*ADDONS_BEFORE_NODES, *ADDONS_AFTER_NODES)

ENDPOINTS = ("ec2", "eks", "eks-auth", "sts", "ssm", "ssmmessages")
"""Services that nodes use, beside those of every network: the last two for a shell by Session Manager, the others by
https://docs.aws.amazon.com/eks/latest/userguide/private-clusters.html."""

NAME_PREFIX_LIMIT = 37
"""Characters of a node group's name (63) without the 26 that the provider adds (internal/service/eks/node_group.go)."""

_DISK_GB = range(20, 16385)
"""The image's own 20 GiB, to the largest disk of type gp3."""

_WIDEST = 8
"""Prefix of the largest block that is let in: a company's 10.0.0.0/8, not the world."""

WIDEST_PUBLIC = 16
"""The same of public addresses: larger blocks are those of clouds and providers, where anybody rents one
(https://docs.aws.amazon.com/vpc/latest/userguide/aws-ip-ranges.html)."""


@dataclass(frozen=True)
class Sources:
    """Blocks of addresses that reach the API.

    Attributes:
        private: by its private endpoint.
        public: by its public one.
    """

    private: tuple[str, ...]
    public: tuple[str, ...]


def check_version(version: str) -> str:
    """A minor version of Kubernetes.

    Args:
        version: such as `1.33`.

    Raises:
        ValueError: it is none, or too old for the components.
    """
    found = re.fullmatch(r"1\.(\d{2})", str(version))
    if not found or int(found[1]) < OLDEST_MINOR:
        raise ValueError(
            f'version: must be a minor version of Kubernetes from "1.{OLDEST_MINOR}" on, in quotes (got {version!r})'
        )
    return found[0]


def sources(cidrs: Iterable[str], *, public: bool) -> Sources:
    """Who reaches the API: private addresses by the private endpoint, public ones by the public one.

    Args:
        cidrs: blocks of IPv4 addresses.
        public: whether there is a public endpoint.

    Raises:
        ValueError: a block that is none or is too wide; public addresses without a public endpoint, or the reverse.
    """
    blocks = [_block(cidr) for cidr in cidrs]
    outside = tuple(str(block) for block in blocks if block.is_global)
    inside = tuple(str(block) for block in blocks if not block.is_global)
    if public and not outside:
        raise ValueError(
            "allowed_cidrs: must name public addresses while public is true, or EKS lets the world in (got none)"
        )
    if outside and not public:
        raise ValueError(
            f"allowed_cidrs: {', '.join(outside)} cannot reach a private endpoint; take it out, or set public to true"
        )
    return Sources(private=inside, public=outside)


def _block(cidr: str) -> ipaddress.IPv4Network:
    try:
        block = ipaddress.IPv4Network(cidr)
    except ValueError as error:
        raise ValueError(f"allowed_cidrs: must be blocks such as 10.0.0.0/8: {error}") from error
    widest = WIDEST_PUBLIC if block.is_global else _WIDEST
    if block.prefixlen < widest:
        raise ValueError(f"allowed_cidrs: must be /{widest} or smaller (got {cidr!r})")
    return block


def check_instance_type(wanted: str) -> str:
    """A type of EC2 that nodes can be.

    Args:
        wanted: such as `m6i.large`.

    Raises:
        ValueError: no type, or one with Graviton: our images are for amd64.
    """
    if not re.fullmatch(r"[a-z][a-z0-9-]*\d[a-z0-9-]*\.[a-z0-9-]+", str(wanted)):
        raise ValueError(f"nodes.instance_type: must be a type such as m6i.large (got {wanted!r})")
    # The letter after the generation: m7g, c7gn, t4g; not g5, whose family is g.
    if re.match(r"(a1|[a-z]+\d+g[a-z]*)\.", wanted):
        raise ValueError(
            f"nodes.instance_type: must be of x86, since our images are for amd64 (got {wanted!r})"
        )
    return wanted


def check_nodes(smallest: int, desired: int, largest: int, disk_gb: int) -> None:
    """Numbers of nodes, and the size of their disks in GiB.

    Raises:
        ValueError: numbers that contradict one another, or a disk that cannot be.
    """
    if not 1 <= smallest <= desired <= largest:
        raise ValueError(
            f"nodes: must be 1 ≤ min ≤ desired ≤ max (got {smallest}, {desired}, {largest})"
        )
    if disk_gb not in _DISK_GB:
        raise ValueError(
            f"nodes.disk_gb: must be {_DISK_GB.start} to {_DISK_GB.stop - 1} (got {disk_gb})"
        )


def check_known(key: str, given: Iterable[str], known: Sequence[str]) -> list[str]:
    """Names of which all are known.

    Args:
        key: argument that they are from.
        given: the names.
        known: those that there are.

    Raises:
        ValueError: there is no such name.
    """
    names = list(given)
    strange = [name for name in names if name not in known]
    if strange:
        raise ValueError(f"{key}: must be of {', '.join(known)} (got {', '.join(strange)})")
    return names


def check_admins(admins: Mapping[str, str | None]) -> None:
    """Roles that access entries can be for.

    Args:
        admins: key → ARN; None where it is not known yet.

    Raises:
        ValueError: there is none, or one is a session, a user, or no ARN.
    """
    if not admins:
        raise ValueError("admins: must name a role, or nobody could log in (got none)")
    for who, arn in admins.items():
        if arn is not None and not re.fullmatch(r"arn:aws[a-z-]*:iam::\d{12}:role/\S+", arn):
            raise ValueError(
                f"admins.{who}: must be the ARN of a role, arn:aws:iam::ACCOUNT:role/NAME, not of a session or a user "
                f"(got {arn!r})"
            )


def check_endpoints(*, wanted: bool, possible: bool) -> None:
    """Endpoints to the services that nodes use.

    Args:
        wanted: whether they are to be made.
        possible: whether the network names a security group for them.

    Raises:
        ValueError: wanted and not possible.
    """
    if wanted and not possible:
        raise ValueError(
            "endpoints: network names no security group for them; give it `endpoints`, or set endpoints to false where "
            f"the VPC has those to {', '.join(ENDPOINTS)}"
        )


def configuration(addon: str) -> str | None:
    """What an add-on is told, in JSON as EKS wants it; nothing for most.

    https://docs.aws.amazon.com/eks/latest/userguide/cni-network-policy-configure.html
    """
    return json.dumps({"enableNetworkPolicy": "true"}) if addon == "vpc-cni" else None


def kubeconfig(name: str, region: str, endpoint: str, ca: str) -> str:
    """How to reach a cluster: each login is AWS's, by `aws eks get-token`, and no token is in it.

    Args:
        name: of the cluster.
        region: that it is in.
        endpoint: URL of its API.
        ca: its authority's certificate: PEM in base64, as EKS gives it.

    Returns:
        JSON, which is YAML too.
    """
    login = {
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "command": "aws",
        "args": f"eks get-token --cluster-name {name} --region {region} --output json".split(),
        "interactiveMode": "Never",
    }
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": name, "cluster": {"server": endpoint, "certificate-authority-data": ca}}
            ],
            "users": [{"name": name, "user": {"exec": login}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "current-context": name,
        },
        sort_keys=True,
    )
