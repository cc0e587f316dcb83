"""What a folder of MLflow's file store holds, as its files say it."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Experiment:
    """An experiment.

    Attributes:
        number: its id, which is the name of its folder.
        folder: where it is.
        name: unique in the folder.
        tags: with its note.
    """

    number: str
    folder: Path
    name: str
    tags: dict[str, str]


@dataclass(frozen=True)
class Run:
    """What meta.yaml says of a run.

    Attributes:
        run_id: its old id.
        source_id: by which a later import finds it: its old id, unless another run of the folder has the same.
        folder: where it is.
        name: empty for none.
        status: MLflow's word for it.
        start: milliseconds since 1970; None where unknown.
        end: likewise; None while it runs.
        artifact_uri: where its artifacts were.
        tags: what older versions of MLflow kept in meta.yaml alone.
    """

    run_id: str
    source_id: str
    folder: Path
    name: str
    status: str
    start: int | None
    end: int | None
    artifact_uri: str
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """A logged model; attributes as MLflow has them."""

    model_id: str
    folder: Path
    name: str
    model_type: str | None
    run_id: str
    status: str
    created: int
    artifact_uri: str


@dataclass(frozen=True)
class Version:
    """A version of a registered model; attributes as MLflow has them."""

    number: int
    folder: Path
    source: str
    run_id: str
    stage: str
    description: str | None
    tags: dict[str, str]


@dataclass(frozen=True)
class Registered:
    """A registered model with its versions by number; aliases name a number."""

    name: str
    folder: Path
    description: str | None
    tags: dict[str, str]
    aliases: dict[str, str]
    versions: list[Version]
