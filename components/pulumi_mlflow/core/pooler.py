"""The configuration of PgBouncer, https://www.pgbouncer.org/config.html."""

import re
from dataclasses import dataclass

from . import uris

PORT = 6432
"""PgBouncer's usual one."""

ALIAS = "mlflow"
"""What PgBouncer calls the database; its own name may have characters that PgBouncer takes for others'."""


_PLAIN = re.compile(r"[A-Za-z0-9_]+")


@dataclass(frozen=True)
class PoolerSettings:
    """What a pooler is started with, the password aside.

    Attributes:
        host: name or address of PostgreSQL.
        port: its TCP port.
        database: name of the database; the only one that is served, as `ALIAS`.
        auth_file: path of what `render_userlist` made.
        pool_size: connections to PostgreSQL.
        max_clients: connections of servers.
        tls_mode: libpq's `disable`, `require`, `verify-ca` or `verify-full`, towards PostgreSQL.
        ca_path: file with the PEM of the authority that signed its certificate; needed to verify.
        search_path: schemas that each connection looks into; the server's default where empty.
    """

    host: str
    port: int
    database: str
    auth_file: str
    pool_size: int
    max_clients: int
    tls_mode: str = "disable"
    ca_path: str = ""
    search_path: str = ""


def render_pgbouncer(settings: PoolerSettings) -> str:
    """`pgbouncer.ini`.

    Raises:
        ValueError: the host or search path is none, or verifying lacks the authority's certificate.
    """
    uris.check_tls(settings.tls_mode, settings.ca_path)
    # The user's password comes from auth_file, for clients and towards PostgreSQL.
    target = {
        "host": uris.check_host(settings.host),
        "port": str(settings.port),
        "dbname": settings.database
        if _PLAIN.fullmatch(settings.database)
        else _literal(settings.database),
    }
    if settings.search_path:
        # No client may send it: PgBouncer takes no `options`. In transaction mode nothing resets it.
        path = _literal(uris.check_search_path(settings.search_path))
        target["connect_query"] = _literal(f"SELECT set_config('search_path', {path}, false)")
    options = {
        "listen_addr": "*",
        "listen_port": str(PORT),
        "unix_socket_dir": "",
        "auth_type": "scram-sha-256",
        "auth_file": settings.auth_file,
        # MLflow keeps nothing on a connection beyond a transaction: no session settings, advisory locks, prepared
        # statements or LISTEN. Its migrations do, and go to PostgreSQL directly.
        "pool_mode": "transaction",
        "default_pool_size": str(settings.pool_size),
        "max_client_conn": str(settings.max_clients),
        # Nobody may ask it for its statistics, or reload it, by SQL.
        "admin_users": "",
        "stats_users": "",
        # One that waits for a connection longer than a request may take is told so, instead of for ever.
        "query_wait_timeout": "30",
        # psycopg2 sends it on every connection.
        "ignore_startup_parameters": "extra_float_digits",
        "server_tls_sslmode": settings.tls_mode,
        **({"server_tls_ca_file": settings.ca_path} if settings.ca_path else {}),
    }
    return "\n".join(
        (
            "[databases]",
            f"{ALIAS} = {' '.join(f'{key}={value}' for key, value in target.items())}",
            "[pgbouncer]",
            *(f"{key} = {value}" for key, value in options.items()),
            "",
        )
    )


def _literal(text: str) -> str:
    """Between single quotes, in SQL and in pgbouncer.ini alike."""
    return "'" + text.replace("'", "''") + "'"


def render_userlist(username: str, password: str) -> str:
    """What `auth_file` names: the one user, with the password in plain, which SCRAM towards PostgreSQL needs.

    Args:
        username: of the database.
        password: as typed.
    """

    def quoted(text: str) -> str:
        return '"' + text.replace('"', '""') + '"'

    return f"{quoted(username)} {quoted(password)}\n"
