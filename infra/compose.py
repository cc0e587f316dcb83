"""Picks a runtime for each role and wires their endpoints together."""

from collections.abc import Callable

import pulumi

from models import Runtime, Settings
from problems import NAMESPACE
from pulumi_mlflow.component import default_deployment
from pulumi_mlflow.contracts import AuthMode
from pulumi_mlflow.core import urls
from pulumi_mlflow.docker.artifacts import DockerArtifactStore
from pulumi_mlflow.docker.database import DockerDatabase
from pulumi_mlflow.docker.images import DockerImages
from pulumi_mlflow.docker.network import DockerNetwork
from pulumi_mlflow.docker.proxy import DockerAuthProxy
from pulumi_mlflow.docker.tracking import DockerTrackingServer
from pulumi_mlflow.local.artifacts import LocalArtifactStore
from pulumi_mlflow.local.database import LocalDatabase
from pulumi_mlflow.local.tracking import LocalTrackingServer


def compose(settings: Settings) -> None:
    """Register the components of a stack and export what its users and the operations need.

    Raises:
        pulumi.RunError: the components of the runtime come with a later release.
    """
    runtimes: dict[Runtime, Callable[[Settings], None]] = {
        Runtime.LOCAL: _local,
        Runtime.DOCKER: _docker,
    }
    if settings.runtime not in runtimes:
        raise pulumi.RunError(
            f"Pulumi.{pulumi.get_stack()}.yaml: {NAMESPACE}:runtime: the settings are right, but the components of "
            f"'{settings.runtime.value}' come with a later release; until then 'local' and 'docker' can be run"
        )
    runtimes[settings.runtime](settings)
    pulumi.export("runtime", settings.runtime.value)
    pulumi.export("auth_mode", settings.access.auth.value)


def _local(settings: Settings) -> None:
    tracking, access = settings.tracking, settings.access
    data_dir = str(settings.data_dir)
    database = LocalDatabase("database", {"data_dir": data_dir})
    artifacts = LocalArtifactStore("artifacts", {"data_dir": data_dir})
    server = LocalTrackingServer(
        "tracking",
        {
            "data_dir": data_dir,
            "database": database.endpoint,
            "artifacts": artifacts.endpoint,
            "bind": access.bind,
            "port": access.port,
            "workers": tracking.workers,
            "allowed_hosts": [*tracking.allowed_hosts, *access.hosts],
            "pool_size": settings.database.pool_size,
            "max_overflow": settings.database.max_overflow,
        },
    )
    pulumi.export("tracking_uri", server.endpoint["public_url"])
    pulumi.export("ops", server.ops)


def _docker(settings: Settings) -> None:
    tracking, access, store = settings.tracking, settings.access, settings.database
    images = DockerImages(
        "images", {"source": settings.images.value, "database_version": str(store.version)}
    )
    network = DockerNetwork("network", {})
    database = DockerDatabase(
        "database",
        {
            "network": network.network,
            "image": images.database,
            "version": str(store.version),
            "name": store.name,
            "username": store.username,
            "max_connections": store.max_connections,
            "memory_mb": store.memory_mb,
        },
    )
    artifacts = DockerArtifactStore(
        "artifacts",
        {
            "network": network.network,
            "image": images.artifacts,
            "job_image": images.tracking,
            "bucket": settings.artifacts.bucket,
            "memory_mb": settings.artifacts.memory_mb,
        },
    )
    server = DockerTrackingServer(
        "tracking",
        {
            "network": network.network,
            "image": images.tracking,
            "database": database.endpoint,
            "artifacts": artifacts.endpoint,
            "allowed_hosts": [urls.url_host(access.bind), *tracking.allowed_hosts, *access.hosts],
            "workers": tracking.workers,
            "pool_size": store.pool_size,
            "max_overflow": store.max_overflow,
            "memory_mb": tracking.memory_mb,
            "cpus": tracking.cpus,
        },
    )
    proxy = DockerAuthProxy(
        "proxy",
        {
            "network": network.network,
            "image": images.proxy,
            "tracking": server.endpoint,
            "auth": access.auth.value,
            "username": access.username,
            "bind": access.bind,
            "port": access.port,
        },
    )
    pulumi.export("tracking_uri", proxy.endpoint["public_url"])
    if access.auth is AuthMode.BASIC:
        pulumi.export("username", access.username)
        pulumi.export("password", proxy.password)
    pulumi.export(
        "ops",
        {
            "engine": store.engine.value,
            "deployment": default_deployment(),
            "network": network.network,
            "database": database.ops,
            "artifacts": artifacts.ops,
            "tracking": server.ops,
        },
    )
