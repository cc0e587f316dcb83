"""Parts of URLs and addresses."""

import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

_REDIS = ("redis", "rediss")
"""Schemes of a Redis, without TLS and with it."""

_DEFAULT_PORTS = {"http": 80, "https": 443, **dict.fromkeys(_REDIS, 6379)}


def host_of(url: str) -> str:
    """Host name or address of a URL, IPv6 without brackets.

    Raises:
        ValueError: the URL has none.
    """
    host = urlsplit(url).hostname
    if not host:
        raise ValueError(f"url: has no host (got {url!r})")
    return host


def port_of(url: str) -> int:
    """Port of a URL, by its scheme where it names none.

    Raises:
        ValueError: neither is known.
    """
    parts = urlsplit(url)
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    if port is None:
        raise ValueError(f"url: has no port (got {url!r})")
    return port


def is_redis(url: str) -> bool:
    """Whether a URL names a Redis: `redis://` or, with TLS, `rediss://`, and a host."""
    try:
        parts = urlsplit(url)
        return parts.scheme in _REDIS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_address(host: str) -> bool:
    """Whether a host is an address rather than a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def url_host(address: str) -> str:
    """An address to listen on as the host of a URL: IPv6 in brackets, 'all addresses' as loopback."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.is_unspecified:
        return "127.0.0.1"
    return f"[{parsed}]" if parsed.version == 6 else str(parsed)  # noqa: PLR2004 - IPv6


def check_hosts(hosts: Iterable[str]) -> str | None:
    """Why these cannot be the public names of a front door, or None."""
    names = list(hosts)
    if not names:
        return "must name one at least, by which people reach the front door"
    for name in names:
        label = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
        if is_address(name) or not re.fullmatch(rf"{label}(\.{label})+", name):
            return f"must be full names, such as mlflow.example.com (got {name!r})"
    return None
