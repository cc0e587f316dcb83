"""The template of nginx's configuration, in Jinja: `proxy.render_nginx` fills it in and says what its values are."""

NGINX = """\
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
        "~^/(get-artifact$|model-versions/get-artifact$|{{ artifact_paths }})" "{{ html_policy }}";
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
        location ~ ^{{ prefix }}(?!({{ read_paths }})$) { {{- after_login("@refused_" ~ loop.index) }}
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
