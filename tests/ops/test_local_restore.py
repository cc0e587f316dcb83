"""A restore of the local runtime, ended at any moment: nothing of the old state is lost, or it is finished by running it again."""

import os
import shutil
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from tests.support import FULL

from pulumi_mlflow.local import backup, folder, supervision, unfinished

OLD = {
    "1/both/same.bin": b"same",
    "1/both/changed.bin": b"as the newer run has it",
    "1/newer/model.pkl": b"weights of a run that the dump does not know",
    "2/place": b"a file where the dump has a folder",
    "3/place/below": b"a folder where the dump has a file",
}
DUMP = {
    "1/both/same.bin": b"same",
    "1/both/changed.bin": b"as the dump has it",
    "1/dumped/model.pkl": b"weights of a run that is gone",
    "2/place/below": b"a folder",
    "3/place": b"a file",
}
CHANGES = {
    "open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.copyfile", "shutil.rmtree", "sqlite3.connect",
}  # fmt: skip


def write(root, files):
    for key, content in files.items():
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def read(root):
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.name != folder.MARKER
    }


def database(path, run):
    """A database that names its run; the name stands in the write-ahead log alone, as after a server that was killed."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA wal_autocheckpoint=0")
    connection.execute("CREATE TABLE runs (name TEXT)")
    connection.execute("INSERT INTO runs VALUES (?)", (run,))
    connection.commit()
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", f"{path}{suffix}.copy")
    connection.close()
    for suffix in ("", "-wal"):
        shutil.move(f"{path}{suffix}.copy", f"{path}{suffix}")


def run_of(path):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT name FROM runs").fetchall()


class Handover:
    again = "make restore STACK=local FROM=/d YES=1"

    def __init__(self, fails=False):
        self.done, self.fails = [], fails

    def carry(self):
        if self.fails:
            raise RuntimeError("the state is locked")
        self.done.append("carry")

    def up(self):
        self.done.append("up")


@pytest.fixture
def stack(tmp_path, monkeypatch):
    """A stack of the runtime without its server, and a dump."""
    calls = []
    monkeypatch.setattr(supervision, "stop", lambda _: calls.append("stop"))
    monkeypatch.setattr(supervision, "restart", lambda *_: calls.append("start"))

    class Stack:
        file, artifacts, dump = (
            tmp_path / "database" / "mlflow.db",
            tmp_path / "artifacts",
            tmp_path / "dump",
        )
        server = calls

        @property
        def ops(self):
            return {
                "engine": "sqlite",
                "database": str(self.file),
                "artifacts": str(self.artifacts),
                "server_folder": str(tmp_path / "server"),
                "url": "http://127.0.0.1:9",
                "ready_path": "/",
            }

        def make(self):
            for path in (self.file.parent, self.artifacts, self.dump):
                shutil.rmtree(path, ignore_errors=True)
                path.mkdir()
            (self.artifacts / folder.MARKER).write_text("{}")
            write(self.artifacts, OLD)
            database(self.file, "newer")
            write(self.dump / "artifacts", DUMP)
            with closing(sqlite3.connect(self.dump / "database.sqlite")) as dumped, dumped:
                dumped.execute("CREATE TABLE runs (name TEXT)")
                dumped.execute("INSERT INTO runs VALUES ('dumped')")

        def restore(self, handover=None):
            backup.restore(self.ops, self.dump, lambda _: None, handover or Handover())

        def is_old(self):
            found = read(self.artifacts)
            return (
                run_of(self.file) == [("newer",)]
                and {key: found.get(key) for key in OLD} == OLD
                and not unfinished.found(self.file)
            )

        def is_dump(self):
            return run_of(self.file) == [("dumped",)] and read(self.artifacts) == DUMP

    made = Stack()
    made.make()
    return made


def test_what_is_restored_is_the_dump(stack):
    handover = Handover()
    stack.restore(handover)
    assert stack.is_dump()
    assert (stack.artifacts / folder.MARKER).is_file()
    assert not unfinished.found(stack.file)
    assert handover.done == ["carry", "up"]


def killed_at(stack, number):
    """Restore in a process that is killed at its nth change of the disk; whether it was."""
    child = os.fork()
    if child == 0:
        left = number

        def hook(event, arguments):
            nonlocal left
            if event not in CHANGES or (event == "open" and arguments[1] in ("r", "rb")):
                return
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        try:
            stack.restore()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def test_killed_at_any_moment_it_has_lost_nothing_or_says_what_finishes_it(stack):
    number = 0
    seen = set()
    while True:
        number += 1 if FULL else 3
        stack.make()
        if not killed_at(stack, number):
            break
        unfinished_now = unfinished.found(stack.file)
        if unfinished_now:
            assert unfinished_now == Handover.again
            assert run_of(stack.file) == [("dumped",)]
        else:
            assert stack.is_old() or stack.is_dump(), number
        seen.add(bool(unfinished_now))
        stack.restore()
        assert stack.is_dump(), number
        assert not unfinished.found(stack.file)
    assert seen == {True, False}
    assert number > 20


def test_a_failure_before_the_switch_leaves_the_old_state_alone_and_serving(stack, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup, "_copy_database", full)
    with pytest.raises(OSError, match="No space left"):
        stack.restore()
    assert stack.is_old()
    assert read(stack.artifacts) == OLD
    assert stack.server[-1] == "start"


def test_a_failure_after_the_switch_starts_no_server_and_says_what_to_run(stack):
    with pytest.raises(
        backup.UnfinishedError, match=r"Half done.*make restore STACK=local FROM=/d"
    ):
        stack.restore(Handover(fails=True))
    assert "start" not in stack.server
    assert unfinished.found(stack.file) == Handover.again
    stack.restore()
    assert stack.is_dump()


def test_no_server_starts_on_what_is_half_restored(stack, monkeypatch):
    from pulumi_mlflow.local import migrate

    unfinished.mark(stack.file, Handover.again)
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", f"sqlite:///{stack.file}")
    with pytest.raises(SystemExit, match=r"a restore of this stack has not ended.*make restore"):
        migrate.main()


def test_a_dump_to_a_full_disk_ends_at_the_first_file(stack, monkeypatch, tmp_path):
    tried = []

    def full(source, target, **_):
        tried.append(source)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copy2", full)
    (tmp_path / "new").mkdir()
    with pytest.raises(OSError, match="No space left"):
        backup.dump(stack.ops, tmp_path / "new", lambda _: None)
    assert len(tried) == 1
    assert Path(tried[0]).is_file()
