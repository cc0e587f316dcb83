"""`pulumi-mlflow images-update`: take in what the official tags mean now, on purpose and by digest."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import requests
from docker.errors import DockerException

from .. import builds, recipes
from ..core import aws_image, base_images
from ..core.base_images import Change, LockError, Running
from . import state
from .errors import OpsError
from .stack import Stack

AWS_IMAGE_PUSH = "pulumi-python:dynamic/pulumi-mlflow:AwsImagePush"
"""Type token of `pulumi_mlflow.aws.registry.AwsImagePush`."""

REGISTRY_SECONDS = 60
"""How long a registry may take to name one digest. The engine asks it for a manifest, and nothing is pulled."""


@dataclass(frozen=True)
class Update:
    """What a look at the registries brought."""

    file: Path
    changes: list[Change]
    running: list[Running]
    """Images that the stack has pushed; empty without a stack."""

    @property
    def is_new(self) -> bool:
        """Whether the lock file has to be written."""
        return any(change.is_new for change in self.changes)

    @property
    def is_behind(self) -> bool:
        """Whether the stack runs another base than the newest, or one that is not known."""
        now = base_images.merge(self.changes)
        return any(one.verdict(now) != "same" for one in self.running)

    def write(self) -> None:
        """Write the lock file, whole or not at all.

        Raises:
            OpsError: it cannot be written.
        """
        beside = self.file.with_suffix(".json.new")
        try:
            beside.write_text(base_images.render(base_images.merge(self.changes)))
            beside.replace(self.file)
        except OSError as error:
            raise OpsError(f"{self.file}: cannot be written: {error}") from error


def look(stack: Stack | None, show: Callable[[str], None]) -> Update:
    """Ask the registries what the official tags mean now. Nothing is written or pulled.

    Args:
        stack: whose images are compared as well.
        show: says what is being done.

    Raises:
        OpsError: the lock file is broken or not ours to write, or stack, engine or registry do not answer.
    """
    file = recipes.bases_file()
    if Path(recipes.__file__).parent in file.parents:
        raise OpsError(
            f"{file}: is inside the installed package, where nobody commits it; run this in a checkout of "
            "pulumi-mlflow, and install from there"
        )
    try:
        locked = recipes.locked_bases()
    except LockError as error:
        raise OpsError(str(error)) from error
    running = pushed(stack) if stack else []
    references = sorted({recipes.OFFICIAL[base] for base in aws_image.BASES.values()})
    found = _digests(references, file, show)
    today = datetime.now(UTC).date()
    return Update(file, base_images.compare(locked, found, today), running)


def pushed(stack: Stack) -> list[Running]:
    """The images that a stack has pushed to its repositories, as its state has them.

    Raises:
        OpsError: there is no such stack.
    """
    found = [
        resource["outputs"]
        for resource in state.resources(stack.export())
        # One that is being replaced is there twice; what runs is the new one.
        if resource["type"] == AWS_IMAGE_PUSH and not resource.get("delete")
    ]
    return [
        Running(str(one["kind"]), str(one["digest"]), str(one["build_args"]["BASE"]))
        for one in found
    ]


def _digests(references: list[str], file: Path, show: Callable[[str], None]) -> dict[str, str]:
    try:
        client = builds.connect(REGISTRY_SECONDS)
    except DockerException as error:
        raise OpsError(
            f"Docker Engine: does not answer ({error}), and it is what asks for {', '.join(references)}; see "
            f"docs/runbooks/engine-unreachable.md, or let DOCKER_HOST name another. {file} is as it was"
        ) from error
    found = {}
    for reference in references:
        show(reference)
        try:
            digest = str(client.images.get_registry_data(reference).id)
        except (DockerException, requests.RequestException, KeyError) as error:
            raise OpsError(
                f"{reference}: the engine got no digest from its registry ({error}). Run this where docker pull "
                f"{reference} works, if need be with a proxy in the engine's settings; if the registry no longer "
                f"has the tag, raise it in recipes.py. {file} is as it was"
            ) from error
        if not base_images.is_digest(digest):
            raise OpsError(
                f"{reference}: the registry's answer {digest!r} is no digest; ask another, or through no mirror. "
                f"{file} is as it was"
            )
        found[reference] = digest
    return found
