"""MLflow whose parts run in different places: a server here with a database in Docker, or the other way round."""

from pathlib import Path

import pulumi

from pulumi_mlflow.docker.artifacts import DockerArtifactFolder
from pulumi_mlflow.docker.database import DockerDatabase
from pulumi_mlflow.docker.images import DockerImages
from pulumi_mlflow.docker.network import DockerNetwork
from pulumi_mlflow.docker.proxy import DockerAuthProxy
from pulumi_mlflow.docker.tracking import DockerTrackingServer
from pulumi_mlflow.existing import ENGINE_HOST, existing_database
from pulumi_mlflow.local.artifacts import LocalArtifactStore
from pulumi_mlflow.local.tracking import LocalTrackingServer

config = pulumi.Config()
port = config.get_int("port") or 5000
source = config.get("images") or "registry"


def server_here() -> None:
    """The server runs on this machine, as in the local stack, and PostgreSQL in a container."""
    data_dir = config.get("dataDir") or str(Path.cwd() / "data")
    images = DockerImages("images", {"source": source, "database_engine": "postgresql"})
    database = DockerDatabase(
        "database",
        {
            "network": DockerNetwork("network", {}).network,
            "image": images.database,
            "version": "15",
            # On loopback: connections are not encrypted, and nobody else has to reach it.
            "publish": {"bind": "127.0.0.1", "port": config.get_int("databasePort") or 5433},
        },
    )
    assert database.host_endpoint  # noqa: S101 - it is published
    server = LocalTrackingServer(
        "tracking",
        {
            "data_dir": data_dir,
            # Not `endpoint`: that is for containers, and would be refused here.
            "database": database.host_endpoint,
            "artifacts": LocalArtifactStore("artifacts", {"data_dir": data_dir}).endpoint,
            "port": port,
        },
    )
    pulumi.export("tracking_uri", server.endpoint["public_url"])
    pulumi.export("auth_mode", server.endpoint["auth_mode"])
    pulumi.export("runtime", "local")


def database_here() -> None:
    """The server runs in a container, and uses a PostgreSQL of the engine's machine."""
    network = DockerNetwork("network", {})
    images = DockerImages("images", {"source": source})
    server = DockerTrackingServer(
        "tracking",
        {
            "network": network.network,
            "image": images.tracking,
            "database": existing_database(
                "my PostgreSQL",
                engine="postgresql",
                host=ENGINE_HOST,
                port=config.get_int("databasePort") or 5432,
                database="mlflow",
                username="mlflow",
                password=config.require_secret("databasePassword"),
                tls_mode="disable",  # it does not leave the machine
            ),
            "artifacts": DockerArtifactFolder("artifacts", {"image": images.tracking}).endpoint,
        },
    )
    proxy = DockerAuthProxy(
        "proxy",
        {
            "network": network.network,
            "image": images.proxy,
            "tracking": server.endpoint,
            "port": port,
        },
    )
    pulumi.export("tracking_uri", proxy.endpoint["public_url"])
    pulumi.export("auth_mode", proxy.endpoint["auth_mode"])
    pulumi.export("runtime", "docker")
    pulumi.export("username", "mlflow")
    pulumi.export("password", proxy.password)


if config.require("here") == "server":
    server_here()
else:
    database_here()
