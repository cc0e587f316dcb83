"""The watchdog's numbers, and that any shell reads its script. What it does is tried in tests/docker/test_healing.py."""

import shutil
import subprocess

import pytest

from pulumi_mlflow.core import health, limits


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_every_shell_reads_the_script(shell):
    if not (program := shutil.which(shell)):
        pytest.skip(f"no {shell} here")
    command = [program, "-n"]

    subprocess.run(command, input=health.SCRIPT, text=True, check=True)


@pytest.mark.parametrize("stop_seconds", [5, 30, 60, 120])
def test_a_program_that_ends_in_time_is_not_killed_while_it_refuses(stop_seconds):
    seconds, *limits_, program = health.command(["check"], "/health.sh", stop_seconds)[2:]
    stopped, hung, refused, starting = map(int, limits_)

    assert program == "check"
    assert (refused - 1) * health.INTERVAL > stop_seconds
    assert starting > max(stopped, hung, refused)
    assert int(seconds) < health.ENGINE_SECONDS


def test_a_program_that_hangs_is_ended_in_time_to_be_back_after_90_seconds():
    seconds, stopped, hung, *_ = map(int, health.command([], "/health.sh", 30)[2:])

    assert stopped * health.INTERVAL <= 15
    assert hung * (health.INTERVAL + seconds) <= 40


def test_a_server_may_have_a_transfer_for_each_of_its_threads():
    assert limits.server_pids(2) > 2 * 48 * 10
    assert limits.database_pids(150) > 150
