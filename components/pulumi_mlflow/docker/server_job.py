"""Jobs that see what a stack's server sees: its image, variables, secrets, volumes and networks."""

from collections.abc import Mapping
from typing import Any

import docker

from ..core import naming
from . import engine
from .files import FILES_PATH

BOOT = ["python", "/opt/pulumi-mlflow/boot.py"]
ROWS = ["python", "/opt/pulumi-mlflow/migrate_database.py"]
"""The program that copies the rows of a database."""


def like_server(
    client: docker.DockerClient, ops: Mapping[str, Any], role: str, command: list[str]
) -> engine.Job:
    """A job in the place of a stack's server, which may be stopped meanwhile.

    Args:
        client: the engine.
        ops: the stack's output of that name.
        role: what the job is for: part of its name.
        command: program and arguments; no secrets.
    """
    tracking = ops["tracking"]
    server = client.containers.get(tracking["container"]).attrs
    volumes = {
        mount["Name"]: mount["Destination"]
        for mount in server["Mounts"]
        if mount["Type"] == "volume" and mount["Destination"] != FILES_PATH
    }
    # Those of migrations, which do not go through a pooler; release 0.1 had no pooler.
    files = tracking.get("migration_files", tracking["files"])
    return engine.Job(
        name=naming.physical_name(ops["deployment"], role, "job"),
        image=tracking["image"],
        command=command,
        environment=dict(entry.split("=", 1) for entry in server["Config"]["Env"]),
        volumes={**volumes, files: f"{FILES_PATH}:ro"},
        network=ops["network"],
        host_gateway=bool(server["HostConfig"]["ExtraHosts"]),
        labels=naming.labels(ops["deployment"], role),
        timeout=6 * 3600,
    )
