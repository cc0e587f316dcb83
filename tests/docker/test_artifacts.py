"""Every way that artifacts take, on one stack over versitygw: signed URLs, direct, and a move to a folder."""

import contextlib
import http
import ipaddress
import os
import re
import threading

import boto3
import pytest
import requests
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
from tests.docker.stack import DEPLOYMENT, DockerStack, check_run, dev_settings, log_run, sha256
from tests.support import FULL, free_port

from pulumi_mlflow.core.server_image import ARTIFACTS
from pulumi_mlflow.docker import engine, server_job

pytestmark = [pytest.mark.docker, pytest.mark.timeout(1200)]

LARGE = 24_000_000
"""Bytes. Above the threshold that the tests set; MLflow's own is 500 MB."""

SIGNED = {
    "MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE": "10000000",
    "MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE": "6000000",
}


@pytest.fixture(scope="module")
def port():
    return free_port()


@pytest.fixture(scope="module")
def stack(client, port, tmp_path_factory):
    """A stack with signed URLs: server and clients reach the store by the engine's own address on Docker's bridge."""
    config = client.networks.get("bridge").attrs["IPAM"]["Config"][0]
    # The engine itself has the network's first address; it names it only where somebody chose it.
    bridge = config.get("Gateway") or ipaddress.ip_network(config["Subnet"])[1]
    settings = dev_settings()
    settings["database"] = {"engine": "sqlite"}
    settings["artifacts"] = {
        "store": "versitygw",
        "multipart": True,
        "port": port,
        "public_url": f"http://{bridge}:{port}",
    }
    made = DockerStack(client, tmp_path_factory.mktemp("artifacts") / "project", settings)
    try:
        made.up()
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def logged(stack, tmp_path_factory):
    """Runs by name, each with an artifact, that must be there in every later mode and store."""
    return {}


def test_a_name_is_a_file_or_a_folder_and_a_second_one_is_refused_at_once(stack):
    with stack.mlflow() as door:
        run_id = door.create_run("0").info.run_id
        door.log_text(run_id, "report", "report")
        door.log_text(run_id, "a", "folder/a.txt")
        for name in ("report/a.txt", "folder"):
            with pytest.raises(requests.HTTPError, match=r"409.*Choose another name"):
                door.log_text(run_id, "both", name)
        assert door.list_artifacts(run_id, "folder")[0].path == "folder/a.txt"


def received_and_sent(stack):
    """Bytes that the server's container had on its networks."""
    networks = stack.container("tracking").stats(stream=False)["networks"].values()
    return sum(n["rx_bytes"] for n in networks), sum(n["tx_bytes"] for n in networks)


def migrate(stack, *, ok=True):
    """Two `up`s and the copy: more than the other commands may take on a busy machine."""
    command = ("pulumi-mlflow", "migrate-artifacts", "--stack", stack.stack, "--yes")
    return stack.run(*command, ok=ok, seconds=600)


@contextlib.contextmanager
def killing(client, stack, word):
    """End the first job of the stack that starts with this word among its arguments, as a lack of memory would."""
    seen = []
    label = f"{DEPLOYMENT}={stack.deployment}"
    events = client.events(decode=True, filters={"event": "start", "label": label})

    def watch():
        for event in events:
            container = client.containers.get(event["id"])
            if word in container.attrs["Config"]["Cmd"]:
                container.kill()
                seen.append(container.name)
                return

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        yield
    finally:
        events.close()
        watching.join(10)
    assert seen, "no such job was started"


def check_all(stack, logged, folder):
    with stack.mlflow() as door:
        for name, run in logged.items():
            check_run(door, run, folder / name)


def test_bytes_of_large_files_pass_the_server_by(stack, logged, tmp_path, monkeypatch):
    for name, value in SIGNED.items():
        monkeypatch.setenv(name, value)
    large = tmp_path / "large.bin"
    large.write_bytes(os.urandom(LARGE))
    with stack.mlflow() as door:
        logged["signed"] = run = log_run(door, tmp_path / "logged")
        before = received_and_sent(stack)
        door.log_artifact(run.run_id, str(large))
        uploaded = received_and_sent(stack)
        found = door.download_artifacts(run.run_id, large.name, str(tmp_path / "logged"))
        downloaded = received_and_sent(stack)
    assert sha256(large) == sha256(tmp_path / "logged" / large.name)
    assert str(found).endswith(large.name)
    moved = [after - first for first, after in zip(before, uploaded, strict=True)]
    moved += [after - first for first, after in zip(uploaded, downloaded, strict=True)]
    print(f"{LARGE} bytes up and down; the server received and sent {moved}")
    assert max(moved) < LARGE / 100


def test_store_answers_nobody_without_its_keys(stack):
    url = stack.settings["artifacts"]["public_url"]
    assert requests.get(f"{url}/mlflow?list-type=2", timeout=10).status_code == 403
    for keys in (
        {"config": Config(signature_version=UNSIGNED)},
        {"aws_secret_access_key": "x" * 40},
    ):
        store = boto3.client(
            "s3",
            endpoint_url=url,
            region_name="us-east-1",
            **{"aws_access_key_id": "somebody", "aws_secret_access_key": "else", **keys},
        )
        for ask in (
            lambda store=store: store.list_objects_v2(Bucket="mlflow"),
            lambda store=store: store.put_object(Bucket="mlflow", Key="x", Body=b"x"),
        ):
            with pytest.raises(ClientError) as refusal:
                ask()
            status = refusal.value.response["ResponseMetadata"]["HTTPStatusCode"]
            # versitygw: 403, and 404 for an access key that it does not know.
            assert status in (http.HTTPStatus.FORBIDDEN, http.HTTPStatus.NOT_FOUND)


@pytest.mark.parametrize(
    ("demands", "refusal"),
    [
        # It takes the header for encryption and keeps the object in plain.
        (
            {"ENCRYPTION": "sse-s3"},
            "is encrypted by nothing, and mlflow:artifacts.encryption wants",
        ),
        ({"EXPIRE_MULTIPART_DAYS": "7"}, "leave out mlflow:artifacts.expire_multipart_days"),
        ({"ARTIFACTS_URI": "s3://nowhere"}, "there is no bucket of this name"),
        ({"ARTIFACTS_URI": "gs://b/x"}, "add 'gcs' to mlflow:tracking.extras"),
        (
            {
                "MLFLOW_S3_ENDPOINT_URL": "http://172.17.0.1:1",
                "WAIT_SECONDS": "1",
                "URL_KEY": "key.x",
            },
            "http://172.17.0.1:1 (key.x)",
        ),
    ],
)
def test_what_is_asked_of_a_bucket_is_proved(client, stack, demands, refusal):
    job = server_job.like_server(client, stack.outputs()["ops"], "prove", [*ARTIFACTS, "prove"])
    engine.run_job(client, job)
    job.environment.update(demands)
    with pytest.raises(engine.EngineError, match=re.escape(refusal)):
        engine.run_job(client, job)


def test_disk_that_is_too_small_is_refused_with_the_numbers(client, stack):
    """By the very job that runs before the server; what a failed job does to `up` is in test_down.py."""
    job = server_job.like_server(
        client, stack.outputs()["ops"], "disk", [*server_job.BOOT, "migrate"]
    )
    engine.run_job(client, job)
    job.environment["SCRATCH_MB"] = "10000000"
    refusal = r"mlflow:tracking\.scratch_mb: the disk of the scratch volume has \d+ MiB free"
    with pytest.raises(engine.EngineError, match=refusal):
        engine.run_job(client, job)


def test_direct_mode_keeps_runs_and_needs_no_server_for_bytes(
    stack, logged, port, tmp_path, monkeypatch
):
    stack.settings["artifacts"] = {"store": "versitygw", "mode": "direct", "port": port}
    stack.change({})

    stack.up()

    store = stack.outputs()["store"]
    assert store["endpoint_url"] == f"http://127.0.0.1:{port}"
    exported = stack.cli("env", "--format", "dotenv")
    for line in exported.splitlines():
        name, _, value = line.partition("=")
        if name.startswith(("AWS_", "MLFLOW_S3_")):
            monkeypatch.setenv(name, value.strip("'\""))
    assert os.environ["MLFLOW_S3_ENDPOINT_URL"] == store["endpoint_url"]
    check_all(stack, logged, tmp_path)
    before = received_and_sent(stack)
    with stack.mlflow() as door:
        logged["direct"] = run = log_run(door, tmp_path / "logged")
        uri = door.get_run(run.run_id).info.artifact_uri
    assert uri.startswith("s3://mlflow/")
    assert max(a - b for a, b in zip(received_and_sent(stack), before, strict=True)) < 100_000
    proxied = f"{stack.url}/api/2.0/mlflow-artifacts/artifacts/{uri.removeprefix('s3://mlflow/')}"
    assert stack.session().get(f"{proxied}/weights.bin", timeout=10).status_code == 503
    stack.unchanged()


@pytest.mark.skipif(not FULL, reason="FULL=1: a stack moves between stores, which takes minutes")
def test_other_store_is_refused_until_its_artifacts_were_moved(client, stack, logged, tmp_path):
    """The copy is killed; until it has gone on to its end, the stack cannot be used with the other store."""
    versitygw = f"{stack.deployment}-artifacts-versitygw"
    stack.settings["artifacts"] = {"store": "folder"}
    stack.change({})
    refused = stack.pulumi("preview", "--refresh=false", ok=False)
    assert "mlflow:artifacts.store: 'folder' is refused while there is data made with" in refused
    assert f"pulumi-mlflow migrate-artifacts --stack {stack.stack}" in refused

    with killing(client, stack, "migrate"):
        broken = migrate(stack, ok=False)
    assert "run migrate-artifacts again" in broken
    assert "not been verified" in stack.pulumi("preview", "--refresh=false", ok=False)

    moved = migrate(stack)

    assert "all compared by SHA-256" in moved
    assert f"docker volume rm {versitygw}" in moved
    check_all(stack, logged, tmp_path)
    with stack.mlflow() as door:
        for run in logged.values():
            assert door.get_run(run.run_id).info.artifact_uri.startswith("mlflow-artifacts:/")
    assert f"{stack.deployment}-artifacts" not in {c.name for c in client.containers.list(all=True)}
    stack.unchanged()
    client.volumes.get(versitygw).remove()
