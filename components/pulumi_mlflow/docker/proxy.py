"""The front door: nginx with basic auth, the only container that publishes a port."""

from typing import NotRequired, Optional, TypedDict

import pulumi
import pulumi_docker as docker

from ..contracts import AuthMode, TrackingEndpoint, require_reach
from ..core import proxy, urls
from ..generated import GeneratedSecret
from . import container
from .files import FILES_PATH
from .network import place

PORT = 8080
UID = 101
"""User of the official image; ours is the same."""
HTPASSWD = "htpasswd"


class DockerAuthProxyArgs(TypedDict):
    """Arguments of DockerAuthProxy."""

    network: pulumi.Input[str]
    """Name of the stack's network."""
    image: pulumi.Input[str]
    """Id of an nginx image."""
    tracking: TrackingEndpoint
    """The server behind it."""
    auth: NotRequired[str]
    """`basic` or, on loopback only, `none`; `basic` unless given."""
    username: NotRequired[str]
    """Who logs in; `mlflow` unless given."""
    bind: NotRequired[str]
    """Address of the engine's machine that the port is published on; 127.0.0.1 unless given."""
    port: NotRequired[int]
    """Published port; 5000 unless given."""
    memory_mb: NotRequired[int]
    """Memory limit, in MiB; 128 unless given."""
    deployment: NotRequired[str]
    """Prefix of physical names; `<project>-<stack>` unless given."""


class DockerAuthProxy(container.DockerComponent):
    """nginx before the tracking server: authentication, uploads of any size, long timeouts.

    Raises:
        UnreachableEndpointError: the server cannot be reached from the stack's network.
        ValueError: no authentication beyond loopback.
    """

    _role = "proxy"

    endpoint: TrackingEndpoint
    """What people and training scripts use."""
    password: pulumi.Output[str]
    """Password of the one user (secret); unused without authentication."""

    def __init__(
        self, name: str, args: DockerAuthProxyArgs, opts: Optional[pulumi.ResourceOptions] = None
    ) -> None:
        super().__init__(name, args.get("deployment"), opts)
        here = place(self._deployment)
        tracking = args["tracking"]
        require_reach(name, here, tracking["component"], tracking["reach"])
        auth = AuthMode(args.get("auth", AuthMode.BASIC.value))
        bind, port = args.get("bind", "127.0.0.1"), args.get("port", 5000)
        if auth is AuthMode.NONE and not urls.is_loopback(bind):
            raise ValueError(
                f"{name}: auth 'none' is for loopback only (bind is {bind!r}); use 'basic'"
            )
        login = GeneratedSecret(self._child("login"), opts=self._opts())
        salt = GeneratedSecret(self._child("salt"), opts=self._opts())
        username = args.get("username", "mlflow")
        self.password = pulumi.Output.secret(login.value)
        contents: dict[str, pulumi.Input[str]] = {
            "nginx.conf": pulumi.Output.from_input(tracking["internal_url"]).apply(
                lambda url: proxy.render_nginx(
                    proxy.ProxySettings(
                        listen_port=PORT,
                        upstream_host=urls.host_of(url),
                        upstream_port=urls.port_of(url),
                        auth=auth.value,
                        htpasswd_path=f"{FILES_PATH}/{HTPASSWD}",
                    )
                )
            )
        }
        if auth is AuthMode.BASIC:
            contents[HTPASSWD] = pulumi.Output.all(login.value, salt.value).apply(
                lambda known: proxy.htpasswd_line(username, *known)
            )
        files = self._files(contents, args["image"], UID)
        healthy = self._run(
            container.ContainerSpec(
                image=args["image"],
                entrypoint=["nginx"],
                command=["-e", "stderr", "-c", f"{FILES_PATH}/nginx.conf"],
                user=f"{UID}:{UID}",
                network=args["network"],
                alias=self._role,
                files=files,
                health=container.Health(
                    [
                        "curl",
                        "-fsS",
                        "-o",
                        "/dev/null",
                        f"http://127.0.0.1:{PORT}{proxy.HEALTH_PATH}",
                    ]
                ),
                memory_mb=args.get("memory_mb", 128),
                ports=[docker.ContainerPortArgs(internal=PORT, external=port, ip=bind)],
            ),
        )
        url = f"http://{urls.url_host(bind)}:{port}"
        self.endpoint = TrackingEndpoint(
            component=name,
            reach=["host"] if urls.is_loopback(bind) else ["public"],
            internal_url=f"http://{self._physical()}:{PORT}",
            public_url=container.once(healthy, url),
            health_path=proxy.HEALTH_PATH,
            ready_path=tracking["ready_path"],
            auth_mode=auth.value,
        )
        self.register_outputs({"endpoint": self.endpoint})
