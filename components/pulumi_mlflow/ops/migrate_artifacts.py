"""Moves a stack's artifacts to where its stack file says: another store, another bucket, another machine.

`pulumi up` switches first, and the copy follows while the server is stopped: so nothing is written to the old store any
more, whatever is copied. The old store's data is only read, and stays where it is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import docker

from pulumi_mlflow.core import stores
from pulumi_mlflow.docker import artifact_move, engine

from .errors import OpsError
from .migration import Move, Plan, Progress, docker_ops, require_free
from .stack import Stack

_AGAIN = (
    "run migrate-artifacts again, which goes on where it was, or put the settings back and run it to go back; "
    "the server is stopped until then"
)


@dataclass(frozen=True)
class Moved:
    """What a move has done.

    Args:
        said: what was copied.
        left: volume that holds the old artifacts, no longer part of the stack; empty if there is none.
    """

    said: str
    left: str


def migrate_artifacts(
    stack: Stack, confirm: Callable[[Plan], None], progress: Progress, *, copied: bool = False
) -> Moved:
    """Move the artifacts, or go on with a move, or take one back.

    Args:
        stack: of the docker runtime; up, or in the middle of a move.
        confirm: called with what will be done before anything is changed; raises to stop.
        progress: called with what is being done.
        copied: the artifacts were copied by other means; nothing is copied or compared.

    Raises:
        OpsError: there is nothing to move, or a step failed; the message says how to go on.
    """
    ops = _ops(stack)
    client, deployment = engine.connect(), ops["deployment"]
    move = Move(stack, "artifacts")
    progress("asking Pulumi what would change")
    move.open()
    try:
        plan = move.plan()
        if (
            not plan.resumed
            and plan.before == plan.after
            and artifact_move.kept(client, deployment)
        ):
            # Ended after the artifacts had been compared.
            return _finish(move, client, ops)
        _require_sense(plan, stack, client)
        _require_copyable(plan, ops, copied=copied)
        confirm(plan)
        _keep(client, ops, plan, progress)
    except BaseException:
        move.cancel()
        raise
    progress("switching")
    move.up()
    if plan.back:
        move.close()
        artifact_move.forget(client, deployment)
        return Moved(said="the settings are as they were, nothing was copied", left="")
    said = _arrive(client, stack.outputs().ops, progress, copied=copied)
    return _finish(move, client, ops, said)


def _finish(
    move: Move,
    client: docker.DockerClient,
    ops: Mapping[str, Any],
    said: str = "the artifacts had been moved and compared before",
) -> Moved:
    """Hand the stack back to ordinary `up`s."""
    old = artifact_move.kept(client, ops["deployment"]) or {}
    move.close()
    artifact_move.forget(client, ops["deployment"])
    return Moved(said=said, left=_left(client, old))


def _keep(
    client: docker.DockerClient, ops: Mapping[str, Any], plan: Plan, progress: Progress
) -> None:
    """Keep how the old store is read, unless an earlier run did."""
    deployment = ops["deployment"]
    if plan.back:
        return
    if not plan.resumed:
        artifact_move.forget(client, deployment)
        progress("keeping the old store's keys")
        artifact_move.keep(client, ops)
    elif artifact_move.kept(client, deployment) is None:
        raise OpsError(
            "the volume that tells how the old store is read is not there any more; put the settings back and run "
            "migrate-artifacts to go back"
        )


def _arrive(
    client: docker.DockerClient, ops: Mapping[str, Any], progress: Progress, *, copied: bool
) -> str:
    """Stop the server and bring the artifacts."""
    name = ops["tracking"]["container"]
    server = client.containers.get(name)
    progress("server: stopping")
    server.stop(timeout=30)
    try:
        if copied:
            old = artifact_move.kept(client, ops["deployment"]) or {}
            artifact_move.rewrite(client, ops, old)
            said = "nothing was copied or compared, as you said"
        else:
            said = artifact_move.copy(client, ops, progress)
    except engine.EngineError as error:
        raise OpsError(f"{error}\n{_AGAIN}") from error
    server.start()
    engine.wait_healthy(client, name, timeout=180, say=progress)
    return said


def _ops(stack: Stack) -> Mapping[str, Any]:
    ops = docker_ops(stack, "migrate-artifacts moves stores")
    if "uri" not in ops["artifacts"]:
        raise OpsError(
            "output 'ops': its artifacts have no 'uri'; run 'up' with this version first"
        )
    return ops


def _require_sense(plan: Plan, stack: Stack, client: docker.DockerClient) -> None:
    if plan.resumed:
        return
    if plan.before == plan.after:
        raise OpsError(
            f"stack '{stack.name}': Pulumi.{stack.name}.yaml says the artifacts are where they are; change "
            "mlflow:artifacts there first"
        )
    require_free(plan, client)


def _require_copyable(plan: Plan, ops: Mapping[str, Any], *, copied: bool) -> None:
    """Stores of other providers have tools of their own, and we have none of theirs."""
    if copied or plan.back:
        return
    old = ops["artifacts"]["store"]
    places = [*plan.before.values(), *plan.after.values()]
    foreign = next((p for p in places if p.startswith(("gs://", "wasbs://", "abfss://"))), None)
    kind = stores.abilities(old)
    if foreign is None and (kind.speaks_s3 or old == "folder"):
        return
    raise OpsError(
        f"{foreign or old}: only folders and stores that speak S3 are copied. Copy with the provider's own tool "
        "(gcloud storage rsync, azcopy), then run this with --copied, which switches without a copy"
    )


def _left(client: docker.DockerClient, old: Mapping[str, str]) -> str:
    volume = old.get("volume", "")
    return volume if volume in {v.name for v in client.volumes.list()} else ""
