"""Says in SQLite's file itself that a restore has not ended; images/mlflow/unfinished.py does so in containers."""

import sqlite3
from contextlib import closing
from pathlib import Path

_TABLE = "pulumi_mlflow_restore"


def mark(database: Path, again: str) -> None:
    """Write that a restore has not ended.

    Args:
        database: SQLite's file, not yet in its place.
        again: what finishes the restore.
    """
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(f"DROP TABLE IF EXISTS {_TABLE}")
        connection.execute(f"CREATE TABLE {_TABLE} (command TEXT NOT NULL)")
        connection.execute(f"INSERT INTO {_TABLE} VALUES (?)", (again,))  # noqa: S608 - a constant


def found(database: Path) -> str:
    """What finishes the restore that has not ended; empty if there is none, or the file is none of SQLite's."""
    if not database.is_file():
        return ""
    try:
        with closing(sqlite3.connect(database)) as connection:
            known = "SELECT 1 FROM sqlite_master WHERE name = ?"
            if connection.execute(known, (_TABLE,)).fetchone() is None:
                return ""
            row = connection.execute(f"SELECT command FROM {_TABLE}").fetchone()  # noqa: S608
    except sqlite3.Error:
        return ""
    return str(row[0]) if row else ""


def clear(database: Path) -> None:
    """The restore has ended."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(f"DROP TABLE IF EXISTS {_TABLE}")
