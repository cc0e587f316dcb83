"""Parts of URLs and addresses."""

import pytest

from pulumi_mlflow.core import urls


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("http://db:5000", "db", 5000),
        ("https://mlflow.example.com/x", "mlflow.example.com", 443),
        ("http://[::1]:80/", "::1", 80),
        ("http://user:pa%3Ass@db", "db", 80),
    ],
)
def test_host_and_port(url, host, port):
    assert (urls.host_of(url), urls.port_of(url)) == (host, port)


@pytest.mark.parametrize("url", ["", "mlflow", "http://", "file:///x"])
def test_no_host(url):
    with pytest.raises(ValueError, match="has no host"):
        urls.host_of(url)


def test_no_port():
    with pytest.raises(ValueError, match="has no port"):
        urls.port_of("s3://bucket")


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("redis://redis.corp.example", 6379),
        ("rediss://:secret@redis.corp.example:6380/0", 6380),
        ("http://redis.corp.example", None),
        ("rediss:///0", None),
        ("redis://[redis", None),
        ("redis://redis:port", None),
    ],
)
def test_a_redis_is_named_by_its_scheme_and_host(url, port):
    assert urls.is_redis(url) is (port is not None)
    if port:
        assert urls.port_of(url) == port


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("0.0.0.0", False),  # noqa: S104
        ("::", False),
        ("10.0.0.1", False),
        ("localhost.evil.example", False),
    ],
)
def test_loopback(host, loopback):
    assert urls.is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("address", "host"),
    [("0.0.0.0", "127.0.0.1"), ("::", "127.0.0.1"), ("::1", "[::1]"), ("db", "db")],  # noqa: S104
)
def test_url_host(address, host):
    assert urls.url_host(address) == host


@pytest.mark.parametrize(
    "hosts",
    [[], ["localhost"], ["10.0.0.1"], ["*.example.com"], ["a.b", "A.b"], ["a..b"], ["x;y.z"]],
)
def test_hosts_that_no_front_door_could_have(hosts):
    assert "must" in urls.check_hosts(hosts)


def test_hosts():
    assert urls.check_hosts(["mlflow.example.com", "ml-1.corp"]) is None
