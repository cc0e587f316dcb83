"""The server that behaviours are proved on, as MLflow's own client and as plain HTTP see it."""

import os
import secrets
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from pulumi_mlflow.ops import env
from pulumi_mlflow.ops.stack import TOKEN, FrontDoor

EXPERIMENT = "pulumi-mlflow-verify"

TIMEOUT = 60
"""Seconds without a byte; a store may take a while over 100 MB."""

_CLIENT_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": str(TIMEOUT),
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_ENABLE_ASYNC_TRACE_LOGGING": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
}
_KEPT_SETTINGS = (
    "MLFLOW_TRACKING_INSECURE_TLS",
    "MLFLOW_TRACKING_SERVER_CERT_PATH",
    "MLFLOW_TRACKING_CLIENT_CERT_PATH",
)
"""How this machine trusts a server; everything else of MLFLOW_* belongs to the person's own runs."""


class RefusedError(Exception):
    """The server answered 4xx: it does not take what was sent."""


class BrokenError(Exception):
    """The server answered 5xx."""


@dataclass
class Training:
    """What one step of the training run hands to the next."""

    run_id: str = ""
    params: dict[str, str] = field(default_factory=dict)
    accuracy: list[float] = field(default_factory=list)
    model: Any = None
    model_uri: str = ""
    inputs: Any = None
    version: str = ""
    payload_hash: str = ""


@dataclass
class Server:
    """A server, and what behaviours need beside it."""

    door: FrontDoor
    scratch: Path
    """Folder that is deleted afterwards."""
    training: Training = field(default_factory=Training)
    mark: str = field(default_factory=lambda: secrets.token_hex(4))
    """In the names of what this verification makes, so that two do not meet."""

    def __post_init__(self) -> None:
        self._session = self.door.session()

    @property
    def client(self) -> Any:
        """MLflow's client, as a training script has it."""
        import mlflow  # noqa: PLC0415, takes seconds, and only this command needs it

        mlflow.set_tracking_uri(self.door.tracking_uri)
        mlflow.set_registry_uri(self.door.tracking_uri)
        return mlflow.MlflowClient()

    def experiment_id(self) -> str:
        """The experiment of all verifications; made, or brought back, if it is not there."""
        import mlflow  # noqa: PLC0415

        # An experiment keeps the place of its artifacts, so another way to artifacts has another experiment.
        name = f"{EXPERIMENT}-direct" if self.door.store else EXPERIMENT
        found = self.client.get_experiment_by_name(name)
        if found and found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        return str(mlflow.set_experiment(name).experiment_id)

    def new_run(self, name: str, parent: str | None = None) -> str:
        """The id of a new run."""
        tags = {"mlflow.parentRunId": parent} if parent else {}
        made = self.client.create_run(self.experiment_id(), run_name=name, tags=tags)
        return str(made.info.run_id)

    def download(self, run_id: str, path: str) -> Path:
        """A run's artifact, as a file in the scratch folder."""
        return Path(self.client.download_artifacts(run_id, path, str(self.scratch)))

    def request(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """A plain request, logged in; not thread-safe.

        Raises:
            RefusedError: 4xx.
            BrokenError: 5xx.
        """
        answer = self._session.request(
            method, f"{self.door.tracking_uri}{path}", timeout=TIMEOUT, **arguments
        )
        text = f"{method} {path} → {answer.status_code}: {answer.text[:200]}"
        if answer.status_code >= requests.codes.server_error:
            raise BrokenError(text)
        if answer.status_code >= requests.codes.bad_request:
            raise RefusedError(text)
        return answer

    def api(self, method: str, path: str, **fields: Any) -> dict[str, Any]:
        """One call of MLflow's REST API 2.0; fields go into the query of a GET, else into a JSON body."""
        where = "params" if method == "GET" else "json"
        answer = self.request(method, f"/api/2.0/mlflow/{path}", **{where: fields})
        found: dict[str, Any] = answer.json()
        return found


@contextmanager
def client_environment(door: FrontDoor, scratch: Path) -> Iterator[None]:
    """MLflow's client configured for this server alone, whatever the shell has set for the person's own runs.

    Args:
        door: the server.
        scratch: folder for the certificate authority, which MLflow's client reads from a file.
    """
    before = dict(os.environ)
    kept = {k: v for k, v in before.items() if not k.startswith("MLFLOW_") or k in _KEPT_SETTINGS}
    _replace_environment(kept | _CLIENT_SETTINGS | _door_environment(door, scratch))
    try:
        yield
    finally:
        _replace_environment(before)


def _door_environment(door: FrontDoor, scratch: Path) -> dict[str, str]:
    file = scratch / "ca.pem"
    if door.ca:
        file.write_text(door.ca)
    found = env.variables(door, file if door.ca else None)
    return {**found, TOKEN: door.token.get_secret_value()} if door.token else found


def _replace_environment(values: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(values)


@contextmanager
def quiet() -> Iterator[None]:
    """The table is the output; hints of MLflow and scikit-learn to people who train are not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
