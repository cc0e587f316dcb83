"""Images for Fargate: what their recipes need besides, how they are named, how long they are kept."""

import json
import re

from . import iam
from .files import FILES_PATH
from .server_image import SCRATCH

KINDS = ("mlflow", "nginx", "oauth2-proxy")
"""Images that tasks run: folders below `images/`."""

REPOSITORY = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
"""A part of a repository's name, as ECR takes it: no capitals."""

BASES = {"mlflow": "python", "nginx": "nginx", "oauth2-proxy": "debian"}
"""Kind → official image that it begins with, unless all is built from packages."""

_FOLDERS = {
    "mlflow": (FILES_PATH, SCRATCH, "/tmp"),  # noqa: S108 - in the container
    "nginx": (FILES_PATH, "/tmp"),  # noqa: S108
    "oauth2-proxy": (FILES_PATH,),
}
"""Kind → folders that its task writes in; all else is read-only."""

_OFFICIAL_NGINX = """\
ARG BASE
FROM ${BASE}
RUN install -d -o nginx -g nginx /run/pulumi-mlflow
USER 101:101
EXPOSE 8080
STOPSIGNAL SIGQUIT
ENTRYPOINT []
CMD ["nginx"]
"""

_KEPT = 20
"""Images that stay: a rollback goes to one of them."""

_UNTAGGED_DAYS = 14


def volumes(kind: str) -> tuple[str, ...]:
    """Folders that a task of this image writes in.

    Raises:
        ValueError: no such image.
    """
    if kind not in _FOLDERS:
        raise ValueError(f"kind: must be one of {', '.join(KINDS)} (got {kind!r})")
    return _FOLDERS[kind]


def dockerfile(kind: str, text: str, *, official: bool) -> str:
    """A recipe for Fargate.

    A volume of a task belongs to root, unless the image names the folder as a VOLUME: then it has the folder's owner
    and mode. So an unprivileged user writes there, and no container needs to be root.
    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/bind-mounts.html

    Args:
        kind: one of `KINDS`.
        text: the recipe of the other runtimes.
        official: whether it begins with an official image of the same program, which nginx's then is all of.
    """
    recipe = _OFFICIAL_NGINX if kind == "nginx" and official else text
    # The last thing: what a build does to a folder after its VOLUME line is lost.
    return f"{recipe.rstrip()}\nVOLUME {json.dumps(list(volumes(kind)))}\n"


def check_reference(image: str) -> str | None:
    """Why an image cannot be run, or None: only a digest is the same image for ever."""
    if re.fullmatch(r"[\w.:/-]+@sha256:[0-9a-f]{64}", image):
        return None
    return f"must end in a digest, such as registry.example.com/mlflow@sha256:<64 hexadecimals> (got {image!r})"


_PRIVATE = re.compile(
    r"(?P<account>\d{12})\.dkr[.-]ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.[a-z.]+/(?P<name>[^:@]+)(?:[:@].*)?"
)
"""https://docs.aws.amazon.com/AmazonECR/latest/userguide/Registries.html; `-fips` and `on.aws` name the same."""


def repository_arn(image: str) -> str:
    """ARN of the repository of ECR that an image is in: whoever runs it must be allowed to pull. Empty for others.

    Args:
        image: by tag or digest.
    """
    found = _PRIVATE.fullmatch(image)
    if not found:
        return ""
    account, region, name = found["account"], found["region"], found["name"]
    return f"arn:{iam.partition(region)}:ecr:{region}:{account}:repository/{name}"


def outside(image: str, region: str) -> bool:
    """Whether an image is pulled by way of the Internet: a VPC has endpoints to the ECR of its own region alone."""
    return f":ecr:{region}:" not in repository_arn(image)


def check_pull(image: str, region: str, *, internet: bool) -> str | None:
    """Why tasks cannot pull an image, or None.

    Args:
        image: by its digest.
        region: where they run.
        internet: whether their subnets reach the Internet.
    """
    if internet or not outside(image, region):
        return None
    return (
        f"must be in the ECR of {region}, since the tasks' subnets do not reach the Internet (got {image!r}); push it "
        "there, or give the network a NAT gateway"
    )


def lifecycle_policy() -> str:
    """Which images a repository drops: those without a tag, and old ones.

    https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_parameters.html
    """
    rules = [
        {
            "rulePriority": 1,
            "description": "Without a tag",
            "selection": {
                "tagStatus": "untagged",
                "countType": "sinceImagePushed",
                "countUnit": "days",
                "countNumber": _UNTAGGED_DAYS,
            },
            "action": {"type": "expire"},
        },
        {
            "rulePriority": 2,
            "description": "Old ones",
            "selection": {
                "tagStatus": "any",
                "countType": "imageCountMoreThan",
                "countNumber": _KEPT,
            },
            "action": {"type": "expire"},
        },
    ]
    return json.dumps({"rules": rules}, sort_keys=True)
