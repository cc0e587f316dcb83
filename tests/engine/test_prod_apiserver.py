"""The prod stack in a cluster, whose objects the test provider applies to a real API server."""

import pytest
from tests.engine import prod as checks
from tests.engine.prod import DATABASE, brought_up
from tests.stacks.cloud import KUBERNETES, merged

pytestmark = pytest.mark.engine

SETTINGS = merged(
    KUBERNETES,
    DATABASE,
    {
        "database": {
            "archive": {"bucket": "archive", "role_arn": "arn:aws:iam::111122223333:role/archive"}
        },
        "monitoring": {"namespace": "monitoring"},
    },
)
OPERATORS = {
    "Certificate",
    "Cluster",
    "ObjectStore",
    "PodMonitor",
    "PrometheusRule",
    "ScheduledBackup",
}
"""Kinds of operators that this stack has; those of others are applied by tests/kubernetes/test_apiserver.py."""


@pytest.fixture(scope="module")
def prod(server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("apiserver")
    kube = str(server.kubeconfig())

    def uid(body):
        return server.get(body).json()["metadata"]["uid"]

    with brought_up(folder, SETTINGS, ["kubernetes"], uid, PULUMI_MLFLOW_KUBE=kube) as found:
        yield found


def there(server, prod):
    """The stack's objects that the server has: kind and logical name."""
    objects = [one for one in prod.state() if one["type"].startswith("kubernetes:")]
    return {
        f"{one['inputs']['kind']} {one['urn'].rsplit('::', 1)[1]}"
        for one in objects
        if server.get(one["inputs"]).ok
    }


def test_all_objects_are_there_and_pods_are_restricted(server, prod):
    objects = [one for one in prod.state() if one["type"].startswith("kubernetes:")]
    assert len(there(server, prod)) == len(objects) > 20
    assert {one["inputs"]["kind"] for one in objects} >= OPERATORS
    [namespace] = [one for one in objects if one["inputs"]["kind"] == "Namespace"]
    labels = server.get(namespace["inputs"]).json()["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_nothing_changes_where_nothing_is_due(prod):
    checks.stays_as_it_is(prod)


def test_an_object_that_somebody_deleted_is_made_again_and_a_new_job_takes_the_old_ones_place(
    server, prod
):
    before = there(server, prod)
    [lost] = [one for one in prod.state() if one["urn"].endswith("::proxy-service")]
    assert server.delete(lost["inputs"]).ok
    image = "registry.corp.example/mlflow:3.17.2-1"
    with prod.settings({"registry": {"server": image}}):
        with prod.doing() as done:
            prod.up()
        assert there(server, prod) == before
    made = [line["name"] for line in done if line["what"] == "create"]
    assert set(made) == {"proxy-service", "tracking-migration"}


def test_what_the_server_refuses_fails_with_its_reason(prod):
    with prod.settings({"kubernetes": {"ingress": {"annotations": {"not a key": "x"}}}}):
        said = prod.up(ok=False)
    assert "Ingress" in said
    assert "the API server answers 422" in said


def test_a_destroyed_stack_leaves_no_workload(server, prod):
    objects = [one["inputs"] for one in prod.state() if one["type"].startswith("kubernetes:")]
    prod.pulumi("state", "unprotect", "--all", "--yes")
    prod.pulumi("destroy", "--yes", "--skip-preview")
    # No controller ends the namespace here.
    left = [body["kind"] for body in objects if server.get(body).ok]
    assert left == ["Namespace"]
