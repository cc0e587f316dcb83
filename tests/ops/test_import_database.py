"""The rows of an old SQLite file become those that a stack loads; nothing of it is written to."""

import importlib
import json
import sqlite3
import sys

import pytest
import sqlalchemy as sa
from tests.docker.old import NOTE, REVISION, RUNS, fill
from tests.support import ROOT

from pulumi_mlflow.ops import import_data
from pulumi_mlflow.ops.errors import OpsError


@pytest.fixture
def import_database(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "images" / "mlflow")
    yield importlib.import_module("import_database")
    for name in ("import_database", "migrate_database", "bootlib"):
        sys.modules.pop(name, None)


def test_a_sqlite_file_is_read_with_its_old_schema(import_database, tmp_path, capsys):
    old = tmp_path / "old.sqlite"
    fill(sa.create_engine(f"sqlite:///{old}"), "/mlflow/artifacts")
    old.chmod(0o444)
    before = old.read_bytes()
    uri = tmp_path / "uri"
    uri.write_text(f"sqlite:///{old}")
    import_database.save(uri, tmp_path / "copy")
    assert f"other database, schema {REVISION}: " in capsys.readouterr().out
    assert old.read_bytes() == before
    assert json.loads((tmp_path / "copy" / "rows.json").read_text())["tables"]
    with sqlite3.connect(tmp_path / "copy" / "database.sqlite") as copy:
        assert copy.execute("SELECT count(*) FROM runs").fetchone() == (RUNS,)
        assert copy.execute("SELECT DISTINCT value FROM params").fetchone() == (NOTE,)


def test_what_stands_beside_a_sqlite_file_is_taken_into_it(tmp_path):
    """So a server in WAL mode leaves it when it is killed."""
    original = tmp_path / "original"
    writer = sqlite3.connect(original)
    writer.execute("PRAGMA journal_mode=WAL")
    writer.execute("CREATE TABLE t AS SELECT 1 AS x")
    writer.commit()
    copy = tmp_path / "copy"
    copy.write_bytes(original.read_bytes())
    (tmp_path / "copy-wal").write_bytes((tmp_path / "original-wal").read_bytes())
    writer.close()
    import_data._close_sqlite(copy)
    assert not (tmp_path / "copy-wal").exists()
    with sqlite3.connect(f"file:{copy}?immutable=1", uri=True) as alone:
        assert alone.execute("SELECT x FROM t").fetchone() == (1,)


def test_a_file_that_is_no_sqlite_is_refused(tmp_path):
    (tmp_path / "x").write_text("no database" * 1000)
    with pytest.raises(OpsError, match="SQLite file cannot be read"):
        import_data._close_sqlite(tmp_path / "x")
