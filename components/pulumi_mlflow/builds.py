"""Building images on a Docker Engine: for stacks that run there, and for those that only build there."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path

import docker
from docker.errors import APIError, BuildError, ImageNotFound

LOG_TAIL = 40
"""Lines of a log that an error shows."""


class EngineError(RuntimeError):
    """A build, job or container failed; the message ends with the end of its log."""


def connect(timeout: float = 120) -> docker.DockerClient:
    """The engine that DOCKER_HOST names, else the local one.

    Args:
        timeout: seconds that one request may take.
    """
    return docker.from_env(timeout=int(timeout))


def say(message: str) -> None:
    """Show progress: the engine relays what a dynamic provider prints to standard error."""
    print(message, file=sys.stderr, flush=True)  # noqa: T201


def tail(text: str) -> str:
    """The end of a log."""
    return "\n".join(text.rstrip().splitlines()[-LOG_TAIL:])


def image_exists(client: docker.DockerClient, name: str) -> str:
    """Id of an image, or an empty string."""
    try:
        return str(client.images.get(name).id)
    except ImageNotFound:
        return ""


def build_image(
    client: docker.DockerClient,
    name: str,
    context: Path,
    build_args: Mapping[str, str],
    labels: Mapping[str, str],
) -> str:
    """Build an image from a folder, showing each step.

    Returns:
        The image's id.

    Raises:
        EngineError: the build failed; the message holds the log's end.
    """
    log: list[str] = []
    started = time.monotonic()
    try:
        for part in client.api.build(
            path=str(context),
            tag=name,
            buildargs=dict(build_args),
            labels=dict(labels),
            rm=True,
            forcerm=True,
            decode=True,
            timeout=3600,
        ):
            if "error" in part:
                raise EngineError(f"image {name}: {part['error']}\n{tail(''.join(log))}")
            text = str(part.get("stream", ""))
            log.append(text)
            if text.startswith("Step "):
                say(f"image {name}: {text.strip()} ({time.monotonic() - started:.0f} s)")
    except (APIError, BuildError) as error:
        raise EngineError(f"image {name}: {error}\n{tail(''.join(log))}") from error
    return image_exists(client, name)
