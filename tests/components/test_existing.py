"""Databases and stores of others as endpoints, under mocks; real ones are in tests/docker/test_databases.py."""

import pulumi
import pytest
from pulumi.runtime.mocks import Mocks

from pulumi_mlflow.contracts import ArtifactEndpoint, UnreachableEndpointError
from pulumi_mlflow.docker.pooler import DockerPooler
from pulumi_mlflow.docker.tracking import DockerTrackingServer
from pulumi_mlflow.existing import existing_artifacts, existing_database

HERE = "network:mlflow-dev"


class Echo(Mocks):
    def __init__(self):
        self.seen = []

    def new_resource(self, args):
        self.seen.append(args)
        return f"{args.name}-id", args.inputs

    def call(self, _args):
        return {}


@pytest.fixture
def echo():
    mocks = Echo()
    pulumi.runtime.mocks.set_mocks(mocks, project="mlflow", stack="dev", preview=False)
    yield mocks
    # Else other tests are of this stack.
    pulumi.runtime.settings.reset_options("project", "stack")


def database(host="db.example.com", **changes):
    given = {
        "engine": "postgresql",
        "database": "mlflow",
        "username": "mlflow",
        "password": "secret",
    }
    return existing_database("database", host=host, **{**given, "tls_mode": "require", **changes})


@pytest.mark.parametrize(
    ("host", "reach"),
    [
        ("db.example.com", ["public"]),
        ("127.0.0.1", ["host"]),
        ("localhost", ["host"]),
        ("::1", ["host"]),
        ("host.docker.internal", [HERE]),
    ],
)
def test_reach_is_that_of_the_host_name(echo, host, reach):
    assert database(host)["reach"] == reach
    store = existing_artifacts(
        "artifacts", uri="s3://b", endpoint_url=f"http://{'[::1]' if host == '::1' else host}:9000"
    )
    assert store["reach"] == reach


@pulumi.runtime.test
async def test_what_it_is_made_of(echo):
    endpoint = database(engine="mysql", ca="PEM", tls_mode="verify-full")
    assert endpoint["port"] == 3306
    assert endpoint["ca"] == "PEM"
    assert await endpoint["database"].future() == "mlflow"
    assert await pulumi.Output.from_input(endpoint["password"]).is_secret()
    [guard] = [seen for seen in echo.seen if seen.typ.endswith("DataGuard")]
    assert guard.inputs["settings"] == {
        "mlflow:database.engine": "mysql",
        "mlflow:database.name": "mlflow",
        "mlflow:database.existing.host": "db.example.com",
        "mlflow:database.existing.port": "3306",
    }


@pulumi.runtime.test
async def test_a_schema_is_part_of_where_the_data_is(echo):
    endpoint = database(search_path=' "My runs" ', database="Of-Runs")
    assert await endpoint["database"].future() == "Of-Runs"
    assert endpoint["search_path"] == '"My runs"'
    assert endpoint["data"] == 'postgresql://db.example.com:5432/Of-Runs?search_path="My runs"'
    [guard] = [seen for seen in echo.seen if seen.typ.endswith("DataGuard")]
    assert guard.inputs["settings"]["mlflow:database.existing.search_path"] == '"My runs"'


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"search_path": "a; b"}, "search_path"),
        ({"search_path": "a", "engine": "mysql"}, "search_path"),
        ({"engine": "sqlite"}, "engine"),
        ({"tls_mode": "verify-full"}, "certificate"),
        ({"tls_mode": "prefer"}, "tls_mode"),
        ({"host": "a/b"}, "host"),
    ],
)
def test_what_makes_no_sense_is_refused(echo, changes, reason):
    with pytest.raises(ValueError, match=reason):
        database(**changes)


def test_half_a_key_is_refused(echo):
    with pytest.raises(ValueError, match="access_key and secret_key"):
        existing_artifacts("artifacts", uri="s3://b", access_key="x")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_docker_server_refuses_a_database_on_loopback_with_both_names_and_the_mend(echo, host):
    artifacts = ArtifactEndpoint(component="artifacts", reach=["public"], uri="s3://b")
    with pytest.raises(UnreachableEndpointError) as refused:
        DockerTrackingServer(
            "tracking",
            {"network": "n", "image": "i", "database": database(host), "artifacts": artifacts},
        )
    for words in ("tracking", "database", HERE, "host.docker.internal"):
        assert words in str(refused.value)


def test_a_pooler_is_for_postgresql(echo):
    with pytest.raises(ValueError, match=r"pooler: database must be postgresql.*'mysql'"):
        DockerPooler("pooler", {"network": "n", "image": "i", "database": database(engine="mysql")})
