"""AwsTrackingServer under mocks: what it may do and reach, where its secrets are, what comes before what."""

import json

import pytest
from tests.components.aws_support import ACCOUNT, NETWORK, REGION, Program, check_request
from tests.iam.simulator import RolePolicy, TrustPolicy

from pulumi_mlflow.aws.tracking import AwsTrackingServer
from pulumi_mlflow.contracts import UnreachableEndpointError

IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/mlflow@sha256:{'a' * 64}"
REPOSITORY = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/mlflow"
PASSWORD = "S3NTINELpassword"
ADMIN_SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:rds!db-1"
ADMIN_KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/admin"
HERE = [NETWORK["place"]]
DATABASE = {
    "component": "database",
    "reach": HERE,
    "engine": "postgresql",
    "host": "db.example",
    "port": 5432,
    "database": "mlflow",
    "username": "mlflow",
    "password": PASSWORD,
    "tls_mode": "verify-full",
    "ca": "PEM of RDS",
    "security_group": "sg-database",
    "admin_secret": ADMIN_SECRET,
    "admin_key": ADMIN_KEY,
    "data": "db-1",
}
ARTIFACTS = {
    "component": "artifacts",
    "reach": HERE,
    "uri": "s3://artifacts-of-acme/runs",
    "region": REGION,
    "kms_key": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1",
}
ARGS = {
    "network": NETWORK,
    "image": IMAGE,
    "repository": REPOSITORY,
    "database": DATABASE,
    "artifacts": ARTIFACTS,
    "public_url": "https://mlflow.example.com",
}


def server(**args):
    given = {key: value for key, value in {**ARGS, **args}.items() if value is not None}
    return Program(lambda: AwsTrackingServer("tracking", given))


@pytest.fixture(scope="module")
def usual():
    return server()


def containers(found, role="server"):
    text = found[f"tracking-{role}-task"]["containerDefinitions"]
    return {item["name"]: item for item in json.loads(text)}


def files(found, role="files"):
    return json.loads(found[f"tracking-{role}-version"]["secretString"])


def variables(container):
    return {item["name"]: item["value"] for item in container["environment"]}


def test_it_runs_the_digest_and_nothing_else(usual):
    for role in ("server", "migration"):
        assert {item["image"] for item in containers(usual, role).values()} == {IMAGE}


def test_every_container_is_hardened(usual):
    for role in ("server", "migration"):
        for item in containers(usual, role).values():
            assert item["readonlyRootFilesystem"] is True
            assert item["user"] == "10001:10001"
            assert item["linuxParameters"]["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("role", ["server", "migration"])
def test_ecs_takes_its_containers(usual, role):
    definitions = list(containers(usual, role).values())
    check_request("ecs", "RegisterTaskDefinition", family="f", containerDefinitions=definitions)


def test_secrets_are_files_that_only_the_writer_is_given(usual):
    found = containers(usual)
    assert found["server"]["secrets"] == []
    [given] = found["files"]["secrets"]
    assert given["name"] == "FILES"
    assert given["valueFrom"].endswith(":::version-of-tracking-files-version")
    held = files(usual)
    assert f":{PASSWORD}@" in held["env/MLFLOW_BACKEND_STORE_URI"]
    assert "sslmode=verify-full" in held["env/MLFLOW_BACKEND_STORE_URI"]
    assert held["env/MLFLOW_CRYPTO_KEK_PASSPHRASE"].startswith("trackingkekvalue")
    assert held["database-ca.pem"] == "PEM of RDS"
    assert "AWS_ACCESS_KEY_ID" not in json.dumps(held)
    [mount] = [m for m in found["server"]["mountPoints"] if m["sourceVolume"] == "files"]
    assert mount == {
        "sourceVolume": "files",
        "containerPath": "/run/pulumi-mlflow",
        "readOnly": True,
    }


def test_no_secret_is_plain_anywhere(usual):
    assert "secretString" in usual.seen["tracking-files-version"].secret
    for name, item in usual.seen.items():
        if item.typ == "aws:secretsmanager/secretVersion:SecretVersion":
            continue
        text = json.dumps(item.inputs)
        assert PASSWORD not in text, name
        assert "trackingkekvalue" not in text, name
        assert "trackingadminvalue" not in text, name


def test_another_secret_is_another_task_definition(usual):
    """By its version: a rollout follows."""
    [given] = containers(usual)["files"]["secrets"]
    assert "version-of-" in given["valueFrom"]


def test_the_migration_runs_once_before_the_service(usual):
    assert "tracking-migration" in usual.seen["tracking-server-service"].after
    run = usual["tracking-migration"]
    assert run["task_definition"].endswith("tracking-migration-task")
    assert run["triggers"] == {"database": "db.example", "data": "db-1"}
    assert run["subnets"] == ["subnet-a", "subnet-b"]
    assert run["security_groups"] == ["tracking-server-group-id"]
    order = containers(usual, "migration")
    assert order["files"]["dependsOn"] == []
    assert order["user"]["dependsOn"] == [{"containerName": "files", "condition": "SUCCESS"}]
    assert order["migration"]["dependsOn"] == [{"containerName": "user", "condition": "SUCCESS"}]
    assert [item["essential"] for item in order.values()] == [False, False, True]
    # It can reach the database, and read its secrets, before it starts.
    before = usual.waits_for("tracking-migration")
    assert {"tracking-database-out", "tracking-database-in"} <= before
    assert {"tracking-migration-access", "tracking-server-access"} <= before
    assert "tracking-start-access" in usual.waits_for("tracking-server-service")


def test_only_the_migration_knows_the_administrator(usual):
    order = containers(usual, "migration")
    assert order["user"]["secrets"] == [{"name": "ADMIN", "valueFrom": ADMIN_SECRET}]
    assert order["user"]["command"][-1].endswith("database_user.py")
    assert order["migration"]["secrets"] == []
    assert ADMIN_SECRET not in usual["tracking-server-task"]["containerDefinitions"]
    migration = RolePolicy(usual["tracking-migration-access"]["policy"])
    start = RolePolicy(usual["tracking-start-access"]["policy"])
    assert migration.decide("secretsmanager:GetSecretValue", ADMIN_SECRET) == "allow"
    assert start.decide("secretsmanager:GetSecretValue", ADMIN_SECRET) == "none"
    via = {"kms:ViaService": f"secretsmanager.{REGION}.amazonaws.com"}
    assert migration.decide("kms:Decrypt", ADMIN_KEY, via) == "allow"
    assert start.decide("kms:Decrypt", ADMIN_KEY, via) == "none"


def test_a_database_with_its_user_needs_no_administrator():
    plain = {k: v for k, v in DATABASE.items() if not k.startswith("admin")}
    found = server(database=plain)
    order = containers(found, "migration")
    assert list(order) == ["files", "migration"]
    assert order["migration"]["dependsOn"] == [{"containerName": "files", "condition": "SUCCESS"}]


def test_a_proxy_is_not_for_migrations():
    proxied = {**DATABASE, "host": "proxy.example", "security_group": "sg-proxy"}
    del proxied["admin_secret"], proxied["admin_key"]
    found = server(database=proxied, migration_database=DATABASE)
    assert "@proxy.example" in files(found)["env/MLFLOW_BACKEND_STORE_URI"]
    assert "@db.example" in files(found, "migration-files")["env/MLFLOW_BACKEND_STORE_URI"]
    [given] = containers(found, "migration")["files"]["secrets"]
    assert "tracking-migration-files" in given["valueFrom"]
    rules = {
        (item.inputs["referencedSecurityGroupId"])
        for item in found.of("vpc/securityGroupEgressRule:SecurityGroupEgressRule")
        if "referencedSecurityGroupId" in item.inputs
    }
    assert rules == {"sg-proxy", "sg-database", "sg-endpoints"}


def test_searches_go_to_a_replica():
    replica = {**DATABASE, "host": "replica.example", "ca": "PEM of the replica"}
    found = server(read_database=replica)
    held = files(found)
    assert "@replica.example" in held["env/MLFLOW_READ_REPLICA_BACKEND_STORE_URI"]
    assert "database-read-ca.pem" in held["env/MLFLOW_READ_REPLICA_BACKEND_STORE_URI"]
    assert held["database-read-ca.pem"] == "PEM of the replica"
    # A migration reads what it has written.
    assert "READ_REPLICA" not in json.dumps(files(found, "migration-files"))
    assert "READ_REPLICA" not in json.dumps(files(server()))


def test_its_role_is_for_its_artifacts_and_nothing_else(usual):
    policy = RolePolicy(usual["tracking-server-access"]["policy"])
    assert policy.actions() == [
        "kms:Decrypt",
        "kms:GenerateDataKey",
        "s3:AbortMultipartUpload",
        "s3:DeleteObject",
        "s3:GetObject",
        "s3:ListBucket",
        "s3:ListMultipartUploadParts",
        "s3:PutObject",
    ]
    own = "arn:aws:s3:::artifacts-of-acme/runs/1/model"
    assert policy.decide("s3:PutObject", own) == "allow"
    assert policy.decide("s3:PutObject", "arn:aws:s3:::artifacts-of-acme/others") == "none"
    task = usual["tracking-server-task"]
    assert task["taskRoleArn"].endswith("role/mlflow-prod-tracking-server")
    assert task["executionRoleArn"].endswith("role/mlflow-prod-tracking-start")


@pytest.mark.parametrize(
    ("image", "pulled"),
    [
        (f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/mlflow@sha256:{'c' * 64}", [REPOSITORY]),
        (f"registry.example.com/mlflow@sha256:{'c' * 64}", []),
    ],
)
def test_an_image_of_ecr_may_be_pulled_though_nobody_names_its_repository(image, pulled):
    found = server(image=image, repository=None)
    for role in ("start", "migration"):
        statements = json.loads(found[f"tracking-{role}-access"]["policy"])["Statement"]
        assert [item["Resource"] for item in statements if item["Sid"] == "Pull"] == [
            pulled for _ in pulled
        ]


OUTSIDE = f"registry.example.com/mlflow@sha256:{'c' * 64}"


@pytest.mark.parametrize(
    ("image", "more", "way"),
    [
        (IMAGE, {}, False),
        (OUTSIDE, {}, True),
        (IMAGE.replace(REGION, "us-east-1"), {}, True),
        (IMAGE, {"outside": True}, True),
    ],
    ids=["ECR", "another registry", "ECR of another region", "as told"],
)
def test_a_registry_that_no_endpoint_leads_to_is_reached(image, more, way):
    """A task pulls its image by its own network interface, and so by its own security group."""
    found = server(image=image, **more)
    rules = found.of("vpc/securityGroupEgressRule:SecurityGroupEgressRule")
    assert [r.inputs["fromPort"] for r in rules if r.inputs.get("cidrIpv4") == "0.0.0.0/0"] == [
        443 for _ in range(way)
    ]


@pytest.mark.parametrize("args", [{"image": OUTSIDE}, {"outside": True}])
def test_an_image_that_the_subnets_cannot_reach_is_refused(args):
    with pytest.raises(ValueError, match=r"tracking: (image|outside): .*the ECR of eu-central-1"):
        server(network={**NETWORK, "internet": False}, **args)


@pytest.mark.parametrize(
    ("deployment", "name"),
    [("mlflow-Prod", "mlflow-Prod"), ("mlflow_a", "mlflow_a"), ("ml.flow-prod", "ml-flow-prod-")],
)
def test_the_cluster_has_the_name_of_the_deployment_where_ecs_takes_it(deployment, name):
    assert server(deployment=deployment)["tracking-cluster"]["name"].startswith(name)


def test_what_starts_it_reads_its_files_and_pulls_its_image(usual):
    policy = RolePolicy(usual["tracking-start-access"]["policy"])
    own = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:tracking-files"
    assert policy.decide("secretsmanager:GetSecretValue", own) == "allow"
    assert policy.decide("ecr:BatchGetImage", REPOSITORY) == "allow"
    assert policy.decide("ecr:BatchGetImage", REPOSITORY + "2") == "none"
    assert policy.decide("s3:GetObject", "arn:aws:s3:::artifacts-of-acme/runs/1") == "none"
    for name in ("start", "server", "migration"):
        trust = TrustPolicy(usual[f"tracking-{name}-role"]["assumeRolePolicy"])
        context = {
            "aws:SourceAccount": ACCOUNT,
            "aws:SourceArn": f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/c/1",
        }
        who = "ecs-tasks.amazonaws.com"
        assert trust.decide(who, context) == "allow"
        assert trust.decide(who) == "none"


@pytest.mark.parametrize(
    ("store", "policy"),
    [
        ({"uri": "gs://bucket/x"}, "none"),
        ({"uri": "s3://b1b", "endpoint_url": "https://s3.example.com"}, "allow"),
    ],
)
def test_other_stores(store, policy):
    given = {"component": "existing", "reach": ["public"], **store}
    found = server(artifacts=given)
    decided = RolePolicy(found["tracking-server-access"]["policy"])
    assert decided.decide("s3:PutObject", "arn:aws:s3:::b1b/x") == policy


def test_keys_of_its_own_need_no_role():
    given = {
        "component": "existing",
        "reach": ["public"],
        "uri": "s3://b1b",
        "endpoint_url": "https://s3.example.com:9000",
        "access_key": "AK",
        "secret_key": "SK",
    }
    found = server(artifacts=given)
    assert "tracking-server-access" not in found.seen
    assert files(found)["env/AWS_SECRET_ACCESS_KEY"] == "SK"
    assert found["tracking-artifacts-out"]["fromPort"] == 9000


def test_a_store_is_asked_by_the_name_that_clients_have_for_it():
    """A signature covers the host."""
    given = {
        "component": "existing",
        "reach": ["public"],
        "uri": "s3://b1b",
        "endpoint_url": "https://s3.internal:9000",
        "access_key": "AK",
        "secret_key": "SK",
    }
    public = {**given, "public_endpoint_url": "https://s3.example.com:9443"}
    for artifacts, multipart, url, port in (
        (public, False, "https://s3.internal:9000", 9000),
        (public, True, "https://s3.example.com:9443", 9443),
    ):
        found = server(artifacts=artifacts, multipart=multipart)
        asked = variables(containers(found)["server"])["MLFLOW_S3_ENDPOINT_URL"]
        assert asked == url
        assert found["tracking-artifacts-out"]["fromPort"] == port
    with pytest.raises(
        ValueError, match="tracking: multipart: existing has no public_endpoint_url"
    ):
        server(artifacts=given, multipart=True)


def rules(found, kind):
    return {
        name: item.inputs
        for name, item in found.seen.items()
        if item.typ == f"aws:vpc/securityGroup{kind}Rule:SecurityGroup{kind}Rule"
    }


def test_it_goes_to_database_store_and_aws_and_nowhere_else(usual):
    out = rules(usual, "Egress")
    assert {name: (rule["fromPort"], rule["toPort"]) for name, rule in out.items()} == {
        "tracking-endpoints-out": (443, 443),
        "tracking-s3-out": (443, 443),
        "tracking-database-out": (5432, 5432),
    }
    assert not [name for name, rule in out.items() if "cidrIpv4" in rule]
    assert out["tracking-s3-out"]["prefixListId"] == "pl-s3"
    # Nobody comes in yet, and it comes into the database.
    assert list(rules(usual, "Ingress")) == ["tracking-database-in"]
    assert usual["tracking-database-in"]["securityGroupId"] == "sg-database"
    assert usual["tracking-database-in"]["referencedSecurityGroupId"] == "tracking-server-group-id"


def test_without_endpoints_it_goes_by_nat():
    plain = {
        k: v for k, v in NETWORK.items() if k not in ("endpoints", "s3_endpoint", "s3_prefixes")
    }
    out = rules(server(network=plain), "Egress")
    assert out["tracking-aws-out"]["cidrIpv4"] == "0.0.0.0/0"
    assert out["tracking-aws-out"]["toPort"] == 443


def test_a_database_of_others_is_reached_by_its_port_alone():
    given = {k: v for k, v in DATABASE.items() if k != "security_group"}
    out = rules(server(database={**given, "reach": ["public"], "port": 6000}), "Egress")
    assert (out["tracking-database-out"]["cidrIpv4"], out["tracking-database-out"]["toPort"]) == (
        "0.0.0.0/0",
        6000,
    )


def test_the_service_is_spread_and_goes_back_by_itself(usual):
    service = usual["tracking-server-service"]
    assert service["deploymentCircuitBreaker"] == {"enable": True, "rollback": True}
    assert service["deploymentMinimumHealthyPercent"] == 100
    assert service["networkConfiguration"]["subnets"] == ["subnet-a", "subnet-b"]
    assert service["networkConfiguration"]["assignPublicIp"] is False
    assert service["availabilityZoneRebalancing"] == "ENABLED"
    assert service["desiredCount"] == 2
    assert service["enableExecuteCommand"] is False
    assert service["platformVersion"] == "1.4.0"
    rollout = usual["tracking-server-rollout"]
    assert rollout["task_definition"] == service["taskDefinition"]
    assert usual.endpoint("internal_url")[0] == "http://tracking.mlflow-prod.internal:5000"


def test_its_disk_is_disk(usual):
    task = usual["tracking-server-task"]
    assert task["ephemeralStorage"] == {"sizeInGib": 21}
    assert {volume["name"] for volume in task["volumes"]} == {"files", "scratch", "tmp"}
    mounts = {m["containerPath"]: m["readOnly"] for m in containers(usual)["server"]["mountPoints"]}
    assert mounts == {"/scratch": False, "/tmp": False, "/run/pulumi-mlflow": True}
    assert variables(containers(usual)["server"])["TMPDIR"] == "/scratch"
    large = server(scratch_mb=50 * 1024)
    for role in ("server", "migration"):
        assert large[f"tracking-{role}-task"]["ephemeralStorage"] == {"sizeInGib": 65}
    assert variables(containers(large, "migration")["migration"])["SCRATCH_MB"] == "51200"


def test_it_grows_on_cpu(usual):
    target = usual["tracking-scaling"]
    assert (target["minCapacity"], target["maxCapacity"]) == (2, 6)
    assert target["resourceId"] == "service/mlflow-prod/mlflow-prod-tracking-server"
    policy = usual["tracking-scaling-cpu"]["targetTrackingScalingPolicyConfiguration"]
    assert policy["targetValue"] == 60
    changed = server(replicas=3, max_replicas=4)["tracking-scaling"]
    assert (changed["minCapacity"], changed["maxCapacity"]) == (3, 4)


def test_it_answers_to_its_names_alone(usual):
    allowed = variables(containers(usual)["server"])["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    assert "mlflow.example.com" in allowed
    assert "tracking.mlflow-prod.internal:*" in allowed
    assert not [host for host in allowed if host.startswith("*")]


@pytest.mark.parametrize(
    ("args", "cpu", "memory"),
    [
        ({}, "1024", "2048"),
        ({"workers": 1}, "512", "1024"),
        ({"workers": 4}, "2048", "4096"),
        ({"workers": 2, "cpus": 4.0, "memory_mb": 10000}, "4096", "10240"),
    ],
)
def test_sizes_are_fargates(args, cpu, memory):
    found = server(**args)
    task = found["tracking-server-task"]
    assert (task["cpu"], task["memory"]) == (cpu, memory)
    command = containers(found)["server"]["command"]
    assert command[command.index("--workers") + 1] == str(args.get("workers", 2))


@pytest.mark.parametrize("mode", ["mlflow", "oidc-mlflow"])
def test_users_of_its_own(mode):
    found = server(auth=mode)
    held = files(found)
    assert "admin_password = trackingadminvalue" in held["auth.ini"]
    assert "--app-name" in containers(found)["server"]["command"]
    # Its migration makes their tables.
    assert "auth.ini" in files(found, "files")
    assert ("proxy_secret" in found.made.endpoint) == (mode == "oidc-mlflow")
    if mode == "oidc-mlflow":
        assert found.endpoint("proxy_secret")[1] is True
    assert found.made.endpoint["auth_mode"] == mode


def test_what_opens_the_data_is_protected(usual):
    assert usual.protected() == {
        "tracking-kek",
        "tracking-admin",
        "tracking-session",
        "tracking-proxy-secret",
    }


def test_tags_and_parents(usual):
    untagged = ("RolePolicy", "SecretVersion", "Policy")
    for name, item in usual.seen.items():
        if name != "tracking":
            assert item.parent == "tracking", name
        if item.typ.startswith("aws:") and not item.typ.endswith(untagged):
            assert item.inputs["tags"]["pulumi-mlflow/role"] == "tracking", name


@pytest.mark.parametrize("which", ["database", "artifacts", "migration_database", "read_database"])
def test_what_it_cannot_reach_is_refused_with_both_named(which):
    far = {
        **(ARTIFACTS if which == "artifacts" else DATABASE),
        "component": "far",
        "reach": ["network:mlflow-dev"],
    }
    with pytest.raises(
        UnreachableEndpointError, match="tracking runs in 'vpc:mlflow-prod' and cannot reach far"
    ):
        server(**{which: far})


@pytest.mark.parametrize(
    ("args", "refusal"),
    [
        ({"image": "mlflow:latest"}, "tracking: image: must end in a digest"),
        ({"image": "mlflow:3.17"}, "tracking: image: must end in a digest"),
        ({"replicas": 0}, "tracking: replicas: must be ≥ 1"),
        ({"replicas": 4, "max_replicas": 3}, "tracking: max_replicas: must be ≥ replicas, 4"),
        ({"memory_mb": 256}, "tracking: memory_mb: must be ≥"),
        ({"workers": 20, "cpus": 20.0}, "Fargate has at most 16 CPUs"),
        ({"scratch_mb": 300_000}, "scratch_mb: must be ≤"),
        ({"auth": "ldap"}, "tracking: auth: must be one of"),
        (
            {"auth": "mlflow", "permissions": {"default": "ALL"}},
            "tracking: permissions.default: must be one of",
        ),
        (
            {"database": {"component": "d", "reach": HERE, "engine": "sqlite", "database": "/x"}},
            "tracking: database: SQLite is a file",
        ),
        (
            {"artifacts": {"component": "a", "reach": HERE, "uri": "/a", "volume": "v"}},
            "tracking: artifacts: a is a folder",
        ),
        ({"multipart": True}, "tracking: multipart: clients would need artifacts themselves"),
        ({"artifact_mode": "direct"}, "which only the VPC reaches; give it vpc_only: false"),
        (
            {"multipart": True, "artifact_mode": "direct"},
            "multipart: is for mode proxied",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_registered(args, refusal):
    with pytest.raises(ValueError, match=refusal):
        server(**args)


def test_a_store_that_clients_reach_may_be_used_by_them():
    found = server(artifacts={**ARTIFACTS, "reach": [*HERE, "public"]}, artifact_mode="direct")
    assert "--no-serve-artifacts" in containers(found)["server"]["command"]
