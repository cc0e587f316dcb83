"""How much memory and how many connections a deployment needs."""

_SERVER_BASE_MB = 256
_SERVER_LEAST_WORKER_MB = 256
_SERVER_WORKER_MB = 384
"""Measured (MLflow 3.17.2, uvicorn, jobs off, SQLite, 8 clients with log-batch and 30 MB artifacts), the processes'
proportional set size in MB: 1 worker 446 idle and 493 at most, 2 workers 656 and 718, 4 workers 1027 and 1127. So some
210 for the parent, which has the whole of MLflow loaded, and 230 a worker. Least is that with little to spare; what we
set adds room for boto3's clients and the parts of its transfers (10 threads with 8 MB each)."""

_POOLS = 2
"""Connection pools of a worker: tracking store and model registry each have an engine of their own
(`_engine_map` in mlflow/store/{tracking,model_registry}/sqlalchemy_store.py). Seen: 55 connections of 2 workers with 80
clients and pools of 5 + 10. A request that waits 30 s for one ends in HTTP 400, which clients do not retry."""

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

_SMALL_MB = 1024
"""Below this PostgreSQL's documentation wants less than a quarter of the memory for `shared_buffers`."""


def server_memory_mb(workers: int) -> int:
    """Memory limit of a server, in MiB, with room for peaks.

    Args:
        workers: processes that serve requests.
    """
    return _SERVER_BASE_MB + _SERVER_WORKER_MB * workers


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


def server_connections(workers: int, replicas: int, pool_size: int, max_overflow: int) -> int:
    """Most database connections that all servers open at once.

    Args:
        workers: processes of each server that serve requests.
        replicas: servers.
        pool_size: connections that each pool keeps.
        max_overflow: connections that each pool may open beyond those.
    """
    # What is open is in use by a thread, or is kept by a pool.
    worker = min(_POOLS * (pool_size + max_overflow), SERVER_THREADS + _POOLS * pool_size)
    # Each server's parent process checks the schema at its start and keeps one connection a pool.
    return replicas * (workers * worker + _POOLS)


def check_connections(
    workers: int, replicas: int, pool_size: int, max_overflow: int, max_connections: int
) -> str | None:
    """Why a database's limit on connections is too low, or None.

    Args:
        workers: processes of each server that serve requests.
        replicas: servers.
        pool_size: connections that each pool keeps.
        max_overflow: connections that each pool may open beyond those.
        max_connections: the database's limit.
    """
    servers = server_connections(workers, replicas, pool_size, max_overflow)
    least = servers + CONNECTION_HEADROOM
    if max_connections >= least:
        return None
    return (
        f"must be ≥ {least}, since {replicas} x {workers} workers open up to {servers} "
        f"({_POOLS} pools of {pool_size} + {max_overflow} a worker) and {CONNECTION_HEADROOM} are for others "
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
