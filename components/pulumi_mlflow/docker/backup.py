"""Copies a Docker stack's data to a folder of this machine and back, by jobs on the stack's own network."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..core.server_image import ARTIFACTS
from . import engine, server_job
from .restoring import (
    ARTIFACTS_FOLDER,
    CONNECT,
    DATABASE_FILE,
    DATABASE_FOLDER,
    database_job,
    is_own_postgresql,
    restore,
    version,
)

__all__ = ["dump", "restore", "version"]

_DATABASE_PATH = "/var/lib/postgresql/data"
"""A folder that the unprivileged user owns in the official image and in ours."""
_ARTIFACTS_PATH = "/dump"
_ROWS_PATH = "/dump"

_DUMP = f'{CONNECT} cd {_DATABASE_PATH}; exec pg_dump -Fc -f {DATABASE_FILE} "$PGDATABASE"'


def dump(ops: Mapping[str, Any], folder: Path, progress: Callable[[str], None]) -> None:
    """Copy the database, then the artifacts: whatever a dumped run refers to is then in the dump.

    Args:
        ops: the stack's output of that name.
        folder: an empty folder; gets `database.pgdump` or `database/`, and `artifacts/`.
        progress: called with what is being done.

    Raises:
        EngineError: a copy failed; the message holds its log.
    """
    client = engine.connect()
    if is_own_postgresql(ops):
        progress("database: pg_dump")
        engine.run_job_to_folder(client, database_job(ops, _DUMP), _DATABASE_PATH, folder)
    else:
        progress("database: copying every row")
        job = server_job.like_server(
            client, ops, "database", [*server_job.ROWS, "save", f"{_ROWS_PATH}/{DATABASE_FOLDER}"]
        )
        done = engine.run_job_to_folder(client, job, _ROWS_PATH, folder)
        progress(f"database: {done.strip().splitlines()[-1]}")
    progress("artifacts: copying every object")
    target = folder / ARTIFACTS_FOLDER
    target.mkdir()
    job = server_job.like_server(client, ops, "artifacts", [*ARTIFACTS, "dump", _ARTIFACTS_PATH])
    progress(f"artifacts: {engine.run_job_to_folder(client, job, _ARTIFACTS_PATH, target).strip()}")
