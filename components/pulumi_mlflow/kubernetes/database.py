"""PostgreSQL inside the cluster, by CloudNativePG's operator."""

from typing import Any, NotRequired, Optional, TypedDict

import pulumi
import pulumi_kubernetes as kubernetes

from ..contracts import DatabaseEndpoint, Engine
from ..core import cloudnativepg, manifests, naming
from ..generated import GeneratedSecret
from ..guard import DataGuard
from . import workload

CLIENTS = ("tracking", "migration", "jobs", "gc", "backup")
"""Roles whose pods may connect."""

_API_PORTS = (443, 6443)
"""Where instances ask the Kubernetes API who of them takes writes: its Service's port, and the server's own."""


class KubernetesArchiveArgs(TypedDict):
    """Where base backups and the write-ahead log are kept, so that one can go back to any second."""

    destination: str
    """`s3://bucket/prefix`, outside this cluster."""
    endpoint_url: NotRequired[str]
    """URL of an S3-compatible store; S3 itself unless given."""
    access_key: NotRequired[pulumi.Input[str]]
    """Static key (secret); the identity of `role_arn` unless given."""
    secret_key: NotRequired[pulumi.Input[str]]
    """Its secret half (secret)."""
    role_arn: NotRequired[pulumi.Input[str]]
    """IAM role that the database's service account assumes on EKS (IRSA)."""
    retention_days: NotRequired[int]
    """Days that one can go back to; 30 unless given."""
    schedule: NotRequired[str]
    """When base backups are made, as six fields of cron, seconds first; 02:00 every night unless given."""


class KubernetesDatabaseArgs(TypedDict):
    """Arguments of KubernetesDatabase."""

    namespace: pulumi.Input[str]
    """Where it runs: `KubernetesNetwork.namespace`."""
    image: pulumi.Input[str]
    """CloudNativePG's image of that version, with a tag or digest."""
    version: str
    """Major version of PostgreSQL, such as `17`."""
    pull_secrets: NotRequired[list[str]]
    """Names of Secrets of the namespace that open the registry; none unless given."""
    name: NotRequired[str]
    """Name of the database; `mlflow` unless given."""
    username: NotRequired[str]
    """Its owner; `mlflow` unless given."""
    instances: NotRequired[int]
    """Servers, of which one takes writes; 2 unless given."""
    max_connections: NotRequired[int]
    """Connections that it accepts; 400 unless given, for two servers of two workers and one more in a rollout."""
    memory_mb: NotRequired[int]
    """Memory of each, in MiB; 2048 unless given."""
    storage_gb: NotRequired[int]
    """Disk of each, in GiB; 20 unless given. It grows in place, and never shrinks."""
    wal_storage_gb: NotRequired[int]
    """Disk for the write-ahead log, in GiB; on the same one unless given."""
    storage_class: NotRequired[Optional[str]]
    """Storage class of the disks; the cluster's usual one unless given."""
    archive: NotRequired[Optional[KubernetesArchiveArgs]]
    """Backups; none unless given."""
    operator_namespace: NotRequired[str]
    """Namespace of the operator; `cnpg-system` unless given."""
    monitoring_namespace: NotRequired[Optional[str]]
    """Namespace of Prometheus, which may then ask for metrics; nobody unless given."""
    egress_cidrs: NotRequired[list[str]]
    """Addresses where the Kubernetes API and the archive may be; all unless given."""
    cluster_domain: NotRequired[str]
    """What the names of Services end in; `cluster.local` unless given."""
    deployment: NotRequired[str]
    """Prefix of physical names; `<project>-<stack>` unless given."""


class KubernetesDatabase(workload.KubernetesComponent):
    """A PostgreSQL cluster with standbys, TLS forced, and its password in protected state.

    The operator must be there. Sizes, images of the same major version, instances and parameters change in place, one
    instance after the other; another major version is refused at preview until the data has been moved.

    Raises:
        ValueError: a setting that cannot work.
    """

    _role = "database"

    endpoint: DatabaseEndpoint
    """For consumers in the same namespace; known once the cluster is ready."""
    cluster: str
    """Name of the `Cluster`."""

    def __init__(
        self,
        name: str,
        args: KubernetesDatabaseArgs,
        opts: Optional[pulumi.ResourceOptions] = None,
    ) -> None:
        super().__init__(name, args.get("deployment"), opts)
        namespace = args["namespace"]
        database, username = args.get("name", "mlflow"), args.get("username", "mlflow")
        archive = args.get("archive")
        image = workload.checked_image(args["image"])
        self.cluster = naming.physical_name(
            self._deployment, self._role, limit=cloudnativepg.NAME_LIMIT
        )
        login_name = self._physical("login")
        settings = cloudnativepg.ClusterSettings(
            image=image,
            instances=args.get("instances", 2),
            database=database,
            username=username,
            secret=login_name,
            memory_mb=args.get("memory_mb", 2048),
            max_connections=args.get("max_connections", 400),
            storage_gb=args.get("storage_gb", 20),
            storage_class=args.get("storage_class") or "",
            wal_storage_gb=args.get("wal_storage_gb", 0),
            labels=self._labels(),
            pull_secrets=args.get("pull_secrets", []),
            archive=self._physical("archive") if archive else "",
            account_annotations={"eks.amazonaws.com/role-arn": archive["role_arn"]}
            if archive and "role_arn" in archive
            else {},
        )
        try:
            spec = cloudnativepg.cluster(settings)
            kept = _kept(archive, self._physical("archive-keys")) if archive else {}
            nightly = (
                cloudnativepg.scheduled_backup(self.cluster, archive.get("schedule", "0 0 2 * * *"))
                if archive
                else {}
            )
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        guard = DataGuard(
            self._child("guard"),
            self._role,
            {
                "mlflow:database.engine": Engine.POSTGRESQL.value,
                "mlflow:database.version": args["version"],
                "mlflow:database.name": database,
                "mlflow:database.username": username,
            },
            opts,
            self,
        )
        password = GeneratedSecret(self._child("password"), opts=self._opts())
        secret: pulumi.Output[str] = pulumi.Output.secret(password.value)
        # Protected like the data that they open.
        login = kubernetes.core.v1.Secret(
            self._child("login"),
            metadata=self._meta(login_name, namespace),
            type="kubernetes.io/basic-auth",
            string_data={"username": username, "password": secret},
            opts=self._opts(protect=True),
        )
        before: list[pulumi.Resource] = [guard, login, self._allowed(args)]
        if archive:
            before.append(self._archive(namespace, archive, kept))
        made = kubernetes.apiextensions.CustomResource(
            self._child("cluster"),
            api_version="postgresql.cnpg.io/v1",
            kind="Cluster",
            metadata=self._meta(
                self.cluster, namespace, annotations={"pulumi.com/waitFor": "condition=Ready"}
            ),
            spec=spec,
            # Its disks are deleted with it.
            opts=self._opts(
                protect=True,
                depends_on=before,
                custom_timeouts=pulumi.CustomTimeouts(create="20m", update="30m"),
            ),
        )
        if archive:
            kubernetes.apiextensions.CustomResource(
                self._child("nightly"),
                api_version="postgresql.cnpg.io/v1",
                kind="ScheduledBackup",
                metadata=self._meta(self._physical("nightly"), namespace),
                spec=nightly,
                opts=self._opts(depends_on=[made]),
            )
        self.endpoint = DatabaseEndpoint(
            component=name,
            reach=[workload.place(self._deployment)],
            engine=Engine.POSTGRESQL.value,
            host=self._host(
                f"{self.cluster}-rw",
                namespace,
                args.get("cluster_domain", workload.CLUSTER_DOMAIN),
                made,
            ),
            port=cloudnativepg.PORT,
            database=database,
            username=username,
            password=secret,
            # Encrypted. The operator's authority changes every 90 days, so nothing here could hold its certificate.
            tls_mode="require",
            data=self.cluster,
        )
        self.register_outputs({"endpoint": self.endpoint, "cluster": self.cluster})

    def _allowed(self, args: KubernetesDatabaseArgs) -> pulumi.Resource:
        pods = {cloudnativepg.CLUSTER_LABEL: self.cluster}
        ports = (cloudnativepg.PORT, cloudnativepg.STATUS_PORT)
        operator = {
            manifests.NAMESPACE_LABEL: args.get("operator_namespace", "cnpg-system"),
        }
        ingress = [
            manifests.from_pods([self._pods_of(role) for role in CLIENTS], cloudnativepg.PORT),
            manifests.from_pods([pods], *ports),
            manifests.from_pods([{}], *ports, namespace=operator),
        ]
        if monitoring := args.get("monitoring_namespace"):
            there = {manifests.NAMESPACE_LABEL: monitoring}
            ingress.append(manifests.from_pods([{}], cloudnativepg.METRICS_PORT, namespace=there))
        archive = args.get("archive")
        outside = {*_API_PORTS, *([_port(archive)] if archive else [])}
        egress = [
            manifests.to_pods(pods, *ports),
            manifests.to_addresses(args.get("egress_cidrs", workload.EVERYWHERE), *sorted(outside)),
        ]
        return self._edges(args["namespace"], ingress, egress, pods=pods)

    def _archive(
        self, namespace: pulumi.Input[str], archive: KubernetesArchiveArgs, spec: dict[str, Any]
    ) -> pulumi.Resource:
        after: list[pulumi.Resource] = []
        if "access_key" in archive and "secret_key" in archive:
            plain: pulumi.Output[dict[str, str]] = pulumi.Output.all(
                **{"access-key": archive["access_key"], "secret-key": archive["secret_key"]}
            )
            keys: pulumi.Output[dict[str, str]] = pulumi.Output.secret(plain)
            after.append(
                kubernetes.core.v1.Secret(
                    self._child("archive-keys"),
                    metadata=self._meta(self._physical("archive-keys"), namespace),
                    type="Opaque",
                    string_data=keys,
                    opts=self._opts(protect=True),
                )
            )
        return kubernetes.apiextensions.CustomResource(
            self._child("archive"),
            api_version="barmancloud.cnpg.io/v1",
            kind="ObjectStore",
            metadata=self._meta(self._physical("archive"), namespace),
            spec=spec,
            opts=self._opts(protect=True, depends_on=after),
        )


def _kept(archive: KubernetesArchiveArgs, keys_secret: str) -> dict[str, Any]:
    if ("access_key" in archive) != ("secret_key" in archive):
        raise ValueError("archive: access_key and secret_key must be given together")
    if ("access_key" in archive) == ("role_arn" in archive):
        raise ValueError("archive: must have keys or role_arn, and not both")
    return cloudnativepg.object_store(
        archive["destination"],
        archive.get("retention_days", 30),
        archive.get("endpoint_url", ""),
        keys_secret if "access_key" in archive else "",
    )


def _port(archive: KubernetesArchiveArgs) -> int:
    url = archive.get("endpoint_url", "")
    return workload.port_of(url)
