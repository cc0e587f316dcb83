"""Who can reach what: buckets, databases, ports."""

import ipaddress
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pulumi_mlflow.core.plan import Resource, dig

from .finding import (
    DATA,
    DOCKER_CONTAINER,
    Finding,
    items,
    kind,
    known,
    kubernetes,
    referring,
    role,
    texts,
)

BUCKETS = ("aws:s3/bucket:Bucket", "aws:s3/bucketV2:BucketV2")
_BLOCKS = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
_PUBLIC_ACLS = ("public-read", "public-read-write", "authenticated-read")
_ALL = ("0.0.0.0/0", "::/0")
_DOOR_PORTS = (80, 443)
"""Ports that a front door may open to all addresses; the plain one redirects."""


def public_bucket(resource: Resource) -> Iterator[Finding]:
    """Access lists, policies and switches that open a bucket to the public."""
    if not resource.type.startswith("aws:s3/"):
        return
    if resource.get("acl") in _PUBLIC_ACLS:
        yield Finding(
            resource, f"acl is {resource.get('acl')}", "take `acl` away; access is by policies"
        )
    if kind(resource) == "BucketPublicAccessBlock":
        for name in _BLOCKS:
            if resource.get(name) is False or resource.get(name) is None:
                yield Finding(resource, f"{name} is not true", f"set {name} to true")
    if kind(resource) in ("BucketPolicy", *(one.rsplit(":", 1)[-1] for one in BUCKETS)):
        for statement in _statements(resource.get("policy")):
            if _is_public(statement):
                yield Finding(
                    resource,
                    f"statement {statement.get('Sid') or '(without Sid)'} allows everybody",
                    "name principals, or add a Condition that only yours meet",
                )


def _statements(policy: Any) -> list[Mapping[str, Any]]:
    try:
        found = dig(json.loads(policy), "Statement") if isinstance(policy, str) else None
    except json.JSONDecodeError:
        return []
    listed = [found] if isinstance(found, Mapping) else items(found)
    return [one for one in listed if isinstance(one, Mapping)]


def _is_public(statement: Mapping[str, Any]) -> bool:
    if statement.get("Effect") != "Allow" or statement.get("Condition"):
        return False
    who = statement.get("Principal")
    return who == "*" or (isinstance(who, Mapping) and "*" in texts(who.get("AWS")))


def unblocked_buckets(resources: Sequence[Resource]) -> Iterator[Finding]:
    """Buckets without a BucketPublicAccessBlock."""
    for bucket in resources:
        if bucket.type in BUCKETS and not any(
            referring(resources, "BucketPublicAccessBlock", "bucket", bucket, "bucket")
        ):
            yield Finding(
                bucket,
                "nothing blocks public access",
                "add an aws.s3.BucketPublicAccessBlock with all four set to true",
            )


def public_database(resource: Resource) -> Iterator[Finding]:
    """Databases and stores with an address that others than their own network reach."""
    if resource.type.startswith("aws:") and resource.get("publiclyAccessible") is True:
        yield Finding(resource, "publiclyAccessible is true", "set publiclyAccessible to false")
    if role(resource) not in DATA:
        return
    if resource.type == DOCKER_CONTAINER:
        for port in items(resource.get("ports")):
            # Docker's own default is all addresses.
            address = dig(port, "ip")
            if address is None or (known(address) and not _is_loopback(address)):
                yield Finding(
                    resource,
                    f"port {dig(port, 'internal'):g} is published on {address or 'all addresses'}",
                    "publish it on 127.0.0.1, or not at all",
                )
    if kubernetes(resource) == "Service":
        made = resource.get("spec", "type")
        if made in ("LoadBalancer", "NodePort"):
            yield Finding(resource, f"spec.type is {made}", "set spec.type to ClusterIP")
    if kubernetes(resource) == "Ingress":
        yield Finding(resource, "an Ingress leads to data", "let only the front door have one")


def _is_loopback(address: Any) -> bool:
    try:
        return ipaddress.ip_address(str(address)).is_loopback
    except ValueError:
        return False


def open_to_all(resource: Resource) -> Iterator[Finding]:
    """Rules of security groups and NetworkPolicies that let everybody in, or everything out."""
    if resource.type.startswith("aws:"):
        for direction, rule in _rules(resource):
            if not _names_all(rule):
                continue
            protocol, ports = _ports(rule)
            if direction == "ingress" and not (protocol == "tcp" and ports in _DOORS):
                yield Finding(
                    resource,
                    f"{protocol} port {_text(ports)} is open to all addresses",
                    "name the addresses or the security group that may connect",
                )
            if direction == "egress" and protocol == "-1":
                yield Finding(
                    resource,
                    "everything may go out to all addresses",
                    "name a protocol and ports, or a prefix list or security group",
                )
    if kubernetes(resource) == "NetworkPolicy":
        yield from _open_policy(resource)


_DOORS = tuple((port, port) for port in _DOOR_PORTS)


def _rules(resource: Resource) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Direction and rule, of every resource that has such."""
    made = kind(resource)
    if made in ("SecurityGroup", "DefaultSecurityGroup"):
        for direction in ("ingress", "egress"):
            for rule in items(resource.get(direction)):
                if isinstance(rule, Mapping):
                    yield direction, rule
    if made == "SecurityGroupIngressRule":
        yield "ingress", resource.inputs
    if made == "SecurityGroupEgressRule":
        yield "egress", resource.inputs
    if made == "SecurityGroupRule" and resource.get("type") in ("ingress", "egress"):
        yield str(resource.get("type")), resource.inputs


def _names_all(rule: Mapping[str, Any]) -> bool:
    named = [
        text
        for key in ("cidrIpv4", "cidrIpv6", "cidrBlocks", "ipv6CidrBlocks")
        for text in texts(rule.get(key))
    ]
    return any(text in _ALL for text in named)


def _ports(rule: Mapping[str, Any]) -> tuple[str, tuple[int | None, int | None]]:
    protocol = str(rule.get("ipProtocol") or rule.get("protocol") or "-1")
    first, last = rule.get("fromPort"), rule.get("toPort")
    if protocol == "-1" or not known(first) or not known(last):
        return protocol, (None, None)
    return protocol, (int(first), int(last))  # type: ignore[arg-type]


def _text(ports: tuple[int | None, int | None]) -> str:
    first, last = ports
    return "all" if first is None else str(first) if first == last else f"{first}-{last}"


def _open_policy(resource: Resource) -> Iterator[Finding]:
    for rule in items(resource.get("spec", "ingress")):
        if not isinstance(rule, Mapping):
            continue
        peers = items(rule.get("from"))
        blocks = [dig(peer, "ipBlock", "cidr") for peer in peers]
        if "from" not in rule or (not peers and known(rule.get("from"))):
            yield Finding(
                resource, "an ingress rule names nobody, so all may connect", "give it `from`"
            )
        elif role(resource) != "proxy" and any(block in _ALL for block in blocks):
            yield Finding(
                resource,
                "an ingress rule lets all addresses in",
                "name pods, or the addresses that may connect",
            )
