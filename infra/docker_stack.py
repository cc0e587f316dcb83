"""The docker runtime: picks a component for each role and wires their endpoints together."""

from dataclasses import dataclass
from typing import Any

import pulumi

import parts
from models import FrontTls, Settings, Store
from pulumi_mlflow.component import default_deployment
from pulumi_mlflow.contracts import ArtifactEndpoint, DatabaseEndpoint, Engine
from pulumi_mlflow.core import stores, urls
from pulumi_mlflow.docker.artifacts import (
    DockerArtifactFolder,
    DockerArtifactStore,
    DockerExistingArtifacts,
)
from pulumi_mlflow.docker.database import DockerDatabase
from pulumi_mlflow.docker.images import DockerImages
from pulumi_mlflow.docker.network import DockerNetwork
from pulumi_mlflow.docker.pooler import DockerPooler
from pulumi_mlflow.docker.proxy import DockerAuthProxy
from pulumi_mlflow.docker.sqlite import DockerSqlite
from pulumi_mlflow.docker.tracking import DockerTrackingServer
from pulumi_mlflow.existing import existing_artifacts
from rules.artifacts import OBJECTS, OWN, published
from rules.files import read
from settings import ROOT


@dataclass(frozen=True)
class _Made:
    """A database or store: how it is used, and what the operations need to know of it."""

    endpoint: Any
    ops: Any


def compose(settings: Settings) -> None:
    """Register the components and export what users and the operations need."""
    images, network = _images(settings), _network(settings)
    database = _database(settings, images, network)
    pooled = _pooled(settings, images, network, database.endpoint)
    artifacts = _artifacts(settings, images, network)
    server = _server(settings, images, network, database.endpoint, pooled, artifacts.endpoint)
    proxy = _proxy(settings, images, network, server)
    pulumi.export("tracking_uri", proxy.endpoint["public_url"])
    parts.export_logins(settings, server, proxy)
    parts.export_store(settings, artifacts.endpoint)
    if settings.access.tls is FrontTls.SELF_SIGNED:
        pulumi.export("ca", proxy.ca)
    pulumi.export(
        "ops",
        {
            "engine": settings.database.engine.value,
            "deployment": default_deployment(),
            "network": network.network,
            "database": database.ops,
            "artifacts": artifacts.ops,
            "tracking": server.ops,
        },
    )


def _images(settings: Settings) -> DockerImages:
    database, artifacts = settings.database, settings.artifacts
    args: Any = {
        "source": settings.images.value,
        "extras": stores.extras(
            artifacts.store.value, tuple(extra.value for extra in settings.tracking.extras)
        ),
        "pgbouncer": database.pgbouncer,
        "oidc": settings.access.auth.by_provider,
    }
    if database.engine is not Engine.SQLITE and database.existing is None:
        args["database_engine"] = database.engine.value
        args["database_version"] = database.version
    if artifacts.store in OWN:
        args["store"] = artifacts.store.value
    return DockerImages("images", args)


def _network(settings: Settings) -> DockerNetwork:
    return DockerNetwork(
        "network", {"existing": settings.network.existing if settings.network else None}
    )


def _database(settings: Settings, images: DockerImages, network: DockerNetwork) -> _Made:
    database = settings.database
    if database.engine is Engine.SQLITE:
        file = DockerSqlite("database", {})
        return _Made(file.endpoint, file.ops)
    there = parts.database_there(settings)
    if there is not None:
        return _Made(there, {"engine": database.engine.value, "existing": True})
    server = DockerDatabase(
        "database",
        {
            "network": network.network,
            "image": images.database,
            "engine": database.engine.value,
            "version": database.version,
            "name": database.name,
            "username": database.username,
            "max_connections": database.max_connections,
            "memory_mb": database.memory_mb,
        },
    )
    return _Made(server.endpoint, server.ops)


def _pooled(
    settings: Settings, images: DockerImages, network: DockerNetwork, database: DatabaseEndpoint
) -> DatabaseEndpoint:
    """The database as the server's workers use it."""
    if not settings.database.pgbouncer:
        return database
    pooler = DockerPooler(
        "pooler", {"network": network.network, "image": images.pooler, "database": database}
    )
    return pooler.endpoint


def _artifacts(settings: Settings, images: DockerImages, network: DockerNetwork) -> _Made:
    artifacts = settings.artifacts
    if artifacts.store is Store.FOLDER:
        nfs = artifacts.nfs
        folder = DockerArtifactFolder(
            "artifacts",
            {
                "image": images.tracking,
                "nfs": {"server": nfs.server, "path": nfs.path, "options": nfs.options}
                if nfs
                else None,
            },
        )
        return _Made(folder.endpoint, folder.ops)
    if artifacts.store in OBJECTS:
        endpoint = existing_artifacts("artifacts", uri=str(artifacts.uri))
        return _proved(settings, images, network, endpoint)
    if artifacts.store is Store.S3:
        return _proved(settings, images, network, parts.bucket_there(settings))
    public = urls.host_of(artifacts.public_url) if artifacts.public_url else ""
    store = DockerArtifactStore(
        "artifacts",
        {
            "network": network.network,
            "image": images.artifacts,
            "job_image": images.tracking,
            "store": artifacts.store.value,
            # Unless given, what users of that store expect.
            "bucket": artifacts.bucket if "bucket" in artifacts.model_fields_set else None,
            "memory_mb": artifacts.memory_mb,
            "publish": published(settings),
            "bind": public if urls.is_address(public) else settings.access.bind,
            "port": artifacts.port,
            "console_port": artifacts.console_port if artifacts.store is Store.MINIO else None,
            "public_url": artifacts.public_url,
            "multipart": artifacts.multipart,
            "expire_multipart_days": artifacts.expire_multipart_days,
            "encryption": artifacts.encryption.value,
        },
    )
    return _Made(store.endpoint, store.ops)


def _proved(
    settings: Settings, images: DockerImages, network: DockerNetwork, endpoint: ArtifactEndpoint
) -> _Made:
    """A store of others, once it was seen to work."""
    artifacts = settings.artifacts
    proved = DockerExistingArtifacts(
        "artifacts",
        {
            "network": network.network,
            "image": images.tracking,
            "artifacts": endpoint,
            "store": artifacts.store.value,
            "multipart": artifacts.multipart,
            "expire_multipart_days": artifacts.expire_multipart_days,
            "encryption": artifacts.encryption.value,
        },
    )
    return _Made(proved.endpoint, proved.ops)


def _server(
    settings: Settings,
    images: DockerImages,
    network: DockerNetwork,
    database: DatabaseEndpoint,
    pooled: DatabaseEndpoint,
    artifacts: ArtifactEndpoint,
) -> DockerTrackingServer:
    tracking, access, store = settings.tracking, settings.access, settings.artifacts
    args: Any = {
        "network": network.network,
        "image": images.tracking,
        "database": pooled,
        "migration_database": database,
        "artifacts": artifacts,
        "scratch_mb": tracking.scratch_mb
        or stores.scratch_mb(store.store.value, store.mode.value, multipart=store.multipart),
        "allowed_hosts": [
            urls.url_host(access.bind),
            *tracking.allowed_hosts,
            *access.hosts,
            *([urls.host_of(access.public_url)] if access.public_url else []),
        ],
        **parts.server_args(settings),
    }
    return DockerTrackingServer("tracking", args)


def _proxy(
    settings: Settings, images: DockerImages, network: DockerNetwork, server: DockerTrackingServer
) -> DockerAuthProxy:
    access = settings.access
    args: Any = {
        "network": network.network,
        "image": images.proxy,
        "tracking": server.endpoint,
        **parts.door_args(settings),
        "bind": access.bind,
        "port": access.port,
        "public_url": access.public_url,
    }
    if network.shared is not None:
        args["shared_network"] = network.shared
    if access.tls is FrontTls.SELF_SIGNED:
        args["self_signed"] = True
    elif access.tls is FrontTls.FILES:
        args["tls"] = {
            "certificate": read(ROOT, str(access.tls_certificate)),
            "key": pulumi.Output.secret(read(ROOT, str(access.tls_key))),
        }
    provider = parts.provider(settings)
    if provider is not None:
        args |= {"oidc_image": images.oidc, "oidc": provider}
    return DockerAuthProxy("proxy", args)
