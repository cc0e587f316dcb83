"""Deletes for good what users have deleted in MLflow: `mlflow gc`, with what it needs of the server's variables."""

import dataclasses
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pulumi_mlflow import recipes
from pulumi_mlflow.core import server_image
from pulumi_mlflow.docker import engine, server_job

from . import local
from .errors import OpsError
from .stack import Stack

_KINDS = ("experiment ", "run ", "model ")


def find(stack: Stack, older_than: str) -> list[str]:
    """What `delete` would delete, a line each.

    Args:
        stack: of the local or docker runtime, and up.
        older_than: how long ago it was deleted at least, such as `30d`.

    Raises:
        OpsError: the stack is not up or runs elsewhere, or `older_than` is no time.
    """
    return [
        line
        for line in _run(stack, ["gc", older_than, "--dry-run"]).splitlines()
        if line.startswith(_KINDS)
    ]


def delete(stack: Stack, older_than: str) -> list[str]:
    """Delete it, with its artifacts; arguments and errors as of `find`.

    Returns:
        What MLflow says of each.
    """
    printed = _run(stack, ["gc", older_than]).splitlines()
    return [line for line in printed if line.endswith("permanently deleted.")]


def _run(stack: Stack, arguments: Sequence[str]) -> str:
    outputs, _ = stack.running()
    if outputs.runtime == "local":
        return run_local(Path(outputs.ops["server_folder"]), outputs.tracking_uri, arguments)
    if outputs.runtime != "docker":
        raise OpsError(
            f"stack '{stack.name}' runs in a cloud, where mlflow:backup.gc_days deletes by schedule"
        )
    try:
        client = engine.connect()
        job = server_job.like_server(client, outputs.ops, "gc", [*server_image.UPKEEP, *arguments])
        url = f"http://{outputs.ops['tracking']['container']}:{server_image.PORT}"
        job = dataclasses.replace(job, environment={**job.environment, "MLFLOW_TRACKING_URI": url})
        return engine.run_job(client, job)
    except engine.EngineError as error:
        raise OpsError(f"gc: {error}") from error


def run_local(folder: Path, url: str, arguments: Sequence[str]) -> str:
    """Run the image's program for upkeep on this machine, with the variables of a local stack's server.

    Args:
        folder: the server's.
        url: where it is reached.
        arguments: of that program; no secrets.

    Returns:
        What it prints.

    Raises:
        OpsError: it failed.
    """
    program = recipes.folder() / "mlflow" / "upkeep.py"
    done = subprocess.run(
        [sys.executable, program, *arguments],
        env=local.environment(folder, url),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise OpsError(f"gc: {done.stderr.strip()[-2000:]}")
    return done.stdout
