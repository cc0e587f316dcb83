"""One-shot before the server starts: SQLite's journal mode, and the schema that this MLflow needs.

It runs in a process of its own, told the database by the environment that the server gets: `mlflow db upgrade` would
show the password in its arguments.
"""

import os
import sqlite3
from pathlib import Path

from sqlalchemy.engine import make_url

from . import unfinished


def _write_ahead_log(path: str) -> None:
    """Let readers and the writer work at the same time (https://sqlite.org/wal.html); stays set in the file."""
    connection = sqlite3.connect(path)
    try:
        (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
    finally:
        connection.close()
    if mode != "wal":
        raise SystemExit(
            f"{path}: SQLite keeps journal mode {mode!r}; put data_dir on a local disk, "
            "network file systems do not support WAL"
        )


def main() -> None:
    """Prepare the database that MLFLOW_BACKEND_STORE_URI names."""
    uri = os.environ["MLFLOW_BACKEND_STORE_URI"]
    url = make_url(uri)
    if url.get_backend_name() == "sqlite" and url.database:
        if again := unfinished.found(Path(url.database)):
            raise SystemExit(
                "a restore of this stack has not ended: the database is the dump's already, the artifacts not yet. "
                f"Finish it: {again}"
            )
        _write_ahead_log(url.database)
    from mlflow.db import commands  # noqa: PLC0415  takes seconds, and a broken file is told without it

    commands.main(args=["upgrade", uri], standalone_mode=False)


if __name__ == "__main__":
    main()
