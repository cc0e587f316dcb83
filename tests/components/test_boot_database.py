"""What the migration says of a database that is not MLflow's, or where it may do nothing; real servers in tests/docker."""

import boot
import pytest
import sqlalchemy as sa
from bootlib import BootError


@pytest.fixture
def database(tmp_path, monkeypatch):
    """A file that the image's migration is pointed to."""
    uri = f"sqlite:///{tmp_path / 'file.db'}"
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", uri)
    monkeypatch.setenv("WAIT_SECONDS", "1")
    monkeypatch.setattr(boot.artifacts, "check_scratch", lambda: None)
    engine = sa.create_engine(uri)
    yield engine
    engine.dispose()


def run(engine, *statements):
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def tables(engine):
    return set(sa.inspect(engine).get_table_names())


MLFLOWS = [f"CREATE TABLE {name} (x INT)" for name in ("experiments", "metrics", "params", "runs")]
VERSIONS = "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"


def version(number):
    return f"INSERT INTO alembic_version VALUES ('{number}')"


def test_another_programs_tables_are_not_taken_for_a_newer_mlflow(database):
    run(database, "CREATE TABLE dag_run (id INT)", VERSIONS, version("22ed7efa9da2"))
    with pytest.raises(BootError) as refused:
        boot.migrate()
    said = str(refused.value)
    assert "newer MLflow" not in said
    for words in ("another program", "dag_run", "22ed7efa9da2", "mlflow:database.name"):
        assert words in said
    assert tables(database) == {"dag_run", "alembic_version"}


def test_a_version_without_tables_is_another_programs_too(database):
    run(database, VERSIONS, version("22ed7efa9da2"))
    with pytest.raises(BootError, match="another program"):
        boot.migrate()
    assert tables(database) == {"alembic_version"}


def test_tables_without_a_version_are_another_programs(database):
    run(database, "CREATE TABLE users (id INT)", "CREATE TABLE orders (id INT)")
    with pytest.raises(BootError, match=r"another program.*orders, users"):
        boot.migrate()
    assert tables(database) == {"users", "orders"}


def test_a_version_shared_with_another_program_is_told(database):
    run(database, *MLFLOWS, VERSIONS, version("451aebb31d03"), version("22ed7efa9da2"))
    with pytest.raises(BootError, match=r"another program.*22ed7efa9da2"):
        boot.migrate()


def test_a_newer_mlflow_is_still_told(database):
    run(database, *MLFLOWS, VERSIONS, version("ffffffffffff"))
    with pytest.raises(BootError, match="newer MLflow"):
        boot.migrate()


def test_a_first_migration_that_was_killed_is_finished(database, capsys):
    """MLflow makes its first tables before it writes any version."""
    from mlflow.store.tracking.dbmodels.initial_models import Base

    Base.metadata.create_all(database)
    boot.migrate()
    assert "alembic_version" in tables(database)
    assert "registered_models" in tables(database)
    assert "schema " in capsys.readouterr().out
    boot.migrate()
