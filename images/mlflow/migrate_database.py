"""Copies all rows of MLflow's database: into a file, and from the file into a database of any engine.

The file is a SQLite database with MLflow's own schema, made by MLflow's own migrations, so that an older one can be
brought to this version like any other database. Beside it stands how many rows each table has and a hash of them all;
nothing counts as copied before the target was read back and agrees. A copy into a database is one transaction: it is
there as a whole, or not at all.

Runs inside the image, like boot.py.
"""

import argparse
import contextlib
import datetime as dt
import functools
import hashlib
import importlib
import json
import os
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Container, Iterable, Iterator
from pathlib import Path
from typing import Any

import unfinished
import users
from bootlib import BootError, environment

FOLDER = Path("/scratch/migration")
"""Where the migration of the schema finds rows that are to be brought along; on the server's scratch volume."""

DATABASE, MANIFEST, VERIFIED = "database.sqlite", "rows.json", "verified.json"

_BATCH = 500
"""Rows at a time: a span of a trace may have a megabyte."""

_IN_USE = ("experiments", "runs", "registered_models", "trace_info", "users")
"""Tables that tell whether a database is in use; MLflow's migrations fill none of them."""

_DIGITS = 6
"""Of the two columns that are single precision in MySQL, these are shown: https://dev.mysql.com/doc/refman/8.0/en/problems-with-float.html"""

Manifest = dict[str, Any]


def waiting(folder: Path = FOLDER) -> bool:
    """Whether rows wait to be brought into the database whose schema is being migrated."""
    return (folder / MANIFEST).is_file()


def save(folder: Path) -> None:
    """Copy the rows of the server's database, as of one moment, into an empty folder.

    Raises:
        BootError: the schema is not this MLflow's, or what was written is not what was read.
    """
    database: Any = importlib.import_module("mlflow.store.db.utils")
    source = _engine(environment("MLFLOW_BACKEND_STORE_URI"))
    database._verify_schema(source)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    file = folder / DATABASE
    target = _engine(f"sqlite:///{file}")
    with_users = _has_users(source)
    if source.dialect.name == "sqlite":
        with (
            contextlib.closing(sqlite3.connect(source.url.database)) as old,
            contextlib.closing(sqlite3.connect(file)) as new,
        ):
            old.backup(new)
            new.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
        read = _digests(target)
    else:
        database._initialize_tables(target)
        if with_users:
            users.make_tables(target)
        tables = _tables(target)
        _require_columns(source, tables)
        with _snapshot(source) as old, _writing(target, tables) as new:
            read = _copy(old, new, tables)
    written = _digests(target)
    _require_equal(read, written, "the copy")
    target.dispose()
    manifest: Manifest = {
        "revision": database._get_schema_version(source),
        "users": with_users,
        "tables": written,
    }
    # Last, since a folder without it is no copy.
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1))
    print(_summary(written), flush=True)


def load(folder: Path) -> None:
    """Replace all rows of the server's database, whose schema is this MLflow's, by the folder's.

    As part of a restore, the same transaction says that the restore has not ended.

    Raises:
        BootError: the folder's rows are not those that were written, or the database does not hold them afterwards.
    """
    target = _engine(environment("MLFLOW_BACKEND_STORE_URI"))
    print(_summary(_load(folder, target)), flush=True)


def arrive(engine: Any, folder: Path = FOLDER) -> None:
    """Bring waiting rows into a database that nobody uses yet; again and again, if it was interrupted.

    Args:
        engine: of the database, with this MLflow's schema.
        folder: where the rows wait.

    Raises:
        BootError: the database has other rows, or does not hold these afterwards.
    """
    if (folder / VERIFIED).is_file():
        return  # and people may have gone on with them since
    manifest: Manifest = json.loads((folder / MANIFEST).read_text())
    if manifest["users"]:
        users.make_tables(engine)
    found = _digests(engine)
    if any(found.get(name) != digest for name, digest in manifest["tables"].items()):
        used = [f"{found[n]['rows']} {n}" for n in _IN_USE if n in found and found[n]["rows"]]
        if used:
            raise BootError(
                f"the database is in use already: it has {', '.join(used)}. Nothing was written; name an empty one"
            )
        found = _load(folder, engine)
    (folder / VERIFIED).write_text(json.dumps(found))
    print(_summary(found), flush=True)


def _load(folder: Path, target: Any) -> dict[str, Any]:
    manifest: Manifest = json.loads((folder / MANIFEST).read_text())
    if manifest["users"]:
        users.make_tables(target)
    if unfinished.command():
        unfinished.make_table(target)
    with _of_this_schema(folder / DATABASE, manifest) as source:
        theirs, ours = _tables(source), _tables(target)
        _require_columns(source, theirs, ours)
        with source.connect() as old, _writing(target, ours) as new:
            read = _copy(old, new, {name: ours[name] for name in theirs})
            written = {name: _digest(new, ours[name]) for name in theirs}
            _require_equal(read, written, "the database")
            if unfinished.command():
                unfinished.mark(new)
    return written


@contextlib.contextmanager
def _of_this_schema(file: Path, manifest: Manifest) -> Iterator[Any]:
    """The copy as it was written, brought to this MLflow's schema on the scratch volume if it is older."""
    database: Any = importlib.import_module("mlflow.store.db.utils")
    source = _engine(f"sqlite:///file:{file}?mode=ro&uri=true")
    _require_equal(manifest["tables"], _digests(source, manifest["tables"]), "the file")
    if manifest["revision"] == database._get_latest_schema_revision():
        yield source
        source.dispose()
        return
    source.dispose()
    upgraded = Path(os.environ.get("SCRATCH", "/scratch")) / "tmp-upgraded.sqlite"
    shutil.copyfile(file, upgraded)
    try:
        print(f"bringing the copy from schema {manifest['revision']} to this MLflow's", flush=True)
        source = _engine(f"sqlite:///{upgraded}")
        database._upgrade_db(source)
        if manifest["users"]:
            users.make_tables(source)
        yield source
        source.dispose()
    finally:
        upgraded.unlink(missing_ok=True)


def _engine(uri: str) -> Any:
    import sqlalchemy

    return sqlalchemy.create_engine(uri)


def _has_users(engine: Any) -> bool:
    import sqlalchemy

    return bool(sqlalchemy.inspect(engine).has_table("alembic_version_auth"))


@functools.cache
def _models(base: str) -> dict[str, Any]:
    """Tables as MLflow's own code knows them: what a value means does not depend on the engine then."""
    importlib.import_module("mlflow.store.db.utils")  # registers them all
    found: dict[str, Any] = dict(importlib.import_module(base).Base.metadata.tables)
    return found


def _tables(engine: Any) -> dict[str, Any]:
    """All tables of MLflow in a database, each after those that it refers to."""
    import sqlalchemy as sa

    metadata = sa.MetaData()
    names = {n for n in sa.inspect(engine).get_table_names() if not n.startswith("alembic_")}
    models = _models("mlflow.store.db.base_sql_model")
    if "users" in names:  # takes seconds, since the server is loaded with it
        models = models | _models("mlflow.server.auth.db.models")
    known = [model for name, model in models.items() if name in names]
    for model in known:
        for column in model.to_metadata(metadata).columns:
            column.type = _plain_type(column.type)
    # Of users, those that MLflow keeps and no longer reads.
    legacy = [n for n in names - models.keys() if n.endswith("_permissions")]
    for name in legacy:
        for column in sa.Table(name, metadata, autoload_with=engine, resolve_fks=False).columns:
            column.type = column.type.as_generic(allow_nulltype=True)
    return {table.name: table for table in metadata.sorted_tables if table.name in names}


def _plain_type(kind: Any) -> Any:
    import sqlalchemy as sa

    if isinstance(kind, sa.types.TypeDecorator):
        return kind.impl_instance  # what is encrypted stays encrypted
    if isinstance(kind, sa.JSON):
        return sa.JSON(none_as_null=True)
    return kind


def _columns(table: Any) -> list[Any]:
    """What is copied: all but what the database computes itself."""
    return sorted((c for c in table.columns if not c.computed), key=lambda column: column.name)


def _require_columns(
    engine: Any, tables: dict[str, Any], known: dict[str, Any] | None = None
) -> None:
    """Refuse a database that lacks tables or columns, or has more of them, than is copied."""
    import sqlalchemy as sa

    inspector = sa.inspect(engine)
    present = set(inspector.get_table_names())
    wrong = [f"{name}: no such table" for name in tables if name not in present]
    for name in tables.keys() & present:
        table = (known or tables).get(name)
        if table is None:
            wrong.append(f"{name}: this MLflow has no such table")
            continue
        found = {column["name"] for column in inspector.get_columns(name)}
        if different := found ^ {column.name for column in table.columns}:
            wrong.append(f"{name}: {', '.join(sorted(different))} on one side only")
    if wrong:
        raise BootError(f"the database is not what MLflow's migrations make: {'; '.join(wrong)}")


@contextlib.contextmanager
def _snapshot(engine: Any) -> Iterator[Any]:
    """A connection that sees one moment of the database, whoever writes meanwhile."""
    # SQLite has one level only, which is more than that.
    level = "SERIALIZABLE" if engine.dialect.name == "sqlite" else "REPEATABLE READ"
    with engine.connect() as connection:
        yield connection.execution_options(isolation_level=level)


@contextlib.contextmanager
def _writing(engine: Any, tables: dict[str, Any]) -> Iterator[Any]:
    """A transaction on emptied tables."""
    import sqlalchemy as sa

    with engine.connect() as connection:
        mysql = engine.dialect.name == "mysql"
        if mysql:
            # Experiment 0 is experiment 0, and the order of rows within a table does not matter.
            connection.execute(
                sa.text(
                    "SET SESSION foreign_key_checks = 0, sql_mode = CONCAT(@@sql_mode, ',NO_AUTO_VALUE_ON_ZERO')"
                )
            )
            connection.commit()
        with connection.begin():
            for table in reversed(tables.values()):
                connection.execute(table.delete())
            yield connection
            if engine.dialect.name == "postgresql":
                _set_sequences(connection, tables.values())
        if mysql:
            connection.invalidate()  # its settings are nobody else's


def _set_sequences(connection: Any, tables: Iterable[Any]) -> None:
    """The next number of each numbered column follows the largest one."""
    import sqlalchemy as sa

    for table in tables:
        for column in table.primary_key.columns:
            if not isinstance(column.type, sa.Integer) or len(table.primary_key.columns) > 1:
                continue
            name = connection.scalar(
                sa.select(sa.func.pg_get_serial_sequence(table.name, column.name))
            )
            if name:
                largest = connection.scalar(sa.select(sa.func.max(column)))
                # Not `setval`, which a transaction that fails does not take back. Quoted as PostgreSQL has told it.
                restart = f"ALTER SEQUENCE {name} RESTART WITH {(largest or 0) + 1}"
                connection.execute(sa.text(restart))


def _rows(connection: Any, table: Any) -> Iterator[list[dict[str, Any]]]:
    import sqlalchemy as sa

    result = connection.execute(
        sa.select(*_columns(table)), execution_options={"yield_per": _BATCH}
    )
    for part in result.mappings().partitions():
        yield [dict(row) for row in part]


def _copy(old: Any, new: Any, tables: dict[str, Any]) -> dict[str, Any]:
    """Copy every row of the tables; their digests as they were read."""
    import sqlalchemy as sa

    digests = {}
    for name, table in tables.items():
        digest = _Digest(table, _teller(f"copying {name}"))
        for rows in _rows(old, table):
            digest.add(rows)
            try:
                new.execute(table.insert(), rows)
            except sa.exc.DBAPIError as error:
                # Without the statement's values, which are somebody's data.
                raise BootError(f"{name}: the target refuses a row: {error.orig}") from None
        digests[name] = digest.result
    return digests


def _digests(engine: Any, names: Container[str] | None = None) -> dict[str, Any]:
    tables = {n: table for n, table in _tables(engine).items() if names is None or n in names}
    with engine.connect() as connection:
        return {name: _digest(connection, table) for name, table in tables.items()}


def _digest(connection: Any, table: Any) -> dict[str, Any]:
    digest = _Digest(table, _teller(f"comparing {table.name}"))
    for rows in _rows(connection, table):
        digest.add(rows)
    return digest.result


class _Digest:
    """How many rows, and the sum of their hashes: engines sort text differently, so the order must not count."""

    def __init__(self, table: Any, tell: Callable[[int], None]) -> None:
        import sqlalchemy as sa

        self._single = {
            column.name
            for column in table.columns
            if isinstance(column.type, sa.Float) and column.type.precision is None
        }
        self._rows, self._sum, self._tell = 0, 0, tell

    def add(self, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            plain = {name: self._plain(name, value) for name, value in row.items()}
            text = json.dumps(plain, sort_keys=True).encode("utf-8", "surrogatepass")
            self._sum += int.from_bytes(hashlib.sha256(text).digest())
        self._rows += len(rows)
        self._tell(self._rows)

    @property
    def result(self) -> dict[str, Any]:
        return {"rows": self._rows, "sha256": f"{self._sum % (1 << 256):064x}"}

    def _plain(self, name: str, value: Any) -> Any:
        if isinstance(value, bool):
            return int(value)
        if isinstance(value, float):
            value += 0.0  # SQLite has no -0.0
            return f"{value:.{_DIGITS}g}" if name in self._single else value.hex()
        if isinstance(value, bytes):
            return value.hex()
        if isinstance(value, dt.date):
            return value.isoformat()
        return value


def _require_equal(expected: dict[str, Any], found: dict[str, Any], what: str) -> None:
    wrong = [
        f"{name} ({expected[name]['rows']} rows, {found.get(name, {}).get('rows', 'no')} there)"
        for name in expected
        if expected[name] != found.get(name)
    ]
    if wrong:
        raise BootError(f"{what} does not hold what was read: {', '.join(wrong)}")


def _summary(digests: dict[str, Any]) -> str:
    filled = sum(1 for digest in digests.values() if digest["rows"])
    rows = sum(digest["rows"] for digest in digests.values())
    return f"{rows} rows of {filled} tables, read back and equal"


def _teller(what: str) -> Callable[[int], None]:
    """Says where a long copy is, every few seconds."""
    said = time.monotonic()

    def tell(rows: int) -> None:
        nonlocal said
        if time.monotonic() - said > 5:  # noqa: PLR2004 - seconds
            print(f"{what}: {rows} rows", flush=True)
            said = time.monotonic()

    return tell


def report(folder: Path) -> None:
    """Print what has arrived, as JSON."""
    file = folder / VERIFIED
    if not file.is_file():
        raise BootError("no rows have arrived in the new database")
    print(file.read_text())


def clear(folder: Path) -> None:
    """Remove the copy."""
    shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """Run one command; print an error's message instead of its traceback."""
    parser = argparse.ArgumentParser(prog="migrate_database")
    run = {"save": save, "load": load, "report": report, "clear": clear}
    parser.add_argument("command", choices=run)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    try:
        run[arguments.command](arguments.folder)
    except BootError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
