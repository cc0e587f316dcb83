"""A cluster of EKS and its nodes: who reaches its API, what is encrypted, who gets the nodes' role, who did what."""

import ipaddress
from collections.abc import Iterator
from typing import Any

from pulumi_mlflow.core import eks
from pulumi_mlflow.core.plan import Resource, Unknown, dig

from .finding import Finding, items, texts

_CLUSTER = "aws:eks/cluster:Cluster"
_TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
_MACHINES = (_TEMPLATE, "aws:ec2/instance:Instance")
_SITE = 48
"""Prefix of IPv6 that one site has: https://datatracker.ietf.org/doc/html/rfc6177."""


def public_endpoint(resource: Resource) -> Iterator[Finding]:
    """APIs that more than a few addresses reach: EKS's own default is all the world.

    https://docs.aws.amazon.com/eks/latest/userguide/cluster-endpoint.html
    """
    public = resource.get("vpcConfig", "endpointPublicAccess")
    if resource.type != _CLUSTER or public is False or _later(public):
        return
    named = resource.get("vpcConfig", "publicAccessCidrs")
    mend = (
        "set vpcConfig.endpointPublicAccess to false, or vpcConfig.publicAccessCidrs to blocks of "
        f"/{eks.WIDEST_PUBLIC} or smaller"
    )
    if not named and not _later(named):
        yield Finding(resource, "its API is public, and publicAccessCidrs are missing", mend)
    wide = [block for block in texts(named) if not _is_narrow(block)]
    if wide:
        yield Finding(resource, f"its API is open to {', '.join(wide)}", mend)


def _is_narrow(text: str) -> bool:
    try:
        block = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return block.prefixlen >= (eks.WIDEST_PUBLIC if block.version == 4 else _SITE)  # noqa: PLR2004


def secrets_at_rest(resource: Resource) -> Iterator[Finding]:
    """Clusters whose secrets are encrypted by no key of the account's.

    https://docs.aws.amazon.com/securityhub/latest/userguide/eks-controls.html, EKS.3
    """
    covered = resource.get("encryptionConfig", "resources")
    if resource.type == _CLUSTER and not _later(covered) and "secrets" not in texts(covered):
        yield Finding(
            resource,
            "encryptionConfig for secrets is missing",
            'set encryptionConfig to a key of KMS and resources ["secrets"]; it cannot be undone',
        )


def disks_at_rest(resource: Resource) -> Iterator[Finding]:
    """Launch templates whose machines have disks that are not encrypted, or are as the image says.

    https://docs.aws.amazon.com/ebs/latest/userguide/ebs-encryption.html
    """
    if resource.type != _TEMPLATE:
        return
    disks = resource.get("blockDeviceMappings")
    if not disks and not _later(disks):
        yield Finding(
            resource,
            "blockDeviceMappings are missing, so the image says whether disks are encrypted",
            "name its root device in blockDeviceMappings, with ebs.encrypted true",
        )
    for disk in items(disks):
        switch = dig(disk, "ebs", "encrypted")
        # Pulumi has a text here, as AWS's API has three states.
        if dig(disk, "ebs") and str(switch).lower() != "true" and not _later(switch):
            yield Finding(
                resource,
                f"ebs.encrypted of {dig(disk, 'deviceName')} is not true",
                "set ebs.encrypted to true",
            )


def tokens(resource: Resource) -> Iterator[Finding]:
    """Machines whose metadata, and so whose role, a single request gives away (IMDSv1).

    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html
    """
    wanted = resource.get("metadataOptions", "httpTokens")
    if _gives_metadata(resource) and not _later(wanted) and wanted != "required":
        yield Finding(
            resource,
            "metadataOptions.httpTokens is not set to required",
            "set metadataOptions.httpTokens to required",
        )


def hops(resource: Resource) -> Iterator[Finding]:
    """Machines whose metadata, and so whose role, reaches the containers on them.

    https://docs.aws.amazon.com/eks/latest/best-practices/identity-and-access-management.html
    """
    limit = resource.get("metadataOptions", "httpPutResponseHopLimit")
    if _gives_metadata(resource) and not _later(limit) and limit != 1:
        yield Finding(
            resource,
            f"metadataOptions.httpPutResponseHopLimit is {'not set' if limit is None else f'{limit:g}'}",
            "set it to 1, and give pods roles of their own (EKS Pod Identity)",
        )


def _gives_metadata(resource: Resource) -> bool:
    on = resource.get("metadataOptions", "httpEndpoint") != "disabled"
    return resource.type in _MACHINES and on


def logs(resource: Resource) -> Iterator[Finding]:
    """Clusters that write down nowhere who did what.

    https://docs.aws.amazon.com/securityhub/latest/userguide/eks-controls.html, EKS.8
    """
    wanted = resource.get("enabledClusterLogTypes")
    if resource.type == _CLUSTER and not _later(wanted) and "audit" not in texts(wanted):
        yield Finding(
            resource,
            "audit is missing in enabledClusterLogTypes",
            "add audit to enabledClusterLogTypes",
        )


def _later(value: Any) -> bool:
    """Whether a value, or one in a list of them, is known only later."""
    return isinstance(value, Unknown) or any(isinstance(one, Unknown) for one in items(value))
