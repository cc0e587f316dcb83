"""What a setting changes is seen in the running thing; what data was made with is not changed."""

import pytest
import requests
from tests.docker.hardening import check_inside
from tests.support import free_port

from pulumi_mlflow.core import budgets, limits

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

CHANGES = {
    "tracking": {"workers": 3, "cpus": 1.5, "allowed_hosts": ["tracking.example.com"]},
    "database": {"pool_size": 4, "max_overflow": 36, "max_connections": 190, "memory_mb": 640},
    "artifacts": {"memory_mb": 320},
    "access": {"username": "ada"},
}


def test_changed_settings_are_seen_in_what_runs(dev):
    old_url, session = dev.url, dev.session()
    assert ask(dev, session, "tracking.example.com") == 403
    dev.change({**CHANGES, "access": {**CHANGES["access"], "port": free_port()}})

    dev.up()

    found = {role: container.attrs["HostConfig"] for role, container in dev.containers().items()}
    assert found["tracking"]["CpuQuota"] == 1.5 * found["tracking"]["CpuPeriod"]
    assert found["tracking"]["Memory"] == budgets.server_memory_mb(3) << 20
    assert found["tracking"]["PidsLimit"] == limits.server_pids(3)
    assert found["database"]["Memory"] == 640 << 20
    assert found["database"]["PidsLimit"] == limits.database_pids(190)
    assert found["artifacts"]["Memory"] == 320 << 20
    for container in dev.containers().values():
        check_inside(container)
    assert sum("spawn_main" in line[-1] for line in processes(dev, "tracking")) == 3
    environment = dev.execute("tracking", "cat", "/proc/1/environ").split("\0")
    assert "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE=4" in environment
    assert "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW=36" in environment
    show = ("psql", "-U", "mlflow", "-d", "mlflow", "-tAc", "SHOW max_connections")
    assert dev.execute("database", *show).strip() == "190"
    with pytest.raises(requests.ConnectionError):
        requests.get(old_url, timeout=5)
    assert session.get(dev.url, timeout=10).status_code == 401
    assert dev.session().auth[0] == "ada"
    assert ask(dev, dev.session(), "tracking.example.com") == 200
    assert ask(dev, dev.session(), "other.example.com") == 403


def ask(stack, session, host):
    """What the server answers who asks for it by a name."""
    url = f"{stack.url}/api/2.0/mlflow/experiments/search?max_results=1"
    return session.get(url, headers={"Host": host}, timeout=10).status_code


def processes(dev, role):
    return dev.container(role).top(ps_args="-eo pid,args")["Processes"]


@pytest.mark.parametrize(
    ("section", "changes"),
    [("database", {"name": "other", "username": "somebody"}), ("artifacts", {"bucket": "other"})],
)
def test_change_of_what_data_was_made_with_is_refused(dev, section, changes):
    """A change of database.version is checked in test_guard.py: images built from packages have one major only."""
    settings = {key: dict(value) for key, value in dev.settings.items() if isinstance(value, dict)}
    before = resources(dev)
    running = {role: container.id for role, container in dev.containers().items()}
    dev.change({section: changes})
    try:
        output = dev.pulumi("preview", "--refresh=false", ok=False)
        refused_up = dev.up("--refresh=false", ok=False)
    finally:
        dev.settings.update(settings)
        dev.configure(dev.settings)

    for key, value in changes.items():
        refusal = f"mlflow:{section}.{key}: '{value}' is refused while there is data made with"
        assert refusal in output
        assert refusal in refused_up
    assert f"pulumi-mlflow migrate-{section} --stack {dev.stack}" in output
    assert {role: container.id for role, container in dev.containers().items()} == running
    assert resources(dev) == before


def resources(stack):
    """What the state knows: URN → inputs. Those of a provider are the stack's settings, refused ones too."""
    found = stack.read("stack", "export", "--show-secrets")["deployment"]["resources"]
    return {r["urn"]: r.get("inputs") for r in found if ":providers:" not in r["type"]}
