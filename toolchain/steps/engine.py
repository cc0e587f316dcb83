"""The Docker engine: is one reachable, and where we may, start one (and stop only that one)."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from steps.console import Console, SetupError, capture, tail
from steps.packages import apt_install
from steps.places import Places, is_debian_like, is_root, write_private

if TYPE_CHECKING:
    from steps.environment import Environment

PING_SECONDS: Final = 5.0
START_SECONDS: Final = 60
STOP_SECONDS: Final = 30
_DEFAULT_SOCKET: Final = "/var/run/docker.sock"


class _SocketConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=PING_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PING_SECONDS)
        self.sock.connect(self._path)


def engine_host(environment: Environment) -> str:
    """Name the engine that Pulumi will talk to."""
    return environment.full().get("DOCKER_HOST") or f"unix://{_DEFAULT_SOCKET}"


def engine_version(environment: Environment) -> str | None:
    """Ask the engine who it is; None where nobody answers within five seconds.

    A Unix socket is asked directly, so that no docker client is needed; any other address (tcp
    with certificates, ssh) through the client, which knows how to get there.
    """
    host = engine_host(environment)
    if not host.startswith("unix://"):
        ask = ["docker", "version", "--format", "{{.Server.Version}}"]
        said = capture(ask, seconds=PING_SECONDS, env=environment.full())
        return said.stdout.strip() or None if said.returncode == 0 else None
    connection = _SocketConnection(host.removeprefix("unix://"))
    try:
        connection.request("GET", "/version")
        answer = json.loads(connection.getresponse().read())
        return str(answer["Version"])
    except (OSError, http.client.HTTPException, ValueError, KeyError):
        return None
    finally:
        connection.close()


def engine_may_start(environment: Environment) -> bool:
    """Tell whether starting an engine here is ours to do."""
    return engine_host(environment) == f"unix://{_DEFAULT_SOCKET}" and is_root()


def start_engine(places: Places, console: Console, environment: Environment) -> None:
    """Start the engine in a session of its own, so that it outlives this shell."""
    if shutil.which("dockerd") is None or shutil.which("iptables") is None:
        apt_install(console, ["docker.io", "iptables"], "The Docker engine")
    if engine_version(environment) is not None:
        return  # the package's own service has started it
    if Path("/run/systemd/system").is_dir():
        console.run(["systemctl", "start", "docker"], log="engine")
        return
    log = places.logs / "dockerd.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as stream:
        process = subprocess.Popen(
            ["dockerd"],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd="/",
        )
    _remember(places, process.pid)
    deadline = time.monotonic() + START_SECONDS
    while engine_version(environment) is None:
        if process.poll() is not None or time.monotonic() > deadline:
            raise SetupError(f"dockerd did not start. The end of {log}:\n{tail(log, 15)}")
        time.sleep(0.3)


def stop_engine(places: Places, console: Console) -> None:
    """Stop the engine that we started; anybody else's is left alone."""
    pid = _ours(places)
    if pid is None:
        console.say("engine", "none that set-up started is running; nothing to stop")
        return
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while _identity(pid) is not None:
        if time.monotonic() > deadline:
            raise SetupError(f"dockerd (pid {pid}) has not ended within {STOP_SECONDS} s")
        time.sleep(0.2)
    _record(places).unlink()
    console.say("engine", f"stopped (pid {pid})")


def engine_status(places: Places, environment: Environment) -> str:
    """Say in one line which engine answers and whose it is."""
    version = engine_version(environment)
    host = engine_host(environment)
    if version is None:
        return f"no engine answers at {host}"
    pid = _ours(places)
    whose = f"started by set-up, pid {pid}" if pid is not None else "not started by set-up"
    return f"Docker {version} at {host} ({whose})"


def no_engine_help(environment: Environment) -> str:
    """Say what a person can do where we may not start an engine."""
    host = engine_host(environment)
    message = f"No Docker engine answers at {host}. "
    if environment.given.get("DOCKER_HOST"):
        return message + "DOCKER_HOST says so: start that engine, or unset DOCKER_HOST."
    if is_debian_like():
        return message + (
            "Install and start one (sudo apt-get install docker.io iptables; sudo systemctl start"
            " docker), and let your user use it (sudo usermod -aG docker $USER; log in again)."
        )
    return message + "Install Docker Desktop or Docker Engine, start it, and run this again."


def _record(places: Places) -> Path:
    return places.cache / "engine.json"


def _remember(places: Places, pid: int) -> None:
    """Keep what tells our process from another that gets the same number later."""
    write_private(_record(places), json.dumps({"pid": pid, "identity": _identity(pid)}))


def _ours(places: Places) -> int | None:
    """Return the process id of the engine that we started, if that one is still running."""
    try:
        record = json.loads(_record(places).read_text())
        pid = int(record["pid"])
    except (OSError, ValueError, KeyError):
        return None
    identity = _identity(pid)
    return pid if identity is not None and identity == record["identity"] else None


def _identity(pid: int) -> str | None:
    """Tell one process from another by name, start time and boot; None if gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    name, _, rest = stat.partition("(")[2].rpartition(")")
    fields = rest.split()
    state, started = fields[0], fields[19]
    return None if state == "Z" else f"{name} {started} {boot}"
