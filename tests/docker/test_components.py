"""The components in somebody else's program, and what shows only when a container starts."""

import secrets
import time
from pathlib import Path

import pytest
from tests.docker.stack import DEPLOYMENT, left, sweep
from tests.support import Workspace

from pulumi_mlflow.docker import engine

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

PROGRAM = Path(__file__).parent / "program"


@pytest.fixture
def deployment(client):
    name = f"it{secrets.token_hex(4)}"
    yield name
    remaining = left(client, name)
    sweep(client, name)
    assert remaining == {}


def test_image_that_does_not_start_ends_up_with_its_cause_and_the_next_up_goes_on(
    watched, client, deployment, tmp_path
):
    """The server's image in the database's place: its entrypoint finds no program `postgres`, and crashes."""
    wrong = watched.stack.container("tracking").image.id
    right = watched.stack.container("database").image.id
    config = {"deployment": deployment, "image": wrong}
    workspace = Workspace(tmp_path / "program", deployment, config, PROGRAM)
    up = ("up", "--yes", "--skip-preview")
    try:
        started = time.monotonic()
        output = workspace.pulumi(*up, ok=False)
        print(f"failed after {time.monotonic() - started:.0f} s")
        assert f"{deployment}-database: crashed " in output
        assert "exit code 127" in output
        assert "postgres: not found" in output
        assert time.monotonic() - started < 90

        workspace.configure({**config, "image": right})
        workspace.pulumi(*up)

        assert workspace.read("stack", "output", "--json")["host"] == f"{deployment}-database"
        assert client.containers.get(f"{deployment}-database").health == "healthy"
    finally:
        workspace.pulumi("state", "unprotect", "--all", "--yes")
        workspace.pulumi("destroy", "--yes", "--skip-preview")


def test_store_that_refuses_the_keys_ends_the_job_with_that_cause(watched, client, deployment):
    """By the very job that makes the bucket; what a failed job does to `up` is in test_down.py."""
    artifacts = watched.stack.outputs()["ops"]["artifacts"]
    job = engine.Job(
        name=f"{deployment}-bucket",
        image=watched.stack.container("tracking").image.id,
        command=["python", "/opt/pulumi-mlflow/artifacts.py", "bucket"],
        environment={
            "ARTIFACTS_URI": artifacts["uri"],
            "MLFLOW_S3_ENDPOINT_URL": artifacts["endpoint_url"],
            "AWS_DEFAULT_REGION": artifacts["region"],
            "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": "else",
        },
        network=watched.stack.deployment,
        labels={DEPLOYMENT: deployment},
        timeout=60,
    )

    with pytest.raises(engine.EngineError, match=r"exit code 1:\n.*the store refuses the keys: "):
        engine.run_job(client, job)
