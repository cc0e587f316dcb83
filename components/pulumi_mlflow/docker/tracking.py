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
from ..core import budgets, server, urls
from ..generated import GeneratedSecret
from . import container
from .files import FILES_PATH
from .job import DockerJob
from .network import place

PORT = 5000
UID = 10001
SCRATCH = "/scratch"
BOOT = ["python", "/opt/pulumi-mlflow/boot.py"]


class DockerTrackingServerArgs(TypedDict):
    """Arguments of DockerTrackingServer."""

    network: pulumi.Input[str]
    """Name of the stack's network."""
    image: pulumi.Input[str]
    """Id of the server's image."""
    database: DatabaseEndpoint
    """Where runs are kept."""
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
    deployment: NotRequired[str]
    """Prefix of physical names; `<project>-<stack>` unless given."""


class DockerTrackingServer(container.DockerComponent):
    """MLflow behind a one-shot migration, with a disk-backed scratch volume.

    The server spools whole artifacts to its scratch (facts of MLflow 3.17), so that is never memory.

    Raises:
        UnreachableEndpointError: database or artifacts cannot be reached from the stack's network.
    """

    _role = "tracking"

    endpoint: TrackingEndpoint
    """For the proxy in the same network; known once the server is healthy."""
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
        for given in (database, artifacts):
            require_reach(name, here, given["component"], given["reach"])
        workers = args.get("workers", 2)
        kek = GeneratedSecret(self._child("kek"), opts=self._opts())
        secrets = endpoints.server_secrets(database, artifacts, kek.value, FILES_PATH)
        files = self._files(
            {
                **{f"env/{name}": value for name, value in secrets.items()},
                **endpoints.certificates(database, artifacts),
            },
            args["image"],
            UID,
        )
        settings = pulumi.Output.all(
            uri=artifacts["uri"],
            endpoint_url=artifacts.get("endpoint_url", ""),
            region=artifacts.get("region", ""),
        ).apply(lambda known: self._settings(args, known))
        migrated = DockerJob(
            self._child("migration"),
            {
                "name": self._physical("migration"),
                "image": args["image"],
                "command": [*BOOT, "migrate"],
                "environment": {"TMPDIR": "/tmp"},  # noqa: S108 - in the container
                "volumes": files.volume.apply(lambda held: {held: f"{FILES_PATH}:ro"}),
                "network": args["network"],
                "labels": self._labels(),
                "timeout": 1800,
            },
            {"database": database["host"]},
            self._opts(),
        )
        scratch = self._volume("scratch", self._physical("scratch"))
        argv = settings.apply(lambda known: [*BOOT, "serve", *server.server_argv(known)])
        environment = settings.apply(
            lambda known: {
                **server.server_environment(known),
                "HEALTH_URL": f"http://127.0.0.1:{PORT}{server.HEALTH_PATH}",
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
                cpus=f"{cpus:g}" if cpus else "",
                environment=environment,
                volumes=[
                    docker.ContainerVolumeArgs(volume_name=scratch.name, container_path=SCRATCH)
                ],
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
            auth_mode=AuthMode.NONE.value,
        )
        self.ops = pulumi.Output.all(
            image=args["image"], files=files.volume, container=self._physical()
        )
        self.register_outputs({"endpoint": self.endpoint, "ops": self.ops})

    def _settings(
        self, args: DockerTrackingServerArgs, artifacts: dict[str, str]
    ) -> server.ServerSettings:
        names = [
            self._role,
            self._physical(),
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
            pool_size=args.get("pool_size", budgets.POOL_SIZE),
            max_overflow=args.get("max_overflow", budgets.MAX_OVERFLOW),
            scratch_dir=SCRATCH,
            s3_ca_path=f"{FILES_PATH}/{endpoints.ARTIFACTS_CA}"
            if "ca" in args["artifacts"]
            else "",
        )
