"""ECR: an image is built and pushed before the first task starts, and run by its digest ever after."""

from typing import NotRequired, Optional, TypedDict

import pulumi
import pulumi_aws as aws

from .. import recipes
from ..core import aws_image, naming
from ..recipes import ImageSource
from .common import AwsComponent
from .registry import AwsImagePush, build_args, tag


class AwsImageArgs(TypedDict):
    """Arguments of AwsImage."""

    region: str
    """Region of the repository."""
    kind: NotRequired[str]
    """`mlflow`, `nginx` or `oauth2-proxy`; `mlflow` unless given."""
    source: NotRequired[str]
    """`registry`: begins with an official image; `build`: all from packages; `registry` unless given."""
    extras: NotRequired[list[str]]
    """What the server's image has besides: `gcs`, `azure`, `metrics`, `redis`."""
    existing: NotRequired[Optional[str]]
    """An image that is in a registry already, by its digest: nothing is built, and no engine is needed."""
    deployment: NotRequired[str]
    """Prefix of physical names; `<project>-<stack>` unless given."""


class AwsImage(AwsComponent):
    """An image in a repository of its own: scanned at its push, its tag never moved, run by its digest.

    Raises:
        ValueError: an image that there is not, or an existing one without a digest.
        LockError: the lock file of official images is broken.
        MissingIngredientError: set-up has not made a program of it, and this is no preview.
    """

    _role = "image"

    reference: pulumi.Output[str]
    """`repository@digest`, for task definitions."""
    outside: bool
    """Whether it is pulled by way of the Internet: it is not in the ECR of its region."""
    repository_arn: Optional[pulumi.Output[str]]
    """ARN of the repository, for those who pull; none with an existing image of another registry than ECR."""

    def __init__(
        self, name: str, args: AwsImageArgs, opts: Optional[pulumi.ResourceOptions] = None
    ) -> None:
        kind, existing = args.get("kind", "mlflow"), args.get("existing")
        _check(name, args)
        source = ImageSource(args.get("source", ImageSource.REGISTRY.value))
        preview = pulumi.runtime.is_dry_run()
        arguments = (
            {} if existing else build_args(kind, source, args.get("extras", []), preview=preview)
        )
        super().__init__(name, args.get("deployment"), opts)
        if existing:
            self.reference = pulumi.Output.from_input(existing)
            self.outside = aws_image.outside(existing, args["region"])
            arn = aws_image.repository_arn(existing)
            self.repository_arn = pulumi.Output.from_input(arn) if arn else None
            self.register_outputs(
                {"reference": self.reference, "repository_arn": self.repository_arn}
            )
            return
        self.outside = False
        repository = aws.ecr.Repository(
            self._child("repository"),
            # ECR's settings of scanning and tags change in place; another name would replace it.
            name=f"{naming.accepted_name(self._deployment, aws_image.REPOSITORY)}/{kind}",
            image_tag_mutability="IMMUTABLE",
            image_scanning_configuration={"scan_on_push": True},
            # Images are made again from their recipes; a stack that is taken down must not end half way at them.
            force_delete=True,
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
                "tag": tag(kind, source, arguments, preview=preview),
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
