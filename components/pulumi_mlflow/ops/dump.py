"""One stack's data in one folder, and back: database, artifacts and the secrets that open them.

Which secrets travel: those that belong to the *data* (the key that encrypts credentials inside MLflow's database,
`-kek`) or to the *people* who log in (`-login`). The passwords between a stack's own parts (server and database,
server and store) stay as they are on restore: the target's database and store were created with their own, and a
dump of data holds no accounts. The dump holds them all the same, for the day on which a database volume turns up
without its stack.
"""

import errno
import hashlib
import importlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from . import state
from .errors import OpsError
from .stack import Stack, StackOutputs

FORMAT = 1
"""Version of the folder's layout; raised when an older program could not restore a newer dump."""

MANIFEST = "manifest.json"
SECRETS = "secrets.json"
ROWS = "database/rows.json"
"""Of a dump whose database is rows, which fit every engine."""

CARRIED_SUFFIXES = ("-kek", "-login")
"""Ends of the names of the secrets that a restore carries over; see the module's text."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""A disk, a quota, or what one file may hold, is used up."""

Progress = Callable[[str], None]


class FileEntry(BaseModel):
    """What a file of the dump must be."""

    model_config = ConfigDict(frozen=True)

    sha256: str
    size: int
    """Bytes."""


class Manifest(BaseModel):
    """What a dump is, and every file of it but this one."""

    model_config = ConfigDict(frozen=True)

    format: int
    stack: str
    runtime: str
    mlflow_version: str
    created: datetime
    database_engine: str
    files: dict[str, FileEntry]
    """Path relative to the dump, with `/` on every system."""


class Backup(Protocol):
    """What a runtime's `backup` module offers."""

    def dump(self, ops: Mapping[str, Any], folder: Path, progress: Progress) -> None:
        """Write `database*` and `artifacts/**` into the folder."""

    def version(self, ops: Mapping[str, Any]) -> str:
        """MLflow's version, whether the server answers or not."""

    def restore(
        self, ops: Mapping[str, Any], folder: Path, progress: Progress, handover: "Restore"
    ) -> None:
        """Replace database and artifacts by the folder's; nobody is told meanwhile that something was kept.

        Until the database is switched the old state is whole, and after that no server starts until all has ended.
        """


def dump(stack: Stack, folder: Path, progress: Progress) -> Manifest:
    """Copy a running stack's data into a folder that only its owner can open.

    Args:
        stack: must be up.
        folder: empty or not there yet; not where git would take it up.
        progress: called with what is being done.

    Raises:
        OpsError: the folder will not do, or the stack is not up. Nothing is left of a dump that failed.
    """
    _require_fresh(folder)
    outputs, version = stack.running()
    backup, engine = _backup(outputs.runtime), _engine(outputs)
    existed = folder.exists()
    _make_private(folder)
    try:
        with _as_ops_error("dump", folder):
            backup.dump(outputs.ops, folder, progress)
            progress("secrets")
            _write_secrets(folder / SECRETS, state.generated_secrets(stack.export_secrets()))
            progress("checksums")
            manifest = Manifest(
                format=FORMAT,
                stack=stack.name,
                runtime=outputs.runtime,
                mlflow_version=version,
                created=datetime.now(UTC),
                database_engine=engine,
                files={name: _entry(folder / name) for name in _files(folder)},
            )
            # Last, since a folder without it is no dump.
            (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n")
    except BaseException:
        _empty(folder, remove=not existed)
        raise
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """Read a dump's manifest and check every file against it.

    Raises:
        OpsError: the folder is no dump, or of another format, or a file is missing, changed or too many.
    """
    with _as_ops_error("restore"):
        return _read_manifest(folder)


def _read_manifest(folder: Path) -> Manifest:
    try:
        text = (folder / MANIFEST).read_text()
        found = json.loads(text).get("format")
        if found != FORMAT:
            raise OpsError(f"{folder}: format {found}; this version restores format {FORMAT}")
        manifest = Manifest.model_validate_json(text)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise OpsError(f"{folder}: no dump ({MANIFEST} is not there)") from error
    except (ValueError, AttributeError, ValidationError) as error:
        raise OpsError(f"{folder / MANIFEST}: cannot be read: {error}") from error
    present = set(_files(folder))
    wrong = [f"{name}: missing" for name in sorted(manifest.files.keys() - present)]
    wrong += [f"{name}: not in the manifest" for name in sorted(present - manifest.files.keys())]
    wrong += [
        f"{name}: changed"
        for name in sorted(present & manifest.files.keys())
        if _entry(folder / name) != manifest.files[name]
    ]
    if wrong:
        raise OpsError(f"{folder}: the dump is damaged: {'; '.join(wrong)}")
    return manifest


@dataclass(frozen=True)
class Restore:
    """A dump that was checked and fits its stack."""

    stack: Stack
    folder: Path
    manifest: Manifest
    outputs: StackOutputs
    carried: Mapping[str, str] = field(repr=False)
    """Secrets that travel with the data: logical name → value."""

    def run(self, progress: Progress) -> None:
        """Replace database, artifacts and secrets.

        Raises:
            OpsError: it failed. The message says whether nothing was changed, or what finishes it.
        """
        with _as_ops_error("restore"):
            _backup(self.outputs.runtime).restore(self.outputs.ops, self.folder, progress, self)

    @property
    def again(self) -> str:
        """What a person types to run it again."""
        return self.stack.restore_command(self.folder)

    def carry(self) -> None:
        """Carry the secrets over, from which `up` hands them to the server.

        Raises:
            OpsError: pulumi fails.
        """
        if not self.carried:
            return
        # Exported only now: somebody may have run `up` during a long restore of the data.
        self.stack.replace_state(state.with_secrets(self.stack.export(), self.carried))

    def up(self) -> None:
        """Bring the stack up with the secrets that were carried over.

        Raises:
            OpsError: pulumi fails; all data is restored by then.
        """
        try:
            self.stack.stream("up", "--yes", "--skip-preview")
        except (OpsError, KeyboardInterrupt) as error:
            raise OpsError(
                f"{str(error) or 'interrupted'}. All data is restored; only the server is not up with it: "
                f"{self.stack.up_command}"
            ) from error


def prepare_restore(stack: Stack, folder: Path, progress: Progress) -> Restore:
    """Check a dump, which may come from a stack of another name, against a stack.

    Args:
        stack: must be up; its server need not answer, as after a restore that was ended half way.
        folder: a dump.
        progress: called with what is being done.

    Returns:
        What replaces the stack's data; nothing is changed yet.

    Raises:
        OpsError: the dump is damaged or does not fit the stack.
    """
    progress("checking the dump")
    manifest = read_manifest(folder)
    outputs = stack.outputs()
    _require_fit(manifest, outputs)
    try:
        with _as_ops_error("restore"):
            version = _backup(outputs.runtime).version(outputs.ops)
    except OpsError as error:
        raise OpsError(f"{error}; {stack.up_command}") from error
    _require_version(manifest, version)
    carried = _carried(folder, state.generated_secret_names(stack.export()))
    return Restore(stack, folder, manifest, outputs, carried)


@contextmanager
def _as_ops_error(what: str, folder: Path | None = None) -> Iterator[None]:
    """A runtime has errors of its own; a person gets their text without a traceback.

    Args:
        what: what is being done.
        folder: where it writes to.
    """
    try:
        yield
    except OpsError:
        raise
    except Exception as error:
        if folder is not None and isinstance(error, OSError) and error.errno in _FULL:
            free = shutil.disk_usage(folder).free
            raise OpsError(
                f"{what}: {folder}: its disk is full ({os.strerror(error.errno)}; {free / 1e6:.1f} MB were left). Free "
                "some, or name a folder of another disk; nothing is left of this dump"
            ) from error
        raise OpsError(f"{what}: {type(error).__name__}: {error}") from error


def _backup(runtime: str) -> Backup:
    try:
        module = importlib.import_module(f"pulumi_mlflow.{runtime}.backup")
    except ModuleNotFoundError as error:
        raise OpsError(f"runtime '{runtime}': dump and restore are not available for it") from error
    if not hasattr(module, "restore"):
        # The cloud's are components: its own services make the copies.
        raise OpsError(
            f"runtime '{runtime}': dump and restore are not for it; its copies are those of the backup component, see "
            f"docs/{runtime}.md"
        )
    return cast("Backup", module)


def _engine(outputs: StackOutputs) -> str:
    try:
        return str(outputs.ops["engine"])
    except KeyError as error:
        raise OpsError("output 'ops': no 'engine'; run 'up' with this version") from error


def _require_fit(manifest: Manifest, outputs: StackOutputs) -> None:
    pairs = {"runtime": (manifest.runtime, outputs.runtime)}
    if ROWS not in manifest.files:
        pairs["database engine"] = (manifest.database_engine, _engine(outputs))
    for what, (dumped, running) in pairs.items():
        if dumped != running:
            raise OpsError(f"{what}: the dump is of '{dumped}', the stack runs '{running}'")


def _require_version(manifest: Manifest, version: str) -> None:
    if _release(manifest.mlflow_version) > _release(version):
        raise OpsError(
            f"mlflow: the dump is of {manifest.mlflow_version}, the stack runs {version}, which cannot read a "
            f"newer schema; upgrade the stack first"
        )


def _release(version: str) -> tuple[int, ...]:
    """`3.17.2` as numbers; a suffix such as `.dev0` does not count."""
    return tuple(int(part) for part in version.split(".")[:3] if part.isdigit())


def _carried(folder: Path, known: set[str]) -> dict[str, str]:
    """The dump's data secrets that the stack has a place for.

    Raises:
        OpsError: the key of encrypted data has no place in the stack.
    """
    secrets: dict[str, str] = json.loads((folder / SECRETS).read_text())
    carried = {name: v for name, v in secrets.items() if name.endswith(CARRIED_SUFFIXES)}
    lost = sorted(n for n in carried.keys() - known if n.endswith("-kek"))
    if lost:
        raise OpsError(
            f"the dump's data is encrypted with {', '.join(lost)}, and the stack has no secret of that name; "
            f"restore into a stack whose components have the same names"
        )
    return {name: value for name, value in carried.items() if name in known}


def _require_fresh(folder: Path) -> None:
    try:
        taken = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    except OSError as error:
        raise OpsError(
            f"{folder}: cannot be read: {error.strerror}; name another folder"
        ) from error
    if taken:
        # The top of a disk is hardly ever empty (lost+found).
        raise OpsError(
            f"{folder}: is there and not empty; name another folder, such as {folder / 'mlflow'}"
            if folder.is_dir()
            else f"{folder}: is there and no folder; name another"
        )
    # git answers for the nearest folder that exists: check-ignore takes a path that does not.
    nearest = next(p for p in (folder, *folder.parents) if p.is_dir())
    if _git(nearest, "rev-parse", "--is-inside-work-tree") != 0:
        return
    # A file in it, since a pattern such as `dump/` matches folders only once they exist.
    if _git(nearest, "check-ignore", "--quiet", str(folder / MANIFEST)) != 0:
        raise OpsError(
            f"{folder}: git would take it up, and it holds secrets; use dump/… of the project, "
            f"or a folder outside"
        )


def _make_private(folder: Path) -> None:
    """Make the folder, or take one that is there and empty, and let nobody but its owner in.

    Raises:
        OpsError: it cannot be made or written, or its file system cannot keep others out.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OpsError(
            f"{folder}: cannot be written: {error.strerror}; name another folder"
        ) from error
    if folder.stat().st_mode & 0o077:
        raise OpsError(
            f"{folder}: its file system cannot keep others out, and a dump holds secrets; name a folder of another disk"
        )


def _git(folder: Path, *arguments: str) -> int:
    """Exit code of a git command; that of 'no repository' where there is no git."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, check=False
        )
    except FileNotFoundError:
        return 128
    return done.returncode


def _write_secrets(path: Path, secrets: Mapping[str, str]) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(dict(secrets), file, indent=2)


def _files(folder: Path) -> list[str]:
    """Every file of a dump but the manifest.

    Raises:
        OpsError: something is neither a file nor a folder, such as a link that could lead out of the dump.
    """
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise OpsError(f"{path}: neither a file nor a folder; a dump holds nothing else")
        if path.is_file() and path != folder / MANIFEST:
            found.append(path.relative_to(folder).as_posix())
    return found


def _entry(path: Path) -> FileEntry:
    with path.open("rb") as file:
        return FileEntry(
            sha256=hashlib.file_digest(file, "sha256").hexdigest(), size=path.stat().st_size
        )


def _empty(folder: Path, *, remove: bool) -> None:
    """Take away what a failed dump has written; the folder itself only if we made it, since it may be a mount point."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()
    if remove:
        with suppress(OSError):
            folder.rmdir()
