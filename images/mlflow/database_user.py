"""Make the server's own user in a database, as its administrator: before a migration on RDS.

There the administrator's password belongs to RDS, which makes another every week; the server must not depend on it, nor
be the administrator. Run again it only sets the password that the server has.

ADMIN holds what Secrets Manager keeps of the administrator (`{"username", "password"}`), MLFLOW_BACKEND_STORE_URI where
the database is and who the user shall be. Neither is ever an argument, and no password is sent in plain SQL to
PostgreSQL, whose log may hold statements.
"""

import json
import os
import re
import sys
from typing import Any

from bootlib import BootError, environment, wait

NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
"""What goes into SQL between quotes; the component refuses other names too."""


def postgresql(
    database: str, user: str, verifier: str, *, exists: bool
) -> list[tuple[str, tuple[str, ...]]]:
    """Statements, with their parameters, for PostgreSQL.

    Args:
        database: its name.
        user: who shall own it.
        verifier: the password as PostgreSQL stores it (SCRAM).
        exists: whether the user is there already.
    """
    verb = "ALTER" if exists else "CREATE"
    return [
        (f'{verb} ROLE "{user}" WITH LOGIN NOCREATEDB NOCREATEROLE PASSWORD %s', (verifier,)),
        # RDS's administrator is no superuser: only a member of a role may make it an owner.
        (f'GRANT "{user}" TO CURRENT_USER', ()),
        (f'ALTER DATABASE "{database}" OWNER TO "{user}"', ()),
        # Others of this server have no business here.
        (f'REVOKE CONNECT, TEMPORARY ON DATABASE "{database}" FROM PUBLIC', ()),
        # Before PostgreSQL 15 the schema is the administrator's, whoever owns the database.
        (f'GRANT ALL ON SCHEMA public TO "{user}"', ()),
    ]


def mysql(database: str, user: str, password: str) -> list[tuple[str, tuple[str, ...]]]:
    """Statements, with their parameters, for MySQL and MariaDB, which keep passwords out of their logs."""
    return [
        (f"CREATE USER IF NOT EXISTS '{user}'@'%%' IDENTIFIED BY %s", (password,)),
        (f"ALTER USER '{user}'@'%%' IDENTIFIED BY %s REQUIRE SSL", (password,)),
        (f"GRANT ALL PRIVILEGES ON `{database}`.* TO '{user}'@'%%'", ()),
    ]


def _admin() -> tuple[str, str]:
    try:
        held = json.loads(environment("ADMIN"))
        return held["username"], held["password"]
    except (ValueError, KeyError, TypeError):
        # Its text would be in the message of the error.
        raise BootError("ADMIN: must be the JSON of an administrator's secret") from None


def prepare() -> str:
    """Make the user, or set the password of the one there is; returns what was done.

    Raises:
        BootError: a name that is none, or the administrator's, or no connection.
    """
    import sqlalchemy

    url = sqlalchemy.engine.make_url(environment("MLFLOW_BACKEND_STORE_URI"))
    user, database = url.username or "", url.database or ""
    for name in (user, database):
        if not NAME.fullmatch(name):
            raise BootError(
                f"database, user: must be lower-case letters, digits and _ (got {name!r})"
            )
    admin, password = _admin()
    if user == admin:
        raise BootError(
            f"user: {user!r} is the administrator, whose password is not ours to set; give the servers another name"
        )
    engine = sqlalchemy.create_engine(
        url.set(username=admin, password=password), isolation_level="AUTOCOMMIT", echo=False
    )
    connection = wait(
        "the database", engine.raw_connection, float(os.environ.get("WAIT_SECONDS", "60"))
    )
    try:
        return _make(connection, url.get_backend_name(), database, user, str(url.password))
    finally:
        connection.close()


def _make(connection: Any, backend: str, database: str, user: str, password: str) -> str:
    cursor = connection.cursor()
    if backend == "postgresql":
        from psycopg2.extensions import encrypt_password

        connection.driver_connection.autocommit = True
        cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (user,))
        exists = cursor.fetchone() is not None
        verifier = encrypt_password(password, user, connection.driver_connection, "scram-sha-256")
        statements = postgresql(database, user, verifier, exists=exists)
        done = f"user {user}: {'password set' if exists else 'made'}"
    else:
        statements = mysql(database, user, password)
        done = f"user {user}: made, or password set"
    for statement, values in statements:
        cursor.execute(statement, values)
    connection.commit()
    return done


def main() -> int:
    """Print what was done, or the message of an error, which holds no password."""
    try:
        print(prepare())
    except BootError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
