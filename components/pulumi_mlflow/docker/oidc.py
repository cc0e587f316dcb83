"""oauth2-proxy: asks the identity provider who somebody is, on behalf of the front door."""

from typing import NotRequired, Optional, TypedDict

import pulumi

from .. import login
from ..core import oidc
from . import container
from .files import FILES_PATH


class DockerOidcArgs(TypedDict):
    """Arguments of DockerOidc."""

    network: pulumi.Input[str]
    """Name of the stack's network."""
    image: pulumi.Input[str]
    """Id of an oauth2-proxy image."""
    provider: login.OidcProviderArgs
    """Who knows the users."""
    cookie_secret: pulumi.Input[str]
    """32 letters and digits that sessions are encrypted with (secret)."""
    secure: bool
    """Whether browsers reach the front door by TLS."""
    claims: NotRequired[bool]
    """Whether the front door heeds what the provider says of a user beside the name; no unless given."""
    memory_mb: NotRequired[int]
    """Memory limit, in MiB; 128 unless given."""
    deployment: NotRequired[str]
    """Prefix of physical names; `<project>-<stack>` unless given."""


class DockerOidc(container.DockerComponent):
    """oauth2-proxy, in the stack's network only. It does not get healthy without the provider."""

    _role = "oidc"

    host: pulumi.Output[str]
    """Name under which the front door finds it; known once it is healthy."""

    def __init__(
        self, name: str, args: DockerOidcArgs, opts: Optional[pulumi.ResourceOptions] = None
    ) -> None:
        super().__init__(name, args.get("deployment"), opts)
        contents = login.oidc_files(
            args["provider"],
            args["cookie_secret"],
            self._physical(),
            secure=args["secure"],
            claims=args.get("claims", False),
        )
        healthy = self._run(
            container.ContainerSpec(
                image=args["image"],
                entrypoint=["/bin/oauth2-proxy"],
                command=["--config", f"{FILES_PATH}/{login.OIDC_CONFIG}"],
                user=f"{login.OIDC_UID}:{login.OIDC_UID}",
                network=args["network"],
                alias=self._role,
                files=self._files(contents, args["image"], login.OIDC_UID),
                health=container.Health(
                    [
                        "wget",
                        "-q",
                        "-O",
                        "/dev/null",
                        f"http://127.0.0.1:{login.OIDC_PORT}{oidc.HEALTH_PATH}",
                    ]
                ),
                memory_mb=args.get("memory_mb", 128),
                host_gateway=True,
            ),
        )
        self.host = container.once(healthy, self._physical())
        self.register_outputs({"host": self.host})
