"""What people of `docker compose` type: ps, logs, shell, on a running stack and without a `docker` program."""

import functools
import json
import os
import pty
import re
import select
import subprocess
import sys
import time

import pytest
from mlflow.exceptions import MlflowException

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

PROGRAM = [sys.executable, "-m", "pulumi_mlflow.ops.cli"]


def environment(stack, path="/nowhere"):
    """Without any program on PATH, unless told."""
    return {
        **stack.environment,
        "PATH": path,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "COLUMNS": "200",
    }


def call(stack, command, *arguments, given="", code=0, path="/nowhere"):
    done = subprocess.run(
        [*PROGRAM, command, "--stack", stack.stack, *arguments],
        cwd=stack.folder, env=environment(stack, path), input=given, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout, done.stderr


def test_ps_shows_each_part_and_fails_while_one_is_not_well(dev):
    printed, _ = call(dev, "ps")
    rows = {
        line.split("│")[1].strip(): line for line in printed.splitlines() if line.startswith("│")
    }
    assert set(rows) == {"artifacts", "database", "proxy", "tracking"}
    for role, row in rows.items():
        limit = dev.container(role).attrs["HostConfig"]["Memory"] >> 20
        assert "running, healthy" in row
        assert re.search(rf"\b\d+ MiB of {limit} MiB\b", row), row
        assert re.search(r"\b\d+\.\d %", row), row
        assert "pulumi-mlflow/" in row
    assert f"127.0.0.1:{dev.settings['access']['port']} → 8080" in rows["proxy"]
    dev.container("proxy").stop()
    try:
        printed, _ = call(dev, "ps", code=1)
        assert "exited (" in printed
    finally:
        dev.container("proxy").start()


def test_logs_are_merged_in_order_of_time(dev):
    printed, _ = call(dev, "logs", "--timestamps", "--tail", "30")
    found = [
        re.match(r"(\w+) +\| (\S+)Z ", line).groups()
        for line in printed.splitlines()
        if " | " in line
    ]
    assert {role for role, _ in found} == {"artifacts", "database", "proxy", "tracking"}
    times = [moment for _, moment in found]
    assert times == sorted(times)
    assert [role for role, _ in found] != sorted(role for role, _ in found)
    alone, _ = call(dev, "logs", "--role", "database", "--tail", "3")
    assert len(alone.splitlines()) == 3
    assert all(line.startswith("database   | ") for line in alone.splitlines())


def test_logs_follow_what_is_written_and_a_restart(dev):
    follower = subprocess.Popen(
        [*PROGRAM, "logs", "--stack", dev.stack, "--role", "database", "--follow", "--tail", "0"],
        cwd=dev.folder, env={**environment(dev), "PYTHONUNBUFFERED": "1"}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        script = 'PGPASSWORD="$(cat /run/pulumi-mlflow/password)" psql -h 127.0.0.1 -U mlflow -c "SELECT h6_{}()"'
        for mark in ("first", "second"):
            said = time.monotonic()
            dev.container("database").exec_run(["sh", "-c", script.format(mark)])
            while f"h6_{mark}" not in follower.stdout.readline():
                assert time.monotonic() - said < 60
            if mark == "first":
                dev.container("database").restart()
                time.sleep(3)
    finally:
        follower.kill()
        follower.wait(10)


@pytest.mark.parametrize("command", ["logs", "shell"])
def test_a_role_that_is_none_is_told_the_others(dev, command):
    _, error = call(dev, command, "--role", "web", code=1)
    assert "role 'web': stack" in error
    assert "artifacts, database, proxy, tracking" in error


def test_shell_runs_what_is_piped_in_as_the_containers_user(dev):
    printed, error = call(dev, "shell", given="id -u; echo to-stderr >&2; touch /x; exit 3", code=3)
    assert printed.split() == ["10001"]
    assert "to-stderr" in error
    assert "Read-only file system" in error
    big = call(dev, "shell", "--", "cat", given="x" * 300_000)[0]
    assert len(big) == 300_000


def test_shell_runs_one_program_or_says_that_there_is_none(dev):
    printed, _ = call(dev, "shell", "--role", "database", "--", "psql", "--version")
    assert printed.startswith("psql (PostgreSQL)")
    _, error = call(dev, "shell", "--", "no-such-program", code=1)
    assert "no-such-program" in error


def test_shell_on_a_terminal(dev):
    """With a prompt, its size, and what is typed."""
    master, terminal = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, "shell", "--stack", dev.stack], cwd=dev.folder, env=environment(dev), stdin=terminal,
        stdout=terminal, stderr=terminal, start_new_session=True,
    )  # fmt: skip
    os.close(terminal)
    try:
        seen = _read_until(master, b"$ ")
        os.write(master, b"test -t 0 && echo terminal-$((40 + 2))\n")
        seen += _read_until(master, b"terminal-42")
        os.write(master, b"exit 5\n")
        assert process.wait(30) == 5
    finally:
        process.kill()
        os.close(master)
    assert b"Traceback" not in seen


def _read_until(master, wanted):
    seen, deadline = b"", time.monotonic() + 60
    while wanted not in seen:
        assert time.monotonic() < deadline, seen
        if select.select([master], [], [], 1)[0]:
            seen += os.read(master, 1 << 16)
    return seen


def test_env_as_a_dotenv_file_reaches_the_stack(dev):
    target = dev.folder / "training.env"
    dev.cli("env", "--format", "dotenv", "--output", str(target))
    script = (
        "import dotenv, json, os, requests; dotenv.load_dotenv('training.env');"
        "url = os.environ['MLFLOW_TRACKING_URI'];"
        "login = [os.environ[f'MLFLOW_TRACKING_{n}'] for n in ('USERNAME', 'PASSWORD')];"
        "print(json.dumps([requests.get(url + '/version', auth=a).status_code for a in (tuple(login), None)]))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", script], cwd=dev.folder, capture_output=True, text=True, check=True
    ).stdout
    assert json.loads(printed) == [200, 401]
    assert target.stat().st_mode & 0o777 == 0o600
    target.unlink()  # it holds the password, which is nowhere else in the project


def artifact(stack, run):
    """What the front door answers to a download of a run's file."""
    place = run.info.artifact_uri.removeprefix("mlflow-artifacts:/")
    url = f"{stack.url}/api/2.0/mlflow-artifacts/artifacts/{place}/a.txt"
    return stack.session().get(url, timeout=60)


def test_what_was_deleted_in_mlflow_goes_for_good_and_all_else_stays(dev):
    name = "deleted for good"
    # It reads the stack's outputs, by pulumi.
    gc = functools.partial(call, dev, "gc", path=dev.environment["PATH"])
    with dev.mlflow() as door:
        experiment = door.create_experiment(name)
        runs = [door.create_run(experiment) for _ in range(3)]
        for run in runs:
            door.log_text(run.info.run_id, run.info.run_id, "a.txt")
        kept, gone, by_hand = runs
        door.delete_run(gone.info.run_id)
        door.delete_experiment(door.create_experiment("its name is free again"))
        shown, _ = gc("--older-than", "0s", "--dry-run")
        assert f"run {gone.info.run_id}" in shown
        assert "'its name is free again'" in shown
        assert kept.info.run_id not in shown
        assert artifact(dev, gone).text == gone.info.run_id
        assert "0 deleted more than 30d ago" in gc("--yes")[0]
        gc("--older-than", "0s", given="n\n", code=1)
        assert door.get_run(gone.info.run_id).info.lifecycle_stage == "deleted"
        gc("--older-than", "0s", "--yes")
        with pytest.raises(MlflowException, match="not found"):
            door.get_run(gone.info.run_id)
        assert artifact(dev, gone).status_code != 200
        door.delete_experiment(door.create_experiment("its name is free again"))
        # By MLflow's own command, in a shell beside the server.
        door.delete_run(by_hand.info.run_id)
        said, _ = call(dev, "shell", "--", "mlflow", "gc")
        assert f"Run with ID {by_hand.info.run_id} has been permanently deleted" in said
        assert artifact(dev, by_hand).status_code != 200
        assert artifact(dev, kept).text == kept.info.run_id
        assert [run.info.run_id for run in door.search_runs([experiment])] == [kept.info.run_id]
    _, said = gc("--older-than", "soon", code=1)
    assert "such as 30d (got 'soon')" in said
