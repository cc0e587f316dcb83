"""The local runtime from the first `up` to the purge, by the real engine."""

import base64
import json
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, quote_plus

import mlflow
import psutil
import pytest
import requests
import tenacity
from mlflow.tracking._tracking_service.utils import _artifact_repos_cache
from tests.support import free_port

from pulumi_mlflow.local import backup, processes, supervision
from pulumi_mlflow.ops import gc, local

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

LISTENER = """
import socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("listening", flush=True)
sys.stdin.read()
"""


def until(condition, seconds=90):
    """Wait for a condition; the time it took."""
    started = time.monotonic()
    tenacity.Retrying(
        stop=tenacity.stop_after_delay(seconds),
        wait=tenacity.wait_fixed(0.2),
        retry=tenacity.retry_if_result(lambda result: not result),
    )(condition)
    return time.monotonic() - started


@pytest.fixture
def foreign():
    """Starts programs that are none of ours; they must live on when the test ends."""
    started = []

    def start(*arguments):
        program = subprocess.Popen(
            [sys.executable, "-c", LISTENER, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        started.append(program)
        assert program.stdout.readline() == b"listening\n"
        return program

    yield start
    alive = [program.poll() is None for program in started]
    for program in started:
        program.communicate()
    assert all(alive), "a foreign program was ended"


@pytest.fixture(scope="module")
def run_id(stack):
    """A run with a metric and an artifact, logged as a user's script would."""
    client = mlflow.MlflowClient(stack.url)
    run = client.create_run(client.create_experiment("engine")).info.run_id
    client.log_metric(run, "loss", 0.5)
    client.log_text(run, "bytes of the artifact", "note.txt")
    client.set_terminated(run)
    return run


@pytest.fixture(autouse=True)
def has_the_run(stack, run_id):
    """Whatever a test did to the stack, it is up with the same data afterwards."""
    yield
    client = mlflow.MlflowClient(stack.url)
    assert client.get_run(run_id).data.metrics == {"loss": 0.5}
    path = client.download_artifacts(run_id, "note.txt")
    assert Path(path).read_text() == "bytes of the artifact"


def test_second_up_changes_nothing(stack):
    started = time.monotonic()
    stack.up("--expect-no-changes")
    took = time.monotonic() - started
    print(f"second up: {took:.1f} s")
    assert took < 30  # 6 on a machine with nothing else to do
    stack.pulumi("refresh", "--yes", "--skip-preview", "--expect-no-changes")
    stack.unchanged()


def test_database_has_a_write_ahead_log_and_files_are_private(stack):
    assert _journal_mode(stack) == "wal"
    for path in (stack.data_dir / name for name in ("database", "artifacts", "server")):
        assert path.stat().st_mode & 0o077 == 0
    assert stack.server().environ()["TMPDIR"].startswith(str(stack.data_dir))
    secret_files = [stack.data_dir / "server" / n for n in ("launch.json", "supervisord.conf")]
    control = supervision._socket(stack.data_dir / "server")
    assert [f.stat().st_mode & 0o777 for f in (*secret_files, control)] == [0o600] * 3


def _journal_mode(stack):
    database = stack.data_dir / "database" / "mlflow.db"
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute("PRAGMA journal_mode").fetchone()[0]


def test_server_does_not_get_the_environment_of_pulumi(stack):
    for process in stack.processes():
        assert not [name for name in process.environ() if name.startswith("PULUMI_CONFIG")]


def test_secrets_are_seen_nowhere(stack):
    secrets = stack.secrets()
    assert len(secrets) == 2  # the sentinel and the KEK: the search below searches for something
    server_environment = stack.server().environ().values()
    assert all(secret in server_environment for secret in secrets)
    forms = {
        form
        for secret in secrets
        for form in (
            secret,
            quote(secret),
            quote(secret, safe=""),
            quote_plus(secret),
            json.dumps(secret)[1:-1],
            base64.b64encode(secret.encode()).decode(),
        )
    }
    texts = {
        path: path.read_text(errors="replace")
        for path in stack.folder.rglob("*")
        if path.is_file() and path.name != "launch.json"  # its home, mode 0600
    }
    assert any(path.parent.name == "test" or "stacks" in path.parts for path in texts)
    for process in psutil.process_iter(["pid", "cmdline"]):
        texts[process.pid] = " ".join(process.info["cmdline"] or ())
    found = [where for where, text in texts.items() for form in forms if form in text]
    assert not found


def test_killed_server_comes_back_by_itself(stack):
    old = stack.server()
    generation = stack.processes()
    old.kill()
    took = until(lambda: not old.is_running() and _listening(stack) and stack.answers())
    print(f"healed after {took:.1f} s")
    assert stack.server() != old
    supervisor = stack.supervisor()
    # No worker of the killed generation is left beside the new one.
    assert not [p for p in generation if p.is_running() and p != supervisor]
    stack.unchanged()


def _listening(stack):
    """Whether a descendant of the present server holds the port."""
    try:
        family = stack.server().children(recursive=True)
        return any(c.laddr.port == stack.port for p in family for c in p.net_connections("tcp"))
    except (ValueError, psutil.Error):
        return False


def test_up_heals_a_killed_supervisor_and_spares_the_owner_of_its_old_pid(stack, foreign):
    orphans = [p for p in stack.processes() if p != stack.supervisor()]
    program = foreign(free_port())
    stack.supervisor().kill()
    (stack.data_dir / "server" / "supervisord.pid").write_text(f"{program.pid}\n")
    assert stack.answers()  # by the orphan
    stack.up()
    assert not [p for p in orphans if p.is_running()]
    assert stack.answers()


def test_up_heals_changed_configuration(stack):
    launch = stack.data_dir / "server" / "launch.json"
    wanted = launch.read_text()
    launch.write_text(wanted.replace('"--port"', '"--p0rt"'))
    old = stack.server()
    stack.up()
    assert launch.read_text() == wanted
    assert not old.is_running()


def test_changed_port_and_workers_show_in_the_running_server(stack):
    old_port, stack.port = stack.port, free_port()
    stack.set(port=stack.port, workers=2)
    stack.up()
    assert stack.answers()
    assert processes.port_is_free("127.0.0.1", old_port)
    assert processes.owns_port(stack.data_dir, stack.port)
    arguments = stack.server().cmdline()
    assert arguments[arguments.index("--workers") + 1] == "2"
    # Without it a request on a kept connection waits 40 ms for the kernel: docs/event_loop.py.
    workers = [
        w for w in stack.server().children(recursive=True) if "spawn_main" in " ".join(w.cmdline())
    ]
    loops = [[m for m in worker.memory_maps() if "uvloop" in m.path] for worker in workers]
    assert len(loops) == 2
    assert all(loops)
    assert stack.outputs()["tracking_uri"] == stack.url
    stack.set(workers=1)  # for the next test's up


def test_port_of_another_program_is_refused_and_nothing_is_ended(stack, foreign):
    before = {(p.pid, p.create_time()) for p in stack.processes()}
    port = free_port()
    program = foreign(port)
    stack.set(port=port)
    said = stack.up(ok=False)
    assert f"port {port} on 127.0.0.1 is in use by" in said
    assert f"(pid {program.pid})" in said
    assert {(p.pid, p.create_time()) for p in stack.processes()} == before
    assert not processes.owns_port(stack.data_dir, port)
    stack.set(port=stack.port)
    stack.up()
    stack.unchanged()


def test_what_was_deleted_in_mlflow_goes_for_good_and_all_else_stays(stack, run_id, capfd):
    client = mlflow.MlflowClient(stack.url)
    gone = client.create_run("0").info
    client.log_text(gone.run_id, "x", "a.txt")
    client.delete_run(gone.run_id)
    artifacts = next(stack.data_dir.glob(f"artifacts/*/{gone.run_id}/artifacts/a.txt"))
    server = stack.data_dir / "server"
    assert f"run {gone.run_id}" in gc.run_local(server, stack.url, ["gc", "0s", "--dry-run"])
    assert artifacts.exists()
    said = gc.run_local(server, stack.url, ["gc", "0s"])
    assert said.count("permanently deleted") == 1
    assert not artifacts.exists()
    assert client.get_run(run_id).info.lifecycle_stage == "active"
    by_hand = client.create_run("0").info.run_id
    client.delete_run(by_hand)
    assert local.shell(server, stack.url, ["sh", "-c", "mlflow gc && env"]) == 0
    printed = capfd.readouterr().out
    assert f"Run with ID {by_hand} has been permanently deleted" in printed
    assert "MLFLOW_BACKEND_STORE_URI=sqlite" in printed


def test_a_name_is_a_file_or_a_folder_and_a_second_one_is_refused_at_once(stack):
    url = f"{stack.url}/api/2.0/mlflow-artifacts/artifacts/both"
    assert requests.put(f"{url}/report", data=b"x", timeout=20).ok
    refused = requests.put(f"{url}/report/a.txt", data=b"x", timeout=20)
    assert refused.status_code == 409
    assert "Choose another name" in refused.text


class Handover:
    """What the command `restore` does of a restore."""

    again = "make restore"

    def __init__(self, stack, *, fails=False):
        self._stack, self._fails, self.carried = stack, fails, False

    def carry(self):
        if self._fails:
            raise RuntimeError("the state is locked")
        self.carried = True

    def up(self):
        self._stack.up()


def test_no_up_starts_a_server_on_what_is_half_restored(stack, run_id, tmp_path):
    ops = stack.outputs()["ops"]
    backup.dump(ops, tmp_path, print)
    with pytest.raises(backup.UnfinishedError, match="Half done"):
        backup.restore(ops, tmp_path, print, Handover(stack, fails=True))
    said = stack.up(ok=False)
    assert "a restore of this stack has not ended" in said
    assert "Finish it: make restore" in said
    assert not stack.answers()
    backup.restore(ops, tmp_path, print, Handover(stack))
    assert mlflow.MlflowClient(stack.url).get_run(run_id)
    stack.unchanged()


def test_dump_and_restore(stack, run_id, tmp_path):
    ops = stack.outputs()["ops"]
    backup.dump(ops, tmp_path, print)
    assert {path.name for path in tmp_path.iterdir()} == {"database.sqlite", "artifacts"}
    client = mlflow.MlflowClient(stack.url)
    later = client.create_run(client.get_run(run_id).info.experiment_id).info.run_id
    _artifact_repos_cache.clear()  # they know the port that the server had before
    client.log_text(run_id, "changed", "note.txt")
    stack.supervisor().kill()  # what a restore mends may be broken
    handover = Handover(stack)
    backup.restore(ops, tmp_path, print, handover)
    assert handover.carried
    assert _journal_mode(stack) == "wal"
    with pytest.raises(mlflow.MlflowException, match="not found"):
        client.get_run(later)
    stack.unchanged()


def test_down_keeps_data_and_leaves_no_process(stack):
    stack.down()
    assert not stack.processes()
    assert {path.name for path in stack.data_dir.iterdir()} == {"artifacts", "database"}
    stack.up()


def test_lost_state_loses_no_data(stack):
    """The folders are adopted by their marker, and a server that nobody remembers is replaced."""
    forgotten = stack.server()
    exported = stack.folder / "forgotten.json"
    stack.pulumi("stack", "export", "--file", str(exported))
    deployment = json.loads(exported.read_text())
    deployment["deployment"]["resources"] = []
    exported.write_text(json.dumps(deployment))
    stack.pulumi("stack", "import", "--file", str(exported))
    exported.unlink()
    stack.up()
    assert not forgotten.is_running()


def test_failed_migration_fails_up_with_its_log_and_starts_no_server(stack):
    stack.supervisor().kill()
    processes.end(stack.processes())
    database = stack.data_dir / "database" / "mlflow.db"
    good = database.rename(database.with_suffix(".good"))
    database.write_text("this is not SQLite" * 100)
    said = stack.up(ok=False)
    assert "migration failed" in said
    assert "file is not a database" in said
    assert not stack.processes()
    good.rename(database)
    stack.up()
