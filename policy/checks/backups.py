"""Whether what is lost can be had again."""

from collections.abc import Iterator, Sequence

from pulumi_mlflow.core.plan import Resource, dig

from .exposure import BUCKETS
from .finding import Finding, items, known, kubernetes, referring, role

DAYS = 7
"""Fewest days that a database's backups are kept: a week-end and the days until somebody looks."""

_DATABASES = ("aws:rds/instance:Instance", "aws:rds/cluster:Cluster")


def of_database(resource: Resource) -> Iterator[Finding]:
    """RDS without backups, or that is deleted without a last one. A replica has those of its source."""
    if resource.type not in _DATABASES or resource.get("replicateSourceDb") is not None:
        return
    # An instance of Aurora has its cluster's.
    if resource.get("clusterIdentifier") is not None:
        return
    days = resource.get("backupRetentionPeriod")
    if days is None or (known(days) and days < DAYS):
        yield Finding(
            resource,
            f"backups are kept for {days or 0:g} days",
            f"set backupRetentionPeriod to {DAYS} or more",
        )
    if resource.get("skipFinalSnapshot") is True:
        yield Finding(
            resource,
            "it would be deleted without a last snapshot",
            "set skipFinalSnapshot to false, and finalSnapshotIdentifier",
        )


def of_stack(resources: Sequence[Resource]) -> Iterator[Finding]:
    """Buckets without versions, and databases in a cluster of which no copy is made."""
    for bucket in resources:
        if bucket.type in BUCKETS and not _is_for_logs(bucket, resources):
            yield from _unversioned(bucket, resources)
    copied = any(
        kubernetes(one) == "ScheduledBackup"
        or (kubernetes(one) == "CronJob" and role(one) == "backup")
        for one in resources
    )
    for one in resources:
        if kubernetes(one) == "Cluster" and "postgresql.cnpg.io" in one.type and not copied:
            yield Finding(
                one,
                "no copy of it is made outside the cluster",
                "give KubernetesDatabase an `archive`, or add KubernetesBackup with a `destination`",
            )


def _unversioned(bucket: Resource, resources: Sequence[Resource]) -> Iterator[Finding]:
    versions = list(referring(resources, "BucketVersioning", "bucket", bucket, "bucket"))
    states = [one.get("versioningConfiguration", "status") for one in versions]
    if not any(state == "Enabled" or not known(state) for state in states):
        yield Finding(
            bucket,
            "what is overwritten or deleted in it is lost",
            "add an aws.s3.BucketVersioning with status Enabled",
        )


def _is_for_logs(bucket: Resource, resources: Sequence[Resource]) -> bool:
    """Whether a bucket holds others' access logs, which are written once."""
    return any(referring(resources, "BucketLogging", "targetBucket", bucket, "bucket")) or any(
        dig(rule, "id") == "access-logs" for rule in items(bucket.get("lifecycleRules"))
    )
