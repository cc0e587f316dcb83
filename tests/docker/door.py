"""A front door on the real engine, with a server of the test's own behind it: seconds instead of a whole stack."""

import contextlib
import ipaddress
import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import docker
from docker.models.containers import Container
from docker.models.networks import Network
from tests.docker.builds import used
from tests.docker.stack import DEPLOYMENT, new_name, sweep
from tests.support import free_port

from pulumi_mlflow import login
from pulumi_mlflow.core import limits, oidc, proxy
from pulumi_mlflow.docker import files
from pulumi_mlflow.docker import proxy as proxy_component

STATIC = "/static-files/static/js/main.c2f5f8d4.js"
SERVER_INFO = "/api/3.0/mlflow/server-info"


class Seen(NamedTuple):
    """A request as the server got it."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    size: int

    def header(self, name: str) -> str | None:
        found = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(found) <= 1, found
        return found[0] if found else None


@dataclass
class Behind:
    """What a test says of the server behind the door, and what it saw there.

    Attributes:
        login: `Authorization` that it demands, as MLflow with users of its own does.
        seen: all requests that got through.
    """

    login: str = ""
    seen: list[Seen] = field(default_factory=list)
    port: int = 0

    @property
    def last(self) -> Seen:
        return self.seen[-1]


def _handler(behind: Behind) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            pass

        def _size(self) -> int:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return len(self.rfile.read(int(self.headers.get("Content-Length", "0"))))
            total = 0
            while size := int(self.rfile.readline() or b"0", 16):
                total += len(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return total

        def _answer(self) -> None:
            seen = Seen(self.command, self.path, self.headers.items(), self._size())
            behind.seen.append(seen)
            path = self.path.partition("?")[0]
            code, kind, body = 200, "application/json", json.dumps(seen.headers)
            extra = {}
            if behind.login and self.headers.get("Authorization") != behind.login:
                left_open = path.startswith(("/static", "/health", "/favicon.ico", SERVER_INFO))
                code = 200 if left_open else 401
                extra = {} if left_open else {"WWW-Authenticate": 'Basic realm="mlflow"'}
            if code == 401:
                body = "no login"
            elif path == "/":
                kind, body = "text/html; charset=utf-8", "<!doctype html><title>MLflow</title>"
            elif path == STATIC:
                kind, body = "application/javascript", f"// {'x' * 20_000}"
                extra |= {"Cache-Control": "no-cache"}
            elif path == SERVER_INFO:
                body = '{"multipart_uploads_enabled":true,"multipart_downloads_enabled":true}'
            data = body.encode()
            self.send_response(code)
            for name, value in {**extra, "Content-Type": kind}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        setattr(Handler, f"do_{method}", Handler._answer)
    return Handler


@dataclass
class Door:
    """nginx, and oauth2-proxy, as the components run them, in a network of their own."""

    client: docker.DockerClient
    network: Network
    deployment: str
    behind: Behind
    port: int = 0
    secure: bool = False

    @property
    def gateway(self) -> str:
        """Address of this machine, for the containers and for itself."""
        return gateway(self.network)

    @property
    def url(self) -> str:
        return f"{'https' if self.secure else 'http'}://127.0.0.1:{self.port}"

    def logs(self) -> str:
        """All that its containers have written."""
        found = self.client.containers.list(
            all=True, filters={"label": f"{DEPLOYMENT}={self.deployment}"}
        )
        return "".join(container.logs().decode() for container in found)

    def start(self, extra: Mapping[str, str] | None = None, **settings: Any) -> None:
        """Run nginx with these `ProxySettings`.

        Args:
            extra: further files: name → content.
            settings: fields that differ from those of a stack.
        """
        folder = files.FILES_PATH
        values = {
            "listen_port": proxy_component.PORT,
            "upstream_host": self.gateway,
            "upstream_port": self.behind.port,
            "auth": "basic",
            "htpasswd_path": f"{folder}/{login.HTPASSWD}",
            "oidc_host": f"{self.deployment}-oidc",
            "oidc_port": login.OIDC_PORT,
        }
        config = proxy.render_nginx(proxy.ProxySettings(**{**values, **settings}))
        self.secure = bool(settings.get("certificate_path"))
        self.port = self.port or free_port()
        self._run(
            "proxy",
            used(self.client, "nginx"),
            ["nginx", "-e", "stderr", "-c", f"{folder}/nginx.conf"],
            proxy_component.UID,
            {"nginx.conf": config, **(extra or {})},
            ports={f"{proxy_component.PORT}/tcp": ("127.0.0.1", self.port)},
        )
        check = proxy_component._health(secure=self.secure)
        self._until_healthy("proxy", check)

    def start_oidc(self, extra: Mapping[str, str] | None = None, **settings: Any) -> None:
        """Run oauth2-proxy with these `OidcSettings`."""
        values = {
            "listen_port": login.OIDC_PORT,
            "client_id": "mlflow",
            "client_secret": "sentinel-client-secret",
            "cookie_secret": "sentinel-cookie-secret-012345678",
            "cookie_name": f"{self.deployment}-oidc",
            "secure": False,
        }
        config = oidc.render_config(oidc.OidcSettings(**{**values, **settings}))
        self._run(
            "oidc",
            used(self.client, "oauth2-proxy"),
            ["/bin/oauth2-proxy", "--config", f"{files.FILES_PATH}/{login.OIDC_CONFIG}"],
            login.OIDC_UID,
            {login.OIDC_CONFIG: config, **(extra or {})},
        )
        url = f"http://127.0.0.1:{login.OIDC_PORT}{oidc.HEALTH_PATH}"
        self._until_healthy("oidc", ["wget", "-q", "-O", "/dev/null", url])

    def _run(
        self,
        role: str,
        image_id: str,
        argv: list[str],
        uid: int,
        contents: dict[str, str],
        **options: Any,
    ) -> None:
        name = f"{self.deployment}-{role}"
        with contextlib.suppress(docker.errors.NotFound):
            self.client.containers.get(name).remove(force=True, v=True)
        labels = {DEPLOYMENT: self.deployment}
        provider = files._Provider()
        props = {"name": name, "files": contents, "image": image_id, "uid": uid, "labels": labels}
        volume = provider.create(provider.check({}, props).inputs)
        self.client.containers.run(
            image_id,
            argv[1:],
            entrypoint=argv[:1],
            name=name,
            user=f"{uid}:{uid}",
            network=self.network.name,
            volumes=[f"{volume.id}:{files.FILES_PATH}:ro"],
            tmpfs={"/tmp": limits.tmpfs()},
            read_only=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges:true"],
            init=True,
            mem_limit="128m",
            labels=labels,
            detach=True,
            **options,
        )

    def container(self, role: str) -> Container:
        return self.client.containers.get(f"{self.deployment}-{role}")

    def _until_healthy(self, role: str, check: list[str]) -> None:
        deadline = time.monotonic() + 20
        while True:
            container = self.container(role)
            assert container.status == "running", container.logs().decode()
            # It may end between the two.
            with contextlib.suppress(docker.errors.APIError):
                if container.exec_run(check).exit_code == 0:
                    return
            assert time.monotonic() < deadline, container.logs().decode()
            time.sleep(0.2)


@contextlib.contextmanager
def serving(address: str) -> Iterator[Behind]:
    """A server behind a door.

    Args:
        address: of this machine, where containers find it.
    """
    behind = Behind()
    server = ThreadingHTTPServer((address, 0), _handler(behind))
    behind.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield behind
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def door(client: docker.DockerClient) -> Iterator[Door]:
    """A door without containers yet, and a server behind it."""
    deployment = new_name()
    network = client.networks.create(deployment, labels={DEPLOYMENT: deployment})
    try:
        with serving(gateway(network)) as behind:
            yield Door(client, network, deployment, behind)
    finally:
        sweep(client, deployment)


def gateway(network: Network) -> str:
    """Address of this machine in a network."""
    network.reload()
    config = network.attrs["IPAM"]["Config"][0]
    # The engine leaves it out for the network that is its own.
    first = next(ipaddress.ip_network(config["Subnet"]).hosts())
    return str(config.get("Gateway", first))
