"""ECR: an image is built and pushed before the first task starts, and run by its digest ever after."""

import base64
import hashlib
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NotRequired, Optional, TypedDict

import boto3
import docker
import pulumi
import pulumi_aws as aws
from botocore.exceptions import ClientError
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, ResourceProvider

from .. import builds, recipes
from ..core import aws_image
from ..recipes import ImageSource
from .common import AwsComponent

_BASES = {"mlflow": "python", "nginx": "nginx", "oauth2-proxy": "debian"}
"""Kind → official image that it begins with."""

_TAG_LENGTH = 16

_ARCHITECTURE = "amd64"
"""Of the tasks."""


class RegistryError(RuntimeError):
    """An image could not be pushed, or is none that tasks can run."""


def build_args(kind: str, source: ImageSource, extras: Iterable[str]) -> dict[str, str]:
    """Build arguments of an image.

    Args:
        kind: one of `aws_image.KINDS`.
        source: whether official images can be had.
        extras: further drivers of the server's image.
    """
    base = (
        recipes.image_name("base", source, {})
        if source is ImageSource.BUILD
        else recipes.OFFICIAL[_BASES[kind]]
    )
    drivers = " ".join(sorted(set(extras)))
    return {"BASE": base, **({"EXTRAS": drivers} if drivers and kind == "mlflow" else {})}


def tag(kind: str, source: ImageSource, arguments: dict[str, str]) -> str:
    """Tag of an image: a hash of all that goes into it, so that a tag is never another image."""
    name = recipes.image_name(kind, source, arguments)
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
        changed = [key for key in ("tag", "repository_url") if olds.get(key) != news[key]]
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


class AwsImageArgs(TypedDict):
    """Arguments of AwsImage."""

    region: str
    """Region of the repository."""
    kind: NotRequired[str]
    """`mlflow`, `nginx` or `oauth2-proxy`; `mlflow` unless given."""
    source: NotRequired[str]
    """`registry`: begins with an official image; `build`: all from packages; `registry` unless given."""
    extras: NotRequired[list[str]]
    """Further drivers in the server's image: `gcs`, `azure`."""
    existing: NotRequired[Optional[str]]
    """An image that is in a registry already, by its digest: nothing is built, and no engine is needed."""
    deployment: NotRequired[str]
    """Prefix of physical names; `<project>-<stack>` unless given."""


class AwsImage(AwsComponent):
    """An image in a repository of its own: scanned at its push, its tag never moved, run by its digest.

    Raises:
        ValueError: an image that there is not, or an existing one without a digest.
        MissingIngredientError: set-up has not made a program of it.
    """

    _role = "image"

    reference: pulumi.Output[str]
    """`repository@digest`, for task definitions."""
    repository_arn: Optional[pulumi.Output[str]]
    """ARN of the repository, for those who pull; none with `existing`."""

    def __init__(
        self, name: str, args: AwsImageArgs, opts: Optional[pulumi.ResourceOptions] = None
    ) -> None:
        kind, existing = args.get("kind", "mlflow"), args.get("existing")
        _check(name, args)
        super().__init__(name, args.get("deployment"), opts)
        if existing:
            self.reference = pulumi.Output.from_input(existing)
            self.repository_arn = None
            self.register_outputs({"reference": self.reference})
            return
        source = ImageSource(args.get("source", ImageSource.REGISTRY.value))
        arguments = build_args(kind, source, args.get("extras", []))
        repository = aws.ecr.Repository(
            self._child("repository"),
            # ECR's settings of scanning and tags change in place; another name would replace it.
            name=f"{self._deployment}/{kind}",
            image_tag_mutability="IMMUTABLE",
            image_scanning_configuration={"scan_on_push": True},
            force_delete=False,
            tags=self._tags(kind),
            opts=self._opts(),
        )
        aws.ecr.LifecyclePolicy(
            self._child("lifecycle"),
            repository=repository.name,
            policy=aws_image.lifecycle_policy(),
            opts=self._opts(),
        )
        pushed = AwsImagePush(
            self._child("push"),
            {
                "kind": kind,
                "source": source.value,
                "build_args": arguments,
                "tag": tag(kind, source, arguments),
                "repository": repository.name,
                "repository_url": repository.repository_url,
                "region": args["region"],
            },
            self._opts(),
        )
        self.reference = pulumi.Output.all(repository.repository_url, pushed.digest).apply(
            lambda known: f"{known[0]}@{known[1]}"
        )
        self.repository_arn = repository.arn
        self.register_outputs({"reference": self.reference, "repository_arn": self.repository_arn})


def _check(name: str, args: AwsImageArgs) -> None:
    kind, existing = args.get("kind", "mlflow"), args.get("existing")
    if kind not in aws_image.KINDS:
        raise ValueError(
            f"{name}: kind: must be one of {', '.join(aws_image.KINDS)} (got {kind!r})"
        )
    unknown = sorted(set(args.get("extras", [])) - set(recipes.EXTRAS))
    if unknown:
        raise ValueError(
            f"{name}: extras: {', '.join(unknown)} is none of {', '.join(recipes.EXTRAS)}"
        )
    if existing and (reason := aws_image.check_reference(existing)):
        raise ValueError(f"{name}: existing: {reason}")
    sources = [source.value for source in ImageSource]
    if args.get("source", sources[0]) not in sources:
        raise ValueError(
            f"{name}: source: must be one of {', '.join(sources)} (got {args.get('source')!r})"
        )
