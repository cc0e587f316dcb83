"""Whether data is encrypted where it lies and on its way."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pulumi_mlflow.core.plan import Resource, dig

from .exposure import BUCKETS
from .finding import Finding, items, kind, known, kubernetes, referring

_SWITCHES = {
    "aws:rds/instance:Instance": "storageEncrypted",
    "aws:rds/cluster:Cluster": "storageEncrypted",
    "aws:docdb/cluster:Cluster": "storageEncrypted",
    "aws:efs/fileSystem:FileSystem": "encrypted",
    "aws:ebs/volume:Volume": "encrypted",
    "aws:elasticache/replicationGroup:ReplicationGroup": "atRestEncryptionEnabled",
}
"""Type → the switch that encrypts it; off unless it is on."""

_ALGORITHMS = ("aws:kms", "aws:kms:dsse", "AES256")
_FORCED = {"rds.force_ssl": ("1",), "require_secure_transport": ("1", "ON")}
"""Parameters that refuse plain connections, of PostgreSQL and of MySQL."""


def at_rest(resource: Resource) -> Iterator[Finding]:
    """Disks, databases and buckets that are not encrypted."""
    switch = _SWITCHES.get(resource.type)
    if switch and (resource.get(switch) is None or resource.get(switch) is False):
        yield Finding(resource, f"{switch} is not true", f"set {switch} to true")
    if kind(resource) == "BucketServerSideEncryptionConfiguration":
        for rule in items(resource.get("rules")):
            algorithm = dig(rule, "applyServerSideEncryptionByDefault", "sseAlgorithm")
            if algorithm is None or (known(algorithm) and algorithm not in _ALGORITHMS):
                yield Finding(
                    resource, f"sseAlgorithm is {algorithm}", "set sseAlgorithm to aws:kms"
                )


def unencrypted_buckets(resources: Sequence[Resource]) -> Iterator[Finding]:
    """Buckets that say nothing about encryption."""
    for bucket in resources:
        if bucket.type in BUCKETS and not any(
            referring(
                resources, "BucketServerSideEncryptionConfiguration", "bucket", bucket, "bucket"
            )
        ):
            yield Finding(
                bucket,
                "nothing says how it is encrypted",
                "add an aws.s3.BucketServerSideEncryptionConfiguration with aws:kms",
            )


def in_transit(resource: Resource) -> Iterator[Finding]:
    """Parameters and listeners that let plain connections in."""
    if resource.type.startswith("aws:rds/") and kind(resource).endswith("ParameterGroup"):
        for one in items(resource.get("parameters")):
            name, value = dig(one, "name"), dig(one, "value")
            if name in _FORCED and known(value) and str(value) not in _FORCED[name]:
                yield Finding(resource, f"{name} is {value}", f"set {name} to {_FORCED[name][0]}")
    if resource.type in ("aws:lb/listener:Listener", "aws:alb/listener:Listener"):
        plain = resource.get("protocol") == "HTTP"
        first = items(resource.get("defaultActions"))
        if plain and not all(_is_redirect(action) for action in first):
            yield Finding(
                resource,
                "answers plain HTTP",
                "let it redirect to HTTPS (StatusCode HTTP_301), and nothing else",
            )
    if kubernetes(resource) == "Ingress":
        yield from _plain_ingress(resource)


def _is_redirect(action: Any) -> bool:
    return (dig(action, "type"), dig(action, "redirect", "protocol")) == ("redirect", "HTTPS")


def _plain_ingress(resource: Resource) -> Iterator[Finding]:
    notes = resource.get("metadata", "annotations")
    ends = isinstance(notes, Mapping) and any("certificate-arn" in str(key) for key in notes)
    if not ends and not resource.get("spec", "tls") and known(resource.get("spec")):
        yield Finding(
            resource, "it ends no TLS", "give spec.tls, or a certificate by its controller"
        )
