"""What is done to a server's data beside serving: a copy of the database, and the end of what was deleted.

Runs inside the image, like boot.py.
"""

import argparse
import datetime as dt
import importlib
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import artifacts
import boot
import migrate_database
import transfer
from bootlib import BootError, client_environment, environment
from stores import FolderStore, open_store


def backup() -> None:
    """Copy the rows of the database, as of one moment, to a new place below BACKUP_URI; read back and compared.

    Raises:
        BootError: the schema is not this MLflow's, or what was written is not what was read.
    """
    boot.check_drivers()
    target_uri = f"{environment('BACKUP_URI').rstrip('/')}/{_now():%Y-%m-%dT%H-%M-%SZ}"
    artifacts.check_driver(target_uri)
    folder = Path(environment("SCRATCH")) / "backup"
    shutil.rmtree(folder, ignore_errors=True)
    rows = folder / "database"
    rows.mkdir(parents=True)
    migrate_database.save(rows)
    target = open_store({**os.environ, "ARTIFACTS_URI": target_uri})
    transfer.copy(FolderStore(rows), target, folder / "compared.sqlite")
    shutil.rmtree(folder)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def gc(older_than: str, *, dry_run: bool = False) -> None:
    """Delete for good what users deleted: runs, experiments and models, with their artifacts.

    Args:
        older_than: how long ago that must be, such as `30d`.
        dry_run: whether to say what would go, and delete nothing.

    Raises:
        BootError: `older_than` is no time.
    """
    milliseconds = _milliseconds(older_than)
    boot.check_drivers()
    client_environment()
    if dry_run:
        _print_deleted(milliseconds)
        return
    cli: Any = importlib.import_module("mlflow.cli")
    # Called, not started as a program: its database's URI would stand in the argument list.
    cli.gc.main(
        args=[
            "--older-than",
            older_than,
            "--backend-store-uri",
            environment("MLFLOW_BACKEND_STORE_URI"),
            "--tracking-uri",
            environment("MLFLOW_TRACKING_URI"),
        ],
        standalone_mode=False,
    )


def _milliseconds(text: str) -> int:
    found = re.fullmatch(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    if not text or found is None:
        raise BootError(
            f"older-than: must be days, hours, minutes or seconds, such as 30d (got {text!r})"
        )
    seconds = (86_400, 3600, 60, 1)
    return 1000 * sum(int(n or 0) * each for n, each in zip(found.groups(), seconds, strict=True))


def _print_deleted(milliseconds: int) -> None:
    """Say what `gc` would delete, a line each: experiments with their names, runs and models with their ids."""
    from mlflow.entities import ViewType

    stores: Any = importlib.import_module("mlflow.store.tracking.sqlalchemy_store")
    store = stores.SqlAlchemyStore(environment("MLFLOW_BACKEND_STORE_URI"), "mlflow-artifacts:/")
    before = int(_now().timestamp() * 1000) - milliseconds
    token = None
    while True:
        page = store.search_experiments(
            view_type=ViewType.DELETED_ONLY,
            filter_string=f"last_update_time < {before}",
            page_token=token,
        )
        for experiment in page:
            print(f"experiment {experiment.experiment_id} {experiment.name!r}")
        token = page.token
        if not token:
            break
    for run_id in store._get_deleted_runs(older_than=milliseconds):
        print(f"run {run_id}")
    for model_id in store._get_deleted_logged_models(older_than=milliseconds):
        print(f"model {model_id}")


def main() -> int:
    """Run one command; print an error's message instead of its traceback."""
    parser = argparse.ArgumentParser(prog="upkeep")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("backup")
    collecting = commands.add_parser("gc")
    collecting.add_argument("older_than")
    collecting.add_argument("--dry-run", action="store_true")
    arguments = parser.parse_args()
    try:
        if arguments.command == "gc":
            gc(arguments.older_than, dry_run=arguments.dry_run)
        else:
            backup()
    except BootError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
