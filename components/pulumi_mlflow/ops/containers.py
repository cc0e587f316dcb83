"""What runs of a stack, what it says, and a shell in it: the habits of people who come from `docker compose`.

Containers are found by their labels, so these work while `up` fails too; and by the Docker SDK, so no `docker` command
is needed and a remote engine will do.
"""

import contextlib
import heapq
import os
import queue
import select
import shutil
import signal
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

import yaml
from docker.errors import APIError, DockerException, NotFound
from docker.models.containers import Container
from docker.utils.socket import STDERR, frames_iter

from pulumi_mlflow.docker import engine

from .errors import OpsError
from .stack import Stack

LABEL = "pulumi-mlflow/deployment"
ROLE = "pulumi-mlflow/role"

_NOT_FOUND = (126, 127)
"""Exit codes of the engine for a program that is not in the container."""

_STATS_THREADS = 8
_RETRY_SECONDS = 1.0
_CHUNK = 1 << 16


class Line(NamedTuple):
    """A line of a log."""

    time: str
    """As the engine writes it: RFC 3339 in UTC with nanoseconds, so that text sorts as time; empty where unknown."""
    role: str
    text: str


@dataclass(frozen=True)
class Row:
    """A part of a stack, as `ps` shows it."""

    role: str
    image: str
    state: str
    """With its health, and why it ended."""
    uptime: str
    memory: str
    """In use, of its limit."""
    cpu: str
    restarts: str
    ports: str
    well: bool
    """Whether there is nothing to look after."""


def deployment(stack: Stack) -> str:
    """The label of all that belongs to a stack.

    Raises:
        OpsError: Pulumi.yaml cannot be read.
    """
    file = stack.project / "Pulumi.yaml"
    try:
        return f"{yaml.safe_load(file.read_text())['name']}-{stack.name}"
    except (OSError, yaml.YAMLError, TypeError, KeyError) as error:
        raise OpsError(f"{file}: has no 'name' that can be read: {error}") from error


def find(stack: Stack, role: str | None = None) -> list[Container]:
    """The containers of a stack, by role; those that ended too.

    Raises:
        OpsError: the engine does not answer, or there is no such container.
    """
    try:
        client = engine.connect()
        found = client.containers.list(all=True, filters={"label": f"{LABEL}={deployment(stack)}"})
    except DockerException as error:
        raise OpsError(
            f"Docker Engine: does not answer ({error}); see docs/runbooks/engine-unreachable.md"
        ) from error
    if not found:
        raise OpsError(f"stack '{stack.name}' has no containers; {stack.up_command}")
    found.sort(key=_role)
    if role is None:
        return found
    wanted = [container for container in found if _role(container) == role]
    if not wanted:
        known = ", ".join(sorted({_role(container) for container in found}))
        raise OpsError(f"role '{role}': stack '{stack.name}' has {known}")
    return wanted


def _role(container: Container) -> str:
    return str(container.labels.get(ROLE, container.name))


def ps(containers: Sequence[Container]) -> list[Row]:
    """What the containers are doing. Asks the engine for two samples of each, which takes about 2 s."""
    with ThreadPoolExecutor(_STATS_THREADS) as pool:
        return list(pool.map(_row, containers))


def _row(container: Container) -> Row:
    state, running = container.attrs["State"], container.attrs["State"]["Running"]
    health = state.get("Health", {}).get("Status", "")
    usage: dict[str, Any] = {}
    if running:
        # It may end meanwhile.
        with contextlib.suppress(APIError):
            usage = cast("dict[str, Any]", container.stats(stream=False))
    tags = container.image.tags if container.image else []
    return Row(
        role=_role(container),
        image=tags[0] if tags else str(container.attrs["Config"]["Image"])[:19],
        state=_state(state, health),
        uptime=_since(state["StartedAt"]) if running else "",
        memory=_memory(usage.get("memory_stats", {}), container.attrs["HostConfig"]["Memory"]),
        cpu=_cpu(usage),
        restarts=str(container.attrs["RestartCount"]),
        ports=_ports(container.attrs["NetworkSettings"]["Ports"] or {}),
        well=running and health in ("", "healthy"),
    )


def _state(state: dict[str, Any], health: str) -> str:
    if state.get("OOMKilled"):
        return f"{state['Status']}, out of memory"
    if state["Running"]:
        return f"{state['Status']}, {health}" if health else str(state["Status"])
    return f"{state['Status']} ({state['ExitCode']})"


def _since(started: str) -> str:
    # The engine writes nanoseconds, and Python reads microseconds.
    moment = datetime.fromisoformat(started[:19]).replace(tzinfo=UTC)
    return duration((datetime.now(UTC) - moment).total_seconds())


def duration(seconds: float) -> str:
    """Seconds for people: the two largest units."""
    minutes, rest = divmod(int(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    first = next((i for i, (number, _unit) in enumerate(parts) if number), len(parts) - 1)
    return " ".join(f"{number} {unit}" for number, unit in parts[first : first + 2])


def _memory(stats: dict[str, Any], limit: int) -> str:
    if "usage" not in stats:
        return ""
    details = stats.get("stats", {})
    # As `docker stats`: without the files that the kernel would drop first (cgroup 2, cgroup 1).
    cached = details.get("inactive_file", details.get("total_inactive_file", 0))
    used = f"{(stats['usage'] - cached) >> 20} MiB"
    return f"{used} of {limit >> 20} MiB" if limit else used


def _cpu(usage: dict[str, Any]) -> str:
    try:
        now, before = usage["cpu_stats"], usage["precpu_stats"]
        spent = now["cpu_usage"]["total_usage"] - before["cpu_usage"]["total_usage"]
        passed = now["system_cpu_usage"] - before["system_cpu_usage"]
        return f"{spent / passed * now['online_cpus'] * 100:.1f} %" if passed > 0 else ""
    except KeyError:
        return ""


def _ports(published: dict[str, Any]) -> str:
    return ", ".join(
        f"{place['HostIp']}:{place['HostPort']} → {inside.removesuffix('/tcp')}"
        for inside, places in sorted(published.items())
        for place in places or ()
    )


def logs(containers: Sequence[Container], *, tail: int, follow: bool) -> Iterator[Line]:
    """What the containers have written, in order of time.

    Args:
        containers: of which.
        tail: lines of each.
        follow: whether to wait for more, until all of them are removed.
    """
    past = [_lines(c, c.logs(timestamps=True, tail=tail)) for c in containers]
    yield from heapq.merge(*past, key=lambda line: line.time)
    if follow:
        last = [lines[-1].time if lines else "" for lines in past]
        yield from _followed(list(zip(containers, last, strict=True)))


def _lines(container: Container, written: bytes) -> list[Line]:
    # Sorted: the engine mixes the two streams in no certain order.
    return sorted(
        (_line(container, line) for line in written.decode(errors="replace").splitlines()),
        key=lambda line: line.time,
    )


def _line(container: Container, line: str) -> Line:
    moment, _, text = line.partition(" ")
    return Line(moment, _role(container), text)


def _followed(containers: Sequence[tuple[Container, str]]) -> Iterator[Line]:
    """What containers write after a moment."""
    arrived: queue.Queue[Line | None] = queue.Queue()
    for container, last in containers:
        threading.Thread(target=_follow, args=(container, last, arrived), daemon=True).start()
    left = len(containers)
    while left:
        line = arrived.get()
        if line is None:
            left -= 1
        else:
            yield line


def _follow(container: Container, last: str, arrived: "queue.Queue[Line | None]") -> None:
    """Hand on what a container writes, over its restarts, until it is removed."""
    try:
        while True:
            since = _seconds(last) if last else None
            rest = ""
            for chunk in container.logs(stream=True, follow=True, timestamps=True, since=since):
                *whole, rest = (rest + chunk.decode(errors="replace")).split("\n")
                for line in (_line(container, text) for text in whole):
                    # The engine's `since` includes its moment.
                    if line.time > last:
                        last = line.time
                        arrived.put(line)
            time.sleep(_RETRY_SECONDS)
            container.reload()
    except (DockerException, OSError):
        pass
    finally:
        arrived.put(None)


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(f"{moment[:26].rstrip('Z')}+00:00").timestamp() - 1


def shell(
    container: Container, command: Sequence[str] = ("/bin/sh",), through: Sequence[str] = ()
) -> int:
    """Run a program in a container, as the container's own user, on this terminal.

    Args:
        container: where.
        command: program and arguments.
        through: what becomes the program, such as one that sets variables first.

    Returns:
        Its exit code.

    Raises:
        OpsError: the container does not run, or has no such program.
    """
    if container.status != "running":
        raise OpsError(
            f"{container.name}: is {container.status}; its log: make logs ROLE={_role(container)}"
        )
    api = engine.connect().api
    on_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    try:
        made = api.exec_create(
            container.id,
            [*through, *command],
            stdin=True,
            tty=on_terminal,
            environment={"TERM": os.environ.get("TERM", "dumb")} if on_terminal else None,
        )["Id"]
        stream = api.exec_start(made, tty=on_terminal, socket=True)
    except (APIError, NotFound) as error:
        raise OpsError(f"{container.name}: {command[0]} cannot be run: {error}") from error
    connection = getattr(stream, "_sock", stream)
    if on_terminal:
        _on_terminal(connection, lambda rows, columns: api.exec_resize(made, rows, columns))
    else:
        _on_pipes(connection)
    code = int(api.exec_inspect(made)["ExitCode"] or 0)
    if code in _NOT_FOUND:
        raise OpsError(f"{container.name}: has no program {command[0]}")
    return code


def _on_terminal(connection: Any, resize: Callable[[int, int], object]) -> None:
    """Hand every key to the container and show what it answers, until it hangs up."""

    def fit(*_: object) -> None:
        size = shutil.get_terminal_size()
        with contextlib.suppress(APIError):
            resize(size.lines, size.columns)

    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    handler = signal.signal(signal.SIGWINCH, fit)
    try:
        tty.setraw(keyboard)
        fit()
        while True:
            ready = select.select([connection, keyboard], [], [])[0]
            if keyboard in ready:
                connection.sendall(os.read(keyboard, _CHUNK))
            if connection in ready:
                answer = connection.recv(_CHUNK)
                if not answer:
                    return
                os.write(sys.stdout.fileno(), answer)
    finally:
        signal.signal(signal.SIGWINCH, handler)
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


def _on_pipes(connection: Any) -> None:
    """Send what is piped in, and write both streams to ours."""

    def send() -> None:
        with contextlib.suppress(OSError):
            while block := os.read(sys.stdin.fileno(), _CHUNK):
                connection.sendall(block)
            connection.shutdown(1)  # no more input; the answer is still to come

    threading.Thread(target=send, daemon=True).start()
    for stream, block in frames_iter(connection, tty=False):  # type: ignore[no-untyped-call]
        target = sys.stderr if stream == STDERR else sys.stdout
        target.buffer.write(block)
        target.flush()
