"""oauth2-proxy: asks the identity provider who somebody is, on behalf of the front door."""

from typing import NotRequired, Optional, TypedDict

import pulumi

from ..core import oidc
from . import container
from .files import FILES_PATH

PORT = 4180
UID = 65532
"""User of the official image; ours is the same."""

CONFIG = "oauth2-proxy.cfg"
CA = "issuer-ca.pem"


class OidcProviderArgs(TypedDict):
    """An identity provider, and whom of its users to let in."""

    issuer: pulumi.Input[str]
    """Its URL, as tokens name it; `<issuer>/.well-known/openid-configuration` must be reached from the containers."""
    client_id: pulumi.Input[str]
    """Client that the provider knows for this stack, with `<public URL>/oauth2/callback` as redirect URI."""
    client_secret: pulumi.Input[str]
    """The client's secret (secret)."""
    audiences: NotRequired[list[str]]
    """Further audiences whose tokens are accepted; those for `client_id` always are."""
    scopes: NotRequired[list[str]]
    """Scopes to ask for beside `openid email profile`."""
    groups_claim: NotRequired[str]
    """Claim with a user's groups; `groups` unless given."""
    allowed_groups: NotRequired[list[str]]
    """Groups of which a user must have one; all users are let in unless given."""
    email_domains: NotRequired[list[str]]
    """Domains of which a user's address must have one; any unless given."""
    ca: NotRequired[Optional[pulumi.Input[str]]]
    """PEM of the authority that signed the provider's certificate; a public one unless given."""


class DockerOidcArgs(TypedDict):
    """Arguments of DockerOidc."""

    network: pulumi.Input[str]
    """Name of the stack's network."""
    image: pulumi.Input[str]
    """Id of an oauth2-proxy image."""
    provider: OidcProviderArgs
    """Who knows the users."""
    cookie_secret: pulumi.Input[str]
    """32 letters and digits that sessions are encrypted with (secret)."""
    secure: bool
    """Whether browsers reach the front door by TLS."""
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
        provider = args["provider"]
        ca = provider.get("ca")
        # Browsers take a `__Host-` cookie from nobody but this host itself, and only by TLS.
        prefix = "__Host-" if args["secure"] else ""
        contents: dict[str, pulumi.Input[str]] = {
            CONFIG: pulumi.Output.all(
                issuer=provider["issuer"],
                client_id=provider["client_id"],
                client_secret=provider["client_secret"],
                cookie_secret=args["cookie_secret"],
            ).apply(
                lambda known: oidc.render_config(
                    oidc.OidcSettings(
                        **known,
                        listen_port=PORT,
                        cookie_name=f"{prefix}{self._physical()}",
                        secure=args["secure"],
                        audiences=provider.get("audiences", []),
                        scopes=provider.get("scopes", []),
                        groups_claim=provider.get("groups_claim", "groups"),
                        allowed_groups=provider.get("allowed_groups", []),
                        email_domains=provider.get("email_domains", []),
                        ca_path=f"{FILES_PATH}/{CA}" if ca else "",
                    )
                )
            )
        }
        if ca:
            contents[CA] = ca
        healthy = self._run(
            container.ContainerSpec(
                image=args["image"],
                entrypoint=["/bin/oauth2-proxy"],
                command=["--config", f"{FILES_PATH}/{CONFIG}"],
                user=f"{UID}:{UID}",
                network=args["network"],
                alias=self._role,
                files=self._files(contents, args["image"], UID),
                health=container.Health(
                    ["wget", "-q", "-O", "/dev/null", f"http://127.0.0.1:{PORT}{oidc.HEALTH_PATH}"]
                ),
                memory_mb=args.get("memory_mb", 128),
                host_gateway=True,
            ),
        )
        self.host = container.once(healthy, self._physical())
        self.register_outputs({"host": self.host})
