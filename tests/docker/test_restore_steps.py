"""The steps of a restore in the server's image, without a container: folders and SQLite files."""

import io
import os
import shutil

import boot
import migrate_database
import pytest
import restore
import sqlalchemy as sa
import stores
import unfinished
from bootlib import BootError

OLD = {
    "1/both/same.bin": b"same",
    "1/both/changed.bin": b"as the newer run has it",
    "1/newer/model.pkl": b"weights of a run that the dump does not know",
    "2/place": b"a file where the dump has a folder",
    "3/place/below": b"a folder where the dump has a file",
}
DUMP = {
    "1/both/same.bin": b"same",
    "1/both/changed.bin": b"as the dump has it, once",
    "1/dumped/model.pkl": b"weights of a run that is gone",
    "2/place/below": b"a folder",
    "3/place": b"a file",
}
AGAIN = "make restore STACK=dev FROM=/d YES=1"


def folder(path, files):
    path.mkdir()
    store = stores.FolderStore(path)
    for key, content in files.items():
        store.write(key, io.BytesIO(content))
    return store


def contents(store):
    found = {}
    for item in store.items():
        with store.open(item.key) as file:
            found[item.key] = file.read()
    return found


@pytest.fixture
def store(tmp_path, monkeypatch):
    made = folder(tmp_path / "store", OLD)
    folder(tmp_path / "dump", DUMP)
    monkeypatch.setenv("ARTIFACTS_URI", str(made.root))
    monkeypatch.setenv("SCRATCH", str(tmp_path))
    return made


def test_before_the_switch_nothing_is_changed_but_added(store, tmp_path, capsys):
    restore.add(tmp_path / "dump")
    assert contents(store) == {**OLD, "1/dumped/model.pkl": DUMP["1/dumped/model.pkl"]}
    assert "5 objects: 1 added, 3 to be replaced" in capsys.readouterr().out
    restore.take_back()
    assert contents(store) == OLD
    restore.take_back()


def test_after_the_switch_the_store_becomes_the_dump(store, tmp_path, capsys):
    restore.add(tmp_path / "dump")
    restore.finish(tmp_path / "dump")
    assert contents(store) == DUMP
    assert "5 objects, 3 replaced, 3 removed" in capsys.readouterr().out


class Killed(BaseException):
    """As by SIGKILL: nothing is done after it."""


@pytest.mark.parametrize("step", [restore.add, restore.finish])
@pytest.mark.parametrize("number", range(4))
def test_a_step_that_was_ended_is_finished_by_running_all_again(
    store, tmp_path, monkeypatch, step, number
):
    if step is restore.finish:
        restore.add(tmp_path / "dump")
    left, lock = [number], monkeypatch

    def counted(do):
        def method(*arguments):
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return do(*arguments)

        return method

    with lock.context() as patched:
        patched.setattr(restore, "THREADS", 1)
        for name in ("write", "delete"):
            patched.setattr(stores.FolderStore, name, counted(getattr(stores.FolderStore, name)))
        if step is restore.add and number:
            step(tmp_path / "dump")  # it writes but one
        else:
            with pytest.raises(Killed):
                step(tmp_path / "dump")
    if step is restore.add:
        assert {key: contents(store)[key] for key in OLD} == OLD
    restore.add(tmp_path / "dump")
    restore.finish(tmp_path / "dump")
    assert contents(store) == DUMP


def test_an_object_that_did_not_arrive_fails_the_step(store, tmp_path, monkeypatch):
    restore.add(tmp_path / "dump")
    write = stores.FolderStore.write
    monkeypatch.setattr(
        stores.FolderStore,
        "write",
        lambda self, key, content: write(self, key, io.BytesIO(content.read()[1:])),
    )
    with pytest.raises(BootError, match="objects of the dump are not in"):
        restore.finish(tmp_path / "dump")


@pytest.fixture(scope="module")
def mlflow_database(tmp_path_factory):
    """A database with MLflow's schema, which takes seconds to make."""
    import mlflow.store.db.utils as database

    file = tmp_path_factory.mktemp("schema") / "mlflow.db"
    engine = sa.create_engine(f"sqlite:///{file}")
    database._initialize_tables(engine)
    engine.dispose()
    return file


@pytest.fixture
def served(mlflow_database, tmp_path, monkeypatch):
    """A database in use."""
    file = shutil.copy(mlflow_database, tmp_path / "served.db")
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", f"sqlite:///{file}")
    monkeypatch.setenv("SCRATCH", str(tmp_path))
    engine = sa.create_engine(f"sqlite:///{file}")
    yield engine
    engine.dispose()


def experiment(engine, name):
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO experiments (name, lifecycle_stage, workspace) VALUES (:name, 'active', 'default')"
            ),
            {"name": name},
        )


def experiments(engine):
    with engine.connect() as connection:
        return set(
            connection.scalars(sa.text("SELECT name FROM experiments WHERE name != 'Default'"))
        )


def test_rows_and_that_it_has_not_ended_are_there_together_or_not_at_all(
    served, tmp_path, monkeypatch
):
    experiment(served, "dumped")
    migrate_database.save(tmp_path / "rows")
    experiment(served, "newer")
    monkeypatch.setenv(unfinished.COMMAND, AGAIN)
    with monkeypatch.context() as patched:
        patched.setattr(migrate_database, "_digest", lambda *_: {"rows": 0, "sha256": ""})
        with pytest.raises(BootError, match="does not hold"):
            migrate_database.load(tmp_path / "rows")
    assert experiments(served) == {"dumped", "newer"}
    assert not unfinished.found(served)

    migrate_database.load(tmp_path / "rows")

    assert experiments(served) == {"dumped"}
    assert unfinished.found(served) == AGAIN
    unfinished.clear(served)
    assert not unfinished.found(served)
    assert unfinished.TABLE not in sa.inspect(served).get_table_names()


def test_rows_of_an_import_leave_no_mark(served, tmp_path, monkeypatch):
    monkeypatch.delenv(unfinished.COMMAND, raising=False)
    migrate_database.save(tmp_path / "rows")
    migrate_database.load(tmp_path / "rows")
    assert unfinished.TABLE not in sa.inspect(served).get_table_names()


def test_no_server_starts_on_what_is_half_restored(served, monkeypatch):
    started = []
    monkeypatch.setattr(os, "execvp", lambda *words: started.append(words))
    monkeypatch.setattr(boot, "check_drivers", lambda: None)
    monkeypatch.setenv(unfinished.COMMAND, AGAIN)
    boot.serve(["mlflow"])
    assert started
    unfinished.make_table(served)
    with served.begin() as connection:
        unfinished.mark(connection)
    with pytest.raises(BootError, match=rf"has not ended.*Finish it: {AGAIN}"):
        boot.serve(["mlflow"])
    assert len(started) == 1


def test_a_database_beside_the_served_one_is_marked_and_the_served_one_is_not(
    served, mlflow_database, tmp_path, monkeypatch
):
    beside = shutil.copy(mlflow_database, tmp_path / "beside.db")
    monkeypatch.setenv(unfinished.COMMAND, AGAIN)
    restore.prepare(str(beside))
    other = sa.create_engine(f"sqlite:///{beside}")
    assert unfinished.found(other) == AGAIN
    other.dispose()
    assert not unfinished.found(served)
