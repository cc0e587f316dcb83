"""Brings a folder ./mlruns of MLflow's file store into a running server, through the server's public API.

MLflow 3.17 has such folders in maintenance mode, and a tool of its own that converts one losslessly to SQLite (`mlflow
migrate-filestore`). We run that into a temporary file and read from there: it pages and sorts where the folder would be
read as a whole. What the server hands out itself, such as run ids, is new; each thing remembers its old id in a tag, so
that a second import finds what the first has brought.
"""

import os
import re
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import unquote, urlsplit

from .errors import OpsError
from .stack import FrontDoor

SOURCE_TAG = "pulumi-mlflow.source_id"
"""Tag of everything that was imported: its id in the folder."""
COMPLETE_TAG = "pulumi-mlflow.import"
"""Tag of runs whose import has ended; one without it was interrupted, and is imported anew."""

PARENT_TAG = "mlflow.parentRunId"
_HISTORY_TAG = "mlflow.log-model.history"
_MODEL_FILE = "MLmodel"

METRICS = 1000
PARAMS = 100
TAGS = 100
"""What `log-batch` takes at once, MLflow's own limits (mlflow/utils/validation.py)."""

_PAGE = 200
_CONVERSION_SECONDS = 6 * 3600
_LARGEST = 1.7976931348623157e308
"""How MLflow's database writes infinity."""

Progress = Callable[[int, int, str], None]
"""Told how many runs are done, of how many, and what is being done."""

_Link = tuple[str | None, str | None, str | None]
"""Logged model, dataset's name and digest that a metric's value belongs to."""

_SETTINGS = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "NullPool",
}


@dataclass
class Report:
    """What an import did."""

    taken: Counter[str] = field(default_factory=Counter)
    """Kind of thing → how many are new on the server."""
    known: Counter[str] = field(default_factory=Counter)
    """Kind of thing → how many an earlier import had brought."""
    left: list[str] = field(default_factory=list)
    """What could not be taken, and why; a line each."""


def import_mlruns(
    folder: Path, door: FrontDoor, environment: Mapping[str, str], progress: Progress
) -> Report:
    """Copy experiments, runs, logged models and registered models with all that belongs to them.

    Args:
        folder: `mlruns`, or the folder that it is in.
        door: the server.
        environment: what MLflow's client needs to reach the server.
        progress: see `Progress`.

    Raises:
        OpsError: the folder is none of MLflow's, or cannot be converted.
    """
    root = _root(folder)
    with tempfile.TemporaryDirectory(prefix="pulumi-mlflow-") as scratch:
        progress(0, 0, "reading the folder")
        database = Path(scratch) / "mlruns.db"
        report = Report()
        _convert(root, database, report)
        with _client_environment(environment):
            from mlflow import MlflowClient  # noqa: PLC0415 - takes seconds, and reads the environment

            source = MlflowClient(f"sqlite:///{database}", f"sqlite:///{database}")
            target = MlflowClient(door.tracking_uri, door.tracking_uri)
            with closing(sqlite3.connect(database)) as rows:
                _Import(root, source, target, rows, report, progress).run()
    return report


def _root(folder: Path) -> Path:
    """The folder that experiments are in."""
    for root in (folder / "mlruns", folder):
        if root.is_dir() and any(path.is_file() for path in root.glob("*/meta.yaml")):
            return root.resolve()
    raise OpsError(
        f"{folder}: no folder of MLflow's file store (no <experiment>/meta.yaml in it or in its mlruns/)"
    )


def _convert(root: Path, database: Path, report: Report) -> None:
    """MLflow's own conversion; what it could not read is on its standard error."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")
    }
    command = [sys.executable, "-m", "mlflow", "migrate-filestore"]
    # It looks for a folder `mlruns` in its source first, and an experiment could be named so.
    with tempfile.TemporaryDirectory(prefix="pulumi-mlflow-") as parent:
        (Path(parent) / "mlruns").symlink_to(root, target_is_directory=True)
        try:
            done = subprocess.run(
                [
                    *command,
                    "--source",
                    parent,
                    "--target",
                    f"sqlite:///{database}",
                    "--no-progress",
                ],
                env={**environment, "MLFLOW_DISABLE_TELEMETRY": "true"},
                capture_output=True,
                text=True,
                timeout=_CONVERSION_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise OpsError(f"{root}: not converted after {_CONVERSION_SECONDS // 3600} h") from None
    if done.returncode:
        raise OpsError(f"{root}: mlflow migrate-filestore failed:\n{done.stderr.strip()[-2000:]}")
    for line in done.stderr.splitlines():
        if found := re.search(r"WARNING [\w.]+: (Failed to .+)", line):
            report.left.append(found.group(1).replace(f"{parent}/mlruns", str(root)))


@contextmanager
def _client_environment(environment: Mapping[str, str]) -> Iterator[None]:
    """The variables of this server and no others of MLflow's or the store's."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MLFLOW_", "AWS_"))
        or name in ("MLFLOW_TRACKING_TOKEN", "MLFLOW_HTTP_REQUEST_TIMEOUT")
    }
    with mock.patch.dict(os.environ, {**kept, **_SETTINGS, **environment}, clear=True):
        yield


def _pages(search: Callable[..., Any], **arguments: Any) -> Iterator[Any]:
    """Everything that a search of MLflow's client finds, a page at a time."""
    token = None
    while True:
        page = search(**arguments, max_results=_PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    left = iter(items)
    while batch := list(islice(left, size)):
        yield batch


class _Import:
    def __init__(
        self,
        root: Path,
        source: Any,
        target: Any,
        rows: sqlite3.Connection,
        report: Report,
        progress: Progress,
    ) -> None:
        self._root, self._source, self._target, self._rows = root, source, target, rows
        self._report, self._progress = report, progress
        self._runs: dict[str, str] = {}
        """Run in the folder → run on the server."""
        self._models: dict[str, str] = {}
        """Logged model in the folder → logged model on the server."""
        self._pending: list[tuple[str, str]] = []
        """Runs on the server whose parent is not there yet, and that parent's old id."""
        self._total = self._count("runs WHERE lifecycle_stage = 'active'")
        self._done = 0

    def run(self) -> None:
        for experiment in _pages(self._source.search_experiments):
            self._experiment(experiment)
        for run_id, old_parent in self._pending:
            if old_parent in self._runs:
                self._target.set_tag(run_id, PARENT_TAG, self._runs[old_parent])
            else:
                self._left(f"run {run_id}: its parent {old_parent} is not in the folder")
        for model in _pages(self._source.search_registered_models):
            self._registered_model(model)
        self._count_what_stays()

    def _count(self, what: str) -> int:
        return int(self._rows.execute(f"SELECT count(*) FROM {what}").fetchone()[0])  # noqa: S608 - ours

    def _left(self, line: str) -> None:
        self._report.left.append(line)

    def _count_what_stays(self) -> None:
        stays = {
            "deleted runs": "runs WHERE lifecycle_stage != 'active'",
            "deleted experiments": "experiments WHERE lifecycle_stage != 'active'",
            "traces": "trace_info",
            "prompts": "registered_model_tags WHERE key = 'mlflow.prompt.is_prompt'",
        }
        for name, table in stays.items():
            if number := self._count(table):
                self._left(f"{number} {name}: not taken by this import")

    def _experiment(self, experiment: Any) -> None:
        name = experiment.name
        there = self._target.get_experiment_by_name(name)
        if there is None:
            target_id = self._target.create_experiment(
                name, tags={**experiment.tags, SOURCE_TAG: experiment.experiment_id}
            )
            self._report.taken["experiments"] += 1
        elif there.lifecycle_stage != "active":
            self._left(
                f"experiment {name!r}: is deleted on the server; restore or rename it there, and import again"
            )
            return
        else:
            target_id = there.experiment_id
            for key, value in experiment.tags.items():
                if key not in there.tags:
                    self._target.set_experiment_tag(target_id, key, value)
            self._report.known["experiments"] += 1
        self._find_known(target_id)
        models = self._models_of_runs(experiment.experiment_id)
        for run in _pages(
            self._source.search_runs,
            experiment_ids=[experiment.experiment_id],
            order_by=["attributes.start_time ASC", "attributes.run_id ASC"],
        ):
            self._progress(self._done, self._total, f"experiment {name}")
            self._run(run, target_id, models.get(run.info.run_id, []))
            self._done += 1
        for model_id in models.get("", []):
            self._logged_model(model_id, target_id, None)
        self._progress(self._done, self._total, f"experiment {name}")

    def _find_known(self, experiment_id: str) -> None:
        """What an earlier import has brought; what it had not finished goes away."""
        for run in _pages(
            self._target.search_runs,
            experiment_ids=[experiment_id],
            filter_string=f"tags.`{SOURCE_TAG}` LIKE '%'",
        ):
            if COMPLETE_TAG in run.data.tags:
                self._runs[run.data.tags[SOURCE_TAG]] = run.info.run_id
            else:
                self._target.delete_run(run.info.run_id)
        complete = set(self._runs.values())
        for model in _pages(self._target.search_logged_models, experiment_ids=[experiment_id]):
            if SOURCE_TAG not in model.tags:
                continue
            if model.source_run_id and model.source_run_id not in complete:
                self._target.delete_logged_model(model.model_id)
            else:
                self._models[model.tags[SOURCE_TAG]] = model.model_id

    def _models_of_runs(self, experiment_id: str) -> dict[str, list[str]]:
        """Ids of logged models by the run that made them; those of no run under an empty key."""
        found: dict[str, list[str]] = {}
        for model_id, run_id in self._rows.execute(
            "SELECT model_id, source_run_id FROM logged_models WHERE experiment_id = ? AND lifecycle_stage = 'active' "
            "ORDER BY creation_timestamp_ms",
            (experiment_id,),
        ):
            found.setdefault(run_id or "", []).append(model_id)
        return found

    def _run(self, run: Any, experiment_id: str, models: list[str]) -> None:
        old = run.info.run_id
        if old in self._runs:
            self._report.known["runs"] += 1
            return
        tags = dict(run.data.tags)
        parent = tags.pop(PARENT_TAG, None)
        if parent in self._runs:
            tags[PARENT_TAG] = self._runs[parent]
        made = self._target.create_run(
            experiment_id,
            start_time=run.info.start_time,
            run_name=run.info.run_name,
            # Further tags go in batches: a run may have more than one request takes.
            tags={
                SOURCE_TAG: old,
                **({PARENT_TAG: tags[PARENT_TAG]} if PARENT_TAG in tags else {}),
            },
        )
        new = made.info.run_id
        self._runs[old] = new
        for model_id in models:
            self._logged_model(model_id, experiment_id, new)
        self._data(run, new, tags)
        self._inputs_and_outputs(run, new)
        folder = self._root / run.info.experiment_id / old / "artifacts"
        self._artifacts(
            f"run {old}",
            _existing(folder, run.info.artifact_uri),
            run.info.artifact_uri,
            lambda path, inside: self._target.log_artifact(new, path, inside),
            lambda path: self._target.log_artifacts(new, path),
            lambda inside: self._target.list_artifacts(new, inside),
        )
        if run.info.status != "RUNNING":
            self._target.set_terminated(new, run.info.status, run.info.end_time)
        if parent and parent not in self._runs:
            self._pending.append((new, parent))
        self._target.set_tag(new, COMPLETE_TAG, "complete")
        self._report.taken["runs"] += 1

    def _data(self, run: Any, new: str, tags: dict[str, str]) -> None:
        from mlflow.entities import Param, RunTag  # noqa: PLC0415

        if _HISTORY_TAG in tags:
            tags[_HISTORY_TAG] = tags[_HISTORY_TAG].replace(run.info.run_id, new)
        for batch in _batches(tags.items(), TAGS):
            self._target.log_batch(new, tags=[RunTag(*tag) for tag in batch])
        for params in _batches(run.data.params.items(), PARAMS):
            self._target.log_batch(new, params=[Param(*param) for param in params])
        for metrics in _batches(self._metrics(run.info.run_id, new), METRICS):
            self._target.log_batch(new, metrics=list(metrics))
            self._report.taken["metric values"] += len(metrics)

    def _metrics(self, old: str, new: str) -> Iterator[Any]:
        """The whole history of all metrics, without holding it."""
        from mlflow.entities import Metric  # noqa: PLC0415

        of_models = self._metrics_of_models(old)
        for key, value, is_nan, timestamp, step in self._rows.execute(
            "SELECT key, value, is_nan, timestamp, step FROM metrics WHERE run_uuid = ? ORDER BY key, timestamp, step",
            (old,),
        ):
            number = _number(value, is_nan=is_nan)
            unlinked: list[_Link] = [(None, None, None)]
            for model_id, dataset, digest in of_models.get((key, timestamp, step), unlinked):
                yield Metric(
                    key, number, timestamp, step, model_id=model_id, dataset_name=dataset, dataset_digest=digest,
                    run_id=new,
                )  # fmt: skip

    def _metrics_of_models(self, old: str) -> dict[tuple[str, int, int], list[_Link]]:
        """Which values of a run belong to a logged model."""
        found: dict[tuple[str, int, int], list[_Link]] = {}
        for key, timestamp, step, model_id, dataset, digest in self._rows.execute(
            "SELECT metric_name, metric_timestamp_ms, metric_step, model_id, dataset_name, dataset_digest "
            "FROM logged_model_metrics WHERE run_id = ?",
            (old,),
        ):
            if model_id in self._models:
                found.setdefault((key, timestamp, step), []).append(
                    (self._models[model_id], dataset, digest)
                )
        return found

    def _inputs_and_outputs(self, run: Any, new: str) -> None:
        from mlflow.entities import LoggedModelInput, LoggedModelOutput  # noqa: PLC0415

        inputs, outputs = run.inputs, run.outputs
        models = [
            LoggedModelInput(self._models[given.model_id])
            for given in (inputs.model_inputs if inputs else ())
            if given.model_id in self._models
        ]
        datasets = list(inputs.dataset_inputs) if inputs else []
        if datasets or models:
            self._target.log_inputs(new, datasets=datasets or None, models=models or None)
            self._report.taken["datasets"] += len(datasets)
        made = [
            LoggedModelOutput(self._models[given.model_id], step=given.step)
            for given in (outputs.model_outputs if outputs else ())
            if given.model_id in self._models
        ]
        if made:
            self._target.log_outputs(new, made)

    def _logged_model(self, old: str, experiment_id: str, run_id: str | None) -> None:
        if old in self._models:
            self._report.known["models"] += 1
            return
        model = self._source.get_logged_model(old)
        made = self._target.create_logged_model(
            experiment_id,
            name=model.name,
            source_run_id=run_id,
            tags={**model.tags, SOURCE_TAG: old},
            params=model.params,
            model_type=model.model_type,
        )
        new = made.model_id
        self._models[old] = new
        folder = self._root / model.experiment_id / "models" / old / "artifacts"
        self._artifacts(
            f"model {old}",
            _existing(folder, model.artifact_location),
            model.artifact_location,
            lambda path, inside: self._target.log_model_artifact(new, path, inside),
            lambda path: self._target.log_model_artifacts(new, path),
            None,
        )
        if str(model.status) in ("READY", "FAILED"):
            self._target.finalize_logged_model(new, str(model.status))
        self._report.taken["models"] += 1

    def _artifacts(
        self,
        what: str,
        folder: Path | None,
        uri: str,
        send_file: Callable[[str, str | None], object],
        send_folder: Callable[[str], object],
        listed: Callable[[str | None], Any] | None,
    ) -> None:
        """Upload a folder; models in it get the ids that their run and they themselves have now."""
        if folder is None:
            if urlsplit(uri).scheme not in ("", "file"):
                self._left(f"{what}: its artifacts are at {uri}, not in the folder")
            return
        files = [path for path in folder.rglob("*") if path.is_file()]
        if not files:
            return
        send_folder(str(folder))
        with tempfile.TemporaryDirectory(prefix="pulumi-mlflow-") as scratch:
            for path in (path for path in files if path.name == _MODEL_FILE):
                text = path.read_text(errors="surrogateescape")
                fresh = self._with_new_ids(text)
                if fresh != text:
                    changed = Path(scratch) / _MODEL_FILE
                    changed.write_text(fresh, errors="surrogateescape")
                    inside = path.parent.relative_to(folder).as_posix()
                    send_file(str(changed), None if inside == "." else inside)
        self._report.taken["artifact files"] += len(files)
        if listed is not None:
            self._check(what, folder, files, listed)

    def _with_new_ids(self, text: str) -> str:
        def new(found: re.Match[str]) -> str:
            old = found.group()
            return self._models.get(old) or self._runs.get(old) or old

        return re.sub(r"\bm-[0-9a-f]{32}\b|\b[0-9a-f]{32}\b", new, text)

    def _check(
        self, what: str, folder: Path, files: list[Path], listed: Callable[[str | None], Any]
    ) -> None:
        """The server lists every file with its size."""
        wanted = {
            path.relative_to(folder).as_posix(): path.stat().st_size
            for path in files
            if path.name != _MODEL_FILE
        }
        found: dict[str, int] = {}
        todo: list[str | None] = [None]
        while todo:
            for entry in listed(todo.pop()):
                if entry.is_dir:
                    todo.append(entry.path)
                else:
                    found[entry.path] = entry.file_size or 0  # of an empty file it says none
        wrong = sorted(path for path, size in wanted.items() if found.get(path, -1) != size)
        for path in wrong:
            # MLflow's client decodes names with a %, so that it may list another one than it has sent.
            self._left(f"{what}: the server does not list {path!r} with its size; look at it there")

    def _registered_model(self, model: Any) -> None:
        from mlflow.exceptions import MlflowException  # noqa: PLC0415

        try:
            self._target.get_registered_model(model.name)
            self._report.known["registered models"] += 1
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            self._target.create_registered_model(model.name, model.tags, model.description)
            self._report.taken["registered models"] += 1
        quoted = model.name.replace("'", "''")
        there = {
            version.tags[SOURCE_TAG]: version.version
            for version in _pages(
                self._target.search_model_versions, filter_string=f"name = '{quoted}'"
            )
            if SOURCE_TAG in version.tags
        }
        versions = _pages(self._source.search_model_versions, filter_string=f"name = '{quoted}'")
        for version in sorted(versions, key=lambda found: int(found.version)):
            self._version(model, version, there)
        for alias, number in model.aliases.items():
            if str(number) in there:
                self._target.set_registered_model_alias(model.name, alias, there[str(number)])

    def _version(self, model: Any, version: Any, there: dict[str, str]) -> None:
        number = str(version.version)
        if number in there:
            self._report.known["model versions"] += 1
            return
        source, model_id = self._source_of(version)
        if source is None:
            self._left(
                f"model {model.name!r} version {number}: its source {version.source} was not imported"
            )
            return
        made = self._target.create_model_version(
            model.name,
            source,
            run_id=self._runs.get(version.run_id or ""),
            tags={**version.tags, SOURCE_TAG: number},
            description=version.description,
            model_id=model_id,
        )
        there[number] = str(made.version)
        if str(made.version) != number:
            self._left(
                f"model {model.name!r} version {number}: is version {made.version} on the server"
            )
        if version.current_stage not in (None, "", "None"):
            self._target.transition_model_version_stage(
                model.name, made.version, version.current_stage
            )
        self._report.taken["model versions"] += 1

    def _source_of(self, version: Any) -> tuple[str | None, str | None]:
        """Where a version's files are on the server, and the logged model that they belong to."""
        source = version.source or ""
        if found := re.search(r"\bm-[0-9a-f]{32}\b", source):
            model_id = self._models.get(found.group())
            return (f"models:/{model_id}" if model_id else None), model_id
        run_id = version.run_id or ""
        if run_id not in self._runs:
            return None, None
        inside = source.partition(f"{run_id}/artifacts/")[2]
        inside = inside or source.partition(f"runs:/{run_id}/")[2]
        uri = self._target.get_run(self._runs[run_id]).info.artifact_uri.rstrip("/")
        return (f"{uri}/{inside}" if inside else None), None


def _number(value: float | None, *, is_nan: int) -> float:
    if is_nan or value is None:
        return float("nan")
    return float("inf") * (1 if value > 0 else -1) if abs(value) >= _LARGEST else value


def _existing(folder: Path, uri: str) -> Path | None:
    """The folder of artifacts: in the store where it lies now, or where it was when they were logged."""
    parts = urlsplit(uri)
    recorded = Path(unquote(parts.path)) if parts.scheme in ("", "file") else None
    for path in (folder, recorded):
        if path is not None and path.is_dir():
            return path
    return None
