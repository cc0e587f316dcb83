"""Configuration files and secrets for a container, without bind mounts, so that a remote engine works too."""

import io
import tarfile
from collections.abc import Mapping
from typing import Any

import pulumi
import requests
import tenacity
from docker.errors import APIError, NotFound
from pulumi.dynamic import (
    CheckResult,
    CreateResult,
    DiffResult,
    ReadResult,
    Resource,
    ResourceProvider,
)

from ..core import files as core
from ..core import naming
from . import engine, leftovers

FILES_PATH = core.FILES_PATH
"""Where a container finds its files."""

VERSION_LABEL = "pulumi-mlflow/version"

_PATIENCE = 120
"""Seconds that files wait for their container to go: twice the longest that one is given to stop."""


def _archive(files: Mapping[str, str], uid: int) -> bytes:
    """The files as a tar, each readable by its owner only."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for folder in sorted({path.rpartition("/")[0] for path in files} - {""}):
            member = tarfile.TarInfo(folder)
            member.type, member.mode, member.uid, member.gid = tarfile.DIRTYPE, 0o500, uid, uid
            archive.addfile(member)
        for path, content in sorted(files.items()):
            data = content.encode()
            member = tarfile.TarInfo(path)
            member.size, member.mode, member.uid, member.gid = len(data), 0o400, uid, uid
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


class _Provider(ResourceProvider):
    serialize_as_secret_always = False

    def check(self, olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        if not isinstance(news.get("files"), dict):  # not known yet
            return CheckResult({**news, "version": None, "suffix": None}, [])
        made = core.version(news["files"], news["name"])
        suffix = naming.unique_suffix(olds, made)
        return CheckResult({**news, "version": made, "suffix": suffix}, [])

    def create(self, props: dict[str, Any]) -> CreateResult:
        made = props["version"]
        volume = f"{props['name']}-{props['suffix']}"
        client = engine.connect()
        labels = {**props["labels"], VERSION_LABEL: made}
        leftovers.carriers(client, volume, labels)
        client.volumes.create(name=volume, labels=labels)
        # Never started: the engine copies into its mounts all the same.
        carrier = client.containers.create(
            props["image"], ["true"], volumes=[f"{volume}:{FILES_PATH}"], labels=labels
        )
        try:
            carrier.put_archive(FILES_PATH, _archive(props["files"], int(props["uid"])))
        finally:
            carrier.remove(force=True)
        # Without the files: they stay where they are encrypted, in the inputs.
        return CreateResult(id_=volume, outs={"volume": volume, "version": made})

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        same = news["version"] == olds["version"]
        return DiffResult(changes=not same, replaces=[] if same else ["files"])

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        try:
            engine.connect().volumes.get(id_)
        except NotFound:
            return ReadResult(id_="", outs={})
        return ReadResult(id_=id_, outs=props)

    def delete(self, id_: str, _props: dict[str, Any]) -> None:
        # Where two things are replaced that a container stands on, Pulumi takes these down side by side, and the files
        # may be due before the container is.
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_in_use),
            stop=tenacity.stop_after_delay(_PATIENCE),
            wait=tenacity.wait_fixed(0.5),
            reraise=True,
        )
        client = engine.connect()
        try:
            volume = client.volumes.get(id_)
            leftovers.carriers(client, id_, volume.attrs["Labels"] or {})
            attempts(volume.remove)
        except NotFound:
            return


def _in_use(error: BaseException) -> bool:
    return isinstance(error, APIError) and error.status_code == requests.codes.conflict


class DockerFiles(Resource, module="pulumi-mlflow", name="DockerFiles"):
    """A volume with files of mode 0400, whose name tells their version and never comes back.

    A change of a file makes a new volume, which restarts the container that mounts it, and then removes the old one.
    (The provider's own `uploads` cannot write into a container with a read-only root, and its files would take the
    owner from the image.)

    Args:
        name: logical name.
        volume: first part of the volume's name.
        files: path below `FILES_PATH` → content; secret: encrypted in state, absent from `docker inspect`.
        image: any image of the engine.
        uid: owner and group of the files.
        labels: labels of the volume.
        opts: options.

    Attributes:
        volume: name of the volume.
    """

    volume: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        volume: str,
        files: Mapping[str, pulumi.Input[str]],
        image: pulumi.Input[str],
        uid: int,
        labels: dict[str, str],
        opts: pulumi.ResourceOptions,
    ) -> None:
        contents: pulumi.Output[dict[str, str]] = pulumi.Output.all(**files)
        secret: pulumi.Output[dict[str, str]] = pulumi.Output.secret(contents)
        props = {
            "name": volume,
            "files": secret,
            "image": image,
            "uid": uid,
            "labels": labels,
            "volume": None,
        }
        super().__init__(_Provider(), name, props, opts)
