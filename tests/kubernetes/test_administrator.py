"""A database that knows its administrator only: the migration makes the servers' user, and nobody else gets that secret."""

import json

import pytest
from tests.kubernetes import cluster, test_backup, test_tracking

from pulumi_mlflow.core.server_image import MAKE_USER

ADMIN_SECRET = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:rds!db-1-AbCdEf"
STORE = {"store": "aws"}
OWN = test_tracking.database(admin_secret=ADMIN_SECRET)


def run(changes=None):
    given = {"database": OWN, "admin_store": STORE, "auth": "mlflow", "jobs": {}, **(changes or {})}
    seen, _ = cluster.run(test_tracking.program(given))
    cluster.judge(seen)
    return seen


@pytest.fixture(scope="module")
def usual():
    return run()


def parts(seen):
    """The migration's Job, and what the operator makes of the administrator's secret."""
    return cluster.only(seen, "Job"), cluster.only(seen, "ExternalSecret")


def test_the_user_is_made_before_the_schema_and_that_before_the_servers(usual):
    job, _ = parts(usual)
    [user] = job.pod["initContainers"]
    assert (user["command"], user["args"]) == (job.container["command"], MAKE_USER)
    assert user["image"] == job.container["image"]
    assert job.container["args"][-1] == "migrate"
    assert "tracking-database-admin" in job.depends_on
    for role in ("tracking", "jobs"):
        assert "tracking-migration" in cluster.only(usual, "Deployment", role).depends_on


def test_the_secret_is_fetched_whole_and_awaited(usual):
    _, fetched = parts(usual)
    assert fetched.spec["secretStoreRef"] == {"name": "aws", "kind": "ClusterSecretStore"}
    assert fetched.spec["data"] == [
        {"secretKey": "env.ADMIN", "remoteRef": {"key": ADMIN_SECRET}},
    ]
    assert fetched.inputs["metadata"]["annotations"] == {"pulumi.com/waitFor": "condition=Ready"}
    assert fetched.labels[cluster.ROLE] == "migration"


def test_only_what_makes_the_user_mounts_it(usual):
    """Not the migration beside it, no server, no other object: by name or by key."""
    job, fetched = parts(usual)
    target = fetched.spec["target"]["name"]
    for item in usual:
        if item not in (job, fetched):
            assert target not in json.dumps(item.inputs), item.name
            assert ADMIN_SECRET not in json.dumps(item.inputs), item.name
    [volume] = [volume for volume in job.pod["volumes"] if target in json.dumps(volume)]
    mounts = {
        container["name"]: {
            mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]
        }
        for container in (*job.pod["initContainers"], job.container)
    }
    assert mounts["user"][volume["name"]] == "/run/pulumi-mlflow"
    assert volume["name"] not in mounts["migration"]
    assert target not in json.dumps([job.pod["initContainers"], job.pod["containers"]])


def test_the_entrypoint_finds_what_the_program_reads(usual):
    """ADMIN, and the address with the password that the servers have."""
    job, fetched = parts(usual)
    [volume] = [volume for volume in job.pod["volumes"] if "projected" in volume]
    found = {
        item["path"]: (source["secret"]["name"], item["key"])
        for source in volume["projected"]["sources"]
        for item in source["secret"]["items"]
    }
    assert found["env/ADMIN"] == (fetched.spec["target"]["name"], "env.ADMIN")
    secret, key = found["env/MLFLOW_BACKEND_STORE_URI"]
    files = cluster.only(usual, "Secret", "tracking")
    assert secret == files.physical
    assert files.secret_files()[key].startswith("postgresql+psycopg2://mlflow:typedpassword@")


def test_a_rotation_touches_no_server(usual):
    """Their files are the user's, not the operator's, and nothing starts them anew."""
    for role in ("tracking", "jobs"):
        server = cluster.only(usual, "Deployment", role)
        [(mounted, _keys)] = cluster.mounted_secrets(server.pod)
        assert mounted == cluster.only(usual, "Secret", role).physical
        assert "annotations" not in server.inputs["metadata"]


def test_a_rotation_is_outlasted_by_the_migrations_tries(usual):
    job, fetched = parts(usual)
    [user] = job.pod["initContainers"]
    [wait] = [int(one["value"]) for one in user["env"] if one["name"] == "WAIT_SECONDS"]
    minutes = int(fetched.spec["refreshInterval"].removesuffix("m"))
    assert (1 + int(job.spec["backoffLimit"])) * wait > 60 * minutes


def test_the_migration_alone_reaches_the_database_as_before(usual):
    edges = cluster.only(usual, "NetworkPolicy", "migration")
    assert edges.spec["ingress"] == []
    [rule] = edges.spec["egress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": 5432}]
    assert not [item for item in usual if "Role" in item.kind]
    account = cluster.only(usual, "ServiceAccount", "migration")
    assert account.inputs["automountServiceAccountToken"] is False
    assert parts(usual)[0].pod["serviceAccountName"] == account.physical


def names(changes=None):
    job, fetched = parts(run(changes))
    return job.physical, fetched.physical


def test_what_the_job_does_is_in_its_name():
    """Its specification cannot be changed. The secret's own name too: a job must not begin with the last one's."""
    job, fetched = names()
    assert (job, fetched) == names({"replicas": 5, "admin_store": {**STORE, "refresh": "1m"}})
    other = {**OWN, "admin_secret": f"{ADMIN_SECRET}x"}
    for changes in ({"database": other}, {"admin_store": {"store": "other"}}):
        changed = names(changes)
        assert changed[0] != job
        assert changed[1] != fetched
    renewed = names({"database": {**OWN, "password": "othertyped"}})
    assert renewed[0] != job
    assert renewed[1] == fetched
    plain, _ = cluster.run(test_tracking.program({"auth": "mlflow", "jobs": {}}))
    assert cluster.only(plain, "Job").physical != job


def test_a_database_with_its_user_needs_no_administrator():
    seen, _ = cluster.run(test_tracking.program())
    assert "initContainers" not in cluster.only(seen, "Job").pod
    assert not [item for item in seen if item.kind == "ExternalSecret"]


def test_behind_a_pooler_the_direct_database_makes_the_user():
    seen = run({"database": test_tracking.database(host="pool"), "migration_database": OWN})
    job, _ = parts(seen)
    secrets = {item.physical: item.secret_files() for item in seen if item.kind == "Secret"}
    uris = {
        secrets[name]["env.MLFLOW_BACKEND_STORE_URI"]
        for name, keys in cluster.mounted_secrets(job.pod)
        if "env.MLFLOW_BACKEND_STORE_URI" in keys
    }
    [uri] = uris
    assert f"@{OWN['host']}:" in uri


def test_copies_and_clean_up_know_the_user_alone():
    changes = {**test_backup.COPIES, **test_backup.ENDS}
    seen, _ = cluster.run(test_backup.program(changes, database={"admin_secret": ADMIN_SECRET}))
    cluster.judge(seen)
    assert {item.labels[cluster.ROLE] for item in seen if item.kind == "CronJob"} == {
        "backup",
        "gc",
    }
    for item in seen:
        assert ADMIN_SECRET not in json.dumps(item.inputs), item.name
        if item.kind == "Secret":
            uri = item.secret_files()["env.MLFLOW_BACKEND_STORE_URI"]
            assert uri.startswith("postgresql+psycopg2://mlflow:typedpassword@")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"database": OWN},
            "admin_store: must be given, since database knows its administrator only",
        ),
        (
            {"database": OWN, "database_secret": {"store": "aws", "key": ADMIN_SECRET}},
            "admin_store: must be given",
        ),
        ({"admin_store": STORE}, "admin_store: database has no admin_secret"),
        (
            {
                "database": OWN,
                "migration_database": test_tracking.database(host="direct"),
                "admin_store": STORE,
            },
            "admin_store: database has no admin_secret",
        ),
    ],
)
def test_a_user_that_nobody_would_make_is_refused(changes, reason):
    def made():
        with pytest.raises(ValueError, match=reason):
            test_tracking.program(changes)()

    seen, _ = cluster.run(made)
    assert not [item for item in seen if item.name.startswith("tracking-")]
