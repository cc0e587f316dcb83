"""SQLite on this machine."""

from typing import NotRequired, Optional, TypedDict

import pulumi

from ..component import MlflowComponent
from ..contracts import DatabaseEndpoint, Engine, Scope
from .folder import DataDirectory


class LocalDatabaseArgs(TypedDict):
    """Arguments of LocalDatabase."""

    data_dir: pulumi.Input[str]
    """Absolute folder of the stack's data; the database is kept in its `database/`."""
    deployment: NotRequired[str]
    """Prefix of physical names; `<project>-<stack>` unless told."""


class LocalDatabase(MlflowComponent):
    """A SQLite file in a protected folder. The tracking server's migration makes it and sets its WAL mode.

    Attributes:
        endpoint: the database, reachable from this machine only.
    """

    endpoint: DatabaseEndpoint

    _role = "database"

    def __init__(
        self,
        name: str,
        args: LocalDatabaseArgs,
        opts: Optional[pulumi.ResourceOptions] = None,
    ) -> None:
        super().__init__(name, args.get("deployment"), opts)
        folder = DataDirectory(
            self._child("folder"),
            pulumi.Output.concat(args["data_dir"], "/database"),
            self._deployment,
            self._role,
            self._opts(),
        )
        self.endpoint = DatabaseEndpoint(
            component=name,
            reach=[Scope.HOST.place()],
            engine=Engine.SQLITE.value,
            database=pulumi.Output.concat(folder.path, "/mlflow.db"),
        )
        self.register_outputs({"endpoint": self.endpoint})
