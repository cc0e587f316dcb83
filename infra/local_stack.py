"""The local runtime: one process, SQLite, a folder."""

import pulumi

from models import Settings
from pulumi_mlflow.local.artifacts import LocalArtifactStore
from pulumi_mlflow.local.database import LocalDatabase
from pulumi_mlflow.local.tracking import LocalTrackingServer


def compose(settings: Settings) -> None:
    """Register the components and export what users and the operations need."""
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
