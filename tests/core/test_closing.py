"""What passes a front door that is closed to writers; that nginx and the engine do so is in the Docker tests."""

import re

import pytest

from pulumi_mlflow.core import closing, proxy

UPLOAD = "/api/2.0/mlflow-artifacts/artifacts/1/run/artifacts/model.pkl"


@pytest.mark.parametrize(
    ("request_line", "reads"),
    [
        (f"GET {UPLOAD}", True),
        ("HEAD /", True),
        ("POST /api/2.0/mlflow/runs/search", True),
        ("POST /ajax-api/2.0/mlflow/runs/search?x=1", True),
        ("POST /api/3.0/mlflow/prompt-optimization/jobs/search", True),
        ("POST /ajax-api/3.0/mlflow/traces/metrics", True),
        ("POST /graphql", True),
        (f"PUT {UPLOAD}", False),
        (f"DELETE {UPLOAD}", False),
        ("POST /api/2.0/mlflow/runs/create", False),
        ("POST /api/2.0/mlflow/runs/create?next=/api/2.0/mlflow/runs/search", False),
        ("POST /api/2.0/mlflow/runs/log-batch", False),
        ("PATCH /api/2.0/mlflow/registered-models/update", False),
        ("POST /api/2.0/mlflow-artifacts/mpu/complete/1/run/artifacts/search", False),
        ("POST /api/2.0/mlflow-artifacts/mpu/complete/mlflow/runs/search", False),
        ("POST /api/2.0/mlflow/search", False),
        ("POST /v1/traces", False),
        ("POST /-/anything/search", False),
    ],
)
def test_what_is_known_to_read_passes_and_all_else_is_a_write(request_line, reads):
    assert bool(re.search(closing.READS, request_line)) == reads


def test_nginx_and_the_script_agree_where_the_door_is():
    text = proxy.render_nginx(
        proxy.ProxySettings(
            listen_port=8080, upstream_host="tracking", upstream_port=5000, auth="none", htpasswd_path=""
        )
    )  # fmt: skip
    assert f"if (-f {closing.CLOSED_PATH})" in text
    assert f'"~{closing.READS}" "";' in text
    assert closing.CLOSED_PATH in closing.script("/nginx.conf", proxy.PID_PATH)
    assert f"pid {proxy.PID_PATH};" in text
