"""The network that a Docker stack's containers share."""

from typing import NotRequired, Optional, TypedDict

import pulumi
import pulumi_docker as docker

from ..component import MlflowComponent
from ..contracts import Scope


class DockerNetworkArgs(TypedDict):
    """Arguments of DockerNetwork."""

    deployment: NotRequired[str]
    """Prefix of physical names; `<project>-<stack>` unless given."""


class DockerNetwork(MlflowComponent):
    """A bridge network of the stack's own, with Docker's DNS."""

    _role = "network"

    network: pulumi.Output[str]
    """Name of the network."""

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
            opts=self._opts(delete_before_replace=True),
        )
        self.network = bridge.name
        self.register_outputs({"network": self.network})


def place(deployment: str) -> str:
    """The place, in the sense of `contracts.Scope`, of what runs in a deployment's network."""
    return Scope.NETWORK.place(deployment)
