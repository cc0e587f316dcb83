"""Measures the memory that the server, the server for jobs, the migration and the clean-up take, for core/budgets.py.

`python3 toolchain/setup.py run -- python docs/memory.py IMAGE [NAME…]`, as root on the Docker engine's own machine,
runs each in a container of the server's image (`docker ps` names yours), with SQLite and a simulated S3, and prints the
table of docs/memory.md. Takes some ten minutes.

What counts is what the kernel cannot take back: anonymous and shared memory, and its own for the container. The page
cache, which `docker stats` and the kernel's own maximum count too, is given up before anything is killed.
"""

import argparse
import concurrent.futures
import contextlib
import functools
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import docker
import requests
import tenacity
from docker.models.containers import Container
from moto.server import ThreadedMotoServer

from pulumi_mlflow.core import budgets, server_image
from pulumi_mlflow.core.server import ServerSettings, server_argv, server_environment

GROUPS = Path("/sys/fs/cgroup")
SETTLE_SECONDS = 45
"""After which an idle server starts nothing more: the processes that run jobs come after it answers."""
CLIENTS, BATCHES, METRICS = 8, 20, 100
ARTIFACT_MB = 30
BUCKET = "memory"
DATABASE = {
    "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{server_image.SCRATCH}/mlflow.db",
    "MLFLOW_CRYPTO_KEK_PASSPHRASE": "of a measurement",
    "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
    "AWS_ACCESS_KEY_ID": "measured",
    "AWS_SECRET_ACCESS_KEY": "measured",
    "SCRATCH": server_image.SCRATCH,
    "TMPDIR": server_image.SCRATCH,
}


class Group:
    """The control group of a process, of either version, and the most memory that it has held.

    Args:
        pid: of the process.
    """

    def __init__(self, pid: int) -> None:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
        paths = {names: path for _, names, path in (line.split(":", 2) for line in lines)}
        self._old = "memory" in paths
        self._folder = (
            GROUPS / ("memory" if self._old else "") / paths["memory" if self._old else ""][1:]
        )
        self._over = threading.Event()
        self.now = self.most = 0.0
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _read(self) -> float:
        """MiB."""
        lines = (line.split() for line in (self._folder / "memory.stat").read_text().splitlines())
        stat = {name: int(value) for name, value in lines}
        if self._old:
            kernel = int((self._folder / "memory.kmem.usage_in_bytes").read_text())
            held = stat["total_rss"] + stat["total_shmem"] + kernel
        else:
            held = stat["anon"] + stat["shmem"] + stat["kernel"] - stat["slab_reclaimable"]
        return held / 2**20

    def _watch(self) -> None:
        # The group goes with its last process.
        with contextlib.suppress(OSError):
            while not self._over.wait(0.2):
                self.now = self._read()
                self.most = max(self.most, self.now)

    def end(self) -> None:
        """Stop counting."""
        self._over.set()
        self._thread.join()


@contextlib.contextmanager
def running(
    case: "Case", argv: Sequence[str], environment: Mapping[str, str]
) -> Iterator[tuple[Group, Container]]:
    """Run a program of the image."""
    container = case.client.containers.run(
        case.image,
        list(argv),
        entrypoint=[],
        environment={**environment, **DATABASE},
        network_mode="host",
        volumes={case.volume: {"bind": server_image.SCRATCH}},
        detach=True,
    )
    group = None
    try:
        container.reload()
        group = Group(container.attrs["State"]["Pid"])
        yield group, container
    finally:
        if group:
            group.end()
        container.remove(force=True)


@dataclass(frozen=True)
class Case:
    """What a measurement is given.

    Attributes:
        client: the engine.
        image: the server's.
        volume: an empty one, for its database and files.
        store: URL of an S3 that has the bucket.
    """

    client: docker.DockerClient
    image: str
    volume: str
    store: str


def settings_of(store: str, workers: int, *, jobs: bool) -> ServerSettings:
    """As a container's, on a free port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return ServerSettings(
        host="127.0.0.1",
        port=port,
        workers=workers,
        pool_size=budgets.POOL_SIZE,
        max_overflow=budgets.MAX_OVERFLOW,
        artifacts_destination=f"s3://{BUCKET}/mlflow",
        allowed_hosts=("127.0.0.1:*",),
        scratch_dir=server_image.SCRATCH,
        s3_endpoint_url=store,
        jobs=jobs,
    )


def log(url: str) -> None:
    """What a client does: a run with metrics, a file up and down."""
    session = requests.Session()

    def post(path: str, body: dict[str, object]) -> dict[str, dict[str, dict[str, str]]]:
        answer = session.post(f"{url}/api/2.0/mlflow/{path}", json=body, timeout=300)
        answer.raise_for_status()
        return dict(answer.json())

    run = post("runs/create", {"experiment_id": "0"})["run"]["info"]["run_id"]
    for step in range(BATCHES):
        metrics = [
            {"key": f"m{number}", "value": step, "timestamp": 1, "step": step}
            for number in range(METRICS)
        ]
        post("runs/log-batch", {"run_id": run, "metrics": metrics})
    file = f"{url}/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts/model.bin"
    session.put(file, data=os.urandom(ARTIFACT_MB << 20), timeout=300).raise_for_status()
    for part in session.get(file, stream=True, timeout=300).iter_content(1 << 20):
        del part


def measure_server(case: Case, workers: int, *, jobs: bool = False) -> str:
    """Idle and busy; the middle cells of its row."""
    settings = settings_of(case.store, workers, jobs=jobs)
    argv = [*server_image.BOOT, "serve", *server_argv(settings)]
    url = f"http://127.0.0.1:{settings.port}"
    with running(case, argv, server_environment(settings)) as (group, _):
        for attempt in tenacity.Retrying(
            stop=tenacity.stop_after_delay(600), wait=tenacity.wait_fixed(0.5), reraise=True
        ):
            with attempt:
                requests.get(f"{url}/health", timeout=5).raise_for_status()
        time.sleep(SETTLE_SECONDS)
        now, started = group.now, group.most
        with concurrent.futures.ThreadPoolExecutor(CLIENTS) as clients:
            list(clients.map(log, [url] * CLIENTS))
        time.sleep(1)
        return f"{now:.0f} | {started:.0f} | {group.most:.0f}"


def measure_program(case: Case, *argv: str) -> str:
    """From start to end."""
    with running(case, argv, {}) as (group, container):
        code = container.wait(timeout=900)["StatusCode"]
        if code != 0:
            raise SystemExit(f"{' '.join(argv)} ended with {code}:\n{container.logs().decode()}")
        return f"| | {group.most:.0f}"


def measure_clean_up(case: Case) -> str:
    """On a database that is there, of which nothing is due."""
    measure_program(case, *server_image.BOOT, "migrate")
    return measure_program(case, *server_image.UPKEEP, "gc", "30d")


Measured = Callable[[Case], str]

ROWS: dict[str, tuple[str, int, Measured]] = {
    **{
        f"server-{workers}": (
            f"server, {workers} worker{'s' if workers > 1 else ''}",
            budgets.server_memory_mb(workers),
            functools.partial(measure_server, workers=workers),
        )
        for workers in (1, 2, 4)
    },
    "jobs": (
        "server for jobs",
        budgets.jobs_memory_mb(),
        lambda case: measure_server(case, 1, jobs=True),
    ),
    "migration": (
        "migration",
        budgets.MIGRATION_MB,
        lambda case: measure_program(case, *server_image.BOOT, "migrate"),
    ),
    "gc": ("clean-up", budgets.UPKEEP_MB, measure_clean_up),
}
"""Name → what it is called, its limit, and what measures it."""


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(ROWS))
    given = parser.parse_args()
    client = docker.from_env(timeout=1000)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    store = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    store.start()
    host, port = store.get_host_and_port()
    url = f"http://{host}:{port}"
    requests.put(f"{url}/{BUCKET}", timeout=30).raise_for_status()
    print("| what | idle | most at its start | most | limit |")
    print("|---|---:|---:|---:|---:|")
    for name in given.names or ROWS:
        title, limit, measured = ROWS[name]
        volume = client.volumes.create()
        try:
            case = Case(client, given.image, volume.name, url)
            print(f"| {title} | {measured(case)} | {limit} |", flush=True)
        finally:
            volume.remove()
    store.stop()


if __name__ == "__main__":
    main()
