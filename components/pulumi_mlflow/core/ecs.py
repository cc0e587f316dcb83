"""ECS on Fargate: sizes of tasks, and definitions of their containers, hardened alike.

Keys are those of https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definition_parameters.html.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import budgets
from .files import FILES_PATH

PLATFORM = "1.4.0"
"""Fargate's platform: the first with ephemeral storage of more than 20 GiB, and still the current one."""

FILES_VOLUME = "files"
FILES_CONTAINER = "files"

SECRET_LIMIT = 65_536
"""Bytes that Secrets Manager takes."""

_SIZES = {
    256: (512, 1024, 2048),
    512: tuple(range(1024, 4096 + 1, 1024)),
    1024: tuple(range(2048, 8192 + 1, 1024)),
    2048: tuple(range(4096, 16384 + 1, 1024)),
    4096: tuple(range(8192, 30720 + 1, 1024)),
    8192: tuple(range(16384, 61440 + 1, 4096)),
    16384: tuple(range(32768, 122880 + 1, 8192)),
}
"""CPU units (1024 a CPU) → MiB that go with them.
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html"""

_STORAGE_GB = range(21, 201)
_WORKERS_A_CPU = 2
"""On Docker a CPU that is not used costs nothing, and the limit is `limits.server_cpus`; here each is paid for, and
replicas are added when they are busy."""

_IMAGE_GB = 15
"""Of a task's disk: what images and their layers take, with room."""

_WRITE_FILES = """\
import json, os, pathlib
for path, text in json.loads(os.environ["FILES"]).items():
    file = pathlib.Path("{folder}", path)
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    file.chmod(0o{mode:o})
"""


@dataclass(frozen=True)
class Size:
    """A size that Fargate has.

    Attributes:
        cpu: in units, 1024 a CPU.
        memory_mb: in MiB.
    """

    cpu: int
    memory_mb: int


def size(cpus: float, memory_mb: int) -> Size:
    """The smallest size that has so much.

    Args:
        cpus: CPUs.
        memory_mb: in MiB.

    Raises:
        ValueError: none has.
    """
    for cpu, memories in _SIZES.items():
        if cpu >= cpus * 1024:
            for memory in memories:
                if memory >= memory_mb:
                    return Size(cpu, memory)
    raise ValueError(
        f"cpus, memory_mb: Fargate has at most 16 CPUs and 122880 MiB (got {cpus:g} and {memory_mb}); take more "
        "replicas of fewer workers"
    )


def server_size(workers: int, cpus: float | None, memory_mb: int | None) -> Size:
    """The size of a tracking server's task.

    Args:
        workers: processes that serve requests.
        cpus: CPUs; by the number of workers where none are given.
        memory_mb: in MiB; by the number of workers where none is given.

    Raises:
        ValueError: Fargate has none.
    """
    return size(cpus or workers / _WORKERS_A_CPU, memory_mb or budgets.server_memory_mb(workers))


def storage_gb(scratch_mb: int) -> int:
    """Disk of a task, in GiB, of which the first 20 cost nothing.

    Args:
        scratch_mb: what its program writes, in MiB.

    Raises:
        ValueError: it is more than Fargate has.
    """
    wanted = max(_STORAGE_GB.start, _IMAGE_GB + math.ceil(scratch_mb / 1024))
    if wanted not in _STORAGE_GB:
        most = (_STORAGE_GB.stop - 1 - _IMAGE_GB) * 1024
        raise ValueError(f"scratch_mb: must be ≤ {most} on Fargate (got {scratch_mb})")
    return wanted


@dataclass(frozen=True)
class Container:
    """A container of a task.

    Attributes:
        name: its name in the task.
        image: by its digest.
        command: arguments; no secrets.
        user: `uid:gid`.
        log_group: name of the log group.
        region: where that is.
        entrypoint: replaces the image's own where given.
        environment: variables; no secrets.
        secrets: variable → what ECS reads it from: the ARN of a secret, with key and version.
        port: TCP port that others reach; 0 for none.
        folders: volume → folder that it may write in.
        read_only: volume → folder that it only reads.
        after: container → condition (`SUCCESS`, `HEALTHY`, …) before which it does not start.
        health: command that exits with 0 while it is healthy.
        health_start_seconds: how long failures do not count.
        essential: whether its end is that of the task.
        stop_seconds: how long it may take to end.
    """

    name: str
    image: str
    command: Sequence[str]
    user: str
    log_group: str
    region: str
    entrypoint: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    port: int = 0
    folders: Mapping[str, str] = field(default_factory=dict)
    read_only: Mapping[str, str] = field(default_factory=dict)
    after: Mapping[str, str] = field(default_factory=dict)
    health: Sequence[str] = ()
    health_start_seconds: int = 60
    essential: bool = True
    stop_seconds: int = 30


def definition(container: Container) -> dict[str, Any]:
    """A container as ECS takes it: without capabilities, without a writable root, as an unprivileged user."""
    if container.user.split(":")[0] in ("", "0", "root"):
        raise ValueError(f"{container.name}: user: must not be root (got {container.user!r})")
    found: dict[str, Any] = {
        "name": container.name,
        "image": container.image,
        "command": list(container.command),
        "user": container.user,
        "essential": container.essential,
        "readonlyRootFilesystem": True,
        "linuxParameters": {"capabilities": {"drop": ["ALL"]}, "initProcessEnabled": True},
        "environment": [
            {"name": name, "value": value} for name, value in sorted(container.environment.items())
        ],
        "secrets": [
            {"name": name, "valueFrom": source}
            for name, source in sorted(container.secrets.items())
        ],
        "mountPoints": [
            {"sourceVolume": volume, "containerPath": folder, "readOnly": only}
            for folders, only in ((container.folders, False), (container.read_only, True))
            for volume, folder in sorted(folders.items())
        ],
        "dependsOn": [
            {"containerName": name, "condition": condition}
            for name, condition in sorted(container.after.items())
        ],
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": container.log_group,
                "awslogs-region": container.region,
                "awslogs-stream-prefix": "task",
                # A log that cannot be sent must not hold up the program.
                "mode": "non-blocking",
                "max-buffer-size": "4m",
            },
        },
        "stopTimeout": container.stop_seconds,
    }
    if container.entrypoint:
        found["entryPoint"] = list(container.entrypoint)
    if container.port:
        found["portMappings"] = [{"containerPort": container.port, "protocol": "tcp"}]
    if container.health:
        found["healthCheck"] = {
            "command": ["CMD", *container.health],
            "interval": 30,
            "timeout": 10,
            "retries": 3,
            "startPeriod": container.health_start_seconds,
        }
    return found


def files(
    image: str, user: str, log_group: str, region: str, secret: str, *, shared: bool = False
) -> Container:
    """The container that writes a task's files, and ends, before the others start.

    So secrets are files that only their program can read, as in the other runtimes: they are in no variable of it, and
    in no argument.

    Args:
        image: one with Python.
        user: who owns the files.
        log_group: name of the log group.
        region: where that is.
        secret: what ECS reads the files from: JSON of path → content.
        shared: whether another user of the same task reads them too.
    """
    program = _WRITE_FILES.format(folder=FILES_PATH, mode=0o444 if shared else 0o400)
    return Container(
        name=FILES_CONTAINER,
        image=image,
        entrypoint=["python", "-c"],
        command=[program],
        user=user,
        log_group=log_group,
        region=region,
        secrets={"FILES": secret},
        folders={FILES_VOLUME: FILES_PATH},
        essential=False,
    )


def secret_files(contents: Mapping[str, str]) -> str:
    """Files as the text of a secret.

    Raises:
        ValueError: more than Secrets Manager takes. The message holds no content.
    """
    text = json.dumps(dict(contents), sort_keys=True)
    if len(text.encode()) > SECRET_LIMIT:
        sizes = ", ".join(
            f"{path} {len(content.encode())}" for path, content in sorted(contents.items())
        )
        raise ValueError(
            f"files: must be ≤ {SECRET_LIMIT} bytes together, which Secrets Manager takes (got {sizes}); give the "
            "region's own bundle of RDS's authorities instead of the global one"
        )
    return text


def secret_source(arn: str, version: str, key: str = "") -> str:
    """What ECS reads a variable from: one version of a secret, so that another one is another task definition.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/secrets-envvar-secrets-manager.html

    Args:
        arn: of the secret.
        version: id of the version; empty for the current one.
        key: of the JSON; empty for all of it.
    """
    return f"{arn}:{key}::{version}" if key or version else arn


def log_stream(container: str, task_arn: str) -> str:
    """Name of the log stream of a task's container."""
    return f"task/{container}/{task_arn.rsplit('/', 1)[-1]}"
