"""Which processes of this machine are ours.

All that we start carries the folder of its server in its environment, and so do its descendants. That mark, unlike a
number in a pid file, outlives neither the process nor a reboot, and is found on orphans whose parent was killed. psutil
compares a process's creation time before it sends a signal, so a pid that was given to another process meanwhile is
never signalled.
"""

import errno
import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

FOLDER_VARIABLE = "PULUMI_MLFLOW_SERVER_FOLDER"
"""Environment variable of all our processes: the folder of the server that they belong to."""

SERVER_FOLDER = "server"
"""Where a data_dir keeps the files of its server."""

_KILL_SECONDS = 5


def of_folder(folder: Path) -> list[psutil.Process]:
    """All living processes that belong to the server of `folder`."""
    return [process for process in psutil.process_iter() if _belongs(process, folder)]


def environment_of(process: psutil.Process) -> dict[str, str]:
    """The environment that a process was started with; empty if it is gone, or not ours to see."""
    try:
        return dict(process.environ())
    except (psutil.Error, OSError):
        return {}


def end(processes: Iterable[psutil.Process]) -> None:
    """End processes politely, then by force; returns when they are gone (10 seconds at most)."""
    living = list(processes)
    for signal in (psutil.Process.terminate, psutil.Process.kill):
        for process in living:
            with suppress(psutil.NoSuchProcess):
                signal(process)
        _, living = psutil.wait_procs(living, timeout=_KILL_SECONDS)


def owns_port(data_dir: Path, port: int) -> bool:
    """Whether a TCP port is held by the server that keeps its data in `data_dir`.

    Args:
        data_dir: the `data_dir` of a LocalTrackingServer.
        port: TCP port on this machine.
    """
    folder = data_dir.resolve() / SERVER_FOLDER
    return any(_listens(process, port) for process in of_folder(folder))


def port_holder(port: int) -> str:
    """Who listens on a TCP port, for an error message: name and pid as far as they can be seen."""
    holders = [process for process in psutil.process_iter() if _listens(process, port)]
    if not holders:
        return "a program of another user"
    return f"{holders[0].name()} (pid {holders[0].pid})"


def port_is_free(bind: str, port: int) -> bool:
    """Whether a server could listen on this address now.

    Raises:
        OSError: the address cannot be used at all (not of this machine, or a privileged port).
    """
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do, so that connections in TIME_WAIT do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, port))
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
    return True


def _belongs(process: psutil.Process, folder: Path) -> bool:
    return environment_of(process).get(FOLDER_VARIABLE) == str(folder)


def _listens(process: psutil.Process, port: int) -> bool:
    try:
        return any(
            connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
            for connection in process.net_connections("tcp")
        )
    except (psutil.Error, OSError):
        return False
