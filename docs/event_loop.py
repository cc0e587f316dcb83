"""Compares the server's event loops, asyncio's and uvloop, for clients that keep their connection, as MLflow's does.

`python3 toolchain/setup.py run -- python docs/event_loop.py` runs two servers with SQLite side by side, asks them in
turn on one kept connection each, and prints the medians and their ratio. Takes a minute.
"""

import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import requests
import tenacity

from pulumi_mlflow.core import budgets
from pulumi_mlflow.core.server import ServerSettings, server_argv, server_environment

LOOPS = ("asyncio", "uvloop")
WORKERS = 2
REQUESTS = 200
"""Of each loop; the first tenth is not counted."""


@contextlib.contextmanager
def server(loop: str, folder: Path) -> Iterator[str]:
    """Run a server with a database of its own; yields its URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = ServerSettings(
        host="127.0.0.1",
        port=port,
        workers=WORKERS,
        pool_size=budgets.POOL_SIZE,
        max_overflow=budgets.MAX_OVERFLOW,
        artifacts_destination=str(folder / "artifacts"),
        allowed_hosts=("127.0.0.1:*",),
        scratch_dir=str(folder),
    )
    mlflow = str(Path(sys.executable).parent / "mlflow")
    process = subprocess.Popen(
        [*server_argv(settings, mlflow), "--uvicorn-opts", f"--loop {loop} --log-level error"],
        env={
            **os.environ,
            **server_environment(settings),
            "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder / 'mlflow.db'}",
        },
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for attempt in tenacity.Retrying(
            stop=tenacity.stop_after_delay(180), wait=tenacity.wait_fixed(0.5), reraise=True
        ):
            with attempt:
                requests.get(f"{url}/health", timeout=5).raise_for_status()
        yield url
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def main() -> None:
    """Run both and print the table."""
    seconds: dict[str, list[float]] = {loop: [] for loop in LOOPS}
    with contextlib.ExitStack() as running:
        sessions = []
        for loop in LOOPS:
            folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
            url = running.enter_context(server(loop, folder))
            sessions.append((loop, url, running.enter_context(requests.Session())))
        for count in range(REQUESTS):
            for loop, url, session in sessions:
                started = time.perf_counter()
                answer = session.get(
                    f"{url}/api/2.0/mlflow/experiments/get?experiment_id=0", timeout=30
                )
                answer.raise_for_status()
                if count >= REQUESTS // 10:
                    seconds[loop].append(time.perf_counter() - started)
    medians = {loop: statistics.median(found) * 1000 for loop, found in seconds.items()}
    print("| Event loop | Median of a request (ms) |")
    print("| --- | ---: |")
    for loop, median in medians.items():
        print(f"| {loop} | {median:.1f} |")
    print(f"\nasyncio / uvloop: {medians['asyncio'] / medians['uvloop']:.1f}")


if __name__ == "__main__":
    main()
