"""A deployment of the compose kind, with an old schema in MySQL, goes into a stack with all its rows and objects.

MySQL 5.7 itself cannot be had on the machines that this is tested on. MySQL 8.0 stands for it here: the rows are read by
SQLAlchemy with pymysql, which speaks to both.
"""

import contextlib
import importlib
import io
import secrets
import sys

import boto3
import docker
import pytest
import sqlalchemy as sa
from tests.docker.builds import built
from tests.docker.stack import DEPLOYMENT, DockerStack, sweep
from tests.support import FULL, ROOT, until

pytestmark = [
    pytest.mark.docker,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        not FULL, reason="FULL=1: a deployment of its own is made and copied, which takes minutes"
    ),
]

REVISION = "0a8213491aaa"
"""Schema of MLflow 1.9: no tags of models, no inputs, no traces."""

RUNS = 12
PASSWORD = "s3ntinel+mysql/p@ss"
KEYS = ("sentinel-key", "sentinel-secret-key")
OBJECTS = {
    f"1/{i:032x}/artifacts/ä b/{i}.bin": secrets.token_bytes(10_000 + i) for i in range(RUNS)
}

COMPOSE = f"""
services:
  db:
    image: mysql:5.7
    environment: {{MYSQL_DATABASE: tracking, MYSQL_USER: ml, MYSQL_PASSWORD: "{PASSWORD}"}}
  s3:
    image: minio/minio
    environment: {{MINIO_ROOT_USER: {KEYS[0]}, MINIO_ROOT_PASSWORD: {KEYS[1]}}}
  web:
    image: mlflow
    environment:
      MLFLOW_S3_ENDPOINT_URL: http://s3:9000
      AWS_ACCESS_KEY_ID: {KEYS[0]}
      AWS_SECRET_ACCESS_KEY: {KEYS[1]}
    command: mlflow server --backend-store-uri mysql+pymysql://ml:s3ntinel%2Bmysql%2Fp%40ss@db/tracking --default-artifact-root s3://default/runs
"""


class Old:
    """A running deployment, whose containers only its own network reaches."""

    def __init__(self, client: docker.DockerClient, folder) -> None:
        self.client, self.folder = client, folder
        self.name = f"it{secrets.token_hex(4)}"
        self.file = folder / "docker-compose.yml"
        self.file.write_text(COMPOSE)
        self.network = client.networks.create(self.name, labels={DEPLOYMENT: self.name})
        # Our image reads the password from a file only.
        self.database = self._run(
            "db",
            built("mysql"),
            [
                "sh",
                "-c",
                'printf %s "$MYSQL_PASSWORD" > /tmp/pw && exec docker-entrypoint.sh mysqld',
            ],
            {
                "MYSQL_DATABASE": "tracking",
                "MYSQL_USER": "ml",
                "MYSQL_PASSWORD": PASSWORD,
                "MYSQL_PASSWORD_FILE": "/tmp/pw",
            },
            "/var/lib/mysql",
        )
        self.store = self._run("s3", built("versitygw"), ["versitygw", "--port", ":9000", "posix", "/data"], {
            "ROOT_ACCESS_KEY": KEYS[0], "ROOT_SECRET_KEY": KEYS[1],
        }, "/data")  # fmt: skip

    def _run(self, service, image, command, environment, data):
        return self.client.containers.run(
            image, command, name=f"{self.name}-{service}", environment=environment, detach=True, network=self.name,
            volumes=[data],
            labels={
                DEPLOYMENT: self.name, "com.docker.compose.service": service,
                "com.docker.compose.project.working_dir": str(self.folder),
            },
        )  # fmt: skip

    def address(self, container):
        container.reload()
        return container.attrs["NetworkSettings"]["Networks"][self.name]["IPAddress"]

    def fill(self) -> None:
        """Rows of an old schema, and the objects that they name."""
        self._fill_store()
        self._fill_database()

    def _fill_store(self) -> None:
        s3 = boto3.client(
            "s3", endpoint_url=f"http://{self.address(self.store)}:9000", region_name="us-east-1",
            aws_access_key_id=KEYS[0], aws_secret_access_key=KEYS[1],
        )  # fmt: skip
        until(s3.list_buckets, 60)
        s3.create_bucket(Bucket="default")
        for key, content in OBJECTS.items():
            s3.upload_fileobj(io.BytesIO(content), "default", f"runs/{key}")

    def _fill_database(self) -> None:
        engine = sa.create_engine(
            sa.URL.create(
                "mysql+pymysql", "ml", PASSWORD, self.address(self.database), 3306, "tracking"
            )
        )
        until(lambda: engine.connect().close() or True, 120)
        sys.path.insert(0, str(ROOT / "images" / "mlflow"))
        try:
            importlib.import_module("import_database")._make_schema(
                importlib.import_module("mlflow.store.db.utils"), engine, REVISION
            )
        finally:
            sys.path.pop(0)
        metadata = sa.MetaData()
        metadata.reflect(engine)
        with engine.begin() as connection:
            connection.execute(
                sa.text("SET SESSION sql_mode = CONCAT(@@sql_mode, ',NO_AUTO_VALUE_ON_ZERO')")
            )
            for table, rows in _rows().items():
                connection.execute(metadata.tables[table].insert(), rows)
        engine.dispose()

    def close(self) -> None:
        sweep(self.client, self.name)


def _rows():
    """What MLflow 1.9 would have written."""
    ids = [f"{i:032x}" for i in range(RUNS)]
    return {
        "experiments": [
            {"experiment_id": i, "name": f"old ä {i}", "artifact_location": f"s3://default/runs/{i}",
             "lifecycle_stage": "active"}
            for i in (0, 1)
        ],
        "runs": [
            {"run_uuid": run_id, "name": "", "source_type": "LOCAL", "source_name": "x", "entry_point_name": "",
             "user_id": "u", "status": "FINISHED", "start_time": 1_600_000_000_000 + i,
             "end_time": 1_600_000_001_000 + i, "source_version": "", "lifecycle_stage": "active", "experiment_id": 1,
             "artifact_uri": f"s3://default/runs/1/{run_id}/artifacts"}
            for i, run_id in enumerate(ids)
        ],
        "params": [{"key": "p", "value": "ü 🙂"[:3], "run_uuid": run_id} for run_id in ids],
        "tags": [{"key": "mlflow.note.content", "value": "note", "run_uuid": run_id} for run_id in ids],
        "metrics": [
            {"key": "loss", "value": 1 / (step + 3), "timestamp": 1_600_000_000_000 + step, "step": step,
             "run_uuid": run_id, "is_nan": False}
            for run_id in ids for step in range(50)
        ],
        "latest_metrics": [
            {"key": "loss", "value": 1 / 52, "timestamp": 1_600_000_000_049, "step": 49, "run_uuid": run_id,
             "is_nan": False}
            for run_id in ids
        ],
    }  # fmt: skip


@pytest.fixture(scope="module")
def old(client, tmp_path_factory):
    deployment = Old(client, tmp_path_factory.mktemp("old"))
    try:
        deployment.fill()
        yield deployment
    finally:
        deployment.close()


@pytest.fixture(scope="module")
def stack(client, tmp_path_factory):
    made = DockerStack(client, tmp_path_factory.mktemp("stack") / "project")
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
            assert run.data.params == {"p": "ü 🙂"[:3]}
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
        for key, content in OBJECTS.items()
    }


def test_a_deployment_that_is_gone_is_named_with_what_to_do(stack, old, tmp_path):
    elsewhere = tmp_path / "docker-compose.yml"
    elsewhere.write_text(COMPOSE)
    output = stack.cli("import-compose", str(elsewhere), "--with-data", "--yes", ok=False)
    assert "service 's3': no running container" in output
    assert "--store-at" in output
    assert stack.session().get(f"{stack.url}/version", timeout=10).ok


def test_every_row_and_object_comes_along_twice_the_same(stack, old, tmp_path):
    output = stack.cli("import-compose", str(old.file), "--with-data", "--yes")
    assert f"other database, schema {REVISION}: " in output
    assert f"{len(OBJECTS)} objects" in output
    check(stack, tmp_path / "first")

    again = stack.cli("import-compose", str(old.file), "--with-data", "--yes")

    check(stack, tmp_path / "second")
    for secret in (PASSWORD, "s3ntinel", *KEYS):
        assert secret not in output + again
        for container in stack.containers().values():
            assert secret not in str(container.attrs)
    # The old one was only read.
    code, printed = old.database.exec_run(
        [
            "sh",
            "-c",
            'mysql -h 127.0.0.1 -u ml -p"$MYSQL_PASSWORD" -N -e "SELECT version_num FROM tracking.alembic_version"',
        ]
    )
    assert (code, printed.decode().strip().splitlines()[-1]) == (0, REVISION)
    stack.unchanged()
