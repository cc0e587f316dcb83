"""The MLflow tracking server as a Deployment."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NotRequired, Optional, TypedDict

import pulumi
import pulumi_kubernetes as kubernetes

from .. import endpoints
from ..contracts import ArtifactEndpoint, AuthMode, DatabaseEndpoint, TrackingEndpoint
from ..core import auth, budgets, external_secrets, limits, manifests, naming, server, urls
from ..core.files import FILES_PATH
from ..core.server_image import BOOT, ENTRYPOINT, MAKE_USER, MODULES, PORT, SCRATCH, UID
from ..generated import GeneratedSecret
from . import workload

METRICS_PATH = "/metrics"
_METRICS_DIR = f"{manifests.TMP}/metrics"

JOBS = "jobs"
"""Role of the one server that runs jobs."""

_REDIS_PORT = 6379

MIGRATION = "migration"
"""Role of the migration's pods: they serve nobody."""

_MIGRATION_SECONDS = 1800

_LOGIN_SECONDS = 120
"""How long the administrator's login is tried. The job has three tries, each with the secret as it is then: longer than
it takes until a rotated one is in the cluster."""

_STOP_SECONDS = 60
"""How long a server may take to end: uploads that are on their way get through, or are tried again by the client."""

_CPU_PER_WORKER = 0.5
"""CPUs kept for a worker. Python runs one thread of it at a time, so a worker takes one at most, and most of them wait
for the database."""

_CPU_PERCENT = 70
"""Of the CPUs kept; at 140 % a worker takes what it can."""


class KubernetesIdentityArgs(TypedDict):
    """The cloud's identity of the server's pods, instead of static keys."""

    role_arn: NotRequired[pulumi.Input[str]]
    """IAM role that the service account assumes on EKS (IRSA)."""
    pod_identity: NotRequired[bool]
    """Whether EKS Pod Identity gives the service account a role; no unless given."""
    annotations: NotRequired[dict[str, str]]
    """Of the service account, for other clouds, such as `iam.gke.io/gcp-service-account`."""
    pod_labels: NotRequired[dict[str, str]]
    """Of the pods, for other clouds, such as `azure.workload.identity/use: "true"`."""


class KubernetesAutoscalingArgs(TypedDict):
    """How many replicas there are, by load."""

    min_replicas: int
    """Fewest replicas, at least 1."""
    max_replicas: int
    """Most replicas; all of them must fit the database's connections."""
    cpu_percent: NotRequired[int]
    """Use of the CPUs kept for a replica that is aimed at, in percent; 70 unless given."""
    requests_metric: NotRequired[Optional[str]]
    """Name of a metric of the pods with requests a second, where an adapter offers one; CPU alone unless given."""
    requests_per_replica: NotRequired[Optional[int]]
    """Requests a second of a replica that are aimed at, with `requests_metric`."""


class KubernetesJobsArgs(TypedDict):
    """One server beside the others that runs jobs: evaluations, and scorers on a schedule."""

    redis_url: NotRequired[Optional[pulumi.Input[str]]]
    """Queue of jobs (secret), `rediss://…`; needs an image with the extra `redis`. In memory unless given: what
    waits is then put in line again after a restart."""
    redis_port: NotRequired[int]
    """TCP port of the queue; 6379 unless given."""
    memory_mb: NotRequired[int]
    """Memory limit, in MiB; for idle job processes and small jobs unless given."""
    cpus: NotRequired[float]
    """CPU limit; 2 unless given."""


class KubernetesTrackingServerArgs(TypedDict):
    """Arguments of KubernetesTrackingServer."""

    namespace: pulumi.Input[str]
    """Where it runs: `KubernetesNetwork.namespace`."""
    image: pulumi.Input[str]
    """The server's image in a registry that the cluster pulls from, with a tag or digest."""
    pull_secrets: NotRequired[list[str]]
    """Names of Secrets of the namespace that open the registry; none unless given."""
    database: DatabaseEndpoint
    """Where runs are kept."""
    migration_database: NotRequired[DatabaseEndpoint]
    """The same without a pooler, for migrations, which hold locks on a connection; `database` unless given."""
    database_secret: NotRequired[Optional[workload.KubernetesExternalSecretArgs]]
    """Whence the database's password comes, in the place of those of the endpoints; theirs unless given."""
    admin_store: NotRequired[Optional[workload.KubernetesSecretStoreArgs]]
    """What opens the vault with the `admin_secret` of `migration_database`; needed where there is one. The migration
    alone gets it, and makes the user of the endpoints before it begins."""
    artifacts: ArtifactEndpoint
    """Where artifacts are kept."""
    identity: NotRequired[Optional[KubernetesIdentityArgs]]
    """The cloud's identity of the server; needed where `artifacts` has no keys."""
    also_in: NotRequired[list[str]]
    """Further places that the cluster's pods are in, as endpoints name them in `reach`, such as `vpc:…`."""
    egress_cidrs: NotRequired[list[str]]
    """Addresses where databases and stores outside the cluster may be; all unless given."""
    public_url: NotRequired[str]
    """URL that people use; its host is allowed."""
    allowed_hosts: NotRequired[list[str]]
    """Further names in the Host header of requests."""
    replicas: NotRequired[int]
    """Servers; 2 unless given, and none of it with `autoscaling`."""
    autoscaling: NotRequired[Optional[KubernetesAutoscalingArgs]]
    """How many servers there are, by load; a fixed number unless given."""
    workers: NotRequired[int]
    """Server processes of each; 2 unless given."""
    pool_size: NotRequired[int]
    """Database connections that each process keeps; 5 unless given."""
    max_overflow: NotRequired[int]
    """Database connections that each process may open beyond those; 35 unless given."""
    max_connections: NotRequired[Optional[int]]
    """Connections that the database accepts; unchecked unless given."""
    memory_mb: NotRequired[Optional[int]]
    """Memory limit of each, in MiB; by the number of workers unless given."""
    cpu_request: NotRequired[Optional[float]]
    """CPUs kept for each; half a CPU a worker unless given."""
    cpus: NotRequired[Optional[float]]
    """CPU limit of each; by the number of workers unless given."""
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
    """Disk for artifacts on their way, in MiB; see `stores.scratch_mb` unless given."""
    scratch_class: NotRequired[Optional[str]]
    """Storage class of a disk of its own for each pod's scratch; the node's disk unless given."""
    jobs: NotRequired[Optional[KubernetesJobsArgs]]
    """A server of its own for jobs; none are run unless given."""
    monitoring_namespace: NotRequired[Optional[str]]
    """Namespace of Prometheus, which may then ask for metrics; there are none unless given."""
    cluster: NotRequired[Optional[workload.KubernetesAccessArgs]]
    """How this machine reaches the cluster, to see rollouts and jobs through; left to Pulumi's provider unless given,
    which takes some for done too early, and tells of an image that cannot be pulled only when its time is up."""
    cluster_domain: NotRequired[str]
    """What the names of Services end in; `cluster.local` unless given."""
    deployment: NotRequired[str]
    """Prefix of physical names; `<project>-<stack>` unless given."""


class KubernetesTrackingServer(workload.KubernetesComponent):
    """MLflow behind a migration job, which must have succeeded before a server of its version is rolled out.

    The server spools whole artifacts to its scratch (facts of MLflow 3.17), so that is disk, never memory.

    Raises:
        UnreachableEndpointError: database or artifacts cannot be reached from the cluster.
        ValueError: a setting that cannot work, such as memory or connections that do not suffice.
    """

    _role = "tracking"

    endpoint: TrackingEndpoint
    """For the proxy in the same namespace; known once the servers are ready."""
    service_account: pulumi.Output[str]
    """Name of the service account: what an IAM role trusts, or a pod identity association names."""
    admin_username: str
    """MLflow's administrator, with `mlflow` and `oidc-mlflow`."""
    admin_password: pulumi.Output[str]
    """Password of that user (secret). With `oidc-mlflow` it is good inside the namespace only."""
    metrics_secret: Optional[pulumi.Output[str]]
    """Name of a Secret with `username` and `password` that metrics are asked for with; none where nobody is asked."""
    ops: pulumi.Output[dict[str, str]]
    """What jobs beside the server need; no secrets."""

    def __init__(
        self,
        name: str,
        args: KubernetesTrackingServerArgs,
        opts: Optional[pulumi.ResourceOptions] = None,
    ) -> None:
        super().__init__(name, args.get("deployment"), opts, args.get("cluster"))
        database, artifacts = args["database"], args["artifacts"]
        direct = args.get("migration_database", database)
        vault = args.get("database_secret")
        self._require((database, direct, artifacts), args.get("also_in", []))
        _check(name, args)
        _check_administrator(name, direct, args.get("admin_store"))
        users = endpoints.user_settings(
            name, args.get("auth", AuthMode.NONE.value), args.get("permissions", {})
        )
        store_url = endpoints.store_url(
            name,
            artifacts,
            args.get("artifact_mode", "proxied"),
            multipart=args.get("multipart", False),
        )
        image = workload.checked_image(args["image"])
        kek = GeneratedSecret(self._child("kek"), opts=self._opts())
        # In every mode, since they are protected: a mode may be left and come back to.
        admin = GeneratedSecret(self._child("admin"), opts=self._opts())
        session = GeneratedSecret(self._child("session"), opts=self._opts())
        proxy = GeneratedSecret(self._child("proxy-secret"), opts=self._opts())
        self.admin_username = auth.ADMIN
        self.admin_password = pulumi.Output.secret(admin.value)

        def contents(of: DatabaseEndpoint) -> dict[str, pulumi.Input[str]]:
            if vault:
                of = DatabaseEndpoint(**{**of, "password": external_secrets.PLACEHOLDER})
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

        namespace = args["namespace"]
        held = self._files(namespace, contents(database), external=vault)
        migration_files = held
        if direct is not database:
            migration_files = self._files(
                namespace, contents(direct), "migration-files", MIGRATION, vault
            )
        self.service_account = self._account(namespace, annotations=_annotations(args))
        migrated = self._migration(args, image, migration_files, direct)
        settings = pulumi.Output.all(
            uri=artifacts["uri"],
            endpoint_url=store_url,
            region=artifacts.get("region", ""),
            addressing=artifacts.get("addressing", ""),
            namespace=namespace,
        ).apply(lambda known: self._settings(args, known))
        allowed = self._server_edges(args, store_url)
        autoscaling = args.get("autoscaling")
        servers = self._rollout(
            namespace,
            self._pod(args, image, held, settings),
            None if autoscaling else args.get("replicas", 2),
            pod_labels=_identity(args).get("pod_labels"),
            depends_on=[migrated, allowed],
            reloaded=bool(vault),
        )
        self._service(namespace, PORT)
        self._budget(namespace)
        if autoscaling:
            self._autoscaler(namespace, autoscaling, servers)
        host = self._host(
            self._physical(),
            namespace,
            args.get("cluster_domain", workload.CLUSTER_DOMAIN),
            servers,
        )
        self.endpoint = TrackingEndpoint(
            component=name,
            reach=[workload.place(self._deployment)],
            internal_url=host.apply(lambda known: f"http://{known}:{PORT}"),
            public_url=args.get("public_url", ""),
            health_path=server.HEALTH_PATH,
            ready_path=server.READY_PATH,
            auth_mode=users.mode if users else AuthMode.NONE.value,
        )
        jobs = args.get("jobs")
        if jobs is not None:
            self.endpoint["jobs_url"] = self._jobs(
                args, jobs, image, contents(database), settings, store_url, migrated
            )
        if users and users.mode == AuthMode.OIDC_MLFLOW.value:
            self.endpoint["proxy_secret"] = pulumi.Output.secret(proxy.value)
        self.metrics_secret = None
        if args.get("monitoring_namespace"):
            self.endpoint["metrics_path"] = METRICS_PATH
            if users:
                self.metrics_secret = self._metrics_login(namespace, admin.value)
        self.ops = pulumi.Output.all(
            image=image,
            namespace=namespace,
            files=held.secret,
            migration_files=migration_files.secret,
            deployment=self._physical(),
        )
        self.register_outputs(
            {
                "endpoint": self.endpoint,
                "service_account": self.service_account,
                "metrics_secret": self.metrics_secret,
                "ops": self.ops,
            }
        )

    def _migration(
        self,
        args: KubernetesTrackingServerArgs,
        image: pulumi.Output[str],
        held: workload.Files,
        database: DatabaseEndpoint,
    ) -> pulumi.Resource:
        """The servers' user where nobody has made it, then the image's schema, under the database's own lock."""
        namespace = args["namespace"]
        volumes, first = [held.volume()], []
        if store := args.get("admin_store"):
            admin = self._administrator(namespace, store, database["admin_secret"], MIGRATION)
            volumes.append(held.volume_with("user-files", admin))
            first = [_make_user(image)]
        allowed = self._edges(
            namespace,
            ingress=[],
            egress=[self._to_database(database, args.get("egress_cidrs", workload.EVERYWHERE))],
            role=MIGRATION,
        )
        pod = manifests.pod(
            self._account(namespace, MIGRATION),
            UID,
            [
                manifests.container(
                    MIGRATION,
                    image,
                    manifests.resources(budgets.MIGRATION_MB, 0.25, 1),
                    [manifests.files_mount("files")],
                    command=[ENTRYPOINT],
                    args=[*BOOT, "migrate"],
                    env=pulumi.Output.from_input(args["artifacts"]["uri"]).apply(
                        lambda uri: manifests.variables(
                            {"ARTIFACTS_URI": uri, "TMPDIR": manifests.TMP, "HOME": manifests.TMP}
                        )
                    ),
                )
            ],
            volumes,
            initContainers=first or None,
            imagePullSecrets=workload.pull_secrets(args.get("pull_secrets", [])),
        )
        return self._job(
            MIGRATION,
            namespace,
            MIGRATION,
            pod,
            _MIGRATION_SECONDS,
            # Another database at the same address is migrated anew.
            {"database": database.get("host", ""), "data": database.get("data", "")},
            [allowed],
        )

    def _jobs(
        self,
        args: KubernetesTrackingServerArgs,
        jobs: KubernetesJobsArgs,
        image: pulumi.Output[str],
        contents: dict[str, pulumi.Input[str]],
        settings: pulumi.Output[server.ServerSettings],
        store_url: pulumi.Input[str],
        migrated: pulumi.Resource,
    ) -> pulumi.Output[str]:
        """The server that runs jobs; its URL.

        Two would run everything that is scheduled twice, so the old one is gone before a new one starts.
        """
        namespace, cidrs = args["namespace"], args.get("egress_cidrs", workload.EVERYWHERE)
        service = naming.physical_name(self._deployment, JOBS)
        egress = [
            self._to_database(args["database"], cidrs),
            self._to_store(args["artifacts"], cidrs, store_url),
            # Models that judge answer by HTTPS.
            manifests.to_addresses(cidrs, 443),
        ]
        if redis := jobs.get("redis_url"):
            contents["env/MLFLOW_SERVER_JOB_HUEY_REDIS_URL"] = redis
            egress.append(manifests.to_addresses(cidrs, jobs.get("redis_port", _REDIS_PORT)))
        if _identity(args).get("pod_identity"):
            egress.append(manifests.to_addresses([manifests.POD_IDENTITY_ADDRESS], 80))
        allowed = self._edges(
            namespace, [manifests.from_pods([self._pods_of("proxy")], PORT)], egress, role=JOBS
        )
        pod = self._pod(
            {
                **args,
                "workers": 1,
                "memory_mb": jobs.get("memory_mb") or budgets.jobs_memory_mb(),
                "cpus": jobs.get("cpus", 2),
                "monitoring_namespace": None,
            },
            image,
            self._files(namespace, contents, "jobs-files", JOBS, args.get("database_secret")),
            settings.apply(
                lambda known: dataclasses.replace(
                    known,
                    workers=1,
                    jobs=True,
                    prometheus_dir="",
                    # As jobs ask their own server: by the address that it listens on.
                    allowed_hosts=tuple(
                        sorted({*known.allowed_hosts, *server.allowed_hosts([known.host, service])})
                    ),
                )
            ),
            JOBS,
        )
        running = self._rollout(
            namespace,
            pod,
            1,
            JOBS,
            pod_labels=_identity(args).get("pod_labels"),
            depends_on=[migrated, allowed],
            recreate=True,
            reloaded=bool(args.get("database_secret")),
        )
        self._service(namespace, PORT, JOBS)
        self._budget(namespace, JOBS)
        host = self._host(
            service, namespace, args.get("cluster_domain", workload.CLUSTER_DOMAIN), running
        )
        return host.apply(lambda known: f"http://{known}:{PORT}")

    def _pod(
        self,
        args: KubernetesTrackingServerArgs,
        image: pulumi.Output[str],
        held: workload.Files,
        settings: pulumi.Output[server.ServerSettings],
        role: Optional[str] = None,
    ) -> dict[str, Any]:
        workers, scratch_mb = args.get("workers", 2), _scratch_mb(args)
        storage = args.get("scratch_class")
        scratch = (
            manifests.claim_volume(
                "scratch", scratch_mb, storage, self._labels_of(role or self._role)
            )
            if storage
            else manifests.disk_volume("scratch", scratch_mb)
        )
        disk_mb = manifests.SPARE_DISK_MB + (0 if storage else scratch_mb)
        alive = manifests.http_check(server.HEALTH_PATH, PORT)
        return manifests.pod(
            self.service_account,
            UID,
            [
                manifests.container(
                    role or self._role,
                    image,
                    manifests.resources(
                        args.get("memory_mb") or budgets.server_memory_mb(workers),
                        args.get("cpu_request") or _CPU_PER_WORKER * workers,
                        args.get("cpus") or limits.server_cpus(workers),
                        disk_mb,
                    ),
                    [
                        manifests.files_mount("files"),
                        {"name": "scratch", "mountPath": SCRATCH},
                    ],
                    command=[ENTRYPOINT],
                    args=settings.apply(lambda known: [*BOOT, "serve", *server.server_argv(known)]),
                    env=settings.apply(lambda known: _environment(args, known)),
                    ports=[{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
                    lifecycle=manifests.drained(),
                    **manifests.probes(alive, _ready(args)),
                )
            ],
            [held.volume(), scratch],
            terminationGracePeriodSeconds=_STOP_SECONDS,
            imagePullSecrets=workload.pull_secrets(args.get("pull_secrets", [])),
        )

    def _server_edges(
        self, args: KubernetesTrackingServerArgs, store_url: pulumi.Input[str]
    ) -> pulumi.Resource:
        cidrs = args.get("egress_cidrs", workload.EVERYWHERE)
        ingress = [manifests.from_pods([self._pods_of("proxy"), self._pods_of("gc")], PORT)]
        if monitoring := args.get("monitoring_namespace"):
            there = {manifests.NAMESPACE_LABEL: monitoring}
            ingress.append(manifests.from_pods([{}], PORT, namespace=there))
        egress = [
            self._to_database(args["database"], cidrs),
            self._to_store(args["artifacts"], cidrs, store_url),
        ]
        if _identity(args).get("pod_identity"):
            egress.append(manifests.to_addresses([manifests.POD_IDENTITY_ADDRESS], 80))
        return self._edges(args["namespace"], ingress, egress)

    def _autoscaler(
        self,
        namespace: pulumi.Input[str],
        wanted: KubernetesAutoscalingArgs,
        servers: pulumi.Resource,
    ) -> None:
        metrics: list[Any] = [
            {
                "type": "Resource",
                "resource": {
                    "name": "cpu",
                    "target": {
                        "type": "Utilization",
                        "averageUtilization": wanted.get("cpu_percent", _CPU_PERCENT),
                    },
                },
            }
        ]
        if metric := wanted.get("requests_metric"):
            metrics.append(
                {
                    "type": "Pods",
                    "pods": {
                        "metric": {"name": metric},
                        "target": {
                            "type": "AverageValue",
                            "averageValue": manifests.number(
                                wanted.get("requests_per_replica") or 0
                            ),
                        },
                    },
                }
            )
        spec: Any = {
            "scaleTargetRef": {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": self._physical(),
            },
            "minReplicas": wanted["min_replicas"],
            "maxReplicas": wanted["max_replicas"],
            "metrics": metrics,
        }
        kubernetes.autoscaling.v2.HorizontalPodAutoscaler(
            self._child("autoscaler"),
            metadata=self._meta(self._physical(), namespace),
            spec=spec,
            opts=self._opts(depends_on=[servers]),
        )

    def _metrics_login(
        self, namespace: pulumi.Input[str], password: pulumi.Output[str]
    ) -> pulumi.Output[str]:
        """What Prometheus logs in with: MLflow has no user who may see metrics alone."""
        secret: pulumi.Output[str] = pulumi.Output.secret(password)
        login = kubernetes.core.v1.Secret(
            self._child("metrics-login"),
            metadata=self._meta(self._physical("metrics"), namespace),
            type="kubernetes.io/basic-auth",
            string_data={"username": auth.ADMIN, "password": secret},
            opts=self._opts(),
        )
        return login.urn.apply(lambda _: self._physical("metrics"))

    def _settings(
        self, args: KubernetesTrackingServerArgs, known: Mapping[str, str]
    ) -> server.ServerSettings:
        domain = args.get("cluster_domain", workload.CLUSTER_DOMAIN)
        # As other pods may write them: the server's own name and the front door's.
        services = (self._physical(), naming.physical_name(self._deployment, "proxy"))
        names = [
            f"{service}{end}"
            for service in services
            for end in (
                "",
                f".{known['namespace']}",
                f".{known['namespace']}.svc",
                f".{known['namespace']}.svc.{domain}",
            )
        ]
        if args.get("public_url"):
            names.append(urls.host_of(args["public_url"]))
        return server.ServerSettings(
            host="0.0.0.0",  # noqa: S104 - inside the cluster, where the proxy alone may connect
            port=PORT,
            workers=args.get("workers", 2),
            allowed_hosts=server.allowed_hosts([*names, *args.get("allowed_hosts", [])]),
            artifacts_destination=known["uri"],
            s3_endpoint_url=known["endpoint_url"],
            s3_region=known["region"],
            s3_addressing=known["addressing"],
            pool_size=args.get("pool_size", budgets.POOL_SIZE),
            max_overflow=args.get("max_overflow", budgets.MAX_OVERFLOW),
            scratch_dir=SCRATCH,
            artifact_mode=args.get("artifact_mode", "proxied"),
            own_users=args.get("auth", AuthMode.NONE.value) != AuthMode.NONE.value,
            s3_ca_path=f"{FILES_PATH}/{endpoints.ARTIFACTS_CA}"
            if "ca" in args["artifacts"]
            else "",
            prometheus_dir=_METRICS_DIR if args.get("monitoring_namespace") else "",
        )


def _check(name: str, args: KubernetesTrackingServerArgs) -> None:
    """Refuse what would not start, would lose writes under load, or would log in as the node."""
    workers, memory_mb = args.get("workers", 2), args.get("memory_mb")
    if memory_mb and (reason := budgets.check_memory(workers, memory_mb)):
        raise ValueError(f"{name}: memory_mb: {reason}")
    autoscaling = args.get("autoscaling")
    replicas = autoscaling["max_replicas"] if autoscaling else args.get("replicas", 2)
    if replicas < 1:
        raise ValueError(f"{name}: replicas: must be ≥ 1 (got {replicas})")
    if autoscaling:
        _check_autoscaling(name, autoscaling)
    connections = args.get("max_connections")
    if connections:
        pool = args.get("pool_size", budgets.POOL_SIZE)
        overflow = args.get("max_overflow", budgets.MAX_OVERFLOW)
        own_users = args.get("auth", AuthMode.NONE.value) != AuthMode.NONE.value
        others = (
            budgets.jobs_connections(pool, overflow, own_users=own_users)
            if args.get("jobs") is not None
            else 0
        )
        reason = budgets.check_connections(
            workers,
            # While a version is rolled out, there is one more.
            replicas + 1,
            pool,
            overflow,
            connections - others,
            own_users=own_users,
        )
        if reason:
            jobs = (
                f"; {others} of {connections} are for the server that runs jobs" if others else ""
            )
            raise ValueError(f"{name}: max_connections: {reason}{jobs}")
    identity = _identity(args)
    if "access_key" not in args["artifacts"] and not identity:
        raise ValueError(
            f"{name}: identity: {args['artifacts']['component']} has no keys, and without an identity of their own the "
            "pods would use the node's; give identity.role_arn (IRSA), identity.pod_identity, or identity.annotations"
        )
    if identity.get("role_arn") and identity.get("pod_identity"):
        raise ValueError(f"{name}: identity: role_arn and pod_identity exclude one another")


def _check_administrator(
    name: str, direct: DatabaseEndpoint, store: Optional[workload.KubernetesSecretStoreArgs]
) -> None:
    """Refuse a user that nobody would make."""
    if "admin_secret" in direct and not store:
        raise ValueError(
            f"{name}: admin_store: must be given, since {direct['component']} knows its administrator only, by whose "
            "secret the migration makes the servers' user; name the External Secrets operator's store that opens it"
        )
    if store and "admin_secret" not in direct:
        raise ValueError(
            f"{name}: admin_store: {direct['component']} has no admin_secret that it could open; leave it out"
        )


def _make_user(image: pulumi.Output[str]) -> dict[str, Any]:
    """The container that makes the servers' user, as the administrator; the migration's own never sees that secret."""
    return manifests.container(
        "user",
        image,
        manifests.resources(budgets.MIGRATION_MB, 0.25, 1),
        [manifests.files_mount("user-files")],
        command=[ENTRYPOINT],
        args=MAKE_USER,
        env=manifests.variables(
            {
                "TMPDIR": manifests.TMP,
                "HOME": manifests.TMP,
                "WAIT_SECONDS": str(_LOGIN_SECONDS),
            }
        ),
    )


def _check_autoscaling(name: str, wanted: KubernetesAutoscalingArgs) -> None:
    fewest, most = wanted["min_replicas"], wanted["max_replicas"]
    if not 1 <= fewest <= most:
        raise ValueError(
            f"{name}: autoscaling: must be 1 ≤ min_replicas ≤ max_replicas (got {fewest} and {most})"
        )
    if bool(wanted.get("requests_metric")) != bool(wanted.get("requests_per_replica")):
        raise ValueError(
            f"{name}: autoscaling: requests_metric and requests_per_replica must be given together"
        )


def _identity(args: KubernetesTrackingServerArgs) -> KubernetesIdentityArgs:
    return args.get("identity") or KubernetesIdentityArgs()


def _annotations(args: KubernetesTrackingServerArgs) -> dict[str, pulumi.Input[str]]:
    """Of the service account, see https://docs.aws.amazon.com/eks/latest/userguide/associate-service-account-role.html."""
    identity = _identity(args)
    found: dict[str, pulumi.Input[str]] = {**identity.get("annotations", {})}
    if "role_arn" in identity:
        found["eks.amazonaws.com/role-arn"] = identity["role_arn"]
        # The region's own service, which VPC endpoints are for, instead of the one in Virginia.
        found["eks.amazonaws.com/sts-regional-endpoints"] = "true"
    return found


def _scratch_mb(args: KubernetesTrackingServerArgs) -> int:
    given = args.get("scratch_mb")
    if given is not None:
        return given
    mode, multipart = args.get("artifact_mode", "proxied"), args.get("multipart", False)
    return endpoints.scratch_mb(args["artifacts"], mode, multipart=multipart)


def _environment(
    args: KubernetesTrackingServerArgs, settings: server.ServerSettings
) -> list[dict[str, Any]]:
    here = f"http://127.0.0.1:{PORT}"
    environment = {
        **server.server_environment(settings),
        "HEALTH_URL": f"{here}{server.HEALTH_PATH}",
        "READY_URL": f"{here}{server.READY_PATH}",
        "ARTIFACTS_URI": settings.artifacts_destination,
        "ARTIFACTS_MODE": settings.artifact_mode,
        "SCRATCH": SCRATCH,
    }
    if not args.get("monitoring_namespace"):
        return manifests.variables(environment)
    # Prometheus asks each pod under its address.
    environment["MLFLOW_SERVER_ALLOWED_HOSTS"] += ",$(POD_IP),$(POD_IP):*"
    return manifests.variables(environment, [manifests.pod_ip()])


def _ready(args: KubernetesTrackingServerArgs) -> dict[str, Any]:
    """Asks the server to read its database. Where it has users, by a program that logs in."""
    if args.get("auth", AuthMode.NONE.value) == AuthMode.NONE.value:
        return manifests.http_check(server.READY_PATH, PORT, "localhost")
    return {"exec": {"command": [ENTRYPOINT, *BOOT, "ready"]}}
