"""PgBouncer in a container, between the tracking server and PostgreSQL."""

from typing import NotRequired, Optional, TypedDict

import pulumi

from ..contracts import DatabaseEndpoint, Engine, require_reach
from ..core import budgets, pooler, uris
from ..endpoints import DATABASE_CA
from . import container
from .engine import HOST_GATEWAY
from .files import FILES_PATH
from .network import place

UID = 10001

_USERLIST = "userlist.txt"


class DockerPoolerArgs(TypedDict):
    """Arguments of DockerPooler."""

    network: pulumi.Input[str]
    """Name of the stack's network."""
    image: pulumi.Input[str]
    """Id of the PgBouncer image."""
    database: DatabaseEndpoint
    """The PostgreSQL behind it. Migrations go there directly."""
    pool_size: NotRequired[int]
    """Connections to PostgreSQL; 20 unless given."""
    max_clients: NotRequired[int]
    """Connections of servers; 1000 unless given."""
    memory_mb: NotRequired[int]
    """Memory limit, in MiB; 64 unless given."""
    deployment: NotRequired[str]
    """Prefix of physical names; `<project>-<stack>` unless given."""


class DockerPooler(container.DockerComponent):
    """PgBouncer in transaction mode, with the database's own user and password.

    Raises:
        UnreachableEndpointError: the database cannot be reached from the stack's network.
        ValueError: the database is not PostgreSQL.
    """

    _role = "pooler"

    endpoint: DatabaseEndpoint
    """The same database through the pooler, for consumers in the same network."""

    def __init__(
        self, name: str, args: DockerPoolerArgs, opts: Optional[pulumi.ResourceOptions] = None
    ) -> None:
        super().__init__(name, args.get("deployment"), opts)
        here = place(self._deployment)
        database = args["database"]
        require_reach(name, here, database["component"], database["reach"])
        if database["engine"] != Engine.POSTGRESQL.value:
            raise ValueError(
                f"{name}: {database['component']} must be postgresql, whose protocol PgBouncer speaks "
                f"(got {database['engine']!r})"
            )
        ini = pulumi.Output.all(
            host=database["host"],
            port=database.get("port", uris.default_port(database["engine"])),
            database=database["database"],
            tls_mode=database.get("tls_mode", "disable"),
            search_path=database.get("search_path", ""),
        ).apply(
            lambda known: pooler.render_pgbouncer(
                pooler.PoolerSettings(
                    host=known["host"],
                    port=int(known["port"]),
                    database=known["database"],
                    tls_mode=known["tls_mode"],
                    search_path=known["search_path"],
                    ca_path=f"{FILES_PATH}/{DATABASE_CA}" if "ca" in database else "",
                    auth_file=f"{FILES_PATH}/{_USERLIST}",
                    pool_size=args.get("pool_size", budgets.POOLER_CONNECTIONS),
                    max_clients=args.get("max_clients", 1000),
                )
            )
        )
        users = pulumi.Output.all(database["username"], database["password"]).apply(
            lambda known: pooler.render_userlist(*known)
        )
        files = self._files(
            {
                "pgbouncer.ini": ini,
                _USERLIST: users,
                **({DATABASE_CA: database["ca"]} if "ca" in database else {}),
            },
            args["image"],
            UID,
        )
        healthy = self._run(
            container.ContainerSpec(
                image=args["image"],
                entrypoint=["pgbouncer"],
                command=[f"{FILES_PATH}/pgbouncer.ini"],
                user=f"{UID}:{UID}",
                network=args["network"],
                alias=self._role,
                files=files,
                # Asks PgBouncer alone, not PostgreSQL behind it.
                health=container.Health(
                    ["pg_isready", "-q", "-h", "127.0.0.1", "-p", str(pooler.PORT)]
                ),
                memory_mb=args.get("memory_mb", 64),
                pids=64,
                host_gateway=database["host"] in HOST_GATEWAY,
            ),
        )
        self.endpoint = DatabaseEndpoint(
            component=name,
            reach=[here],
            engine=database["engine"],
            host=container.once(healthy, self._physical()),
            port=pooler.PORT,
            database=pooler.ALIAS,
            username=database["username"],
            password=database["password"],
        )
        self.register_outputs({"endpoint": self.endpoint})
