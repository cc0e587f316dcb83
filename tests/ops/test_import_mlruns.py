"""A real ./mlruns of MLflow's own file store goes into a real server, once."""

import math
import os
import shutil
import subprocess
import sys
import textwrap

import mlflow
import pytest
from mlflow.entities import ViewType

from pulumi_mlflow.ops.errors import OpsError
from pulumi_mlflow.ops.import_mlruns import COMPLETE_TAG, SOURCE_TAG, import_mlruns
from pulumi_mlflow.ops.stack import FrontDoor

TRAINING = textwrap.dedent(
    """
    import os
    from pathlib import Path
    import mlflow
    import numpy as np
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    mlflow.set_tracking_uri(Path("mlruns").absolute().as_uri())
    client = MlflowClient()
    experiment = client.create_experiment("imported ä/ x&y", tags={"mlflow.note.content": "# Why", "team": "a"})
    client.set_experiment_tag("0", "default", "too")
    parent = client.create_run(experiment, start_time=1_700_000_000_000, run_name="parent", tags={"t": "x" * 4000})
    run_id = parent.info.run_id
    client.log_batch(run_id, params=[Param(f"p{i}", f"ü{i}") for i in range(100)])
    client.log_batch(run_id, params=[Param(f"q{i}", "") for i in range(50)])
    for start in range(0, 2500, 500):
        client.log_batch(run_id, metrics=[
            Metric("loss", 1 / (i + 1), 1_700_000_000_000 + i, i) for i in range(start, start + 500)
        ])
    client.log_batch(run_id, metrics=[
        Metric("odd", float("nan"), 5, -1), Metric("odd", float("inf"), 6, 0), Metric("odd", -float("inf"), 7, 2**40),
        Metric("sub/metric", 1.0, 1, 1),
    ])
    client.set_tag(run_id, "mlflow.note.content", "a note")
    for i in range(150):
        client.set_tag(run_id, f"tag{i}", str(i))
    folder = Path("files/unter/ordner")
    folder.mkdir(parents=True)
    (folder / "größe 1 x.bin").write_bytes(os.urandom(70_000))
    Path("files/empty").touch()
    client.log_artifacts(run_id, "files")
    dataset = mlflow.data.from_numpy(np.arange(6).reshape(3, 2), name="numbers")
    with mlflow.start_run(run_id=run_id):
        mlflow.log_input(dataset, context="training")
    client.set_terminated(run_id, "FAILED", end_time=1_700_000_099_000)
    child = client.create_run(experiment, start_time=1_600_000_000_000, run_name="child before its parent",
                              tags={"mlflow.parentRunId": run_id})
    client.set_terminated(child.info.run_id, "KILLED")
    client.create_run(experiment, run_name="running")
    client.delete_run(client.create_run(experiment, run_name="deleted").info.run_id)
    orphan = client.create_run(experiment, run_name="orphan", tags={"mlflow.parentRunId": "0" * 32})

    class Double(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            return [x * 2 for x in model_input]

    mlflow.set_experiment(experiment_id=experiment)
    with mlflow.start_run(run_name="model"):
        info = mlflow.pyfunc.log_model(name="double", python_model=Double(), pip_requirements=[],
                                       registered_model_name="doubler")
        mlflow.log_metric("accuracy", 0.75, model_id=info.model_id, dataset=dataset)
    client.set_registered_model_alias("doubler", "champion", 1)
    client.update_registered_model("doubler", "It doubles.")
    client.create_model_version("doubler", f"{parent.info.artifact_uri}/unter", run_id=run_id, tags={"v": "2"})
    client.create_model_version("doubler", "s3://elsewhere/model")
    client.delete_experiment(client.create_experiment("gone"))
    """
)


@pytest.fixture(scope="module")
def mlruns(tmp_path_factory):
    """A folder that MLflow's file store has written, and that lies elsewhere since."""
    made = tmp_path_factory.mktemp("made")
    environment = {**os.environ, "MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_TRACKING_URI": ""}
    done = subprocess.run(
        [sys.executable, "-c", TRAINING], cwd=made, env=environment, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    moved = tmp_path_factory.mktemp("moved") / "mlruns"
    shutil.move(made / "mlruns", moved)
    return moved


@pytest.fixture(scope="module")
def imported(mlruns, server):
    """The report of the import, and a client of the server that has it now."""
    steps = []
    report = import_mlruns(
        mlruns.parent, FrontDoor(tracking_uri=server), {}, lambda *step: steps.append(step)
    )
    return report, mlflow.MlflowClient(server, server), steps


def runs(client):
    found = client.get_experiment_by_name("imported ä/ x&y")
    listed = client.search_runs([found.experiment_id], max_results=1000)
    return {run.info.run_name: run for run in listed}


def test_experiments_have_names_tags_and_notes(imported):
    _, client, _ = imported
    found = client.get_experiment_by_name("imported ä/ x&y")
    assert found.tags["mlflow.note.content"] == "# Why"
    assert found.tags["team"] == "a"
    assert client.get_experiment("0").tags["default"] == "too"
    assert client.get_experiment_by_name("gone") is None


def test_runs_have_times_status_params_and_tags(imported, mlruns):
    _, client, _ = imported
    found = runs(client)
    assert set(found) == {"parent", "child before its parent", "running", "orphan", "model"}
    parent = found["parent"]
    assert (parent.info.start_time, parent.info.end_time) == (1_700_000_000_000, 1_700_000_099_000)
    assert {name: run.info.status for name, run in found.items()} == {
        "parent": "FAILED", "child before its parent": "KILLED", "running": "RUNNING", "orphan": "RUNNING",
        "model": "FINISHED",
    }  # fmt: skip
    assert parent.data.params == {
        **{f"p{i}": f"ü{i}" for i in range(100)}, **{f"q{i}": "" for i in range(50)},
    }  # fmt: skip
    assert parent.data.tags["mlflow.note.content"] == "a note"
    assert parent.data.tags["t"] == "x" * 4000
    assert {parent.data.tags[f"tag{i}"] for i in range(150)} == {str(i) for i in range(150)}
    old = parent.data.tags[SOURCE_TAG]
    assert list(mlruns.glob(f"*/{old}/meta.yaml"))


def test_metrics_have_their_whole_history(imported):
    _, client, _ = imported
    run_id = runs(client)["parent"].info.run_id
    history = sorted(client.get_metric_history(run_id, "loss"), key=lambda m: m.step)
    assert [(m.step, m.timestamp, m.value) for m in history] == [
        (i, 1_700_000_000_000 + i, 1 / (i + 1)) for i in range(2500)
    ]
    odd = {m.step: m.value for m in client.get_metric_history(run_id, "odd")}
    assert math.isnan(odd[-1])
    # As every database of MLflow keeps infinity.
    assert (odd[0], odd[2**40]) == (sys.float_info.max, -sys.float_info.max)
    assert client.get_metric_history(run_id, "sub/metric")[0].value == 1.0


def test_children_are_below_their_parents_new_id(imported):
    report, client, _ = imported
    found = runs(client)
    assert (
        found["child before its parent"].data.tags["mlflow.parentRunId"]
        == found["parent"].info.run_id
    )
    assert "mlflow.parentRunId" not in found["orphan"].data.tags
    assert any("its parent 0000" in line for line in report.left)


def test_artifacts_are_the_same_bytes(imported, mlruns, tmp_path):
    _, client, _ = imported
    parent = runs(client)["parent"]
    client.download_artifacts(parent.info.run_id, "", str(tmp_path))
    source = next(mlruns.glob(f"*/{parent.data.tags[SOURCE_TAG]}/artifacts"))
    old = {p.relative_to(source): p.read_bytes() for p in source.rglob("*") if p.is_file()}
    new = {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert len(old) == 2
    assert new == old


def test_datasets_and_models_belong_to_their_runs(imported):
    _, client, _ = imported
    found = runs(client)
    assert found["parent"].inputs.dataset_inputs[0].dataset.name == "numbers"
    run = found["model"]
    model_id = run.outputs.model_outputs[0].model_id
    model = client.get_logged_model(model_id)
    assert (model.name, str(model.status), model.source_run_id) == (
        "double",
        "READY",
        run.info.run_id,
    )
    assert [(m.key, m.value, m.dataset_name) for m in model.metrics] == [
        ("accuracy", 0.75, "numbers")
    ]


def test_registered_models_load_from_the_server(imported, server, monkeypatch):
    report, client, _ = imported
    model = client.get_registered_model("doubler")
    assert model.description == "It doubles."
    assert model.aliases == {"champion": "1"}
    version = client.get_model_version("doubler", "2")
    assert version.tags["v"] == "2"
    assert version.source.endswith("/artifacts/unter")
    assert version.run_id == runs(client)["parent"].info.run_id
    assert any(
        "version 3: its source s3://elsewhere/model was not imported" in line
        for line in report.left
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    before = mlflow.get_tracking_uri()
    try:
        mlflow.set_tracking_uri(server)
        mlflow.set_registry_uri(server)
        loaded = mlflow.pyfunc.load_model("models:/doubler@champion")
        assert loaded.predict([1, 2]) == [2, 4]
        assert loaded.metadata.run_id == runs(client)["model"].info.run_id
        assert loaded.metadata.model_id == runs(client)["model"].outputs.model_outputs[0].model_id
    finally:
        mlflow.set_tracking_uri(before)
        mlflow.set_registry_uri(None)


def test_what_stays_behind_is_said_and_progress_shown(imported):
    report, _, steps = imported
    assert any("is deleted" in line for line in report.left if not line.startswith(".trash"))
    assert any("is deleted" in line for line in report.left if line.startswith(".trash"))
    assert len(report.left) == 4
    assert not report.notes
    assert report.taken["runs"] == 5
    assert report.taken["metric values"] == 2505
    assert steps[-1][:2] == (5, 5)


def test_a_second_import_brings_nothing_but_what_was_interrupted(imported, mlruns, server):
    _, client, _ = imported
    before = runs(client)
    interrupted = before["model"]
    client.delete_tag(interrupted.info.run_id, COMPLETE_TAG)
    report = import_mlruns(mlruns, FrontDoor(tracking_uri=server), {}, lambda *step: None)
    assert report.taken["runs"] == 1
    assert report.known["runs"] == 4
    assert (
        report.taken["experiments"]
        == report.taken["registered models"]
        == report.taken["model versions"]
        == 0
    )
    after = runs(client)
    assert set(after) == set(before)
    assert after["model"].info.run_id != interrupted.info.run_id
    assert client.get_run(interrupted.info.run_id).info.lifecycle_stage == "deleted"
    assert len(client.search_model_versions("name = 'doubler'")) == 2
    experiment = client.get_experiment_by_name("imported ä/ x&y").experiment_id
    assert len(client.search_logged_models([experiment])) == 1
    everything = client.search_runs([experiment], run_view_type=ViewType.ALL)
    assert len(everything) == len(before) + 1


@pytest.mark.parametrize("content", [[], ["file"], ["0/other.yaml"]])
def test_a_folder_that_is_none_is_refused(tmp_path, content):
    for name in content:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(OpsError, match="no folder of MLflow's file store"):
        import_mlruns(
            tmp_path, FrontDoor(tracking_uri="http://127.0.0.1:9"), {}, lambda *step: None
        )
