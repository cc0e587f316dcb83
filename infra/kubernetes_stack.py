"""The kubernetes runtime, and the servers of a stack in AWS that run in a cluster."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes

import parts
from cloud_models import Archive, Gateway, Ingress, Jobs
from models import Settings, Store
from pulumi_mlflow import recipes
from pulumi_mlflow.component import default_deployment
from pulumi_mlflow.contracts import ArtifactEndpoint, DatabaseEndpoint
from pulumi_mlflow.core import urls
from pulumi_mlflow.kubernetes.artifacts import KubernetesArtifactStore
from pulumi_mlflow.kubernetes.backup import KubernetesBackup
from pulumi_mlflow.kubernetes.database import KubernetesArchiveArgs, KubernetesDatabase
from pulumi_mlflow.kubernetes.monitoring import KubernetesMonitoring
from pulumi_mlflow.kubernetes.network import KubernetesNetwork
from pulumi_mlflow.kubernetes.proxy import KubernetesAuthProxy
from pulumi_mlflow.kubernetes.ready import KubernetesAccessArgs
from pulumi_mlflow.kubernetes.tracking import KubernetesTrackingServer
from rules.kubernetes import controller, source_namespace


@dataclass(frozen=True)
class Needs:
    """What servers in a cluster are given.

    Attributes:
        database: where runs are kept.
        artifacts: where artifacts are kept.
        images: `server`, `nginx`, and `oauth2_proxy` where a provider logs users in.
        access: how this machine reaches the cluster; see `access`.
        cluster: name of the database's own cluster, to be watched; empty for one of others.
        also_in: places that the cluster is in.
        admin_store: what opens the secret of the database's administrator, who makes the servers' user.
        identity: the cloud's identity of the pods.
    """

    database: DatabaseEndpoint
    artifacts: ArtifactEndpoint
    images: Mapping[str, pulumi.Input[str]]
    access: KubernetesAccessArgs
    cluster: str = ""
    also_in: list[str] = field(default_factory=list)
    admin_store: Mapping[str, Any] | None = None
    identity: Mapping[str, Any] | None = None


def compose(settings: Settings) -> None:
    """Register the components and export what users and the operations need."""
    reach = access(settings)
    opts = pulumi.ResourceOptions(providers=[cluster(reach)])
    namespace = network(settings, opts)
    database, name = _database(settings, namespace, opts)
    serve(
        settings,
        namespace,
        Needs(
            database=database,
            artifacts=_artifacts(settings, namespace, reach, opts),
            images=images(settings),
            access=reach,
            cluster=name,
            identity=identity(settings),
        ),
        opts,
    )


def access(settings: Settings) -> KubernetesAccessArgs:
    """How this machine reaches the cluster: by a context of its kubeconfig or by another stack's output."""
    wanted = settings.kubernetes
    if wanted is None:
        raise ValueError("kubernetes: missing, and the rules have let it pass")
    if wanted.stack:
        other = pulumi.StackReference("cluster-stack", wanted.stack)
        return {"kubeconfig": pulumi.Output.secret(other.require_output("kubeconfig"))}
    return {"context": wanted.context or ""}


def cluster(reach: KubernetesAccessArgs) -> kubernetes.Provider:
    """The cluster that `access` leads to."""
    return kubernetes.Provider("cluster", **reach)


def network(
    settings: Settings, opts: pulumi.ResourceOptions, name: str = "network"
) -> KubernetesNetwork:
    """The namespace, with all connections denied."""
    wanted = settings.kubernetes
    return KubernetesNetwork(name, {"existing": wanted.namespace if wanted else None}, opts)


def images(settings: Settings) -> dict[str, pulumi.Input[str]]:
    """Images that the cluster pulls: the settings', and nginx's official one."""
    known = {"nginx": recipes.official("nginx")}
    if settings.registry:
        known |= {key: image for key, image in settings.registry if image}
    return {**known}


def identity(settings: Settings) -> dict[str, Any] | None:
    """The cloud's identity of the server's pods, or None."""
    wanted = settings.kubernetes.identity if settings.kubernetes else None
    if wanted is None:
        return None
    return parts.given(
        role_arn=wanted.role_arn,
        pod_identity=wanted.pod_identity or None,
        annotations=wanted.annotations or None,
        pod_labels=wanted.pod_labels or None,
    )


def _pull_secrets(settings: Settings) -> list[str]:
    return settings.kubernetes.pull_secrets if settings.kubernetes else []


def _watcher(settings: Settings) -> str | None:
    """Namespace of Prometheus."""
    return settings.monitoring.namespace if settings.monitoring else None


def _database(
    settings: Settings, namespace: KubernetesNetwork, opts: pulumi.ResourceOptions
) -> tuple[DatabaseEndpoint, str]:
    """The endpoint, and the name of the database's own cluster where it is made here."""
    there = parts.database_there(settings, opts)
    if there is not None:
        return there, ""
    wanted = settings.database
    made = KubernetesDatabase(
        "database",
        {
            "namespace": namespace.namespace,
            "image": images(settings)["database"],
            "version": wanted.version,
            "pull_secrets": _pull_secrets(settings),
            "name": wanted.name,
            "username": wanted.username,
            "max_connections": wanted.max_connections,
            "memory_mb": wanted.memory_mb,
            "instances": wanted.instances,
            "storage_gb": wanted.storage_gb or 0,
            "storage_class": wanted.storage_class,
            "archive": _archive(wanted.archive),
            "monitoring_namespace": _watcher(settings),
        },
        opts,
    )
    return made.endpoint, made.cluster


def _archive(wanted: Archive | None) -> KubernetesArchiveArgs | None:
    if wanted is None:
        return None
    return {
        "destination": "/".join(
            ("s3:/", wanted.bucket, *([wanted.prefix] if wanted.prefix else []))
        ),
        "role_arn": wanted.role_arn,
        "retention_days": wanted.keep_days,
    }


def _artifacts(
    settings: Settings,
    namespace: KubernetesNetwork,
    reach: KubernetesAccessArgs,
    opts: pulumi.ResourceOptions,
) -> ArtifactEndpoint:
    wanted = settings.artifacts
    if wanted.store is Store.S3:
        return parts.bucket_there(settings, opts)
    known = images(settings)
    made = KubernetesArtifactStore(
        "artifacts",
        {
            "namespace": namespace.namespace,
            "cluster": reach,
            "image": known["store"],
            "job_image": known["server"],
            "pull_secrets": _pull_secrets(settings),
            "store": wanted.store.value,
            "bucket": wanted.bucket,
            "storage_gb": wanted.storage_gb,
            "storage_class": wanted.storage_class,
            "memory_mb": wanted.memory_mb,
        },
        opts,
    )
    return made.endpoint


def serve(
    settings: Settings, namespace: KubernetesNetwork, needs: Needs, opts: pulumi.ResourceOptions
) -> None:
    """Servers, front door, monitoring and upkeep in a cluster, whoever made the data.

    Args:
        settings: the stack's.
        namespace: where they run.
        needs: what they are given.
        opts: with the cluster's provider.
    """
    server = _server(settings, namespace, needs, opts)
    door = _door(settings, namespace, server, needs, opts)
    _watch(settings, namespace, server, needs, opts)
    wanted, destination = settings.backup, parts.dump_there(settings)
    if wanted and (wanted.gc_days or destination):
        args: Any = {
            "namespace": namespace.namespace,
            "image": needs.images["server"],
            "pull_secrets": _pull_secrets(settings),
            "database": needs.database,
            "tracking": server.endpoint,
            "gc_days": wanted.gc_days,
            "destination": destination,
            "also_in": needs.also_in,
        }
        if wanted.dump:
            args["role_arn"] = wanted.dump.role_arn
            args["schedule"] = wanted.dump.schedule
            args["scratch_mb"] = wanted.dump.scratch_mb
        if settings.access.auth.by_server:
            args["admin_password"] = server.admin_password
        KubernetesBackup("upkeep", args, opts)
    pulumi.export("tracking_uri", door.endpoint["public_url"])
    pulumi.export("namespace", namespace.namespace)
    # What an IAM role trusts, or a workload identity names.
    pulumi.export("service_account", server.service_account)
    parts.export_store(settings, needs.artifacts)
    parts.export_logins(settings, server, door)
    pulumi.export(
        "ops",
        {
            "engine": settings.database.engine.value,
            "deployment": default_deployment(),
            "tracking": server.ops,
        },
    )


def _server(
    settings: Settings, namespace: KubernetesNetwork, needs: Needs, opts: pulumi.ResourceOptions
) -> KubernetesTrackingServer:
    tracking, wanted = settings.tracking, settings.kubernetes
    replicas, most = tracking.replicas, tracking.max_replicas or tracking.replicas
    args: Any = {
        "namespace": namespace.namespace,
        "cluster": needs.access,
        "image": needs.images["server"],
        "pull_secrets": _pull_secrets(settings),
        "database": needs.database,
        "admin_store": needs.admin_store,
        "artifacts": needs.artifacts,
        "identity": needs.identity,
        "also_in": needs.also_in,
        "public_url": f"https://{settings.access.hosts[0]}",
        "allowed_hosts": [*tracking.allowed_hosts, *settings.access.hosts[1:]],
        "replicas": replicas,
        "max_connections": settings.database.max_connections,
        "scratch_mb": tracking.scratch_mb,
        "scratch_class": wanted.scratch_class if wanted else None,
        "monitoring_namespace": _watcher(settings),
        **parts.server_args(settings),
    }
    if most > replicas:
        args["autoscaling"] = {"min_replicas": replicas, "max_replicas": most}
    if tracking.jobs is not None:
        args["jobs"] = _jobs(settings, tracking.jobs)
    return KubernetesTrackingServer("tracking", args, opts)


def _jobs(settings: Settings, wanted: Jobs) -> dict[str, Any]:
    """What the server that runs jobs is given."""
    args: dict[str, Any] = {"cpus": wanted.cpus, **parts.given(memory_mb=wanted.memory_mb)}
    if settings.jobs_redis_url is not None:
        args["redis_url"] = parts.typed(settings.jobs_redis_url)
        args["redis_port"] = urls.port_of(settings.jobs_redis_url.get_secret_value())
    return args


def _door(
    settings: Settings,
    namespace: KubernetesNetwork,
    server: KubernetesTrackingServer,
    needs: Needs,
    opts: pulumi.ResourceOptions,
) -> KubernetesAuthProxy:
    wanted, known = settings.kubernetes, needs.images
    args: Any = {
        "namespace": namespace.namespace,
        "cluster": needs.access,
        "image": known["nginx"],
        "pull_secrets": _pull_secrets(settings),
        "tracking": server.endpoint,
        **parts.door_args(settings),
    }
    if wanted and wanted.ingress:
        args |= _ingress(wanted.ingress)
    if wanted and wanted.gateway:
        args["gateway"] = _gateway(wanted.gateway)
    provider = parts.provider(settings)
    if provider is not None:
        args |= {"oidc": provider, "oidc_image": known["oauth2_proxy"]}
    return KubernetesAuthProxy("proxy", args, opts)


def _ingress(wanted: Ingress) -> dict[str, Any]:
    door = {
        "class_name": wanted.class_name,
        "controller": controller(wanted).value,
        "source": {
            **parts.given(namespace=source_namespace(wanted)),
            **({"cidrs": wanted.cidrs} if wanted.cidrs else {}),
        },
        "annotations": wanted.annotations,
        **parts.given(tls_secret=wanted.tls_secret, certificate_arn=wanted.certificate_arn),
        "public": wanted.public,
    }
    # A load balancer says whose a request is. Pods' addresses are not known here.
    found = {"ingress": door, **({"trusted_proxies": wanted.cidrs} if wanted.cidrs else {})}
    if not wanted.issuer:
        return found
    return {
        **found,
        "certificate": {"issuer": wanted.issuer, "kind": wanted.issuer_kind.value},
    }


def _gateway(wanted: Gateway) -> dict[str, Any]:
    return {
        "name": wanted.name,
        "namespace": wanted.namespace,
        "section": wanted.section,
        "source": {"namespace": wanted.source_namespace or wanted.namespace},
    }


def _watch(
    settings: Settings,
    namespace: KubernetesNetwork,
    server: KubernetesTrackingServer,
    needs: Needs,
    opts: pulumi.ResourceOptions,
) -> None:
    if not _watcher(settings) or settings.monitoring is None:
        return
    KubernetesMonitoring(
        "monitoring",
        {
            "namespace": namespace.namespace,
            "tracking": server.endpoint,
            "metrics_secret": server.metrics_secret,
            "database": needs.cluster or None,
            "archived": bool(needs.cluster and settings.database.archive),
            "labels": settings.monitoring.labels,
        },
        opts,
    )
