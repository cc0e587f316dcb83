"""What runs of a local stack, what it says, and a shell, in the form that containers.py has for Docker stacks."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from pulumi_mlflow import recipes
from pulumi_mlflow.local import processes
from pulumi_mlflow.local.launch import LAUNCH_FILE

from .containers import Line, Row, duration
from .errors import OpsError

LOGS = {"migration": "migration.log", "supervisor": "supervisord.log", "tracking": "mlflow.log"}
"""Role → file in the server's folder."""

_PROGRAM = "supervisord"
_STARTED = re.compile(r"\bspawned: ")
_SAMPLE_SECONDS = 0.5
_POLL_SECONDS = 0.5


def ps(folder: Path, url: str) -> list[Row]:
    """What supervisord and the server are doing.

    Args:
        folder: the server's folder.
        url: where it is reached.
    """
    found = processes.of_folder(folder)
    supervisor = [process for process in found if _is_supervisor(process)]
    server = [process for process in found if process not in supervisor]
    log = folder / LOGS["supervisor"]
    starts = len(_STARTED.findall(log.read_text())) if log.is_file() else 0
    return [
        _row("supervisor", supervisor, "", ""),
        _row("tracking", server, str(max(starts - 1, 0)), urlsplit(url).netloc),
    ]


def _is_supervisor(process: psutil.Process) -> bool:
    try:
        return any(_PROGRAM in word for word in process.cmdline())
    except psutil.Error:
        return False


def _row(role: str, found: list[psutil.Process], restarts: str, ports: str) -> Row:
    alive, memory, started = 0, 0, time.time()
    for process in found:
        try:
            process.cpu_percent()  # of a moment that begins here
            memory += process.memory_info().rss
            started = min(started, process.create_time())
            alive += 1
        except psutil.Error:
            continue
    return Row(
        role=role,
        image=f"{alive} process{'es' if alive != 1 else ''}",
        state="running" if alive else "not running",
        uptime=duration(time.time() - started) if alive else "",
        memory=f"{memory >> 20} MiB" if alive else "",
        cpu=_cpu(found) if alive else "",
        restarts=restarts,
        ports=ports if alive else "",
        well=bool(alive),
    )


def _cpu(found: list[psutil.Process]) -> str:
    time.sleep(_SAMPLE_SECONDS)
    spent = 0.0
    for process in found:
        try:
            spent += process.cpu_percent()
        except psutil.Error:
            continue
    return f"{spent:.1f} %"


def logs(folder: Path, role: str | None, *, tail: int, follow: bool) -> Iterator[Line]:
    """The logs of a local stack, one after the other: their lines carry times of different kinds, or none.

    Args:
        folder: the server's folder.
        role: one of `LOGS`; None for all.
        tail: lines of each.
        follow: whether to wait for more.

    Raises:
        OpsError: there is no such log.
    """
    if role is not None and role not in LOGS:
        raise OpsError(f"role '{role}': a local stack has {', '.join(LOGS)}")
    wanted = {name: folder / LOGS[name] for name in ([role] if role else LOGS)}
    read: dict[str, int] = {}
    for name, path in wanted.items():
        text = path.read_text(errors="replace") if path.is_file() else ""
        read[name] = len(text.encode(errors="replace"))
        for line in text.splitlines()[-tail:] if tail else []:
            yield Line("", name, line)
    while follow:
        time.sleep(_POLL_SECONDS)
        for name, path in wanted.items():
            size = path.stat().st_size if path.is_file() else 0
            if size < read[name]:
                read[name] = 0  # rotated
            if size > read[name]:
                with path.open("rb") as file:
                    file.seek(read[name])
                    *whole, rest = file.read().decode(errors="replace").split("\n")
                read[name] = size - len(rest.encode(errors="replace"))
                for line in whole:
                    yield Line("", name, line)


def environment(folder: Path, url: str) -> dict[str, str]:
    """Variables of a local stack's server, its secrets among them, beside those of this process.

    Args:
        folder: the server's.
        url: where it is reached.

    Raises:
        OpsError: the folder has none.
    """
    try:
        launch = json.loads((folder / LAUNCH_FILE).read_text())
    except (OSError, ValueError) as error:
        raise OpsError(f"{folder / LAUNCH_FILE}: cannot be read: {error}") from error
    # The image's program `mlflow` comes before MLflow's own, as in its shell.
    programs = (recipes.folder() / "mlflow", Path(sys.executable).parent)
    path = os.pathsep.join([*map(str, programs), os.environ.get("PATH", "")])
    return {**os.environ, **launch["environment"], "PATH": path, "MLFLOW_TRACKING_URI": url}


def shell(folder: Path, url: str, command: Sequence[str]) -> int:
    """Run a program on this terminal with the variables of a local stack's server.

    Args:
        folder: the server's.
        url: where it is reached.
        command: program and arguments.

    Returns:
        Its exit code.

    Raises:
        OpsError: there is no such program.
    """
    given = environment(folder, url)
    try:
        return subprocess.run(list(command), env=given, check=False).returncode
    except OSError as error:
        raise OpsError(f"{command[0]}: cannot be run: {error.strerror}") from error
