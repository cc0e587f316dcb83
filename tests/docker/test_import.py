"""Old deployments go into stacks of their own settings, with all rows and artifacts.

The first is the set-up from which all this began: MySQL 5.7 and MinIO, artifacts through the server, nginx's network.
"""

import contextlib
import io
import sqlite3
import tarfile

import pytest
import sqlalchemy as sa
import yaml
from tests.docker.builds import built
from tests.docker.old import ARTIFACTS, KEYS, NOTE, PASSWORD, REVISION, RUNS, Old, fill
from tests.docker.stack import DEPLOYMENT, DockerStack, new_name, sweep
from tests.support import FULL, free_port

STORE = "minio"
"""Of the old deployment and of the stack; `versitygw` is the same without 12 min of building it."""

pytestmark = [
    pytest.mark.docker,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        not FULL, reason="FULL=1: MinIO is built, and deployments are made and copied: minutes"
    ),
]

SQLITE = """
services:
  mlflow:
    image: ghcr.io/mlflow/mlflow:v2.0.1
    ports: ["127.0.0.1:{port}:5000"]
    volumes: ["mlflow-data:/mlflow"]
    working_dir: /mlflow
    command: mlflow server --host 0.0.0.0 --backend-store-uri sqlite:///mlflow.db --artifacts-destination /mlflow/artifacts
volumes: {{mlflow-data: }}
"""


def stack_of(client, folder, file):
    """A stack with the settings that a compose file becomes; not up yet."""
    made = DockerStack(client, folder / "project")
    printed = made.run("pulumi-mlflow", "import-compose", str(file), "-s", "imported", ok=None)
    written = made.folder / "Pulumi.imported.yaml"
    assert written.is_file(), printed
    config = yaml.safe_load(written.read_text())["config"]
    made.settings = {key.removeprefix("mlflow:"): value for key, value in config.items()}
    made.configure(made.settings)
    return made


@pytest.fixture(scope="module")
def old(client, tmp_path_factory):
    deployment = Old(client, tmp_path_factory.mktemp("old"), STORE)
    try:
        deployment.fill()
        yield deployment
    finally:
        deployment.close()


@pytest.fixture(scope="module")
def stack(client, old, tmp_path_factory):
    made = stack_of(client, tmp_path_factory.mktemp("stack"), old.file)
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(made.close)
        made.up()
        yield made


def check(stack, folder):
    """Every run with all that belongs to it, and every artifact byte by byte, through the front door."""
    with stack.mlflow() as client:
        experiment = client.get_experiment_by_name("old ä 1")
        found = client.search_runs([experiment.experiment_id], max_results=100)
        assert {run.info.run_id for run in found} == {f"{i:032x}" for i in range(RUNS)}
        for run in found:
            assert run.data.params == {"p": NOTE}
            assert run.data.tags["mlflow.note.content"] == "note"
            assert run.data.metrics["loss"] == 1 / 52
            client.download_artifacts(run.info.run_id, "", str(folder / run.info.run_id))
        history = client.get_metric_history(found[0].info.run_id, "loss")
        assert sorted((m.step, m.value) for m in history) == [(i, 1 / (i + 3)) for i in range(50)]
        new = client.create_run(experiment.experiment_id)
        client.log_text(new.info.run_id, "x", "new.txt")
        client.delete_run(new.info.run_id)
    files = {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
    assert files == {
        folder.joinpath(key.split("/")[1], *key.split("/")[3:]).relative_to(folder): content
        for key, content in ARTIFACTS.items()
    }


def test_the_stack_is_as_the_old_deployment_was(stack, old):
    settings = stack.settings
    assert settings["database"] == {
        "engine": "mysql", "name": "tracking", "username": "ml", **settings["database"],
    }  # fmt: skip
    assert "existing" not in settings["database"]
    artifacts = {"store": STORE, "bucket": "default", "mode": "proxied"}
    if STORE == "minio":
        artifacts["console_port"] = old.ports["console_port"]
    assert settings["artifacts"] == artifacts
    assert settings["network"] == {"existing": old.external}
    assert settings["access"]["port"] == old.ports["port"]
    assert stack.session().get(f"{stack.url}/version", timeout=10).ok
    assert stack.containers()["proxy"].name in {
        container.name for container in stack.client.networks.get(old.external).containers
    }


def test_a_deployment_that_is_gone_is_named_with_what_to_do(stack, old, tmp_path):
    elsewhere = old.write(STORE, tmp_path)
    output = stack.cli("import-compose", str(elsewhere), "--with-data", "--yes", ok=False)
    assert "service 's3': no running container" in output
    assert "--store-at" in output
    assert stack.session().get(f"{stack.url}/version", timeout=10).ok


def test_every_row_and_object_comes_along_twice_the_same(stack, old, tmp_path):
    assert str(old.query("SELECT version()")[0][0]).startswith("5.7.")
    output = stack.cli("import-compose", str(old.file), "--with-data", "--yes")
    assert f"other database, schema {REVISION}: " in output
    assert f"{len(ARTIFACTS)} objects" in output
    check(stack, tmp_path / "first")

    again = stack.cli("import-compose", str(old.file), "--with-data", "--yes")

    check(stack, tmp_path / "second")
    for secret in (PASSWORD, "s3ntinel", *KEYS):
        assert secret not in output + again
        for container in stack.containers().values():
            assert secret not in str(container.attrs)
    # The old one was only read.
    assert old.query("SELECT version_num FROM alembic_version") == [(REVISION,)]
    assert old.query("SELECT count(*) FROM runs") == [(RUNS,)]
    stack.unchanged()


@pytest.fixture
def files(client, tmp_path):
    """A compose project whose server has a SQLite file and a folder in a volume; all of it root's alone."""
    name = new_name()
    file = tmp_path / "compose.yml"
    file.write_text(SQLITE.format(port=free_port()))
    database = tmp_path / "mlflow.db"
    fill(sa.create_engine(f"sqlite:///{database}"), "/mlflow/artifacts")
    with contextlib.closing(sqlite3.connect(database)) as opened:
        opened.execute(
            "PRAGMA journal_mode=WAL"
        )  # what a killed server leaves beside it counts too
    contents = {"mlflow.db": database.read_bytes()}
    contents |= {f"artifacts/{key}": content for key, content in ARTIFACTS.items()}
    spool = io.BytesIO()
    with tarfile.open(fileobj=spool, mode="w") as archive:
        for path, content in contents.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(content), 0o600
            archive.addfile(member, io.BytesIO(content))
    client.volumes.create(name, labels={DEPLOYMENT: name})
    container = client.containers.create(
        built("versitygw"),
        entrypoint=["sleep", "600"],
        name=name,
        working_dir="/mlflow",
        volumes=[f"{name}:/mlflow"],
        labels={
            DEPLOYMENT: name,
            "com.docker.compose.service": "mlflow",
            "com.docker.compose.project.working_dir": str(tmp_path),
        },
    )
    try:
        container.put_archive("/mlflow", spool.getvalue())
        yield file, container
    finally:
        sweep(client, name)


def test_a_sqlite_file_and_a_folder_come_along(client, files, tmp_path):
    file, container = files
    stack = stack_of(client, tmp_path, file)
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(stack.close)
        stack.up()
        container.start()
        refused = stack.cli("import-compose", str(file), "--with-data", "--yes", ok=False)
        assert "stop it: docker compose stop mlflow" in refused
        container.kill()
        container.wait()
        output = stack.cli("import-compose", str(file), "--with-data", "--yes")
        assert f"other database, schema {REVISION}: " in output
        assert f"{len(ARTIFACTS)} objects" in output
        check(stack, tmp_path / "found")
