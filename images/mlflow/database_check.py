"""Whose a database is, and what its user may do there: asked before a migration begins.

Runs inside the image, like boot.py. A refusal names the user, the place, and the statement by which the database's
administrator mends it.
"""

import contextlib
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

from bootlib import BootError

OWN_PLACE = "mlflow:database.name"
SEARCH_PATH = "mlflow:database.existing.search_path"

_FIRST = frozenset(("experiments", "metrics", "params", "runs"))
"""Tables that every release of MLflow has."""

_SHOWN = 5
"""Tables of another program that a message names."""

_PROBE = "pulumi_mlflow_probe"
"""Table by which MySQL is asked what may be done, since privileges come by user, host, role and pattern."""

_POSTGRESQL_DENIED = "42501"
"""insufficient_privilege, https://www.postgresql.org/docs/current/errcodes-appendix.html"""

_MYSQL_DENIED = (1044, 1142, 1143, 1227, 1370)
"""No right to the database, a table, a column, an operation, a routine:
https://dev.mysql.com/doc/mysql-errors/8.0/en/server-error-reference.html"""

_MYSQL_TRIGGERS = 1419
"""Triggers are for administrators while there is a binary log, unless log_bin_trust_function_creators is on."""

_MYSQL_PRIVILEGES = (
    "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, REFERENCES, TRIGGER"
)


def mlflow_version() -> str:
    """The version of this image's MLflow."""
    return version("mlflow")


def newer(what: str) -> BootError:
    """The refusal of tables that this MLflow does not know.

    Args:
        what: has which schema.
    """
    return BootError(
        f"{what}, which MLflow {mlflow_version()} does not know: a newer MLflow wrote it. Run that version, or "
        "restore a dump from before the upgrade"
    )


def schema_of(database: Any, engine: Any, other: str = "") -> str | None:
    """The schema that an MLflow has made.

    Args:
        database: MLflow's module `mlflow.store.db.utils`.
        engine: of the database.
        other: what messages call it where it is not the stack's own; empty for that.

    Returns:
        The revision; None where MLflow has written none yet: without tables, or after a first migration that was
        killed.

    Raises:
        BootError: a newer MLflow or another program keeps its tables there.
    """
    import sqlalchemy
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    with engine.connect() as connection:
        found = set(MigrationContext.configure(connection).get_current_heads())
    scripts = ScriptDirectory.from_config(database._get_alembic_config(""))
    unknown = found - {script.revision for script in scripts.walk_revisions()}
    tables = {
        n for n in sqlalchemy.inspect(engine).get_table_names() if not n.startswith("alembic_")
    }
    ours = tables >= _FIRST
    if ours and unknown and len(found) == 1:
        raise newer(f"{other or 'the database'} has schema {unknown.pop()}")
    if unknown:
        raise _others(engine, tables if not ours else set(), unknown, other)
    if found:
        return str(found.pop())
    if not ours and tables - database.InitialBase.metadata.tables.keys():
        raise _others(engine, tables, set(), other)
    return None


def _others(engine: Any, tables: set[str], versions: set[str], other: str) -> BootError:
    shown = [*sorted(tables)[:_SHOWN], *(["…"] if len(tables) > _SHOWN else [])]
    held = [f"tables {', '.join(shown)}"] if shown else []
    if versions:
        held.append(f"version {', '.join(sorted(versions))} in alembic_version")
    where = other or "the database"
    if engine.dialect.name == "postgresql":
        with engine.connect() as connection:
            where = f"schema '{_scalar(connection, 'SELECT current_schema()')}' of {where}"
    own_schema = _own_schema(engine)
    mend = (
        "name the database, and its schema, that MLflow has used"
        if other
        else f"MLflow must not share it: give it a database of its own ({OWN_PLACE}){own_schema and ', or'}{own_schema}"
    )
    return BootError(
        f"{where} holds what another program keeps there, {' and '.join(held)}; {mend}"
    )


def _own_schema(engine: Any) -> str:
    if engine.dialect.name != "postgresql":
        return ""
    user = _quoted(engine, engine.url.username or "")
    return (
        f" a schema of its own: CREATE SCHEMA mlflow AUTHORIZATION {user}; and {SEARCH_PATH} mlflow"
    )


def require_rights(database: Any, engine: Any) -> None:
    """Refuse a user who may not do what a migration does, before it has done half of it.

    Args:
        database: MLflow's module `mlflow.store.db.utils`.
        engine: of the database.

    Raises:
        BootError: what the user lacks, and the statement that gives it.
    """
    if engine.dialect.name == "postgresql":
        with engine.connect() as connection:
            _require_postgresql(database, engine, connection)
    elif engine.dialect.name == "mysql":
        with engine.connect() as connection, told(engine):
            _probe_mysql(connection)


def require_schema(engine: Any) -> None:
    """Refuse a search path that leads nowhere: PostgreSQL itself skips what is not there, or may not be used.

    Raises:
        BootError: no schema of it is there for this user.
    """
    if engine.dialect.name != "postgresql":
        return
    with engine.connect() as connection:
        if _scalar(connection, "SELECT current_schema()") is not None:
            return
        path = str(_scalar(connection, "SHOW search_path"))
        there = connection.exec_driver_sql(
            "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY 1"
        )
        schemas = [str(row[0]) for row in there]
    first = path.split(",", maxsplit=1)[0].strip()
    name, user = first.strip('"'), _quoted(engine, engine.url.username or "")
    if name in schemas:
        raise BootError(
            f"user {user} may not use schema {first} of database '{engine.url.database}'; as its owner, in that "
            f"database: GRANT USAGE, CREATE ON SCHEMA {first} TO {user};"
        )
    raise BootError(
        f"database '{engine.url.database}' has no schema {path} (there are {', '.join(schemas)}); as an "
        f"administrator, in that database: CREATE SCHEMA {first} AUTHORIZATION {user}; or change {SEARCH_PATH}"
    )


def _require_postgresql(database: Any, engine: Any, connection: Any) -> None:
    schema = str(_scalar(connection, "SELECT current_schema()"))
    if not _scalar(connection, "SELECT has_schema_privilege(current_schema(), 'CREATE')"):
        raise _may_not_create(engine, schema)
    known = tuple({**database.InitialBase.metadata.tables, **database.Base.metadata.tables})
    owners = connection.exec_driver_sql(
        "SELECT DISTINCT pg_get_userbyid(c.relowner) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p') AND c.relname IN %(known)s "
        "AND NOT pg_has_role(c.relowner, 'USAGE') ORDER BY 1",
        {"known": (*known, "alembic_version")},
    )
    if foreign := [str(row[0]) for row in owners]:
        user = _quoted(engine, engine.url.username or "")
        grants = " ".join(f"GRANT {_quoted(engine, owner)} TO {user};" for owner in foreign)
        raise BootError(
            f"MLflow's tables in schema '{schema}' of database '{engine.url.database}' belong to "
            f"{', '.join(foreign)}, and a migration changes them, which only their owner may; as an administrator: "
            f"{grants}"
        )


def _may_not_create(engine: Any, schema: str) -> BootError:
    user, quoted = engine.url.username or "", _quoted(engine, schema)
    return BootError(
        f"user '{user}' may not make tables in schema '{schema}' of database '{engine.url.database}' (since PostgreSQL "
        "15 only its owner may in 'public'); as its owner or an administrator, in that database: GRANT USAGE, CREATE "
        f"ON SCHEMA {quoted} TO {_quoted(engine, user)}; or give MLflow{_own_schema(engine)}"
    )


def _probe_mysql(connection: Any) -> None:
    # What is not allowed fails here as it would half way through the migration, which MySQL does not roll back.
    # The right to drop is asked first, so that nothing stays.
    drop = "DROP TABLE IF EXISTS PROBE"
    try:
        for statement in (
            drop,
            "CREATE TABLE PROBE (id INT PRIMARY KEY, parent INT)",
            "ALTER TABLE PROBE ADD COLUMN name VARCHAR(8)",
            "CREATE INDEX probe ON PROBE (name)",
            "ALTER TABLE PROBE ADD CONSTRAINT PROBE FOREIGN KEY (parent) REFERENCES PROBE (id)",
            "CREATE TRIGGER PROBE BEFORE UPDATE ON PROBE FOR EACH ROW SET NEW.name = NULL",
            "INSERT INTO PROBE (id) VALUES (1)",
            "UPDATE PROBE SET parent = NULL",
            "SELECT id FROM PROBE",
            "DELETE FROM PROBE",
        ):
            connection.exec_driver_sql(statement.replace("PROBE", _PROBE))
    finally:
        connection.exec_driver_sql(drop.replace("PROBE", _PROBE))


@contextlib.contextmanager
def told(engine: Any) -> Iterator[None]:
    """Say in a line what the database's user may not do, and how that is given; other errors stay as they are.

    Args:
        engine: of the database.

    Raises:
        BootError: the database has refused something for want of a right.
    """
    import sqlalchemy

    try:
        yield
    except sqlalchemy.exc.DBAPIError as error:
        if (refusal := denied(engine, error)) is not None:
            raise refusal from None
        raise


def denied(engine: Any, error: Any) -> BootError | None:
    """The refusal that an error of the database is about a right, or None.

    Args:
        engine: of the database.
        error: SQLAlchemy's DBAPIError, from a statement or from connecting.
    """
    user, place = engine.url.username or "", engine.url.database or ""
    if engine.dialect.name == "postgresql":
        # While connecting psycopg2 has no code.
        connecting = "permission denied for database" in str(error.orig)
        if not connecting and getattr(error.orig, "pgcode", None) != _POSTGRESQL_DENIED:
            return None
        quoted, said = _quoted(engine, user), str(error.orig).strip().splitlines()[0]
        granted = (
            f"GRANT CONNECT, TEMPORARY ON DATABASE {_quoted(engine, place)} TO {quoted};"
            if connecting
            else f"GRANT <the role that owns it> TO {quoted};"
        )
        return BootError(
            f"the database refuses user '{user}': {said}; as an administrator: {granted}"
        )
    if engine.dialect.name != "mysql":
        return None
    code = error.orig.args[0] if error.orig.args else None
    said = str(error.orig.args[-1]) if error.orig.args else ""
    if code == _MYSQL_TRIGGERS:
        return BootError(
            f"user '{user}' may not make triggers, of which MLflow has one: {said}; as an administrator: "
            "SET GLOBAL log_bin_trust_function_creators = 1; (in the server's configuration or parameter group too, "
            "or it is gone after a restart)"
        )
    if code not in _MYSQL_DENIED:
        return None
    escaped = place.replace("`", "``").replace("_", r"\_").replace("%", r"\%")
    return BootError(
        f"user '{user}' may not do in database '{place}' what MLflow's migrations do: {said}; as an administrator: "
        f"GRANT {_MYSQL_PRIVILEGES} ON `{escaped}`.* TO {_account(engine, said, user)};"
    )


def _account(engine: Any, said: str, user: str) -> str:
    """The account that MySQL has taken the user for, `'user'@'host'`; else the one that its message names."""
    import sqlalchemy

    _, found, rest = said.partition(f"'{user}'@'")
    host = rest.partition("'")[0] if found else "%"
    with contextlib.suppress(sqlalchemy.exc.DBAPIError), engine.connect() as connection:
        host = str(_scalar(connection, "SELECT CURRENT_USER()")).rpartition("@")[2]
    quoted = user.replace("'", "''")
    return f"'{quoted}'@'{host}'"


def _quoted(engine: Any, name: str) -> str:
    return str(engine.dialect.identifier_preparer.quote_identifier(name))


def _scalar(connection: Any, statement: str) -> Any:
    return connection.exec_driver_sql(statement).scalar()
