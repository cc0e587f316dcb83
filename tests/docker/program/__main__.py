"""Somebody else's infrastructure that takes two components of ours, with an image of the caller's choice."""

import pulumi

from pulumi_mlflow.docker.database import DockerDatabase
from pulumi_mlflow.docker.network import DockerNetwork

config = pulumi.Config("mlflow")
network = DockerNetwork("shared", {"deployment": config.require("deployment")})
database = DockerDatabase(
    "runs",
    {
        "network": network.network,
        "image": config.require("image"),
        "version": "15",
        "deployment": config.require("deployment"),
    },
)
pulumi.export("host", database.endpoint["host"])
