"""A stack whose servers are in a cluster and whose runs are in RDS: who knows the administrator, and who the user."""

import json

import pytest
from sqlalchemy.engine import make_url
from tests.stacks import cloud, test_prod

ADMIN_SECRET = "secret:rds!"
"""How what RDS keeps of its administrator is called in Secrets Manager."""

ENGINES = {
    "postgresql": {},
    "mysql": {"database": {"engine": "mysql"}},
    "aurora": {"database": {"aurora": True}},
}


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PULUMI_MLFLOW_CACHE", "")
        test_prod.ingredients(tmp_path_factory.mktemp("cache"))
        yield


@pytest.fixture(scope="module", params=ENGINES)
def stack(request, _cache):
    more = {"database": {"username": "runs"}, "backup": {"gc_days": 30}}
    return cloud.Composed(
        cloud.loaded(cloud.merged(cloud.AWS_CLUSTER, ENGINES[request.param], more))
    )


def holders(stack, text):
    """Names of the resources whose inputs have a text in them."""
    return {name for name, item in stack.seen.items() if text in json.dumps(item.inputs)}


def test_the_administrators_secret_is_for_the_migration_alone(stack):
    assert holders(stack, ADMIN_SECRET) == {"tracking-database-admin"}
    fetched = stack["tracking-database-admin"]
    assert fetched["spec"]["secretStoreRef"] == {"name": "aws", "kind": "ClusterSecretStore"}
    target = fetched["spec"]["target"]["name"]
    assert holders(stack, target) == {"tracking-database-admin", "tracking-migration"}


def test_servers_and_clean_up_log_in_as_the_user_with_a_password_that_no_rotation_changes(stack):
    files = {
        name: item.inputs["stringData"]
        for name, item in stack.seen.items()
        if item.typ.endswith(":Secret") and "stringData" in item.inputs
    }
    found = {
        name: make_url(held["env.MLFLOW_BACKEND_STORE_URI"])
        for name, held in files.items()
        if "env.MLFLOW_BACKEND_STORE_URI" in held
    }
    assert {"tracking-files", "upkeep-gc-files"} <= set(found)
    for url in found.values():
        assert (url.username, url.password.rstrip("0")) == ("runs", "databasepasswordvalue")
        assert url.host.startswith("database-")


def test_the_user_is_made_once_there_is_a_database_and_before_a_server_starts(stack):
    job = test_prod._waits(stack, "tracking-migration")
    assert {"tracking-database-admin", "cluster-access-database-in"} <= job
    assert job & {"database-instance", "database-cluster"}
    [user] = stack["tracking-migration"]["spec"]["template"]["spec"]["initContainers"]
    assert user["args"][-1].endswith("database_user.py")
    for last in ("tracking-deployment", "upkeep-gc"):
        assert "tracking-migration" in test_prod._waits(stack, last)


def test_a_database_of_others_keeps_the_user_that_was_given():
    tree = cloud.merged(
        cloud.AWS_CLUSTER, test_prod.DATABASES["existing"], test_prod.STORES["existing"]
    )
    stack = cloud.Composed(cloud.loaded(tree))
    assert not stack.of("ExternalSecret")
    assert "initContainers" not in stack["tracking-migration"]["spec"]["template"]["spec"]
    assert (
        f":{cloud.SENTINEL}"
        in stack["tracking-files"]["stringData"]["env.MLFLOW_BACKEND_STORE_URI"]
    )
