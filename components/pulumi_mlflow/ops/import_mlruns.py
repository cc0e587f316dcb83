"""Brings a folder ./mlruns of MLflow's file store into a running server, through the server's public API.

The folder is only read, file by file: what is odd in it is told at its place, and the rest arrives. What the server
hands out itself, such as run ids, is new; each thing remembers its old id in a tag, so that a second import finds what
the first has brought.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..core import file_store
from .errors import OpsError
from .mlruns import client
from .mlruns import folder as folders
from .mlruns.artifacts import Artifacts
from .mlruns.records import Experiment, Model, Run
from .mlruns.refusals import is_fatal, reason, told
from .mlruns.registry import Registry
from .mlruns.report import Report
from .stack import FrontDoor

SOURCE_TAG = "pulumi-mlflow.source_id"
"""Tag of everything that was imported: its id in the folder."""
COMPLETE_TAG = "pulumi-mlflow.import"
"""Tag of runs whose import has ended; one without it was interrupted, and is imported anew."""

PARENT_TAG = "mlflow.parentRunId"
_NAME_TAG = "mlflow.runName"
_HISTORY_TAG = "mlflow.log-model.history"

METRICS = 1000
PARAMS = 100
TAGS = 100
"""What `log-batch` takes at once, MLflow's own limits (mlflow/utils/validation.py)."""

_OVERHEAD = 200
"""Characters of JSON around an item."""

Progress = Callable[[int, int, str], None]
"""Told how many runs are done, of how many, and what is being done."""

_Link = tuple[str | None, str | None, str | None]
"""Logged model on the server, dataset's name and digest that a metric's value belongs to."""


def import_mlruns(
    folder: Path, door: FrontDoor, environment: Mapping[str, str], progress: Progress
) -> Report:
    """Copy experiments, runs, logged models and registered models with all that belongs to them.

    Args:
        folder: `mlruns`, or the folder that it is in; it is only read.
        door: the server.
        environment: what MLflow's client needs to reach the server.
        progress: see `Progress`.

    Returns:
        What arrived, and what did not.

    Raises:
        OpsError: the folder is none of MLflow's, or the server does not answer.
    """
    root = folders.find_root(folder)
    report = Report(root)
    progress(0, 0, "reading the folder")
    with client.environment(environment):
        from mlflow import MlflowClient  # noqa: PLC0415 - takes seconds, and reads the environment
        from mlflow.exceptions import MlflowException  # noqa: PLC0415

        target = MlflowClient(door.tracking_uri, door.tracking_uri)
        try:
            _Import(folders.Folder(root, report), target, door, report, progress).run()
        except MlflowException as error:
            raise OpsError(
                f"{door.tracking_uri}: the import stopped, and goes on when it is run again: {reason(error)}"
            ) from error
    return report


def _weight(item: Any) -> int:
    """Characters of a param or tag in a request."""
    return len(json.dumps(item.value)) + len(json.dumps(item.key)) + _OVERHEAD


class _Import:
    def __init__(
        self,
        source: folders.Folder,
        target: Any,
        door: FrontDoor,
        report: Report,
        progress: Progress,
    ) -> None:
        self._source, self._target, self._door = source, target, door
        self._report, self._progress = report, progress
        self._artifacts = Artifacts(source, report, self._with_new_ids)
        self._runs: dict[str, str] = {}
        """Run in the folder → run on the server."""
        self._models: dict[str, str] = {}
        """Logged model in the folder → logged model on the server."""
        self._below: set[str] = set()
        """Runs on the server that know their parent."""
        self._pending: list[tuple[Run, str, str]] = []
        """Runs whose parent is not there yet, their new id, and that parent's old id."""
        self._unnamed = self._done = self._total = 0

    def run(self) -> None:
        found = [(one, self._source.runs(one)) for one in self._source.experiments()]
        self._total = sum(len(runs) for _, runs in found)
        for experiment, runs in found:
            self._experiment(experiment, runs)
        for run, new, old_parent in self._pending:
            place = run.folder / "tags" / PARENT_TAG
            if old_parent in self._runs:
                with told(self._report, place, "the run's parent is not taken"):
                    self._target.set_tag(new, PARENT_TAG, self._runs[old_parent])
            else:
                self._report.leave(
                    place, f"run {new}: its parent {old_parent} is not in the folder"
                )
        registry = Registry(
            self._target, self._report, SOURCE_TAG, self._runs, self._models, client.pages
        )
        for model in self._source.registered():
            registry.bring(model)
        if self._unnamed:
            self._report.notes.append(
                f"{self._unnamed} runs have no name. A server would make one up, so that they go by their old id, as "
                "MLflow's pages show such runs"
            )

    def _experiment(self, experiment: Experiment, runs: list[Run]) -> None:
        name, target_id = experiment.name, ""
        with told(self._report, experiment.folder, f"its {len(runs)} runs are not taken"):
            target_id = self._target_experiment(experiment, len(runs))
        if not target_id:
            self._done += len(runs)
            return
        self._find_known(target_id)
        models = self._source.models(experiment)
        links = self._links(models)
        datasets = {
            place.name: meta for place, meta in self._source.metas(experiment.folder / "datasets")
        }
        of_runs = {run.run_id for run in runs}
        for run in runs:
            self._progress(self._done, self._total, f"experiment {name}")
            own = [model for model in models if model.run_id == run.run_id]
            with told(self._report, run.folder, "the run is not whole"):
                self._run(run, target_id, own, links.get(run.run_id, {}), datasets)
            self._done += 1
        for run_id in links.keys() - of_runs:
            for at, of_models in links[run_id].items():
                self._unlinked(experiment.folder, at, of_models, f"run {run_id} is not there")
        for model in models:
            if model.run_id not in of_runs:
                self._model_told(model, target_id, None)
        self._progress(self._done, self._total, f"experiment {name}")

    def _target_experiment(self, experiment: Experiment, runs: int) -> str:
        """The experiment's id on the server; empty if it cannot be used, which is told."""
        name = experiment.name
        there = self._target.get_experiment_by_name(name)
        if there is not None and there.name != name:
            # MySQL knows no difference between `Ada` and `ada`.
            name = f"{name} ({experiment.number})"
            self._report.leave(
                experiment.folder / folders.META,
                f"the server takes {experiment.name!r} for {there.name!r}; it is {name!r} there",
            )
            there = self._target.get_experiment_by_name(name)
        if there is None:
            target_id = str(
                self._target.create_experiment(name, tags={SOURCE_TAG: experiment.number})
            )
            self._report.taken["experiments"] += 1
        elif there.lifecycle_stage != "active":
            self._report.leave(
                experiment.folder,
                f"experiment {name!r} is deleted on the server, so that its {runs} runs are not taken; restore or "
                "rename it there, and import again",
            )
            return ""
        else:
            target_id = str(there.experiment_id)
            self._report.known["experiments"] += 1
        for key, value in experiment.tags.items():
            place = experiment.folder / "tags" / key
            sent, lost = file_store.cut(value, file_store.LONGEST_EXPERIMENT_TAG)
            if lost:
                self._report.leave(place, lost)
            if sent is not None and (there is None or key not in there.tags):
                with told(self._report, place, "the tag is not taken"):
                    self._target.set_experiment_tag(target_id, key, sent)
        return target_id

    def _find_known(self, experiment_id: str) -> None:
        """What an earlier import has brought; what it had not finished goes away."""
        for run in client.pages(
            self._target.search_runs,
            experiment_ids=[experiment_id],
            filter_string=f"tags.`{SOURCE_TAG}` LIKE '%'",
        ):
            if COMPLETE_TAG in run.data.tags:
                self._runs[run.data.tags[SOURCE_TAG]] = run.info.run_id
                if PARENT_TAG in run.data.tags:
                    self._below.add(run.info.run_id)
            else:
                self._target.delete_run(run.info.run_id)
        complete = set(self._runs.values())
        for model in client.pages(
            self._target.search_logged_models, experiment_ids=[experiment_id]
        ):
            if SOURCE_TAG not in model.tags:
                continue
            if model.source_run_id and model.source_run_id not in complete:
                self._target.delete_logged_model(model.model_id)
            else:
                self._models[model.tags[SOURCE_TAG]] = model.model_id

    def _run(
        self,
        run: Run,
        experiment_id: str,
        models: list[Model],
        links: dict[tuple[str, int, int], list[_Link]],
        datasets: Mapping[str, Mapping[str, Any]],
    ) -> None:
        """Bring a run; of one that is there, say again what is odd in the folder."""
        tags = {**run.tags, **self._source.texts(run.folder / "tags")}
        name = run.name or tags.get(_NAME_TAG, "")
        tags.pop(_NAME_TAG, None)
        parent = tags.pop(PARENT_TAG, None)
        new, uri = self._runs.get(run.source_id, ""), ""
        if new:
            self._report.known["runs"] += 1
        else:
            new, uri = self._create(run, name, experiment_id, self._runs.get(parent or ""))
        fresh = bool(uri)
        if parent and new not in self._below:
            self._pending.append((run, new, parent))
        for model in models:
            self._model_told(model, experiment_id, new)
        repository = self._repository(uri) if fresh else None
        whole = self._data(run, new, tags, links, repository)
        if fresh:
            self._inputs_and_outputs(run, new, datasets)
        sent, uploaded = self._artifacts.send(run.folder, run.artifact_uri, repository)
        if not fresh:
            return
        self._report.taken["artifact files"] += sent
        if run.status != "RUNNING" and run.end:
            self._target.set_terminated(new, run.status, run.end)
        elif run.status != "RUNNING":
            # `set_terminated` would make the present its end.
            self._target.update_run(new, status=run.status)
        if whole and uploaded:
            self._target.set_tag(new, COMPLETE_TAG, "complete")
        else:
            self._report.leave(run.folder, "is not whole on the server; a later import tries again")
        self._report.taken["runs"] += 1

    def _create(
        self, run: Run, name: str, experiment_id: str, parent: str | None
    ) -> tuple[str, str]:
        """Make the run; its id and the URI of its artifacts."""
        shown, lost = file_store.cut(name, file_store.LONGEST_RUN_NAME)
        if lost:
            self._report.leave(run.folder / folders.META, f"its name {lost}")
        made = self._target.create_run(
            experiment_id,
            start_time=run.start,
            run_name=shown or run.run_id,
            # Further tags go in batches: a run may have more than one request takes.
            tags={SOURCE_TAG: run.source_id, **({PARENT_TAG: parent} if parent else {})},
        )
        if parent:
            self._below.add(made.info.run_id)
        if not shown:
            self._target.delete_tag(made.info.run_id, _NAME_TAG)
            self._unnamed += 1
        self._runs[run.source_id] = made.info.run_id
        return made.info.run_id, made.info.artifact_uri

    def _repository(self, uri: str) -> Any:
        from mlflow.store.artifact.artifact_repository_registry import (  # noqa: PLC0415
            get_artifact_repository,
        )

        return get_artifact_repository(
            uri, tracking_uri=self._door.tracking_uri, registry_uri=self._door.tracking_uri
        )

    def _data(
        self,
        run: Run,
        new: str,
        tags: dict[str, str],
        links: dict[tuple[str, int, int], list[_Link]],
        repository: Any,
    ) -> bool:
        """Send tags, params and metrics; only tell what is odd if there is no repository.

        Returns:
            Whether a later import would bring nothing more.
        """
        from mlflow.entities import Param, RunTag  # noqa: PLC0415

        if _HISTORY_TAG in tags:
            tags[_HISTORY_TAG] = tags[_HISTORY_TAG].replace(run.run_id, new)
        params = self._source.texts(run.folder / "params")
        tags = self._fitting(run.folder, "tags", tags, repository)
        params = self._fitting(run.folder, "params", params, repository)
        metrics = self._metrics(run, new, links)
        if repository is None:
            for _ in metrics:
                pass
            return True
        whole = True
        for tag_batch in file_store.batches((RunTag(*tag) for tag in tags.items()), TAGS, _weight):
            whole &= self._log(run, new, "tags", tag_batch)
        for batch in file_store.batches((Param(*one) for one in params.items()), PARAMS, _weight):
            whole &= self._log(run, new, "params", batch)
        for points in file_store.batches(metrics, METRICS, lambda _: _OVERHEAD):
            whole &= self._log(run, new, "metrics", points)
            self._report.taken["metric values"] += len(points)
        return whole

    def _log(self, run: Run, new: str, kind: str, batch: list[Any]) -> bool:
        """Send a batch; of one that the server refuses, all that it takes.

        Returns:
            Whether a later import would bring nothing more.
        """
        from mlflow.exceptions import MlflowException  # noqa: PLC0415

        if len(batch) == 1:
            place = run.folder / kind / batch[0].key
            with told(self._report, place, "the server refuses it") as outcome:
                self._target.log_batch(new, **{kind: batch})
            return not outcome.again
        try:
            self._target.log_batch(new, **{kind: batch})
        except MlflowException as error:
            if is_fatal(error):
                raise
            half = len(batch) // 2
            first = self._log(run, new, kind, batch[:half])
            return self._log(run, new, kind, batch[half:]) and first
        return True

    def _fitting(
        self,
        owner: Path,
        kind: str,
        values: Mapping[str, str],
        repository: Any,
        *,
        keep: bool = True,
    ) -> dict[str, str]:
        """The values as a server takes them; what is too long is kept whole as an artifact."""
        longest = file_store.LONGEST_PARAM if kind == "params" else file_store.LONGEST_TAG
        found = {}
        for key, value in values.items():
            whole = kind == "tags" and file_store.is_whole(key)
            sent, lost = file_store.cut(value, longest, whole=whole)
            if lost and keep:
                lost += f"; all of it is artifact {self._artifacts.keep(f'{kind}/{key}', value, repository)}"
            if lost:
                self._report.leave(owner / kind / key, lost)
            if sent is not None:
                found[key] = sent
        return found

    def _metrics(
        self, run: Run, new: str, links: dict[tuple[str, int, int], list[_Link]]
    ) -> Iterator[Any]:
        """The whole history of all metrics, without holding it."""
        from mlflow.entities import Metric  # noqa: PLC0415

        matched = set()
        for key, point in self._source.points(run.folder / "metrics"):
            unlinked: list[_Link] = [(None, None, None)]
            at = (key, point.timestamp, point.step)
            matched.add(at if at in links else None)
            for old, dataset, digest in links.get(at, unlinked):
                yield Metric(
                    key, point.value, point.timestamp, point.step, model_id=self._models.get(old or ""),
                    dataset_name=dataset, dataset_digest=digest, run_id=new,
                )  # fmt: skip
        for at in links.keys() - matched:
            self._unlinked(run.folder.parent, at, links[at], "the run has no such value")
        for at in links.keys() & matched:
            later = [link for link in links[at] if link[0] not in self._models]
            self._unlinked(run.folder.parent, at, later, "the model came after the run")

    def _unlinked(
        self, experiment: Path, at: tuple[str, int, int], links: list[_Link], why: str
    ) -> None:
        """Tell which values of logged models do not belong to them on the server."""
        for model, _, _ in links:
            place = experiment / "models" / str(model) / "metrics" / at[0]
            self._report.leave(
                place, f"its value of step {at[2]} is not the model's any more: {why}"
            )

    def _links(self, models: list[Model]) -> dict[str, dict[tuple[str, int, int], list[_Link]]]:
        """Which values of which run belong to a logged model."""
        found: dict[str, dict[tuple[str, int, int], list[_Link]]] = {}
        for model in models:
            for key, given in self._source.model_points(model.folder / "metrics"):
                of_run = found.setdefault(given.run_id, {})
                of_run.setdefault((key, given.point.timestamp, given.point.step), []).append(
                    (model.model_id, given.dataset, given.digest)
                )
        return found

    def _inputs_and_outputs(
        self, run: Run, new: str, datasets: Mapping[str, Mapping[str, Any]]
    ) -> None:
        from mlflow.entities import LoggedModelInput, LoggedModelOutput  # noqa: PLC0415

        for place, meta in self._source.metas(run.folder / "inputs"):
            of_model = meta.get("source_type") == "MODEL"
            known: Mapping[str, Any] = self._models if of_model else datasets
            given = known.get(str(meta.get("source_id")))
            if given is None:
                self._report.leave(place, "what it names is not in the folder")
                continue
            with told(self._report, place, "the input is not taken"):
                if of_model:
                    self._target.log_inputs(new, models=[LoggedModelInput(given)])
                else:
                    self._target.log_inputs(new, datasets=[_dataset_input(given, meta)])
                    self._report.taken["datasets"] += 1
        for place, meta in self._source.metas(run.folder / "outputs"):
            model_id = self._models.get(str(meta.get("destination_id") or place.name))
            if model_id is None:
                self._report.leave(place, "the model that it names is not in the folder")
                continue
            step = file_store.integer(meta.get("step")) or 0
            with told(self._report, place, "the output is not taken"):
                self._target.log_outputs(new, [LoggedModelOutput(model_id, step=step)])

    def _model_told(self, model: Model, experiment_id: str, run_id: str | None) -> None:
        with told(self._report, model.folder, "the model is not taken"):
            self._logged_model(model, experiment_id, run_id)

    def _logged_model(self, model: Model, experiment_id: str, run_id: str | None) -> None:
        tags = self._source.texts(model.folder / "tags")
        tags = self._fitting(model.folder, "tags", tags, None, keep=False)
        params = self._source.texts(model.folder / "params")
        params = self._fitting(model.folder, "params", params, None, keep=False)
        if model.model_id in self._models:
            self._report.known["models"] += 1
            self._artifacts.send(model.folder, model.artifact_uri, None)
            return
        made = self._target.create_logged_model(
            experiment_id,
            name=model.name or None,
            source_run_id=run_id,
            tags={**tags, SOURCE_TAG: model.model_id},
            params=params,
            model_type=model.model_type,
        )
        self._models[model.model_id] = made.model_id
        repository = self._repository(made.artifact_location)
        sent, _ = self._artifacts.send(model.folder, model.artifact_uri, repository, check=False)
        self._report.taken["artifact files"] += sent
        if model.status in ("READY", "FAILED"):
            self._target.finalize_logged_model(made.model_id, model.status)
        self._report.taken["models"] += 1

    def _with_new_ids(self, text: str) -> str:
        def new(found: re.Match[str]) -> str:
            old = found.group()
            return self._models.get(old) or self._runs.get(old) or old

        return re.sub(r"\bm-[0-9a-f]{32}\b|\b[0-9a-f]{32}\b", new, text)


def _dataset_input(given: Mapping[str, Any], meta: Mapping[str, Any]) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag  # noqa: PLC0415

    tags = meta.get("tags")
    dataset = Dataset(
        name=str(given.get("name") or ""),
        digest=str(given.get("digest") or ""),
        source_type=str(given.get("source_type") or ""),
        source=str(given.get("source") or ""),
        schema=None if given.get("schema") is None else str(given["schema"]),
        profile=None if given.get("profile") is None else str(given["profile"]),
    )
    named = tags if isinstance(tags, dict) else {}
    return DatasetInput(dataset, [InputTag(str(key), str(value)) for key, value in named.items()])
