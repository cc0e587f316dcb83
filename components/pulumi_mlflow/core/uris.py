"""Database and artifact URIs, and the rules for bucket names."""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy.engine import URL, make_url

from . import stores

_TLS_MODES = ("disable", "require", "verify-ca", "verify-full")

_SCHEMA = r"""(?:[\w$-]+|"(?:[^"\x00-\x1f]|"")+")"""
_SEARCH_PATH = re.compile(rf"\s*{_SCHEMA}(\s*,\s*{_SCHEMA})*\s*")

_BUCKET_LENGTHS = range(3, 64)
_BUCKET_PREFIXES = ("xn--", "sthree-", "amzn-s3-demo-")
_BUCKET_SUFFIXES = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")


@dataclass(frozen=True)
class DatabaseAddress:
    """A database and how to log in to it.

    Attributes:
        engine: `postgresql`, `mysql`, `mariadb` or `sqlite`.
        host: name or address, IPv6 with or without brackets; empty for SQLite.
        port: TCP port; None for the engine's usual one, and for SQLite.
        database: name of the database; for SQLite the absolute path of its file.
        username: user to log in as; unused for SQLite.
        password: password of that user, as typed; unused for SQLite.
        tls_mode: libpq's `disable`, `require` (encrypted, server not verified), `verify-ca` or `verify-full`.
        ca_path: file with the PEM of the authority that signed the server's certificate; needed to verify.
        search_path: PostgreSQL's schemas, as `check_search_path` takes them; the server's default where empty.
    """

    engine: str
    host: str
    port: int | None
    database: str
    username: str
    password: str = field(repr=False)
    tls_mode: str = "disable"
    ca_path: str = ""
    search_path: str = ""


def default_port(engine: str) -> int | None:
    """TCP port that an engine usually listens on; None for SQLite.

    Raises:
        ValueError: MLflow does not know the engine.
    """
    ports = {"postgresql": 5432, "mysql": 3306, "mariadb": 3306, "sqlite": None}
    if engine not in ports:
        raise ValueError(f"engine: must be one of {', '.join(ports)} (got {engine!r})")
    return ports[engine]


def database_uri(address: DatabaseAddress) -> str:
    """The URI that SQLAlchemy, and so MLflow, opens a database by.

    It names its driver, since a bare `postgresql://` means psycopg2 to SQLAlchemy 2.0 and psycopg 3 to 2.1.

    Returns:
        The URI with the password in it: a secret.

    Raises:
        ValueError: engine, host, TLS mode, path or password is one that the driver cannot take. The message never holds
            the password.
    """
    port = address.port or default_port(address.engine)
    if address.engine == "sqlite":
        return _sqlite_uri(address.database)
    if address.search_path and address.engine != "postgresql":
        raise ValueError(f"search_path: {address.engine} has no schemas in a database")
    driver, query = _DRIVERS[address.engine](address)
    url = URL.create(
        driver,
        username=address.username,
        password=address.password,
        host=check_host(address.host),
        port=port,
        database=address.database,
        query=query,
    )
    return url.render_as_string(hide_password=False)


def check_host(host: str) -> str:
    """A host name or address, IPv6 without brackets; SQLAlchemy adds them, and writes anything else unquoted.

    Raises:
        ValueError: it is neither.
    """
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        if not re.fullmatch(r"[\w.-]+", host):
            raise ValueError(f"host: must be a host name or an address (got {host!r})") from None
        return host


def _sqlite_uri(path: str) -> str:
    # Not by URL.create: it encodes the path, and MLflow makes the folders of the encoded one
    # (mlflow.store.db.utils._make_parent_dirs_if_sqlite), such as `/home/j%C3%B6rg`.
    if not path.startswith("/") or make_url(f"sqlite:///{path}").database != path:
        raise ValueError(f"database: must be an absolute path without '?' and '%' (got {path!r})")
    return f"sqlite:///{path}"


def check_tls(mode: str, ca_path: str) -> str:
    """The TLS mode, once it is known to make sense.

    Raises:
        ValueError: it is none, or verifies without a certificate to verify against.
    """
    if mode not in _TLS_MODES:
        raise ValueError(f"tls_mode: must be one of {', '.join(_TLS_MODES)} (got {mode!r})")
    if mode.startswith("verify-") and not ca_path:
        raise ValueError(f"tls_mode: {mode!r} needs the certificate of the server's authority")
    return mode


def check_search_path(text: str) -> str:
    """A search path in PostgreSQL's own form, such as `mlflow` or `"My runs", public`.

    Names are of lower case unless they stand in double quotes; tables are made in the first schema.

    Raises:
        ValueError: it is none.
    """
    if not _SEARCH_PATH.fullmatch(text):
        raise ValueError(
            "search_path: must be names of schemas between commas, in double quotes where they are not plain "
            f"(got {text!r})"
        )
    return text.strip()


def search_path_in(options: str) -> str:
    """The search path in the `options` of a URI of somebody else's, such as `-csearch_path=mlflow,public`.

    Returns:
        As `check_search_path` takes it; empty where there is none, or none that it takes.
    """
    # Words are split at blanks, and a backslash keeps one (libpq).
    words = [re.sub(r"\\(.)", r"\1", word) for word in re.findall(r"(?:\\.|[^\s\\])+", options)]
    joined = [
        f"-c{after}" if word == "-c" else word
        for word, after in zip(words, [*words[1:], ""], strict=False)
    ]
    found = ""
    for word in joined:
        name, _, value = re.sub(r"^(-c|--)", "", word).partition("=")
        if word.startswith("-") and name == "search_path":
            found = value
    return found.strip() if _SEARCH_PATH.fullmatch(found) else ""


def _postgresql(address: DatabaseAddress) -> tuple[str, dict[str, str]]:
    """Driver and options; libpq's, https://www.postgresql.org/docs/current/libpq-ssl.html."""
    if "\0" in address.password:
        raise ValueError("password: PostgreSQL takes none with a NUL")
    # Always named: libpq's default `prefer` would fall back to plain text, or find a ca in somebody's home.
    query = {"sslmode": check_tls(address.tls_mode, address.ca_path)}
    if address.ca_path:
        query["sslrootcert"] = address.ca_path
    if address.search_path:
        # The server splits options at blanks: https://www.postgresql.org/docs/current/libpq-connect.html
        escaped = re.sub(r"([\s\\])", r"\\\1", check_search_path(address.search_path))
        query["options"] = f"-csearch_path={escaped}"
    return "postgresql+psycopg2", query


def _mysql(address: DatabaseAddress) -> tuple[str, dict[str, str]]:
    """Driver and options; those of pymysql.Connection as SQLAlchemy's dialect hands them on.

    The dialect puts `ssl_ca` and `ssl_check_hostname` into a dict that pymysql drops as soon as it also gets
    `ssl_verify_cert` or `ssl_verify_identity`; so those two never stand beside a CA.
    """
    if not address.password.isascii():
        # It hashes the Latin-1 bytes, where MySQL's other clients hash UTF-8: the login would fail.
        raise ValueError("password: pymysql logs in with ASCII passwords only")
    tls = {
        "disable": {"ssl_disabled": "true"},
        "require": {"ssl_verify_cert": "false"},
        "verify-ca": {"ssl_ca": address.ca_path, "ssl_check_hostname": "false"},
        "verify-full": {"ssl_ca": address.ca_path, "ssl_check_hostname": "true"},
    }
    return "mysql+pymysql", {
        "charset": "utf8mb4",
        **tls[check_tls(address.tls_mode, address.ca_path)],
    }


_DRIVERS: dict[str, Callable[[DatabaseAddress], tuple[str, dict[str, str]]]] = {
    "postgresql": _postgresql,
    "mysql": _mysql,
    "mariadb": _mysql,  # MLflow knows no `mariadb://`
}


def artifact_uri(store: str, bucket: str, prefix: str = "") -> str:
    """Where artifacts are kept, in the form of `mlflow server --artifacts-destination`.

    Args:
        store: `folder`, or a store that speaks S3 (`versitygw`, `minio`, `s3`).
        bucket: name of the bucket; for a folder its absolute path.
        prefix: path below it; may be empty.

    Returns:
        `s3://bucket/prefix`, or an absolute path.

    Raises:
        ValueError: unknown store, a bad bucket name or prefix, or a folder that is not absolute.
    """
    parts = [part for part in prefix.split("/") if part]
    # S3's safe characters, https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html
    if any(part in (".", "..") or re.search(r"[^\w!.*'()-]", part, re.ASCII) for part in parts):
        raise ValueError(
            f"prefix: must be letters, digits and !-_.*'() between slashes (got {prefix!r})"
        )
    if store == "folder":
        if not bucket.startswith("/"):
            raise ValueError(f"folder: must be an absolute path (got {bucket!r})")
        return "/".join((bucket.rstrip("/"), *parts)) or "/"
    if not stores.abilities(store).speaks_s3:
        raise ValueError(f"store: must be folder or one that speaks S3 (got {store!r})")
    if reason := check_bucket(bucket):
        raise ValueError(f"bucket: {reason} (got {bucket!r})")
    return "/".join(("s3:/", bucket, *parts))


def check_bucket(name: str) -> str | None:
    """Why a bucket cannot have this name, or None.

    The rules are those of general purpose buckets of S3, which every other store keeps or relaxes:
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
    """
    rules = {
        "must be 3 to 63 characters": len(name) in _BUCKET_LENGTHS,
        "must be lower-case letters, digits, dots and dashes, with a letter or digit at both ends": re.fullmatch(
            r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", name
        ),
        "must not have two dots in a row": ".." not in name,
        "must not look like an IP address": not _is_ipv4(name),
        f"must not start with {', '.join(_BUCKET_PREFIXES)}": not name.startswith(_BUCKET_PREFIXES),
        f"must not end with {', '.join(_BUCKET_SUFFIXES)}": not name.endswith(_BUCKET_SUFFIXES),
    }
    return next((rule for rule, kept in rules.items() if not kept), None)


def _is_ipv4(name: str) -> bool:
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        # S3 refuses the form, whatever the numbers: 999.1.1.1 too.
        return bool(re.fullmatch(r"\d+(\.\d+){3}", name))
    return True
