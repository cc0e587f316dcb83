"""What nginx is told, by its structure; that nginx itself takes it is shown by the Docker tests."""

import importlib.util
import json
import re
import sys
from pathlib import Path

import bcrypt
import mlflow
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pulumi_mlflow.contracts import AuthMode
from pulumi_mlflow.core import outgoing, proxy

ports = st.integers(1, 65535)
SECRET = "sentinel0123456789"

every = st.fixed_dictionaries(
    {
        "listen_port": ports,
        "upstream_port": ports,
        "auth": st.sampled_from(proxy.MODES),
        "rate_limit": st.sampled_from([0, 7]),
        "cache": st.booleans(),
        "multipart": st.booleans(),
        "hsts": st.booleans(),
        "jobs_host": st.sampled_from(["", "dev-jobs"]),
        "jobs_port": ports,
        "scheme": st.sampled_from(["", "http", "https"]),
        "trusted": st.sampled_from([[], ["10.0.0.0/8"]]),
    }
)
tls = st.sampled_from([{}, {"certificate_path": "/run/tls.crt", "key_path": "/run/tls.key"}])


def settings(**changes):
    values = {
        "listen_port": 8080,
        "upstream_host": "dev-tracking",
        "upstream_port": 5000,
        "auth": "basic",
        "htpasswd_path": "/run/pulumi-mlflow/htpasswd",
        "oidc_host": "dev-oidc",
        "oidc_port": 4180,
        "proxy_secret": SECRET,
    }
    return proxy.ProxySettings(**{**values, **changes})


def parse(text):
    """nginx's syntax: a list of (words, children), children being None for a simple directive."""
    tokens = re.findall(r"#[^\n]*|'[^']*'|\"(?:\\.|[^\"])*\"|[{};]|[^\s{};]+", text)
    words, stack = [], [[]]
    for token in tokens:
        if token.startswith("#"):
            continue
        if token == "{":
            children = []
            stack[-1].append((words, children))
            stack.append(children)
            words = []
        elif token == "}":
            assert not words, f"'}}' after {words}: a ';' is missing"
            stack.pop()
        elif token == ";":
            stack[-1].append((words, None))
            words = []
        else:
            words = [*words, token]
    assert len(stack) == 1, "braces are not balanced"
    assert not words, "the last ';' is missing"
    return stack[0]


def block(tree, *name):
    found = [children for words, children in tree if words == list(name)]
    assert len(found) == 1, f"{name}: {len(found)} of them"
    return found[0]


def values(tree, name):
    return [words[1:] for words, children in tree if words[0] == name and children is None]


def location(text, *name):
    return block(server_of(text), "location", *name)


def server_of(text):
    return block(block(parse(text), "http"), "server")


def headers(text):
    return dict(values(server_of(text), "proxy_set_header"))


@hypothesis_settings(max_examples=30)
@given(every, tls)
def test_every_block_is_closed_and_every_value_filled_in(changes, secure):
    text = proxy.render_nginx(settings(**changes, **secure))
    server = server_of(text)
    assert values(server, "listen") == [[str(changes["listen_port"]), *(["ssl"] if secure else [])]]
    upstream = f'"http://dev-tracking:{changes["upstream_port"]}"'
    assert ["$upstream", upstream] in values(server, "set")
    assert "{{" not in text
    assert "{%" not in text
    check(parse(text))


def check(tree):
    """No directive stands twice in a block."""
    repeatable = {"proxy_set_header", "proxy_hide_header", "add_header", "sub_filter", "set"}
    repeatable |= {"error_page", "auth_request_set", "set_real_ip_from"}
    once = [w[0] for w, children in tree if children is None and w[0] not in repeatable]
    assert len(set(once)) == len(once), once
    for _, children in tree:
        check(children or [])


def test_modes_are_those_of_the_contract():
    assert list(proxy.MODES) == [mode.value for mode in AuthMode]


def test_runs_without_root_on_a_read_only_root():
    tree = parse(proxy.render_nginx(settings()))
    http = block(tree, "http")
    assert values(tree, "daemon") == [["off"]]
    assert values(tree, "user") == []
    assert values(tree, "error_log") == [["stderr", "warn"]]
    written = values(tree, "pid") + [
        value for words, _ in http if words[0].endswith("_temp_path") for value in [words[1:]]
    ]
    assert len(written) == 6
    assert all(path.startswith("/tmp/") for [path] in written)
    assert values(http, "access_log") == [["/dev/stdout", "access"]]


def test_finds_the_server_at_its_new_address():
    text = proxy.render_nginx(settings(resolver="10.0.0.2"))
    assert values(block(parse(text), "http"), "resolver") == [["10.0.0.2", "valid=5s"]]
    # Only a variable makes nginx resolve while it runs.
    assert values(location(text, "/"), "proxy_pass") == [["$upstream"]]


def test_artifacts_of_any_size_are_streamed():
    text = proxy.render_nginx(settings())
    here = server_of(text)
    artifacts = location(text, "~", ARTIFACTS)
    assert values(artifacts, "client_max_body_size") == [["0"]]
    assert values(artifacts, "gzip") == [["off"]]
    assert {
        name: values(here, name)[0][0]
        for name in (
            "proxy_request_buffering",
            "proxy_buffering",
            "proxy_max_temp_file_size",
            "proxy_http_version",
            "proxy_read_timeout",
            "proxy_send_timeout",
            "proxy_connect_timeout",
        )
    } == {
        "proxy_request_buffering": "off",
        "proxy_buffering": "off",
        "proxy_max_temp_file_size": "0",
        "proxy_http_version": "1.1",
        "proxy_read_timeout": "3600s",
        "proxy_send_timeout": "3600s",
        "proxy_connect_timeout": "5s",
    }


ARTIFACTS = r"^/(ajax-)?api/2\.0/mlflow(-artifacts/artifacts/|/upload-artifact$)"


@pytest.mark.parametrize(
    ("path", "unlimited"),
    [
        ("/api/2.0/mlflow-artifacts/artifacts/1/abc/artifacts/model.bin", True),
        ("/ajax-api/2.0/mlflow-artifacts/artifacts/1/x", True),
        ("/ajax-api/2.0/mlflow/upload-artifact", True),
        ("/api/2.0/mlflow-artifacts/mpu/create/1/x", False),
        ("/api/2.0/mlflow/runs/log-batch", False),
        ("/api/2.0/mlflow/upload-artifacts-of-mine", False),
        ("/v1/traces", False),
        ("/x/api/2.0/mlflow-artifacts/artifacts/1", False),
    ],
)
def test_only_artifacts_may_be_of_any_size(path, unlimited):
    assert bool(re.search(ARTIFACTS, path)) == unlimited
    http = block(parse(proxy.render_nginx(settings())), "http")
    assert values(http, "client_max_body_size") == [[f"{proxy.BODY_LIMIT_MB}m"]]


@pytest.mark.parametrize("auth", proxy.MODES)
def test_what_a_client_says_of_itself_is_not_passed_on(auth):
    sent = headers(proxy.render_nginx(settings(auth=auth)))
    names = {"X-Remote-User", "X-Forwarded-User", "X-Auth-Request-User", "Remote-User"}
    ours = {
        "X-Mlflow-User": "$auth_user",
        "X-Mlflow-Groups": "$auth_groups",
        "X-Mlflow-Claims": "$claims",
        "X-Mlflow-Groups-Claim": "Z3JvdXBz",
        "X-Mlflow-Proxy-Secret": SECRET,
    }
    for name in names | set(ours):
        assert sent[name] == (ours.get(name, '""') if auth == "oidc-mlflow" else '""')
    # A login is seen by nobody but him who checks it.
    assert sent.get("Authorization") == (None if auth in ("none", "mlflow") else '""')
    assert sent.get("Cookie") == ('""' if auth in proxy.OIDC_MODES else None)
    assert sent["Host"] == "$http_host"
    assert sent["X-Forwarded-For"] == sent["X-Real-IP"] == "$remote_addr"
    assert sent["X-Forwarded-Proto"] == "$scheme"
    # With underscores MLflow's Python would read them as the same headers.
    assert values(
        block(parse(proxy.render_nginx(settings(auth=auth))), "http"), "underscores_in_headers"
    ) == [["off"]]


def test_nothing_is_retried_that_changes_something():
    here = server_of(proxy.render_nginx(settings()))
    assert values(here, "proxy_next_upstream") == [["error", "timeout"]]


def test_basic():
    text = proxy.render_nginx(settings())
    here = server_of(text)
    assert values(here, "auth_basic") == [['"MLflow"']]
    assert values(here, "auth_basic_user_file") == [["/run/pulumi-mlflow/htpasswd"]]
    assert headers(text)["Authorization"] == '""'


def test_none():
    text = proxy.render_nginx(settings(auth="none", htpasswd_path=""))
    assert values(server_of(text), "auth_basic") == [["off"]]
    assert "Authorization" not in headers(text)
    # Nobody checked the name that a client sends along.
    assert "remote_user" not in text


PLAIN = {"proxy_pass", "sub_filter", "sub_filter_types", "client_max_body_size", "gzip"}
CACHED = {"proxy_cache", "proxy_cache_key", "proxy_cache_valid", "proxy_cache_lock"}
CACHED |= {"proxy_ignore_headers", "proxy_buffering", "proxy_no_cache", "proxy_cache_bypass"}
LOGINS = {"/-/oidc", "/oauth2/callback", "/oauth2/sign_in", "/-/logout", "@login"}


@hypothesis_settings(max_examples=30)
@given(every)
def test_everything_is_behind_the_login(changes):
    """A location that reaches the server changes nothing that it inherits: neither login nor headers."""
    auth = changes["auth"]
    server = server_of(proxy.render_nginx(settings(**changes)))
    for words, children in server:
        if words[0] != "location":
            continue
        name = words[-1]
        inside = {w[0] for w, c in children if c is None}
        targets = {target for [target] in values(children, "proxy_pass")}
        assert values(children, "add_header") == []
        if targets & {"$upstream", "$jobs"}:
            allowed = PLAIN | CACHED | ({"auth_request"} if auth == "mlflow" else set())
            assert inside <= allowed
            # `none` and a server of its own users apart, the login is the server's block's.
            assert ["off"] not in values(children, "auth_request")
            demanded = [c for w, c in children if w[:2] == ["if", "($http_authorization"]]
            assert len(demanded) == (auth == "mlflow")
        elif name == "/-/mlflow":
            assert "internal" in inside
            assert targets == {"$upstream/version"}
        elif name in outgoing.REFUSED_PATHS or name.endswith("/presigned-download-url$"):
            # Answered after the login: `return` here would come before it.
            login = {"auth_request", "if"} if auth == "mlflow" else set()
            assert {w[0] for w, _ in children} == {"try_files"} | login
        elif targets:
            assert auth in proxy.OIDC_MODES
            assert name in LOGINS or name.startswith("^(/oauth2/static/")
            assert all(target.startswith("$oidc") for target in targets)
        else:
            answers = values(children, "return")
            assert len(answers) == 1
            open_to_all = {proxy.HEALTH_PATH, proxy.CLIENTS_HEALTH_PATH, "/-/logged-out"}
            assert name in open_to_all or "internal" in inside
    internal = block(server, "location", "=", "/-/oidc") if auth in proxy.OIDC_MODES else []
    assert values(internal, "internal") == ([[]] if internal else [])


def test_the_offer_of_presigned_transfers_stands_only_where_clients_reach_the_store():
    info = ("~", r"^/(ajax-)?api/3\.0/mlflow/server-info$")
    taken_back = values(location(proxy.render_nginx(settings()), *info), "sub_filter")
    assert len(taken_back) == 2
    assert "sub_filter" not in proxy.render_nginx(settings(multipart=True))
    both = settings(multipart=True, auth="mlflow")
    assert values(location(proxy.render_nginx(both), *info), "sub_filter") == []


def test_a_server_that_is_away_is_said_in_json():
    here = location(proxy.render_nginx(settings()), "@unavailable")
    [[_, body]] = values(here, "return")
    assert json.loads(body.strip("'"))["error_code"] == "TEMPORARILY_UNAVAILABLE"
    http = block(parse(proxy.render_nginx(settings())), "http")
    assert values(http, "default_type") == [["application/json"]]
    assert values(server_of(proxy.render_nginx(settings())), "error_page") == [
        ["413", "@too_large"],
        ["429", "@too_many"],
        ["500", "502", "504", "=", "@unavailable"],
    ]


def added(**changes):
    """Headers that every answer has: name → value."""
    text = proxy.render_nginx(settings(**changes))
    return {words[0]: words[1] for words in values(server_of(text), "add_header")}


def test_security_headers():
    assert set(added()) == {
        "X-Content-Type-Options",
        "Referrer-Policy",
        "Content-Security-Policy",
        "Permissions-Policy",
    }
    secure = {"certificate_path": "/run/tls.crt", "key_path": "/run/tls.key"}
    assert "Strict-Transport-Security" not in added(**secure)
    assert "Strict-Transport-Security" in added(hsts=True, **secure)
    assert "Strict-Transport-Security" not in added(hsts=True)


@pytest.mark.parametrize(
    ("path", "is_ui"),
    [
        ("/", True),
        ("/static-files/lib/notebook-trace-renderer/index.html", True),
        ("/get-artifact", False),
        ("/model-versions/get-artifact", False),
        ("/api/2.0/mlflow-artifacts/artifacts/1/x.html", False),
        ("/ajax-api/2.0/mlflow/get-trace-artifact", False),
    ],
)
def test_an_artifact_that_is_opened_as_a_page_runs_nothing(path, is_ui):
    policies = block(block(parse(proxy.render_nginx(settings())), "http"), "map", "$uri", "$policy")
    [(ui, _), (pattern, data)] = [(words[0], words[1]) for words, _ in policies]
    assert ui == "default"
    assert bool(re.search(pattern.strip('"~'), path)) != is_ui
    assert data.strip('"').startswith("sandbox; default-src 'none';")


CDNS = ["https://cdn.jsdelivr.net", "https://cdn.bokeh.org:8443"]
ARTIFACT_URLS = [
    "/get-artifact",
    "/model-versions/get-artifact",
    "/ajax-api/2.0/mlflow-artifacts/artifacts/1/x/artifacts/chart.html",
    "/api/2.0/mlflow-artifacts/artifacts/1/x/artifacts/chart.html",
    "/ajax-api/2.0/mlflow/logged-models/m-1/artifacts/files",
    "/ajax-api/3.0/mlflow/get-trace-artifact",
]
OTHER_URLS = [
    "/",
    "/static-files/x",
    "/api/2.0/mlflow/runs/search",
    "/graphql",
    "/get-artifacts.html/",
]


def policy_of(text, path):
    """As nginx's map finds it: the first expression that fits, else the default."""
    http = block(parse(text), "http")
    found = {words[0].strip('"'): words[1] for words, _ in block(http, "map", "$uri", "$policy")}
    for pattern, policy in found.items():
        if pattern.startswith("~") and re.search(pattern[1:], path):
            return policy
    return found["default"]


def test_html_artifacts_may_load_from_what_is_named_and_stay_in_their_sandbox():
    plain = proxy.render_nginx(settings())
    text = proxy.render_nginx(settings(html_sources=CDNS))
    for path in ARTIFACT_URLS:
        parts = {p.split()[0]: p.split()[1:] for p in policy_of(text, path).strip('"').split("; ")}
        assert parts["sandbox"] == ["allow-scripts"]
        assert parts["default-src"] == ["'none'"]
        for kind in ("script-src", "style-src", "font-src", "img-src"):
            assert set(CDNS) <= set(parts[kind])
        assert "connect-src" not in parts
        assert "allow-scripts" not in policy_of(plain, path)
    for path in OTHER_URLS:
        assert policy_of(text, path) == policy_of(plain, path)


@pytest.mark.parametrize(
    "source",
    ["http://a.example", "https://*.a.example", "https://a.example/x", "*", "'self'", "data:",
     "https://a.example; script-src *", 'https://a.example"', "https://localhost", ""],
)  # fmt: skip
def test_a_source_that_is_no_https_origin_is_refused(source):
    with pytest.raises(ValueError, match="html_sources: must be https"):
        proxy.render_nginx(settings(html_sources=[source]))


def test_only_files_named_by_a_hash_are_kept():
    [pattern] = [
        words[2].strip('"')
        for words, _ in server_of(proxy.render_nginx(settings(cache=True)))
        if words[:2] == ["location", "~"] and "static" in words[2]
    ]
    ours = Path(importlib.util.find_spec("mlflow").origin).parent / "server" / "js" / "build"
    files = [f"/static-files/{f.relative_to(ours)}" for f in ours.rglob("*") if f.is_file()]
    kept = [f for f in files if re.search(pattern, f)]
    assert len(kept) > 0.95 * len(files) > 100
    total = sum((ours / f.removeprefix("/static-files/")).stat().st_size for f in kept)
    assert total < proxy.CACHE_MB << 20
    for other in ("/static-files/index.html", "/api/2.0/mlflow/x.12345678.js", "/", "/version"):
        assert not re.search(pattern, other)
    assert "proxy_cache" not in proxy.render_nginx(settings(cache=False))


@pytest.mark.parametrize("auth", proxy.MODES)
def test_health_is_a_constant_for_everybody(auth):
    children = location(proxy.render_nginx(settings(auth=auth)), "=", "/health")
    assert values(children, "return") == [["200", '"OK"']]
    assert values(children, "proxy_pass") == []
    assert values(children, "auth_basic") == [["off"]]
    assert values(children, "auth_request") == ([["off"]] if auth in proxy.OIDC_MODES else [])


@pytest.mark.parametrize("multipart", [False, True])
def test_the_pages_get_a_signed_url_only_where_browsers_reach_the_store(multipart):
    text = proxy.render_nginx(settings(multipart=multipart))
    patterns = [w[2] for w, _ in server_of(text) if w[:2] == ["location", "~"]]
    asked = "/ajax-api/2.0/mlflow/artifacts/presigned-download-url"
    found = [pattern for pattern in patterns if re.search(pattern, asked)]
    assert len(found) == (not multipart)
    if not multipart:
        [[status, body]] = values(location(text, "@unsigned"), "return")
        # At 400 MLflow's page asks the server for the file itself.
        assert (status, json.loads(body.strip("'"))["error_code"]) == (
            "400",
            "INVALID_PARAMETER_VALUE",
        )


@pytest.mark.parametrize("auth", proxy.MODES)
def test_the_assistant_is_refused_after_the_login(auth):
    text = proxy.render_nginx(settings(auth=auth))
    [prefix] = outgoing.REFUSED_PATHS
    children = location(text, "^~", prefix)
    [[_, named]] = values(children, "try_files")
    [[status, body]] = values(location(text, named), "return")
    assert status == "403"
    assert json.loads(body.strip("'"))["message"] == outgoing.REFUSED_PATHS[prefix]


def test_rate_limit():
    text = proxy.render_nginx(settings(rate_limit=50))
    limits = values(server_of(text), "limit_req")
    assert limits == [
        ["zone=clients", "burst=50", "nodelay"],
        ["zone=anonymous", "burst=50", "nodelay"],
    ]
    # By an address, which nobody chooses: not by a name or a header.
    http = block(parse(text), "http")
    assert values(http, "limit_req_zone") == [
        ["$binary_remote_addr", "zone=clients:10m", "rate=50r/s"],
        ["$anonymous", "zone=anonymous:10m", "rate=50r/s"],
    ]
    key = block(http, "map", '"$http_authorization$http_cookie"', "$anonymous")
    assert [words for words, _ in key] == [["default", '""'], ['""', "$binary_remote_addr"]]
    assert "limit_req " not in proxy.render_nginx(settings(rate_limit=0))


def test_who_has_a_login_is_limited_generously_and_who_has_none_strictly():
    http = block(parse(proxy.render_nginx(settings())), "http")
    rates = [zone[-1] for zone in values(http, "limit_req_zone")]
    # Over what the fastest server behind it could answer: 7,700 a second.
    assert rates == ["rate=10000r/s", "rate=100r/s"]


@pytest.mark.parametrize("changes", [{"auth": "none"}, {"shared_address": True}])
def test_nobody_is_limited_as_anonymous_where_all_are(changes):
    text = proxy.render_nginx(settings(**changes))
    assert values(server_of(text), "limit_req") == [["zone=clients", "burst=10000", "nodelay"]]


def test_the_log_has_no_secret():
    http = block(parse(proxy.render_nginx(settings())), "http")
    logged = set(re.findall(r"\$\w+", "".join(values(http, "log_format")[0])))
    assert not logged & {"$request", "$request_uri", "$args", "$query_string", "$remote_user"}
    assert not [name for name in logged if name.startswith(("$http_", "$arg_", "$cookie_"))]
    assert values(block(http, "map", "$status", "$known_user"), "401") == [['""']]
    # nginx's own messages hold the request's line, with its arguments.
    assert values(http, "error_log") == [["stderr", "emerg"]]


def test_ipv6():
    text = proxy.render_nginx(settings(upstream_host="fd00::5", resolver="fd00::1"))
    assert 'set $upstream "http://[fd00::5]:5000";' in text
    assert "resolver [fd00::1] valid=5s;" in text


@pytest.mark.parametrize(
    "changes",
    [
        {"auth": "ldap"},
        {"auth": "oidc", "oidc_host": ""},
        {"auth": "oidc-mlflow", "proxy_secret": ""},
        {"auth": "oidc-mlflow", "proxy_secret": 'sentinel"; deny all; #'},
        {"certificate_path": "/a"},
        {"rate_limit": -1},
        {"htpasswd_path": ""},
        {"htpasswd_path": "/a;b"},
        {"htpasswd_path": "/a b"},
        {"upstream_host": "x; include /etc/passwd"},
        {"upstream_host": "$host"},
        {"upstream_host": ""},
        {"resolver": "1.1.1.1 8.8.8.8"},
    ],
)
def test_syntax_in_a_value_is_refused(changes):
    with pytest.raises(ValueError, match=r"auth|host|_path|_secret|rate_limit") as caught:
        proxy.render_nginx(settings(**changes))
    assert "sentinel" not in str(caught.value)


secrets = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=72
).filter(lambda value: len(value.encode()) <= 72)
users = st.text("abcXYZ0189 .-_@é漢", min_size=1, max_size=20)


def digest_of(line):
    return line.partition(":")[2].replace("$2y$", "$2b$", 1).encode()


@hypothesis_settings(max_examples=40)
@given(users, secrets, st.text(min_size=1).filter(lambda seed: seed.isprintable()))
def test_htpasswd(username, password, seed):
    line = proxy.htpasswd_line(username, password, seed)
    assert re.fullmatch(re.escape(username) + r":\$2y\$05\$[./A-Za-z0-9]{53}", line)
    assert bcrypt.checkpw(password.encode(), digest_of(line))
    assert line == proxy.htpasswd_line(username, password, seed)
    assert password not in line.partition(":")[2] or len(password) < 8


@hypothesis_settings(max_examples=20)
@given(secrets, secrets)
def test_htpasswd_opens_to_no_other_password(password, other):
    if password != other:
        assert not bcrypt.checkpw(
            other.encode(), digest_of(proxy.htpasswd_line("u", password, "seed"))
        )


def salt_of(line):
    return line.partition(":")[2][7:29]


def test_the_salt_is_the_seeds_and_the_users_but_not_the_passwords():
    base = salt_of(proxy.htpasswd_line("u", "password", "seed"))
    assert salt_of(proxy.htpasswd_line("u", "other", "seed")) == base
    assert salt_of(proxy.htpasswd_line("u", "password", "seed2")) != base
    assert salt_of(proxy.htpasswd_line("v", "password", "seed")) != base


@pytest.mark.skipif(sys.platform != "linux", reason="other C libraries have no bcrypt")
@pytest.mark.parametrize("password", ["aB9" * 10, "p@ss:wörd %", "x" * 72])
def test_the_c_library_takes_it_as_nginx_would(password):
    import ctypes
    import ctypes.util

    library = ctypes.util.find_library("crypt")
    if not library:
        pytest.skip("this machine has no libcrypt")
    crypt = ctypes.CDLL(library).crypt
    crypt.restype = ctypes.c_char_p
    digest = proxy.htpasswd_line("u", password, "seed").partition(":")[2].encode()
    assert crypt(password.encode(), digest) == digest
    assert crypt(b"other", digest) != digest


@pytest.mark.parametrize("password", ["", "x" * 73, "é" * 37, "a\0b"])
def test_a_password_that_bcrypt_would_cut_is_refused(password):
    with pytest.raises(ValueError, match="password") as caught:
        proxy.htpasswd_line("u", password, "seed")
    assert not password or password not in str(caught.value)


@pytest.mark.parametrize("username", ["", "a:b", "a\nb", "#a", "a\0"])
def test_a_username_that_the_file_cannot_carry_is_refused(username):
    with pytest.raises(ValueError, match="username"):
        proxy.htpasswd_line(username, "password", "seed")


def test_no_salt_without_a_seed():
    with pytest.raises(ValueError, match="seed"):
        proxy.htpasswd_line("u", "password", "")


def test_behind_something_that_ends_tls():
    """Pages are of https whatever nginx sees, and only those before it may say who the client is."""
    text = proxy.render_nginx(
        settings(scheme="https", hsts=True, trusted=["10.0.0.0/8", "fd00::/8"])
    )
    assert headers(text)["X-Forwarded-Proto"] == "https"
    assert "$scheme" not in text
    assert '"~^https://' in text
    assert "Strict-Transport-Security" in text
    http = block(parse(text), "http")
    assert values(http, "set_real_ip_from") == [["10.0.0.0/8"], ["fd00::/8"]]
    assert values(http, "real_ip_header") == [["X-Forwarded-For"]]
    assert values(http, "real_ip_recursive") == [["on"]]


@pytest.mark.parametrize(
    ("scheme", "certificate", "secure", "forwarded"),
    [
        ("", False, False, "$scheme"),
        ("", True, True, "$scheme"),
        ("https", False, True, "https"),
        ("https", True, True, "https"),
        ("http", False, False, "http"),
        ("http", True, False, "http"),
    ],
)
def test_browsers_come_by_what_is_said_or_else_by_what_nginx_has(
    scheme, certificate, secure, forwarded
):
    own = {"certificate_path": "/run/tls.crt", "key_path": "/run/tls.key"} if certificate else {}
    text = proxy.render_nginx(settings(auth="oidc", scheme=scheme, hsts=True, **own))
    assert set(re.findall(r"X-Forwarded-Proto (\S+);", text)) == {forwarded}
    assert ("Strict-Transport-Security" in text) == secure
    assert ('"~^https://' in text) == secure
    assert ('"~^https?://' in text) != secure


def test_no_other_scheme():
    with pytest.raises(ValueError, match="scheme: must be http or https"):
        proxy.render_nginx(settings(scheme="ftp"))


def test_nobody_is_believed_who_the_client_is_unless_named():
    text = proxy.render_nginx(settings(auth="oidc"))
    assert "real_ip" not in text
    assert headers(text)["X-Forwarded-Proto"] == "$scheme"
    with pytest.raises(ValueError, match="network"):
        proxy.render_nginx(settings(trusted=["10.0.0.0/8; evil"]))


@pytest.mark.parametrize(
    ("path", "is_job"),
    [
        ("/ajax-api/3.0/jobs", True),
        ("/ajax-api/3.0/jobs/", True),
        ("/ajax-api/3.0/jobs/cancel/1", True),
        ("/ajax-api/3.0/mlflow/scorer/invoke", True),
        ("/ajax-api/3.0/mlflow/genai/evaluate/invoke", True),
        ("/ajax-api/3.0/mlflow/issues/invoke", True),
        ("/api/3.0/mlflow/prompt-optimization/jobs/1/cancel", True),
        ("/api/3.0/mlflow/traces/search", False),
        ("/ajax-api/3.0/mlflow/scorers/list", False),
        ("/ajax-api/3.0/jobsearch", False),
        ("/x/ajax-api/3.0/jobs", False),
    ],
)
def test_only_routes_of_jobs_go_to_the_server_that_runs_them(path, is_job):
    text = proxy.render_nginx(settings(jobs_host="dev-jobs", jobs_port=5000))
    [pattern] = re.findall(r"location ~ (\S*jobs\S*) \{", text)
    assert bool(re.search(pattern, path)) == is_job
    assert values(location(text, "~", pattern), "proxy_pass") == [["$jobs"]]
    assert ["$jobs", '"http://dev-jobs:5000"'] in values(server_of(text), "set")


def test_routes_of_jobs_are_those_that_mlflow_has():
    """Every handler that starts a job has a route that is found; a new one in a later MLflow fails here."""
    source = (Path(mlflow.__file__).parent / "server" / "handlers.py").read_text()
    functions = re.split(r"^def ", source, flags=re.MULTILINE)
    starting = {body.split("(")[0] for body in functions if re.search(r"\bsubmit_job\(", body)}
    assert starting == {
        "_create_prompt_optimization_job",
        "_invoke_genai_evaluate_handler",
        "_invoke_issue_detection_handler",
        "_invoke_scorer_handler",
    }
