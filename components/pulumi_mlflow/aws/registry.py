"""ECR by boto3 and a Docker Engine: finding an image by its tag, building it, pushing it.

Apart from the component: Pulumi's process for dynamic resources imports this module, and not AWS's provider.
"""

import base64
import hashlib
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import boto3
import docker
import pulumi
from botocore.exceptions import ClientError
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, ResourceProvider

from .. import builds, recipes
from ..core import aws_image
from ..recipes import ImageSource

_TAG_LENGTH = 16

_ARCHITECTURE = "amd64"
"""Of the tasks."""


class RegistryError(RuntimeError):
    """An image could not be pushed, or is none that tasks can run."""


def build_args(
    kind: str, source: ImageSource, extras: Iterable[str], *, preview: bool = False
) -> dict[str, str]:
    """Build arguments of an image.

    Args:
        kind: one of `aws_image.KINDS`.
        source: whether official images can be had.
        extras: further drivers of the server's image.
        preview: whether nothing will be built, see `recipes.image_name`.

    Raises:
        LockError: the lock file of official images is broken.
    """
    base = (
        recipes.image_name("base", source, {}, preview=preview)
        if source is ImageSource.BUILD
        else recipes.official(aws_image.BASES[kind])
    )
    drivers = " ".join(sorted(set(extras)))
    return {"BASE": base, **({"EXTRAS": drivers} if drivers and kind == "mlflow" else {})}


def tag(kind: str, source: ImageSource, arguments: dict[str, str], *, preview: bool = False) -> str:
    """Tag of an image: a hash of all that goes into it, so that a tag is never another image."""
    name = recipes.image_name(kind, source, arguments, preview=preview)
    if recipes.is_not_made(name):
        return recipes.NOT_MADE
    recipe = aws_image.dockerfile(kind, "", official=source is ImageSource.REGISTRY)
    return hashlib.sha256(f"{name}\0{recipe}".encode()).hexdigest()[:_TAG_LENGTH]


def find_digest(ecr: Any, repository: str, image_tag: str) -> str:
    """Digest of a tag in a repository, or an empty string.

    Args:
        ecr: boto3's client.
        repository: its name.
        image_tag: the tag.
    """
    try:
        found = ecr.describe_images(repositoryName=repository, imageIds=[{"imageTag": image_tag}])
    except ClientError as error:
        if error.response["Error"]["Code"] == "ImageNotFoundException":
            return ""
        raise
    return str(found["imageDetails"][0]["imageDigest"])


def credentials(ecr: Any) -> dict[str, str]:
    """A login to the registry, good for twelve hours. It is handed to the engine in a header, never in an argument."""
    [given] = ecr.get_authorization_token()["authorizationData"]
    username, _, password = base64.b64decode(given["authorizationToken"]).decode().partition(":")
    return {"username": username, "password": password}


def push(client: docker.DockerClient, name: str, target: str, auth: Mapping[str, str]) -> str:
    """Push an image under another name and tag.

    Args:
        client: the engine that has it.
        name: its name there.
        target: `repository:tag`.
        auth: from `credentials`.

    Returns:
        The digest that the registry gave it.

    Raises:
        RegistryError: the registry refused, or the image is for another processor.
    """
    image = client.images.get(name)
    architecture = image.attrs.get("Architecture", _ARCHITECTURE)
    if architecture != _ARCHITECTURE:
        raise RegistryError(
            f"{name} is for {architecture}, and tasks run on {_ARCHITECTURE}: build it on such a machine, "
            "or give an image that there is by its digest"
        )
    repository, _, image_tag = target.rpartition(":")
    image.tag(repository, image_tag)
    digest = ""
    for part in client.api.push(
        repository, tag=image_tag, stream=True, decode=True, auth_config=dict(auth)
    ):
        if "error" in part:
            raise RegistryError(f"{target}: {part['error']}")
        digest = str(part.get("aux", {}).get("Digest", "")) or digest
    if not digest:
        raise RegistryError(f"{target}: the registry named no digest")
    return digest


def build(
    client: docker.DockerClient, kind: str, source: ImageSource, arguments: dict[str, str]
) -> str:
    """Build an image for Fargate on an engine, with what it begins with where that is ours; returns its name."""
    name = f"pulumi-mlflow/fargate-{kind}:{tag(kind, source, arguments)}"
    if source is ImageSource.BUILD and not builds.image_exists(client, arguments["BASE"]):
        _build(client, arguments["BASE"], "base", source, {}, fargate=False)
    _build(client, name, kind, source, arguments, fargate=True)
    return name


def _build(
    client: docker.DockerClient,
    name: str,
    kind: str,
    source: ImageSource,
    arguments: dict[str, str],
    *,
    fargate: bool,
) -> None:
    # On disk, not in a tmpfs: the base image's context is 200 MB.
    recipes.cache_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=recipes.cache_folder()) as folder:
        recipes.assemble(kind, source, arguments, Path(folder))
        if fargate:
            recipe = Path(folder) / "Dockerfile"
            official = source is ImageSource.REGISTRY
            recipe.write_text(aws_image.dockerfile(kind, recipe.read_text(), official=official))
        builds.build_image(
            client, name, Path(folder), arguments, {"pulumi-mlflow/managed-by": "pulumi"}
        )


class _PushProvider(ResourceProvider):
    serialize_as_secret_always = False

    def create(self, props: dict[str, Any]) -> CreateResult:
        ecr = boto3.client("ecr", region_name=props["region"])
        digest = find_digest(ecr, props["repository"], props["tag"])
        if not digest:
            client = builds.connect()
            name = build(client, props["kind"], ImageSource(props["source"]), props["build_args"])
            target = f"{props['repository_url']}:{props['tag']}"
            builds.say(f"image {name}: pushing")
            digest = push(client, name, target, credentials(ecr))
        return CreateResult(
            id_=f"{props['repository']}:{props['tag']}", outs={**props, "digest": digest}
        )

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        changed = [
            *(["tag"] if recipes.is_changed(olds.get("tag", ""), news["tag"]) else []),
            *(["repository_url"] if olds.get("repository_url") != news["repository_url"] else []),
        ]
        # The old digest runs until a task definition with the new one has taken over.
        return DiffResult(changes=bool(changed), replaces=changed)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        ecr = boto3.client("ecr", region_name=props["region"])
        digest = find_digest(ecr, props["repository"], props["tag"])
        return ReadResult(id_=id_ if digest else "", outs={**props, "digest": digest})

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """A rollback may want it; the repository's lifecycle drops it."""


class AwsImagePush(Resource, module="pulumi-mlflow", name="AwsImagePush"):
    """An image that is in its repository: found there by its tag, else built on this machine's engine and pushed.

    Args:
        name: logical name.
        props: `kind`, `source`, `build_args`, `tag`, `repository`, `repository_url`, `region`.

    Attributes:
        digest: of its manifest.
    """

    digest: pulumi.Output[str]

    def __init__(
        self, name: str, props: dict[str, Any], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(_PushProvider(), name, {**props, "digest": None}, opts)
