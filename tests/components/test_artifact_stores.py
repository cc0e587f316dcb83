"""Stores of a Docker stack under mocks: an NFS volume's options, and what is refused at construction."""

import pulumi
import pytest
from pulumi.runtime.mocks import MockCallArgs, MockResourceArgs, Mocks
from pulumi.runtime.stack import run_pulumi_func
from tests.support import program_loop

from pulumi_mlflow.contracts import ArtifactEndpoint
from pulumi_mlflow.docker.artifacts import (
    DockerArtifactFolder,
    DockerArtifactStore,
    DockerExistingArtifacts,
)
from pulumi_mlflow.docker.tracking import DockerTrackingServer

STORE = {"network": "n", "image": "i", "job_image": "j"}
EXISTING = ArtifactEndpoint(
    component="s3", reach=["public"], uri="s3://b", endpoint_url="http://localhost:9000"
)
DATABASE = {"component": "database", "reach": ["public"], "engine": "sqlite", "database": "/d/x"}


class Recorder(Mocks):
    def __init__(self):
        self.seen = []

    def new_resource(self, args: MockResourceArgs):
        self.seen.append(args)
        return f"{args.name}-id", {**args.inputs, "value": "x", "volume": f"{args.name}-volume"}

    def call(self, _args: MockCallArgs):
        return {}


def registered(make):
    """Name → what a program has registered."""
    recorder = Recorder()

    def program():
        pulumi.runtime.mocks.set_mocks(recorder, project="mlflow", stack="t", preview=False)
        make()

    with program_loop() as loop:
        loop.run_until_complete(run_pulumi_func(program))
    return {args.name: args for args in recorder.seen}


def nfs(**options):
    export = {"server": "nas.example.com", "path": "/export/mlflow", **options}
    return registered(lambda: DockerArtifactFolder("artifacts", {"image": "i", "nfs": export}))


def test_nfs_is_mounted_by_the_engine_with_its_options():
    found = nfs(options="rw,nfsvers=4.1,hard")
    volume = found["artifacts-nfs"].inputs
    assert volume["driver"] == "local"
    assert volume["driverOpts"] == {
        "type": "nfs",
        "o": "addr=nas.example.com,rw,nfsvers=4.1,hard",
        "device": ":/export/mlflow",
    }
    job = found["artifacts-folder"].inputs
    assert job["volumes"] == {volume["name"]: "/artifacts-nfs"}
    assert job["environment"]["ARTIFACTS_URI"] == "/artifacts-nfs"
    guard = found["artifacts-guard"].inputs["settings"]
    assert guard["mlflow:artifacts.nfs"] == "nas.example.com:/export/mlflow"


def test_other_nfs_options_are_another_volume():
    names = {nfs(options=o)["artifacts-nfs"].inputs["name"] for o in ("rw,soft", "rw,hard")}
    assert len(names) == 2


def test_minio_has_its_own_names_for_all():
    args = {**STORE, "store": "minio", "expire_multipart_days": 7, "encryption": "sse-s3"}
    found = registered(lambda: DockerArtifactStore("artifacts", {**args, "console_port": 9001}))
    container = found["artifacts-container"].inputs
    assert "MINIO_API_STALE_UPLOADS_EXPIRY=168h" in container["envs"]
    # The console alone: clients do not use the store.
    assert [(p["internal"], p["external"], p["ip"]) for p in container["ports"]] == [
        (9001, 9001, "127.0.0.1")
    ]
    assert found["artifacts-bucket"].inputs["environment"]["ARTIFACTS_URI"] == "s3://default"
    assert found["artifacts-bucket"].inputs["environment"]["ENCRYPTION"] == "sse-s3"


@pytest.mark.parametrize(
    ("asked", "refusal"),
    [
        ({"expire_multipart_days": 7}, "expire_multipart_days: versitygw does not remove"),
        ({"encryption": "sse-s3"}, "encryption: versitygw cannot do sse-s3"),
        ({"multipart": True}, r"multipart: needs artifacts\.public_url"),
        (
            {"multipart": True, "publish": True},
            "multipart: '127.0.0.1' is another machine to the server",
        ),
        ({"store": "ceph"}, r"store: must be versitygw or minio \(got 'ceph'\)"),
    ],
)
def test_what_a_store_cannot_do_is_refused_at_construction(asked, refusal):
    with pytest.raises(ValueError, match=refusal):
        registered(lambda: DockerArtifactStore("artifacts", {**STORE, **asked}))


def test_existing_store_on_loopback_cannot_be_signed_for():
    args = {"network": "n", "image": "i", "artifacts": EXISTING, "multipart": True}
    with pytest.raises(ValueError, match="multipart: 'localhost' is another machine"):
        registered(lambda: DockerExistingArtifacts("artifacts", args))


@pytest.mark.parametrize(
    ("artifacts", "asked", "refusal"),
    [
        ({"uri": "/a", "volume": "v"}, {"artifact_mode": "direct"}, "cannot reach a folder"),
        ({"uri": "/a", "volume": "v"}, {"multipart": True}, "folder has no URLs that"),
        (
            {"uri": "s3://b", "endpoint_url": "http://s3:9000"},
            {"multipart": True},
            "multipart: store has no public_endpoint_url",
        ),
    ],
)
def test_server_refuses_what_its_store_cannot_do(artifacts, asked, refusal):
    endpoint = {"component": "store", "reach": ["public"], **artifacts}
    args = {"network": "n", "image": "i", "database": DATABASE, "artifacts": endpoint, **asked}
    with pytest.raises(ValueError, match=refusal):
        registered(lambda: DockerTrackingServer("tracking", args))
