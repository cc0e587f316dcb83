"""The network that a Docker stack's containers share."""

from typing import NotRequired, Optional, TypedDict

import pulumi
import pulumi_docker as docker

from ..component import MlflowComponent
from ..contracts import Scope
from . import leftovers


class DockerNetworkArgs(TypedDict):
    """Arguments of DockerNetwork."""

    deployment: NotRequired[str]
    """Prefix of physical names; `<project>-<stack>` unless given."""
    existing: NotRequired[Optional[str]]
    """Name of a network that others made, for the front door to be reached in; it is neither changed nor removed."""


class DockerNetwork(MlflowComponent):
    """A bridge network of the stack's own, with Docker's DNS, and the name of one that it shares with others.

    Only the front door joins the shared one: the server behind it asks nobody for a login, and would be open to every
    container there.
    """

    _role = "network"

    network: pulumi.Output[str]
    """Name of the stack's own network."""
    shared: Optional[pulumi.Output[str]]
    """Name of the adopted network; none unless there is one."""

    def __init__(
        self, name: str, args: DockerNetworkArgs, opts: Optional[pulumi.ResourceOptions] = None
    ) -> None:
        super().__init__(name, args.get("deployment"), opts)
        bridge = docker.Network(
            self._child("bridge"),
            name=self._deployment,
            driver="bridge",
            labels=[
                docker.NetworkLabelArgs(label=key, value=value)
                for key, value in sorted(self._labels().items())
            ],
            opts=self._opts(
                delete_before_replace=True,
                hooks=leftovers.before_create(leftovers.network(self._labels()), self._deployment),
            ),
        )
        self.network = bridge.name
        existing = args.get("existing")
        self.shared = pulumi.Output.from_input(existing) if existing else None
        self.register_outputs({"network": self.network, "shared": self.shared})


def place(deployment: str) -> str:
    """The place, in the sense of `contracts.Scope`, of what runs in a deployment's network."""
    return Scope.NETWORK.place(deployment)
