"""A front door in a program of one's own, before a server that the test runs."""

import os

import pulumi

from pulumi_mlflow.contracts import TrackingEndpoint
from pulumi_mlflow.docker.network import DockerNetwork, place
from pulumi_mlflow.docker.proxy import DockerAuthProxy

config = pulumi.Config("mlflow")
deployment = config.require("deployment")
network = DockerNetwork("network", {"deployment": deployment})
tracking = TrackingEndpoint(
    component="tracking",
    reach=[place(deployment)],
    internal_url=config.require("behind"),
    ready_path="/",
    auth_mode=config.require("demanded"),
    proxy_secret=pulumi.Output.secret("S" * 32),
)
args = config.require_object("args")
if "oidc" in args:
    # Not by the settings, which a state holds as they are written.
    args["oidc"]["client_secret"] = pulumi.Output.secret(os.environ["DOOR_CLIENT_SECRET"])
door = DockerAuthProxy(
    "proxy",
    {
        "network": network.network,
        "tracking": tracking,
        "deployment": deployment,
        **args,
    },
)
pulumi.export("url", door.endpoint["public_url"])
pulumi.export("passwords", door.passwords)
pulumi.export("ca", door.ca)
