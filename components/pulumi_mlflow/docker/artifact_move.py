"""Copies the artifacts of a Docker stack from the store that it had to the one that it has.

What is needed of the old store is kept in a volume of its own before the switch, since the switch removes the store's
container, and may remove its keys from the stack's state. There too is written down what was compared, so that a copy
that was ended goes on.
"""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import docker
from docker.errors import NotFound

from ..core import naming, store_server, stores
from ..core.server_image import ARTIFACTS, UID
from . import engine, server_job
from .files import FILES_PATH

PROXIED_ROOT = "mlflow-artifacts:/"
"""What MLflow writes before the path of an artifact that goes through the server."""

_KEPT = "/dump"
"""A folder that the unprivileged user owns in the image: so it does in a volume that is mounted there first."""

_STORE_FILES = "/store-files"
_SOURCE_FOLDER = "/source"
_OPS_LABEL = "pulumi-mlflow/moving"
"""Label of the volume: what the stack's output `ops` said of the old store; no secrets."""

Progress = Callable[[str], None]


def kept(client: docker.DockerClient, deployment: str) -> dict[str, str] | None:
    """What is kept of an old store, secrets aside; None if nothing."""
    try:
        volume = client.volumes.get(_volume(deployment))
    except NotFound:
        return None
    found: dict[str, str] = json.loads(volume.attrs["Labels"][_OPS_LABEL])
    return found


def keep(client: docker.DockerClient, ops: Mapping[str, Any]) -> None:
    """Keep what is needed to read the store that the stack has now.

    Args:
        client: the engine.
        ops: the stack's output of that name.

    Raises:
        EngineError: it failed; nothing is kept.
    """
    deployment, old = ops["deployment"], ops["artifacts"]
    labels = {
        **naming.labels(deployment, "artifacts"),
        _OPS_LABEL: json.dumps({key: value for key, value in old.items() if value}),
    }
    volume = client.volumes.create(name=_volume(deployment), labels=labels)
    try:
        url = f"http://{_source(deployment)}:{store_server.PORT}" if _ours(old) else ""
        job = server_job.like_server(
            client, ops, "artifacts", [*ARTIFACTS, "keep", _KEPT, _STORE_FILES, url]
        )
        job.volumes[volume.name] = _KEPT
        if "files" in old:
            job.volumes[old["files"]] = f"{_STORE_FILES}:ro"
        engine.run_job(client, job)
    except BaseException:
        volume.remove(force=True)
        raise


def copy(client: docker.DockerClient, ops: Mapping[str, Any], progress: Progress) -> str:
    """Copy what the old store has to the new one, and give it the URIs of the new place; the server must be stopped.

    Args:
        client: the engine.
        ops: the stack's output of that name, after the switch.
        progress: called with how far it is.

    Returns:
        What was copied, for a person.

    Raises:
        EngineError: a copy failed or differs; it goes on where it was when it is run again.
    """
    old = kept(client, ops["deployment"]) or {}
    with _source_running(client, ops, old):
        job = server_job.like_server(client, ops, "artifacts", [*ARTIFACTS, "migrate", _KEPT])
        job.volumes[_volume(ops["deployment"])] = _KEPT
        if old["store"] == "folder":
            job.volumes[old["volume"]] = f"{_SOURCE_FOLDER}:ro"
        done = engine.run_job(client, job, progress)
    rewrite(client, ops, old)
    return done.strip().splitlines()[-1]


def rewrite(client: docker.DockerClient, ops: Mapping[str, Any], old: Mapping[str, str]) -> None:
    """Give artifacts that MLflow's database knows by their place in the old store that in the new one.

    Args:
        client: the engine.
        ops: the stack's output of that name, after the switch.
        old: what `kept` says of the old store.
    """
    if "://" not in old["uri"]:
        return
    job = server_job.like_server(client, ops, "artifacts", [])
    direct = job.environment["ARTIFACTS_MODE"] == "direct"
    new = job.environment["ARTIFACTS_URI"] if direct else PROXIED_ROOT
    job.command.extend([*ARTIFACTS, "rewrite", old["uri"], new])
    engine.run_job(client, job)


def forget(client: docker.DockerClient, deployment: str) -> None:
    """Remove what was kept."""
    with contextlib.suppress(NotFound):
        client.volumes.get(_volume(deployment)).remove()


def _volume(deployment: str) -> str:
    return naming.physical_name(deployment, "artifacts", "move")


def _source(deployment: str) -> str:
    """Name of the container that the old store runs in again."""
    return naming.physical_name(deployment, "artifacts", "source")


def _ours(old: Mapping[str, str]) -> bool:
    return stores.abilities(old["store"]).runs_here


@contextlib.contextmanager
def _source_running(
    client: docker.DockerClient, ops: Mapping[str, Any], old: Mapping[str, str]
) -> Iterator[None]:
    """The old store, with its own data and keys, for the time of the block; nothing if it is not one of ours."""
    if not _ours(old):
        yield
        return
    program = store_server.store_program(old["store"])
    job = engine.Job(
        name=_source(ops["deployment"]),
        image=old["image"],
        command=program.command,
        environment=program.environment,
        volumes={
            old["volume"]: program.data_path,
            # Its keys are in the same places as in the volume of files that it had.
            _volume(ops["deployment"]): f"{FILES_PATH}:ro",
        },
        network=ops["network"],
        user=f"{UID}:{UID}",
        labels=naming.labels(ops["deployment"], "artifacts"),
    )
    with engine.running(client, job):
        yield
