"""Checks of the world outside, made at preview and at up, before anything is registered."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pulumi
from docker.errors import DockerException
from docker.models.containers import Container
from requests import RequestException

from models import Images, Runtime, Settings
from problems import Put
from pulumi_mlflow.component import default_deployment
from pulumi_mlflow.contracts import AuthMode

OLDEST_API = (1, 41)
"""Engine 20.10, the oldest that this release was tried on."""

_DEPLOYMENT = "pulumi-mlflow/deployment"
_SECONDS = 5
_LAST_PORT = 65535
_DEFAULT_HOST = "unix:///var/run/docker.sock"
_START = "python3 toolchain/setup.py engine start"


class PreflightError(RuntimeError):
    """The machine or the engine is not ready for the stack; the message names cause and mend."""


def preflight(settings: Settings) -> None:
    """Check what the stack needs of this machine and its engine.

    Args:
        settings: the stack's settings.

    Raises:
        PreflightError: what is in the way, and the command that mends it.
    """
    if settings.runtime is Runtime.LOCAL:
        _check_local(settings)
    elif settings.runtime is Runtime.DOCKER:
        _check_docker(settings)


def _check_local(settings: Settings) -> None:
    from pulumi_mlflow.local import processes  # noqa: PLC0415 - other runtimes do not need it

    port, data_dir = settings.access.port, Path(str(settings.data_dir))
    if not _is_free(settings, port) and not processes.owns_port(data_dir, port):
        raise _port_taken(settings, processes.port_holder(port), lambda p: _is_free(settings, p))


def _check_docker(settings: Settings) -> None:
    client = _engine()
    try:
        _check_docker_port(settings, client)
    finally:
        client.close()
    if settings.images is Images.BUILD:
        _check_ingredients(settings)


def _engine() -> docker.DockerClient:
    host = os.environ.get("DOCKER_HOST") or _DEFAULT_HOST
    mend = "unset DOCKER_HOST" if os.environ.get("DOCKER_HOST") else _START
    try:
        client = docker.from_env(timeout=_SECONDS)
        version = str(client.version()["ApiVersion"])
    except (DockerException, RequestException, OSError, ValueError) as error:
        raise PreflightError(
            f"Docker Engine: cannot be reached at {host}: {_cause(error)}; {mend}"
        ) from error
    if tuple(int(part) for part in version.split(".")) < OLDEST_API:
        client.close()
        raise PreflightError(
            f"Docker Engine: {host} speaks API {version}, and {OLDEST_API[0]}.{OLDEST_API[1]} "
            "(Engine 20.10) is the oldest that works; install a newer engine, see "
            "https://docs.docker.com/engine/install"
        )
    return client


def _cause(error: BaseException) -> str:
    """What went wrong at the bottom, in one line: the layers above only say that it did."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())


def _check_docker_port(settings: Settings, client: docker.DockerClient) -> None:
    deployment = default_deployment()
    published = list(_published(client))

    def holders(port: int) -> list[Container]:
        return [c for address, p, c in published if p == port and _overlap(address, settings)]

    def is_free(port: int) -> bool:
        return not holders(port) and (_is_remote(client) or _is_free(settings, port))

    port = settings.access.port
    foreign = [c for c in holders(port) if c.labels.get(_DEPLOYMENT) != deployment]
    if foreign:
        raise _port_taken(settings, f"container {foreign[0].name}", is_free)
    if not holders(port) and not is_free(port):
        from pulumi_mlflow.local import processes  # noqa: PLC0415 - rarely needed

        raise _port_taken(settings, processes.port_holder(port), is_free)


def _published(client: docker.DockerClient) -> Iterator[tuple[str, int, Container]]:
    """Address, port and container of every port that the engine publishes."""
    for container in client.containers.list(ignore_removed=True):
        for bindings in container.ports.values():
            for binding in bindings or ():
                yield binding["HostIp"], int(binding["HostPort"]), container


def _overlap(address: str, settings: Settings) -> bool:
    everywhere = ("", "0.0.0.0", "::")  # noqa: S104 - compared, not bound
    bind = settings.access.bind
    return address == bind or address in everywhere or bind in everywhere


def _is_remote(client: docker.DockerClient) -> bool:
    """Whether the engine's ports are those of another machine."""
    return not str(client.api.base_url).startswith("http+docker://local")


def _is_free(settings: Settings, port: int) -> bool:
    from pulumi_mlflow.local import processes  # noqa: PLC0415 - other runtimes do not need it

    bind = settings.access.bind
    try:
        return processes.port_is_free(bind, port)
    except OSError as error:
        if error.errno == errno.EACCES:
            return True  # a port of root, and the engine that publishes it runs as root
        mend = Put(("access", "bind"), "127.0.0.1").command(pulumi.get_stack())
        raise PreflightError(
            f"Pulumi.{pulumi.get_stack()}.yaml: mlflow:access.bind: must be an address of this "
            f'machine (got "{bind}": {error.strerror}); {mend}'
        ) from error


def _port_taken(settings: Settings, holder: str, is_free: Callable[[int], bool]) -> PreflightError:
    stack, port = pulumi.get_stack(), settings.access.port
    candidates = [*range(port + 1, _LAST_PORT + 1), *range(port - 1, 1023, -1)]
    free = next((candidate for candidate in candidates if is_free(candidate)), port)
    mend = Put(("access", "port"), free).command(stack)
    return PreflightError(
        f"Pulumi.{stack}.yaml: mlflow:access.port: {port} on {settings.access.bind} is taken by "
        f"{holder} (got {port}); {mend}"
    )


def _check_ingredients(settings: Settings) -> None:
    from pulumi_mlflow.docker.images import missing_ingredients  # noqa: PLC0415 - loads the provider's SDK

    database, artifacts = settings.database, settings.artifacts
    kinds = [] if database.existing else [database.engine.value]
    kinds += [] if artifacts.existing else [artifacts.store.value]
    if settings.access.auth in (AuthMode.OIDC, AuthMode.OIDC_MLFLOW):
        kinds.append("oauth2-proxy")
    if missing := missing_ingredients(kinds):
        raise PreflightError(
            f"images: {' and '.join(map(str, missing))} missing, and "
            f"images are built from packages here; make setup STACK={pulumi.get_stack()}"
        )
