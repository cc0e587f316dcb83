"""PostgreSQL, MySQL or MariaDB in a container."""

from typing import NamedTuple, NotRequired, Optional, TypedDict

import pulumi
import pulumi_docker as docker

from ..contracts import DatabaseEndpoint, Engine, Scope
from ..core import budgets, limits, uris, urls
from ..generated import GeneratedSecret
from ..guard import DataGuard
from . import container
from .files import FILES_PATH
from .network import place

UID = 999
"""User of the official images; ours are the same."""

MYSQL_DATA = "/var/lib/mysql"

_COLLATIONS = {Engine.MYSQL: "utf8mb4_0900_as_cs", Engine.MARIADB: "utf8mb4_nopad_bin"}
"""Of new databases: `Loss` is not `loss`, and a space at the end counts, as in PostgreSQL and SQLite. The default of
either engine takes both for the same, so that a run could not have both as metrics."""


class _Server(NamedTuple):
    """What differs between the engines."""

    files: dict[str, pulumi.Input[str]]
    command: list[str]
    environment: dict[str, str]
    check: list[str]
    data_path: str
    run_path: str
    shm_mb: int


class DockerDatabasePublishArgs(TypedDict):
    """Where DockerDatabase is published for programs of the engine's machine."""

    bind: str
    """Loopback address of the engine's machine."""
    port: int
    """Published port."""


class DockerDatabaseArgs(TypedDict):
    """Arguments of DockerDatabase."""

    network: pulumi.Input[str]
    """Name of the stack's network."""
    image: pulumi.Input[str]
    """Id of an image of that engine and version with the official image's environment contract."""
    version: str
    """Major of PostgreSQL, or MySQL's or MariaDB's first two numbers; part of the data volume's name."""
    engine: NotRequired[str]
    """`postgresql`, `mysql` or `mariadb`; `postgresql` unless given."""
    name: NotRequired[str]
    """Name of the database; `mlflow` unless given."""
    username: NotRequired[str]
    """Its owner; `mlflow` unless given."""
    max_connections: NotRequired[int]
    """Connections that the server accepts; 150 unless given."""
    memory_mb: NotRequired[int]
    """Memory limit, in MiB; 768 unless given."""
    publish: NotRequired[DockerDatabasePublishArgs]
    """For a server on the engine's machine; unpublished unless given."""
    deployment: NotRequired[str]
    """Prefix of physical names; `<project>-<stack>` unless given."""


class DockerDatabase(container.DockerComponent):
    """A database server with its data in a protected volume and its password in protected state.

    Engine and version are part of the volume's name: another one cannot read the files, so a change is refused at
    preview until `pulumi-mlflow migrate-database` has moved the data.

    Raises:
        ValueError: an engine that is no server, or one to be published beyond loopback.
    """

    _role = "database"

    endpoint: DatabaseEndpoint
    """For consumers in the same network."""
    host_endpoint: Optional[DatabaseEndpoint]
    """For consumers on the engine's machine; only where it is published."""
    ops: pulumi.Output[dict[str, str]]
    """What `docker.backup` needs; no secrets."""

    def __init__(
        self, name: str, args: DockerDatabaseArgs, opts: Optional[pulumi.ResourceOptions] = None
    ) -> None:
        super().__init__(name, args.get("deployment"), opts)
        engine = Engine(args.get("engine", Engine.POSTGRESQL.value))
        port = uris.default_port(engine.value)
        if port is None:
            raise ValueError(f"{name}: engine must be postgresql, mysql or mariadb (got 'sqlite')")
        publish = args.get("publish")
        if publish and not urls.is_loopback(publish["bind"]):
            raise ValueError(
                f"{name}: publish.bind must be loopback, since connections are not encrypted (got {publish['bind']!r})"
            )
        database, username = args.get("name", "mlflow"), args.get("username", "mlflow")
        memory_mb, connections = args.get("memory_mb", 768), args.get("max_connections", 150)
        version = args["version"]
        guard = DataGuard(
            self._child("guard"),
            self._role,
            {
                "mlflow:database.engine": engine.value,
                "mlflow:database.version": version,
                "mlflow:database.name": database,
                "mlflow:database.username": username,
            },
            opts,
            self,
        )
        secret = GeneratedSecret(self._child("password"), opts=self._opts())
        data_name = self._physical(f"{engine.value}-{version.replace('.', '-')}")
        data = self._volume(
            "data", data_name, protect=True, opts=pulumi.ResourceOptions(depends_on=[guard])
        )
        make = _postgresql if engine is Engine.POSTGRESQL else _mysql
        server = make(engine, database, username, secret.value, memory_mb, connections)
        files = self._files(server.files, args["image"], UID)
        healthy = self._run(
            container.ContainerSpec(
                image=args["image"],
                command=server.command,
                user=f"{UID}:{UID}",
                network=args["network"],
                alias=self._role,
                files=files,
                health=container.Health(server.check, timeout=180, start_period=30),
                memory_mb=memory_mb,
                shm_mb=server.shm_mb,
                environment=server.environment,
                volumes=[
                    docker.ContainerVolumeArgs(
                        volume_name=data.name, container_path=server.data_path
                    )
                ],
                tmpfs={server.run_path: limits.tmpfs(1)},
                ports=[
                    docker.ContainerPortArgs(
                        internal=port, external=publish["port"], ip=publish["bind"]
                    )
                ]
                if publish
                else [],
                pids=limits.database_pids(connections),
                cpus=f"{limits.database_cpus(connections):g}",
                stop_timeout=60,
            ),
        )
        self.endpoint = DatabaseEndpoint(
            component=name,
            reach=[place(self._deployment)],
            engine=engine.value,
            host=container.once(healthy, self._physical()),
            port=port,
            database=database,
            username=username,
            password=secret.value,
            data=data_name,
        )
        self.host_endpoint = (
            DatabaseEndpoint(
                **{
                    **self.endpoint,
                    "reach": [Scope.HOST.place()],
                    "host": container.once(healthy, publish["bind"]),
                    "port": publish["port"],
                }
            )
            if publish
            else None
        )
        self.ops = pulumi.Output.all(
            engine=engine.value,
            image=args["image"],
            files=files.volume,
            host=self._physical(),
            name=database,
            username=username,
            volume=data.name,
        )
        self.register_outputs(
            {"endpoint": self.endpoint, "host_endpoint": self.host_endpoint, "ops": self.ops}
        )


def _postgresql(
    _engine: Engine,
    database: str,
    username: str,
    password: pulumi.Output[str],
    memory_mb: int,
    connections: int,
) -> _Server:
    parameters = budgets.postgres_parameters(memory_mb, connections)
    return _Server(
        files={"password": password},
        command=[
            "postgres",
            *(
                part
                for key, value in sorted(parameters.items())
                for part in ("-c", f"{key}={value}")
            ),
        ],
        environment={
            "POSTGRES_USER": username,
            "POSTGRES_DB": database,
            "POSTGRES_PASSWORD_FILE": f"{FILES_PATH}/password",
            "PGDATA": "/var/lib/postgresql/data/pgdata",
        },
        # By TCP: while the cluster is being made, a temporary server answers on the socket only.
        check=["pg_isready", "-q", "-h", "127.0.0.1", "-U", username, "-d", database],
        data_path="/var/lib/postgresql/data",
        run_path="/var/run/postgresql",
        shm_mb=max(64, memory_mb // 4),
    )


def _mysql(
    engine: Engine,
    database: str,
    username: str,
    password: pulumi.Output[str],
    memory_mb: int,
    connections: int,
) -> _Server:
    parameters = {
        **budgets.mysql_parameters(memory_mb, connections),
        "collation-server": _COLLATIONS[engine],
        "datadir": f"{MYSQL_DATA}/data",
        # Sorts of an index over all metrics take more than a folder in memory holds.
        "tmpdir": MYSQL_DATA,
    }
    prefix, client = engine.value.upper(), "mysql" if engine is Engine.MYSQL else "mariadb"
    return _Server(
        files={
            "password": password,
            # By TCP: while the data folder is being made, a temporary server answers on the socket only. A generated
            # password needs no quoting.
            "client.cnf": password.apply(
                lambda known: (
                    f"[client]\nprotocol=tcp\nhost=127.0.0.1\nuser={username}\npassword={known}\n"
                )
            ),
        },
        command=[
            "mysqld" if engine is Engine.MYSQL else "mariadbd",
            *(
                f"--{key}={value}" if value else f"--{key}"
                for key, value in sorted(parameters.items())
            ),
        ],
        environment={
            f"{prefix}_DATABASE": database,
            f"{prefix}_USER": username,
            f"{prefix}_PASSWORD_FILE": f"{FILES_PATH}/password",
            # The official images want one. Root logs in from inside the container only, where this file is readable.
            f"{prefix}_ROOT_PASSWORD_FILE": f"{FILES_PATH}/password",
            f"{prefix}_ROOT_HOST": "localhost",
        },
        # A query, since `mysqladmin ping` takes a refused login for an answer.
        check=[client, f"--defaults-file={FILES_PATH}/client.cnf", "-e", "SELECT 1", database],
        data_path=MYSQL_DATA,
        run_path="/run/mysqld",
        shm_mb=64,
    )
