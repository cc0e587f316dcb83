"""Copies SQLite and the artifact folder of a local stack into a folder, and back.

A restore adds files that are not there, puts the database in the place of the old one by a rename, replaces other
files, and deletes surplus ones last. The new database says from the rename on that the restore has not ended, and no
server starts on it until it has: so an end at any moment leaves the old state as a whole, or something to finish.
"""

import filecmp
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any, Protocol

from ..contracts import Engine
from . import folder as folders
from . import processes, supervision, unfinished

_DATABASE = "database.sqlite"
_ARTIFACTS = "artifacts"


_PART = ".pulumi-mlflow-part"
"""Of a file that is being written."""

Progress = Callable[[str], None]


class Handover(Protocol):
    """What of a restore is the stack's, and not its data's."""

    again: str
    """What a person types to run the restore again."""

    def carry(self) -> None:
        """Write the secrets that belong to the data into the stack's state."""

    def up(self) -> None:
        """Bring the stack up, its server too."""


class UnfinishedError(RuntimeError):
    """A restore was ended after the database was switched."""


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
    (folder / _ARTIFACTS).mkdir()
    for key in _files(artifacts, follow=True):
        _put(artifacts / key, folder / _ARTIFACTS / key)


def version(_ops: Mapping[str, Any]) -> str:
    """MLflow's version in this stack's environment, whether its server answers or not."""
    return version_of("mlflow")


def restore(ops: Mapping[str, Any], folder: Path, progress: Progress, handover: Handover) -> None:
    """Replace database and artifacts with a dump's; the server is stopped meanwhile, and ready at the end.

    Args:
        ops: stack output `ops` of a stack that is up.
        folder: what `dump` filled.
        progress: told what is being done.
        handover: what is done to the stack itself.

    Raises:
        NotLocalError: the data is not SQLite and a folder.
        ServerError: the server did not become ready again.
        UnfinishedError: it was ended after the switch; no server runs until it has been run again.
    """
    database, artifacts = _places(ops)
    server_folder = Path(ops["server_folder"])
    added: list[Path] = []
    try:
        progress("stopping the server")
        supervision.stop(server_folder)
        progress(f"adding to {artifacts}")
        left = _add(folder / _ARTIFACTS, artifacts, added)
        progress(f"replacing {database}")
        _replace_database(folder / _DATABASE, database, handover.again)
        progress(f"replacing and removing in {artifacts}")
        _finish(folder / _ARTIFACTS, artifacts, left)
        handover.carry()
        unfinished.clear(database)
    except BaseException as error:
        if unfinished.found(database):
            told = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
            raise UnfinishedError(
                f"{told}\nHalf done: the database is the dump's, the artifacts are not all. No server runs until this "
                f"has ended; run it again: {handover.again}"
            ) from error
        for path in added:
            path.unlink(missing_ok=True)
        _prune(artifacts)
        progress("starting the server on the old state, which is whole")
        supervision.stop(server_folder)
        supervision.restart(server_folder, ops["url"], ops["ready_path"])
        raise
    progress("starting the server")
    handover.up()
    if not processes.of_folder(server_folder):
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


def _replace_database(source: Path, target: Path, again: str) -> None:
    """In one step, and whatever is wrong with the old file."""
    fresh = target.with_name("restored.db")
    for suffix in _SIDE_FILES:
        Path(f"{fresh}{suffix}").unlink(missing_ok=True)
    fresh.unlink(missing_ok=True)
    _copy_database(source, fresh, "DELETE")  # one file, which is all that a rename moves
    unfinished.mark(fresh, again)
    with fresh.open("rb") as file:
        os.fsync(file.fileno())
    # What stands in the old log only goes into the old file first: an end before the rename must not lose it. A file
    # that is damaged has nothing to lose.
    with suppress(sqlite3.Error), closing(sqlite3.connect(target)) as old:
        old.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for suffix in _SIDE_FILES:
        Path(f"{target}{suffix}").unlink(missing_ok=True)
    fresh.replace(target)
    # The server's readers and its writer work at the same time.
    with closing(sqlite3.connect(target)) as new:
        new.execute("PRAGMA journal_mode=WAL")


_SIDE_FILES = ("-wal", "-shm")


def _add(source: Path, target: Path, added: list[Path]) -> list[Path]:
    """Copy the files of a dump that are not there.

    Args:
        source: the dump's folder.
        target: the stack's.
        added: gets what was copied, as it is copied.

    Returns:
        Keys of the others: those with another content, and those whose place something else has.
    """
    left = []
    for key in _files(source):
        path = target / key
        if path.is_file() and not path.is_symlink():
            if not filecmp.cmp(source / key, path, shallow=False):
                left.append(key)
        elif path.is_dir() or any((target / parent).is_file() for parent in key.parents):
            left.append(key)
        else:
            added.append(path)
            _put(source / key, path)
    return left


def _finish(source: Path, target: Path, left: list[Path]) -> None:
    """Make the stack's folder equal to the dump's: `left` is what `_add` has left."""
    wanted = set(_files(source))
    for key in left:
        path = target / key
        for parent in (target / parent for parent in key.parents):
            if parent.is_file() or parent.is_symlink():
                parent.unlink()
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        _put(source / key, path)
    for key in list(_files(target)):
        if key not in wanted:
            (target / key).unlink()
    _prune(target)


def _prune(folder: Path) -> None:
    """Remove empty folders."""
    for path, _, _ in os.walk(folder, topdown=False):
        if Path(path) != folder:
            with suppress(OSError):  # not empty
                Path(path).rmdir()


def _files(folder: Path, *, follow: bool = False) -> Iterator[Path]:
    """Every file below a folder but our marker, relative to it.

    Args:
        folder: which.
        follow: whether a link to a folder counts as that folder; else as a file.
    """
    for parent, below, files in os.walk(folder, followlinks=follow):
        links = [] if follow else [name for name in below if Path(parent, name).is_symlink()]
        for name in (*files, *links):
            if name != folders.MARKER:
                yield Path(parent, name).relative_to(folder)


def _put(source: Path, target: Path) -> None:
    """Copy a file: whole, or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + _PART)
    try:
        shutil.copy2(source, part)
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
