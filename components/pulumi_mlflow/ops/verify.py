"""Whether a server does what people come to MLflow for: a real training run goes through its front door and back.

Nothing of it is taken away afterwards: the run, in experiment `pulumi-mlflow-verify`, is what a person looks at next.
Each check may be run again and again on the same server.
"""

import hashlib
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from .refusal import mlflow_routes, refused_everywhere, refuses_password
from .stack import FrontDoor

EXPERIMENT = "pulumi-mlflow-verify"
MODEL = "pulumi-mlflow-verify"
ALIAS = "champion"

ARTIFACT_BYTES = 100_000_000
"""Over every default limit on request bodies between client and store (nginx 1 MB, gateways 10-60 MB)."""

EPOCHS = 20

_CHUNK = 1 << 20
_CLIENT_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",  # seconds without a byte; a store may take a while over 100 MB
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
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


class Result(Enum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_RUN = "not run"
    """Something that it needs failed before."""
    NOT_APPLICABLE = "n/a"
    """The server is not meant to do this."""


@dataclass(frozen=True)
class Outcome:
    """A check's row in the table."""

    title: str
    result: Result
    seconds: float
    detail: str


class CheckError(Exception):
    """The server answered, and the answer is wrong."""


class NotApplicableError(Exception):
    """The server is not meant to do what the check asks for."""


@dataclass(frozen=True)
class Check:
    """One thing to prove, after those in `needs` were."""

    title: str
    run: Callable[[], str]
    """Returns the detail for the table; raises whatever went wrong."""
    needs: tuple[str, ...] = ()


def succeeded(outcomes: list[Outcome]) -> bool:
    """Whether every check passed that applies."""
    return all(o.result in {Result.PASSED, Result.NOT_APPLICABLE} for o in outcomes)


def verify(door: FrontDoor, on_start: Callable[[str], None]) -> list[Outcome]:
    """Run all checks against a server; one failure does not keep the others from running.

    Args:
        door: the server and the login to use.
        on_start: called with a check's title when it starts.

    Returns:
        One outcome a check, in order.
    """
    outcomes: list[Outcome] = []
    with _client_environment(door), _quiet(), tempfile.TemporaryDirectory() as scratch:
        for check in _Verification(door, Path(scratch)).checks():
            on_start(check.title)
            outcomes.append(_run(check, outcomes, door))
    return outcomes


def _run(check: Check, before: list[Outcome], door: FrontDoor) -> Outcome:
    missing = [o.title for o in before if o.title in check.needs and o.result is not Result.PASSED]
    if missing:
        return Outcome(check.title, Result.NOT_RUN, 0, f"needs: {missing[0]}")
    start = time.monotonic()
    try:
        result, detail = Result.PASSED, check.run()
    except NotApplicableError as error:
        result, detail = Result.NOT_APPLICABLE, str(error)
    except Exception as error:  # noqa: BLE001, however a check fails, that is its result
        kind = "" if isinstance(error, CheckError) else f"{type(error).__name__}: "
        result, detail = Result.FAILED, f"{kind}{error}"
    return Outcome(check.title, result, time.monotonic() - start, _redacted(detail, door))


def _redacted(text: str, door: FrontDoor) -> str:
    return text.replace(door.login[1], "…") if door.login and door.login[1] else text


@contextmanager
def _client_environment(door: FrontDoor) -> Iterator[None]:
    """MLflow's client configured for this server alone, whatever the shell has set for the person's own runs."""
    before = dict(os.environ)
    settings = _CLIENT_SETTINGS | {"MLFLOW_TRACKING_URI": door.tracking_uri}
    if door.login:
        settings["MLFLOW_TRACKING_USERNAME"], settings["MLFLOW_TRACKING_PASSWORD"] = door.login
    kept = {k: v for k, v in before.items() if not k.startswith("MLFLOW_") or k in _KEPT_SETTINGS}
    _replace_environment(kept | settings)
    try:
        yield
    finally:
        _replace_environment(before)


def _replace_environment(values: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(values)


@contextmanager
def _quiet() -> Iterator[None]:
    """The table is the output; hints of MLflow and scikit-learn to people who train are not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@dataclass
class _Verification:
    """The checks, and what one hands to the next."""

    door: FrontDoor
    scratch: Path
    run_id: str = ""
    params: dict[str, str] = field(default_factory=dict)
    accuracy: list[float] = field(default_factory=list)
    model: Any = None
    model_uri: str = ""
    inputs: Any = None
    version: str = ""
    payload_hash: str = ""

    def checks(self) -> list[Check]:
        """All checks, in the order in which they run."""
        answers, run, model = "server answers", "run: parameters, metrics", "model with signature"
        alias, upload = f"registry alias '{ALIAS}'", "100 MB artifact up"
        return [
            Check(answers, self.answers),
            Check("anonymous is refused", self.refuses_anonymous, (answers,)),
            Check("wrong password is refused", self.refuses_wrong_password, (answers,)),
            Check(run, self.trains, (answers,)),
            Check("run reads back", self.reads_back, (run,)),
            Check("plot", self.logs_plot, (run,)),
            Check(model, self.logs_model, (run,)),
            Check(alias, self.registers, (model,)),
            Check(f"'{ALIAS}' predicts the same", self.predicts, (alias,)),
            Check(upload, self.uploads, (run,)),
            Check("100 MB artifact down", self.downloads, (upload,)),
            Check("search finds the run", self.ends, (run,)),
        ]

    def answers(self) -> str:
        """The health check and the version, with the login."""
        health = self.door.get("/health")
        if not health.ok:
            raise CheckError(f"/health answered {health.status_code}")
        return f"MLflow {self.door.version()}"

    def refuses_anonymous(self) -> str:
        """No route of MLflow's but /health answers without a login."""
        self._require_login()
        routes = mlflow_routes()
        leaks = refused_everywhere(self.door.tracking_uri, routes)
        if leaks:
            raise CheckError(f"{len(leaks)} not refused, such as {leaks[0]}")
        return f"{len(routes)} routes: API, UI, artifacts"

    def refuses_wrong_password(self) -> str:
        """Neither another password nor an empty one opens any kind of route."""
        username, password = self._require_login()
        for wrong in (f"{password}x", ""):
            leaks = refuses_password(self.door.tracking_uri, (username, wrong))
            if leaks:
                raise CheckError(f"{len(leaks)} not refused, such as {leaks[0]}")
        return "API, UI, artifacts"

    def trains(self) -> str:
        """A classifier of handwritten digits, with its accuracy logged after each epoch."""
        import mlflow  # noqa: PLC0415, takes seconds, and only this command needs it
        from sklearn.datasets import load_digits  # noqa: PLC0415
        from sklearn.linear_model import SGDClassifier  # noqa: PLC0415
        from sklearn.model_selection import train_test_split  # noqa: PLC0415

        digits = load_digits(as_frame=True)
        # Pixels are 0..16.
        train, self.inputs, labels, truth = train_test_split(
            digits.data / 16, digits.target, random_state=0
        )
        self.model = SGDClassifier(loss="log_loss", random_state=0)
        self.params = {"loss": "log_loss", "epochs": str(EPOCHS), "alpha": str(self.model.alpha)}
        self.run_id = self._client.create_run(self._experiment_id(), run_name="verify").info.run_id
        with mlflow.start_run(run_id=self.run_id):
            mlflow.log_params(self.params)
            for epoch in range(EPOCHS):
                self.model.partial_fit(train, labels, classes=digits.target.unique())
                self.accuracy.append(float(self.model.score(self.inputs, truth)))
                mlflow.log_metric("accuracy", self.accuracy[-1], step=epoch)
        return f"{EPOCHS} epochs, accuracy {self.accuracy[-1]:.3f}"

    def reads_back(self) -> str:
        """What the server has is what was logged."""
        found = self._client.get_run(self.run_id).data.params
        if found != self.params:
            raise CheckError(f"parameters: logged {self.params}, found {found}")
        history = self._client.get_metric_history(self.run_id, "accuracy")
        values = [m.value for m in sorted(history, key=lambda m: m.step)]
        if values != self.accuracy:
            raise CheckError(f"accuracy: logged {self.accuracy}, found {values}")
        return f"{len(found)} parameters, {len(values)} steps"

    def logs_plot(self) -> str:
        """A figure goes up and comes back as a PNG."""
        from matplotlib.figure import Figure  # noqa: PLC0415

        # Without pyplot: no display is looked for.
        figure = Figure()
        figure.subplots().plot(self.accuracy)
        self._client.log_figure(self.run_id, figure, "plots/accuracy.png")
        content = self._download("plots/accuracy.png").read_bytes()
        if not content.startswith(b"\x89PNG"):
            raise CheckError(f"came back as {content[:8]!r}, which is no PNG")
        return f"{len(content) / 1e3:.0f} kB"

    def logs_model(self) -> str:
        """The model goes up, and its signature is read back."""
        import mlflow  # noqa: PLC0415
        import sklearn  # noqa: PLC0415

        signature = mlflow.models.infer_signature(self.inputs, self.model.predict(self.inputs))
        with mlflow.start_run(run_id=self.run_id):
            logged = mlflow.sklearn.log_model(
                self.model,
                name="digits",
                signature=signature,
                input_example=self.inputs.head(3),
                # Given, or MLflow would find them out in a second Python process.
                pip_requirements=[f"scikit-learn=={sklearn.__version__}"],
            )
        self.model_uri = logged.model_uri
        found = mlflow.models.get_model_info(self.model_uri)
        if found.signature != signature:
            raise CheckError(f"signature: logged {signature}, found {found.signature}")
        if not found.saved_input_example_info:
            raise CheckError("the input example is gone")
        return f"{len(signature.inputs)} inputs, {len(signature.outputs)} output"

    def registers(self) -> str:
        """A new version of the registered model gets the alias."""
        import mlflow  # noqa: PLC0415

        try:
            self._client.create_registered_model(MODEL)
        except mlflow.MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        made = self._client.create_model_version(
            MODEL, self.model_uri, self.run_id, model_id=self.model_uri.rsplit("/", 1)[-1]
        )
        self.version = made.version
        self._client.set_registered_model_alias(MODEL, ALIAS, self.version)
        found = self._client.get_model_version_by_alias(MODEL, ALIAS)
        if found.version != self.version:
            raise CheckError(f"'{ALIAS}' is version {found.version}, not {self.version}")
        return f"{MODEL} version {self.version}"

    def predicts(self) -> str:
        """The model that the alias names predicts what the trained one does."""
        import mlflow  # noqa: PLC0415

        loaded = mlflow.pyfunc.load_model(f"models:/{MODEL}@{ALIAS}")
        expected, found = self.model.predict(self.inputs), loaded.predict(self.inputs)
        if list(expected) != list(found):
            raise CheckError(f"{(expected != found).sum()} of {len(expected)} predictions differ")
        return f"{len(expected)} predictions"

    def uploads(self) -> str:
        """Random bytes, so that nothing on the way can compress them."""
        payload = self.scratch / "payload.bin"
        digest = hashlib.sha256()
        with payload.open("wb") as file:
            for start in range(0, ARTIFACT_BYTES, _CHUNK):
                block = os.urandom(min(_CHUNK, ARTIFACT_BYTES - start))
                digest.update(block)
                file.write(block)
        self.payload_hash = digest.hexdigest()
        start_time = time.monotonic()
        self._client.log_artifact(self.run_id, str(payload), "large")
        payload.unlink()
        return _speed(time.monotonic() - start_time)

    def downloads(self) -> str:
        """The bytes that come back are those that went up."""
        start_time = time.monotonic()
        payload = self._download("large/payload.bin")
        seconds = time.monotonic() - start_time
        with payload.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != self.payload_hash:
            size = payload.stat().st_size
            raise CheckError(f"sha256 {found}, not {self.payload_hash}; {size} bytes came back")
        return _speed(seconds)

    def ends(self) -> str:
        """The run is found as finished by a search over its metric."""
        self._client.set_terminated(self.run_id)
        found = self._client.search_runs(
            [self._experiment_id()],
            f"metrics.accuracy > 0 and attributes.status = 'FINISHED' and attributes.run_id = '{self.run_id}'",
        )
        if [r.info.run_id for r in found] != [self.run_id]:
            raise CheckError(f"run {self.run_id} is not among the search's results")
        return f"run {self.run_id}"

    @property
    def _client(self) -> Any:
        import mlflow  # noqa: PLC0415

        mlflow.set_tracking_uri(self.door.tracking_uri)
        mlflow.set_registry_uri(self.door.tracking_uri)
        return mlflow.MlflowClient()

    def _experiment_id(self) -> str:
        import mlflow  # noqa: PLC0415

        found = self._client.get_experiment_by_name(EXPERIMENT)
        if found and found.lifecycle_stage == "deleted":
            self._client.restore_experiment(found.experiment_id)
        return str(mlflow.set_experiment(EXPERIMENT).experiment_id)

    def _download(self, path: str) -> Path:
        return Path(self._client.download_artifacts(self.run_id, path, str(self.scratch)))

    def _require_login(self) -> tuple[str, str]:
        if self.door.login is None:
            raise NotApplicableError("the server asks for no login")
        return self.door.login


def _speed(seconds: float) -> str:
    return f"{ARTIFACT_BYTES / 1e6 / seconds:.0f} MB/s"
