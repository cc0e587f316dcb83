"""The programs of the server's image that copy stores and move URIs, without a container: folders and a SQLite file."""

import io
import os
import shutil
import sqlite3
import sys
import time

import artifact_uris
import artifacts
import pytest
import stores
import transfer
from bootlib import BootError
from sqlalchemy import event


def folder(path, files=None):
    path.mkdir(exist_ok=True)
    store = stores.FolderStore(path)
    for key, content in (files or {}).items():
        store.write(key, io.BytesIO(content))
    return store


def contents(store):
    found = {}
    for item in store.items():
        with store.open(item.key) as file:
            found[item.key] = file.read()
    return found


FILES = {"1/a/model.pkl": b"weights", "1/a/ünïcode name.txt": b"x" * 3_000_000, "empty": b""}


def test_copy_is_whole_and_is_not_done_twice(tmp_path, capsys):
    source, target = folder(tmp_path / "a", FILES), folder(tmp_path / "b")

    transfer.copy(source, target, tmp_path / "state")

    assert contents(target) == FILES
    assert "3 objects, 3.0 MB in" in capsys.readouterr().out

    class Unreadable(stores.FolderStore):
        def open(self, key):
            raise AssertionError(key)

    transfer.copy(Unreadable(tmp_path / "a"), Unreadable(tmp_path / "b"), tmp_path / "state")
    assert "3 verified before" in capsys.readouterr().out


def test_copy_that_was_ended_goes_on(tmp_path):
    source, target = folder(tmp_path / "a", FILES), folder(tmp_path / "b")

    class Ends(stores.FolderStore):
        def write(self, key, content):
            if key == "empty":
                raise OSError("disk full")
            super().write(key, content)

    with pytest.raises(OSError, match="disk full"):
        transfer.copy(source, Ends(tmp_path / "b"), tmp_path / "state")

    transfer.copy(source, target, tmp_path / "state")
    assert contents(target) == FILES


def test_what_was_verified_and_lost_is_copied_again(tmp_path):
    source, target = folder(tmp_path / "a", FILES), folder(tmp_path / "b")
    transfer.copy(source, target, tmp_path / "state")
    target.delete("1/a/model.pkl")

    transfer.copy(source, target, tmp_path / "state")

    assert contents(target) == FILES


def test_target_that_mangles_content_is_refused(tmp_path):
    source = folder(tmp_path / "a", FILES)

    class Mangles(stores.FolderStore):
        def write(self, key, content):
            super().write(key, io.BytesIO(content.read().replace(b"weights", b"weighty")))

    with pytest.raises(BootError, match=r"1/a/model\.pkl: differs in .* from what was written"):
        transfer.copy(source, Mangles(folder(tmp_path / "b").root), tmp_path / "state")


def test_target_that_loses_a_file_is_refused(tmp_path):
    source = folder(tmp_path / "a", FILES)

    class Forgets(stores.FolderStore):
        def items(self):
            return (item for item in super().items() if item.key != "empty")

    with pytest.raises(BootError, match=r"1 of 3 objects are not in .*, such as 'empty'"):
        transfer.copy(source, Forgets(folder(tmp_path / "b").root), tmp_path / "state")


@pytest.mark.parametrize("newer", [True, False])
def test_of_two_that_differ_the_newer_stays(tmp_path, newer, capsys):
    source, target = folder(tmp_path / "a", {"x": b"old"}), folder(tmp_path / "b", {"x": b"new"})
    later = time.time() + 60
    os.utime((target if newer else source).root / "x", (later, later))

    transfer.copy(source, target, tmp_path / "state")

    assert contents(target) == {"x": b"new" if newer else b"old"}
    assert ("x: is newer in" in capsys.readouterr().out) == newer


def test_key_that_leaves_the_folder_is_refused(tmp_path):
    for key in ("../x", "/etc/passwd", "a/../../x", "a//b"):
        with pytest.raises(BootError, match="has no place in a folder"):
            folder(tmp_path / "a").write(key, io.BytesIO(b""))


def test_key_that_is_file_and_folder_is_refused_by_name(tmp_path):
    with pytest.raises(BootError, match="a/b: is both a file and a folder"):
        folder(tmp_path / "a", {"a": b"file", "a/b": b"below"})


def test_half_written_files_are_no_files(tmp_path):
    store = folder(tmp_path / "a", {"x": b"x"})
    (store.root / ".pulumi-mlflow-part-1").write_bytes(b"half")
    assert contents(store) == {"x": b"x"}


def test_stores_of_other_providers_are_not_copied_and_it_says_how_they_are(monkeypatch):
    with pytest.raises(BootError, match=r"gs://team/x: only folders and .* \(gcloud storage rsync"):
        stores.open_store({"ARTIFACTS_URI": "gs://team/x"})


@pytest.mark.parametrize(
    ("uri", "module", "extra"),
    [
        ("gs://b/x", "google.cloud.storage", "gcs"),
        ("wasbs://c@a.blob.core.windows.net/x", "azure.storage.blob", "azure"),
        ("abfss://f@a.dfs.core.windows.net/x", "azure.storage.filedatalake", "azure"),
    ],
)
def test_missing_driver_names_the_extra(uri, module, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        BootError, match=rf"lacks '{module}'.* add '{extra}' to mlflow:tracking\.extras"
    ):
        artifacts.check_driver(uri)


def test_unknown_scheme_is_refused():
    with pytest.raises(BootError, match="ARTIFACTS_URI: 'ftp' is none of s3, gs, wasbs, abfss"):
        artifacts.check_driver("ftp://x/y")


def test_disk_that_is_too_small_is_refused_with_numbers_and_mend(monkeypatch, tmp_path):
    monkeypatch.setenv("SCRATCH", str(tmp_path))
    monkeypatch.setenv("SCRATCH_MB", str(10**9))
    with pytest.raises(
        BootError,
        match=r"mlflow:tracking\.scratch_mb: .* has \d+ MiB free, and 1000000000 MiB .*scratch_mb \d+$",
    ):
        artifacts.check_scratch()
    monkeypatch.setenv("SCRATCH_MB", "1")
    artifacts.check_scratch()


def test_scratch_is_cleaned_of_what_a_killed_server_left(monkeypatch, tmp_path):
    (tmp_path / "tmpabc").mkdir()
    (tmp_path / "tmpabc" / "half.bin").write_bytes(b"x")
    (tmp_path / "migration").mkdir()
    monkeypatch.setenv("SCRATCH", str(tmp_path))

    artifacts.clean_scratch()

    assert [path.name for path in tmp_path.iterdir()] == ["migration"]


@pytest.fixture(scope="module")
def schema(tmp_path_factory):
    """A SQLite file with MLflow's own schema."""
    from mlflow.store.db import utils

    file = tmp_path_factory.mktemp("schema") / "mlflow.db"
    engine = utils.create_sqlalchemy_engine(f"sqlite:///{file}")
    event.listen(engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous=OFF"))
    utils._initialize_tables(engine)
    engine.dispose()
    return file


@pytest.fixture
def database(schema, tmp_path, monkeypatch):
    """A database with a run that goes through the server, and an experiment elsewhere."""
    from mlflow.tracking._tracking_service.utils import _get_sqlalchemy_store

    file = tmp_path / "mlflow.db"
    shutil.copy(schema, file)
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", f"sqlite:///{file}")
    store = _get_sqlalchemy_store(f"sqlite:///{file}", "mlflow-artifacts:/")
    experiment = store.create_experiment("e")
    run = store.create_run(experiment, "u", 0, [], "r")
    foreign = store.create_experiment("foreign", artifact_location="s3://other/x")
    with sqlite3.connect(file) as connection:
        yield connection, store, experiment, run.info.run_id, foreign


def test_uris_move_and_come_back(database, monkeypatch, capsys):
    connection, store, experiment, run, foreign = database
    before = connection.execute("SELECT artifact_uri FROM runs").fetchall()
    assert before == [(f"mlflow-artifacts:/{experiment}/{run}/artifacts",)]
    monkeypatch.setenv("ARTIFACTS_URI", "s3://mlflow/team_1")

    monkeypatch.setenv("ARTIFACTS_MODE", "direct")
    artifact_uris.align()

    assert (
        store.get_run(run).info.artifact_uri == f"s3://mlflow/team_1/{experiment}/{run}/artifacts"
    )
    assert store.get_experiment(experiment).artifact_location == f"s3://mlflow/team_1/{experiment}"
    assert store.get_experiment("0").artifact_location == "s3://mlflow/team_1/0"
    assert store.get_experiment(foreign).artifact_location == "s3://other/x"
    assert (
        "3 artifact URIs: mlflow-artifacts:/ is now s3://mlflow/team_1/" in capsys.readouterr().out
    )
    artifact_uris.align()
    assert capsys.readouterr().out == ""

    monkeypatch.setenv("ARTIFACTS_MODE", "proxied")
    artifact_uris.align()
    assert connection.execute("SELECT artifact_uri FROM runs").fetchall() == before


def test_uri_that_would_be_too_long_is_refused_and_nothing_is_changed(database):
    connection, *_ = database
    before = connection.execute("SELECT artifact_uri FROM runs").fetchall()
    with pytest.raises(BootError, match=r"runs\.artifact_uri: .* takes 200; use a shorter bucket"):
        artifact_uris.rewrite("mlflow-artifacts:/", "s3://bucket/" + "x" * 160)
    assert connection.execute("SELECT artifact_uri FROM runs").fetchall() == before
    assert not connection.execute(
        "SELECT 1 FROM experiments WHERE artifact_location LIKE 's3://bucket/%'"
    ).fetchall()


def test_every_column_with_an_artifact_uri_is_known():
    """MLflow's tables have no further column of such a name: a new one would have to be rewritten too, or not."""
    from mlflow.store.db.base_sql_model import Base
    from mlflow.store.model_registry.dbmodels import models as _registry
    from mlflow.store.tracking.dbmodels import models as _tracking

    assert _registry
    assert _tracking
    words = ("artifact_location", "artifact_uri", "storage_location", "artifact_root", "source")
    found = {
        (table.name, column.name)
        for table in Base.metadata.tables.values()
        for column in table.columns
        if column.name.endswith(words)
    }
    rewritten = {(table, column) for table, column, key in artifact_uris.URI_COLUMNS if not key}
    elsewhere = {
        ("datasets", "dataset_source"),
        ("evaluation_dataset_records", "source"),
        ("mcp_server_versions", "source"),
        ("workspaces", "default_artifact_root"),  # loaded by some of MLflow's modules only
    }
    assert rewritten <= found
    assert found - rewritten <= elsewhere
