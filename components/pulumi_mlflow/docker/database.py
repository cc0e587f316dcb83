"""PostgreSQL in a container."""

from typing import NotRequired, Optional, TypedDict

import pulumi
import pulumi_docker as docker

from ..contracts import DatabaseEndpoint, Engine
from ..core import budgets
from ..generated import GeneratedSecret
from ..guard import DataGuard
from . import container
from .files import FILES_PATH
from .network import place

PORT = 5432
UID = 999
"""User of the official image; ours is the same."""


class DockerDatabaseArgs(TypedDict):
    """Arguments of DockerDatabase."""

    network: pulumi.Input[str]
    """Name of the stack's network."""
    image: pulumi.Input[str]
    """Id of a PostgreSQL image with the official image's environment contract."""
    version: str
    """Major of PostgreSQL in that image; part of the data volume's name."""
    name: NotRequired[str]
    """Name of the database; `mlflow` unless given."""
    username: NotRequired[str]
    """Its owner; `mlflow` unless given."""
    max_connections: NotRequired[int]
    """Connections that the server accepts; 150 unless given."""
    memory_mb: NotRequired[int]
    """Memory limit, in MiB; 768 unless given."""
    deployment: NotRequired[str]
    """Prefix of physical names; `<project>-<stack>` unless given."""


class DockerDatabase(container.DockerComponent):
    """PostgreSQL with its data in a protected volume and its password in protected state.

    The major is part of the volume's name: another major cannot read the files, so a change of it is refused at
    preview until the data has been dumped.
    """

    _role = "database"

    endpoint: DatabaseEndpoint
    """For consumers in the same network."""
    ops: pulumi.Output[dict[str, str]]
    """What `docker.backup` needs; no secrets."""

    def __init__(
        self, name: str, args: DockerDatabaseArgs, opts: Optional[pulumi.ResourceOptions] = None
    ) -> None:
        super().__init__(name, args.get("deployment"), opts)
        database, username = args.get("name", "mlflow"), args.get("username", "mlflow")
        memory_mb = args.get("memory_mb", 768)
        version = args["version"]
        guard = DataGuard(
            self._child("guard"),
            {
                "mlflow:database.version": version,
                "mlflow:database.name": database,
                "mlflow:database.username": username,
            },
            "the data volume was made with that value. Dump first (`make dump`), remove the stack with its data "
            "(`make down PURGE=1`), change the setting, `make up`, `make restore`",
            self._opts(),
        )
        secret = GeneratedSecret(self._child("password"), opts=self._opts())
        data = self._volume(
            "data",
            self._physical(f"postgresql-{version}"),
            protect=True,
            opts=pulumi.ResourceOptions(depends_on=[guard]),
        )
        files = self._files({"password": secret.value}, args["image"], UID)
        parameters = budgets.postgres_parameters(memory_mb, args.get("max_connections", 150))
        healthy = self._run(
            container.ContainerSpec(
                image=args["image"],
                command=[
                    "postgres",
                    *(
                        part
                        for key, value in sorted(parameters.items())
                        for part in ("-c", f"{key}={value}")
                    ),
                ],
                user=f"{UID}:{UID}",
                network=args["network"],
                alias=self._role,
                files=files,
                # By TCP: while the cluster is being made, a temporary server answers on the socket only.
                health=container.Health(
                    ["pg_isready", "-q", "-h", "127.0.0.1", "-U", username, "-d", database],
                    start_period=30,
                ),
                memory_mb=memory_mb,
                shm_mb=max(64, memory_mb // 4),
                environment={
                    "POSTGRES_USER": username,
                    "POSTGRES_DB": database,
                    "POSTGRES_PASSWORD_FILE": f"{FILES_PATH}/password",
                    "PGDATA": "/var/lib/postgresql/data/pgdata",
                },
                volumes=[
                    docker.ContainerVolumeArgs(
                        volume_name=data.name, container_path="/var/lib/postgresql/data"
                    )
                ],
                tmpfs={"/tmp": "mode=1777", "/var/run/postgresql": "mode=1777"},  # noqa: S108 - in the container
                stop_timeout=60,
            ),
        )
        self.endpoint = DatabaseEndpoint(
            component=name,
            reach=[place(self._deployment)],
            engine=Engine.POSTGRESQL.value,
            host=container.once(healthy, self._physical()),
            port=PORT,
            database=database,
            username=username,
            password=secret.value,
        )
        self.ops = pulumi.Output.all(
            image=args["image"],
            files=files.volume,
            host=self._physical(),
            name=database,
            username=username,
            volume=data.name,
        )
        self.register_outputs({"endpoint": self.endpoint, "ops": self.ops})
