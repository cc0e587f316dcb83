"""Ctrl-C ends a `pulumi` in order: killed, it would leave its stack locked."""

import os
import signal
import subprocess
import sys
import time

import pytest

PLAYS_PULUMI = """
import pathlib, signal, sys, time
lock = pathlib.Path("lock")
def cancel(*_):
    pathlib.Path("cancelled").touch()
    time.sleep(0.6)   # the step that it is at
    lock.unlink()
    sys.exit(255)
if sys.argv[1] == "up":
    signal.signal(signal.SIGINT, cancel)
else:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
lock.touch()
print("begun", flush=True)
time.sleep(1.5 if sys.argv[1] == "export" else 30)
lock.unlink()
"""

OURS = """
import sys
from pathlib import Path
from pulumi_mlflow.ops import children
command = [sys.executable, "pulumi.py", sys.argv[1]]
try:
    if sys.argv[1] == "up":
        children.show(command, Path())
    else:
        children.run(command, Path(), given=None, seconds=60)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("everybody", [True, False])
@pytest.mark.parametrize("command", ["up", "export"])
def test_an_interrupt_leaves_no_lock(tmp_path, command, everybody):
    """Sent to us alone, or to every program of the terminal, as Ctrl-C is."""
    (tmp_path / "pulumi.py").write_text(PLAYS_PULUMI)
    ours = subprocess.Popen(
        [sys.executable, "-c", OURS, command], cwd=tmp_path, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, start_new_session=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "lock").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(0.2)
        (os.killpg if everybody else os.kill)(ours.pid, signal.SIGINT)
        out, _ = ours.communicate(timeout=60)
    finally:
        ours.kill()
    assert not (tmp_path / "lock").exists()
    assert out.splitlines()[-1] == "interrupted"
    assert (tmp_path / "cancelled").exists() == (command == "up")
