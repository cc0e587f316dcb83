"""Registered models of the folder, with their versions, on the server."""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ...core import file_store
from .records import Registered, Version
from .refusals import told
from .report import Report


class Registry:
    """Brings registered models.

    Args:
        target: MLflow's client of the server.
        report: what is told.
        source_tag: tag of a version: its number in the folder.
        runs: run in the folder → run on the server.
        models: logged model in the folder → logged model on the server.
        pages: everything that a search finds.
    """

    def __init__(
        self,
        target: Any,
        report: Report,
        source_tag: str,
        runs: Mapping[str, str],
        models: Mapping[str, str],
        pages: Callable[..., Iterable[Any]],
    ) -> None:
        self._target, self._report, self._source_tag = target, report, source_tag
        self._runs, self._models, self._pages = runs, models, pages

    def bring(self, model: Registered) -> None:
        """Make a model unless it is there, with the versions and aliases that it lacks."""
        from mlflow.exceptions import MlflowException  # noqa: PLC0415 - takes seconds

        with told(self._report, model.folder, f"model {model.name!r} is not taken") as outcome:
            try:
                self._target.get_registered_model(model.name)
                self._report.known["registered models"] += 1
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                tags = self._fitting(model.folder, model.tags)
                self._target.create_registered_model(model.name, tags, model.description)
                self._report.taken["registered models"] += 1
        if outcome.refused:
            return
        quoted = model.name.replace("'", "''")
        there = {
            version.tags[self._source_tag]: version.version
            for version in self._pages(
                self._target.search_model_versions, filter_string=f"name = '{quoted}'"
            )
            if self._source_tag in version.tags
        }
        for version in model.versions:
            what = f"model {model.name!r} version {version.number}"
            with told(self._report, version.folder, f"{what} is not taken"):
                self._version(model.name, version, there, what)
        for alias, number in model.aliases.items():
            place = model.folder / "aliases" / alias
            if number in there:
                with told(self._report, place, "the alias is not taken"):
                    self._target.set_registered_model_alias(model.name, alias, there[number])
            else:
                self._report.leave(place, f"names version {number!r}, which was not imported")

    def _version(self, name: str, version: Version, there: dict[str, str], what: str) -> None:
        number = str(version.number)
        tags = self._fitting(version.folder, version.tags)
        source, model_id = self._source_of(version)
        if number in there:
            self._report.known["model versions"] += 1
        elif source is None:
            self._report.leave(
                version.folder, f"{what}: its source {version.source} was not imported"
            )
            return
        else:
            made = self._target.create_model_version(
                name,
                source,
                run_id=self._runs.get(version.run_id),
                tags={**tags, self._source_tag: number},
                description=version.description,
                model_id=model_id,
            )
            there[number] = str(made.version)
            self._report.taken["model versions"] += 1
            if version.stage not in ("", "None"):
                with told(self._report, version.folder, f"its stage {version.stage} is not taken"):
                    self._target.transition_model_version_stage(name, made.version, version.stage)
        if str(there[number]) != number:
            self._report.leave(version.folder, f"{what}: is version {there[number]} on the server")

    def _fitting(self, folder: Path, tags: Mapping[str, str]) -> dict[str, str]:
        found = {}
        for key, value in tags.items():
            sent, lost = file_store.cut(value, file_store.LONGEST_MODEL_TAG)
            if lost:
                self._report.leave(folder / "tags" / key, lost)
            if sent is not None:
                found[key] = sent
        return found

    def _source_of(self, version: Version) -> tuple[str | None, str | None]:
        """Where a version's files are on the server, and the logged model that they belong to."""
        if found := re.search(r"\bm-[0-9a-f]{32}\b", version.source):
            model_id = self._models.get(found.group())
            return (f"models:/{model_id}" if model_id else None), model_id
        if version.run_id not in self._runs:
            return None, None
        inside = version.source.partition(f"{version.run_id}/artifacts/")[2]
        inside = inside or version.source.partition(f"runs:/{version.run_id}/")[2]
        if not inside:
            return None, None
        run = self._target.get_run(self._runs[version.run_id])
        return f"{run.info.artifact_uri.rstrip('/')}/{inside}", None
