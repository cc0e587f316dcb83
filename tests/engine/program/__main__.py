"""The local runtime as infra/ composes it, told by plain keys."""

import pulumi

from pulumi_mlflow.local.artifacts import LocalArtifactStore
from pulumi_mlflow.local.database import LocalDatabase
from pulumi_mlflow.local.tracking import LocalTrackingServer

config = pulumi.Config()
data_dir = config.require("data_dir")
database = LocalDatabase("database", {"data_dir": data_dir})
store = LocalArtifactStore("artifacts", {"data_dir": data_dir})
server = LocalTrackingServer(
    "tracking",
    {
        "data_dir": data_dir,
        "database": database.endpoint,
        # A folder needs no key; given one, every place where it must not be seen can be searched.
        "artifacts": {
            **store.endpoint,
            "access_key": "engine",
            "secret_key": config.require_secret("sentinel"),
        },
        "port": config.require_int("port"),
        "workers": config.require_int("workers"),
    },
)
pulumi.export("tracking_uri", server.endpoint["public_url"])
pulumi.export("ops", server.ops)
