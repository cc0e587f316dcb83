"""Copies a Docker stack's data to a folder of this machine and back, by jobs on the stack's own network."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import docker

from ..contracts import Engine
from ..core import naming
from ..core.server_image import ARTIFACTS
from . import engine, server_job
from .files import FILES_PATH

DATABASE_FILE = "database.pgdump"
"""PostgreSQL's own format: it restores indexes and rows many times as fast as rows alone."""
DATABASE_FOLDER = "database"
"""Of every other database: its rows, see images/mlflow/migrate_database.py."""
ARTIFACTS_FOLDER = "artifacts"

_DATABASE_PATH = "/var/lib/postgresql/data"
"""A folder that the unprivileged user owns in the official image and in ours."""
_ARTIFACTS_PATH = "/dump"
_ROWS_PATH = "/dump"
_TIMEOUT = 6 * 3600

_CONNECT = (
    f'PGPASSWORD="$(cat {FILES_PATH}/password)"; export PGPASSWORD; set -eu; cd {_DATABASE_PATH}; '
)

_DUMP = f'{_CONNECT} exec pg_dump -Fc -f {DATABASE_FILE} "$PGDATABASE"'

# Into a new database that then takes the old one's place: a restore that fails half way loses nothing.
_RESTORE = f"""{_CONNECT}
dropdb --if-exists "$PGDATABASE-new"
createdb "$PGDATABASE-new"
pg_restore --exit-on-error --no-owner -d "$PGDATABASE-new" {DATABASE_FILE}
psql -v ON_ERROR_STOP=1 -q -d postgres -v old="$PGDATABASE" -v new="$PGDATABASE-new" -v gone="$PGDATABASE-old" <<'SQL'
DROP DATABASE IF EXISTS :"gone";
ALTER DATABASE :"old" RENAME TO :"gone";
ALTER DATABASE :"new" RENAME TO :"old";
DROP DATABASE :"gone" WITH (FORCE);
SQL
"""


def _is_own_postgresql(ops: Mapping[str, Any]) -> bool:
    """Whether the database is one for which we have an image and the right to make databases."""
    return ops["engine"] == Engine.POSTGRESQL.value and "image" in ops["database"]


def _database_job(ops: Mapping[str, Any], script: str) -> engine.Job:
    database = ops["database"]
    return engine.Job(
        name=naming.physical_name(ops["deployment"], "database", "copy"),
        image=database["image"],
        entrypoint=["/bin/sh", "-c"],
        command=[script],
        environment={
            "PGHOST": database["host"],
            "PGUSER": database["username"],
            "PGDATABASE": database["name"],
        },
        volumes={database["files"]: f"{FILES_PATH}:ro"},
        network=ops["network"],
        labels=naming.labels(ops["deployment"], "backup"),
        timeout=_TIMEOUT,
    )


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
    if _is_own_postgresql(ops):
        progress("database: pg_dump")
        engine.run_job_to_folder(client, _database_job(ops, _DUMP), _DATABASE_PATH, folder)
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


def restore(ops: Mapping[str, Any], folder: Path, progress: Callable[[str], None]) -> None:
    """Make the stack hold what the dump holds, with its server stopped meanwhile.

    Args:
        ops: the stack's output of that name.
        folder: what `dump` wrote.
        progress: called with what is being done.

    Raises:
        EngineError: a copy failed, or the server did not come back; the message holds the log.
    """
    client = engine.connect()
    name = ops["tracking"]["container"]
    server = client.containers.get(name)
    progress("server: stopping")
    server.stop(timeout=30)
    try:
        _restore(client, ops, folder, progress)
    finally:
        progress("server: starting")
        server.start()
    engine.wait_healthy(client, name, timeout=180, say=progress)


def _restore(
    client: docker.DockerClient,
    ops: Mapping[str, Any],
    folder: Path,
    progress: Callable[[str], None],
) -> None:
    progress("artifacts: copying every object")
    job = server_job.like_server(client, ops, "artifacts", [*ARTIFACTS, "restore", _ARTIFACTS_PATH])
    source = folder / ARTIFACTS_FOLDER
    done = engine.run_job_from_folder(client, job, _ARTIFACTS_PATH, source)
    progress(f"artifacts: {done.strip()}")
    if (folder / DATABASE_FOLDER).is_dir():
        progress("database: copying every row")
        job = server_job.like_server(
            client, ops, "database", [*server_job.ROWS, "load", _ROWS_PATH]
        )
        done = engine.run_job_from_folder(client, job, _ROWS_PATH, folder / DATABASE_FOLDER)
        progress(f"database: {done.strip().splitlines()[-1]}")
    else:
        progress("database: pg_restore")
        job = _database_job(ops, _RESTORE)
        engine.run_job_from_folder(client, job, _DATABASE_PATH, folder / DATABASE_FILE)
    progress("database: migrating")
    engine.run_job(
        client, server_job.like_server(client, ops, "migration", [*server_job.BOOT, "migrate"])
    )
