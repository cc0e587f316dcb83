"""What the server image does besides serving: checks its drivers, migrates, makes the bucket, copies artifacts.

Runs inside the image, with MLflow and its drivers but without pulumi_mlflow. Settings come by environment, secrets too
(entrypoint.sh put them there), so that none of them stands in an argument list.
"""

import argparse
import contextlib
import http
import importlib
import os
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DRIVERS = {"postgresql+psycopg2": "psycopg2", "mysql+pymysql": "pymysql", "sqlite": "sqlite3"}
"""SQLAlchemy dialect → module that it needs."""

REFUSED_LOGIN = ("password authentication failed", "Access denied for user")
"""How PostgreSQL and MySQL say that waiting will not help."""

MIGRATION_LOCK = 5_381_072_606
"""Key of the PostgreSQL advisory lock that one migration holds; any constant of our own will do."""


class BootError(Exception):
    """Ends the program with its message and exit code 1."""


def _environment(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise BootError(
            f"{name} is not set; the server image expects it from its configuration volume"
        )
    return value


def _wait(what: str, attempt: Any, seconds: float) -> Any:
    """Call `attempt` until it succeeds, for at most `seconds`; say each new reason why it does not."""
    deadline = time.monotonic() + seconds
    said = ""
    while True:
        try:
            return attempt()
        except BootError:
            raise
        except Exception as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
            if reason != said:
                print(f"waiting for {what}: {reason}", flush=True)
                said = reason
            if time.monotonic() > deadline:
                raise BootError(
                    f"{what} did not answer within {seconds:.0f} s: {reason}"
                ) from error
            time.sleep(1)


def check_drivers() -> None:
    """Refuse to start without the driver that the database URI names: MLflow itself would fail much later."""
    dialect = _environment("MLFLOW_BACKEND_STORE_URI").split(":", 1)[0]
    module = DRIVERS.get(dialect)
    if module is None:
        raise BootError(f"MLFLOW_BACKEND_STORE_URI: '{dialect}' is none of {', '.join(DRIVERS)}")
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise BootError(f"this image lacks '{module}', which '{dialect}' needs: {error}") from error


@contextlib.contextmanager
def _migration_lock(engine: Any) -> Iterator[None]:
    """Hold the database's advisory lock: MLflow takes none between processes (mlflow#23538)."""
    from sqlalchemy import text

    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
        elif engine.dialect.name == "mysql":
            connection.execute(text("SELECT GET_LOCK('pulumi-mlflow-migration', 600)"))
        yield


def migrate() -> None:
    """Bring the schema to this MLflow's version; refuses a schema that a newer MLflow has written."""
    check_drivers()
    import sqlalchemy
    from alembic.script import ScriptDirectory

    database: Any = importlib.import_module("mlflow.store.db.utils")
    uri = _environment("MLFLOW_BACKEND_STORE_URI")
    engine = sqlalchemy.create_engine(uri, pool_pre_ping=True)

    def reachable() -> None:
        try:
            engine.connect().close()
        except sqlalchemy.exc.OperationalError as error:
            if any(words in str(error.orig) for words in REFUSED_LOGIN):
                raise BootError(
                    f"the database refuses the login: {str(error.orig).strip()}\nIts data was made with another "
                    "password, as after a lost state: docs/runbooks/lost-passphrase.md says how to go on"
                ) from error
            raise

    _wait("the database", reachable, float(os.environ.get("WAIT_SECONDS", "60")))
    with _migration_lock(engine):
        if database._is_empty_database(engine):
            database._initialize_tables(engine)
        else:
            before = database._get_schema_version(engine)
            known = ScriptDirectory.from_config(database._get_alembic_config(""))
            if before not in {script.revision for script in known.walk_revisions()}:
                raise BootError(
                    f"the database has schema {before}, which MLflow {_mlflow_version()} does not know: a newer "
                    "MLflow wrote it. Run that version, or restore a dump from before the upgrade"
                )
            database._upgrade_db(engine)
        database._verify_schema(engine)
        print(f"schema {database._get_schema_version(engine)}, MLflow {_mlflow_version()}")


def _mlflow_version() -> str:
    from importlib.metadata import version

    return version("mlflow")


def _s3() -> Any:
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=os.environ.get("MLFLOW_S3_ENDPOINT_URL") or None,
        config=Config(
            signature_version="s3v4",
            connect_timeout=5,
            read_timeout=60,
            retries={"max_attempts": 2},
        ),
    )


def bucket() -> None:
    """Make the bucket if it is not there, and prove that the keys may write, read and delete in it."""
    from botocore.exceptions import ClientError

    name = _environment("BUCKET")
    client = _s3()

    def reachable() -> None:
        try:
            client.list_buckets()
        except ClientError as error:
            # It answers, and waiting does not help. An unknown key is 403 in S3, and 404 in versitygw.
            if (
                error.response["ResponseMetadata"]["HTTPStatusCode"]
                < http.HTTPStatus.INTERNAL_SERVER_ERROR
            ):
                raise BootError(f"the store refuses the keys: {error}") from error
            raise

    try:
        _wait("the store", reachable, float(os.environ.get("WAIT_SECONDS", "60")))
    except BootError as error:
        raise BootError(f"bucket {name}: {error}") from error
    try:
        client.create_bucket(Bucket=name)
        print(f"bucket {name}: made")
    except ClientError as error:
        if error.response["Error"]["Code"] not in (
            "BucketAlreadyOwnedByYou",
            "BucketAlreadyExists",
        ):
            raise BootError(f"bucket {name}: {error}") from error
        print(f"bucket {name}: was there")
    key = ".pulumi-mlflow-check"
    try:
        client.put_object(Bucket=name, Key=key, Body=b"ok")
        if client.get_object(Bucket=name, Key=key)["Body"].read() != b"ok":
            raise BootError(f"bucket {name}: does not give back what was written")
        client.delete_object(Bucket=name, Key=key)
    except ClientError as error:
        raise BootError(
            f"bucket {name}: the keys may not write, read and delete: {error}"
        ) from error


def health() -> None:
    """Ask the server itself whether it is alive; for the container's health check."""
    with urllib.request.urlopen(_environment("HEALTH_URL"), timeout=5) as answer:
        if answer.status != http.HTTPStatus.OK:
            raise BootError(f"health: HTTP {answer.status}")


def serve(argv: list[str]) -> None:
    """Check the drivers, then become the server."""
    check_drivers()
    os.execvp(argv[0], argv)


def _objects(client: Any, name: str) -> Iterator[str]:
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=name):
        for item in page.get("Contents", []):
            yield item["Key"]


def dump_artifacts(folder: Path) -> None:
    """Copy every object of the bucket to a folder."""
    client, name, count = _s3(), _environment("BUCKET"), 0
    for key in _objects(client, name):
        target = (folder / key).resolve()
        if folder.resolve() not in target.parents:
            raise BootError(f"bucket {name}: key {key!r} leaves the folder")
        if key.endswith("/"):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        client.download_file(name, key, str(target))
        count += 1
    print(f"{count} objects")


def restore_artifacts(folder: Path) -> None:
    """Make the bucket hold exactly what the folder holds."""
    client, name = _s3(), _environment("BUCKET")
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    for key, path in files.items():
        client.upload_file(str(path), name, key)
    stale = [key for key in _objects(client, name) if key not in files]
    for key in stale:
        client.delete_object(Bucket=name, Key=key)
    print(f"{len(files)} objects, {len(stale)} removed")


def main() -> int:
    """Run one command; print an error's message instead of its traceback."""
    parser = argparse.ArgumentParser(prog="boot")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("migrate", "bucket", "health"):
        commands.add_parser(name)
    for name in ("dump-artifacts", "restore-artifacts"):
        commands.add_parser(name).add_argument("folder", type=Path)
    commands.add_parser("serve").add_argument("argv", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    try:
        if arguments.command == "serve":
            serve(arguments.argv)
        elif arguments.command == "dump-artifacts":
            dump_artifacts(arguments.folder)
        elif arguments.command == "restore-artifacts":
            restore_artifacts(arguments.folder)
        else:
            {"migrate": migrate, "bucket": bucket, "health": health}[arguments.command]()
    except BootError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
