"""What the server image does besides serving: checks its drivers and its disk, migrates.

Runs inside the image, with MLflow and its drivers but without pulumi_mlflow. Settings come by environment, secrets too
(entrypoint.sh put them there), so that none of them stands in an argument list.
"""

import argparse
import base64
import contextlib
import http
import importlib
import os
import sys
import urllib.request
from collections.abc import Iterator
from typing import Any

import artifact_uris
import artifacts
import database_check
import migrate_database
import unfinished
from bootlib import BootError, administrator, environment, wait

DRIVERS = {"postgresql+psycopg2": "psycopg2", "mysql+pymysql": "pymysql", "sqlite": "sqlite3"}
"""SQLAlchemy dialect → module that it needs."""

REFUSED_LOGIN = ("password authentication failed", "Access denied for user")
"""How PostgreSQL and MySQL say that waiting will not help."""

REFUSED_TLS = {
    # This first: it holds the next.
    "certificate verify failed: Hostname mismatch": "is not for this host name",
    "certificate verify failed": "is not signed by the authority of ca_file",
    "CERTIFICATE_VERIFY_FAILED": "is not signed by the authority of ca_file",
    "does not match host name": "is not for this host name",
    # Such as `invalid padding`: an authority of the same name with another key.
    "SSL error: ": "cannot be verified",
}
"""How libpq and pymysql say that a certificate is wrong, and what is wrong with it."""

NO_TLS = (
    "server does not support SSL",
    "SSL is required but the server doesn't support it",
    "requires secure transport",
    "no pg_hba.conf entry",
)
"""How they say that one side wants TLS and the other does not, or that the server wants nobody from here."""

MIGRATION_LOCK = 5_381_072_606
"""Key of the PostgreSQL advisory lock that one migration holds; any constant of our own will do."""


def check_drivers() -> None:
    """Refuse to start without the drivers that the URIs name: MLflow itself would fail much later."""
    if uri := os.environ.get("ARTIFACTS_URI"):
        artifacts.check_driver(uri)
    dialect = environment("MLFLOW_BACKEND_STORE_URI").split(":", 1)[0]
    module = DRIVERS.get(dialect)
    if module is None:
        raise BootError(f"MLFLOW_BACKEND_STORE_URI: '{dialect}' is none of {', '.join(DRIVERS)}")
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise BootError(f"this image lacks '{module}', which '{dialect}' needs: {error}") from error


@contextlib.contextmanager
def _migration_lock(engine: Any) -> Iterator[None]:
    """Hold the database's advisory lock: MLflow takes none between processes (mlflow#23538)."""
    from sqlalchemy import text

    # Outside of a transaction, which the database would end after some minutes of idling.
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
        elif engine.dialect.name == "mysql":
            got = connection.scalar(text("SELECT GET_LOCK('pulumi-mlflow-migration', 600)"))
            if got != 1:
                raise BootError("another migration of this database has not ended within 10 min")
        yield


def migrate() -> None:
    """Bring the schema to this MLflow's version; refuses one of a newer MLflow or of another program."""
    check_drivers()
    artifacts.check_scratch()
    import sqlalchemy
    import users

    engine = sqlalchemy.create_engine(environment("MLFLOW_BACKEND_STORE_URI"), pool_pre_ping=True)

    def reachable() -> None:
        try:
            engine.connect().close()
        except sqlalchemy.exc.OperationalError as error:
            # First, since MySQL begins both refusals with the same words.
            if (refusal := database_check.denied(engine, error)) is not None:
                raise refusal from error
            if any(words in str(error.orig) for words in REFUSED_LOGIN):
                raise BootError(
                    f"the database refuses the login: {str(error.orig).strip()}\nIts data was made with another "
                    "password, as after a lost state: docs/runbooks/lost-passphrase.md says how to go on"
                ) from error
            _require_tls(str(error.orig).strip())
            raise

    wait("the database", reachable, float(os.environ.get("WAIT_SECONDS", "60")))
    if engine.dialect.name == "sqlite":
        _write_ahead_log(engine)
    database_check.require_schema(engine)
    # Takes seconds, and what is wrong with the connection is told without it.
    database: Any = importlib.import_module("mlflow.store.db.utils")
    with database_check.told(engine), _migration_lock(engine):
        before = database_check.schema_of(database, engine)
        if before != database._get_latest_schema_revision():
            database_check.require_rights(database, engine)
        if before is None:
            database._initialize_tables(engine)
        else:
            database._upgrade_db(engine)
        database._verify_schema(engine)
        print(
            f"schema {database._get_schema_version(engine)}, MLflow {database_check.mlflow_version()}"
        )
        if migrate_database.waiting():
            migrate_database.arrive(engine)
        if users.enabled():
            _prepare_users(engine)


def _prepare_users(engine: Any) -> None:
    import users

    try:
        print(users.prepare(engine))
    except users.NewerSchemaError as error:
        raise database_check.newer(str(error)) from error


def _require_tls(reason: str) -> None:
    """Say at once what is wrong with the encryption: waiting does not help.

    Raises:
        BootError: that is the reason.
    """
    for words, wrong in REFUSED_TLS.items():
        if words in reason:
            raise BootError(
                f"the database's certificate {wrong}: {reason}\nmlflow:database.existing.ca_file must be the authority "
                "that signed it, mlflow:database.existing.host a name in it (tls_mode verify-ca checks no name)"
            )
    if any(words in reason for words in NO_TLS):
        raise BootError(
            f"the database refuses the connection: {reason}\nmlflow:database.existing.tls_mode must be what the server "
            "wants: 'disable' without TLS, 'require' or better with it"
        )


def _write_ahead_log(engine: Any) -> None:
    """Let SQLite's readers and its writer work at the same time, https://sqlite.org/wal.html; it stays so."""
    with engine.connect() as connection:
        mode = connection.exec_driver_sql("PRAGMA journal_mode=WAL").scalar()
    if mode != "wal":
        raise BootError(
            f"SQLite keeps journal mode '{mode}': the volume must be on a local disk, since network file systems do "
            "not support WAL"
        )


def health() -> None:
    """Ask the server itself whether it is alive; for the container's health check."""
    with urllib.request.urlopen(environment("HEALTH_URL"), timeout=5) as answer:
        if answer.status != http.HTTPStatus.OK:
            raise BootError(f"health: HTTP {answer.status}")


def ready() -> None:
    """Ask the server to read its database; as the administrator, where it asks who is there."""
    request = urllib.request.Request(environment("READY_URL"))
    if login := administrator():
        encoded = base64.b64encode(":".join(login).encode()).decode()
        request.add_header("Authorization", f"Basic {encoded}")
    try:
        urllib.request.urlopen(request, timeout=4).close()
    except OSError as error:
        raise BootError(f"ready: {error}") from error


def serve(argv: list[str]) -> None:
    """Check the drivers and the data, make ready what the server finds, then become the server."""
    check_drivers()
    unfinished.refuse()
    artifacts.clean_scratch()
    artifact_uris.align()
    os.execvp(argv[0], argv)


def main() -> int:
    """Run one command; print an error's message instead of its traceback."""
    parser = argparse.ArgumentParser(prog="boot")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("migrate", "health", "ready"):
        commands.add_parser(name)
    commands.add_parser("serve").add_argument("argv", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    try:
        if arguments.command == "serve":
            serve(arguments.argv)
        else:
            {"migrate": migrate, "health": health, "ready": ready}[arguments.command]()
    except BootError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
