"""AwsDatabase under mocks: closed, encrypted, protected, backed up; who knows which password; what is refused."""

import json

import pytest
from tests.components.aws_support import ACCOUNT, NETWORK, REGION, Program
from tests.iam.simulator import STRANGERS, RolePolicy, TrustPolicy

from pulumi_mlflow.aws.database import ADMIN, AwsDatabase

CA = "-----BEGIN CERTIFICATE-----\nrds\n-----END CERTIFICATE-----\n"
ENGINES = ("postgresql", "mysql", "mariadb", "aurora-postgresql", "aurora-mysql")


def database(**args):
    engine = args.get("engine", "postgresql")
    size = {"instance_class": "db.r7g.large"} if engine.startswith("aurora") else {}
    return Program(lambda: AwsDatabase("database", {"network": NETWORK, **size, **args}))


@pytest.fixture(scope="module", params=ENGINES)
def each(request):
    return request.param, database(engine=request.param, ca=CA)


@pytest.fixture(scope="module")
def usual():
    return database(ca=CA)


def main(found):
    """Inputs of what holds the data."""
    name = "database-cluster" if "database-cluster" in found.seen else "database-instance"
    return found[name]


def test_the_data_is_encrypted_private_and_kept(each):
    engine, found = each
    data = main(found)
    assert data["storageEncrypted"] is True
    assert data["kmsKeyId"].endswith("database-key")
    assert data["deletionProtection"] is True
    assert data["skipFinalSnapshot"] is False
    assert data["finalSnapshotIdentifier"]
    assert data["deleteAutomatedBackups"] is False
    assert data["backupRetentionPeriod"] == 14
    assert data["copyTagsToSnapshot"] is True
    assert data["dbSubnetGroupName"] == "mlflow-prod-database-subnets"
    assert data["vpcSecurityGroupIds"] == ["database-database-group-id"]
    for item in found.seen.values():
        if item.typ.endswith(("rds/instance:Instance", "ClusterInstance")):
            assert item.inputs["publiclyAccessible"] is False
    assert found.protected() == {
        "database-guard",
        "database-key",
        "database-password",
        "database-cluster" if engine.startswith("aurora") else "database-instance",
    }


@pytest.mark.parametrize("engine", ["postgresql", "aurora-postgresql"])
def test_its_protection_is_taken_off_only_when_told(engine):
    found = database(engine=engine, deletion_protection=False)
    assert main(found)["deletionProtection"] is False
    assert main(found)["skipFinalSnapshot"] is False


def test_a_second_one_stands_by(each):
    engine, found = each
    if engine.startswith("aurora"):
        assert len(found.of("rds/clusterInstance:ClusterInstance")) == 2
        alone = database(engine=engine, multi_az=False)
        assert len(alone.of("rds/clusterInstance:ClusterInstance")) == 1
    else:
        assert main(found)["multiAz"] is True
        assert main(database(engine=engine, multi_az=False))["multiAz"] is False


def test_the_administrators_password_is_rdss_own_and_the_server_is_not_the_administrator(each):
    _, found = each
    data = main(found)
    assert data["manageMasterUserPassword"] is True
    assert data["masterUserSecretKmsKeyId"].endswith("database-key")
    assert data.get("username", data.get("masterUsername")) == ADMIN
    assert not {"password", "masterPassword", "passwordWo"} & set(data)
    assert found.endpoint("username")[0] == "mlflow" != ADMIN
    value, secret = found.endpoint("password")
    assert value.startswith("databasepasswordvalue")
    assert secret is True
    assert "rds!" in found.endpoint("admin_secret")[0]
    assert found.endpoint("admin_key")[0].endswith("database-key")


def test_nothing_but_the_password_is_secret(each):
    _, found = each
    assert [key for key in found.made.endpoint if key != "reach" and found.endpoint(key)[1]] == [
        "password"
    ]


def test_plain_text_is_refused_by_the_server_and_the_client_verifies_it(each):
    engine, found = each
    parameters = {p["name"]: p for p in found["database-parameters"]["parameters"]}
    name = "rds.force_ssl" if "postgresql" in engine else "require_secure_transport"
    assert parameters[name]["value"] == ("ON" if engine == "aurora-mysql" else "1")
    assert found.endpoint("tls_mode")[0] == "verify-full"
    assert found.endpoint("ca")[0] == CA
    assert database(engine=engine).endpoint("tls_mode")[0] == "require"
    key = "dbClusterParameterGroupName" if engine.startswith("aurora") else "parameterGroupName"
    assert main(found)[key] == "database-parameters-id"


def test_nobody_comes_in_until_they_add_a_rule(each):
    _, found = each
    assert not found.of("vpc/securityGroupIngressRule:SecurityGroupIngressRule")
    assert found.endpoint("security_group") == ("database-database-group-id", False)
    assert found.made.endpoint["reach"] == ["vpc:mlflow-prod"]
    more = database(places=["cluster:mlflow-prod"]).made.endpoint["reach"]
    assert more == ["vpc:mlflow-prod", "cluster:mlflow-prod"]


def test_it_is_watched(each):
    _, found = each
    assert main(found)["enabledCloudwatchLogsExports"]
    watched = [item for item in found.seen.values() if "performanceInsightsEnabled" in item.inputs]
    assert watched
    for item in watched:
        assert item.inputs["performanceInsightsEnabled"] is True
        assert item.inputs["performanceInsightsKmsKeyId"].endswith("database-key")
        assert item.inputs["monitoringInterval"] == 60
    trust = TrustPolicy(found["database-monitoring-role"]["assumeRolePolicy"])
    who = "monitoring.rds.amazonaws.com"
    assert trust.decide(who, {"aws:SourceAccount": ACCOUNT}) == "allow"
    assert trust.decide(who, {"aws:SourceAccount": STRANGERS}) == "none"


def test_the_guard_holds_what_would_replace_it(usual):
    assert usual["database-guard"]["settings"] == {
        "mlflow:database.engine": "postgresql",
        "mlflow:database.name": "mlflow",
        "mlflow:database.username": "mlflow",
    }
    assert "database-guard" in usual.seen["database-instance"].after


def test_sizes_and_versions_change_values_and_no_names():
    """What RDS replaces is the same whatever the size: names, engine, key, subnets, administrator."""
    small, large = (
        database(),
        database(
            version="16.4",
            allow_major_upgrade=True,
            apply_immediately=True,
            instance_class="db.r7g.2xlarge",
            storage_gb=500,
            max_connections=900,
            multi_az=False,
            backup_days=35,
            iam_auth=True,
        ),
    )
    fixed = ("identifier", "engine", "dbName", "username", "kmsKeyId", "dbSubnetGroupName")
    assert {k: small["database-instance"][k] for k in fixed} == {
        k: large["database-instance"][k] for k in fixed
    }
    assert small["database-instance"]["engineVersion"] == "15"
    assert large["database-instance"]["engineVersion"] == "16.4"
    # Another family is another group beside the old one, which is in use until then.
    assert small["database-parameters"]["namePrefix"] == "mlflow-prod-database-postgres15-"
    assert large["database-parameters"]["namePrefix"] == "mlflow-prod-database-postgres16-"
    assert large["database-instance"]["allocatedStorage"] == 500
    assert large["database-instance"]["maxAllocatedStorage"] == 2000
    assert small["database-instance"]["allowMajorVersionUpgrade"] is False
    assert large["database-instance"]["allowMajorVersionUpgrade"] is True


def test_backups_go_to_another_region():
    found = database(backup_region="eu-west-1", backup_days=21)
    copy = found["database-backup-copy"]
    assert copy["region"] == found["database-backup-key"]["region"] == "eu-west-1"
    assert copy["retentionPeriod"] == 21
    assert copy["kmsKeyId"].endswith("database-backup-key")
    assert {"database-backup-copy", "database-backup-key"} <= found.protected()


def test_a_reader_answers_elsewhere():
    assert database(engine="aurora-postgresql").made.read_endpoint is None
    found = database(engine="aurora-postgresql", replica=True, multi_az=False, ca=CA)
    assert found.made.read_endpoint["host"] is not found.made.endpoint["host"]
    assert "admin_secret" not in found.made.read_endpoint
    assert len(found.of("rds/clusterInstance:ClusterInstance")) == 2


@pytest.mark.parametrize("engine", ENGINES)
def test_rds_proxy_stands_between(engine):
    found = database(engine=engine, ca=CA, proxy={"connections_percent": 70})
    proxy = found["database-proxy"]
    assert proxy["requireTls"] is True
    assert proxy["engineFamily"] == ("POSTGRESQL" if "postgresql" in engine else "MYSQL")
    [login] = proxy["auths"]
    assert login["authScheme"] == "SECRETS"
    assert login["secretArn"].endswith("database-user")
    assert found["database-proxy-pool"]["connectionPoolConfig"]["maxConnectionsPercent"] == 70
    assert json.loads(found["database-user-version"]["secretString"])["username"] == "mlflow"
    assert "secretString" in found.seen["database-user-version"].secret
    # Servers come in by the proxy, migrations do not: they hold locks on a connection.
    assert found.endpoint("security_group")[0] == "database-proxy-group-id"
    assert found.endpoint("host")[0] == "database-proxy.example.rds"
    assert "admin_secret" not in found.made.endpoint
    assert "admin_secret" in found.made.direct_endpoint
    # Its certificate is not of RDS's authorities.
    assert found.endpoint("tls_mode")[0] == "require"
    assert "ca" not in found.made.endpoint
    rules = [
        item.inputs for item in found.of("vpc/securityGroupIngressRule:SecurityGroupIngressRule")
    ]
    assert [(r["securityGroupId"], r["referencedSecurityGroupId"]) for r in rules] == [
        ("database-database-group-id", "database-proxy-group-id")
    ]
    target = found["database-proxy-target"]
    key = "dbClusterIdentifier" if engine.startswith("aurora") else "dbInstanceIdentifier"
    assert target[key] == "mlflow-prod-database"


def test_rds_proxy_reads_one_secret():
    found = database(proxy={"ca": "amazon"})
    assert found.endpoint("tls_mode")[0] == "verify-full"
    assert found.endpoint("ca")[0] == "amazon"
    policy = RolePolicy(found["database-proxy-access"]["policy"])
    own = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:database-user"
    assert policy.decide("secretsmanager:GetSecretValue", own) == "allow"
    assert policy.decide("secretsmanager:GetSecretValue", own + "2") == "none"
    assert policy.decide("secretsmanager:PutSecretValue", own) == "none"
    key = found["database-proxy-access"]["policy"]
    assert "kms:Decrypt" in key
    assert "database-proxy-access" in found.seen["database-proxy"].after


def test_people_may_log_in_by_their_identity():
    assert database()["database-instance"]["iamDatabaseAuthenticationEnabled"] is False
    found = database(iam_auth=True)
    assert found["database-instance"]["iamDatabaseAuthenticationEnabled"] is True


@pytest.mark.parametrize(
    ("args", "refusal"),
    [
        ({"engine": "sqlite"}, "database: engine: must be one of postgresql"),
        ({"engine": "oracle"}, "engine: must be one of"),
        ({"version": "latest"}, "version: must be such as 15"),
        ({"instance_class": "m5.large"}, "instance_class: must be a db.t"),
        ({"max_connections": 5000}, r"max_connections: must be ≤ 450.*RDS Proxy \(got 5000\)"),
        ({"backup_days": 0}, r"backup_days: must be 1 to 35 \(got 0\)"),
        ({"backup_days": 36}, "backup_days: must be 1 to 35"),
        ({"backup_region": REGION}, "backup_region: must be another region"),
        (
            {"engine": "aurora-mysql", "backup_region": "eu-west-1"},
            "backup_region: RDS copies no automated backups of Aurora",
        ),
        (
            {"replica": True},
            "replica: is for Aurora only: RDS makes no read replica of an instance",
        ),
        ({"engine": "mysql", "replica": True}, "replica: is for Aurora only"),
        ({"allow_major_upgrade": True}, "allow_major_upgrade: needs apply_immediately"),
        ({"username": ADMIN}, "username: mlflow_admin is the administrator's"),
        ({"username": "rdsadmin"}, "username: is reserved by RDS"),
        ({"name": 'x"; DROP'}, "name: must be up to 32 lower-case"),
    ],
)
def test_what_rds_would_refuse_is_refused_before_anything_is_registered(args, refusal):
    with pytest.raises(ValueError, match=refusal):
        database(**args)


def test_tags_and_parents(each):
    _, found = each
    untagged = ("RolePolicyAttachment", "RolePolicy", "SecretVersion")
    for name, item in found.seen.items():
        if name not in ("database", "database-guard"):
            assert item.parent == "database", name
        if item.typ.startswith("aws:") and not item.typ.endswith(untagged):
            assert item.inputs["tags"]["pulumi-mlflow/role"] == "database", name
