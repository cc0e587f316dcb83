"""The supervised server as a Pulumi resource."""

import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import (
    CreateResult,
    DiffResult,
    ReadResult,
    Resource,
    ResourceProvider,
    UpdateResult,
)

from . import folder, processes, supervision

_FIELDS = tuple(field.name for field in fields(supervision.Spec))


def _spec(props: dict[str, Any]) -> supervision.Spec:
    values = {name: props[name] for name in _FIELDS}
    return supervision.Spec(
        **{
            **values,
            "folder": Path(props["folder"]),
            "argv": tuple(props["argv"]),
            "port": int(props["port"]),
        }
    )


def _progress(line: str) -> None:
    # The engine shows what a provider writes to stderr beneath the resource.
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


class _Provider(ResourceProvider):
    serialize_as_secret_always = False

    def create(self, props: dict[str, Any]) -> CreateResult:
        spec = _spec(props)
        try:
            supervision.start(spec, _progress)
        except BaseException:
            # Not in the state, so nobody would remove it later; a port conflict leaves one that still runs alone.
            if folder.is_ours(spec.folder) and not processes.of_folder(spec.folder):
                folder.purge(spec.folder)
            raise
        return CreateResult(id_=props["folder"], outs={**props, "state": supervision.RUNNING})

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        return ReadResult(id_=id_, outs={**props, "state": supervision.state(_spec(props))})

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        wanted = {**news, "state": supervision.RUNNING}
        changed = [name for name in (*_FIELDS, "state") if olds.get(name) != wanted.get(name)]
        # The id is the folder.
        replaces = [name for name in changed if name == "folder"]
        return DiffResult(changes=bool(changed), replaces=replaces, delete_before_replace=True)

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        supervision.start(_spec(news), _progress)
        return UpdateResult(outs={**news, "state": supervision.RUNNING})

    def delete(self, id_: str, _props: dict[str, Any]) -> None:
        supervision.stop(Path(id_))
        folder.purge(Path(id_))


class ServerProcess(Resource, module="pulumi-mlflow", name="ServerProcess"):
    """An MLflow server that supervisord keeps alive; `up` heals a dead, hung or drifted one.

    Deleting it stops it and removes its configuration and logs; its data belongs to others.

    Args:
        name: logical name.
        spec: the fields of `supervision.Spec` as inputs; `secrets` must be a secret.

    Attributes:
        url: where this machine reaches the server, once it is ready.
        state: `running`, or what a refresh found wrong.
    """

    url: pulumi.Output[str]
    state: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        spec: dict[str, pulumi.Input[Any]],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        secret = pulumi.ResourceOptions(additional_secret_outputs=["secrets"])
        super().__init__(
            _Provider(),
            name,
            {**spec, "state": None},
            pulumi.ResourceOptions.merge(secret, opts),
        )
