"""`make preview STACK=prod` on a machine without an account."""

import os
import subprocess
import time

import pytest
from tests.support import ROOT, toolchain_environment

pytestmark = pytest.mark.engine


def test_the_plan_of_prod_needs_neither_account_nor_backend_nor_passphrase(
    tmp_path, record_property
):
    bare = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "PULUMI_", "KUBE"))
    }
    bare |= {
        "HOME": str(tmp_path),  # no ~/.aws, and no login of Pulumi's
        "PULUMI_MLFLOW_CACHE": toolchain_environment()["PULUMI_MLFLOW_CACHE"],
        "PULUMI_BACKEND_URL": "file:///nowhere",
        "PULUMI_CONFIG_PASSPHRASE": "of something else",
    }
    started = time.monotonic()
    done = subprocess.run(
        ["make", "preview", "STACK=prod"],
        cwd=ROOT,
        env=bare,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    seconds = time.monotonic() - started
    record_property("preview_seconds", round(seconds, 1))
    print(f"make preview STACK=prod: {seconds:.1f} s")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test provider in place of aws: no AWS credentials" in done.stderr
    for made in ("aws:rds:Instance database-instance", "aws:s3:Bucket artifacts-bucket"):
        assert f"{made} create" in done.stdout
    assert "tracking-server-service" in done.stdout
    assert " to create" in done.stdout
    assert " error" not in done.stdout
