"""Deployments of the compose kind, with an old schema and artifacts, that tests import from.

Their database is MySQL 5.7 itself, as in the set-up from which all this began: `setup.py tool mysql-5.7`.
"""

import importlib
import io
import secrets
import sys
from pathlib import Path
from typing import Any

import boto3
import docker
import sqlalchemy as sa
from docker.models.containers import Container
from tests.docker.builds import built
from tests.docker.stack import DEPLOYMENT, sweep
from tests.support import ROOT, free_port, tool, until

from pulumi_mlflow.core.store_server import store_program

REVISION = "bd07f7e963c5"
"""Schema of MLflow 1.26: no inputs, no traces, no logged models."""

RUNS = 12
PASSWORD = "s3ntinel+mysql/p@ss"
KEYS = ("sentinel-key", "sentinel-secret-key")
NOTE = "ü €"
"""In MySQL 5.7's `utf8`, which has no characters of four bytes."""

ARTIFACTS = {
    f"1/{i:032x}/artifacts/ä b/{i}.bin": secrets.token_bytes(10_000 + i) for i in range(RUNS)
}
"""Path below the artifacts' root → content."""

_COMPOSE = """
services:
  s3:
    image: {image}
    command: {command}
    ports: ["{store_port}:9000", "{console_port}:9001"]
    environment: {{MINIO_ROOT_USER: {key}, MINIO_ROOT_PASSWORD: {secret}}}
  db:
    image: mysql:5.7
    environment: {{MYSQL_DATABASE: tracking, MYSQL_USER: ml, MYSQL_PASSWORD: "{password}"}}
  web:
    image: mlflow
    ports: ["127.0.0.1:{port}:5000"]
    networks: [default, proxy]
    environment: {{MLFLOW_S3_ENDPOINT_URL: "http://s3:9000", AWS_ACCESS_KEY_ID: {key}, AWS_SECRET_ACCESS_KEY: {secret}}}
    command: >
      mlflow server --host 0.0.0.0 --artifacts-destination s3://default/runs
      --backend-store-uri mysql+pymysql://ml:s3ntinel%2Bmysql%2Fp%40ss@db/tracking
networks:
  proxy: {{external: true, name: {network}}}
"""
_SERVER = "--no-defaults --basedir=/opt/mysql57 --datadir=/var/lib/mysql"
_START = f"""
printf '%s' "$INIT" > /tmp/init.sql
mysqld=/opt/mysql57/bin/mysqld
$mysqld {_SERVER} --initialize-insecure
exec $mysqld {_SERVER} --init-file=/tmp/init.sql --socket=/tmp/mysql.sock --innodb-buffer-pool-size=32M
"""
_INIT = f"""CREATE DATABASE tracking CHARACTER SET utf8;
CREATE USER 'ml'@'%' IDENTIFIED BY '{PASSWORD}';
GRANT ALL ON tracking.* TO 'ml'@'%';
"""


class Old:
    """A running deployment, whose containers only its own network reaches.

    Args:
        client: the engine.
        folder: for the compose file.
        store: `minio` or `versitygw`.
    """

    def __init__(self, client: docker.DockerClient, folder: Path, store: str) -> None:
        self.client, self.folder = client, folder
        self.name = f"it{secrets.token_hex(4)}"
        self.external = f"nginx_network_{self.name}"
        for network in (self.name, self.external):
            client.networks.create(network, labels={DEPLOYMENT: self.name})
        self.file = folder / "docker-compose.yml"
        self.ports = {name: free_port() for name in ("port", "store_port", "console_port")}
        self.write(store)
        self.database = self._run(
            "db",
            built("mysql"),
            ["sh", "-euc", _START],
            {"INIT": _INIT},
            ["/var/lib/mysql", f"{tool('mysql-5.7')}:/opt/mysql57:ro"],
        )
        program = store_program(store)
        environment = {"MINIO_ROOT_USER": KEYS[0], "MINIO_ROOT_PASSWORD": KEYS[1]}
        if store == "versitygw":
            environment = {"ROOT_ACCESS_KEY": KEYS[0], "ROOT_SECRET_KEY": KEYS[1]}
        self.store = self._run(
            "s3",
            built(store),
            program.command,
            {**program.environment, **environment},
            [program.data_path],
        )

    def write(self, store: str, folder: Path | None = None) -> Path:
        """Write the compose file, into another folder where one is given."""
        file = (folder or self.folder) / self.file.name
        minio = store == "minio"
        file.write_text(
            _COMPOSE.format(
                image="minio/minio" if minio else "versity/versitygw",
                command='server /data --console-address ":9001"' if minio else "posix /data",
                key=KEYS[0],
                secret=KEYS[1],
                password=PASSWORD,
                network=self.external,
                **self.ports,
            )
        )
        return file

    def _run(
        self,
        service: str,
        image: str,
        command: list[str],
        environment: dict[str, str],
        volumes: list[str],
    ) -> Container:
        return self.client.containers.run(
            image,
            entrypoint=command[:1],
            command=command[1:],
            name=f"{self.name}-{service}",
            environment=environment,
            detach=True,
            network=self.name,
            volumes=volumes,
            labels={
                DEPLOYMENT: self.name,
                "com.docker.compose.service": service,
                "com.docker.compose.project.working_dir": str(self.folder),
            },
        )

    def address(self, container: Container) -> str:
        """A container's address on the deployment's own network."""
        container.reload()
        return str(container.attrs["NetworkSettings"]["Networks"][self.name]["IPAddress"])

    def query(self, text: str) -> list[tuple[object, ...]]:
        """Rows of the database, as its user sees them."""
        engine = self._engine()
        try:
            with engine.connect() as connection:
                return [tuple(row) for row in connection.execute(sa.text(text))]
        finally:
            engine.dispose()

    def _engine(self) -> sa.Engine:
        host = self.address(self.database)
        return sa.create_engine(
            sa.URL.create("mysql+pymysql", "ml", PASSWORD, host, 3306, "tracking")
        )

    def fill(self) -> None:
        """Rows of an old schema, and the objects that they name."""
        self._fill_store()
        self._fill_database()

    def _fill_store(self) -> None:
        s3 = boto3.client(
            "s3",
            endpoint_url=f"http://{self.address(self.store)}:9000",
            region_name="us-east-1",
            aws_access_key_id=KEYS[0],
            aws_secret_access_key=KEYS[1],
        )
        until(s3.list_buckets, 60)
        s3.create_bucket(Bucket="default")
        for key, content in ARTIFACTS.items():
            s3.upload_fileobj(io.BytesIO(content), "default", f"runs/{key}")

    def _fill_database(self) -> None:
        engine = self._engine()
        until(lambda: engine.connect().close() or True, 120)
        fill(engine, "s3://default/runs")

    def close(self) -> None:
        """Nothing of it stays on the engine."""
        sweep(self.client, self.name)


def fill(engine: sa.Engine, root: str) -> None:
    """Make an old schema in an empty database, and rows as that MLflow would have written them.

    Args:
        engine: the database.
        root: of the artifacts.
    """
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
        if engine.dialect.name == "mysql":
            connection.execute(
                sa.text("SET SESSION sql_mode = CONCAT(@@sql_mode, ',NO_AUTO_VALUE_ON_ZERO')")
            )
        for table, rows in _rows(root).items():
            connection.execute(metadata.tables[table].insert(), rows)
    engine.dispose()


def _rows(root: str) -> dict[str, list[dict[str, Any]]]:
    """Half of the runs are of a time before the server handed artifacts on, and name the store itself."""
    ids = [f"{i:032x}" for i in range(RUNS)]
    return {
        "experiments": [
            {"experiment_id": i, "name": f"old ä {i}", "artifact_location": f"{root}/{i}",
             "lifecycle_stage": "active"}
            for i in (0, 1)
        ],
        "runs": [
            {"run_uuid": run_id, "name": "", "source_type": "LOCAL", "source_name": "x", "entry_point_name": "",
             "user_id": "u", "status": "FINISHED", "start_time": 1_600_000_000_000 + i,
             "end_time": 1_600_000_001_000 + i, "source_version": "", "lifecycle_stage": "active", "experiment_id": 1,
             "artifact_uri": f"{root if i % 2 else 'mlflow-artifacts:'}/1/{run_id}/artifacts"}
            for i, run_id in enumerate(ids)
        ],
        "params": [{"key": "p", "value": NOTE, "run_uuid": run_id} for run_id in ids],
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
