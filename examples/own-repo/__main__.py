"""MLflow in a repository of your own: our containers, the PostgreSQL that you already have."""

import pulumi

from pulumi_mlflow.contracts import DatabaseEndpoint, Engine, Scope
from pulumi_mlflow.docker.artifacts import DockerArtifactStore
from pulumi_mlflow.docker.images import DockerImages
from pulumi_mlflow.docker.network import DockerNetwork
from pulumi_mlflow.docker.proxy import DockerAuthProxy
from pulumi_mlflow.docker.tracking import DockerTrackingServer

config = pulumi.Config()

# No component of ours, only a description: any component that wants a database takes it.
database = DatabaseEndpoint(
    component="company PostgreSQL",
    reach=[Scope.PUBLIC.value],
    engine=Engine.POSTGRESQL.value,
    host=config.require("databaseHost"),
    port=config.get_int("databasePort") or 5432,
    database="mlflow",
    username="mlflow",
    password=config.require_secret("databasePassword"),
    tls_mode=config.get("databaseTls") or "require",
)
network = DockerNetwork("network", {})
images = DockerImages(
    "images", {"source": config.get("images") or "registry", "store": "versitygw"}
)
artifacts = DockerArtifactStore(
    "artifacts",
    {"network": network.network, "image": images.artifacts, "job_image": images.tracking},
)
server = DockerTrackingServer(
    "tracking",
    {
        "network": network.network,
        "image": images.tracking,
        "database": database,
        "artifacts": artifacts.endpoint,
    },
)
proxy = DockerAuthProxy(
    "proxy",
    {
        "network": network.network,
        "image": images.proxy,
        "tracking": server.endpoint,
        "port": config.get_int("port") or 5000,
    },
)

# By these names `pulumi-mlflow info|env|verify --stack STACK` finds the server.
pulumi.export("tracking_uri", proxy.endpoint["public_url"])
pulumi.export("auth_mode", proxy.endpoint["auth_mode"])
pulumi.export("runtime", "docker")
pulumi.export("username", "mlflow")
pulumi.export("password", proxy.password)
