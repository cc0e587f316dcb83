"""What was deleted in MLflow goes for good, with its artifacts; all else stays. On a server as the local runtime has it."""

import json
import os

import mlflow
import pytest
import upkeep
from bootlib import BootError, client_environment
from mlflow.exceptions import MlflowException

from pulumi_mlflow.ops import gc, local
from pulumi_mlflow.ops.errors import OpsError


@pytest.fixture
def launched(server_folder, tmp_path):
    """A local stack's folder, for the server of these tests."""
    uri = f"sqlite:///{server_folder}/mlflow.db"
    launch = {"argv": [], "environment": {"MLFLOW_BACKEND_STORE_URI": uri}}
    (tmp_path / "launch.json").write_text(json.dumps(launch))
    return tmp_path


def test_what_was_deleted_goes_for_good_and_all_else_stays(
    server, server_folder, launched, monkeypatch, capsys
):
    client = mlflow.MlflowClient(server, server)
    experiment = client.create_experiment("kept by gc")
    kept, gone, young = (client.create_run(experiment).info.run_id for _ in range(3))
    for run_id in (kept, gone, young):
        client.log_text(run_id, run_id, "a.txt")
    client.delete_run(gone)
    name = "its name is free again"
    client.delete_experiment(client.create_experiment(name))

    def files(run_id):
        return list((server_folder / "artifacts").glob(f"*/{run_id}/artifacts/a.txt"))

    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", f"sqlite:///{server_folder}/mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)

    def here(older_than, *, dry_run):
        """In this process: as a program it imports MLflow first, for seconds."""
        before = mlflow.get_tracking_uri()
        upkeep.gc(older_than, dry_run=dry_run)
        mlflow.set_tracking_uri(before)
        return capsys.readouterr().out.splitlines()

    assert here("30d", dry_run=True) == []
    shown = here("0s", dry_run=True)
    assert f"run {gone}" in shown
    assert any(name in line for line in shown)
    assert not any(kept in line for line in shown)
    assert files(gone)
    assert client.get_run(gone).info.lifecycle_stage == "deleted"
    said = gc.run_local(launched, server, ["gc", "0s"])
    assert f"Run with ID {gone} has been permanently deleted." in said
    assert not files(gone)
    with pytest.raises(MlflowException, match="not found"):
        client.get_run(gone)
    assert client.get_experiment_by_name(name) is None
    client.delete_run(young)
    here("1h", dry_run=False)
    assert client.get_run(young).info.lifecycle_stage == "deleted"
    assert files(kept)
    assert files(young)
    assert [found.info.run_id for found in client.search_runs([experiment])] == [kept]


def test_the_shell_of_a_local_stack_has_the_servers_variables(launched, server_folder, capfd):
    command = ["sh", "-c", 'echo "$MLFLOW_BACKEND_STORE_URI $MLFLOW_TRACKING_URI"; command -v mlflow; exit 3']  # fmt: skip
    assert local.shell(launched, "http://127.0.0.1:9", command) == 3
    printed = capfd.readouterr().out
    assert f"sqlite:///{server_folder}/mlflow.db http://127.0.0.1:9\n" in printed
    assert printed.endswith("/mlflow\n")
    with pytest.raises(OpsError, match="cannot be run"):
        local.shell(launched, "http://127.0.0.1:9", ["/nowhere/program"])


@pytest.mark.parametrize(
    ("text", "seconds"), [("30d", 2_592_000), ("2d12h", 216_000), ("0s", 0), ("90m", 5400)]
)
def test_times_are_read(text, seconds):
    assert upkeep._milliseconds(text) == 1000 * seconds


@pytest.mark.parametrize("text", ["", "soon", "30", "-1d", "1.5d", "1h2d"])
def test_times_that_are_none_are_refused(text):
    with pytest.raises(BootError, match="such as 30d"):
        upkeep._milliseconds(text)


def test_a_shell_beside_a_server_with_users_logs_in_as_its_administrator(tmp_path, monkeypatch):
    config = tmp_path / "mlflow.ini"
    config.write_text("[mlflow]\nadmin_username = admin\nadmin_password = s3ntinel\n")
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("HEALTH_URL", "http://127.0.0.1:5000/health")
    monkeypatch.setenv("MLFLOW_AUTH_CONFIG_PATH", str(config))
    client_environment()

    assert os.environ["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:5000"
    assert os.environ["MLFLOW_TRACKING_USERNAME"] == "admin"
    assert os.environ["MLFLOW_TRACKING_PASSWORD"] == "s3ntinel"
