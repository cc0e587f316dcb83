"""oauth2-proxy, which asks the identity provider who somebody is: its configuration.

nginx asks it about every request (`auth_request`): a browser has a session in an encrypted cookie, a program sends a
token of the provider. Options are those of oauth2-proxy 7.8 that later versions have too.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

HEALTH_PATH = "/ping"
"""Answers 200 while oauth2-proxy lives. It does not start before it has read the provider's configuration."""

CALLBACK_PATH = "/oauth2/callback"
"""Where the provider sends browsers back to: `<URL of the stack><CALLBACK_PATH>` is registered with it."""

SCOPES = ("openid", "email", "profile")
"""What every login asks for: the name of a user is the e-mail address."""

SESSION_HOURS = 8
"""How long a browser stays logged in, in hours. Then it is sent to the provider, which mostly does not ask again."""

_LOGIN_MINUTES = 15
"""How long a login at the provider may take, in minutes."""

# oauth2-proxy prints a whole request, with code and cookies, when a login returns without its cookie, and a page that
# it would not return to with its arguments. It prints requests as Go prints a pointer to a struct: `&{GET /…`.
_LOG_FORMAT = (
    '[{{.Timestamp}}] [{{.File}}] {{if eq (printf "%.2s" .Message) "&{"}}'
    "A login came back without its cookie: it took too long, or began at another name of this stack."
    '{{else if eq (printf "%.16s" .Message) "Invalid redirect"}}Invalid redirect'
    "{{else}}{{.Message}}{{end}}"
)


@dataclass(frozen=True)
class OidcSettings:
    """What oauth2-proxy is configured for.

    Attributes:
        listen_port: TCP port to listen on.
        issuer: URL of the identity provider, as tokens name it.
        client_id: client that the provider knows for this stack; its tokens are accepted as bearer tokens too.
        client_secret: the client's secret.
        cookie_secret: 32 characters that sessions are encrypted with.
        cookie_name: name of the session's cookie. Browsers send a cookie to every port of a host, so it carries the
            deployment.
        secure: whether browsers come by TLS.
        audiences: further audiences of tokens to accept.
        scopes: scopes to ask for beside `SCOPES`.
        groups_claim: claim with a user's groups.
        allowed_groups: groups of which a user must have one; empty for all users.
        email_domains: domains of which a user's address must have one; empty for all.
        ca_path: file with the authority of the provider's certificate; empty for the usual ones.
        upstream: URL that it passes requests with a token on to, where something before it logs browsers in; empty
            where nginx asks it.
        claims: whether nginx is to learn what the provider says of a user: all claims of the token, not only a name.
            The session then holds the provider's tokens, in as many cookies as they need.
    """

    listen_port: int
    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    cookie_secret: str = field(repr=False)
    cookie_name: str
    secure: bool
    audiences: Sequence[str] = ()
    scopes: Sequence[str] = ()
    groups_claim: str = "groups"
    allowed_groups: Sequence[str] = ()
    email_domains: Sequence[str] = ()
    ca_path: str = ""
    upstream: str = ""
    claims: bool = False


UPSTREAM_SECONDS = 3600
"""How long the server may take for its answer, in seconds: it begins after the last byte of an upload."""


def render_config(settings: OidcSettings) -> str:
    """oauth2-proxy's configuration file; it holds both secrets.

    Raises:
        ValueError: an issuer that is no URL, or a value that is empty or would end its line. The message holds no
            secret.
    """
    parts = urlsplit(settings.issuer)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"issuer: must be a URL with http or https (got {settings.issuer!r})")
    if not re.fullmatch(r"[A-Za-z0-9_-]{32}", settings.cookie_secret):
        raise ValueError("cookie_secret: must be 32 letters, digits, - or _")
    options: dict[str, str | bool | list[str]] = {
        "http_address": f"0.0.0.0:{settings.listen_port}",
        "reverse_proxy": True,
        "provider": "oidc",
        "oidc_issuer_url": settings.issuer,
        "client_id": settings.client_id,
        "client_secret": settings.client_secret,
        "scope": " ".join(dict.fromkeys((*SCOPES, *settings.scopes))),
        "code_challenge_method": "S256",
        # Else Google asks everybody for consent at every login.
        "approval_prompt": "auto",
        "insecure_oidc_skip_nonce": False,
        "oidc_groups_claim": settings.groups_claim,
        "oidc_extra_audiences": list(settings.audiences),
        "allowed_groups": list(settings.allowed_groups),
        "email_domains": list(settings.email_domains) or ["*"],
        "skip_jwt_bearer_tokens": True,
        "skip_provider_button": True,
        "set_xauthrequest": True,
        # Host and scheme come from the request: a stack has several names.
        "redirect_url": CALLBACK_PATH,
        "upstreams": ["static://404"],
        "cookie_name": settings.cookie_name,
        "cookie_secret": settings.cookie_secret,
        "cookie_secure": settings.secure,
        "cookie_httponly": True,
        "cookie_samesite": "lax",
        "cookie_expire": f"{SESSION_HOURS}h",
        "cookie_csrf_per_request": True,
        "cookie_csrf_expire": f"{_LOGIN_MINUTES}m",
        # Its own header with groups is one text, joined by commas, in which a group `a,b` is the groups `a` and `b`. So
        # who heeds groups gets the token itself, which oauth2-proxy has verified. Else a session is name and groups
        # alone: tokens can outgrow what one cookie may hold.
        "set_authorization_header": settings.claims,
        "session_cookie_minimal": not settings.claims,
        "request_logging": False,
        "silence_ping_logging": True,
        "standard_logging_format": _LOG_FORMAT,
        "footer": "-",
    }
    if settings.upstream:
        options |= {
            "upstreams": [settings.upstream],
            # Who has no token is told so, and is sent to no login.
            "api_routes": ["^/"],
            "upstream_timeout": f"{UPSTREAM_SECONDS}s",
            # A part of an artifact goes on as it comes.
            "flush_interval": "100ms",
            "pass_basic_auth": False,
            "pass_user_headers": False,
        }
    if settings.ca_path:
        options["provider_ca_files"] = [settings.ca_path]
    return "".join(f"{key} = {_toml(key, value)}\n" for key, value in options.items())


def _toml(key: str, value: str | bool | list[str]) -> str:
    """A value as TOML: JSON, where it has no control characters."""
    for text in value if isinstance(value, list) else [value]:
        if isinstance(text, str) and (not text or not text.isprintable()):
            shown = "" if key.endswith("_secret") else f" (got {text!r})"
            raise ValueError(f"{key}: must be printable and not empty{shown}")
    return json.dumps(value, ensure_ascii=False)
