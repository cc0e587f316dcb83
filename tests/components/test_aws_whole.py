"""All components of AWS together, as a program would: combinations compose, and their order is the right one."""

import json

import pytest
from tests.components.aws_support import REGION, Program

from pulumi_mlflow import existing
from pulumi_mlflow.aws.artifacts import AwsArtifactStore
from pulumi_mlflow.aws.backup import AwsBackup, AwsBackupRole
from pulumi_mlflow.aws.database import AwsDatabase
from pulumi_mlflow.aws.image import AwsImage
from pulumi_mlflow.aws.monitoring import AwsMonitoring
from pulumi_mlflow.aws.network import AwsNetwork
from pulumi_mlflow.aws.proxy import AwsAuthProxy
from pulumi_mlflow.aws.tracking import AwsTrackingServer

URL = "https://mlflow.example.com"
OIDC = {
    "issuer": "https://id.example.com",
    "client_id": "mlflow",
    "client_secret": "S3NTINELclient",
    "authorization_endpoint": "https://id.example.com/authorize",
    "token_endpoint": "https://id.example.com/token",
    "user_info_endpoint": "https://id.example.com/userinfo",
}
SERVER_AUTH = {"mlflow": "mlflow", "oidc-mlflow": "oidc-mlflow"}
STATEFUL = {
    "artifacts-access-logs",
    "artifacts-bucket",
    "artifacts-guard",
    "artifacts-key",
    "backup-vault",
    "backup-vault-key",
    "backup-vault-lock",
    "database-guard",
    "database-key",
    "database-password",
    "network-vpc",
    *(f"network-{kind}-{REGION}{zone}" for kind in ("private", "public") for zone in "ab"),
    "proxy-login",
    "proxy-salt",
    "proxy-session",
    "tracking-admin",
    "tracking-kek",
    "tracking-proxy-secret",
    "tracking-session",
}


def reference(kind):
    return f"registry.example.com/{kind}@sha256:{'c' * 64}"


def database(engine, network, *, proxy):
    if engine == "existing":
        return None, existing.existing_database(
            "database",
            engine="postgresql",
            host="db.acme.example",
            database="mlflow",
            username="mlflow",
            password="S3NTINELpassword",
            ca="PEM",
        )
    size = {"instance_class": "db.r7g.large"} if engine.startswith("aurora") else {}
    made = AwsDatabase(
        "database",
        {
            "network": network,
            "engine": engine,
            "ca": "PEM",
            "replica": engine.startswith("aurora"),
            **({"proxy": {"ca": "PEM"}} if proxy else {}),
            **size,
        },
    )
    return made, made.endpoint


def stack(engine="postgresql", store="s3", auth="oidc", *, proxy=False):
    network = AwsNetwork("network", {"region": REGION, "nat": "single"}).network
    role = AwsBackupRole("backup-role", {"network": network})
    made, endpoint = database(engine, network, proxy=proxy)
    bucket = None
    if store == "s3":
        bucket = AwsArtifactStore(
            "artifacts",
            {"bucket": "artifacts-of-acme", "network": network, "trusted_roles": [role.arn]},
        )
        artifacts = bucket.endpoint
    else:
        artifacts = existing.existing_artifacts("artifacts", uri="s3://b-of-others", region=REGION)
    image = AwsImage("image", {"region": REGION})
    direct = {"migration_database": made.direct_endpoint} if made else {}
    read = {"read_database": made.read_endpoint} if made and made.read_endpoint else {}
    server = AwsTrackingServer(
        "tracking",
        {
            "network": network,
            "image": image.reference,
            "repository": image.repository_arn,
            "database": endpoint,
            "artifacts": artifacts,
            "public_url": URL,
            "auth": SERVER_AUTH.get(auth, "none"),
            **direct,
            **read,
        },
    )
    door = AwsAuthProxy(
        "proxy",
        {
            "network": network,
            "cluster": server.cluster,
            "image": reference("nginx"),
            "files_image": image.reference,
            "oidc_image": reference("oauth2-proxy"),
            "tracking": server.endpoint,
            "hosts": ["mlflow.example.com"],
            "zone": "Z1",
            "auth": auth,
            "scaling": {
                "target": server.scaling,
                "cluster_name": server.cluster_name,
                "service_name": server.service_name,
            },
            **({"oidc": OIDC} if auth.startswith("oidc") else {}),
        },
    )
    if made and bucket:
        AwsMonitoring(
            "monitoring",
            {
                "region": REGION,
                "balancer": door.balancer,
                "targets": door.target_group,
                "door_service": door.service_name,
                "cluster_name": server.cluster_name,
                "server_service": server.service_name,
                "database": made.identifier,
            },
        )
        AwsBackup(
            "backup",
            {"region": REGION, "role": role.arn, "resources": [made.arn, bucket.bucket_arn]},
        )
    return door


def whole(*args, preview=False, **options):
    return Program(lambda: stack(*args, **options), preview=preview)


@pytest.fixture(scope="module")
def usual():
    return whole()


@pytest.fixture(scope="module")
def pooled():
    return whole(proxy=True)


@pytest.mark.parametrize(
    ("engine", "store", "auth"),
    [
        ("postgresql", "existing", "oidc-mlflow"),
        ("aurora-mysql", "s3", "mlflow"),
        ("aurora-mysql", "existing", "oidc"),
        ("existing", "s3", "oidc-mlflow"),
        ("existing", "existing", "basic"),
    ],
)
def test_combinations_compose(engine, store, auth):
    found = whole(engine, store, auth)
    assert found.endpoint("public_url") == (URL, False)
    assert found.made.endpoint["auth_mode"] == auth
    names = {item.inputs["name"] for item in found.of("ecs/service:Service")}
    assert names == {"mlflow-prod-tracking-server", "mlflow-prod-proxy-server"}


@pytest.mark.parametrize("proxy", [False, True])
def test_order(usual, pooled, proxy):
    found = pooled if proxy else usual
    # Data, then migration, then servers, then the door.
    assert {"database-instance", "artifacts-policy", "image-push", "network-s3"} <= found.waits_for(
        "tracking-migration"
    )
    assert "tracking-migration" in found.seen["tracking-server-service"].after
    assert "tracking-server-rollout" in found.waits_for("proxy-server-service")
    assert "proxy-https" in found.waits_for("proxy-server-service")
    host = "database-proxy.example.rds" if proxy else "database-instance.example.rds"
    held = json.loads(found["tracking-files-version"]["secretString"])
    assert f"@{host}" in held["env/MLFLOW_BACKEND_STORE_URI"]
    assert "env/MLFLOW_READ_REPLICA_BACKEND_STORE_URI" not in held


def test_auroras_readers_answer_searches():
    found = Program(lambda: stack("aurora-postgresql"))
    held = json.loads(found["tracking-files-version"]["secretString"])
    assert "@database-cluster.example.rds" in held["env/MLFLOW_BACKEND_STORE_URI"]
    assert "@database-cluster-ro.example.rds" in held["env/MLFLOW_READ_REPLICA_BACKEND_STORE_URI"]


def test_the_server_reads_its_own_bucket_and_the_bucket_its_backup(usual):
    assert "artifacts-of-acme" in usual["tracking-server-access"]["policy"]
    assert "role/mlflow-prod-backup-service" in usual["artifacts-policy"]["policy"]
    assert usual["backup-selection"]["resources"][1] == "arn:aws:s3:::artifacts-of-acme"


def test_all_that_holds_or_opens_data_is_protected(usual):
    assert usual.protected() == STATEFUL | {"database-instance"}


def test_no_secret_is_plain(usual):
    for name, item in usual.seen.items():
        if item.typ.endswith("secretVersion:SecretVersion"):
            assert "secretString" in item.secret
        elif name not in ("proxy-https", "proxy-api-rule"):
            text = json.dumps(item.inputs)
            for secret in ("S3NTINEL", "databasepasswordvalue", "trackingkekvalue"):
                assert secret not in text, name


def test_names_carry_the_deployment_and_are_short_enough(usual):
    limits = {"LoadBalancer": 32, "TargetGroup": 32, "Vault": 50, "Role": 64, "Bucket": 63}
    for name, item in usual.seen.items():
        physical = item.inputs.get("name") or item.inputs.get("identifier")
        kind = item.typ.rsplit(":", 1)[-1]
        if item.typ.startswith("aws:") and isinstance(physical, str) and kind in limits:
            assert physical.startswith("mlflow-prod"), name
            assert len(physical) <= limits[kind], name


def test_nothing_of_it_is_open_to_the_world_but_the_door(usual):
    open_to_all = {
        name
        for name, item in usual.seen.items()
        if item.typ.endswith("SecurityGroupIngressRule")
        and item.inputs.get("cidrIpv4") == "0.0.0.0/0"
    }
    assert open_to_all == {"proxy-clients-https-all", "proxy-clients-http-all"}


def test_a_preview_knows_no_value_and_composes_all_the_same():
    found = whole(preview=True)
    assert "proxy-server-service" in found.seen
    assert "tracking-migration" in found.seen["tracking-server-service"].after


def test_rds_proxy_changes_no_name(usual, pooled):
    """What a provider would replace by its name stays."""

    def names(found):
        return {
            name: item.inputs.get("name") or item.inputs.get("identifier")
            for name, item in found.seen.items()
            if item.typ.startswith("aws:")
        }

    small, large = names(usual), names(pooled)
    assert {key: large[key] for key in small} == small
