"""RDS: memory of its instance classes, parameters of its parameter groups."""

import re
from dataclasses import dataclass

from . import budgets

AURORA = {"aurora-postgresql": "postgresql", "aurora-mysql": "mysql"}
"""Engines of Aurora → what they speak."""

RDS = {"postgresql": "postgres", "mysql": "mysql", "mariadb": "mariadb"}
"""Engines of MLflow → their names at RDS."""

VERSIONS = {
    "postgresql": "15",
    # 8.0 left RDS's standard support on 2026-07-31: https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/MySQL.Concepts.VersionMgmt.html
    "mysql": "8.4",
    "mariadb": "10.11",
    "aurora-postgresql": "15",
    "aurora-mysql": "8.0",
}
"""Engine → the version where none is given."""

BACKUP_WINDOW, MAINTENANCE_WINDOW = "02:00-03:00", "sun:03:30-sun:04:30"
"""When RDS makes its own backups, and when it may change and restart a database; in UTC. AWS Backup's come later."""

COLLATIONS = {"mysql": "utf8mb4_0900_as_cs", "mariadb": "utf8mb4_nopad_bin"}
"""Of new databases: `Loss` is not `loss`, and a space at the end counts, as in PostgreSQL; see docker/database.py."""

_GIB_OF_LARGE = {"m": 8, "r": 16, "t": 8, "x": 32}
"""Memory of a class's size `large`, in GiB, by its family's letter; each next size has twice as much.
https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/Concepts.DBInstanceClass.Summary.html"""

_SMALLER = {"micro": 1, "small": 2, "medium": 4}
"""Memory of the sizes below `large`, in GiB; the burstable `t` classes have them, and Graviton's `r` and `m` a medium
of half of a large."""

_CONNECTION_BYTES = 9_531_392
"""RDS's own default of max_connections is the class's memory divided by it (PostgreSQL), at most 5000.
https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/CHAP_Limits.html#RDS_Limits.MaxConnections"""

_MIB = 1 << 20


ADMIN = "mlflow_admin"
"""Name of the administrator: `admin` and `postgres` are reserved by one engine or the other. Another name would replace
the database."""

_RESERVED = ("admin", "postgres", "rdsadmin", "root", "mysql", "information_schema", "sys")
"""Names that RDS keeps for itself."""


@dataclass(frozen=True)
class Parameter:
    """A parameter of a parameter group.

    Attributes:
        name: RDS's name.
        value: RDS's text, in RDS's unit.
        immediate: whether a change counts at once, not after the next restart. Only where no family's default can be
            the same value: of those RDS says `pending-reboot` whatever it was told, which would differ at every `up`.
            A new database has all values from its first start on.
    """

    name: str
    value: str
    immediate: bool = False


def memory_mb(instance_class: str) -> int:
    """Memory of an instance class, in MiB.

    Args:
        instance_class: such as `db.t4g.medium`.

    Raises:
        ValueError: it is none that we know the memory of.
    """
    found = re.fullmatch(r"db\.([mrtx])\d[a-z]*\.(micro|small|medium|(\d*)x?large)", instance_class)
    if found:
        family, size, times = found.groups()
        if size in _SMALLER:
            if family == "t":
                return _SMALLER[size] * 1024
        else:
            factor = 2 * int(times or "1") if "xlarge" in size else 1
            return _GIB_OF_LARGE[family] * factor * 1024
    raise ValueError(
        f"instance_class: must be a db.t, db.m, db.r or db.x class such as db.t4g.medium or db.r7g.large "
        f"(got {instance_class!r})"
    )


def most_connections(instance_class: str) -> int:
    """Connections that a class accepts where its parameter group names no number, and the most that we give it.

    Args:
        instance_class: such as `db.t4g.medium`.

    Raises:
        ValueError: see `memory_mb`.
    """
    return min(5000, memory_mb(instance_class) * _MIB // _CONNECTION_BYTES)


def check_connections(instance_class: str, max_connections: int) -> str | None:
    """Why a class cannot have so many connections, or None.

    Args:
        instance_class: such as `db.t4g.medium`.
        max_connections: connections that it should accept.
    """
    most = most_connections(instance_class)
    if max_connections <= most:
        return None
    return (
        f"must be ≤ {most}, RDS's own limit for {instance_class} ({memory_mb(instance_class)} MiB); take a larger "
        f"class, fewer servers or workers, or RDS Proxy (got {max_connections})"
    )


def check_name(name: str) -> str | None:
    """Why a database or user cannot have this name, or None.

    Our migration writes it into SQL, and RDS takes letters, digits and _ only.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", name):
        return f"must be up to 32 lower-case letters, digits and _, a letter first (got {name!r})"
    return f"is reserved by RDS (got {name!r})" if name in _RESERVED else None


def check_replica(engine: str) -> str | None:
    """Why an engine has no read replica, or None.

    https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-secrets-manager.html#rds-secrets-manager-limitations
    """
    if engine in AURORA:
        return None
    return (
        "is for Aurora only: RDS makes no read replica of an instance whose administrator's password it keeps in "
        "Secrets Manager (got true)"
    )


def check_major_upgrade(*, allowed: bool, immediately: bool) -> str | None:
    """Why another major version cannot be let in, or None.

    It brings a parameter group of its own, and AWS deletes the old one only when the database has taken the new: in the
    maintenance window days later, `up` would have failed by then.
    """
    if not allowed or immediately:
        return None
    return "needs apply_immediately, or the old parameter group could not be deleted (got true)"


def has_insights(engine: str, instance_class: str) -> bool:
    """Whether RDS has Performance Insights for such an instance.

    MySQL, MariaDB and Aurora's MySQL lack it on the smallest classes.
    https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_PerfInsights.Overview.Engines.html

    Args:
        engine: as of `family`.
        instance_class: such as `db.t4g.medium`.
    """
    if "postgresql" in engine:
        return True
    small = (".micro", ".small", ".medium") if engine.startswith("aurora") else (".micro", ".small")
    return not (instance_class.startswith("db.t") and instance_class.endswith(small))


def family(engine: str, version: str) -> str:
    """Family of parameter groups: the engine and the part of the version that an upgrade within keeps.

    Args:
        engine: `postgresql`, `mysql`, `mariadb`, `aurora-postgresql` or `aurora-mysql`.
        version: such as `15`, `15.12`, `8.4`, `8.0.40`, `10.11`.

    Raises:
        ValueError: there is no such engine, or the version is none.
    """
    name = RDS.get(engine) or (engine if engine in AURORA else "")
    if not name:
        raise ValueError(f"engine: must be one of {', '.join((*RDS, *AURORA))} (got {engine!r})")
    # https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_WorkingWithParamGroups.html
    parts = 1 if name.endswith(("postgres", "postgresql")) else 2
    numbers = re.fullmatch(r"\d+(\.\d+)*(\.mysql_aurora\.[\d.]+)?", version)
    found = version.split(".")[:parts]
    if not numbers or len(found) < parts:
        raise ValueError(
            f"version: must be such as {'15' if parts == 1 else '8.4'} (got {version!r})"
        )
    return name + ".".join(found)


def parameters(engine: str, instance_class: str, max_connections: int) -> list[Parameter]:
    """What a parameter group says, beside RDS's defaults, which size the caches by the class's memory.

    Numbers and reasons are those of `budgets.postgres_parameters` and `budgets.mysql_parameters`; here they are in
    RDS's units.

    Args:
        engine: as of `family`.
        instance_class: such as `db.t4g.medium`.
        max_connections: connections that it accepts.
    """
    speaks = AURORA.get(engine, engine)
    memory = memory_mb(instance_class)
    found = (
        _postgresql(memory, max_connections)
        if speaks == "postgresql"
        else _mysql(memory, max_connections, aurora=engine in AURORA)
    )
    if speaks in COLLATIONS:
        isolation = "tx_isolation" if speaks == "mariadb" else "transaction_isolation"
        found += [
            Parameter("collation_server", COLLATIONS[speaks]),
            Parameter(isolation, "READ-COMMITTED"),
        ]
    return sorted(found, key=lambda parameter: parameter.name)


def _postgresql(memory: int, max_connections: int) -> list[Parameter]:
    tuned = budgets.postgres_parameters(memory, max_connections)
    return [
        # Plain text is refused.
        Parameter("rds.force_ssl", "1"),
        Parameter("password_encryption", "scram-sha-256"),
        Parameter("max_connections", tuned["max_connections"]),
        # RDS counts both in kB. They follow class and connections, and no family's default is such a number.
        Parameter("work_mem", str(_kb(tuned["work_mem"])), immediate=True),
        Parameter("maintenance_work_mem", str(_kb(tuned["maintenance_work_mem"])), immediate=True),
        # In ms.
        Parameter("idle_in_transaction_session_timeout", "600000"),
        # Slow statements into the log, without their values: those are people's parameters and tags.
        Parameter("log_min_duration_statement", "2000"),
        Parameter("log_parameter_max_length", "0"),
    ]


def _kb(text: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(kB|MB)", text).groups()  # type: ignore[union-attr]
    return int(number) * (1024 if unit == "MB" else 1)


def _mysql(memory: int, max_connections: int, *, aurora: bool) -> list[Parameter]:
    tuned = budgets.mysql_parameters(memory, max_connections)
    packet = int(tuned["max_allowed_packet"].removesuffix("M")) * _MIB
    return [
        # Plain text is refused. MariaDB knows it from 10.5 on; Aurora takes words only.
        # https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/AuroraMySQL.Security.html
        Parameter("require_secure_transport", "ON" if aurora else "1"),
        Parameter("max_connections", tuned["max_connections"], immediate=True),
        Parameter("character_set_server", tuned["character-set-server"]),
        Parameter("innodb_flush_log_at_trx_commit", tuned["innodb_flush_log_at_trx_commit"]),
        Parameter("local_infile", tuned["local_infile"]),
        Parameter("max_allowed_packet", str(packet)),
        Parameter("wait_timeout", tuned["wait_timeout"]),
        Parameter("slow_query_log", "1"),
        Parameter("long_query_time", "2"),
        Parameter("log_output", "FILE"),
    ]
