"""The MLflow tracking server in a container."""

from typing import NotRequired, Optional, TypedDict

import pulumi
import pulumi_docker as docker

from .. import endpoints
from ..contracts import (
    ArtifactEndpoint,
    AuthMode,
    DatabaseEndpoint,
    TrackingEndpoint,
    require_reach,
)
from ..core import auth, budgets, limits, naming, server, urls
from ..core.server_image import BOOT, MODULES, PORT, SCRATCH, UID
from ..generated import GeneratedSecret
from . import container
from .engine import HOST_GATEWAY
from .files import FILES_PATH, DockerFiles
from .job import DockerJob
from .network import place


class DockerTrackingServerArgs(TypedDict):
    """Arguments of DockerTrackingServer."""

    network: pulumi.Input[str]
    """Name of the stack's network."""
    image: pulumi.Input[str]
    """Id of the server's image."""
    database: DatabaseEndpoint
    """Where runs are kept."""
    migration_database: NotRequired[DatabaseEndpoint]
    """The same without a pooler, for migrations, which hold locks on a connection; `database` unless given."""
    artifacts: ArtifactEndpoint
    """Where artifacts are kept."""
    public_url: NotRequired[str]
    """URL that people use; its host is allowed."""
    allowed_hosts: NotRequired[list[str]]
    """Further names in the Host header of requests."""
    workers: NotRequired[int]
    """Server processes; 2 unless given."""
    pool_size: NotRequired[int]
    """Database connections that each process keeps; 5 unless given."""
    max_overflow: NotRequired[int]
    """Database connections that each process may open beyond those; 35 unless given."""
    memory_mb: NotRequired[Optional[int]]
    """Memory limit, in MiB; by the number of workers unless given."""
    cpus: NotRequired[Optional[float]]
    """CPU limit, in CPUs; none unless given."""
    auth: NotRequired[str]
    """Whom the server itself asks: `none` (a proxy may), `mlflow` (users of its own) or `oidc-mlflow` (a proxy that has
    logged them in); `none` unless given."""
    permissions: NotRequired[endpoints.PermissionsArgs]
    """What users may do, with `mlflow` and `oidc-mlflow`."""
    artifact_mode: NotRequired[str]
    """`proxied`: artifacts go through the server; `direct`: clients use the store; `proxied` unless given."""
    multipart: NotRequired[bool]
    """Whether clients get URLs of the store that the server signed, for large files; no unless given."""
    scratch_mb: NotRequired[Optional[int]]
    """Free disk that artifacts on their way must find, in MiB; see `stores.scratch_mb` unless given."""
    deployment: NotRequired[str]
    """Prefix of physical names; `<project>-<stack>` unless given."""


class DockerTrackingServer(container.DockerComponent):
    """MLflow behind a one-shot migration, with a disk-backed scratch volume.

    The server spools whole artifacts to its scratch (facts of MLflow 3.17), so that is never memory.

    Raises:
        UnreachableEndpointError: database or artifacts cannot be reached from the stack's network.
        ValueError: `auth` or a permission is none that there is, or the store cannot do what `artifact_mode` or
            `multipart` wants.
    """

    _role = "tracking"

    endpoint: TrackingEndpoint
    """For the proxy in the same network; known once the server is healthy."""
    admin_username: str
    """MLflow's administrator, with `mlflow` and `oidc-mlflow`."""
    admin_password: pulumi.Output[str]
    """Password of that user (secret). With `oidc-mlflow` it is good inside the stack's network only."""
    ops: pulumi.Output[dict[str, str]]
    """What `docker.backup` needs; no secrets."""

    def __init__(
        self,
        name: str,
        args: DockerTrackingServerArgs,
        opts: Optional[pulumi.ResourceOptions] = None,
    ) -> None:
        super().__init__(name, args.get("deployment"), opts)
        here = place(self._deployment)
        database, artifacts = args["database"], args["artifacts"]
        direct = args.get("migration_database", database)
        for given in (database, direct, artifacts):
            require_reach(name, here, given["component"], given["reach"])
        workers = args.get("workers", 2)
        kek = GeneratedSecret(self._child("kek"), opts=self._opts())
        # In every mode, since they are protected: a mode may be left and come back to.
        admin = GeneratedSecret(self._child("admin"), opts=self._opts())
        session = GeneratedSecret(self._child("session"), opts=self._opts())
        proxy = GeneratedSecret(self._child("proxy-secret"), opts=self._opts())
        self.admin_username = auth.ADMIN
        self.admin_password = pulumi.Output.secret(admin.value)
        users = endpoints.user_settings(
            name, args.get("auth", AuthMode.NONE.value), args.get("permissions", {})
        )

        def contents(of: DatabaseEndpoint) -> dict[str, pulumi.Input[str]]:
            secrets = endpoints.server_secrets(of, artifacts, kek.value, FILES_PATH)
            return {
                **{f"env/{name}": value for name, value in secrets.items()},
                **endpoints.certificates(of, artifacts),
                **(
                    endpoints.auth_files(
                        users, of, admin.value, session.value, proxy.value, FILES_PATH, MODULES
                    )
                    if users
                    else {}
                ),
            }

        files = self._files(contents(database), args["image"], UID)
        migration_files = files
        if direct is not database:
            migration_files = DockerFiles(
                self._child("migration-files"),
                self._physical("migration-files"),
                contents(direct),
                args["image"],
                UID,
                self._labels(),
                self._opts(),
            )
        # SQLite's file lies in a volume of its own.
        mounts: list[list[pulumi.Input[str]]] = []
        if "volume" in database:
            path = pulumi.Output.from_input(database["database"])
            mounts.append([database["volume"], path.apply(lambda file: file.rpartition("/")[0])])
        settings = pulumi.Output.all(
            uri=artifacts["uri"],
            endpoint_url=endpoints.store_url(
                name,
                artifacts,
                args.get("artifact_mode", "proxied"),
                multipart=args.get("multipart", False),
            ),
            region=artifacts.get("region", ""),
            addressing=artifacts.get("addressing", ""),
        ).apply(lambda known: self._settings(args, known))
        scratch = self._volume("scratch", self._physical("scratch"))
        addresses = (
            database.get("host"),
            direct.get("host"),
            artifacts.get("endpoint_url"),
            artifacts.get("public_endpoint_url"),
        )
        host_gateway = any(
            isinstance(address, str) and name in address
            for address in addresses
            for name in HOST_GATEWAY
        )
        migrated = DockerJob(
            self._child("migration"),
            {
                "name": self._physical("migration"),
                "image": args["image"],
                "command": [*BOOT, "migrate"],
                "environment": {
                    "TMPDIR": "/tmp",  # noqa: S108 - in the container
                    "ARTIFACTS_URI": artifacts["uri"],
                    "SCRATCH": SCRATCH,
                    "SCRATCH_MB": str(self._scratch_mb(args)),
                },
                "volumes": pulumi.Output.all(
                    [[migration_files.volume, f"{FILES_PATH}:ro"], [scratch.name, SCRATCH], *mounts]
                ).apply(lambda held: dict(held[0])),
                "host_gateway": host_gateway,
                "network": args["network"],
                "labels": self._labels(),
                "timeout": 1800,
            },
            {"database": direct.get("host", ""), "data": direct.get("data", "")},
            self._opts(),
        )
        argv = settings.apply(lambda known: [*BOOT, "serve", *server.server_argv(known)])
        environment = settings.apply(
            lambda known: {
                **server.server_environment(known),
                "HEALTH_URL": f"http://127.0.0.1:{PORT}{server.HEALTH_PATH}",
                "ARTIFACTS_URI": known.artifacts_destination,
                "ARTIFACTS_MODE": known.artifact_mode,
                "SCRATCH": SCRATCH,
            }
        )
        cpus = args.get("cpus")
        healthy = self._run(
            container.ContainerSpec(
                image=args["image"],
                command=argv,
                user=f"{UID}:{UID}",
                network=args["network"],
                alias=self._role,
                files=files,
                health=container.Health([*BOOT, "health"], timeout=180, start_period=60),
                memory_mb=args.get("memory_mb") or budgets.server_memory_mb(workers),
                cpus=f"{cpus or limits.server_cpus(workers):g}",
                pids=limits.server_pids(workers),
                environment=environment,
                volumes=[
                    docker.ContainerVolumeArgs(volume_name=scratch.name, container_path=SCRATCH),
                    *(
                        docker.ContainerVolumeArgs(volume_name=volume, container_path=folder)
                        for volume, folder in mounts
                    ),
                    *(
                        [
                            docker.ContainerVolumeArgs(
                                volume_name=artifacts["volume"], container_path=artifacts["uri"]
                            )
                        ]
                        if "volume" in artifacts
                        else []
                    ),
                ],
                host_gateway=host_gateway,
                depends_on=[migrated],
            ),
        )
        self.endpoint = TrackingEndpoint(
            component=name,
            reach=[here],
            internal_url=container.once(healthy, f"http://{self._physical()}:{PORT}"),
            public_url=args.get("public_url", ""),
            health_path=server.HEALTH_PATH,
            ready_path=server.READY_PATH,
            auth_mode=users.mode if users else AuthMode.NONE.value,
        )
        if users and users.mode == AuthMode.OIDC_MLFLOW.value:
            self.endpoint["proxy_secret"] = pulumi.Output.secret(proxy.value)
        self.ops = pulumi.Output.all(
            image=args["image"],
            files=files.volume,
            migration_files=migration_files.volume,
            container=self._physical(),
        )
        self.register_outputs({"endpoint": self.endpoint, "ops": self.ops})

    def _scratch_mb(self, args: DockerTrackingServerArgs) -> int:
        given = args.get("scratch_mb")
        return (
            given
            if given is not None
            else endpoints.scratch_mb(
                args["artifacts"],
                args.get("artifact_mode", "proxied"),
                multipart=args.get("multipart", False),
            )
        )

    def _settings(
        self, args: DockerTrackingServerArgs, artifacts: dict[str, str]
    ) -> server.ServerSettings:
        names = [
            self._role,
            self._physical(),
            # The front door's, under which those of a shared network ask for it.
            naming.physical_name(self._deployment, "proxy"),
            *([urls.host_of(args["public_url"])] if args.get("public_url") else []),
            *args.get("allowed_hosts", []),
        ]
        return server.ServerSettings(
            host="0.0.0.0",  # noqa: S104 - inside the stack's network; only the proxy is published
            port=PORT,
            workers=args.get("workers", 2),
            allowed_hosts=server.allowed_hosts(names),
            artifacts_destination=artifacts["uri"],
            s3_endpoint_url=artifacts["endpoint_url"],
            s3_region=artifacts["region"],
            s3_addressing=artifacts["addressing"],
            pool_size=args.get("pool_size", budgets.POOL_SIZE),
            max_overflow=args.get("max_overflow", budgets.MAX_OVERFLOW),
            scratch_dir=SCRATCH,
            artifact_mode=args.get("artifact_mode", "proxied"),
            own_users=args.get("auth", AuthMode.NONE.value) != AuthMode.NONE.value,
            s3_ca_path=f"{FILES_PATH}/{endpoints.ARTIFACTS_CA}"
            if "ca" in args["artifacts"]
            else "",
        )
