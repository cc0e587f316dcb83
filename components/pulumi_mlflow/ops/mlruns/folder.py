"""A folder of MLflow's file store, read file by file; nothing in it stops the rest, and nothing is written to it.

MLflow's own converter (`mlflow migrate-filestore`) is one transaction, which one odd line ends.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from ...core import file_store
from ..errors import OpsError
from .records import Experiment, Model, Registered, Run, Version
from .report import Report

META = "meta.yaml"
ACTIVE = "active"
_TRASH, _REGISTRY, _TRACES = ".trash", "models", "traces"
_OF_EXPERIMENTS = frozenset({META, "tags", "datasets", _REGISTRY, _TRACES, _TRASH})
_OF_RUNS = frozenset({META, "artifacts", "metrics", "params", "tags", "inputs", "outputs"})
_OF_MODELS = frozenset({META, "artifacts", "metrics", "params", "tags"})
_OF_REGISTERED = frozenset({META, "tags", "aliases"})
_STATUS = {"1": "RUNNING", "2": "SCHEDULED", "3": "FINISHED", "4": "FAILED", "5": "KILLED"}
_MODEL_STATUS = {"1": "PENDING", "2": "READY", "3": "FAILED"}
_PROMPT_TAG = "mlflow.prompt.is_prompt"
_NULL = "tag:yaml.org,2002:null"


class _Loader(yaml.SafeLoader):
    """Texts and nothing else: a name such as `2020-01-01` is none of a date."""


_Loader.yaml_implicit_resolvers = {
    first: [resolver for resolver in resolvers if resolver[0] == _NULL]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _untagged(loader: yaml.SafeLoader, node: yaml.Node) -> Any:
    """Python 2 wrote `!!python/unicode` in front of texts."""
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    raise yaml.constructor.ConstructorError(None, None, f"a {node.tag}", node.start_mark)


_Loader.add_constructor(None, _untagged)


def find_root(given: Path) -> Path:
    """The folder that experiments are in.

    Args:
        given: that, or the one above.

    Raises:
        OpsError: it is none.
    """
    if is_file(given / META):
        raise OpsError(
            f"{given}: is the folder of one experiment, run or model; give the folder mlruns that it is in"
        )
    for root in (given / "mlruns", given):
        if is_folder(root) and any(
            is_file(path) for depth in ("*", "*/*") for path in root.glob(f"{depth}/{META}")
        ):
            return root.resolve()
    raise OpsError(
        f"{given}: no folder of MLflow's file store (no <experiment>/meta.yaml in it or in its mlruns/)"
    )


class Folder:
    """The folder.

    Args:
        root: from `find_root`.
        report: told of everything that is not as it should be.
    """

    def __init__(self, root: Path, report: Report) -> None:
        self.root, self._report = root, report
        self._sources: dict[str, Path] = {}

    def experiments(self) -> list[Experiment]:
        """The experiments that are not deleted, in order of their numbers."""
        found: list[Experiment] = []
        names: dict[str, Path] = {}
        for entry in self._entries(self.root):
            if entry.name in (_TRASH, _REGISTRY):
                continue
            if not is_folder(entry):
                self._report.leave(entry, "is no part of a file store")
            elif experiment := self._experiment(entry, names):
                found.append(experiment)
                names[experiment.name] = entry
        for entry in self._entries(self.root / _TRASH):
            self._report.leave(entry, "is deleted, and not taken by this import")
        return sorted(found, key=lambda one: (len(one.number), one.number))

    def _experiment(self, folder: Path, names: dict[str, Path]) -> Experiment | None:
        meta: dict[str, Any] | None = {}
        if os.path.lexists(folder / META):
            meta = self.meta(folder)
        if not meta:
            if not any(_looks_like_a_run(entry) for entry in self._entries(folder)):
                self._report.leave(folder, "is no experiment: it has no meta.yaml and no run")
                return None
            if meta is not None:
                self._report.leave(folder, "has no meta.yaml; its runs are taken")
            meta = {}
        if meta.get("lifecycle_stage", ACTIVE) != ACTIVE:
            self._report.leave(folder, "is deleted, and not taken by this import")
            return None
        given = str(meta.get("name") or "").strip()
        name, lost = file_store.cut(given, file_store.LONGEST_EXPERIMENT_NAME)
        name = name or ("Default" if folder.name == "0" else f"experiment {folder.name}")
        if lost or not given:
            why = f"its name {lost}" if lost else "has no name"
            self._report.leave(folder / META, f"{why}; it is {name!r} on the server")
        if name in names:
            other, end = name, f" ({folder.name})"
            name = f"{name[: file_store.LONGEST_EXPERIMENT_NAME - len(end)]}{end}"
            self._report.leave(
                folder / META,
                f"its name {other!r} is that of {names[other].name} too; it is {name!r} on the server",
            )
        return Experiment(folder.name, folder, name, self.texts(folder / "tags"))

    def runs(self, experiment: Experiment) -> list[Run]:
        """The runs of an experiment that are not deleted, in order of their start."""
        found = []
        for entry in self._entries(experiment.folder):
            if entry.name in _OF_EXPERIMENTS:
                if entry.name == _TRACES and (number := len(self._entries(entry))):
                    self._report.leave(entry, f"{number} traces, which this import does not take")
            elif not is_folder(entry):
                self._report.leave(entry, "is no part of a file store")
            elif self._has_meta(entry, "run") and (run := self._run(entry)):
                found.append(run)
        return sorted(found, key=lambda one: (one.start or 0, one.source_id))

    def _run(self, folder: Path) -> Run | None:
        meta = self.meta(folder)
        if meta is None:
            return None
        run_id = str(meta.get("run_uuid") or meta.get("run_id") or "")
        if not run_id:
            self._report.leave(folder / META, "has no run_id: the run is not taken")
            return None
        if meta.get("lifecycle_stage", ACTIVE) != ACTIVE:
            self._report.leave(folder, "is deleted, and not taken by this import")
            return None
        self._rest(folder, _OF_RUNS)
        source_id = run_id
        if run_id in self._sources:
            source_id = f"{run_id} {self._report.name(folder)}"
            other = self._report.name(self._sources[run_id])
            self._report.leave(folder, f"has the run_id of {other} too; it is a run of its own now")
        self._sources.setdefault(run_id, folder)
        given = str(meta.get("status") or "")
        status = _STATUS.get(given, given)
        if status not in _STATUS.values():
            self._report.leave(folder / META, f"its status {given!r} is none; it is RUNNING now")
            status = "RUNNING"
        start = file_store.integer(meta.get("start_time"))
        if not start or start < 0:
            self._report.leave(folder / META, "has no start_time; it has that of the import")
            start = None
        name = str(meta.get("run_name") or meta.get("name") or "")
        return Run(
            run_id=run_id,
            source_id=source_id,
            folder=folder,
            name=name,
            status=status,
            start=start,
            end=file_store.integer(meta.get("end_time")),
            artifact_uri=str(meta.get("artifact_uri") or ""),
            tags=_old_tags(meta),
        )

    def models(self, experiment: Experiment) -> list[Model]:
        """The logged models of an experiment, in order of their making."""
        found = []
        for entry in self._entries(experiment.folder / _REGISTRY):
            if not self._has_meta(entry, "logged model") or (meta := self.meta(entry)) is None:
                continue
            if meta.get("lifecycle_stage", ACTIVE) != ACTIVE:
                self._report.leave(entry, "is deleted, and not taken by this import")
                continue
            self._rest(entry, _OF_MODELS)
            status = str(meta.get("status") or "1")
            model = Model(
                model_id=str(meta.get("model_id") or entry.name),
                folder=entry,
                name=str(meta.get("name") or ""),
                model_type=_optional(meta, "model_type"),
                run_id=str(meta.get("source_run_id") or ""),
                status=_MODEL_STATUS.get(status, status),
                created=file_store.integer(meta.get("creation_timestamp")) or 0,
                artifact_uri=str(meta.get("artifact_location") or ""),
            )
            found.append(model)
        return sorted(found, key=lambda one: (one.created, one.model_id))

    def registered(self) -> list[Registered]:
        """The registered models by name; prompts aside, which are told."""
        found = []
        for entry in self._entries(self.root / _REGISTRY):
            if not self._has_meta(entry, "registered model") or (meta := self.meta(entry)) is None:
                continue
            tags = self.texts(entry / "tags")
            if _PROMPT_TAG in tags:
                self._report.leave(entry, "is a prompt, which this import does not take")
                continue
            versions = [
                version
                for folder in self._entries(entry)
                if folder.name not in _OF_REGISTERED and (version := self._version(folder))
            ]
            model = Registered(
                name=str(meta.get("name") or entry.name),
                folder=entry,
                description=_optional(meta, "description"),
                tags=tags,
                aliases={
                    name: number.strip() for name, number in self.texts(entry / "aliases").items()
                },
                versions=sorted(versions, key=lambda one: one.number),
            )
            found.append(model)
        return found

    def _version(self, folder: Path) -> Version | None:
        if not self._has_meta(folder, "version of a model"):
            return None
        if (meta := self.meta(folder)) is None:
            return None
        number = file_store.integer(meta.get("version", folder.name.removeprefix("version-")))
        if number is None:
            self._report.leave(folder / META, "its version is no number")
            return None
        self._rest(folder, frozenset({META, "tags"}))
        return Version(
            number=number,
            folder=folder,
            source=str(meta.get("source") or ""),
            run_id=str(meta.get("run_id") or ""),
            stage=str(meta.get("current_stage") or "None"),
            description=_optional(meta, "description"),
            tags=self.texts(folder / "tags"),
        )

    def metas(self, folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
        """What the folders in a folder say in their meta.yaml: datasets, inputs, outputs."""
        for entry in self._entries(folder):
            if (
                self._has_meta(entry, "thing of MLflow's")
                and (meta := self.meta(entry)) is not None
            ):
                yield entry, meta

    def texts(self, folder: Path) -> dict[str, str]:
        """Params or tags: a file each, whose path is the name."""
        found = {}
        for key, path in self.keys(folder):
            try:
                found[key], odd = file_store.text(path.read_bytes())
            except (OSError, ValueError) as error:
                self._report.leave(path, _why(error))
                continue
            if odd:
                self._report.leave(path, odd)
        return found

    def points(self, folder: Path) -> Iterator[tuple[str, file_store.Point]]:
        """The values of all metrics, with the metric's name; each once."""
        for key, path in self.keys(folder):
            seen: set[tuple[int, float | None, int]] = set()
            twice = 0
            for line in self._lines(path):
                point = file_store.point(line)
                if (same := file_store.same(point)) in seen:
                    twice += 1
                else:
                    seen.add(same)
                    yield key, point
            if twice:
                self._report.leave(path, f"{twice} values stand there twice, and are taken once")
            elif not seen:
                with contextlib.suppress(OSError):
                    if not path.stat().st_size:
                        self._report.leave(path, "is empty: the metric has no value")

    def model_points(self, folder: Path) -> Iterator[tuple[str, file_store.ModelPoint]]:
        """The values of all metrics of a logged model, with the metric's name."""
        for key, path in self.keys(folder):
            for line in self._lines(path, file_store.model_point):
                yield key, file_store.model_point(line)

    def _lines(self, path: Path, parse: Any = file_store.point) -> Iterator[str]:
        """The lines that are values; the others are told."""
        columns = 0
        try:
            with path.open("rb") as file:
                for number, raw in enumerate(file, 1):
                    try:
                        line = file_store.text(raw)[0]
                        parse(line)
                        found = len(line.split())
                    except ValueError as error:
                        self._report.leave(path, f"line {number} {error}")
                        continue
                    if found < columns and not raw.endswith(b"\n"):
                        self._report.leave(path, f"line {number} {line.strip()!r} is cut")
                        continue
                    columns = max(columns, found)
                    yield line
        except OSError as error:
            self._report.leave(path, _why(error))

    def keys(self, folder: Path) -> Iterator[tuple[str, Path]]:
        """The files below a folder whose path a server takes as a name."""
        for key, path in self.files(folder, junk=False):
            if fault := file_store.key_fault(key):
                self._report.leave(path, fault)
            else:
                yield key, path

    def files(self, folder: Path, *, junk: bool = True) -> Iterator[tuple[str, Path]]:
        """The files below a folder that can be read, with their path from there; links are followed.

        Args:
            folder: it may be missing.
            junk: whether what desktops and notebooks leave is among them.
        """
        if os.path.lexists(folder):
            yield from self._files(folder, "", (os.path.realpath(folder),), junk=junk)

    def _files(
        self, folder: Path, above: str, chain: tuple[str, ...], *, junk: bool
    ) -> Iterator[tuple[str, Path]]:
        for path in self._entries(folder):
            name = f"{above}{path.name}"
            if not junk and file_store.is_junk(path.name):
                self._report.leave(path, "is no data, but left by a desktop or a notebook")
                continue
            try:
                mode = path.stat().st_mode
            except OSError as error:
                linked = f"links to {path.readlink()}: " if path.is_symlink() else ""
                self._report.leave(path, f"{linked}{_why(error)}")
                continue
            if stat.S_ISDIR(mode):
                real = os.path.realpath(path)
                if real in chain:
                    self._report.leave(path, "links to a folder that it is in")
                else:
                    yield from self._files(path, f"{name}/", (*chain, real), junk=junk)
            elif not stat.S_ISREG(mode):
                self._report.leave(path, "is neither file nor folder")
            elif not os.access(path, os.R_OK):
                self._report.leave(path, "may not be read by you")
            else:
                yield name, path

    def meta(self, folder: Path) -> dict[str, Any] | None:
        """What meta.yaml says, all of it text; None if it cannot be read, which is told."""
        path = folder / META
        try:
            content, _ = file_store.text(path.read_bytes())
            found = yaml.load(content, _Loader)  # noqa: S506 - a SafeLoader
        except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
            self._report.leave(path, f"{_why(error)}: nothing of {folder.name} is taken")
            return None
        if not isinstance(found, dict):
            self._report.leave(path, f"says nothing: nothing of {folder.name} is taken")
            return None
        return found

    def _has_meta(self, folder: Path, what: str) -> bool:
        try:
            os.lstat(folder / META)
        except (FileNotFoundError, NotADirectoryError):
            self._report.leave(folder, f"is no {what}: it has no meta.yaml")
            return False
        except OSError as error:
            self._report.leave(folder, _why(error))
            return False
        return True

    def _rest(self, folder: Path, known: frozenset[str]) -> None:
        for entry in self._entries(folder):
            if entry.name not in known:
                self._report.leave(entry, "is no part of a file store")

    def _entries(self, folder: Path) -> list[Path]:
        """What is in a folder, by name; nothing if it is not there."""
        try:
            return sorted(folder.iterdir())
        except FileNotFoundError:
            return []
        except OSError as error:
            self._report.leave(folder, _why(error))
            return []


def is_folder(path: Path) -> bool:
    """Whether it is one, as far as this user may know: where it may not, whoever reads it will tell."""
    try:
        return path.is_dir()
    except OSError:
        return False


def is_file(path: Path) -> bool:
    """As `is_folder`."""
    try:
        return path.is_file()
    except OSError:
        return False


def _looks_like_a_run(folder: Path) -> bool:
    return is_file(folder / META) and any(
        is_folder(folder / part) for part in ("artifacts", "metrics", "params")
    )


def _optional(meta: dict[str, Any], key: str) -> str | None:
    return None if meta.get(key) is None else str(meta[key])


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    return " ".join(str(error).split())[:200]


def _old_tags(meta: dict[str, Any]) -> dict[str, str]:
    """What MLflow keeps in tags since 1.0, where meta.yaml has it."""
    sources = {
        "mlflow.user": "user_id",
        "mlflow.source.name": "source_name",
        "mlflow.source.git.commit": "source_version",
        "mlflow.project.entryPoint": "entry_point_name",
    }
    found = {tag: str(meta[key]) for tag, key in sources.items() if meta.get(key)}
    for tag in meta.get("tags") or ():
        if isinstance(tag, dict) and tag.get("key"):
            found[str(tag["key"])] = str(tag.get("value") or "")
    return found
