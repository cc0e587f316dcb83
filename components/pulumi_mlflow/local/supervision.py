"""One MLflow server under supervisord: its files, how it is started, stopped and looked at. Knows nothing of Pulumi."""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import xmlrpc.client
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import requests
import tenacity
from supervisor.xmlrpc import SupervisorTransport

from . import folder, processes
from .launch import LAUNCH_FILE

RUNNING = "running"
"""State of a server that is supervised, healthy, and runs what its Spec says."""

READY_SECONDS = 120
"""How long a server may take until it answers; a cold start takes about 10 s on 2 cores."""

RECOVERY_SECONDS = 60
"""How long a server that supervisord is restarting may take before it counts as dead."""

DIGEST_VARIABLE = "PULUMI_MLFLOW_SERVER_DIGEST"
"""Environment variable of our processes: digest of the Spec that they were started from."""

_PROGRAM = "mlflow"
_CONF_FILE = "supervisord.conf"
_SERVER_LOG = "mlflow.log"
_MIGRATION_LOG = "migration.log"
_MIGRATION_SECONDS = 1800
_STOP_SECONDS = 10
_UMASK = 0o077
_PROBE_SECONDS = 5
_TAIL_LINES = 40

_SOCKET_LIMIT = 90
"""Paths of unix sockets end at 104 bytes on macOS and 108 on Linux; supervisord adds a dot and its pid at first."""

_INHERITED = (
    "HOME", "LANG", "LC_ALL", "PATH", "TZ", "USER",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
    "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE",
)  # fmt: skip
"""What the server gets of the environment of `pulumi up`, which also holds passphrases and cloud keys."""

# Paths are relative to the server's folder, which is supervisord's working directory: they need no quoting.
_CONF = """\
[unix_http_server]
file={socket}
chmod=0600

[supervisord]
logfile=supervisord.log
logfile_maxbytes=1MB
logfile_backups=1
pidfile=supervisord.pid
umask={umask:03o}

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[program:{program}]
command="{python}" -m pulumi_mlflow.local.launch
autorestart=true
; An MLflow that cannot start takes about 5 s to say so: then it has failed, rather than crashed after a good start.
startsecs=15
startretries=3
stopasgroup=true
killasgroup=true
stopwaitsecs={stop_seconds}
redirect_stderr=true
stdout_logfile={log}
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=3
"""


class ServerError(RuntimeError):
    """A server could not be started; the message carries the end of its log, without secrets."""


@dataclass(frozen=True)
class Spec:
    """What a server is to be."""

    folder: Path
    """Where its own files are kept: configuration, logs, scratch."""
    deployment: str
    """Project and stack."""
    version: str
    """Version of MLflow; another one runs its migration and restarts the server."""
    argv: tuple[str, ...]
    """Program and arguments; no secrets."""
    environment: Mapping[str, str]
    """Environment variables that are no secrets."""
    secrets: Mapping[str, str]
    """Environment variables that are secrets, `MLFLOW_BACKEND_STORE_URI` among them."""
    certificates: Mapping[str, str]
    """Name of a file in the folder and its PEM; empty ones are not written."""
    bind: str
    """Address that it listens on."""
    port: int
    """TCP port that it listens on."""
    url: str
    """Where this machine reaches it."""
    health_path: str
    """Answers 200 while the process lives."""
    ready_path: str
    """Answers 200 while the server can use its database."""
    database_file: str
    """SQLite's file; empty for a database server."""

    @property
    def digest(self) -> str:
        """Tells a server that runs this from one that runs something else."""
        said = [self.version, *self.argv, json.dumps(self._full_environment(), sort_keys=True)]
        return hashlib.sha256("\0".join(said).encode()).hexdigest()

    def files(self) -> dict[Path, str]:
        """The files that the running server depends on, all readable by their owner only."""
        launch = {
            "argv": list(self.argv),
            "environment": {**self._full_environment(), DIGEST_VARIABLE: self.digest},
        }
        certificates = {self.folder / name: pem for name, pem in self.certificates.items() if pem}
        return certificates | {
            self.folder / LAUNCH_FILE: json.dumps(launch, indent=2, sort_keys=True),
            self.folder / _CONF_FILE: _CONF.format(
                socket=_socket(self.folder),
                # supervisord expands %(name)s in values.
                python=sys.executable.replace("%", "%%"),
                program=_PROGRAM,
                log=_SERVER_LOG,
                stop_seconds=_STOP_SECONDS,
                umask=_UMASK,
            ),
        }

    def redact(self, text: str) -> str:
        """`text` without the values of secrets."""
        for name, value in self.secrets.items():
            if value:
                text = text.replace(value, f"[{name}]")
        return text

    def _full_environment(self) -> dict[str, str]:
        return {**self.environment, **self.secrets}


def start(spec: Spec, progress: Callable[[str], None]) -> None:
    """Migrate the schema, start the server and wait until it is ready. Replaces one of ours that still runs.

    Args:
        spec: what to start.
        progress: told what is waited for.

    Raises:
        ServerError: the port is another program's, the migration failed, or the server did not become ready in
            READY_SECONDS. Nothing of ours runs then, except that a port conflict ends nothing.
    """
    _require_port(spec)
    stop(spec.folder)
    folder.claim(spec.folder, spec.deployment, processes.SERVER_FOLDER)
    for path, content in spec.files().items():
        _write_private(path, content)
    progress("migrating the database")
    _migrate(spec)
    progress(f"starting MLflow {spec.version} on {spec.url}")
    try:
        _start_supervisor(spec.folder)
        _wait_until_ready(spec, READY_SECONDS)
    except BaseException:
        stop(spec.folder)
        raise


def stop(server_folder: Path) -> None:
    """End the server with its supervisor and all that they started. Files stay."""
    with suppress(OSError, HTTPException, xmlrpc.client.Error):
        _control(server_folder).shutdown()
        with suppress(tenacity.RetryError):
            _until(_STOP_SECONDS + 5, lambda: not processes.of_folder(server_folder))
    processes.end(processes.of_folder(server_folder))
    _socket(server_folder).unlink(missing_ok=True)  # one that was killed leaves it behind


def restart(server_folder: Path, url: str, ready_path: str) -> None:
    """Start a stopped server from the files that `start` wrote, and wait until it is ready.

    Raises:
        ServerError: it did not become ready in READY_SECONDS.
    """
    _start_supervisor(server_folder)
    try:
        _until(READY_SECONDS, lambda: _answers(url + ready_path))
    except tenacity.RetryError:
        log = _tail(server_folder / _SERVER_LOG)
        raise ServerError(f"MLflow did not become ready in {READY_SECONDS} s:\n{log}") from None


def state(spec: Spec) -> str:
    """RUNNING, or what is wrong with the server in a few words.

    A server that supervisord is just restarting is given RECOVERY_SECONDS.
    """
    missing = [path for path in (spec.database_file,) if path and not Path(path).exists()]
    if missing:
        return f"{missing[0]} is missing"
    if any(_read(path) != content for path, content in spec.files().items()):
        return "its configuration files were changed"
    if _program_state(spec.folder) is None:
        return "its supervisor is not running"
    try:
        _wait_until_ready(spec, RECOVERY_SECONDS)
    except ServerError as error:
        return str(error).splitlines()[0]
    return RUNNING if _runs(spec) else "it was started from another configuration"


def _require_port(spec: Spec) -> None:
    if processes.owns_port(spec.folder.parent, spec.port):
        return
    try:
        free = processes.port_is_free(spec.bind, spec.port)
    except OSError as error:
        raise ServerError(f"cannot listen on {spec.bind} port {spec.port}: {error}") from None
    if not free:
        raise ServerError(
            f"port {spec.port} on {spec.bind} is in use by {processes.port_holder(spec.port)}, which is "
            "not ours; end it, or choose another port"
        )


def _migrate(spec: Spec) -> None:
    environment = {
        **_base_environment(spec.folder),
        **spec.environment,
        **spec.secrets,
        "PYTHONPATH": _package_root(),
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pulumi_mlflow.local.migrate"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_MIGRATION_SECONDS,
            umask=_UMASK,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ServerError(f"migration: not done after {_MIGRATION_SECONDS} s") from None
    _write_private(spec.folder / _MIGRATION_LOG, spec.redact(done.stdout))
    if done.returncode:
        raise ServerError(
            "migration failed, and the server was not started:\n"
            + spec.redact(_tail(spec.folder / _MIGRATION_LOG))
        )


def _start_supervisor(server_folder: Path) -> None:
    socket_folder = _socket(server_folder).parent
    socket_folder.mkdir(mode=folder.PRIVATE, parents=True, exist_ok=True)
    if socket_folder.stat().st_uid != os.getuid() or socket_folder.stat().st_mode & 0o077:
        raise ServerError(f"{socket_folder}: must be ours alone (mode 0700)")
    # It makes itself a daemon in a session of its own, so it outlives `pulumi up` and the shell.
    done = subprocess.run(
        [sys.executable, "-m", "supervisor.supervisord", "-c", _CONF_FILE],
        cwd=server_folder,
        env={**_base_environment(server_folder), "PYTHONPATH": _package_root()},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=READY_SECONDS,
        check=False,
    )
    if done.returncode:
        raise ServerError(f"supervisord did not start:\n{done.stdout}")


def _wait_until_ready(spec: Spec, seconds: float) -> None:
    def ready() -> bool:
        program = _program_state(spec.folder)
        if program in ("FATAL", "STOPPED", "EXITED"):
            log = spec.redact(_tail(spec.folder / _SERVER_LOG))
            raise ServerError(f"MLflow is {program}\nThe end of its log:\n{log}")
        return _answers(spec.url + spec.health_path) and _answers(spec.url + spec.ready_path)

    try:
        _until(seconds, ready)
    except tenacity.RetryError:
        log = spec.redact(_tail(spec.folder / _SERVER_LOG))
        raise ServerError(
            f"MLflow did not become ready in {seconds} s\nThe end of its log:\n{log}"
        ) from None


def _runs(spec: Spec) -> bool:
    """Whether the process that holds the port was started from this Spec."""
    return processes.owns_port(spec.folder.parent, spec.port) and all(
        processes.environment_of(process).get(DIGEST_VARIABLE, spec.digest) == spec.digest
        for process in processes.of_folder(spec.folder)
    )


def _program_state(server_folder: Path) -> str | None:
    """State of the server in supervisord's words; None if supervisord does not answer."""
    try:
        info: dict[str, Any] = _control(server_folder).getProcessInfo(_PROGRAM)
    except (OSError, HTTPException, xmlrpc.client.Error):
        return None
    return str(info["statename"])


def _control(server_folder: Path) -> Any:
    transport = SupervisorTransport(None, None, f"unix://{_socket(server_folder)}")
    # The address is not used: the transport goes to the socket.
    return xmlrpc.client.ServerProxy("http://localhost", transport).supervisor


def _socket(server_folder: Path) -> Path:
    path = server_folder / "supervisor.sock"
    # supervisord formats this path once or twice: no escape of a % suits both.
    if len(os.fsencode(path)) <= _SOCKET_LIMIT and "%" not in str(path):
        return path
    name = hashlib.sha256(os.fsencode(server_folder)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"pulumi-mlflow-{os.getuid()}" / f"{name}.sock"


def _base_environment(server_folder: Path) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {**inherited, processes.FOLDER_VARIABLE: str(server_folder)}


def _package_root() -> str:
    """Where the programs that we start find this package, whether it is installed or a checkout."""
    return str(Path(__file__).parents[2])


def _answers(url: str) -> bool:
    with requests.Session() as session:
        session.trust_env = False  # a proxy of the machine cannot reach its loopback
        try:
            return session.get(url, timeout=_PROBE_SECONDS).ok
        except requests.RequestException:
            return False


def _until(seconds: float, done: Callable[[], bool]) -> None:
    """Wait for a condition; tenacity.RetryError when it does not come true in time."""
    tenacity.Retrying(
        stop=tenacity.stop_after_delay(seconds),
        wait=tenacity.wait_fixed(0.2),
        retry=tenacity.retry_if_result(lambda result: not result),
    )(done)


def _read(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


def _write_private(path: Path, content: str) -> None:
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(content)


def _tail(path: Path) -> str:
    return "\n".join((_read(path) or "").splitlines()[-_TAIL_LINES:])
