"""A restore on the real engine, under load and ended at its stages: nothing that was told to be kept is lost."""

import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest
import requests
from tests.docker.stack import check_run, log_run
from tests.support import FULL

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(600)]

PROGRAM = [sys.executable, "-m", "pulumi_mlflow.ops.cli"]


class Restoring:
    """A restore that is under way, in a session of its own."""

    def __init__(self, stack, dump):
        self.lines, self.times = [], []
        self._process = subprocess.Popen(
            [*PROGRAM, "restore", "--stack", stack.stack, "--from", str(dump), "--yes"],
            cwd=stack.folder,
            env={**stack.environment, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self._process.stdout:
            self.lines.append(line)
            self.times.append(time.monotonic())

    @property
    def output(self):
        return "".join(self.lines)

    def reached(self, step):
        """When it said that it does this."""
        deadline = time.monotonic() + 300
        while True:
            for line, moment in zip(list(self.lines), list(self.times), strict=False):
                if step in line:
                    return moment
            assert self._process.poll() is None or self._reader.is_alive(), self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.05)

    def send(self, number):
        os.killpg(self._process.pid, number)

    def end(self):
        code = self._process.wait(300)
        self._reader.join(10)
        return code


@pytest.fixture(scope="module")
def dump(watched, tmp_path_factory):
    folder = tmp_path_factory.mktemp("restore") / "dump"
    watched.stack.cli("dump", "--to", str(folder))
    return folder


def path_of(run, name):
    return f"/api/2.0/mlflow-artifacts/artifacts/{run.info.experiment_id}/{run.info.run_id}/artifacts/{name}"


class Load:
    """Somebody who goes on with a run that the dump does not know, and somebody who reads."""

    def __init__(self, stack, run):
        self.uploads, self.reads, self._ended = [], [], threading.Event()
        writing, reading = stack.session(), stack.session()
        url = stack.url + path_of(run, "late.bin")
        self._threads = [
            threading.Thread(
                target=self._go_on,
                args=(self.uploads, lambda: writing.put(url, data=b"x" * 1000, timeout=30)),
            ),
            threading.Thread(
                target=self._go_on, args=(self.reads, lambda: reading.get(url, timeout=30))
            ),
        ]

    def _go_on(self, answers, ask):
        while not self._ended.wait(0.05):
            begun = time.monotonic()
            try:
                status = ask().status_code
            except requests.RequestException:
                status = 0
            answers.append((begun, time.monotonic(), status))

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        for thread in self._threads:
            thread.join(60)


def test_while_it_restores_reading_goes_on_and_no_upload_is_acknowledged(dev, dump, tmp_path):
    with dev.mlflow() as door:
        newer = door.get_run(log_run(door, tmp_path / "newer").run_id)
    with Load(dev, newer) as load:
        time.sleep(2)
        restoring = Restoring(dev, dump)
        assert restoring.end() == 0, restoring.output
    closed, stopped = restoring.reached("closed to writers"), restoring.reached("server: stopping")
    # Not until the program's end: its standard output is held by what it has started for some seconds more.
    opened = restoring.reached("front door: opening")
    kept = [answer for answer in load.uploads if closed < answer[1] < opened and answer[2] == 200]
    assert kept == []
    assert any(status == 200 for _, end, status in load.uploads if end < closed)
    # Once new workers have taken over.
    read = [status for begun, end, status in load.reads if closed + 1 < begun and end < stopped]
    assert read
    assert set(read) == {200}
    with dev.mlflow() as door:
        assert newer.info.run_id not in [
            run.info.run_id for run in door.search_runs([newer.info.experiment_id])
        ]
    dev.unchanged()


STAGES = {
    "artifacts: adding": False,
    "database: pg_restore": False,
    "server: stopping": False,
    "artifacts: replacing": True,
}
"""What it says → whether it has switched by then."""
CELLS = [
    pytest.param(
        stage,
        number,
        id=f"{stage.partition(':')[0]}-{number.name}",
        marks=[
            pytest.mark.skipif(
                not FULL and (stage, number) != ("artifacts: replacing", signal.SIGKILL),
                reason="FULL=1: takes two minutes each",
            )
        ],
    )
    for stage in STAGES
    for number in (signal.SIGINT, signal.SIGKILL)
]  # fmt: skip


@pytest.mark.parametrize(("stage", "number"), CELLS)
def test_ended_at_a_stage_it_has_lost_nothing_or_is_finished_by_what_it_says(
    dev, watched, dump, tmp_path, stage, number
):
    with dev.mlflow() as door:
        newer = log_run(door, tmp_path / "newer")
    restoring = Restoring(dev, dump)
    restoring.reached(stage)
    restoring.send(number)
    assert restoring.end() != 0
    print(restoring.output)
    if number is signal.SIGKILL:
        # The job that it has left must not be in the way of anything.
        said = dev.up(ok=not STAGES[stage])
        if STAGES[stage]:
            (again,) = set(re.findall(r"has not ended: .* Finish it: (.*--yes)", said))
    if not STAGES[stage]:
        with dev.mlflow() as door:
            check_run(door, newer, tmp_path / "still")
            check_run(door, log_run(door, tmp_path / "later"), tmp_path / "later-found")
        if number is signal.SIGINT:
            assert "nothing was changed" in restoring.output
        again = f"pulumi-mlflow restore --stack {dev.stack} --from {dump} --yes"
    elif number is signal.SIGINT:
        (again,) = re.findall(r"run it again: (.*)", restoring.output)
    dev.run(*again.split())
    if number is signal.SIGKILL and STAGES[stage]:
        dev.up()  # as the failed one wants: it waited in vain
    with dev.mlflow() as door:
        check_run(door, watched.run, tmp_path / "dumped")
        found = [
            run.info.run_id
            for run in door.search_runs([door.get_run(watched.run.run_id).info.experiment_id])
        ]
        assert newer.run_id not in found
    dev.unchanged()
    left = dev.left()
    assert not [
        name for names in left.values() for name in names if "restore" in name or "job" in name
    ]
