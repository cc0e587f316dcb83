"""The parts of the local runtime that need no stack: folders, processes, a server that cannot start."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace

import psutil
import pytest
from tests.support import free_port

from pulumi_mlflow.contracts import UnreachableEndpointError
from pulumi_mlflow.local import backup, folder, processes, supervision, tracking
from pulumi_mlflow.local.process import _Provider

PASSWORD = "S3ntinel/p&ss"


@pytest.fixture
def spec(tmp_path):
    (tmp_path / "database").mkdir()
    database = tmp_path / "database" / "mlflow.db"
    port = free_port()
    return supervision.Spec(
        folder=tmp_path / "server",
        deployment="mlflow-test",
        version="3.17.2",
        argv=(sys.executable, "-c", f"print('cannot log in with {PASSWORD}'); raise SystemExit(2)"),
        environment={},
        secrets={"MLFLOW_BACKEND_STORE_URI": f"sqlite:///{database}", "PASSWORD": PASSWORD},
        certificates={"database-ca.pem": "PEM", "artifacts-ca.pem": ""},
        bind="127.0.0.1",
        port=port,
        url=f"http://127.0.0.1:{port}",
        health_path="/health",
        ready_path="/ready",
        database_file=str(database),
    )


def properties(spec):
    return {name: getattr(spec, name) for name in spec.__dataclass_fields__} | {
        "folder": str(spec.folder)
    }


def test_server_that_cannot_start_fails_with_its_log_and_leaves_nothing(spec):
    with pytest.raises(supervision.ServerError) as refusal:
        _Provider().create(properties(spec))
    assert "MLflow is FATAL" in str(refusal.value)
    assert "cannot log in with [PASSWORD]" in str(refusal.value)
    assert PASSWORD not in str(refusal.value)
    assert not processes.of_folder(spec.folder)
    assert not spec.folder.exists()


def test_every_setting_of_the_server_is_part_of_what_it_is_compared_by(spec):
    spec.folder.mkdir()
    other = {
        "version": "3.18.0",
        "argv": ("mlflow",),
        "environment": {"MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": "7"},
        "secrets": {"PASSWORD": "other"},
    }
    digests = {replace(spec, **{name: value}).digest for name, value in other.items()}
    assert len(digests | {spec.digest}) == len(other) + 1


@pytest.mark.parametrize("name", supervision.Spec.__dataclass_fields__)
def test_any_change_of_a_setting_is_a_change_of_the_resource(spec, name):
    olds = properties(spec) | {"state": supervision.RUNNING}
    assert not _Provider().diff("id", olds, properties(spec)).changes
    changed = _Provider().diff("id", olds, properties(spec) | {name: "other"})
    assert changed.changes
    assert changed.replaces == (["folder"] if name == "folder" else [])


def test_a_server_that_is_not_well_is_a_change_of_the_resource(spec):
    olds = properties(spec) | {"state": "its supervisor is not running"}
    assert _Provider().diff("id", olds, properties(spec)).changes


def test_missing_database_is_seen(spec):
    assert supervision.state(spec) == f"{spec.database_file} is missing"


def test_passphrases_of_the_caller_do_not_reach_our_programs(spec, monkeypatch):
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", PASSWORD)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", PASSWORD)
    assert PASSWORD not in supervision._base_environment(spec.folder).values()


def test_a_process_is_ours_by_its_mark_alone(tmp_path):
    marked = {**os.environ, processes.FOLDER_VARIABLE: str(tmp_path / "server")}
    command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    ours = subprocess.Popen(command, env=marked, stdin=subprocess.PIPE)
    foreign = subprocess.Popen(command, stdin=subprocess.PIPE)
    try:
        assert [p.pid for p in processes.of_folder(tmp_path / "server")] == [ours.pid]
        assert not processes.of_folder(tmp_path / "serve")
        processes.end(processes.of_folder(tmp_path / "server"))
        assert not psutil.pid_exists(ours.pid)
        assert foreign.poll() is None
    finally:
        for program in (ours, foreign):
            program.communicate()


def test_holder_of_a_port_is_named():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert not processes.port_is_free("127.0.0.1", port)
        assert processes.port_holder(port) == f"{psutil.Process().name()} (pid {os.getpid()})"
    assert processes.port_is_free("127.0.0.1", port)


def test_address_of_another_machine_is_told_from_a_taken_port():
    with pytest.raises(OSError, match="assign requested address"):
        processes.port_is_free("192.0.2.1", 5000)


def test_folder_is_claimed_adopted_and_purged(tmp_path):
    data = tmp_path / "data" / "database"
    folder.claim(data, "mlflow-test", "database")
    (data / "mlflow.db").write_text("runs")
    folder.claim(data, "mlflow-test", "database")
    assert (data / "mlflow.db").read_text() == "runs"
    folder.purge(data)
    assert not data.parent.exists()
    folder.purge(data)


def test_folder_of_others_is_neither_adopted_nor_purged(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="not ours"):
        folder.claim(tmp_path, "mlflow-test", "database")
    with pytest.raises(ValueError, match="not ours to delete"):
        folder.purge(tmp_path)
    assert (tmp_path / "thesis.tex").exists()


@pytest.mark.parametrize("other", [("mlflow-dev", "database"), ("mlflow-test", "artifacts")])
def test_folder_of_another_deployment_is_refused(tmp_path, other):
    data = tmp_path / "data"
    folder.claim(data, "mlflow-test", "database")
    with pytest.raises(ValueError, match="holds the database of mlflow-test"):
        folder.claim(data, *other)
    assert json.loads((data / folder.MARKER).read_text())["deployment"] == "mlflow-test"


def test_relative_folder_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="absolute"):
        folder.claim(folder.Path("data"), "mlflow-test", "database")


def test_backup_of_data_that_is_elsewhere_is_refused(tmp_path):
    ops = {"engine": "postgresql", "database": "db", "artifacts": "s3://bucket"}
    with pytest.raises(backup.NotLocalError, match="postgresql and s3://bucket"):
        backup.dump(ops, tmp_path, print)


def test_endpoint_that_this_machine_cannot_reach_is_refused(monkeypatch):
    monkeypatch.setattr(tracking.MlflowComponent, "__init__", lambda *_: None)
    reach = ["network:mlflow-dev"]
    args = {
        "data_dir": "/data",
        "database": {"component": "database", "reach": reach, "engine": "postgresql"},
        "artifacts": {"component": "artifacts", "reach": ["host"]},
    }
    with pytest.raises(UnreachableEndpointError, match=r"tracking .* cannot reach database"):
        tracking.LocalTrackingServer("tracking", args)
