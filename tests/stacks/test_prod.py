"""The cloud runtimes as composed from settings: every combination, what it registers, and in which order.

`golden_prod.txt` lists type, name, parent and protection of all that the combinations register, and by a column of marks which
of them do. After a change that is meant:

    PYTHONPATH=components:infra:. python tests/stacks/test_prod.py
"""

import difflib
import json
import os
import tempfile
from pathlib import Path

import pytest
from tests.iam.simulator import ResourcePolicy
from tests.schemas import exclusive
from tests.stacks import cloud
from tests.support import is_secret

GOLDEN = Path(__file__).with_name("golden_prod.txt")

COMPUTES = {
    "fargate": cloud.AWS,
    "aws-kubernetes": cloud.AWS_CLUSTER,
    "kubernetes": cloud.KUBERNETES,
}
DATABASES = {
    "postgresql": {},
    "mysql": {"database": {"engine": "mysql"}},
    "existing": cloud.merged(
        {
            "database": {
                "engine": "mysql",
                "existing": {"host": "db.corp.example", "tls_mode": "require"},
            }
        },
        cloud.secret("database_password"),
    ),
}
STORES = {"s3": {}, "existing": cloud.EXISTING_BUCKET}
LOGINS = {
    "oidc": {},
    "oidc-mlflow": {
        "access": {
            "auth": "oidc-mlflow",
            "oidc": {"admin_groups": ["ml-admins"]},
            "permissions": {"default": "READ", "groups": {"ml": "EDIT"}},
        }
    },
    "mlflow": {"access": {"auth": "mlflow", "oidc": None}, "oidc_client_secret": None},
    "basic": {
        "access": {"auth": "basic", "oidc": None, "users": ["ada"]},
        "oidc_client_secret": None,
    },
}


def tree_of(compute, database, store, login):
    """The settings of a combination; None for one that cannot be."""
    tree = cloud.merged(COMPUTES[compute], DATABASES[database], STORES[store], LOGINS[login])
    if database == "existing" and (store, login) != ("existing", "oidc"):
        return None  # once is enough
    if compute != "kubernetes":
        return tree
    if database == "mysql" or store == "s3":
        return None  # made in the cluster: PostgreSQL only; in a bucket that is there, or a store of ours
    if database == "existing":
        tree = cloud.merged(tree, {"registry": {"database": None}})
    if "oidc" not in login:
        tree = cloud.merged(tree, {"registry": {"oauth2_proxy": None}})
    return tree


COMBINATIONS = {
    f"{compute} {database} {store} {login}": tree
    for compute in COMPUTES
    for database in DATABASES
    for store in STORES
    for login in ("oidc", "oidc-mlflow")
    if (tree := tree_of(compute, database, store, login))
}
COMBINATIONS |= {
    f"{compute} postgresql existing {login}": tree_of(compute, "postgresql", "existing", login)
    for compute in ("fargate", "kubernetes")
    for login in ("mlflow", "basic")
}
VERSITYGW = {
    "artifacts": {"store": "versitygw", "bucket": None, "existing": None},
    "kubernetes": {"identity": None},
    "registry": {"store": "registry.corp.example/versitygw:1.8.0"},
}
COMBINATIONS["kubernetes postgresql versitygw oidc"] = cloud.merged(cloud.KUBERNETES, VERSITYGW)
COMBINATIONS["fargate everything"] = cloud.merged(
    cloud.AWS,
    {
        "aws": {"zones": ["eu-central-1a", "eu-central-1b", "eu-central-1c"], "firewall": True},
        "database": {"rds_proxy": True, "backup_region": "eu-west-1"},
        "artifacts": {"replica_region": "eu-west-1", "tiering_days": 90},
        "monitoring": {"emails": ["ml@corp.example"], "budget_usd": 900},
        "backup": {"copy_region": "eu-west-1", "immutable_after_days": 7},
    },
)
COMBINATIONS["fargate aurora"] = cloud.merged(
    cloud.AWS, {"database": {"aurora": True, "read_replica": True}}
)
COMBINATIONS["fargate stack-reference internal"] = cloud.merged(
    cloud.AWS,
    {"aws": {"network": {"stack": "corp/network/prod", "internet": True}, "internal": True}},
)
COMBINATIONS["kubernetes everything"] = cloud.merged(
    cloud.KUBERNETES,
    {
        "kubernetes": {
            "context": None,
            "stack": "corp/cluster/prod",
            "ingress": None,
            "gateway": {"name": "public", "namespace": "gateways"},
        },
        "monitoring": {"namespace": "monitoring", "labels": {"release": "prometheus"}},
        "backup": {
            "gc_days": 30,
            "dump": {"bucket": "dumps-of-corp", "role_arn": "arn:aws:iam::111122223333:role/dumps"},
        },
        "tracking": {"jobs": {}},
        "database": {
            "archive": {"bucket": "archive-of-corp", "role_arn": "arn:aws:iam::111122223333:role/a"}
        },
        "jobs_redis_url": f"rediss://:{cloud.SENTINEL}@redis.corp.example:6380",
    },
)


def ingredients(folder):
    """What set-up makes for built images; names and sizes are read alone."""
    (folder / "images").mkdir()
    (folder / "images" / "oauth2-proxy-test").write_text("x")
    os.environ["PULUMI_MLFLOW_CACHE"] = str(folder)


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PULUMI_MLFLOW_CACHE", "")
        ingredients(tmp_path_factory.mktemp("cache"))
        yield


_KNOWN = {}


def composed(name):
    """A combination, composed once."""
    if name not in _KNOWN:
        _KNOWN[name] = cloud.Composed(cloud.loaded(COMBINATIONS[name]))
    return _KNOWN[name]


def golden(lists):
    """The combinations, numbered; then a line for each resource, with a mark in the column of each that registers it."""
    names = list(COMBINATIONS)
    head = [f"# {number:2} {name}" for number, name in enumerate(names)]
    lines = sorted({line for found in lists.values() for line in found})
    rows = [
        "".join("x" if line in lists[name] else "." for name in names) + f" {line}"
        for line in lines
    ]
    return "".join(f"{line}\n" for line in (*head, *rows))


def known_list(name):
    """The golden list of a combination."""
    lines = GOLDEN.read_text().splitlines()
    names = [line[5:] for line in lines if line.startswith("#")]
    rows = [line.split(" ", 1) for line in lines if not line.startswith("#")]
    return [line for marks, line in rows if marks[names.index(name)] == "x"]


@pytest.mark.parametrize("name", COMBINATIONS)
def test_registers_what_the_golden_list_has(name):
    found = composed(name).golden()

    difference = list(difflib.unified_diff(known_list(name), found, "golden", "now", "", "", 0, ""))

    assert not difference, "\n".join([*difference, __doc__])


def test_the_golden_list_has_no_other():
    assert GOLDEN.read_text() == golden({name: composed(name).golden() for name in COMBINATIONS})


@pytest.mark.parametrize(
    "name", [name for name in COMBINATIONS if not name.startswith("kubernetes")]
)
def test_the_provider_takes_its_attributes_together(name):
    assert exclusive.refusals(composed(name).seen.values()) == []


@pytest.mark.parametrize("name", COMBINATIONS)
def test_exports_what_users_and_operations_read(name):
    exports = composed(name).exports
    tree = COMBINATIONS[name]
    auth = tree["access"]["auth"]

    assert exports["tracking_uri"] == ("https://mlflow.corp.example", False)
    assert exports["auth_mode"] == (auth, False)
    assert exports["runtime"] == (tree["runtime"], False)
    secret = {key for key, (_, hidden) in exports.items() if hidden}
    assert secret == {
        "basic": {"password", "users"},
        "mlflow": {"password"},
    }.get(auth, set())


@pytest.mark.parametrize("name", COMBINATIONS)
def test_no_secret_is_plain(name):
    stack = composed(name)
    generated = [f"{item.name}value".replace("-", "") for item in stack.of("GeneratedSecret")]
    assert generated
    for item in stack.seen.values():
        text = json.dumps(_without_secrets(item.raw), default=str)
        assert cloud.SENTINEL not in text, item.name
        assert not [value for value in generated if value in text], item.name


def _without_secrets(value):
    """What is to be seen of inputs in a plan."""
    if is_secret(value):
        return "[secret]"
    if isinstance(value, dict):
        return {key: _without_secrets(item) for key, item in value.items()}
    return [_without_secrets(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", COMBINATIONS)
def test_every_resource_takes_the_stacks_own_provider(name):
    """Never a default one: that is of whatever account or cluster a shell happens to be set to."""
    for item in composed(name).seen.values():
        kind = item.typ.split(":")[0]
        if kind in ("aws", "kubernetes"):
            own = {"aws": "::aws::", "kubernetes": "::cluster::"}[kind]
            assert own in item.provider, item.name


def _waits(stack, name):
    found, todo = set(), [name]
    while todo:
        for other in stack.seen[todo.pop()].after:
            if other not in found and other in stack.seen:
                found.add(other)
                todo.append(other)
    return found


@pytest.mark.parametrize("name", [name for name in COMBINATIONS if name.startswith("fargate")])
def test_servers_on_fargate_come_after_the_migration_and_that_after_the_data(name):
    stack = composed(name)

    assert "tracking-migration" in _waits(stack, "tracking-server-service")
    assert "tracking-server-rollout" in _waits(stack, "proxy-server-service")
    made = {"database-instance", "database-cluster", "artifacts-policy"} & set(stack.seen)
    assert made <= _waits(stack, "tracking-migration")


@pytest.mark.parametrize("name", [name for name in COMBINATIONS if "kubernetes" in name])
def test_servers_in_a_cluster_come_after_the_migration_and_what_lets_them_in(name):
    stack = composed(name)

    before = _waits(stack, "tracking-deployment")
    assert "tracking-migration" in before
    made = {
        "database-instance",
        "database-cluster",
        "artifacts-bucket-made",
        "cluster-access-identity",
        "cluster-access-artifacts",
        "cluster-access-database-in",
    } & set(stack.seen)
    assert made <= before


SIGNED = {
    "artifacts": {"vpc_only": False, "multipart": True},
    "aws": {"clients": ["203.0.113.0/24"]},
}
EXISTING = {"artifacts": {"multipart": True}}


@pytest.mark.parametrize(
    ("tree", "name"),
    [
        (cloud.merged(cloud.AWS, SIGNED), "proxy-files-version"),
        (cloud.merged(cloud.AWS_CLUSTER, cloud.EXISTING_BUCKET, EXISTING), "proxy-files"),
        (cloud.merged(cloud.KUBERNETES, EXISTING), "proxy-files"),
    ],
    ids=COMPUTES,
)
def test_large_files_pass_the_server_by_where_the_offer_of_signed_urls_stands(tree, name):
    """nginx takes MLflow's offer back unless clients reach the bucket."""
    refusal = '"multipart_uploads_enabled":false'
    usual = cloud.merged(tree, {"artifacts": {"multipart": None}})

    assert refusal in json.dumps(cloud.Composed(cloud.loaded(usual))[name]).replace("\\", "")
    assert refusal not in json.dumps(cloud.Composed(cloud.loaded(tree))[name]).replace("\\", "")


def test_who_is_let_in_at_the_door_reaches_the_bucket_by_signed_urls():
    stack = cloud.Composed(cloud.loaded(cloud.merged(cloud.AWS, SIGNED)))
    policy = ResourcePolicy(stack["artifacts-policy"]["policy"])
    what = ("s3:GetObject", "arn:aws:s3:::artifacts-of-corp/x")

    assert policy.decide(*what, {"aws:SourceIp": "203.0.113.7"}) == "none"
    assert policy.decide(*what, {"aws:SourceIp": "192.0.2.7"}) == "deny"


@pytest.mark.parametrize("keys", [True, False])
def test_direct_clients_are_told_of_the_bucket_and_of_keys_where_there_are_any(keys):
    tree = cloud.merged(cloud.KUBERNETES, {"artifacts": {"mode": "direct"}})
    if keys:
        typed = cloud.secret("artifacts_access_key") | cloud.secret("artifacts_secret_key")
        tree = cloud.merged(tree, typed, {"kubernetes": {"identity": None}})
    found, is_secret = cloud.Composed(cloud.loaded(tree)).exports["store"]

    held = {"access_key", "secret_key"} if keys else set()
    assert {*found} == {"uri", "region", *held}
    assert is_secret is keys


UPKEEP = cloud.merged(
    cloud.AWS_CLUSTER,
    {
        "monitoring": {"namespace": "monitoring"},
        "tracking": {"jobs": {}},
        "jobs_redis_url": f"rediss://:{cloud.SENTINEL}@redis.corp.example:6380",
        "backup": {"dump": {"bucket": "dumps-of-corp", "prefix": "prod", "region": "eu-west-1"}},
    },
    cloud.secret("dump_access_key"),
    cloud.secret("dump_secret_key"),
)


def _container(deployment):
    return deployment["spec"]["template"]["spec"]["containers"][0]


def _variables(container):
    return {item["name"]: item.get("value") for item in container["env"]}


@pytest.mark.parametrize(
    "tree", [UPKEEP, COMBINATIONS["kubernetes everything"]], ids=["aws", "any"]
)
def test_one_server_of_a_cluster_runs_jobs_and_the_others_none(tree):
    stack = cloud.Composed(cloud.loaded(tree))
    switch = "MLFLOW_SERVER_ENABLE_JOB_EXECUTION"

    assert _variables(_container(stack["tracking-deployment"]))[switch] == "false"
    jobs = stack["tracking-jobs-deployment"]
    assert _variables(_container(jobs))[switch] == "true"
    assert jobs["spec"]["replicas"] == 1
    ports = {
        port["port"]
        for rule in stack["tracking-jobs-edges"]["spec"]["egress"]
        for port in rule["ports"]
    }
    assert 6380 in ports
    queue = stack["tracking-jobs-files"]["stringData"]["env.MLFLOW_SERVER_JOB_HUEY_REDIS_URL"]
    assert queue == tree["jobs_redis_url"]


def test_a_built_image_has_what_metrics_and_a_queue_need():
    arguments = json.dumps(cloud.Composed(cloud.loaded(UPKEEP))["image-mlflow-push"])

    assert "metrics" in arguments
    assert "redis" in arguments


def test_copies_of_the_database_go_where_the_settings_say():
    stack = cloud.Composed(cloud.loaded(UPKEEP))
    job = stack["upkeep-backup"]["spec"]
    found = _variables(_container({"spec": job["jobTemplate"]["spec"]}))

    assert (found["BACKUP_URI"], found["AWS_DEFAULT_REGION"]) == (
        "s3://dumps-of-corp/prod",
        "eu-west-1",
    )
    files = stack["upkeep-backup-files"]["stringData"]
    assert files["env.AWS_SECRET_ACCESS_KEY"] == f"{cloud.SENTINEL}dump_secret_key"
    assert "upkeep-gc" not in stack.seen


def test_an_archive_that_fails_wakes_somebody():
    alerts = json.dumps(composed("kubernetes everything")["monitoring-alerts"])
    without = {"database": {"archive": None}}
    plain = cloud.merged(COMBINATIONS["kubernetes everything"], without)

    assert "barman_cloud" in alerts
    assert "barman_cloud" not in json.dumps(
        cloud.Composed(cloud.loaded(plain))["monitoring-alerts"]
    )


STATEFUL = (
    "rds/instance:Instance",
    "rds/cluster:Cluster",
    "s3/bucket:Bucket",
    "ec2/vpc:Vpc",
    "ec2/subnet:Subnet",
    "kms/key:Key",
    "backup/vault:Vault",
    "GeneratedSecret",
    "DataGuard",
    "v1:Namespace",
    "v1:PersistentVolumeClaim",
    "postgresql.cnpg.io/v1:Cluster",
)
UNPROTECTED = {"proxy-login-ada"}
"""A further user goes with the setting."""


@pytest.mark.parametrize("name", COMBINATIONS)
def test_all_that_holds_or_opens_data_is_protected(name):
    for item in composed(name).seen.values():
        if item.typ.endswith(STATEFUL) and item.name not in UNPROTECTED:
            assert item.protect, item.name


def test_a_preview_knows_no_value_and_composes_all_the_same():
    for tree in COMPUTES.values():
        assert cloud.Composed(cloud.loaded(tree), preview=True).seen


def test_a_network_of_another_stack_is_read_by_its_output():
    stack = composed("fargate stack-reference internal")

    assert stack["proxy-balancer"]["subnets"] == cloud.NETWORK["private_subnets"]
    assert stack["tracking-server-group"]["vpcId"] == cloud.NETWORK["vpc_id"]
    assert not stack.of("ec2/vpc:Vpc")


def test_a_cluster_of_another_stack_is_read_by_its_output_which_is_secret():
    stack = composed("kubernetes everything")

    assert stack["cluster"]["kubeconfig"] == f"{cloud.SENTINEL}kubeconfig"
    assert stack.seen["cluster"].secret == {"kubeconfig"}


@pytest.mark.parametrize("name", ["fargate postgresql s3 oidc", "fargate aurora"])
def test_a_size_sets_servers_and_class(name):
    stack = composed(name)
    database = [*stack.of("rds/instance:Instance"), *stack.of(":ClusterInstance")][0].inputs
    scaled = stack["tracking-scaling"]

    assert (database["instanceClass"], scaled["minCapacity"], scaled["maxCapacity"]) == (
        "db.t4g.large",
        2,
        3,
    )


def test_a_role_of_pods_reads_and_writes_the_stacks_bucket_alone():
    stack = composed("aws-kubernetes postgresql s3 oidc")
    policy = json.loads(stack["cluster-access-artifacts"]["policy"])

    assert stack["cluster-access-identity"]["serviceAccount"] == "mlflow-prod-tracking"
    assert stack["cluster-access-identity"]["namespace"] == "mlflow-prod"
    resources = {one for statement in policy["Statement"] for one in statement["Resource"]}
    assert {one for one in resources if ":s3:" in one} == {
        "arn:aws:s3:::artifacts-of-corp",
        "arn:aws:s3:::artifacts-of-corp/*",
    }
    trust = json.loads(stack["cluster-access-role"]["assumeRolePolicy"])["Statement"]
    assert [(one["Principal"], sorted(one["Action"])) for one in trust] == [
        ({"Service": "pods.eks.amazonaws.com"}, ["sts:AssumeRole", "sts:TagSession"])
    ]


def test_a_cluster_is_let_into_the_database_and_nobody_else():
    stack = composed("aws-kubernetes postgresql s3 oidc")

    [rule] = [
        item.inputs
        for item in stack.of("SecurityGroupIngressRule")
        if item.inputs["securityGroupId"] == "database-database-group-id"
    ]
    assert (rule["referencedSecurityGroupId"], rule["fromPort"]) == ("sg-0a1b2c3d", 5432)


def test_images_of_registries_may_be_pulled_and_are_reached():
    """One of a private ECR, one of another registry: rights for the one, a way to the other."""
    digest = f"@sha256:{'a' * 64}"
    ecr = f"111122223333.dkr.ecr.eu-central-1.amazonaws.com/mlflow{digest}"
    registry = {"registry": {"server": ecr, "nginx": f"registry.corp.example/nginx{digest}"}}
    stack = cloud.Composed(cloud.loaded(cloud.merged(cloud.AWS, registry)))
    arn = "arn:aws:ecr:eu-central-1:111122223333:repository/mlflow"
    for role in ("tracking-start", "tracking-migration", "proxy-start"):
        statements = json.loads(stack[f"{role}-access"]["policy"])["Statement"]
        assert any(arn in one["Resource"] for one in statements if one["Sid"] == "Pull")
    assert "tracking-registry-out" not in stack.seen
    assert stack["proxy-registry-out"]["cidrIpv4"] == "0.0.0.0/0"


def main():
    """Write the golden lists."""
    with tempfile.TemporaryDirectory() as folder:
        ingredients(Path(folder))
        lists = {name: composed(name).golden() for name in COMBINATIONS}
    GOLDEN.write_text(golden(lists))


if __name__ == "__main__":
    main()
