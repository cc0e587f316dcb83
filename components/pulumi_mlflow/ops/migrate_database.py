"""Moves a stack's database to where its stack file says: another engine, another version, another machine.

The server is stopped, all rows go into a copy on its scratch volume, and `pulumi up` switches: the migration of the new
database's schema finds the copy, brings the rows in and compares them before a server starts on it. So old and new need
not run at once, and an interrupted move goes on where it was.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import docker

from pulumi_mlflow.core import naming
from pulumi_mlflow.docker import engine, server_job
from pulumi_mlflow.docker.files import VERSION_LABEL

from .errors import OpsError
from .migration import Move, Plan, Progress, docker_ops, require_free
from .stack import Stack

_COPY = "/scratch/migration"
"""As in images/mlflow/migrate_database.py."""


@dataclass(frozen=True)
class Moved:
    """What a move has done.

    Args:
        rows: table → rows that were found in the new database.
        left: volumes that hold the old data, no longer part of the stack.
        back: whether an earlier move was taken back, and nothing was copied.
    """

    rows: Mapping[str, int]
    left: list[str]
    back: bool


def migrate_database(stack: Stack, confirm: Callable[[Plan], None], progress: Progress) -> Moved:
    """Move the database, or go on with a move, or take one back.

    Args:
        stack: of the docker runtime; up, or in the middle of a move.
        confirm: called with what will be done before anything is stopped; raises to stop.
        progress: called with what is being done.

    Raises:
        OpsError: there is nothing to move, or a step failed; the message says how to go on.
    """
    ops = docker_ops(stack, "migrate-database moves databases")
    move = Move(stack, "database")
    progress("asking Pulumi what would change")
    move.open()
    try:
        plan = move.plan()
        client = engine.connect()
        _require_sense(plan, stack, client)
        confirm(plan)
        if not plan.resumed:
            progress("server: stopping")
            _save(client, ops, progress)
    except BaseException:
        move.cancel()
        raise
    if plan.back:
        # What the new database has got so far is nobody's.
        move.open(keep=False)
    progress("switching")
    move.up()
    moved: Mapping[str, int] = {}
    if not plan.back:
        # The new server's own place: its image, its volumes.
        moved = _arrived(client, stack.outputs().ops)
    move.close()
    engine.run_job(client, _rows_job(client, stack.outputs().ops, "clear"))
    left = [] if plan.back else _left(client, stack.outputs().ops)
    return Moved(rows=moved, left=left, back=plan.back)


def _require_sense(plan: Plan, stack: Stack, client: docker.DockerClient) -> None:
    if plan.before == plan.after and not plan.resumed:
        raise OpsError(
            f"stack '{stack.name}': Pulumi.{stack.name}.yaml says the database is where it is; change "
            "mlflow:database there first"
        )
    if plan.resumed:
        if plan.after not in (plan.before, plan.begun):
            raise OpsError(
                f"stack '{stack.name}': an earlier move to {_told(plan.begun)} has not ended: put that into "
                f"Pulumi.{stack.name}.yaml to finish it, or {_told(plan.before)} to go back"
            )
        return
    if not plan.volumes and plan.after.get("mlflow:database.version"):
        raise OpsError(
            f"{plan}: another name in the same volume; dump the stack, `pulumi-mlflow down --purge`, and restore the "
            "dump into one with the new name"
        )
    require_free(plan, client)


def _save(client: docker.DockerClient, ops: Mapping[str, Any], progress: Progress) -> None:
    """Stop the server and copy all rows; start it again if that fails."""
    server = client.containers.get(ops["tracking"]["container"])
    job = _rows_job(client, ops, "save")
    server.stop(timeout=30)
    try:
        progress("copying all rows")
        done = engine.run_job(client, job)
    except BaseException as error:
        progress("server: starting again")
        server.start()
        if isinstance(error, engine.EngineError):
            raise OpsError(f"nothing was changed: {error}") from error
        raise
    progress(done.strip().splitlines()[-1])


def _rows_job(client: docker.DockerClient, ops: Mapping[str, Any], command: str) -> engine.Job:
    return server_job.like_server(client, ops, "database", [*server_job.ROWS, command, _COPY])


def _arrived(client: docker.DockerClient, ops: Mapping[str, Any]) -> dict[str, int]:
    """Rows of each table that the migration found in the new database."""
    try:
        printed = engine.run_job(client, _rows_job(client, ops, "report"))
    except engine.EngineError as error:
        raise OpsError(
            f"the new database was not verified: {error}\nrun migrate-database again, or put the settings back and run "
            "it to go back"
        ) from error
    found = json.loads(printed.strip().splitlines()[-1])
    return {table: digest["rows"] for table, digest in found.items()}


def _left(client: docker.DockerClient, ops: Mapping[str, Any]) -> list[str]:
    """Data volumes of the role that the stack does not use."""
    ours = naming.labels(ops["deployment"], "database")
    found = client.volumes.list(filters={"label": [f"{k}={v}" for k, v in ours.items()]})
    data = {v.name for v in found if VERSION_LABEL not in v.attrs["Labels"]}
    return sorted(data - {ops["database"].get("volume")})


def _told(settings: Mapping[str, str]) -> str:
    return ", ".join(f"{key} {value}" for key, value in settings.items())
