"""Arguments of AwsDatabase, and what of them RDS would refuse."""

from collections.abc import Sequence
from typing import NamedTuple, NotRequired, Optional, TypedDict

import pulumi

from ..contracts import DatabaseEndpoint
from ..core import aws_database, uris
from .network import AwsNetworkPlace

ADMIN = aws_database.ADMIN


class Wanted(NamedTuple):
    """What is to be made, once it is known to be possible."""

    engine: str
    speaks: str
    version: str
    family: str
    instance_class: str
    database: str
    username: str
    port: int
    parameters: Sequence[aws_database.Parameter]
    insights: bool


class AwsDatabaseProxyArgs(TypedDict):
    """RDS Proxy between servers and database."""

    ca: NotRequired[pulumi.Input[str]]
    """PEM of Amazon's own authorities, which sign its certificate, not RDS's; unverified TLS unless given."""
    connections_percent: NotRequired[int]
    """Share of the database's connections that it may use; 80 unless given."""


class AwsDatabaseArgs(TypedDict):
    """Arguments of AwsDatabase."""

    network: AwsNetworkPlace
    """The VPC that it is in."""
    engine: NotRequired[str]
    """`postgresql`, `mysql`, `mariadb`, `aurora-postgresql` or `aurora-mysql`; `postgresql` unless given."""
    version: NotRequired[str]
    """RDS's version; `15` (8.4 for MySQL, 8.0 for Aurora's, 10.11 for MariaDB) unless given. Without a minor RDS keeps
    that new."""
    instance_class: NotRequired[str]
    """Such as `db.r7g.large`; `db.t4g.medium` unless given."""
    name: NotRequired[str]
    """Name of the database; `mlflow` unless given."""
    username: NotRequired[str]
    """The server's user, which the migration makes; `mlflow` unless given."""
    max_connections: NotRequired[int]
    """Connections that it accepts; 150 unless given. Another number counts after a restart (PostgreSQL)."""
    storage_gb: NotRequired[int]
    """Disk, in GiB; 50 unless given. It can only grow; Aurora's does so by itself."""
    max_storage_gb: NotRequired[int]
    """Up to where the disk grows by itself, in GiB; four times `storage_gb` unless given."""
    multi_az: NotRequired[bool]
    """Whether a second one stands by in another zone; yes unless given."""
    backup_days: NotRequired[int]
    """Days of point-in-time recovery, 1 to 35; 14 unless given."""
    backup_region: NotRequired[Optional[str]]
    """Another region that backups are copied to; none unless given. Not with Aurora: AwsBackup copies that. Copies are
    kept for `backup_days` as they were when it was first given."""
    iam_auth: NotRequired[bool]
    """Whether people may log in by their AWS identity, see `login_policy`; no unless given."""
    replica: NotRequired[bool]
    """Whether a read replica answers searches; no unless given. Aurora only: RDS makes none of an instance whose
    administrator's password it keeps itself."""
    proxy: NotRequired[Optional[AwsDatabaseProxyArgs]]
    """RDS Proxy between servers and database; none unless given."""
    ca: NotRequired[pulumi.Input[str]]
    """PEM of RDS's authorities in this region, by which its certificate is verified; unverified TLS unless given."""
    apply_immediately: NotRequired[bool]
    """Whether a change of class or version interrupts now instead of in the maintenance window; no unless given."""
    allow_major_upgrade: NotRequired[bool]
    """Whether another major version is taken, which nothing takes back; no unless given. Needs `apply_immediately`: the
    old parameter group could not be deleted before the maintenance window."""
    deletion_protection: NotRequired[bool]
    """Whether RDS itself refuses to delete it, whoever asks; yes unless given. Off only to take it away for good."""
    places: NotRequired[list[str]]
    """Further places that reach it, such as `cluster:mlflow-prod` in the same VPC."""
    deployment: NotRequired[str]
    """Prefix of physical names; `<project>-<stack>` unless given."""


_BACKUP_DAYS = range(1, 36)
"""RDS's own limits; 0 would turn backups off."""


def check(name: str, args: AwsDatabaseArgs) -> Wanted:
    """Refuse what RDS would, before anything is registered."""
    engine = args.get("engine", "postgresql")
    version = args.get("version") or aws_database.VERSIONS.get(engine, "")
    instance_class = args.get("instance_class", "db.t4g.medium")
    connections = args.get("max_connections", 150)
    database, username = args.get("name", "mlflow"), args.get("username", "mlflow")
    try:
        family = aws_database.family(engine, version)
        too_many = aws_database.check_connections(instance_class, connections)
        parameters = aws_database.parameters(engine, instance_class, connections)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    own, days, elsewhere = (
        args["network"]["region"],
        args.get("backup_days", 14),
        args.get("backup_region"),
    )
    reasons = {
        "max_connections": too_many,
        "username": f"{ADMIN} is the administrator's; take another"
        if username == ADMIN
        else aws_database.check_name(username),
        "name": aws_database.check_name(database),
        "backup_days": None if days in _BACKUP_DAYS else f"must be 1 to 35 (got {days})",
        "backup_region": _check_copy(engine, own, elsewhere),
        "replica": aws_database.check_replica(engine) if args.get("replica", False) else None,
        "allow_major_upgrade": aws_database.check_major_upgrade(
            allowed=args.get("allow_major_upgrade", False),
            immediately=args.get("apply_immediately", False),
        ),
    }
    for key, reason in reasons.items():
        if reason:
            raise ValueError(f"{name}: {key}: {reason}")
    speaks = aws_database.AURORA.get(engine, engine)
    port = uris.default_port(speaks)
    return Wanted(
        engine=engine,
        speaks=speaks,
        version=version,
        family=family,
        instance_class=instance_class,
        database=database,
        username=username,
        port=port or 0,
        parameters=parameters,
        insights=aws_database.has_insights(engine, instance_class),
    )


def _check_copy(engine: str, own: str, elsewhere: Optional[str]) -> Optional[str]:
    """Why backups cannot be copied to a region, or None."""
    if elsewhere and engine in aws_database.AURORA:
        return "RDS copies no automated backups of Aurora; use AwsBackup's copy_region"
    return f"must be another region than {own}" if elsewhere == own else None


def tls(ca: Optional[pulumi.Input[str]]) -> DatabaseEndpoint:
    """The server refuses plain text in any case; by the authorities' certificates clients know it is the server."""
    if ca is None:
        return DatabaseEndpoint(tls_mode="require")
    return DatabaseEndpoint(tls_mode="verify-full", ca=ca)
