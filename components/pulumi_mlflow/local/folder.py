"""Folders of data that we made, told from anybody else's by a marker file."""

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, ResourceProvider

MARKER = ".pulumi-mlflow.json"
"""Lies in every folder that we made; without it a folder is never adopted and never deleted."""

PRIVATE = 0o700


def claim(path: Path, deployment: str, purpose: str) -> None:
    """Make a folder ours, or adopt one that already is.

    Args:
        path: absolute folder; its parents are made too.
        deployment: project and stack, such as `mlflow-local`.
        purpose: what is kept in it, such as `database`.

    Raises:
        ValueError: the path is not absolute, belongs to another deployment or purpose, or holds files of others.
    """
    if not path.is_absolute():
        raise ValueError(f"folder {path}: must be absolute")
    claimed = {"deployment": deployment, "purpose": purpose}
    owner = _owner(path)
    if owner is not None and owner != claimed:
        raise ValueError(
            f"folder {path}: holds the {owner.get('purpose')} of {owner.get('deployment')}, not the "
            f"{purpose} of {deployment}; choose another data_dir, or edit {path / MARKER} to hand it over"
        )
    path.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    if owner is None:
        if any(path.iterdir()):
            raise ValueError(
                f"folder {path}: holds files that are not ours (no {MARKER}); choose another data_dir"
            )
        (path / MARKER).write_text(json.dumps(claimed, indent=2) + "\n")


def is_ours(path: Path) -> bool:
    """Whether the folder exists and carries our marker."""
    return _owner(path) is not None


def purge(path: Path) -> None:
    """Delete a folder of ours with all that is in it, and its parent if that leaves it empty.

    Raises:
        ValueError: the folder exists without our marker.
    """
    if not path.exists():
        return
    if not is_ours(path):
        raise ValueError(f"folder {path}: has no {MARKER}, so it is not ours to delete")
    shutil.rmtree(path)
    with suppress(OSError):  # others keep something in it, or have just removed it
        path.parent.rmdir()


def _owner(path: Path) -> dict[str, str] | None:
    try:
        owner: dict[str, str] = json.loads((path / MARKER).read_text())
    except FileNotFoundError:
        return None
    return owner


class _Provider(ResourceProvider):
    serialize_as_secret_always = False

    def create(self, props: dict[str, Any]) -> CreateResult:
        claim(Path(props["path"]), props["deployment"], props["purpose"])
        return CreateResult(id_=props["path"], outs=props)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        # Without an id the engine takes the folder for gone, and `up` makes it again.
        return ReadResult(id_=id_ if is_ours(Path(id_)) else None, outs=props)

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        moved = [key for key in ("path", "deployment", "purpose") if olds[key] != news[key]]
        return DiffResult(changes=bool(moved), replaces=moved)

    def delete(self, id_: str, _props: dict[str, Any]) -> None:
        purge(Path(id_))


class DataDirectory(Resource, module="pulumi-mlflow", name="DataDirectory"):
    """A folder that holds data: protected, adopted when it is already there, deleted only when it is ours.

    Args:
        name: logical name.
        path: absolute folder; a change is refused by the protection, so data is never left behind silently.
        deployment: project and stack; a folder of another deployment is refused.
        purpose: what is kept in it.

    Attributes:
        path: the folder, once it is there.
    """

    path: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        path: pulumi.Input[str],
        deployment: str,
        purpose: str,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(
            _Provider(),
            name,
            {"path": path, "deployment": deployment, "purpose": purpose},
            pulumi.ResourceOptions.merge(pulumi.ResourceOptions(protect=True), opts),
        )
