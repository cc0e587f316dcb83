"""What a server makes of its endpoints. Outputs are resolved under mocks, which no resource needs here."""

import pulumi
import pytest

from pulumi_mlflow import endpoints
from pulumi_mlflow.contracts import (
    ArtifactEndpoint,
    DatabaseEndpoint,
    Scope,
    UnreachableEndpointError,
    require_reach,
)

POSTGRESQL = DatabaseEndpoint(
    component="database",
    reach=["host"],
    engine="postgresql",
    host="db.example.com",
    port=5432,
    database="mlflow",
    username="mlflow",
    password="S3ntinel/p&ss",
)
FOLDER = ArtifactEndpoint(component="artifacts", reach=["host"], uri="/data/artifacts")
S3 = ArtifactEndpoint(
    component="store", reach=["public"], uri="s3://b", access_key="AK", secret_key="SK", ca="PEM"
)


async def resolved(values):
    return {name: await value.future() for name, value in values.items()}


@pulumi.runtime.test
def test_names_are_known_before_values():
    found = endpoints.server_secrets(POSTGRESQL, S3, "kek", "/run/files")
    assert set(found) == {
        "MLFLOW_BACKEND_STORE_URI",
        "MLFLOW_CRYPTO_KEK_PASSPHRASE",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
    }


@pytest.mark.parametrize("artifacts", [FOLDER, S3])
def test_values_and_that_all_are_secret(artifacts):
    seen = []

    @pulumi.runtime.test
    async def inside():
        found = endpoints.server_secrets(POSTGRESQL, artifacts, "kek", "/run/files")
        seen.append((await resolved(found), [await value.is_secret() for value in found.values()]))

    inside()
    [(values, secret)] = seen
    assert all(secret)
    assert values["MLFLOW_CRYPTO_KEK_PASSPHRASE"] == "kek"
    assert values["MLFLOW_BACKEND_STORE_URI"] == (
        "postgresql+psycopg2://mlflow:S3ntinel%2Fp%26ss@db.example.com:5432/mlflow?sslmode=disable"
    )
    assert ("AWS_SECRET_ACCESS_KEY" in values) == (artifacts is S3)


def test_a_database_with_its_own_authority_gets_its_certificate_by_file():
    seen = []
    database = DatabaseEndpoint(**{**POSTGRESQL, "tls_mode": "verify-full", "ca": "PEM"})

    @pulumi.runtime.test
    async def inside():
        seen.append(await endpoints.database_uri(database, "/run/files").future())

    inside()
    assert "sslmode=verify-full" in seen[0]
    assert "database-ca.pem" in seen[0]
    assert endpoints.certificates(database, S3) == {
        "database-ca.pem": "PEM",
        "artifacts-ca.pem": "PEM",
    }
    assert endpoints.certificates(POSTGRESQL, FOLDER) == {}


def test_sqlite_is_a_file():
    seen = []
    sqlite = DatabaseEndpoint(
        component="database", reach=["host"], engine="sqlite", database="/data/mlflow.db"
    )

    @pulumi.runtime.test
    async def inside():
        seen.append(await endpoints.database_uri(sqlite, "/unused").future())

    inside()
    assert seen == ["sqlite:////data/mlflow.db"]


def test_reach():
    here = Scope.NETWORK.place("mlflow-dev")
    require_reach("tracking", here, "database", [here])
    require_reach("tracking", here, "database", ["public"])
    for reach in ([], ["host"], [Scope.NETWORK.place("mlflow-dev2")]):
        with pytest.raises(UnreachableEndpointError, match=r"tracking .*mlflow-dev.* database"):
            require_reach("tracking", here, "database", reach)
