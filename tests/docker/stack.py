"""A stack like `dev` on the real engine, and what a test asks of it."""

import contextlib
import hashlib
import itertools
import os
import random
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import docker
import mlflow
import requests
import yaml
from docker.models.containers import Container
from tests.support import ROOT, Workspace, free_port

from pulumi_mlflow.docker import engine

ROLES = ("database", "artifacts", "tracking", "proxy")
DEPLOYMENT = "pulumi-mlflow/deployment"
KINDS = ("containers", "networks", "volumes")

_CLIENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""Without retries, which would hide that a server is away."""


def new_name() -> str:
    """Of a stack that nobody else on this engine has."""
    return f"it{secrets.token_hex(4)}"


def dev_settings(**access: Any) -> dict[str, Any]:
    """The settings of Pulumi.dev.yaml, on a free port."""
    config = yaml.safe_load((ROOT / "Pulumi.dev.yaml").read_text())["config"]
    settings = {key.removeprefix("mlflow:"): value for key, value in config.items()}
    return {**settings, "access": {**settings["access"], "port": free_port(), **access}}


def labelled(client: docker.DockerClient, kind: str, deployment: str) -> list[Any]:
    """Containers, networks or volumes of a deployment."""
    every = {"all": True} if kind == "containers" else {}
    return getattr(client, kind).list(filters={"label": f"{DEPLOYMENT}={deployment}"}, **every)


def left(client: docker.DockerClient, deployment: str) -> dict[str, list[str]]:
    """All that an engine has of a deployment, by label and by name: kind → names."""
    found = {kind: {thing.name for thing in labelled(client, kind, deployment)} for kind in KINDS}
    for kind in KINDS:
        every = {"all": True} if kind == "containers" else {}
        names = (thing.name for thing in getattr(client, kind).list(**every))
        found[kind] |= {name for name in names if deployment in name}
    return {kind: sorted(names) for kind, names in found.items() if names}


def sweep(client: docker.DockerClient, deployment: str) -> None:
    """Remove what a failed test has left of a deployment, and nothing else."""
    for container in labelled(client, "containers", deployment):
        container.remove(force=True, v=True)
    for kind in ("networks", "volumes"):
        for thing in labelled(client, kind, deployment):
            thing.remove()


class Logged(NamedTuple):
    """A run that is there, and what must come back of it."""

    run_id: str
    metrics: list[float]
    sha256: str


class DockerStack(Workspace):
    """A stack of the docker runtime in a project of its own, or beside another."""

    def __init__(
        self, client: docker.DockerClient, folder: Path, settings: dict[str, Any] | None = None
    ) -> None:
        self.client = client
        self.settings = settings or dev_settings()
        self._outputs: tuple[int, dict[str, Any]] = 0, {}
        super().__init__(folder, new_name(), self.settings)
        self.deployment = f"mlflow-{self.stack}"
        found_out = ROOT / ".state" / "machine.json"
        if found_out.exists():
            # Where images come from on this machine: set-up would find the same for the copy.
            (folder / ".state").mkdir(exist_ok=True)
            shutil.copy(found_out, folder / ".state")

    def write(self, **typed: str) -> None:
        """Write the settings into the stack's file.

        Args:
            typed: secrets, which a person types.
        """
        self.configure(self.settings)
        if typed:
            pairs = (("--secret", f"mlflow:{key}={value}") for key, value in typed.items())
            self.pulumi("config", "set-all", *itertools.chain(*pairs))

    def change(self, settings: dict[str, Any]) -> None:
        """Change some keys of some sections."""
        for section, keys in settings.items():
            self.settings[section] = {**self.settings.get(section, {}), **keys}
        self.configure(self.settings)

    def up(self, *arguments: str, ok: bool = True) -> str:
        started = time.monotonic()
        command = ("pulumi", "up", "--yes", "--skip-preview", *arguments, "-s", self.stack)
        # The first one on a machine builds images.
        output = self.run(*command, "--non-interactive", ok=ok, seconds=1500)
        print(f"up of {self.stack}: {time.monotonic() - started:.0f} s")
        return output

    def unchanged(self) -> None:
        """`preview`, which refreshes first as `up` does, proposes nothing."""
        self.pulumi("preview", "--expect-no-changes", "--diff")

    def cli(self, command: str, *arguments: str, ok: bool = True) -> str:
        return self.run("pulumi-mlflow", command, "--stack", self.stack, *arguments, ok=ok)

    def outputs(self) -> dict[str, Any]:
        """What the stack's outputs are; asked for once for each state, since the program takes a second or two."""
        (state,) = self.backend.glob(f".pulumi/stacks/*/{self.stack}.json")
        written = state.stat().st_mtime_ns
        if self._outputs[0] != written:
            self._outputs = written, self.read("stack", "output", "--json", "--show-secrets")
        return self._outputs[1]

    def container(self, role: str) -> Container:
        return self.client.containers.get(f"{self.deployment}-{role}")

    def containers(self) -> dict[str, Container]:
        """Role → running container."""
        found = self.client.containers.list(filters={"label": f"{DEPLOYMENT}={self.deployment}"})
        return {container.labels["pulumi-mlflow/role"]: container for container in found}

    def execute(self, role: str, *command: str) -> str:
        """Run a program in a container; what it prints."""
        code, output = self.container(role).exec_run(list(command))
        assert code == 0, output.decode()
        return str(output.decode())

    def left(self) -> dict[str, list[str]]:
        return left(self.client, self.deployment)

    def close(self) -> None:
        """Purge; nothing of the stack stays on the engine."""
        try:
            self.cli("down", "--purge", "--yes")
            remaining = self.left()
        finally:
            sweep(self.client, self.deployment)
        assert remaining == {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings['access']['port']}"

    def session(self) -> requests.Session:
        """Logged in, with nothing but what the stack's outputs say."""
        outputs = self.outputs()
        session = requests.Session()
        session.auth = (outputs["username"], outputs["password"])
        return session

    @contextlib.contextmanager
    def mlflow(self) -> Iterator[mlflow.MlflowClient]:
        """MLflow's own client, as a training script has it."""
        outputs = self.outputs()
        login = {
            "MLFLOW_TRACKING_USERNAME": outputs["username"],
            "MLFLOW_TRACKING_PASSWORD": outputs["password"],
        }
        before = mlflow.get_tracking_uri()
        with mock.patch.dict(os.environ, {**_CLIENT, **login}):
            mlflow.set_tracking_uri(outputs["tracking_uri"])
            try:
                yield mlflow.MlflowClient()
            finally:
                mlflow.set_tracking_uri(before)


def log_run(client: mlflow.MlflowClient, folder: Path, experiment: str = "docker") -> Logged:
    """Log metrics and an artifact, as a training script does."""
    found = client.get_experiment_by_name(experiment)
    experiment_id = found.experiment_id if found else client.create_experiment(experiment)
    run_id = client.create_run(experiment_id).info.run_id
    metrics = [random.random() for _ in range(3)]
    for step, value in enumerate(metrics):
        client.log_metric(run_id, "loss", value, step=step)
    folder.mkdir(exist_ok=True)
    file = folder / "weights.bin"
    file.write_bytes(os.urandom(100_000))
    client.log_artifact(run_id, str(file))
    client.set_terminated(run_id)
    return Logged(run_id, metrics, sha256(file))


def check_run(client: mlflow.MlflowClient, run: Logged, folder: Path) -> None:
    """The run is there, with what was logged."""
    history = client.get_metric_history(run.run_id, "loss")
    assert [m.value for m in sorted(history, key=lambda m: m.step)] == run.metrics
    folder.mkdir(exist_ok=True)
    found = Path(client.download_artifacts(run.run_id, "weights.bin", str(folder)))
    assert sha256(found) == run.sha256


def sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def at_volume(
    client: docker.DockerClient, deployment: str, image: str, volume: str, path: str, script: str
) -> str:
    """Run a shell script, as the image's user, on a volume of a stack that is down."""
    job = engine.Job(
        name=f"{deployment}-by-hand",
        image=image,
        entrypoint=["/bin/sh", "-euc"],
        command=[script],
        volumes={volume: path},
        labels={DEPLOYMENT: deployment},
        timeout=60,
    )
    return engine.run_job(client, job)


def there_and_back(stack: DockerStack, number: int, size: int, seconds: float) -> tuple[str, str]:
    """Upload an artifact of `size` MB and download it; the hashes of what was sent and what came back."""
    session = stack.session()
    url = f"{stack.url}/api/2.0/mlflow-artifacts/artifacts/big/{number}.bin"
    sent, received = hashlib.sha256(), hashlib.sha256()
    block = os.urandom(1_000_000)

    def parts() -> Iterator[bytes]:
        for count in range(size):
            part = count.to_bytes(4, "big") + block[4:]
            sent.update(part)
            yield part

    # In chunks, so that nobody knows its length before its end.
    assert session.put(url, data=parts(), timeout=seconds).status_code == 200
    with session.get(url, stream=True, timeout=seconds) as answer:
        assert answer.status_code == 200
        for part in answer.iter_content(1_000_000):
            received.update(part)
    session.delete(url, timeout=60).raise_for_status()
    return sent.hexdigest(), received.hexdigest()
