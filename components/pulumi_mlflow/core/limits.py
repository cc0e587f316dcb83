"""How many processes and CPUs, and how much memory-backed disk, a container may use."""

from . import budgets

_TRANSFER_THREADS = 10
"""Threads of boto3 for each file that a server copies (`TransferConfig.max_concurrency`)."""

_SPARE = 64
"""For init, the main process, health checks and a person's shell."""


def tmpfs(size_mb: int = 64, mode: str = "1777") -> str:
    """Options of a folder in memory; the engine adds noexec, nosuid and nodev.

    Args:
        size_mb: in MiB. What is in it counts as the container's memory, and without a limit is half of the machine's.
        mode: permissions.
    """
    return f"mode={mode},size={size_mb}m"


def server_pids(workers: int) -> int:
    """Most processes and threads of an MLflow server: each thread of a worker may copy a file.

    Args:
        workers: processes that serve requests.
    """
    return _SPARE + workers * budgets.SERVER_THREADS * (1 + _TRANSFER_THREADS)


def server_cpus(workers: int) -> float:
    """CPUs of an MLflow server: Python runs one thread of a worker at a time, and C code beside it.

    Args:
        workers: processes that serve requests.
    """
    return workers + 1


def database_pids(max_connections: int) -> int:
    """Most processes and threads of a database: one a connection, and its own.

    Args:
        max_connections: connections that it accepts.
    """
    return _SPARE + max_connections


def database_cpus(max_connections: int) -> float:
    """CPUs of a database: MLflow's own Python takes several times what its queries take.

    Args:
        max_connections: connections that it accepts.
    """
    return max(2, max_connections // 50)
