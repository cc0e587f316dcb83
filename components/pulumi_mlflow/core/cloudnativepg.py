"""A PostgreSQL cluster as CloudNativePG's operator takes it: the specification of its custom resource.

Fields are those of https://cloudnative-pg.io/documentation/current/cloudnative-pg.v1/ (`postgresql.cnpg.io/v1`, of
operator 1.26 and later), and of the Barman Cloud plug-in (`barmancloud.cnpg.io/v1`).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import budgets, limits, manifests

NAME_LIMIT = 50
"""Longest name of a cluster, in characters: the operator adds to it."""

PORT = 5432
STATUS_PORT = 8000
"""Where the operator and the other instances ask an instance how it is."""
METRICS_PORT = 9187

CLUSTER_LABEL = "cnpg.io/cluster"
"""Label of all pods of a cluster, with its name."""

PLUGIN = "barman-cloud.cloudnative-pg.io"

_PG_HBA = [
    # The operator's own rules, for replication, stand before these, and one that takes plain text behind.
    "hostssl all all all scram-sha-256",
    "hostnossl all all all reject",
]


@dataclass(frozen=True)
class ClusterSettings:
    """A cluster.

    Attributes:
        image: image of one version of PostgreSQL, made for the operator.
        instances: servers; one of them takes writes.
        database: name of the database.
        username: its owner.
        secret: name of the Secret with that user's name and password.
        memory_mb: memory of each, in MiB.
        max_connections: connections that each accepts.
        storage_gb: disk of each, in GiB.
        storage_class: who makes it; empty for the cluster's usual one.
        wal_storage_gb: disk for the write-ahead log, in GiB; 0 for the same one.
        labels: of everything that the operator makes for it.
        pull_secrets: names of Secrets that open the registry.
        archive: name of the ObjectStore that the write-ahead log is archived in; empty for none.
        account_annotations: of its service account, by which a cloud gives it an identity.
    """

    image: Any
    instances: int
    database: str
    username: str
    secret: Any
    memory_mb: int
    max_connections: int
    storage_gb: int
    storage_class: str = ""
    wal_storage_gb: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    pull_secrets: Sequence[str] = ()
    archive: str = ""
    account_annotations: Mapping[str, Any] = field(default_factory=dict)


def cluster(settings: ClusterSettings) -> dict[str, Any]:
    """Specification of a `Cluster`.

    Raises:
        ValueError: a number of instances or a size that cannot be.
    """
    for key, least in (("instances", 1), ("storage_gb", 1), ("wal_storage_gb", 0)):
        value = getattr(settings, key)
        if value < least:
            raise ValueError(f"{key}: must be ≥ {least} (got {value})")
    several = settings.instances > 1
    given = manifests.resources(
        settings.memory_mb, 0.5, limits.database_cpus(settings.max_connections)
    )
    postgresql: dict[str, Any] = {
        "parameters": budgets.postgres_parameters(settings.memory_mb, settings.max_connections),
        "pg_hba": list(_PG_HBA),
    }
    if several:
        # What was answered survives a failover; without a standby, writes go on all the same.
        postgresql["synchronous"] = {
            "method": "any",
            "number": 1,
            "dataDurability": "preferred",
        }
    found: dict[str, Any] = {
        "instances": settings.instances,
        "imageName": settings.image,
        "primaryUpdateStrategy": "unsupervised",
        "primaryUpdateMethod": "switchover" if several else "restart",
        "enableSuperuserAccess": False,
        # Of a single instance it would block the upgrade of its node for ever.
        "enablePDB": several,
        "inheritedMetadata": {"labels": dict(settings.labels)},
        "bootstrap": {
            "initdb": {
                "database": settings.database,
                "owner": settings.username,
                "secret": {"name": settings.secret},
                "encoding": "UTF8",
                "dataChecksums": True,
            }
        },
        "postgresql": postgresql,
        "resources": given,
        "storage": _storage(settings.storage_gb, settings.storage_class),
        "affinity": {
            "enablePodAntiAffinity": True,
            "podAntiAffinityType": "preferred",
            "topologyKey": "topology.kubernetes.io/zone",
        },
    }
    if settings.wal_storage_gb:
        found["walStorage"] = _storage(settings.wal_storage_gb, settings.storage_class)
    if settings.pull_secrets:
        found["imagePullSecrets"] = [{"name": name} for name in settings.pull_secrets]
    if settings.archive:
        found["plugins"] = [
            {
                "name": PLUGIN,
                "enabled": True,
                "isWALArchiver": True,
                "parameters": {"barmanObjectName": settings.archive},
            }
        ]
    if settings.account_annotations:
        found["serviceAccountTemplate"] = {
            "metadata": {"annotations": dict(settings.account_annotations)}
        }
    return found


def _storage(size_gb: int, storage_class: str) -> dict[str, Any]:
    return {
        "size": f"{size_gb}Gi",
        "resizeInUseVolumes": True,
        **({"storageClass": storage_class} if storage_class else {}),
    }


def object_store(
    destination: str, retention_days: int, endpoint_url: str = "", keys_secret: Any = ""
) -> dict[str, Any]:
    """Specification of an `ObjectStore`: where base backups and the write-ahead log are kept.

    Args:
        destination: `s3://bucket/prefix`.
        retention_days: days that one can go back to.
        endpoint_url: URL of an S3-compatible store; empty for S3 itself.
        keys_secret: name of a Secret with `access-key` and `secret-key`; empty with the service account's identity.

    Raises:
        ValueError: no place in a bucket, or no day.
    """
    if not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]+(/[\w.-]+)*/?", destination):
        raise ValueError(f"destination: must be s3://bucket/prefix (got {destination!r})")
    if retention_days < 1:
        raise ValueError(f"retention_days: must be ≥ 1 (got {retention_days})")
    keys = (
        {
            "accessKeyId": {"name": keys_secret, "key": "access-key"},
            "secretAccessKey": {"name": keys_secret, "key": "secret-key"},
        }
        if keys_secret
        else {"inheritFromIAMRole": True}
    )
    return {
        "retentionPolicy": f"{retention_days}d",
        "configuration": {
            "destinationPath": destination,
            **({"endpointURL": endpoint_url} if endpoint_url else {}),
            "s3Credentials": keys,
            "wal": {"compression": "gzip"},
            "data": {"compression": "gzip"},
        },
    }


def scheduled_backup(cluster_name: str, schedule: str) -> dict[str, Any]:
    """Specification of a `ScheduledBackup` by the plug-in.

    Args:
        cluster_name: of the cluster.
        schedule: six fields of cron, seconds first.

    Raises:
        ValueError: not six fields.
    """
    if len(schedule.split()) != 6:  # noqa: PLR2004 - fields
        raise ValueError(
            f"schedule: must be six fields of cron, seconds first, such as '0 0 2 * * *' (got {schedule!r})"
        )
    return {
        "schedule": schedule,
        "backupOwnerReference": "self",
        # Else there is nothing to go back to until the first night is over.
        "immediate": True,
        "cluster": {"name": cluster_name},
        "method": "plugin",
        "pluginConfiguration": {"name": PLUGIN},
    }
