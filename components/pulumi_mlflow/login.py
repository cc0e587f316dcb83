"""What a front door makes of its arguments: the same in every runtime that runs nginx and oauth2-proxy."""

from collections.abc import Sequence
from typing import NotRequired, Optional, TypedDict

import pulumi

from .contracts import AuthMode, TrackingEndpoint
from .core import oidc
from .core.files import FILES_PATH

PROXY_PORT = 8080
PROXY_UID = 101
"""User of the official nginx image; ours is the same."""

OIDC_PORT = 4180
OIDC_UID = 65532
"""User of the official oauth2-proxy image; ours is the same."""

HTPASSWD = "htpasswd"
NGINX_CONF = "nginx.conf"
OIDC_CONFIG = "oauth2-proxy.cfg"
OIDC_CA = "issuer-ca.pem"

GROUPS_CLAIM = "groups"
"""Claim with a user's groups, unless a provider has another."""


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


def check(name: str, auth: AuthMode, tracking: TrackingEndpoint, names: Sequence[str]) -> None:
    """Refuse a front door that would be open to nobody, or would leave the server's own check out.

    Args:
        name: the front door's.
        auth: how users log in.
        tracking: the server behind it.
        names: users of `basic`.

    Raises:
        ValueError: one of these.
    """
    demanded = tracking.get("auth_mode", AuthMode.NONE.value)
    wanted = auth.value if auth.by_server else AuthMode.NONE.value
    if demanded != wanted:
        raise ValueError(
            f"{name}: auth {auth.value!r} needs a server with auth {wanted!r}, and {tracking['component']} has "
            f"{demanded!r}; give both the same"
        )
    if auth is AuthMode.OIDC_MLFLOW and "proxy_secret" not in tracking:
        raise ValueError(
            f"{name}: auth {auth.value!r} needs the proxy_secret of {tracking['component']}"
        )
    twice = sorted({user for user in names if names.count(user) > 1})
    if twice:
        raise ValueError(f"{name}: users: must not be named twice (got {', '.join(twice)})")


def groups_claim(provider: Optional[OidcProviderArgs]) -> str:
    """The claim with a user's groups, at this provider or any other."""
    return provider.get("groups_claim", GROUPS_CLAIM) if provider else GROUPS_CLAIM


def oidc_files(
    provider: OidcProviderArgs,
    cookie_secret: pulumi.Input[str],
    name: str,
    *,
    secure: bool,
    claims: bool,
    upstream: str = "",
) -> dict[str, pulumi.Input[str]]:
    """oauth2-proxy's files: path below `FILES_PATH` → content (secret).

    Args:
        provider: who knows the users.
        cookie_secret: 32 letters and digits that sessions are encrypted with (secret).
        name: of the session's cookie; carries the deployment.
        secure: whether browsers reach the front door by TLS.
        claims: see `oidc.OidcSettings`.
        upstream: likewise.
    """
    ca = provider.get("ca")
    # Browsers take a `__Host-` cookie from nobody but this host itself, and only by TLS.
    prefix = "__Host-" if secure else ""
    # A session without the token, from before, is none.
    suffix = "-claims" if claims else ""
    contents: dict[str, pulumi.Input[str]] = {
        OIDC_CONFIG: pulumi.Output.all(
            issuer=provider["issuer"],
            client_id=provider["client_id"],
            client_secret=provider["client_secret"],
            cookie_secret=cookie_secret,
        ).apply(
            lambda known: oidc.render_config(
                oidc.OidcSettings(
                    **known,
                    listen_port=OIDC_PORT,
                    cookie_name=f"{prefix}{name}{suffix}",
                    secure=secure,
                    audiences=provider.get("audiences", []),
                    scopes=provider.get("scopes", []),
                    groups_claim=groups_claim(provider),
                    allowed_groups=provider.get("allowed_groups", []),
                    email_domains=provider.get("email_domains", []),
                    ca_path=f"{FILES_PATH}/{OIDC_CA}" if ca else "",
                    claims=claims,
                    upstream=upstream,
                )
            )
        )
    }
    if ca:
        contents[OIDC_CA] = ca
    return contents
