"""nginx in front of the server: its configuration and password file."""

import base64
import hashlib
import hmac
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import bcrypt
import jinja2

from . import closing, outgoing
from .nginx_conf import NGINX

NONE, BASIC, OIDC, MLFLOW, OIDC_MLFLOW = MODES = ("none", "basic", "oidc", "mlflow", "oidc-mlflow")
"""Ways to log in: the values of `contracts.AuthMode`, which is Pulumi's."""

HEALTH_PATH = "/-/health"
"""Answers 200 while nginx lives, without login and without asking the server."""

CLIENTS_HEALTH_PATH = "/health"
"""The same where MLflow's clients and load balancers ask, with the body that MLflow itself answers."""

PID_PATH = "/tmp/nginx.pid"  # noqa: S108 - in its container
"""File with nginx's process id."""

LOGOUT_PATH = "/-/logout"
"""Ends the session of a browser, in the OIDC modes."""

OIDC_MODES = (OIDC, OIDC_MLFLOW)
"""Modes in which an identity provider says who somebody is."""

USER_HEADER = "X-Mlflow-User"
GROUPS_HEADER = "X-Mlflow-Groups"
CLAIMS_HEADER = "X-Mlflow-Claims"
GROUPS_CLAIM_HEADER = "X-Mlflow-Groups-Claim"
SECRET_HEADER = "X-Mlflow-Proxy-Secret"  # noqa: S105 - a name
"""Identity headers for the server in mode `oidc-mlflow`; it believes them only together with the secret.

The claims are the middle part of the token that oauth2-proxy has verified, base64 of JSON: what a group is called is
kept, whatever characters are in it, and without the signature nobody can log in with it. The claim with the groups is
named in base64 too. The header with groups is oauth2-proxy's, joined by commas: it says only whether there are any."""

RATE_LIMIT = 10_000
"""Requests a second that one address may make with a login, with as many again at once. A limit is there for what has
run wild, not for work: MLflow itself answers some 200 writes a second on two cores, the fastest server that was tried
in its place 7,700, and a node that trains with many processes, or an office behind one address, asks as often as it is
answered."""

ANONYMOUS_RATE_LIMIT = 100
"""The same without a login, where there is one and clients' addresses are known: whoever sends none is guessing what is
there, or is a browser on its way to the login."""

BODY_LIMIT_MB = 64
"""Largest body of a request that is no artifact, in MiB. MLflow's client sends at most 1 MB in a log-batch; traces and
gateway requests carry pictures and documents in base64, for which providers' own limits are 20 to 50 MB."""

CACHE_MB = 32
"""Static files kept in memory, in MiB: MLflow 3.17's whole UI has 27 MB."""

_IDENTITY_HEADERS = (
    "Forwarded",
    "Proxy",
    "Remote-Email",
    "Remote-Groups",
    "Remote-Name",
    "Remote-User",
    "X-Auth-Request-Access-Token",
    "X-Auth-Request-Email",
    "X-Auth-Request-Groups",
    "X-Auth-Request-Preferred-Username",
    "X-Auth-Request-Redirect",
    "X-Auth-Request-User",
    "X-Forwarded-Access-Token",
    "X-Forwarded-Email",
    "X-Forwarded-Groups",
    "X-Forwarded-Preferred-Username",
    "X-Forwarded-Prefix",
    "X-Forwarded-Uri",
    "X-Forwarded-User",
    USER_HEADER,
    GROUPS_HEADER,
    CLAIMS_HEADER,
    GROUPS_CLAIM_HEADER,
    SECRET_HEADER,
    # Of AWS's load balancer, the user's own token among them.
    "X-Amzn-Oidc-Accesstoken",
    "X-Amzn-Oidc-Data",
    "X-Amzn-Oidc-Identity",
    "X-Remote-User",
    "X-User",
)
"""Headers by which proxies (oauth2-proxy, Authelia, Traefik, …) tell a server who asks; a client's own are lies."""

_UI_POLICY = (
    "default-src 'self'; "
    # HTML artifacts are shown in sandboxed `blob:` frames, which inherit this policy: what they need is allowed here
    # too. cdn.plot.ly is what `mlflow.log_figure` writes into plotly's figures.
    "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob: https://cdn.plot.ly; "
    "style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob: https:; "
    "media-src 'self' data: blob: https:; "
    "font-src 'self' data:; "
    "connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; "
    "frame-src 'self' data: blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'"
)
"""What MLflow's pages may load and run. `frame-ancestors` is left to MLflow's X-Frame-Options."""

_DATA_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:"
"""For artifacts that somebody opens as a page of their own: they are other people's files."""

_HTML_POLICY = (
    # Never allow-same-origin: such a page could do what its reader may.
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' {sources}; "
    "style-src 'unsafe-inline' {sources}; font-src data: {sources}; img-src 'self' data: blob: {sources}"
)
"""The same where `html_sources` are given: charts of Altair, Bokeh and others load their library from them."""

_PERMISSIONS = "camera=(), geolocation=(), microphone=(), payment=(), usb=()"

_CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)
"""Of TLS 1.2: Mozilla's intermediate list without DHE (version 5.7)."""

_BCRYPT_COST = 5
"""2^5 rounds, about 1 ms. nginx checks the password on every request, in its event loop; the password is generated
with 190 random bits, which no guessing reaches at any cost."""

_BCRYPT_BYTES = 72
"""bcrypt ignores what comes after."""

_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_BCRYPT_BASE64 = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

_ARTIFACT_PATHS = (
    r"(ajax-)?api/2\.0/mlflow(-artifacts/artifacts/|/logged-models/[^/]+/artifacts/files$)"
    r"|ajax-api/[23]\.0/mlflow/get-trace-artifact$"
)
"""Routes of MLflow's API whose answers are artifacts."""

_HASHED = r"/static-files/static/(css|js|media)/[\w.-]+\.[0-9a-f]{8,}\.[\w.]+$"
"""Files of the UI whose names hold a hash of them."""

_JOB_PATHS = (
    r"^/((ajax-)?api/3\.0/mlflow/(genai/evaluate/invoke|issues/invoke|prompt-optimization/jobs|scorer/invoke)"
    r"|ajax-api/3\.0/jobs)(/|$)"
)
"""Routes of MLflow 3.17.2 that call `submit_job` or `cancel_job` (mlflow/server/{handlers,job_api}.py)."""

_TEMPLATE = jinja2.Environment(
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    autoescape=False,  # noqa: S701 - no HTML; values are checked by `_plain`
).from_string(NGINX)


@dataclass(frozen=True)
class ProxySettings:
    """What nginx is rendered for.

    Attributes:
        listen_port: TCP port to listen on.
        upstream_host: name or address of the server.
        upstream_port: its TCP port.
        auth: one of `MODES`.
        htpasswd_path: file of `htpasswd_line`s; with `basic`.
        resolver: address of the DNS server that knows `upstream_host`; Docker's own unless given.
        oidc_host: name or address of oauth2-proxy; in the OIDC modes.
        oidc_port: its TCP port.
        proxy_secret: what makes the server believe the identity headers; with `oidc-mlflow`.
        groups_claim: claim with a user's groups; with `oidc-mlflow`.
        certificate_path: PEM file with the certificate and its chain; empty for plain HTTP.
        key_path: PEM file with its key.
        scheme: by which browsers come, where another proxy before this one ends TLS; that of the request if empty.
        hsts: whether browsers are told to use TLS with this host from now on.
        rate_limit: requests a second that an address may make, with as many again at once; 0 for no limit. Without a
            login it is `ANONYMOUS_RATE_LIMIT` at most.
        shared_address: whether all clients have one address, that of something before nginx that says not whose it is.
        cache: whether the UI's static files are kept.
        html_sources: https origins that artifacts, opened as pages of their own, may load scripts, styles, fonts and
            pictures from.
        multipart: whether clients reach the store, so that MLflow's offer of presigned transfers stands.
        trusted: networks of what is before nginx, which says in X-Forwarded-For who the client is; none unless given.
        logged_in: whether that has logged clients in, with `none`: their logins are not passed on to the server.
        jobs_host: name or address of the server that runs jobs; empty where none, or all, do.
        jobs_port: its TCP port.
    """

    listen_port: int
    upstream_host: str
    upstream_port: int
    auth: str
    htpasswd_path: str = ""
    resolver: str = "127.0.0.11"
    oidc_host: str = ""
    oidc_port: int = 0
    proxy_secret: str = field(default="", repr=False)
    groups_claim: str = "groups"
    certificate_path: str = ""
    key_path: str = ""
    scheme: str = ""
    hsts: bool = False
    rate_limit: int = RATE_LIMIT
    shared_address: bool = False
    cache: bool = False
    html_sources: Sequence[str] = ()
    multipart: bool = False
    trusted: Sequence[str] = ()
    logged_in: bool = False
    jobs_host: str = ""
    jobs_port: int = 0


def render_nginx(settings: ProxySettings) -> str:
    """A complete nginx.conf, for nginx 1.22 and later without root and with a read-only root but for /tmp.

    It says `daemon off` itself: run `nginx -e stderr -c FILE`, without `-g "daemon off;"`. Which Host headers are
    answered is left to MLflow, whose own check cannot be turned off by going around the proxy. With `oidc-mlflow` it
    holds a secret.

    Raises:
        ValueError: unknown kind of authentication, something that it needs is missing, or a value that nginx would
            take for syntax.
    """
    if settings.auth not in MODES:
        raise ValueError(f"auth: must be one of {', '.join(MODES)} (got {settings.auth!r})")
    if settings.rate_limit < 0:
        raise ValueError(f"rate_limit: must be ≥ 0 (got {settings.rate_limit})")
    if settings.scheme not in ("", "http", "https"):
        raise ValueError(f"scheme: must be http or https (got {settings.scheme!r})")
    if settings.logged_in and settings.auth != NONE:
        raise ValueError(f"logged_in: is for auth none (got {settings.auth!r})")
    if bool(settings.certificate_path) != bool(settings.key_path):
        raise ValueError("certificate_path, key_path: must be given together")
    secure = (settings.scheme or (settings.certificate_path and "https")) == "https"
    return _TEMPLATE.render(
        **_login(settings),
        secure=secure,
        scheme=settings.scheme or "$scheme",
        trusted=[str(ipaddress.ip_network(network)) for network in settings.trusted],
        listen_port=settings.listen_port,
        upstream=f"{_authority(settings.upstream_host)}:{settings.upstream_port}",
        jobs=f"{_authority(settings.jobs_host)}:{settings.jobs_port}" if settings.jobs_host else "",
        job_paths=_JOB_PATHS,
        reads=closing.READS,
        closed_path=closing.CLOSED_PATH,
        pid_path=PID_PATH,
        closed=closing.WAITING,
        resolver=_authority(settings.resolver),
        headers=_headers(settings),
        tls=bool(settings.certificate_path),
        hsts=settings.hsts and secure,
        certificate_path=_optional("certificate_path", settings.certificate_path),
        key_path=_optional("key_path", settings.key_path),
        ciphers=_CIPHERS,
        rate_limit=settings.rate_limit,
        anonymous_limit=_anonymous_limit(settings),
        cache=settings.cache,
        cache_mb=CACHE_MB,
        multipart=settings.multipart,
        body_limit_mb=BODY_LIMIT_MB,
        hashed=_HASHED,
        ui_policy=_UI_POLICY,
        data_policy=_DATA_POLICY,
        html_policy=_html_policy(settings.html_sources),
        artifact_paths=_ARTIFACT_PATHS,
        permissions=_PERMISSIONS,
        health_path=HEALTH_PATH,
        clients_health_path=CLIENTS_HEALTH_PATH,
        refused={re.escape(path): why for path, why in outgoing.REFUSED_PATHS.items()},
        read_paths="|".join(
            re.escape(path.removeprefix(prefix))
            for prefix in outgoing.REFUSED_PATHS
            for path in outgoing.READ_PATHS
            if path.startswith(prefix)
        ),
        logout_path=LOGOUT_PATH,
    )


def check_html_source(source: str) -> str | None:
    """Why artifacts cannot load from a source, or None.

    Args:
        source: an origin, such as `https://cdn.jsdelivr.net`.
    """
    if re.fullmatch(
        r"https://([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9](:[1-9]\d{0,4})?", source
    ):
        return None
    return f"must be https:// and a host's full name, such as https://cdn.jsdelivr.net (got {source!r})"


def _html_policy(sources: Sequence[str]) -> str:
    for source in sources:
        if reason := check_html_source(source):
            raise ValueError(f"html_sources: {reason}")
    return _HTML_POLICY.format(sources=" ".join(sources)) if sources else ""


def _anonymous_limit(settings: ProxySettings) -> int:
    """Requests a second without a login; 0 for no limit of their own."""
    if settings.auth == NONE or settings.shared_address:
        return 0
    return min(settings.rate_limit, ANONYMOUS_RATE_LIMIT)


def _login(settings: ProxySettings) -> dict[str, Any]:
    """What the template needs to know of a way to log in."""
    auth, oidc, challenge, user = settings.auth, "", "", '""'
    if auth == BASIC:
        # Unchecked, in the other modes, it would be whatever a client sent.
        user = "$remote_user"
    elif auth == MLFLOW:
        challenge = 'Basic realm="mlflow"'
    elif auth in OIDC_MODES:
        oidc = f"{_authority(settings.oidc_host)}:{settings.oidc_port}"
        challenge, user = 'Bearer realm="MLflow"', "$auth_user"
    path = settings.htpasswd_path
    return {
        "auth": auth,
        "oidc": oidc,
        "challenge": challenge,
        "user": user,
        "htpasswd_path": _plain("htpasswd_path", path) if auth == BASIC else "",
    }


def _headers(settings: ProxySettings) -> dict[str, str]:
    """Headers for the server that a client has no say in: name → nginx's value, `""` for none."""
    headers = dict.fromkeys(_IDENTITY_HEADERS, '""')
    if settings.auth == BASIC:
        headers["Authorization"] = '""'  # the password is for the proxy alone
    elif settings.auth in OIDC_MODES or settings.logged_in:
        # Neither token nor session are the server's to see.
        headers |= {"Authorization": '""', "Cookie": '""'}
    if settings.auth == OIDC_MLFLOW:
        headers |= {
            USER_HEADER: "$auth_user",
            GROUPS_HEADER: "$auth_groups",
            CLAIMS_HEADER: "$claims",
            # In base64: nginx would take a part of it for a variable.
            GROUPS_CLAIM_HEADER: base64.urlsafe_b64encode(settings.groups_claim.encode())
            .decode()
            .rstrip("="),
            SECRET_HEADER: _secret(settings.proxy_secret),
        }
    return headers


def _authority(host: str) -> str:
    """A host as part of a URL: IPv6 in brackets."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return _plain("host", host)
    return f"[{address}]" if address.version == 6 else str(address)  # noqa: PLR2004 - IPv6


def _optional(what: str, value: str) -> str:
    return _plain(what, value) if value else ""


def _plain(what: str, value: str) -> str:
    """A value without anything that nginx reads as syntax."""
    if not re.fullmatch(r"[\w./-]+", value, re.ASCII):
        raise ValueError(f"{what}: must be letters, digits and ._/- (got {value!r})")
    return value


def _secret(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9]{16,}", value):
        raise ValueError("proxy_secret: must be 16 letters and digits at least")
    return value


def htpasswd(passwords: Mapping[str, str], salt: str) -> str:
    """The password file of nginx; arguments as of `htpasswd_line`."""
    lines = [htpasswd_line(user, password, salt) for user, password in passwords.items()]
    return "".join(f"{line}\n" for line in lines)


def htpasswd_line(username: str, password: str, seed: str) -> str:
    """A line of nginx's password file, the same each time for the same arguments.

    Args:
        username: who logs in.
        password: up to 72 bytes of UTF-8.
        seed: secret that the salt is made from; it must not be the password, nor known to others.

    Returns:
        `username:$2y$05$…`. `$2y$` is the prefix that both glibc's and musl's crypt take.

    Raises:
        ValueError: a name or password that bcrypt, HTTP or the file cannot carry. The message never holds the
            password.
    """
    if not username or username.startswith("#") or not username.isprintable() or ":" in username:
        raise ValueError(
            f"username: must be printable, without ':' and a leading '#' (got {username!r})"
        )
    if not seed:
        raise ValueError("seed: must not be empty")
    secret = password.encode()
    if not secret or len(secret) > _BCRYPT_BYTES or b"\0" in secret:
        raise ValueError(f"password: must be 1 to {_BCRYPT_BYTES} bytes without NUL")
    # The password is no part of it: whoever read the file could then guess by a fast hash instead of by bcrypt.
    salt = hmac.digest(seed.encode(), username.encode(), hashlib.sha256)[:16]
    encoded = (
        base64.b64encode(salt).rstrip(b"=").translate(bytes.maketrans(_BASE64, _BCRYPT_BASE64))
    )
    digest = bcrypt.hashpw(secret, b"$2b$%02d$%s" % (_BCRYPT_COST, encoded)).decode()
    return f"{username}:{digest.replace('$2b$', '$2y$', 1)}"
