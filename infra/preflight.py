"""Checks of the world outside, made at preview and at up, before anything is registered."""

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
import pulumi
from docker.errors import DockerException
from docker.models.containers import Container
from requests import RequestException

from models import Settings, Store
from problems import NAMESPACE, Put, dotted
from problems import Path as SettingPath
from pulumi_mlflow import recipes
from pulumi_mlflow.component import default_deployment
from pulumi_mlflow.core import urls
from rules.artifacts import published
from sections import Runtime

OLDEST_API = (1, 41)
"""Engine 20.10, the oldest that this release was tried on."""

_DEPLOYMENT = "pulumi-mlflow/deployment"
_SECONDS = 5
_LAST_PORT = 65535
_DEFAULT_HOST = "unix:///var/run/docker.sock"
_ELSEWHERE: dict[SettingPath, str] = {
    ("access", "bind"): "127.0.0.1",
    ("artifacts", "public_url"): "http://172.17.0.1:9000",
}
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
    elif settings.runtime is Runtime.AWS:
        _check_builds(settings)


def _check_local(settings: Settings) -> None:
    from pulumi_mlflow.local import processes  # noqa: PLC0415 - other runtimes do not need it

    data_dir = Path(str(settings.data_dir))
    for listener in _listeners(settings):
        port = listener.port
        if not _is_free(listener, port) and not processes.owns_port(data_dir, port):
            holder = processes.port_holder(port)
            raise _port_taken(listener, holder, lambda p: _is_free(listener, p))  # noqa: B023 - called here


def _check_docker(settings: Settings) -> None:
    client = _engine()
    try:
        for listener in _listeners(settings):
            _check_docker_port(listener, client)
        if settings.network and settings.network.existing:
            _check_network(settings.network.existing, client)
    finally:
        client.close()
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


@dataclass(frozen=True)
class _Listener:
    """A port that a stack publishes.

    Args:
        path: the setting that holds the port.
        bind: address.
        port: TCP port.
        bind_path: the setting that holds the address.
    """

    path: SettingPath
    bind: str
    port: int
    bind_path: SettingPath = ("access", "bind")


def _listeners(settings: Settings) -> Iterator[_Listener]:
    """All ports that a stack publishes."""
    access, artifacts = settings.access, settings.artifacts
    yield _Listener(("access", "port"), access.bind, access.port)
    if settings.runtime is not Runtime.DOCKER:
        return
    if published(settings):
        host = urls.host_of(artifacts.public_url) if artifacts.public_url else ""
        if urls.is_address(host):
            yield _Listener(
                ("artifacts", "port"), host, artifacts.port, ("artifacts", "public_url")
            )
        else:
            yield _Listener(("artifacts", "port"), access.bind, artifacts.port)
    if artifacts.store is Store.MINIO:
        yield _Listener(("artifacts", "console_port"), "127.0.0.1", artifacts.console_port)


def _check_docker_port(listener: _Listener, client: docker.DockerClient) -> None:
    deployment = default_deployment()
    containers = list(_published(client))

    def holders(port: int) -> list[Container]:
        return [c for address, p, c in containers if p == port and _overlap(address, listener)]

    def is_free(port: int) -> bool:
        return not holders(port) and (_is_remote(client) or _is_free(listener, port))

    port = listener.port
    foreign = [c for c in holders(port) if c.labels.get(_DEPLOYMENT) != deployment]
    if foreign:
        raise _port_taken(listener, f"container {foreign[0].name}", is_free)
    if not holders(port) and not is_free(port):
        from pulumi_mlflow.local import processes  # noqa: PLC0415 - rarely needed

        raise _port_taken(listener, processes.port_holder(port), is_free)


def _published(client: docker.DockerClient) -> Iterator[tuple[str, int, Container]]:
    """Address, port and container of every port that the engine publishes."""
    for container in client.containers.list(ignore_removed=True):
        for bindings in container.ports.values():
            for binding in bindings or ():
                yield binding["HostIp"], int(binding["HostPort"]), container


def _overlap(address: str, listener: _Listener) -> bool:
    everywhere = ("", "0.0.0.0", "::")  # noqa: S104 - compared, not bound
    bind = listener.bind
    return address == bind or address in everywhere or bind in everywhere


def _is_remote(client: docker.DockerClient) -> bool:
    """Whether the engine's ports are those of another machine."""
    return not str(client.api.base_url).startswith("http+docker://local")


def _is_free(listener: _Listener, port: int) -> bool:
    from pulumi_mlflow.local import processes  # noqa: PLC0415 - other runtimes do not need it

    bind = listener.bind
    try:
        return processes.port_is_free(bind, port)
    except OSError as error:
        if error.errno == errno.EACCES:
            return True  # a port of root, and the engine that publishes it runs as root
        key = f"{NAMESPACE}:{dotted(listener.bind_path)}"
        mend = Put(listener.bind_path, _ELSEWHERE[listener.bind_path]).command(pulumi.get_stack())
        raise PreflightError(
            f"Pulumi.{pulumi.get_stack()}.yaml: {key}: must be an address of this "
            f'machine (got "{bind}": {error.strerror}); {mend}'
        ) from error


def _port_taken(listener: _Listener, holder: str, is_free: Callable[[int], bool]) -> PreflightError:
    stack, port = pulumi.get_stack(), listener.port
    candidates = [*range(port + 1, _LAST_PORT + 1), *range(port - 1, 1023, -1)]
    free = next((candidate for candidate in candidates if is_free(candidate)), port)
    mend = Put(listener.path, free).command(stack)
    return PreflightError(
        f"Pulumi.{stack}.yaml: {NAMESPACE}:{dotted(listener.path)}: {port} on {listener.bind} is taken by "
        f"{holder} (got {port}); {mend}"
    )


def _check_network(name: str, client: docker.DockerClient) -> None:
    there = sorted(
        str(network["Name"])
        for network in client.api.networks()
        if network["Driver"] == "bridge" and network["Name"] != "bridge"
    )
    if name in there:
        return
    stack, path = pulumi.get_stack(), ("network", "existing")
    named = f"there are {', '.join(there)}" if there else "there is none yet"
    raise PreflightError(
        f"Pulumi.{stack}.yaml: {NAMESPACE}:{dotted(path)}: the engine has no such bridge network, {named} "
        f"(got {name!r}); docker network create {name}, or name another: "
        f"{Put(path, there[0] if there else 'NAME').command(stack)}"
    )


def _check_ingredients(settings: Settings) -> None:
    database, artifacts = settings.database, settings.artifacts
    kinds = [] if database.existing else [database.engine.value]
    kinds += [] if artifacts.existing else [artifacts.store.value]
    if settings.access.auth.by_provider:
        kinds.append("oauth2-proxy")
    _require_ingredients(settings, kinds)


def _check_builds(settings: Settings) -> None:
    """Images that are built here and pushed, unless they are in a registry already."""
    there = settings.registry
    kinds = {"server": "mlflow", "nginx": "nginx"}
    if settings.access.auth.by_provider:
        kinds["oauth2_proxy"] = "oauth2-proxy"
    built = [kind for key, kind in kinds.items() if there is None or getattr(there, key) is None]
    if built:
        _require_ingredients(settings, built)


def _require_ingredients(settings: Settings, kinds: Iterable[str]) -> None:
    if pulumi.runtime.is_dry_run():
        return  # nothing is built
    source = recipes.ImageSource(settings.images.value)
    if missing := recipes.missing_ingredients(kinds, source):
        raise PreflightError(
            f"images: {' and '.join(map(str, missing))} missing, and "
            f"images are built from them; make setup STACK={pulumi.get_stack()}"
        )
