"""nginx in front of the server: its configuration and password file."""

import base64
import hashlib
import hmac
import ipaddress
import re
from dataclasses import dataclass
from string import Template

import bcrypt

HEALTH_PATH = "/-/health"
"""Answers 200 while nginx lives, without login and without asking the server."""

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
    "X-Auth-Request-User",
    "X-Forwarded-Access-Token",
    "X-Forwarded-Email",
    "X-Forwarded-Groups",
    "X-Forwarded-Preferred-Username",
    "X-Forwarded-Prefix",
    "X-Forwarded-User",
    "X-Remote-User",
    "X-User",
)
"""Headers by which proxies (oauth2-proxy, Authelia, Traefik, …) tell a server who asks; a client's own are lies."""

_BCRYPT_COST = 5
"""2^5 rounds, about 1 ms. nginx checks the password on every request, in its event loop; the password is generated
with 190 random bits, which no guessing reaches at any cost."""

_BCRYPT_BYTES = 72
"""bcrypt ignores what comes after."""

_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_BCRYPT_BASE64 = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


class _Conf(Template):
    """`@{name}` instead of `${name}`, which is nginx's own."""

    delimiter = "@"


_NGINX = _Conf("""\
daemon off;
pid /tmp/nginx.pid;
error_log stderr warn;
# A fixed number: `auto` counts the machine's cores, not the container's share of them.
worker_processes 2;

events {
    worker_connections 2048;
}

http {
    # All that nginx writes; the root file system is read-only.
    client_body_temp_path /tmp/client_body;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;

    # A failed login is logged without its name: people paste passwords there. Paths without their arguments.
    map $status $known_user {
        default $remote_user;
        401 "";
    }
    log_format access escape=json
        '{"time":"$time_iso8601","client":"$remote_addr","user":"@{logged_user}","method":"$request_method",'
        '"path":"$uri","status":$status,"received":$request_length,"sent":$bytes_sent,"seconds":$request_time,'
        '"upstream":"$upstream_addr","upstream_status":"$upstream_status",'
        '"upstream_seconds":"$upstream_response_time"}';
    access_log /dev/stdout access;

    server_tokens off;
    default_type application/octet-stream;
    # Artifacts: of any size, streamed both ways, never spooled here.
    client_max_body_size 0;
    client_body_timeout 3600s;
    send_timeout 3600s;
    # Searches carry long filters and page tokens in their URL.
    client_header_buffer_size 4k;
    large_client_header_buffers 8 32k;
    # Python servers take X_Remote_User for X-Remote-User.
    underscores_in_headers off;
    ignore_invalid_headers on;

    # With the variable in proxy_pass: a server that comes back with another address is found within seconds.
    resolver @{resolver} valid=5s;
    resolver_timeout 5s;

    server {
        listen @{listen_port};
        server_name _;

        # X-Frame-Options is left to MLflow, which leaves it out where notebooks embed a page.
        proxy_hide_header X-Content-Type-Options;
        add_header X-Content-Type-Options nosniff always;
        add_header Referrer-Policy same-origin always;

        # All below is for every location: one that is added later is behind the login too, and streams too.
@{login}
        set $upstream "http://@{upstream}";
        proxy_redirect off;
        proxy_http_version 1.1;
        proxy_request_buffering off;
        proxy_buffering off;
        proxy_max_temp_file_size 0;
        proxy_connect_timeout 5s;
        proxy_read_timeout 3600s;
        proxy_send_timeout 3600s;
        # Another address of the server is tried; what has been sent is never sent again unless it is idempotent.
        proxy_next_upstream error timeout;
        error_page 502 504 @@unavailable;

        proxy_set_header Host $http_host;
        proxy_set_header Connection "";
        # Not appended to what the client says: MLflow opens its assistant to 127.0.0.1.
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header X-Forwarded-Host $http_host;
        proxy_set_header X-Forwarded-Proto $scheme;
@{stripped}

        location = @{health_path} {
            auth_basic off;
            access_log off;
            default_type text/plain;
            return 200 "ok\\n";
        }

        location / {
            proxy_pass $upstream;
        }

        # Over S3, MLflow 3.17 offers its clients URLs of the store that the server signed. They name the store as the
        # server knows it; clients do not reach that, and try for ever. So the offer is taken back.
        location ~ ^/(ajax-)?api/3\\.0/mlflow/server-info$ {
            sub_filter_types application/json;
            sub_filter '"multipart_uploads_enabled":true' '"multipart_uploads_enabled":false';
            sub_filter '"multipart_downloads_enabled":true' '"multipart_downloads_enabled":false';
            proxy_pass $upstream;
        }

        location @@unavailable {
            internal;
            default_type application/json;
            return 503 '{"error_code":"TEMPORARILY_UNAVAILABLE","message":"The MLflow server does not answer."}';
        }
    }
}
""")


@dataclass(frozen=True)
class ProxySettings:
    """What nginx is rendered for.

    Attributes:
        listen_port: TCP port to listen on.
        upstream_host: name or address of the server.
        upstream_port: its TCP port.
        auth: `none` or `basic`.
        htpasswd_path: file of `htpasswd_line`s; empty without `basic`.
        resolver: address of the DNS server that knows `upstream_host`; Docker's own unless given.
    """

    listen_port: int
    upstream_host: str
    upstream_port: int
    auth: str
    htpasswd_path: str
    resolver: str = "127.0.0.11"


def render_nginx(settings: ProxySettings) -> str:
    """A complete nginx.conf, for nginx 1.22 and later without root and with a read-only root but for /tmp.

    It says `daemon off` itself: run `nginx -e stderr -c FILE`, without `-g "daemon off;"`. Which Host headers are
    answered is left to MLflow, whose own check cannot be turned off by going around the proxy.

    Raises:
        ValueError: unknown kind of authentication, no password file, or a value that nginx would take for syntax.
    """
    if settings.auth not in ("none", "basic"):
        raise ValueError(f"auth: must be none or basic (got {settings.auth!r})")
    stripped = list(_IDENTITY_HEADERS)
    login = "        auth_basic off;"
    if settings.auth == "basic":
        path = _plain("htpasswd_path", settings.htpasswd_path)
        login = f'        auth_basic "MLflow";\n        auth_basic_user_file {path};'
        stripped.append("Authorization")  # the password is for the proxy alone
    return _NGINX.substitute(
        listen_port=settings.listen_port,
        upstream=f"{_authority(settings.upstream_host)}:{settings.upstream_port}",
        resolver=_authority(settings.resolver),
        health_path=HEALTH_PATH,
        # Unchecked, it would be whatever a client sent.
        logged_user="$known_user" if settings.auth == "basic" else "",
        login=login,
        stripped="\n".join(f'        proxy_set_header {name} "";' for name in stripped),
    )


def _authority(host: str) -> str:
    """A host as part of a URL: IPv6 in brackets."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return _plain("host", host)
    return f"[{address}]" if address.version == 6 else str(address)  # noqa: PLR2004 - IPv6


def _plain(what: str, value: str) -> str:
    """A value without anything that nginx reads as syntax."""
    if not re.fullmatch(r"[\w./-]+", value, re.ASCII):
        raise ValueError(f"{what}: must be letters, digits and ._/- (got {value!r})")
    return value


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
