"""The MLflow tracking server as a service on Fargate."""

import functools
from collections.abc import Sequence
from typing import Any, NotRequired, Optional, TypedDict

import pulumi
import pulumi_aws as aws

from .. import endpoints
from ..contracts import (
    ArtifactEndpoint,
    AuthMode,
    DatabaseEndpoint,
    TrackingEndpoint,
    require_reach,
)
from ..core import auth, budgets, ecs, iam, naming, server, stores, urls
from ..core.aws_image import check_reference
from ..core.files import FILES_PATH
from ..core.server_image import BOOT, MAKE_USER, MODULES, PORT, SCRATCH, UID
from ..generated import GeneratedSecret
from .events import AwsTask
from .network import HTTPS, AwsNetworkPlace
from .tasks import AwsTaskComponent, Files, mounts, outside, repositories

USER = f"{UID}:{UID}"

_MIGRATION_MB = 2048
_MIGRATION_SECONDS = 1800


class AwsTrackingServerArgs(TypedDict):
    """Arguments of AwsTrackingServer."""

    network: AwsNetworkPlace
    """The VPC that it runs in."""
    image: pulumi.Input[str]
    """The server's image, by its digest: `AwsImage.reference`."""
    repository: NotRequired[Optional[pulumi.Input[str]]]
    """ARN of the image's repository; read from the image's name unless given."""
    outside: NotRequired[bool]
    """Whether the image is in another registry than the region's ECR, and so pulled by way of the Internet:
    `AwsImage.outside`; read from its name unless given."""
    database: DatabaseEndpoint
    """Where runs are kept."""
    migration_database: NotRequired[DatabaseEndpoint]
    """The same without RDS Proxy, for migrations, which hold locks on a connection; `database` unless given."""
    read_database: NotRequired[Optional[DatabaseEndpoint]]
    """A replica that answers searches; none unless given. It lags behind by its replication, mostly under a second."""
    artifacts: ArtifactEndpoint
    """Where artifacts are kept."""
    public_url: NotRequired[str]
    """URL that people use; its host is allowed."""
    allowed_hosts: NotRequired[list[str]]
    """Further names in the Host header of requests."""
    replicas: NotRequired[int]
    """Fewest servers; 2 unless given."""
    max_replicas: NotRequired[int]
    """Most servers; three times `replicas` unless given. The database must have connections for so many."""
    workers: NotRequired[int]
    """Server processes of each; 2 unless given."""
    pool_size: NotRequired[int]
    """Database connections that each process keeps; 5 unless given."""
    max_overflow: NotRequired[int]
    """Database connections that each process may open beyond those; 35 unless given."""
    memory_mb: NotRequired[Optional[int]]
    """Memory of each, in MiB, rounded up to a size of Fargate's; by the number of workers unless given."""
    cpus: NotRequired[Optional[float]]
    """CPUs of each, rounded up to a size of Fargate's; by the number of workers unless given."""
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


class AwsTrackingServer(AwsTaskComponent):
    """MLflow over the zones, behind a migration that runs once before each rollout.

    Its root is read-only; artifacts on their way lie in the task's own disk. Secrets come as files that an init
    container writes, as in the other runtimes.

    Raises:
        UnreachableEndpointError: database or artifacts cannot be reached from the VPC.
        ValueError: `auth` or a permission is none that there is, an image without a digest, a size that Fargate has
            not, or the store cannot do what `artifact_mode` or `multipart` wants.
    """

    _role = "tracking"

    endpoint: TrackingEndpoint
    """For the proxy in the same VPC; known once the rollout has come to its end."""
    admin_username: str
    """MLflow's administrator, with `mlflow` and `oidc-mlflow`."""
    admin_password: pulumi.Output[str]
    """Password of that user (secret). With `oidc-mlflow` it is good inside the VPC only."""
    cluster: pulumi.Output[str]
    """ARN of the cluster, for the front door's tasks."""
    cluster_name: pulumi.Output[str]
    """Its name, for alarms."""
    service_name: pulumi.Output[str]
    """Name of the service, for alarms."""
    scaling: pulumi.Output[str]
    """Id of what autoscaling scales, for the front door, which knows the requests."""
    namespace: pulumi.Output[str]
    """Id of the private DNS namespace."""
    log_group: pulumi.Output[str]
    """Name of the log group."""
    ops: pulumi.Output[dict[str, Any]]
    """What operations need to run a task in the server's place; no secrets."""

    def __init__(
        self,
        name: str,
        args: AwsTrackingServerArgs,
        opts: Optional[pulumi.ResourceOptions] = None,
    ) -> None:
        network, database, artifacts = args["network"], args["database"], args["artifacts"]
        direct = args.get("migration_database", database)
        read = args.get("read_database")
        for given in (database, direct, artifacts, *([read] if read else [])):
            require_reach(name, network["place"], given["component"], given["reach"])
        size, storage = _check(name, args)
        images = {"image": args["image"]}
        pulled_outside = outside(name, network, images, given=args.get("outside", False))
        store_url = endpoints.store_url(
            name,
            artifacts,
            args.get("artifact_mode", "proxied"),
            multipart=args.get("multipart", False),
        )
        users = endpoints.user_settings(
            name, args.get("auth", AuthMode.NONE.value), args.get("permissions", {})
        )
        super().__init__(name, args.get("deployment"), opts)
        region = network["region"]
        kek = GeneratedSecret(self._child("kek"), opts=self._opts())
        # In every mode, since they are protected: a mode may be left and come back to.
        admin = GeneratedSecret(self._child("admin"), opts=self._opts())
        session = GeneratedSecret(self._child("session"), opts=self._opts())
        proxy = GeneratedSecret(self._child("proxy-secret"), opts=self._opts())
        self.admin_username = auth.ADMIN
        self.admin_password = pulumi.Output.secret(admin.value)

        def contents(
            of: DatabaseEndpoint, replica: Optional[DatabaseEndpoint]
        ) -> dict[str, pulumi.Input[str]]:
            secrets = endpoints.server_secrets(of, artifacts, kek.value, FILES_PATH, replica)
            return {
                **{f"env/{name}": value for name, value in secrets.items()},
                **endpoints.certificates(of, artifacts, replica),
                **(
                    endpoints.auth_files(
                        users, of, admin.value, session.value, proxy.value, FILES_PATH, MODULES
                    )
                    if users
                    else {}
                ),
            }

        files = self._files("files", contents(database, read))
        migration_files = files
        if direct is not database or read:
            migration_files = self._files("migration-files", contents(direct, None))
        group = self._log_group("logs", f"/pulumi-mlflow/{self._deployment}/tracking")
        cluster = aws.ecs.Cluster(
            self._child("cluster"),
            name=self._whole(),
            settings=[{"name": "containerInsights", "value": "enhanced"}],
            tags=self._tags("cluster"),
            opts=self._opts(),
        )
        own = self._security_group("server", network["vpc_id"], "MLflow tracking server")
        ways = self._ways(args, own, store_url, pulled_outside=pulled_outside)
        task_role = self._task_role(args, group)
        repository = args.get("repository")
        pulled = repositories([repository] if repository else None, [args["image"]])
        settings = pulumi.Output.all(
            uri=artifacts["uri"],
            endpoint_url=store_url,
            region=artifacts.get("region", ""),
            addressing=artifacts.get("addressing", ""),
        ).apply(lambda known: self._settings(args, known))
        # The disk is proved by the migration, which has as much.
        common = {
            "image": args["image"],
            "uri": artifacts["uri"],
            "scratch": _scratch_mb(args),
        }
        migrated = self._migrate(
            args,
            direct,
            migration_files,
            group,
            cluster,
            own,
            task_role,
            pulled,
            common,
            ways,
        )
        start = self._start_role("start", group, region, pulled, [files["arn"]])
        containers = pulumi.Output.all(
            image=args["image"], files=files["source"], group=group.name, settings=settings
        ).apply(lambda known: self._containers(region, **known))
        definition = self._definition(
            "server",
            size,
            containers,
            start,
            task_role,
            [ecs.FILES_VOLUME, *mounts("mlflow")],
            storage,
        )
        namespace = aws.servicediscovery.PrivateDnsNamespace(
            self._child("namespace"),
            name=self._domain(),
            vpc=network["vpc_id"],
            description=f"Services of {self._deployment}",
            tags=self._tags("namespace"),
            opts=self._opts(),
        )
        found = aws.servicediscovery.Service(
            self._child("name"),
            name=self._role,
            dns_config={
                "namespace_id": namespace.id,
                # nginx asks again after five seconds anyway.
                "dns_records": [{"type": "A", "ttl": 5}],
                "routing_policy": "MULTIVALUE",
            },
            # The provider calls the number deprecated, and drops the block without it; AWS answers 1, whatever it is.
            # Without the block, tasks that do not answer yet are named too.
            health_check_custom_config={"failure_threshold": 1},
            tags=self._tags("name"),
            opts=self._opts(),
        )
        replicas = args.get("replicas", 2)
        service = self._service(
            "server",
            cluster.arn,
            definition,
            network,
            own,
            replicas,
            [migrated, *ways],
            service_registries={"registry_arn": found.arn},
        )
        rollout = self._rolled_out(
            "server", region, cluster.arn, service, definition, group, "server"
        )
        self.scaling = self._scale_on_cpu(
            cluster.name, service, replicas, args.get("max_replicas", 3 * replicas)
        )
        self.cluster, self.cluster_name = cluster.arn, cluster.name
        self.service_name, self.namespace, self.log_group = service.name, namespace.id, group.name
        self.endpoint = TrackingEndpoint(
            component=name,
            reach=[network["place"]],
            internal_url=rollout.task_definition.apply(
                lambda _: f"http://{self._role}.{self._domain()}:{PORT}"
            ),
            public_url=args.get("public_url", ""),
            health_path=server.HEALTH_PATH,
            ready_path=server.READY_PATH,
            auth_mode=users.mode if users else AuthMode.NONE.value,
            security_group=own.id,
        )
        if users and users.mode == AuthMode.OIDC_MLFLOW.value:
            self.endpoint["proxy_secret"] = pulumi.Output.secret(proxy.value)
        self.ops = pulumi.Output.all(
            cluster=cluster.arn,
            task_definition=definition.arn,
            security_group=own.id,
            subnets=pulumi.Output.all(*network["private_subnets"]),
            log_group=group.name,
            service=service.name,
            region=region,
        )
        self.register_outputs({"endpoint": self.endpoint, "ops": self.ops})

    def _domain(self) -> str:
        return f"{naming.physical_name(self._deployment)}.internal"

    def _ways(
        self,
        args: AwsTrackingServerArgs,
        own: aws.ec2.SecurityGroup,
        store_url: pulumi.Input[str],
        *,
        pulled_outside: bool,
    ) -> list[pulumi.Resource]:
        """Where the server may go: its databases, its store, and what starts its tasks. Nowhere else."""
        network, artifacts = args["network"], args["artifacts"]
        ways = self._reach_aws(own, network, s3=True, outside=pulled_outside)
        databases = {
            "database": args["database"],
            "migration-database": args.get("migration_database"),
            "read-database": args.get("read_database"),
        }
        seen: list[object] = []
        for role, endpoint in databases.items():
            group = endpoint.get("security_group") if endpoint else None
            if endpoint is None or "port" not in endpoint or any(group is item for item in seen):
                continue
            if group is None:
                # Of others: its addresses are not known.
                ways.append(
                    self._let_out(
                        f"{role}-out", own.id, endpoint["port"], "Database", cidr="0.0.0.0/0"
                    )
                )
            else:
                seen.append(group)
                ways += self._let(role, own.id, group, endpoint["port"], "MLflow to database")
        if "endpoint_url" in artifacts:
            port = pulumi.Output.from_input(store_url).apply(urls.port_of)
            ways.append(
                self._let_out("artifacts-out", own.id, port, "Artifact store", cidr="0.0.0.0/0")
            )
        elif "s3_prefixes" in network and network["internet"] and "kms_key" not in artifacts:
            # Not made by us: maybe a store of another cloud, or a bucket in another region.
            ways.append(
                self._let_out("store-out", own.id, HTTPS, "Artifact store", cidr="0.0.0.0/0")
            )
        return ways

    def _task_role(
        self, args: AwsTrackingServerArgs, group: aws.cloudwatch.LogGroup
    ) -> aws.iam.Role:
        """What the server is to AWS: who may use its bucket, and nothing else. With keys of its own, nobody."""
        artifacts, region = args["artifacts"], args["network"]["region"]
        if "access_key" in artifacts:
            return self._role_of_tasks("server", group, region, "")
        policy = pulumi.Output.all(
            uri=artifacts["uri"],
            region=artifacts.get("region", region),
            key=artifacts.get("kms_key", ""),
        ).apply(lambda known: iam.store_access(known["uri"], known["region"], known["key"]))
        return self._role_of_tasks("server", group, region, policy)

    def _migrate(
        self,
        args: AwsTrackingServerArgs,
        direct: DatabaseEndpoint,
        files: Files,
        group: aws.cloudwatch.LogGroup,
        cluster: aws.ecs.Cluster,
        own: aws.ec2.SecurityGroup,
        task_role: aws.iam.Role,
        pulled: pulumi.Input[Sequence[str]],
        common: dict[str, Any],
        ways: list[pulumi.Resource],
    ) -> AwsTask:
        """One task before the servers: the database's user where there is none, then the schema."""
        network, region = args["network"], args["network"]["region"]
        secrets: list[pulumi.Input[str]] = [files["arn"]]
        keys: list[pulumi.Input[str]] = []
        if "admin_secret" in direct:
            secrets.append(direct["admin_secret"])
            keys += [direct["admin_key"]] if "admin_key" in direct else []
        start = self._start_role("migration", group, region, pulled, secrets, keys)
        containers = pulumi.Output.all(
            **common,
            files=files["source"],
            group=group.name,
            admin=direct.get("admin_secret", ""),
        ).apply(lambda known: self._migration_containers(region, **known))
        definition = self._definition(
            "migration",
            ecs.size(1, _MIGRATION_MB),
            containers,
            start,
            task_role,
            [ecs.FILES_VOLUME, *mounts("mlflow")],
            ecs.storage_gb(_scratch_mb(args)),
        )
        return AwsTask(
            self._child("migration"),
            {
                "name": self._short("migration"),
                "region": region,
                "cluster": cluster.arn,
                "task_definition": definition.arn,
                "subnets": network["private_subnets"],
                "security_groups": [own.id],
                "log_group": group.name,
                "timeout": _MIGRATION_SECONDS,
            },
            {"database": direct.get("host", ""), "data": direct.get("data", "")},
            self._opts(depends_on=[*self._granted, *ways]),
        )

    def _migration_containers(
        self, region: str, image: str, files: str, group: str, admin: str, uri: str, scratch: int
    ) -> list[ecs.Container]:
        base = functools.partial(
            ecs.Container, image=image, user=USER, log_group=group, region=region
        )
        reads = {ecs.FILES_VOLUME: FILES_PATH}
        writer = ecs.files(image, USER, group, region, files)
        after = {writer.name: "SUCCESS"}
        made: list[ecs.Container] = []
        if admin:
            made = [
                base(
                    name="user",
                    command=MAKE_USER,
                    secrets={"ADMIN": ecs.secret_source(admin, "")},
                    environment={"TMPDIR": "/tmp", "WAIT_SECONDS": "120"},  # noqa: S108 - in the container
                    read_only=reads,
                    folders=mounts("mlflow"),
                    after=after,
                    essential=False,
                )
            ]
            after = {"user": "SUCCESS"}
        migration = base(
            name="migration",
            command=[*BOOT, "migrate"],
            environment={
                "TMPDIR": "/tmp",  # noqa: S108 - in the container
                "ARTIFACTS_URI": uri,
                "SCRATCH": SCRATCH,
                "SCRATCH_MB": str(int(scratch)),
                "WAIT_SECONDS": "120",
            },
            read_only=reads,
            folders=mounts("mlflow"),
            after=after,
        )
        return [writer, *made, migration]

    def _containers(
        self, region: str, image: str, files: str, group: str, settings: server.ServerSettings
    ) -> list[ecs.Container]:
        writer = ecs.files(image, USER, group, region, files)
        return [
            writer,
            ecs.Container(
                name="server",
                image=image,
                command=[*BOOT, "serve", *server.server_argv(settings)],
                user=USER,
                log_group=group,
                region=region,
                environment={
                    **server.server_environment(settings),
                    "HEALTH_URL": f"http://127.0.0.1:{PORT}{server.HEALTH_PATH}",
                    "ARTIFACTS_URI": settings.artifacts_destination,
                    "ARTIFACTS_MODE": settings.artifact_mode,
                    "SCRATCH": SCRATCH,
                },
                port=PORT,
                folders=mounts("mlflow"),
                read_only={ecs.FILES_VOLUME: FILES_PATH},
                after={writer.name: "SUCCESS"},
                health=[*BOOT, "health"],
                health_start_seconds=180,
                # The longest that Fargate gives: uploads on their way come to their end.
                stop_seconds=120,
            ),
        ]

    def _settings(
        self, args: AwsTrackingServerArgs, artifacts: dict[str, str]
    ) -> server.ServerSettings:
        names = [
            f"{self._role}.{self._domain()}",
            *([urls.host_of(args["public_url"])] if args.get("public_url") else []),
            *args.get("allowed_hosts", []),
        ]
        return server.ServerSettings(
            host="0.0.0.0",  # noqa: S104 - inside the VPC; only the proxy's security group gets here
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


def _check(name: str, args: AwsTrackingServerArgs) -> "tuple[ecs.Size, int]":
    """Size and disk of a server; refuses what Fargate or the store cannot do."""
    workers, replicas = args.get("workers", 2), args.get("replicas", 2)
    image, artifacts = args["image"], args["artifacts"]
    reasons = {
        "replicas": None if replicas >= 1 else f"must be ≥ 1 (got {replicas})",
        "max_replicas": None
        if args.get("max_replicas", 3 * replicas) >= replicas
        else f"must be ≥ replicas, {replicas} (got {args.get('max_replicas')})",
        "image": check_reference(image) if isinstance(image, str) else None,
        "database": "SQLite is a file, and a task has no disk that stays; give a database server"
        if args["database"]["engine"] == "sqlite"
        else None,
        "artifacts": f"{artifacts['component']} is a folder in a Docker volume; give an object store"
        if "volume" in artifacts
        else None,
        "multipart": _check_multipart(args),
        "memory_mb": budgets.check_memory(workers, given)
        if (given := args.get("memory_mb")) is not None
        else None,
    }
    for key, reason in reasons.items():
        if reason:
            raise ValueError(f"{name}: {key}: {reason}")
    try:
        size = ecs.server_size(workers, args.get("cpus"), args.get("memory_mb"))
        return size, ecs.storage_gb(_scratch_mb(args))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _check_multipart(args: AwsTrackingServerArgs) -> Optional[str]:
    """Why clients could not use the URLs that the server signs, or None."""
    artifacts, mode = args["artifacts"], args.get("artifact_mode", "proxied")
    if not args.get("multipart", False) and mode == "proxied":
        return None
    if args.get("multipart", False) and mode == "direct":
        return stores.check_multipart("s3", mode, "")
    if artifacts["reach"] == [args["network"]["place"]]:
        return (
            f"clients would need {artifacts['component']} themselves, which only the VPC reaches; give it vpc_only: "
            "false, or send artifacts through the server"
        )
    return None


def _scratch_mb(args: AwsTrackingServerArgs) -> int:
    given = args.get("scratch_mb")
    if given is not None:
        return given
    mode, multipart = args.get("artifact_mode", "proxied"), args.get("multipart", False)
    return endpoints.scratch_mb(args["artifacts"], mode, multipart=multipart)
