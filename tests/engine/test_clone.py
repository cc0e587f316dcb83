"""A stranger's clone: the commands of the README, as typed, with set-up's own state and passphrase."""

import os
import subprocess

import pytest
from tests.support import ROOT, free_port

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(600)]

OURS = ("PULUMI_", "MLFLOW_", "VIRTUAL_ENV")


class Clone:
    """A clone of what is committed."""

    def __init__(self, folder):
        self.folder = folder
        subprocess.run(["git", "clone", "-q", ROOT, folder], check=True)
        self.environment = {
            key: value for key, value in os.environ.items() if not key.startswith(OURS)
        }

    def run(self, command):
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{command}:\n{done.stdout}"
        return done.stdout

    def changed(self):
        return self.run("git status --porcelain").strip()


def test_up_use_and_down_leave_git_status_clean(tmp_path):
    """The committed port may be taken on a machine that is in use, so a second file of the person's gives another."""
    clone = Clone(tmp_path / "pulumi-mlflow")
    stack = "mine"
    clone.run(
        f"cp Pulumi.local.yaml Pulumi.{stack}.yaml && "
        f"printf '  mlflow:access:\\n    port: {free_port()}\\n' >> Pulumi.{stack}.yaml && "
        f"git add Pulumi.{stack}.yaml && git -c user.name=x -c user.email=x@x.test commit -qm mine"
    )
    try:
        for target in ("up", "verify", "preview", "refresh", "info", "dump"):
            clone.run(f"make {target} STACK={stack}")
            assert clone.changed() == "", target
        assert "unchanged" in clone.run(f"make up STACK={stack}")
        plain = 'eval "$(python3 toolchain/setup.py env)" && '
        shown = clone.run(f"{plain} pulumi preview --expect-no-changes -s {stack}")
        assert "unchanged" in shown
        clone.run(f"{plain} pulumi up --yes --skip-preview -s {stack}")
        assert clone.changed() == ""
    finally:
        clone.run(f"make down STACK={stack} PURGE=1")
    assert clone.changed() == ""
