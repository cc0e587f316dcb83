"""Copies SQLite and the artifact folder of a local stack into a folder, and back."""

import shutil
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from ..contracts import Engine
from . import folder as folders
from . import supervision

_DATABASE = "database.sqlite"
_ARTIFACTS = "artifacts"


class NotLocalError(ValueError):
    """The stack keeps its data in a database server or an object store."""


def dump(ops: Mapping[str, Any], folder: Path, progress: Callable[[str], None]) -> None:
    """Copy database and artifacts while the server runs.

    The database is copied first and consistent as of that moment; artifacts are written once, so all that it knows of
    are in the copy.

    Args:
        ops: stack output `ops`.
        folder: existing folder for `database.sqlite` and `artifacts/`.
        progress: told what is being done.

    Raises:
        NotLocalError: the data is not SQLite and a folder.
    """
    database, artifacts = _places(ops)
    progress(f"copying {database}")
    _copy_database(database, folder / _DATABASE, "DELETE")  # one file, without a log beside it
    progress(f"copying {artifacts}")
    shutil.copytree(artifacts, folder / _ARTIFACTS, ignore=shutil.ignore_patterns(folders.MARKER))


def restore(ops: Mapping[str, Any], folder: Path, progress: Callable[[str], None]) -> None:
    """Replace database and artifacts with a dump's; the server is stopped meanwhile, and ready at the end.

    Args:
        ops: stack output `ops` of a stack that is up.
        folder: what `dump` filled.
        progress: told what is being done.

    Raises:
        NotLocalError: the data is not SQLite and a folder.
        ServerError: the server did not become ready again.
    """
    database, artifacts = _places(ops)
    server_folder = Path(ops["server_folder"])
    progress("stopping the server")
    supervision.stop(server_folder)
    try:
        progress(f"replacing {database}")
        _replace_database(folder / _DATABASE, database)
        progress(f"replacing {artifacts}")
        _replace_artifacts(folder / _ARTIFACTS, artifacts)
    finally:
        progress("starting the server")
        supervision.restart(server_folder, ops["url"], ops["ready_path"])


def _places(ops: Mapping[str, Any]) -> tuple[Path, Path]:
    if ops["engine"] != Engine.SQLITE.value or not Path(ops["artifacts"]).is_absolute():
        raise NotLocalError(
            f"this stack keeps its data in {ops['engine']} and {ops['artifacts']}; dump and restore of the local "
            "runtime copy SQLite and a folder: use the tools of that database and store"
        )
    return Path(ops["database"]), Path(ops["artifacts"])


def _copy_database(source: Path, target: Path, journal_mode: str) -> None:
    """SQLite's own online copy: whole transactions, whatever its write-ahead log holds."""
    with (
        closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True)) as old,
        closing(sqlite3.connect(target)) as new,
    ):
        old.backup(new)
        new.execute(f"PRAGMA journal_mode={journal_mode}")


def _replace_database(source: Path, target: Path) -> None:
    """In one step, and whatever is wrong with the old file."""
    fresh = target.with_name("restored.db")
    fresh.unlink(missing_ok=True)
    _copy_database(source, fresh, "WAL")
    for suffix in ("-wal", "-shm"):
        Path(f"{target}{suffix}").unlink(missing_ok=True)
    fresh.replace(target)


def _replace_artifacts(source: Path, target: Path) -> None:
    for entry in target.iterdir():
        if entry.name == folders.MARKER:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    shutil.copytree(source, target, dirs_exist_ok=True)
