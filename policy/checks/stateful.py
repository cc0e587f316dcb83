"""What holds data or opens it: it is protected, and a plan that takes it away says so first."""

from collections.abc import Iterator, Sequence

from pulumi_mlflow.core.plan import Resource, Step

from .finding import DATA, DOCKER_VOLUME, Finding, kubernetes, role

_TYPES = frozenset(
    {
        "aws:rds/instance:Instance",
        "aws:rds/cluster:Cluster",
        "aws:s3/bucket:Bucket",
        "aws:s3/bucketV2:BucketV2",
        "aws:kms/key:Key",
        "aws:backup/vault:Vault",
        "aws:backup/vaultLockConfiguration:VaultLockConfiguration",
        "aws:efs/fileSystem:FileSystem",
        "aws:ebs/volume:Volume",
        "aws:dynamodb/table:Table",
        "aws:eks/cluster:Cluster",
        "pulumi-python:dynamic/pulumi-mlflow:GeneratedSecret",
        "pulumi-python:dynamic/pulumi-mlflow:DataGuard",
    }
)
_GROUND = frozenset({"aws:ec2/vpc:Vpc", "aws:ec2/subnet:Subnet"})
"""What databases stand in, and cannot leave."""

_KINDS = ("PersistentVolumeClaim", "Namespace")
"""Of Kubernetes: a namespace takes all that is in it along. Claims outlive a StatefulSet."""

_SWITCHES = {
    "deletionProtection": True,
    "forceDestroy": False,
    "deleteAutomatedBackups": False,
}
"""Input → what it must be, where a resource of RDS or S3 has it."""

_PROTECT = "set protect=True in its options (in components of ours it is)"


def is_stateful(resource: Resource) -> bool:
    """Whether a resource holds data that cannot be made again, or a secret that opens it."""
    # A replica of RDS is made anew from its source.
    if resource.get("replicateSourceDb") is not None:
        return False
    if resource.type == DOCKER_VOLUME:
        # A server's scratch is not; nor are files, which are made from settings.
        return role(resource) in DATA
    database = kubernetes(resource) == "Cluster" and "postgresql.cnpg.io" in resource.type
    return resource.type in _TYPES or kubernetes(resource) in _KINDS or database


def unprotected(resource: Resource) -> Iterator[Finding]:
    """Stateful resources that Pulumi, or their own provider, would let go."""
    if not (is_stateful(resource) or resource.type in _GROUND):
        return
    if not resource.protected:
        yield Finding(resource, f"{_worth(resource)} and is not protected", _PROTECT)
    for switch, wanted in _SWITCHES.items():
        if resource.get(switch) is (not wanted):
            yield Finding(
                resource,
                f"{switch} is {str(not wanted).lower()}",
                f"set {switch} to {str(wanted).lower()}",
            )
    required = resource.type in ("aws:rds/instance:Instance", "aws:rds/cluster:Cluster")
    if required and resource.get("deletionProtection") is None and not _of_aurora(resource):
        yield Finding(resource, "deletionProtection is not set", "set deletionProtection to true")


def _of_aurora(resource: Resource) -> bool:
    return resource.get("clusterIdentifier") is not None


def losses(steps: Sequence[Step]) -> Iterator[Finding]:
    """Steps of a plan that delete or replace what holds data; a policy pack is never shown those."""
    for step in steps:
        old = step.old
        if step.loses and old is not None and (is_stateful(old) or old.type in _GROUND):
            why = f" for {', '.join(step.reasons)}" if step.reasons else ""
            yield Finding(
                old,
                f"{_worth(old)} and would be {_PAST[step.operation]}{why}",
                "keep what names it; to move data see docs/runbooks/moving.md",
            )


def _worth(resource: Resource) -> str:
    return "it is what databases stand in" if resource.type in _GROUND else "it holds data"


_PAST = {"delete": "deleted", "replace": "replaced"}
