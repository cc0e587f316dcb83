"""A real MLflow server, a door in front of it, and a `pulumi` that plays a stack."""

import base64
import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import plugin
import pytest
import requests
import tenacity
from pydantic import SecretStr

from pulumi_mlflow.contracts import AuthMode
from pulumi_mlflow.core import outgoing
from pulumi_mlflow.ops.stack import FrontDoor

# Its thread sets and takes away a variable, and whoever reads them meanwhile fails.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

LOGIN = ("ann", "S3nt/inel+ke&y=%41 '\"$HOME ä")
FAKE_PULUMI = Path(__file__).with_name("fake_pulumi.py")


@pytest.fixture(scope="session")
def server_folder(tmp_path_factory):
    """Where `server` keeps what it has; artifacts/ is below it."""
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="session")
def server(server_folder):
    """URL of an MLflow server without a login."""
    folder = server_folder
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    env = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    # uvicorn would end a worker whose imports take over 5 s, again and again.
    env |= {**outgoing.VARIABLES, "UVICORN_TIMEOUT_WORKER_HEALTHCHECK": "60"}
    # As our servers have it.
    modules = folder / "plugin"
    modules.mkdir()
    plugin.install(modules)
    env["PYTHONPATH"] = str(modules)
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env=env, cwd=folder, start_new_session=True
        )
    try:
        _wait_for(url, process)
        yield url
    finally:
        # Not asked to end: uvicorn would wait for the clients in this process to hang up.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


# Its imports take 15 s of a quiet processor, and minutes of a busy one.
@tenacity.retry(stop=tenacity.stop_after_delay(300), wait=tenacity.wait_fixed(0.2), reraise=True)
def _wait_for(url: str, process: subprocess.Popen) -> None:
    if process.poll() is None:
        requests.get(f"{url}/health", timeout=5).raise_for_status()


@dataclass
class Door:
    """A proxy in front of a server that wants a login, and may have holes."""

    upstream: str
    leaks: Callable[[str, str], bool] = lambda method, path: False
    """Method and path → passes without a login."""
    tamper: Callable[[str, bytes], bytes] = lambda path, block: block
    """Changes a block of what the server answers."""
    any_password: bool = False
    reroute: Callable[[str], str] = lambda path: path
    """Changes the path that the server is asked for."""
    answers: Callable[[str, str], tuple[int, bytes] | None] = lambda method, path: None
    """Method and path → what the door says itself; None to ask the server."""

    def allows(self, method: str, path: str, header: str | None) -> bool:
        if path == "/health" or self.leaks(method, path):
            return True
        expected = base64.b64encode(":".join(LOGIN).encode()).decode()
        return header == f"Basic {expected}" or (self.any_password and header is not None)

    @property
    def front(self) -> FrontDoor:
        return FrontDoor(
            tracking_uri=self.url,
            username=LOGIN[0],
            password=SecretStr(LOGIN[1]),
            auth_mode=AuthMode.BASIC,
        )

    def __enter__(self):
        door = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                # As it was sent: http.server makes // one slash.
                self.path = self.requestline.split(" ")[1]
                if not door.allows(self.command, self.path, self.headers.get("Authorization")):
                    self.reply(401, {}, b"")
                    return
                if played := door.answers(self.command, self.path):
                    self.reply(played[0], {}, played[1])
                    return
                there = http.client.HTTPConnection(door.upstream.removeprefix("http://"))
                headers = {
                    k: v for k, v in self.headers.items() if k not in {"Host", "Authorization"}
                }
                there.request(self.command, door.reroute(self.path), body, headers)
                answer = there.getresponse()
                content = door.tamper(self.path, answer.read())
                skipped = {"transfer-encoding", "content-length", "connection"}
                kept = {k: v for k, v in answer.getheaders() if k.lower() not in skipped}
                self.reply(answer.status, kept, content)
                there.close()

            def reply(self, status: int, headers: dict, content: bytes) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_HEAD = do_OPTIONS = forward  # noqa: N815
            do_GET = do_POST = do_PUT = forward  # noqa: N815
            do_PATCH = do_DELETE = forward  # noqa: N815

            def log_message(self, *arguments: object) -> None:
                pass

        self._httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._httpd.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._httpd.server_port}"
        # It looks so often whether it is to end: by itself twice a second, for which each test would wait.
        threading.Thread(target=self._httpd.serve_forever, args=[0.02], daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._httpd.shutdown()
        self._httpd.server_close()


@pytest.fixture
def door():
    """The class `Door`."""
    return Door


@pytest.fixture(scope="session")
def version_server():
    """URL of something that tells MLflow's version as a server does, and nothing else."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"3.17.2")

        def log_message(self, *arguments: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    httpd.server_close()


class FakeProject:
    """A project whose `pulumi` is a script that plays stacks kept in one JSON file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stacks_file = folder / "stacks.json"
        self.log = folder / "calls.log"
        (folder / "Pulumi.yaml").write_text("name: mlflow\n")
        self.write({})

    def write(self, stacks: dict) -> None:
        self.stacks_file.write_text(json.dumps(stacks))

    def read(self) -> dict:
        return json.loads(self.stacks_file.read_text())

    def calls(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The working folder is a project with no stack."""
    program = tmp_path / "bin" / "pulumi"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\n{FAKE_PULUMI.read_text()}")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_PULUMI_FOLDER", str(folder))
    monkeypatch.chdir(folder)
    return FakeProject(folder)
