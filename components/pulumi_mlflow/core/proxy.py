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

_NGINX = """\
{%- macro error(code, message) -%}
'{"error_code":"{{ code }}","message":"{{ message }}"}'
{%- endmacro %}
{#- How a request reaches the server. Only `proxy_pass` here: all the rest is inherited. #}
{%- macro server(left_open=False, to="$upstream") %}

{% if auth == "mlflow" %}
            # MLflow 3.17 fails over any other scheme, with 500.
            if ($http_authorization !~* "^Basic ") {
                return 401;
            }
{% if left_open %}
            auth_request /-/mlflow;
{% endif %}
{% endif %}
            proxy_pass {{ to }};
{%- endmacro %}
{#- What is refused, but only to who has passed the login: `return` here would come before it. #}
{%- macro after_login(answer) %}

{% if auth == "mlflow" %}
            if ($http_authorization !~* "^Basic ") {
                return 401;
            }
            auth_request /-/mlflow;
{% endif %}
            try_files /-/none {{ answer }};
{%- endmacro %}
{#- How a request reaches oauth2-proxy: with these headers and no other, without a body. #}
{%- macro login_service(uri, redirect="/") %}

            auth_request off;
            # The question bears the upload's length, though not its body.
            client_max_body_size 0;
            proxy_pass $oidc{{ uri }};
            proxy_read_timeout 30s;
            # For a session's cookies, or a token with all groups of somebody who is in hundreds.
            proxy_buffer_size 64k;
            proxy_buffers 4 64k;
            proxy_busy_buffers_size 128k;
            proxy_pass_request_body off;
            proxy_pass_request_headers off;
            proxy_set_header Host $http_host;
            proxy_set_header Connection "";
            proxy_set_header Content-Length "";
            proxy_set_header Accept $http_accept;
            proxy_set_header Authorization $bearer;
            proxy_set_header Cookie $http_cookie;
            proxy_set_header X-Auth-Request-Redirect {{ redirect }};
            proxy_set_header X-Forwarded-Host $http_host;
            proxy_set_header X-Forwarded-Proto {{ scheme }};
            proxy_set_header X-Real-IP $remote_addr;
{%- endmacro %}
daemon off;
pid {{ pid_path }};
error_log stderr warn;
# A fixed number: `auto` counts the machine's cores, not the container's share of them.
worker_processes 2;

events {
    worker_connections 2048;
}

http {
    # What goes wrong with a request stands in the access log. nginx's own messages would hold its whole line, with
    # arguments: searches, and codes of logins.
    error_log stderr emerg;

    # All that nginx writes; the root file system is read-only.
    client_body_temp_path /tmp/client_body;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;
{% if cache %}
    proxy_cache_path /tmp/cache levels=1 keys_zone=static:1m max_size={{ cache_mb }}m inactive=7d use_temp_path=off;
{% endif %}

    # A failed login is logged without its name: people paste passwords there. Paths without their arguments.
    map $status $known_user {
        default {{ user }};
        401 "";
    }
    log_format access escape=json
        '{"time":"$time_iso8601","client":"$remote_addr","user":"$known_user","method":"$request_method",'
        '"path":"$uri","status":$status,"received":$request_length,"sent":$bytes_sent,"seconds":$request_time,'
        '"upstream":"$upstream_addr","upstream_status":"$upstream_status",'
        '"upstream_seconds":"$upstream_response_time"}';
    access_log /dev/stdout access;

    server_tokens off;
    default_type application/json;
    client_max_body_size {{ body_limit_mb }}m;
    client_body_timeout 3600s;
    send_timeout 3600s;
    # Searches carry long filters and page tokens in their URL.
    client_header_buffer_size 4k;
    large_client_header_buffers 8 32k;
    # Python servers take X_Remote_User for X-Remote-User.
    underscores_in_headers off;
    ignore_invalid_headers on;

    gzip on;
    gzip_comp_level 3;
    gzip_min_length 1k;
    gzip_proxied any;
    gzip_vary on;
    gzip_types application/javascript application/json image/svg+xml text/css text/javascript text/plain;

{% if trusted %}
    # Clients come through these, and only these are believed when they say who the client is.
{% for network in trusted %}
    set_real_ip_from {{ network }};
{% endfor %}
    real_ip_header X-Forwarded-For;
    real_ip_recursive on;

{% endif %}
{% if rate_limit %}
    # By address: a name is known only after the login, and whoever guesses passwords may send any.
    limit_req_zone $binary_remote_addr zone=clients:10m rate={{ rate_limit }}r/s;
{% if anonymous_limit %}
    map "$http_authorization$http_cookie" $anonymous {
        default "";
        "" $binary_remote_addr;
    }
    limit_req_zone $anonymous zone=anonymous:10m rate={{ anonymous_limit }}r/s;
{% endif %}
    limit_req_status 429;

{% endif %}
    # MLflow refuses what comes from another site, and takes its own pages for another site unless they are on
    # localhost. A page's own origin is thus taken away; any other goes on to MLflow's check.
    map "$http_origin $http_host" $foreign_origin {
        default $http_origin;
        "~^http{{ "s" if secure else "s?" }}://(\\S+) \\1$" "";
    }
    # The browser adds a login by itself, and says who made it do so.
    map "$request_method $http_sec_fetch_site" $cross_site {
        default "";
        "~^(POST|PUT|PATCH|DELETE) cross-site$" yes;
    }
    map $uri $policy {
        default "{{ ui_policy }}";
{% if html_policy %}
        "~^/(get-artifact|model-versions/get-artifact|{{ artifact_paths }})" "{{ html_policy }}";
{% endif %}
        "~^/((ajax-)?api/|get-artifact|model-versions/get-artifact)" "{{ data_policy }}";
    }
{% if cache %}
    # A file whose name holds its hash never changes.
    map "$status $request_uri" $cache_control {
        default $upstream_http_cache_control;
        "~^200 {{ hashed }}" "private, max-age=31536000, immutable";
    }
    # Of the path as the client sent it, which is the server's to read.
    map $request_uri $not_kept {
        default 1;
        "~^{{ hashed }}" "";
    }
{% endif %}
{% if oidc or auth == "mlflow" %}
    map "$status $sent_http_www_authenticate" $challenge {
        default "";
        "401 " '{{ challenge }}';
    }
{% endif %}
{% if oidc %}
    # Of other forms oauth2-proxy would write the content to its log.
    map $http_authorization $bearer {
        default "";
        "~^Bearer [\\w.-]+$" $http_authorization;
    }
    # A person's browser is sent to the login; a program is told that it has none.
    map "$request_method $http_accept" $page {
        default "";
        "~^GET .*text/html" yes;
    }
{% if auth == "oidc-mlflow" %}
    # What the verified token says, without its signature.
    map $auth_token $claims {
        default "";
        "~^Bearer [\\w-]+\\.(?<token_claims>[\\w-]+)\\.[\\w-]+$" $token_claims;
    }
{% endif %}
    # Where a login returns to: never what browsers take for another host.
    map $request_uri $returns_to {
        default /;
        "~^/[^/\\\\\\\\]" $request_uri;
    }
{% endif %}

    map "$request_method $request_uri" $writes {
        default yes;
        "~{{ reads }}" "";
    }

    # With the variable in proxy_pass: a server that comes back with another address is found within seconds.
    resolver {{ resolver }} valid=5s;
    resolver_timeout 5s;

    server {
        listen {{ listen_port }}{{ " ssl" if tls }};
        server_name _;
{% if tls %}
        ssl_certificate {{ certificate_path }};
        ssl_certificate_key {{ key_path }};
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_ciphers {{ ciphers }};
        ssl_session_cache shared:tls:2m;
        ssl_session_tickets off;
        # Plain HTTP on this port.
        error_page 497 =308 https://$http_host$request_uri;
{% endif %}

        # X-Frame-Options is left to MLflow, which leaves it out where notebooks embed a page.
        proxy_hide_header X-Content-Type-Options;
{% if cache %}
        proxy_hide_header Cache-Control;
        add_header Cache-Control $cache_control always;
{% endif %}
        add_header X-Content-Type-Options nosniff always;
        add_header Referrer-Policy same-origin always;
        add_header Content-Security-Policy $policy always;
        add_header Permissions-Policy "{{ permissions }}" always;
{% if hsts %}
        add_header Strict-Transport-Security "max-age=31536000" always;
{% endif %}
{% if oidc or auth == "mlflow" %}
        add_header WWW-Authenticate $challenge always;
{% endif %}

        # A step up as Windows writes it, which no path of MLflow's has. MLflow takes it for a name, and 500 is what it
        # answers where the store (MinIO) does not.
        if ($request_uri ~* "\\.\\.(%5c|\\x5c)") {
            return 400 {{ error("INVALID_PARAMETER_VALUE", "A path must not have `..` before a backslash.") }};
        }
        if ($cross_site) {
            return 403 {{ error("PERMISSION_DENIED", "Another site made your browser ask for this.") }};
        }
        set $closed "";
        if (-f {{ closed_path }}) {
            set $closed $writes;
        }
        if ($closed) {
            return 503 {{ error("TEMPORARILY_UNAVAILABLE", closed) }};
        }
{% if rate_limit %}
        limit_req zone=clients burst={{ rate_limit }} nodelay;
{% if anonymous_limit %}
        limit_req zone=anonymous burst={{ anonymous_limit }} nodelay;
{% endif %}
{% endif %}

        # All below is for every location: one that is added later is behind the login too, and streams too.
{% if auth == "basic" %}
        auth_basic "MLflow";
        auth_basic_user_file {{ htpasswd_path }};
{% else %}
        auth_basic off;
{% endif %}
{% if oidc %}
        auth_request /-/oidc;
        auth_request_set $auth_user $upstream_http_x_auth_request_email;
{% if auth == "oidc-mlflow" %}
        auth_request_set $auth_groups $upstream_http_x_auth_request_groups;
        auth_request_set $auth_token $upstream_http_authorization;
{% endif %}
        error_page 401 = @login;
        set $oidc "http://{{ oidc }}";
{% endif %}
        set $upstream "http://{{ upstream }}";
{% if jobs %}
        set $jobs "http://{{ jobs }}";
{% endif %}
        proxy_redirect off;
        proxy_http_version 1.1;
        proxy_request_buffering off;
        proxy_buffering off;
        # For the headers of an answer.
        proxy_buffer_size 16k;
        proxy_buffers 8 16k;
        proxy_max_temp_file_size 0;
        proxy_connect_timeout 5s;
        proxy_read_timeout 3600s;
        proxy_send_timeout 3600s;
        # Another address of the server is tried; what has been sent is never sent again unless it is idempotent.
        proxy_next_upstream error timeout;
        # Without Retry-After: MLflow's client would try 7 times at that distance and give up, where by itself it waits
        # longer each time, for minutes.
        error_page 413 @too_large;
        error_page 429 @too_many;
        error_page 500 502 504 = @unavailable;

        proxy_set_header Host $http_host;
        proxy_set_header Connection "";
        proxy_set_header Origin $foreign_origin;
        # Not appended to what the client says: MLflow opens its assistant to 127.0.0.1.
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header X-Forwarded-Host $http_host;
        proxy_set_header X-Forwarded-Proto {{ scheme }};
{% for name, value in headers.items() %}
        proxy_set_header {{ name }} {{ value }};
{% endfor %}

        location = {{ health_path }} {
            auth_basic off;
{% if oidc %}
            auth_request off;
{% endif %}
            access_log off;
            default_type text/plain;
            return 200 "ok\\n";
        }

        # A constant: the server is not asked, so that nothing of it can be learned here.
        location = {{ clients_health_path }} {
            auth_basic off;
{% if oidc %}
            auth_request off;
{% endif %}
            access_log off;
            default_type text/html;
            return 200 "OK";
        }

        # Artifacts: of any size, streamed both ways, never spooled or changed here.
        location ~ ^/(ajax-)?api/2\\.0/mlflow(-artifacts/artifacts/|/upload-artifact$) {
            client_max_body_size 0;
            gzip off;{{ server() }}
        }

{% if not multipart or auth == "mlflow" %}
        location ~ ^/(ajax-)?api/3\\.0/mlflow/server-info$ {
{% if not multipart %}
            # Over S3, MLflow 3.17 offers its clients URLs of the store that the server signed. They name the store as
            # the server knows it; clients do not reach that, and try for ever. So the offer is taken back.
            sub_filter_types application/json;
            sub_filter '"multipart_uploads_enabled":true' '"multipart_uploads_enabled":false';
            sub_filter '"multipart_downloads_enabled":true' '"multipart_downloads_enabled":false';
{% endif %}
{{- server(left_open=True) }}
        }

{% endif %}
{% if cache %}
        # Kept here and in the browser. Under the name that the client sent, so never an answer to another path.
        location ~ "^{{ hashed }}" {
            proxy_cache static;
            proxy_cache_key $request_uri;
            proxy_cache_valid 200 7d;
            proxy_no_cache $not_kept;
            proxy_cache_bypass $not_kept;
            proxy_cache_lock on;
            proxy_ignore_headers Cache-Control Expires Set-Cookie Vary X-Accel-Expires;
            proxy_buffering on;{{ server(left_open=True) }}
        }

{% endif %}
{% if auth == "mlflow" %}
        # What MLflow itself leaves open.
        location ~ ^/(static|favicon\\.ico|health) { {{- server(left_open=True) }}
        }

        # A path that MLflow answers only with a right login, at no other cost.
        location = /-/mlflow {
            internal;
            client_max_body_size 0;
            proxy_pass $upstream/version;
            proxy_read_timeout 30s;
            proxy_pass_request_body off;
            proxy_pass_request_headers off;
            proxy_set_header Host $http_host;
            proxy_set_header Connection "";
            proxy_set_header Content-Length "";
            proxy_set_header Authorization $http_authorization;
        }

{% endif %}
{% if not multipart %}
        # With artifact mode `direct` the server would sign a URL for the download button of its pages. That names the
        # store as the server knows it, which browsers need not reach. At 400 the page takes the file from the server.
        location ~ ^/(ajax-)?api/2\\.0/mlflow/artifacts/presigned-download-url$ { {{- after_login("@unsigned") }}
        }
        location @unsigned {
            internal;
            return 400 {{ error("INVALID_PARAMETER_VALUE", "The server itself sends files: it signs no URL.") }};
        }

{% endif %}
{% for prefix, why in refused.items() %}
        location ^~ {{ prefix }} { {{- after_login("@refused_" ~ loop.index) }}
        }
        location @refused_{{ loop.index }} {
            internal;
            return 403 {{ error("PERMISSION_DENIED", why) }};
        }

{% endfor %}
{% if jobs %}
        # What starts and ends jobs, which one server alone runs.
        location ~ {{ job_paths }} { {{- server(to="$jobs") }}
        }

{% endif %}
        location / { {{- server() }}
        }

{% if oidc %}
        location = /-/oidc {
            internal;{{ login_service("/oauth2/auth") }}
        }

        location = /oauth2/callback { {{- login_service("/oauth2/callback$is_args$args") }}
        }

        # The button and the looks of oauth2-proxy's error page.
        location = /oauth2/sign_in { {{- login_service("/oauth2/start") }}
        }
        location ~ ^(/oauth2/static/[\\w./-]+)$ { {{- login_service("$1") }}
        }

        location = {{ logout_path }} { {{- login_service("/oauth2/sign_out", "/-/logged-out") }}
        }
        location = /-/logged-out {
            auth_request off;
            default_type text/html;
            return 200 '<!doctype html><title>MLflow</title>
                <p>You are logged out of MLflow, and maybe not of your identity provider. <a href="/">Log in again</a>';
        }

        location @login {
            if ($page = "") {
                return 401 {{ error("UNAUTHENTICATED", "No valid login. A program sets MLFLOW_TRACKING_TOKEN to a " ~
                    "token of the identity provider; a browser logs in at /.") }};
            }{{ login_service("/oauth2/start", "$returns_to") }}
        }

{% endif %}
        location @too_large {
            internal;
            return 413 {{ error("INVALID_PARAMETER_VALUE", "All but artifacts may have " ~ body_limit_mb ~ " MiB.") }};
        }
        location @too_many {
            internal;
            return 429 {{ error("REQUEST_LIMIT_EXCEEDED", "Your address may ask " ~ rate_limit ~ " times a second" ~
                (", and without a login " ~ anonymous_limit if anonymous_limit else "") ~ ".") }};
        }
        location @unavailable {
            internal;
            return 503 {{ error("TEMPORARILY_UNAVAILABLE", "The MLflow server does not answer.") }};
        }
    }
}
"""

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
).from_string(_NGINX)


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
        refused=outgoing.REFUSED_PATHS,
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
