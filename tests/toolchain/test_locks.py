"""A lock whose process is gone goes; any other stays."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support import until

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "toolchain"))

from steps import locks


def lock(folder: Path, stack: str, **changes: object) -> Path:
    """As Pulumi 3.256 writes it."""
    held = {"pid": os.getpid(), "username": "ada", "hostname": socket.gethostname(), **changes}
    path = folder / ".pulumi" / "locks" / "organization" / "mlflow" / stack / "0b1c.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({**held, "timestamp": "2026-11-30T20:00:00Z"}))
    return path


@pytest.fixture
def gone() -> int:
    """Number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_only_the_lock_of_a_process_that_is_gone_is_removed(tmp_path: Path, gone: int) -> None:
    state = tmp_path / "my state"
    pulumi = tmp_path / "pulumi"
    pulumi.symlink_to("/bin/sleep")
    living = subprocess.Popen([pulumi, "60"])
    try:
        # A program gets its name some time after Popen has returned.
        until(lambda: Path(f"/proc/{living.pid}/comm").read_text() == "pulumi\n")
        stale = lock(state, "killed", pid=gone)
        reused = lock(state, "reused")
        kept = [
            lock(state, "living", pid=living.pid),
            lock(state, "elsewhere", pid=gone, hostname="other"),
            lock(state, "odd", pid="x"),
        ]
        said = locks.remove_stale(state.as_uri())
    finally:
        living.kill()
        living.wait()
    assert not stale.exists()
    assert not reused.exists()  # this process is no pulumi
    assert all(path.exists() for path in kept)
    assert said[0] == f"stack mlflow/killed: was locked by a pulumi that is gone (process {gone})"
    assert len(said) == 2


@pytest.mark.parametrize("url", ["", "s3://bucket/x", "https://api.pulumi.com", "file:///no/such"])
def test_other_states_are_left_alone(url: str) -> None:
    assert locks.remove_stale(url) == []
