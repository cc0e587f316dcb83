"""What is done to data by schedule: objects under mocks, and the program itself on a real SQLite database."""

import json
import sqlite3

import mlflow
import pulumi
import pytest
import upkeep
from bootlib import BootError
from tests.kubernetes import cluster

from pulumi_mlflow.contracts import (
    ArtifactEndpoint,
    DatabaseEndpoint,
    TrackingEndpoint,
    UnreachableEndpointError,
)
from pulumi_mlflow.kubernetes.backup import KubernetesBackup
from pulumi_mlflow.kubernetes.network import KubernetesNetwork

BUCKET = {
    "component": "bucket",
    "reach": ["public"],
    "uri": "s3://backups/mlflow",
    "region": "eu-west-1",
}
ROLE_ARN = "arn:aws:iam::1:role/backup"
COPIES = {"destination": BUCKET, "role_arn": ROLE_ARN}
ENDS = {"gc_days": 30}


def program(changes, database=None, mode="none"):
    def made():
        there = KubernetesNetwork("network", {})
        runs = DatabaseEndpoint(
            **{
                "component": "database",
                "reach": ["cluster:mlflow-prod"],
                "engine": "postgresql",
                "host": "db",
                "port": 5432,
                "database": "mlflow",
                "username": "mlflow",
                "password": pulumi.Output.secret("typedpassword"),
                **(database or {}),
            }
        )
        server = TrackingEndpoint(
            component="tracking",
            reach=["cluster:mlflow-prod"],
            internal_url="http://mlflow-prod-tracking.mlflow-prod.svc.cluster.local:5000",
            auth_mode=mode,
        )
        args = {
            "namespace": there.namespace,
            "image": cluster.IMAGE,
            "database": runs,
            "tracking": server,
            **changes,
        }
        if "admin_password" in args:
            args["admin_password"] = pulumi.Output.secret("typedadmin")
        destination = args.get("destination")
        if destination and "secret_key" in destination:
            args["destination"] = ArtifactEndpoint(
                **{**destination, "secret_key": pulumi.Output.secret("typedsecret")}
            )
        KubernetesBackup("backup", args)
        return {}

    return made


KEYS = {
    **BUCKET,
    "access_key": "AK",
    "secret_key": "",
    "ca": "PEM",
    "endpoint_url": "https://s3.corp:9000",
}
COMBINATIONS = {
    "copies": (COPIES, "none"),
    "copies with keys": ({"destination": KEYS}, "none"),
    "ends": (ENDS, "none"),
    "vault": ({**COPIES, **ENDS, "database_secret": {"store": "aws", "key": "rds!1"}}, "none"),
    "both": ({**COPIES, **ENDS, "admin_password": "", "pull_secrets": ["registry"]}, "mlflow"),
    "long names": ({**COPIES, **ENDS, "deployment": "mlflow-prod-" + "x" * 60, "also_in": ["cluster:mlflow-prod"]}, "none"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "mode"), COMBINATIONS.values(), ids=COMBINATIONS)
def test_every_object_is_restricted_labelled_and_without_secrets(changes, mode):
    seen, _ = cluster.run(program(changes, mode=mode))
    cluster.judge(seen)
    for item in seen:
        if item.kind != "Secret":
            for typed in ("typedpassword", "typedadmin", "typedsecret"):
                assert typed not in json.dumps(item.inputs), item.name


def egress(seen, role):
    return [
        (peer, int(rule["ports"][0]["port"]))
        for rule in cluster.only(seen, "NetworkPolicy", role).spec["egress"]
        for peer in rule["to"]
    ]


def test_a_copy_knows_the_database_and_its_destination_and_nothing_else():
    seen, _ = cluster.run(program(COPIES))
    job = cluster.only(seen, "CronJob")
    assert job.container["args"] == ["python", "/opt/pulumi-mlflow/upkeep.py", "backup"]
    assert cluster.env(job)["BACKUP_URI"] == "s3://backups/mlflow"
    assert cluster.env(job)["AWS_DEFAULT_REGION"] == "eu-west-1"
    files = cluster.only(seen, "Secret").secret_files()
    assert set(files) == {"env.MLFLOW_BACKEND_STORE_URI"}
    account = cluster.only(seen, "ServiceAccount")
    assert account.inputs["metadata"]["annotations"] == {"eks.amazonaws.com/role-arn": ROLE_ARN}
    (database, port), (store, store_port) = egress(seen, "backup")
    assert database["podSelector"]["matchLabels"][cluster.ROLE] == "database"
    assert (port, store_port) == (5432, 443)
    assert "ipBlock" in store
    assert cluster.only(seen, "NetworkPolicy", "backup").spec["ingress"] == []


def test_a_password_of_a_vault_is_in_no_object_of_ours():
    seen, _ = cluster.run(program(COMBINATIONS["vault"][0]))
    assert {item.labels[cluster.ROLE] for item in seen if item.kind == "ExternalSecret"} == {
        "backup",
        "gc",
    }
    for item in seen:
        assert "typedpassword" not in json.dumps(item.inputs)


def test_schedules_do_not_overlap_and_are_made_up_for():
    seen, _ = cluster.run(program({**COPIES, "schedule": "30 1 * * *"}))
    spec = cluster.only(seen, "CronJob").spec
    assert (spec["schedule"], spec["timeZone"]) == ("30 1 * * *", "Etc/UTC")
    assert spec["concurrencyPolicy"] == "Forbid"
    assert spec["startingDeadlineSeconds"] == 3600
    assert spec["jobTemplate"]["spec"]["activeDeadlineSeconds"] > 3600


def test_nothing_is_deleted_unless_asked_for():
    assert not [
        i
        for i in cluster.run(program(COPIES))[0]
        if i.kind == "CronJob" and i.labels[cluster.ROLE] == "gc"
    ]


def test_what_users_deleted_is_ended_through_the_server():
    seen, _ = cluster.run(program({**ENDS, "admin_password": ""}, mode="mlflow"))
    job = cluster.only(seen, "CronJob", "gc")
    assert job.container["args"][-2:] == ["gc", "30d"]
    assert (
        cluster.env(job)["MLFLOW_TRACKING_URI"]
        == "http://mlflow-prod-tracking.mlflow-prod.svc.cluster.local:5000"
    )
    assert cluster.env(job)["MLFLOW_TRACKING_USERNAME"] == "admin"
    assert (
        cluster.only(seen, "Secret").secret_files()["env.MLFLOW_TRACKING_PASSWORD"] == "typedadmin"
    )
    roles = [peer["podSelector"]["matchLabels"][cluster.ROLE] for peer, _ in egress(seen, "gc")]
    assert roles == ["database", "tracking"]


BAD = {
    "six fields": ({**COPIES, "schedule": "0 0 3 * * *"}, "none", "schedule: must be five fields"),
    "no such hour": ({**ENDS, "gc_schedule": "0 25 * * *"}, "none", "gc_schedule: '25' is not"),
    "no day": ({"gc_days": 0}, "none", "gc_days: must be ≥ 1"),
    "nobody to write": ({"destination": BUCKET}, "none", "must have keys, or role_arn"),
    "two who write": ({"destination": KEYS, "role_arn": ROLE_ARN}, "none", "and not both"),
    "no login": (ENDS, "mlflow", "admin_password: tracking has auth 'mlflow'"),
    "latest": ({**COPIES, "image": "m:latest"}, "none", "image: must name a version"),
}


@pytest.mark.parametrize(("changes", "mode", "reason"), BAD.values(), ids=BAD)
def test_what_cannot_work_is_refused(changes, mode, reason):
    def made():
        with pytest.raises(ValueError, match=reason):
            program(changes, mode=mode)()

    seen, _ = cluster.run(made)
    assert not [item for item in seen if item.kind == "CronJob"]


@pytest.mark.parametrize(
    ("changes", "database"),
    [
        ({"destination": {**BUCKET, "reach": ["host"]}, "role_arn": "x"}, {}),
        (COPIES, {"reach": ["network:x"]}),
    ],
)
def test_what_the_cluster_cannot_reach_is_refused_by_name(changes, database):
    def made():
        with pytest.raises(UnreachableEndpointError, match="backup runs in"):
            program(changes, database)()

    cluster.run(made)


@pytest.fixture(scope="module")
def database_file(tmp_path_factory):
    """A real database with two runs, of which one is deleted, and their ids."""
    folder = tmp_path_factory.mktemp("database")
    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.create_experiment("e", artifact_location=str(folder / "artifacts"))
    runs = [client.create_run(experiment).info.run_id for _ in range(2)]
    client.log_metric(runs[0], "loss", 0.5)
    client.delete_run(runs[1])
    return folder / "mlflow.db", runs


@pytest.fixture
def server(database_file, tmp_path, monkeypatch):
    """A copy of it, as the image's programs find it."""
    file, runs = database_file
    with sqlite3.connect(file) as source, sqlite3.connect(tmp_path / "mlflow.db") as target:
        source.backup(target)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", uri)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("SCRATCH", str(tmp_path / "scratch"))
    monkeypatch.delenv("ARTIFACTS_URI", raising=False)
    (tmp_path / "scratch").mkdir()
    return mlflow.MlflowClient(uri), runs


def test_a_copy_is_there_as_a_whole_and_compared(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BACKUP_URI", str(tmp_path / "backups"))
    (tmp_path / "backups").mkdir()
    upkeep.backup()
    [copy] = (tmp_path / "backups").iterdir()
    assert {file.name for file in copy.iterdir()} == {"database.sqlite", "rows.json"}
    assert json.loads((copy / "rows.json").read_text())
    assert "all compared by SHA-256" in capsys.readouterr().out
    assert list((tmp_path / "scratch").iterdir()) == []


def test_only_what_was_deleted_is_ended(server, tmp_path):
    client, (kept, deleted) = server
    upkeep.gc("1d")
    assert client.get_run(deleted).info.lifecycle_stage == "deleted"
    upkeep.gc("0s")
    assert client.get_run(kept).data.metrics == {"loss": 0.5}
    with pytest.raises(mlflow.MlflowException, match=deleted):
        client.get_run(deleted)


def test_a_copy_without_a_destination_says_so(server, monkeypatch):
    monkeypatch.delenv("BACKUP_URI", raising=False)
    with pytest.raises(BootError, match="BACKUP_URI is not set"):
        upkeep.backup()
