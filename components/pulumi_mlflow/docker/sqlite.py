"""SQLite in a volume that the tracking server mounts."""

from typing import NotRequired, Optional, TypedDict

import pulumi

from ..contracts import DatabaseEndpoint, Engine
from ..guard import DataGuard
from . import container
from .network import place

FOLDER = "/database"
"""Where the server mounts the volume; its user owns the folder in the image."""

FILE = f"{FOLDER}/mlflow.db"


class DockerSqliteArgs(TypedDict):
    """Arguments of DockerSqlite."""

    deployment: NotRequired[str]
    """Prefix of physical names; `<project>-<stack>` unless given."""


class DockerSqlite(container.DockerComponent):
    """A SQLite file in a protected volume, for one server, whose migration makes it, with a write-ahead log."""

    _role = "database"

    endpoint: DatabaseEndpoint
    """For the one server of the deployment."""
    ops: pulumi.Output[dict[str, str]]
    """What `docker.backup` needs; no secrets."""

    def __init__(
        self, name: str, args: DockerSqliteArgs, opts: Optional[pulumi.ResourceOptions] = None
    ) -> None:
        super().__init__(name, args.get("deployment"), opts)
        guard = DataGuard(
            self._child("guard"),
            self._role,
            {"mlflow:database.engine": Engine.SQLITE.value},
            opts,
            self,
        )
        data_name = self._physical(Engine.SQLITE.value)
        data = self._volume(
            "data", data_name, protect=True, opts=pulumi.ResourceOptions(depends_on=[guard])
        )
        self.endpoint = DatabaseEndpoint(
            component=name,
            reach=[place(self._deployment)],
            engine=Engine.SQLITE.value,
            database=FILE,
            volume=data.name,
            data=data_name,
        )
        self.ops = pulumi.Output.all(engine=Engine.SQLITE.value, name=FILE, volume=data.name)
        self.register_outputs({"endpoint": self.endpoint, "ops": self.ops})
