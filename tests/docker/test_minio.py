"""MinIO, and the way out of it to a bucket that somebody else runs; and the drivers of other providers."""

import base64
import secrets

import pytest
import requests
from tests.docker.builds import built
from tests.docker.stack import (
    DEPLOYMENT,
    DockerStack,
    check_run,
    dev_settings,
    log_run,
    new_name,
    sweep,
)
from tests.support import FULL, free_port

from pulumi_mlflow.core.server_image import ARTIFACTS
from pulumi_mlflow.core.store_server import PORT, REGION, store_program
from pulumi_mlflow.docker import engine, server_job
from pulumi_mlflow.recipes import EXTRAS

pytestmark = [
    pytest.mark.docker,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not FULL, reason="takes minutes; FULL=1 runs it"),
]

PROVIDERS = (
    "gs://b/x",
    "wasbs://c@a.blob.core.windows.net/x",
    "abfss://f@a.dfs.core.windows.net/x",
)


@pytest.fixture
def bucket(client):
    """Settings of a bucket of somebody else's, on this machine."""
    name, keys, port = new_name(), [secrets.token_hex(10), secrets.token_hex(20)], free_port()
    program = store_program("versitygw")
    script = f"mkdir -p /data/team && exec {' '.join(program.command)}"
    container = client.containers.run(
        built("versitygw"),
        entrypoint=["/bin/sh", "-c", script],
        name=name,
        detach=True,
        environment={"ROOT_ACCESS_KEY": keys[0], "ROOT_SECRET_KEY": keys[1]},
        ports={PORT: port},
        labels={DEPLOYMENT: name},
    )
    try:
        yield {
            "settings": {
                "store": "s3",
                "bucket": "team",
                "existing": {
                    "endpoint_url": f"http://host.docker.internal:{port}",
                    "region": REGION,
                    "prefix": "mlflow",
                },
            },
            "keys": keys,
        }
    finally:
        container.remove(force=True, v=True)
        sweep(client, name)


def test_minio_has_its_console_and_encrypts_and_its_artifacts_leave_for_an_existing_bucket(
    client, tmp_path, bucket
):
    settings = dev_settings()
    settings["database"] = {"engine": "sqlite"}
    settings["artifacts"] = {
        "store": "minio",
        "console_port": free_port(),
        "encryption": "sse-s3",
        "expire_multipart_days": 7,
    }
    stack = DockerStack(client, tmp_path / "project", settings)
    volume = f"{stack.deployment}-artifacts-minio"
    try:
        stack.up()
        stack.unchanged()
        console = f"http://127.0.0.1:{settings['artifacts']['console_port']}"
        assert "MinIO Console" in requests.get(console, timeout=10).text
        ops = stack.outputs()["ops"]
        assert ops["artifacts"]["uri"] == "s3://default"
        job = server_job.like_server(client, ops, "prove", [*ARTIFACTS, "prove"])
        job.environment["ENCRYPTION"] = "sse-s3"
        engine.run_job(client, job)
        assert (
            "MINIO_API_STALE_UPLOADS_EXPIRY=168h"
            in stack.container("artifacts").attrs["Config"]["Env"]
        )
        with stack.mlflow() as door:
            run = log_run(door, tmp_path / "logged")

        stack.settings["artifacts"] = bucket["settings"]
        stack.change({})
        for name, key in zip(("access", "secret"), bucket["keys"], strict=True):
            stack.pulumi("config", "set", "--secret", f"mlflow:artifacts_{name}_key", key)
        command = ("pulumi-mlflow", "migrate-artifacts", "--stack", stack.stack, "--yes")
        moved = stack.run(*command, seconds=600)

        assert "all compared by SHA-256" in moved
        assert f"docker volume rm {volume}" in moved
        assert bucket["keys"][1] not in stack.log.read_text().replace(
            f"mlflow:artifacts_secret_key {bucket['keys'][1]}", ""
        )
        with stack.mlflow() as door:
            check_run(door, run, tmp_path / "found")
        stack.unchanged()
        client.volumes.get(volume).remove()
    finally:
        stack.close()


def test_image_with_extras_has_the_drivers_of_other_providers(client):
    image = built("mlflow", EXTRAS=" ".join(sorted(EXTRAS)))
    others = ["python", "-c", "import prometheus_flask_exporter, redis"]
    engine.run_job(client, engine.Job(name=new_name(), image=image, command=others))
    for uri in PROVIDERS:
        job = engine.Job(
            name=new_name(),
            image=image,
            command=[*ARTIFACTS, "prove"],
            environment={"ARTIFACTS_URI": uri, "TMPDIR": "/tmp"},
        )
        assert f"{uri}: its driver is there" in engine.run_job(client, job)
        script = "import sys; from mlflow.store.artifact import artifact_repository_registry as r; "
        made = engine.Job(
            name=new_name(),
            image=image,
            command=[
                "python",
                "-c",
                script + "print(type(r.get_artifact_repository(sys.argv[1])))",
                uri,
            ],
            environment={
                "TMPDIR": "/tmp",
                # Formed like real ones; nothing is asked of the providers.
                "AZURE_STORAGE_ACCESS_KEY": base64.b64encode(b"key").decode(),
                "STORAGE_EMULATOR_HOST": "http://127.0.0.1:1",
            },
        )
        assert "ArtifactRepository" in engine.run_job(client, made)
