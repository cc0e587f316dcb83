"""Artifacts on their way to the server: every file by itself, under the name that it has in the folder."""

import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import quote, unquote, urlsplit

from ...core import file_store
from .folder import Folder, is_folder
from .report import Report

MODEL_FILE = "MLmodel"
KEPT = "pulumi-mlflow.import"
"""Folder in a run's artifacts for params and tags that are too long for the server."""

_LOCAL = ("", "file")
_PROXIED = "mlflow-artifacts"
_MULTIPART = "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD"
_SERVER_ERROR = 500


class Artifacts:
    """Sends folders of artifacts.

    Args:
        source: the folder that they are in.
        report: what is told.
        new_ids: what old ids of runs and models in a text become, for models that name theirs.
    """

    def __init__(self, source: Folder, report: Report, new_ids: Callable[[str], str]) -> None:
        self._source, self._report, self._new_ids = source, report, new_ids

    def send(
        self, owner: Path, recorded: str, repository: Any, *, check: bool = True
    ) -> tuple[int, bool]:
        """Send what a run or logged model has.

        Args:
            owner: folder of the run or model.
            recorded: URI where its artifacts were when they were logged.
            repository: MLflow's, of the new place; None to send nothing, and say what could not be sent.
            check: whether to compare with what the server lists.

        Returns:
            How many files were sent, and whether all were that a server would take; else it is worth another try.
        """
        folder = self._find(owner, recorded)
        if folder is None:
            return 0, True
        sent: dict[str, int] = {}
        whole = True
        proxied = repository is None or repository.artifact_uri.startswith(("http:", "https:"))
        with tempfile.TemporaryDirectory(prefix="pulumi-mlflow-") as scratch:
            for there, path in self._named(folder, proxied=proxied):
                try:
                    size = path.stat().st_size
                    if repository is not None:
                        self._file(path, there, repository, Path(scratch), proxied=proxied)
                except Exception as error:  # noqa: BLE001 - of requests, boto3 and whatever the store uses
                    whole = whole and not _is_worth_another_try(error)
                    self._report.leave(path, f"was not uploaded: {_short(error)}")
                    continue
                sent[there] = -1 if path.name == MODEL_FILE else size
        if repository is not None and check:
            try:
                self._check(owner, sent, repository)
            except Exception as error:  # noqa: BLE001 - as above
                whole = False
                self._report.leave(owner / "artifacts", f"was not compared: {_short(error)}")
        return len(sent), whole

    def keep(self, name: str, content: str, repository: Any) -> str:
        """Keep a text that is too long for the server as an artifact.

        Args:
            name: path below the folder for such texts.
            content: the text.
            repository: of the run.

        Returns:
            Its path in the run's artifacts, or why it has none.
        """
        inside = f"{KEPT}/{name}"
        if repository is None:
            return inside
        with tempfile.TemporaryDirectory(prefix="pulumi-mlflow-") as scratch:
            path = Path(scratch) / Path(inside).name
            path.write_bytes(content.encode())
            try:
                repository.log_artifact(str(path), Path(inside).parent.as_posix())
            except Exception as error:  # noqa: BLE001 - as in `send`
                return f"none, since it was not uploaded: {_short(error)}"
        return inside

    def _find(self, owner: Path, recorded: str) -> Path | None:
        """Where the artifacts lie now: in the folder, or where they were when they were logged."""
        here = owner / "artifacts"
        if os.path.lexists(here) and not is_folder(here):
            self._report.leave(here, "is no folder, or a link that leads nowhere")
        has_files = _has_entries(here)
        parts = urlsplit(recorded)
        if re.match(r"[A-Za-z]:[\\/]", recorded):  # of Windows
            parts = urlsplit("")
        if parts.scheme in _LOCAL:
            there = Path(unquote(parts.path)) if parts.scheme else Path(recorded)
            if not has_files and recorded and there.is_absolute() and is_folder(there):
                return there
            usual = there.parts[-3:] == (*owner.parts[-2:], "artifacts")
            if not is_folder(here) and recorded and parts.path and not usual:
                self._report.leave(owner, f"its artifacts were at {recorded}, which is not here")
            return here if is_folder(here) else None
        if parts.scheme == _PROXIED:
            # Where a server over a file store keeps them unless told.
            beside = self._source.root.parent / "mlartifacts" / unquote(parts.path).strip("/")
            if not has_files and is_folder(beside):
                return beside
        if not has_files:
            self._report.leave(owner, f"its artifacts are at {recorded}, not in the folder")
            return None
        return here

    def _file(
        self, path: Path, there: str, repository: Any, scratch: Path, *, proxied: bool
    ) -> None:
        inside, _, name = there.rpartition("/")
        local = path
        if path.name == MODEL_FILE:
            local = self._with_new_ids(path, scratch)
        if not proxied or not re.search("[%?;]", there):
            repository.log_artifact(str(_linked(local, name, scratch)), inside or None)
            return
        # MLflow's client puts names into URLs as they are, where `?` ends the path and `%` begins a code. Encoded by us
        # they arrive as they were; not in parts, whose names it sends otherwise.
        with mock.patch.dict(os.environ, {_MULTIPART: "false"}):
            repository.log_artifact(
                str(_linked(local, quote(name), scratch)), quote(inside) or None
            )

    def _with_new_ids(self, path: Path, scratch: Path) -> Path:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
        fresh = self._new_ids(text)
        if fresh == text:
            return path
        changed = scratch / "changed" / path.name
        changed.parent.mkdir(exist_ok=True)
        changed.write_text(fresh, encoding="utf-8", errors="surrogateescape")
        return changed

    def _named(self, folder: Path, *, proxied: bool) -> list[tuple[str, Path]]:
        """The files of a folder with the names that they can have on the server, each another one."""
        files = list(self._source.files(folder))
        if not proxied:
            return files
        named = [(name, path) for name, path in files if file_store.artifact_name(name) == name]
        taken = {name for name, _ in named}
        for name, path in files:
            if (there := file_store.artifact_name(name)) == name:
                continue
            free, number = there, 1
            while free in taken:
                number += 1
                free = f"{there}~{number}"
            taken.add(free)
            named.append((free, path))
            self._report.leave(path, f"a server takes no such name; it is {free!r} there")
        return named

    def _check(self, owner: Path, sent: dict[str, int], repository: Any) -> None:
        """The server lists every file with its size; of a model's own file that is another one."""
        found: dict[str, int] = {}
        todo: list[str | None] = [None] if sent else []
        while todo:
            for entry in repository.list_artifacts(todo.pop()):
                if entry.is_dir:
                    todo.append(entry.path)
                else:
                    found[entry.path] = entry.file_size or 0  # of an empty file it says none
        for name, size in sent.items():
            shown = "/".join(map(file_store.listed_name, name.split("/")))
            if size >= 0 and found.get(shown, -1) != size:
                self._report.leave(
                    owner / "artifacts" / name,
                    "the server does not list it with its size; look at it there",
                )


def _has_entries(folder: Path) -> bool:
    """Whether a folder is there and not empty; of one that may not be read, who reads it will tell."""
    try:
        return any(True for _ in folder.iterdir())
    except PermissionError:
        return True
    except OSError:
        return False


def _linked(path: Path, name: str, scratch: Path) -> Path:
    """The file under the name that MLflow's client is to send it as."""
    if path.name == name:
        return path
    link = scratch / "named" / name
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(path)
    return link


def _is_worth_another_try(error: Exception) -> bool:
    """Whether a later import may succeed: the server or the store failed, or was not reached."""
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    if isinstance(status, int):
        return status >= _SERVER_ERROR
    return not isinstance(error, OSError) or response is not None or "Connection" in repr(error)


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
