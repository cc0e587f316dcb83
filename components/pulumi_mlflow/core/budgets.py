"""How much memory and how many connections a deployment needs."""

_SERVER_BASE_MB = 256
_SERVER_LEAST_WORKER_MB = 256
_SERVER_WORKER_MB = 384
"""Room over what docs/memory.py has measured (docs/memory.md): some 210 for the parent, which has the whole of MLflow
loaded, and 150 to 200 a worker under load. Least is that with little to spare."""

_JOBS_MB = 1920
"""Processes that run jobs, each with MLflow loaded: 1.3 GB more than a server without them, idle (docs/memory.md). The
rest is for small jobs: what a job itself takes comes on top."""

LEAST_JOBS_MB = 2048
"""A server for jobs that has as good as no job to run, with a fifth to spare."""

_JOB_PROCESSES = 8

MIGRATION_MB = 768
"""Memory limit of a migration, in MiB, where nothing rounds it up."""

UPKEEP_MB = 1024
"""Memory limit of a copy of the database or a clean-up, in MiB."""

_POOLS = 2
"""Connection pools of a worker: tracking store and model registry each have an engine of their own
(`_engine_map` in mlflow/store/{tracking,model_registry}/sqlalchemy_store.py). Seen: 55 connections of 2 workers with 80
clients and pools of 5 + 10. A request that waits 30 s for one ends in HTTP 400, which clients do not retry."""

_USER_POOLS = 1
"""One more for MLflow's own users (`init_db` in mlflow/server/auth/sqlalchemy_store.py)."""

SERVER_THREADS = 48
"""Requests that a worker of MLflow 3.17 serves at once, each with at most one connection: AnyIO's default limit of 40
for Flask's routes, and 8 of their own for server-info (mlflow/server/server_info_api.py)."""

POOL_SIZE = 5
"""Connections that each pool keeps open: enough for a quiet day."""

MAX_OVERFLOW = 35
"""With `POOL_SIZE`, one for each of Flask's threads. With fewer, threads wait for a connection for 30 s and the server
then answers 400, which clients do not try again: with 5 + 10 and 80 clients we saw 25 of 630 writes lost, with 5 + 35
none of 1913."""

CONNECTION_HEADROOM = 10
"""Connections kept for others: 3 that PostgreSQL reserves for superusers (`superuser_reserved_connections`), the
migration job, a dump, health checks, monitoring, a person's psql."""

POOLER_CONNECTIONS = 20
"""Connections of PgBouncer to the database. A worker holds one for the milliseconds of a transaction, and a machine
that runs two to four queries at a time is busy with these."""

_SMALL_MB = 1024
"""Below this PostgreSQL's documentation wants less than a quarter of the memory for `shared_buffers`."""


def server_memory_mb(workers: int) -> int:
    """Memory limit of a server, in MiB, with room for peaks.

    Args:
        workers: processes that serve requests.
    """
    return _SERVER_BASE_MB + _SERVER_WORKER_MB * workers


def jobs_memory_mb() -> int:
    """Memory limit of a server of one worker that runs jobs, in MiB, without what large jobs take."""
    return server_memory_mb(1) + _JOBS_MB


def jobs_connections(pool_size: int, max_overflow: int, *, own_users: bool = False) -> int:
    """Most database connections of a server of one worker that runs jobs.

    Of its job processes two a pool are counted, since each runs a job or two at a time: an estimate, not measured.

    Args:
        pool_size: connections that each pool keeps.
        max_overflow: connections that each pool may open beyond those.
        own_users: whether the server has users of its own.
    """
    return server_connections(1, 1, pool_size, max_overflow, own_users=own_users) + (
        2 * _POOLS * _JOB_PROCESSES
    )


def check_memory(workers: int, memory_mb: int) -> str | None:
    """Why a server cannot run within this limit, or None.

    Args:
        workers: processes that serve requests.
        memory_mb: the limit, in MiB.
    """
    least = _SERVER_BASE_MB + _SERVER_LEAST_WORKER_MB * workers
    if memory_mb >= least:
        return None
    return f"must be ≥ {least} MiB for {workers} workers, {server_memory_mb(workers)} to have room (got {memory_mb})"


def server_connections(
    workers: int,
    replicas: int,
    pool_size: int,
    max_overflow: int,
    *,
    own_users: bool = False,
) -> int:
    """Most database connections that all servers open at once.

    Args:
        workers: processes of each server that serve requests.
        replicas: servers.
        pool_size: connections that each pool keeps.
        max_overflow: connections that each pool may open beyond those.
        own_users: whether the server has users of its own.
    """
    pools = _pools(own_users=own_users)
    # What is open is in use by a thread, or is kept by a pool.
    worker = min(pools * (pool_size + max_overflow), SERVER_THREADS + pools * pool_size)
    # Each server's parent process checks the schema at its start and keeps one connection a pool.
    return replicas * (workers * worker + pools)


def _pools(*, own_users: bool) -> int:
    return _POOLS + (_USER_POOLS if own_users else 0)


def database_connections(
    workers: int,
    replicas: int,
    pool_size: int,
    max_overflow: int,
    *,
    pooled: bool = False,
    own_users: bool = False,
) -> int:
    """Fewest connections that a database must accept.

    Args:
        workers: processes of each server that serve requests.
        replicas: servers.
        pool_size: connections that each pool keeps.
        max_overflow: connections that each pool may open beyond those.
        pooled: whether PgBouncer stands between servers and database.
        own_users: whether the server has users of its own.
    """
    servers = server_connections(workers, replicas, pool_size, max_overflow, own_users=own_users)
    return (min(servers, POOLER_CONNECTIONS) if pooled else servers) + CONNECTION_HEADROOM


def check_connections(
    workers: int,
    replicas: int,
    pool_size: int,
    max_overflow: int,
    max_connections: int,
    *,
    pooled: bool = False,
    own_users: bool = False,
) -> str | None:
    """Why a database's limit on connections is too low, or None.

    Args:
        workers: processes of each server that serve requests.
        replicas: servers.
        pool_size: connections that each pool keeps.
        max_overflow: connections that each pool may open beyond those.
        max_connections: the database's limit.
        pooled: whether PgBouncer stands between servers and database.
        own_users: whether the server has users of its own.
    """
    least = database_connections(
        workers, replicas, pool_size, max_overflow, pooled=pooled, own_users=own_users
    )
    if max_connections >= least:
        return None
    servers = least - CONNECTION_HEADROOM
    who = (
        f"PgBouncer opens up to {servers}"
        if pooled
        else f"{replicas} x {workers} workers open up to {servers} "
        f"({_pools(own_users=own_users)} pools of {pool_size} + {max_overflow} a worker)"
    )
    return (
        f"must be ≥ {least}, since {who} and {CONNECTION_HEADROOM} are for others "
        f"(got {max_connections})"
    )


def postgres_parameters(memory_mb: int, max_connections: int) -> dict[str, str]:
    """Settings of a PostgreSQL server that has this memory to itself.

    Reasons are those of https://www.postgresql.org/docs/current/runtime-config-resource.html where no other is named.

    Args:
        memory_mb: memory limit of the container or machine, in MiB.
        max_connections: connections that it accepts.
    """
    shared_mb = memory_mb // (4 if memory_mb >= _SMALL_MB else 5)
    # A quarter for sorts and hashes of all connections at once; 16 MB is more than MLflow's pages of runs need.
    work_kb = min(16 * 1024, max(1024, memory_mb * 1024 // 4 // max_connections))
    return {
        "max_connections": str(max_connections),
        "shared_buffers": f"{shared_mb}MB",
        # A hint to the planner: what the page cache and shared_buffers will hold; backends take the other half.
        "effective_cache_size": f"{memory_mb // 2}MB",
        "work_mem": f"{work_kb}kB",
        # Three autovacuum workers may each take it.
        "maintenance_work_mem": f"{max(16, memory_mb // 16)}MB",
        # log-batch is many small inserts: after a checkpoint whole pages of them go to the log.
        "wal_compression": "on",
        # A worker that is stopped in the middle of a transaction holds the lock on its run; MLflow's take milliseconds.
        "idle_in_transaction_session_timeout": "10min",
    }


_MYSQL_BASE_MB = 200
"""Of a server with an empty buffer pool and without performance_schema, whose tables alone take as much again."""

_MYSQL_CONNECTION_MB = 1
"""A connection's thread stack, network buffer and sort buffer, https://dev.mysql.com/doc/refman/8.0/en/memory-use.html"""

_BUFFER_POOL_CHUNK_MB = 128
"""MySQL rounds the buffer pool up to a multiple of it."""


def mysql_parameters(memory_mb: int, max_connections: int) -> dict[str, str]:
    """Settings of a MySQL or MariaDB server that has this memory to itself.

    Reasons are those of https://dev.mysql.com/doc/refman/8.0/en/innodb-parameters.html where no other is named. A name
    that starts with `loose-` is one that not every version knows.

    Args:
        memory_mb: memory limit of the container or machine, in MiB.
        max_connections: connections that it accepts.
    """
    pool_mb = memory_mb - _MYSQL_BASE_MB - _MYSQL_CONNECTION_MB * max_connections
    # Never more than half, since what connections sort and join comes on top, and never so little that nothing is kept.
    pool_mb = min(memory_mb // 2, max(memory_mb // 8, pool_mb))
    if pool_mb > _BUFFER_POOL_CHUNK_MB:
        pool_mb -= pool_mb % _BUFFER_POOL_CHUNK_MB
    redo_mb = max(48, min(1024, pool_mb // 2))
    return {
        "max_connections": str(max_connections),
        "innodb_buffer_pool_size": f"{pool_mb}M",
        # A commit is on disk when it is answered: a lost run is worse than a slow one.
        "innodb_flush_log_at_trx_commit": "1",
        # Half of the buffer pool: few checkpoints while log-batch writes many small rows. The second is 8.0.30's name.
        "innodb_log_file_size": f"{redo_mb // 2}M",
        "loose-innodb_redo_log_capacity": f"{redo_mb}M",
        "innodb_log_buffer_size": "16M",
        # Past the page cache, which would hold every page a second time within the same memory limit.
        "innodb_flush_method": "O_DIRECT",
        # Nobody replicates from it, and each commit would be synced a second time.
        "skip-log-bin": "",
        # PostgreSQL's default. With InnoDB's own, SELECT … FOR UPDATE of a metric that is not there yet locks the gap,
        # and two clients that log new metrics end in a deadlock.
        "transaction-isolation": "READ-COMMITTED",
        # All of Unicode, and `Loss` beside `loss` in a run as in PostgreSQL.
        "character-set-server": "utf8mb4",
        # More than the age at which the server's pools renew a connection (1800 s), so that it is they who close it;
        # a connection whose client vanished goes after an hour instead of eight.
        "wait_timeout": "3600",
        # A span of a trace may be that large; MariaDB's default is 16 MB.
        "max_allowed_packet": "64M",
        # Accounts are for any host, and a name server that hangs would delay each login.
        "skip-name-resolve": "",
        "local_infile": "0",
        "performance_schema": "OFF",
    }
