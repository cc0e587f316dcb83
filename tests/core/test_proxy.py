"""What nginx is told, by its structure; that nginx itself takes it is shown by the Docker tests."""

import re
import sys

import bcrypt
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pulumi_mlflow.core import proxy

ports = st.integers(1, 65535)


def settings(**changes):
    values = {
        "listen_port": 8080,
        "upstream_host": "dev-tracking",
        "upstream_port": 5000,
        "auth": "basic",
        "htpasswd_path": "/run/pulumi-mlflow/htpasswd",
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


@given(ports, ports, st.sampled_from(["none", "basic"]))
def test_every_block_is_closed_and_every_value_filled_in(listen, upstream, auth):
    text = proxy.render_nginx(settings(listen_port=listen, upstream_port=upstream, auth=auth))
    server = block(block(parse(text), "http"), "server")
    assert values(server, "listen") == [[str(listen)]]
    assert values(server, "set") == [["$upstream", f'"http://dev-tracking:{upstream}"']]
    assert "@{" not in text


def test_no_directive_stands_twice_in_a_block():
    def check(tree):
        once = [w[0] for w, children in tree if children is None]
        repeatable = {"proxy_set_header", "add_header", "default", "401", "sub_filter"}
        assert len(set(once)) == len([w for w in once if w not in repeatable]) + len(
            repeatable & set(once)
        )
        for _, children in tree:
            if children:
                check(children)

    check(parse(proxy.render_nginx(settings())))


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
    http, here = block(parse(text), "http"), server_of(text)
    assert values(http, "client_max_body_size") == [["0"]]
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


@pytest.mark.parametrize("auth", ["none", "basic"])
def test_what_a_client_says_of_itself_is_not_passed_on(auth):
    sent = headers(proxy.render_nginx(settings(auth=auth)))
    for name in ("X-Remote-User", "X-Forwarded-User", "X-Auth-Request-User", "Remote-User"):
        assert sent[name] == '""'
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
    log = block(parse(text), "http")
    assert "remote_user" not in "".join(values(log, "log_format")[0])


def test_only_the_two_public_ways_in():
    """Everything but nginx's own liveness asks for a login."""
    server = block(block(parse(proxy.render_nginx(settings())), "http"), "server")
    locations = [words[1:] for words, _ in server if words[0] == "location"]
    info = ["~", r"^/(ajax-)?api/3\.0/mlflow/server-info$"]
    assert locations == [["=", "/-/health"], ["/"], info, ["@unavailable"]]
    # A setting of a location's own would take the server's away there.
    for name in (["/"], info):
        inside = {words[0] for words, _ in block(server, "location", *name)}
        assert inside <= {"proxy_pass", "sub_filter", "sub_filter_types"}
    assert values(block(server, "location", "@unavailable"), "internal") == [[]]
    health = block(server, "location", "=", proxy.HEALTH_PATH)
    assert values(health, "return") == [["200", '"ok\\n"']]
    assert values(health, "proxy_pass") == []


def test_a_server_that_is_away_is_said_in_json():
    here = location(proxy.render_nginx(settings()), "@unavailable")
    [[_, body]] = values(here, "return")
    import json

    assert json.loads(body.strip("'"))["error_code"] == "TEMPORARILY_UNAVAILABLE"
    assert values(here, "default_type") == [["application/json"]]
    assert values(server_of(proxy.render_nginx(settings())), "error_page") == [
        ["502", "504", "@unavailable"]
    ]


def test_security_headers():
    server = block(block(parse(proxy.render_nginx(settings())), "http"), "server")
    added = {words[0]: words[1:] for words in values(server, "add_header")}
    assert added == {
        "X-Content-Type-Options": ["nosniff", "always"],
        "Referrer-Policy": ["same-origin", "always"],
    }
    # One add_header in a location would take all of these away there.
    for words, children in server:
        if words[0] == "location":
            assert values(children, "add_header") == []


def test_the_log_has_no_secret():
    http = block(parse(proxy.render_nginx(settings())), "http")
    logged = set(re.findall(r"\$\w+", "".join(values(http, "log_format")[0])))
    assert not logged & {"$request", "$request_uri", "$args", "$query_string", "$remote_user"}
    assert not [name for name in logged if name.startswith(("$http_", "$arg_", "$cookie_"))]
    assert values(block(http, "map", "$status", "$known_user"), "401") == [['""']]


def test_ipv6():
    text = proxy.render_nginx(settings(upstream_host="fd00::5", resolver="fd00::1"))
    assert 'set $upstream "http://[fd00::5]:5000";' in text
    assert "resolver [fd00::1] valid=5s;" in text


@pytest.mark.parametrize(
    "changes",
    [
        {"auth": "oidc"},
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
    with pytest.raises(ValueError, match=r"auth|host|htpasswd_path"):
        proxy.render_nginx(settings(**changes))


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
