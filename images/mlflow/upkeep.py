"""What is done to a server's data by schedule: a copy of the database, and the end of what was deleted.

Runs inside the image, like boot.py.
"""

import argparse
import datetime as dt
import importlib
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import artifacts
import boot
import migrate_database
import transfer
from bootlib import BootError, environment
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


def gc(older_than: str) -> None:
    """Delete for good what users deleted: runs, experiments and models, with their artifacts.

    Args:
        older_than: how long ago that must be, such as `30d`.
    """
    boot.check_drivers()
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


def main() -> int:
    """Run one command; print an error's message instead of its traceback."""
    parser = argparse.ArgumentParser(prog="upkeep")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("backup")
    commands.add_parser("gc").add_argument("older_than")
    arguments = parser.parse_args()
    try:
        if arguments.command == "gc":
            gc(arguments.older_than)
        else:
            backup()
    except BootError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
