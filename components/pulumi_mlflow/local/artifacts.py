"""Artifacts in a folder of this machine."""

from typing import NotRequired, Optional, TypedDict

import pulumi

from ..component import MlflowComponent
from ..contracts import ArtifactEndpoint, Scope
from .folder import DataDirectory


class LocalArtifactStoreArgs(TypedDict):
    """Arguments of LocalArtifactStore."""

    data_dir: pulumi.Input[str]
    """Absolute folder of the stack's data; artifacts are kept in its `artifacts/`."""
    deployment: NotRequired[str]
    """Prefix of physical names; `<project>-<stack>` unless told."""


class LocalArtifactStore(MlflowComponent):
    """A protected folder that the tracking server reads and writes for its clients.

    Attributes:
        endpoint: the folder, reachable from this machine only.
    """

    endpoint: ArtifactEndpoint

    _role = "artifacts"

    def __init__(
        self,
        name: str,
        args: LocalArtifactStoreArgs,
        opts: Optional[pulumi.ResourceOptions] = None,
    ) -> None:
        super().__init__(name, args.get("deployment"), opts)
        folder = DataDirectory(
            self._child("folder"),
            pulumi.Output.concat(args["data_dir"], "/artifacts"),
            self._deployment,
            self._role,
            self._opts(),
        )
        self.endpoint = ArtifactEndpoint(
            component=name, reach=[Scope.HOST.place()], uri=folder.path
        )
        self.register_outputs({"endpoint": self.endpoint})
