"""What of a stack AWS would not let go, asked before anything is taken.

A destroy that AWS refuses at its end has taken the servers, and perhaps the database, by then. So whatever can be known
before is asked: vaults with copies, buckets with objects, a snapshot whose name the last copy would take.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from . import state

_KEY = "aws:kms/key:Key"
_GONE = frozenset({"404", "NoSuchBucket", "ResourceNotFoundException"})
_NO_SNAPSHOT = frozenset({"DBSnapshotNotFound", "DBClusterSnapshotNotFoundFault"})


def kept_keys(exported: Mapping[str, Any]) -> list[state.Protected]:
    """Keys that stay in AWS when the stack is deleted, for the copies that they encrypt."""
    return [
        state.Protected(state.logical_name(one), _KEY, str((one.get("outputs") or {}).get("arn")))
        for one in state.resources(exported)
        if one["type"] == _KEY and one.get("retainOnDelete")
    ]


def obstacles(exported: Mapping[str, Any]) -> list[str]:
    """Why a purge could not come to its end, or would take what copies need; one line each, with its mend.

    Args:
        exported: the stack's state.
    """
    kept = {one.identity for one in kept_keys(exported)}
    return [
        reason
        for resource in state.resources(exported)
        if (check := _CHECKS.get(resource["type"]))
        for reason in _asked(check, resource, kept)
    ]


_Check = Callable[[str, Mapping[str, Any], frozenset[str]], Iterator[str]]


def _asked(check: _Check, resource: Mapping[str, Any], kept: set[str]) -> list[str]:
    name = state.logical_name(resource)
    known = {**(resource.get("inputs") or {}), **(resource.get("outputs") or {})}
    try:
        return list(check(name, known, frozenset(kept)))
    except (BotoCoreError, ClientError) as error:
        return [f"{name}: AWS does not say whether it can be deleted: {error}"]


def _client(service: str, known: Mapping[str, Any]) -> Any:
    """boto3's client for the region of a resource."""
    parts = str(known.get("arn", "")).split(":")
    region = known.get("region") or "".join(parts[3:4])  # arn:partition:service:region:…
    return boto3.client(service, region_name=region or None)


def _vault(name: str, known: Mapping[str, Any], _kept: frozenset[str]) -> Iterator[str]:
    vault = known["name"]
    try:
        found = _client("backup", known).list_recovery_points_by_backup_vault(
            BackupVaultName=vault, MaxResults=1
        )
    except ClientError as error:
        if error.response["Error"]["Code"] in _GONE:
            return
        raise
    if found.get("RecoveryPoints"):
        yield (
            f"{name}: vault {vault} holds copies, and AWS deletes only empty ones; wait until their time is over, or "
            f"take its lock off, where that is still possible, and delete them"
        )


def _bucket(name: str, known: Mapping[str, Any], _kept: frozenset[str]) -> Iterator[str]:
    if known.get("forceDestroy"):
        return
    bucket = known["bucket"]
    try:
        found = _client("s3", known).list_object_versions(Bucket=bucket, MaxKeys=1)
    except ClientError as error:
        if error.response["Error"]["Code"] in _GONE:
            return
        raise
    if found.get("Versions") or found.get("DeleteMarkers"):
        yield f"{name}: bucket {bucket} holds objects or former versions of some; empty it first, versions included"


def _database(
    name: str, known: Mapping[str, Any], kept: frozenset[str], *, cluster: bool
) -> Iterator[str]:
    if known.get("skipFinalSnapshot"):
        return
    key = known.get("kmsKeyId")
    if key and key not in kept:
        yield (
            f"{name}: its key {key} would be deleted with it, and with that the last copy; bring the stack up once "
            f"with this version, which leaves the key in AWS"
        )
    last = known.get("finalSnapshotIdentifier")
    if last and _has_snapshot(_client("rds", known), last, cluster=cluster):
        yield (
            f"{name}: there is a snapshot {last} already, so the last copy could not be made; copy it to another name "
            f"where it is needed, and delete it"
        )


def _has_snapshot(rds: Any, name: str, *, cluster: bool) -> bool:
    try:
        if cluster:
            rds.describe_db_cluster_snapshots(DBClusterSnapshotIdentifier=name)
        else:
            rds.describe_db_snapshots(DBSnapshotIdentifier=name)
    except ClientError as error:
        if error.response["Error"]["Code"] in _NO_SNAPSHOT:
            return False
        raise
    return True


def _instance(name: str, known: Mapping[str, Any], kept: frozenset[str]) -> Iterator[str]:
    return _database(name, known, kept, cluster=False)


def _cluster(name: str, known: Mapping[str, Any], kept: frozenset[str]) -> Iterator[str]:
    return _database(name, known, kept, cluster=True)


_CHECKS: Mapping[str, _Check] = {
    "aws:backup/vault:Vault": _vault,
    "aws:rds/cluster:Cluster": _cluster,
    "aws:rds/instance:Instance": _instance,
    "aws:s3/bucket:Bucket": _bucket,
}
