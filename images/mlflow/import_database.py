"""Copies the database of another MLflow, of any release since 1.0, into the form that migrate_database.py loads.

The other database is only read: not even its schema is upgraded, so its own server may run on it again. A SQLite file
is made with the schema that the other has, the rows are copied as of one moment and compared by hash, and only then
MLflow's own migrations bring the file to this release.

Runs inside the image, like boot.py.
"""

import argparse
import importlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import database_check
import migrate_database as rows
from bootlib import BootError, wait

_WAIT_SECONDS = 30


def save(source_file: Path, folder: Path) -> None:
    """Copy another MLflow's rows into an empty folder, for `migrate_database.py load`.

    Args:
        source_file: file with the SQLAlchemy URI of the other database: a secret.
        folder: where the copy goes.

    Raises:
        BootError: the other database does not answer, is none of MLflow's, or of a newer one; or the copy differs.
    """
    import sqlalchemy as sa

    database: Any = importlib.import_module("mlflow.store.db.utils")
    source = sa.create_engine(source_file.read_text().strip(), pool_pre_ping=True)
    wait("the other database", lambda: source.connect().close(), _WAIT_SECONDS)
    revision = _revision(database, source)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    copy = sa.create_engine(f"sqlite:///{folder / rows.DATABASE}")
    _make_schema(database, copy, revision)
    tables = _tables(copy)
    _require_tables(source, tables)
    with rows._snapshot(source) as old, rows._writing(copy, tables) as new:
        read = rows._copy(old, new, tables)
        written = {name: rows._digest(new, table) for name, table in tables.items()}
    rows._require_equal(read, written, "the copy")
    print(f"other database, schema {revision}: {rows._summary(read)}", flush=True)
    database._upgrade_db(copy)
    manifest: rows.Manifest = {
        "revision": database._get_schema_version(copy),
        "users": False,
        "tables": rows._digests(copy),
    }
    _tell_of_users(source)
    copy.dispose()
    # Last, since a folder without it is no copy.
    (folder / rows.MANIFEST).write_text(json.dumps(manifest, indent=1))
    print(f"schema {manifest['revision']}: {rows._summary(manifest['tables'])}", flush=True)


def _revision(database: Any, source: Any) -> str:
    """The other database's schema, if this MLflow knows it."""
    import sqlalchemy as sa

    if not sa.inspect(source).has_table("alembic_version"):
        raise BootError(
            "the other database has no table alembic_version: it is none of MLflow's, or of one before 1.0"
        )
    revision = database_check.schema_of(database, source, "the other database")
    if revision is None:
        raise BootError("the other database is empty: no MLflow has written its version there")
    return revision


def _make_schema(database: Any, engine: Any, revision: str) -> None:
    """An empty database as an MLflow of that revision would have made it."""
    from alembic import command

    initial: Any = importlib.import_module("mlflow.store.tracking.dbmodels.initial_models")
    initial.Base.metadata.create_all(engine)
    config = database._get_alembic_config(engine.url.render_as_string(hide_password=False))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def _tables(engine: Any) -> dict[str, Any]:
    """All tables of the copy, each after those that it refers to."""
    import sqlalchemy as sa

    metadata = sa.MetaData()
    metadata.reflect(engine)
    for column in (column for table in metadata.sorted_tables for column in table.columns):
        if isinstance(column.type, sa.Float):
            column.type = sa.Float(
                precision=53
            )  # SQLite's only one, and compared to the last digit
        elif isinstance(column.type, sa.JSON):
            column.type = sa.JSON(none_as_null=True)
    return {
        table.name: table
        for table in metadata.sorted_tables
        if not table.name.startswith(("alembic_", "sqlite_"))
    }


def _require_tables(source: Any, tables: dict[str, Any]) -> None:
    """Refuse a database whose columns are not those of its schema's number; what it has besides is told, not copied."""
    import sqlalchemy as sa

    inspector = sa.inspect(source)
    present = set(inspector.get_table_names())
    wrong = [f"{name}: no such table" for name in tables if name not in present]
    for name in tables.keys() & present:
        found = {column["name"] for column in inspector.get_columns(name)}
        if different := found ^ {column.name for column in tables[name].columns}:
            wrong.append(f"{name}: {', '.join(sorted(different))} on one side only")
    if wrong:
        raise BootError(
            f"the other database is not what MLflow's migrations make: {'; '.join(sorted(wrong))}"
        )
    others = sorted(n for n in present - tables.keys() if not n.startswith("alembic_"))
    if others:
        print(f"not taken: tables {', '.join(others)}", flush=True)


def _tell_of_users(source: Any) -> None:
    import sqlalchemy as sa

    if sa.inspect(source).has_table("alembic_version_auth"):
        print("not taken: MLflow's own users and their permissions", flush=True)


def main() -> int:
    """Print an error's message instead of its traceback."""
    parser = argparse.ArgumentParser(prog="import_database")
    parser.add_argument("source", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    try:
        save(arguments.source, arguments.folder)
    except BootError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
