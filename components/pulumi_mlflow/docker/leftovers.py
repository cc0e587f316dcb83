"""What an `up` that was killed has left on the engine, and no state knows: it goes just before Pulumi makes it anew.

Another clone's stack of the same name is not such a thing. Its network is told by the containers in it, since those of
a stack come after its network; and what is in a network that this stack's state has is this stack's.
"""

from collections.abc import Callable, Mapping
from typing import Any, Optional

import docker
import pulumi
from docker.errors import NotFound
from docker.models.containers import Container
from pulumi.runtime.proto import resource_pb2_grpc
from pulumi.runtime.settings import get_monitor

from . import engine


def before_create(
    remove: Callable[[docker.DockerClient, str], None], name: str
) -> Optional[pulumi.ResourceHookBinding]:
    """A binding that removes a left-over of a name before the resource of that name is made; never at preview.

    Args:
        remove: how, such as `container`.
        name: physical name.
    """
    # Tests with mocks have no engine that would call.
    if not isinstance(get_monitor(), resource_pb2_grpc.ResourceMonitorStub):
        return None

    def hook(_: pulumi.ResourceHookArgs) -> None:
        remove(engine.connect(), name)

    return pulumi.ResourceHookBinding(before_create=[hook])


def container(
    labels: Mapping[str, str], network: str
) -> Callable[[docker.DockerClient, str], None]:
    """Removes a container with these labels in this stack's network; others keep theirs, and their name.

    Args:
        labels: of the container to be made.
        network: name of the network that this stack's state has.
    """

    def remove(client: docker.DockerClient, name: str) -> None:
        try:
            found = client.containers.get(name)
        except NotFound:
            return
        if _has(found.labels, labels) and network in _networks(found):
            engine.say(f"container {name}: left by an 'up' that was ended; made anew")
            found.remove(force=True, v=True)

    return remove


def network(labels: Mapping[str, str]) -> Callable[[docker.DockerClient, str], None]:
    """Removes a network with these labels that no container is in, running or not.

    Args:
        labels: of the network to be made.
    """

    def remove(client: docker.DockerClient, name: str) -> None:
        for found in client.networks.list(names=[name]):
            mine = found.name == name and _has(found.attrs.get("Labels") or {}, labels)
            if mine and not client.containers.list(all=True, filters={"network": found.id}):
                engine.say(f"network {name}: left by an 'up' that was ended; made anew")
                found.remove()

    return remove


def carriers(client: docker.DockerClient, volume: str, labels: Mapping[str, str]) -> None:
    """Remove containers that were to carry files to a volume: never started, they keep it from being removed."""
    wanted: dict[str, Any] = {"volume": volume, "status": "created"}
    for found in client.containers.list(all=True, filters=wanted):
        if _has(found.labels, labels):
            found.remove(force=True)


def _has(found: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return labels.items() <= found.items()


def _networks(found: Container) -> set[str]:
    return set(found.attrs["NetworkSettings"]["Networks"])
