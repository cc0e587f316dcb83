"""A purge that AWS would stop half way is refused before it begins, and keys stay as long as copies may need them."""

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from tests.ops.test_cli import call, cloud, destroyed

from pulumi_mlflow.ops import purge

REGION = "eu-central-1"
KMS, VAULT, BUCKET = "aws:kms/key:Key", "aws:backup/vault:Vault", "aws:s3/bucket:Bucket"
INSTANCE, CLUSTER = "aws:rds/instance:Instance", "aws:rds/cluster:Cluster"
KEY = f"arn:aws:kms:{REGION}:111122223333:key/of-the-data"
FINAL = "mlflow-prod-database-final-20261130120000"


def made(logical, kind, **outputs):
    """A protected resource of a stack that is up."""
    return {**cloud(logical, kind, protect=True), "outputs": outputs}


def key(*, retained=True):
    return {**made("database-key", KMS, arn=KEY), "retainOnDelete": retained}


def instance(**outputs):
    known = {"arn": f"arn:aws:rds:{REGION}:1:db:d", "kmsKeyId": KEY, **outputs}
    return made("database", INSTANCE, finalSnapshotIdentifier=FINAL, **known)


VAULTS = (
    made("vault", VAULT, name="mlflow-prod-vault", region=REGION),
    made("copy", VAULT, name="mlflow-prod-copy", region="eu-west-1"),
)


class Copies:
    """AWS Backup, which moto has no recovery points of."""

    def __init__(self, held, region):
        self.held, self.region = held, region

    def list_recovery_points_by_backup_vault(self, **asked):
        assert asked["MaxResults"] == 1
        points = self.held.get((self.region, asked["BackupVaultName"]), [])
        return {"RecoveryPoints": points[:1]}


@pytest.fixture
def account(monkeypatch):
    """An account without anything; a dict by region and vault is what AWS Backup holds."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    held, usual = {}, boto3.client

    def client(service, region_name=None):
        if service == "backup":
            return Copies(held, region_name)
        return usual(service, region_name=region_name)

    monkeypatch.setattr(purge.boto3, "client", client)
    with mock_aws():
        yield held


def bucket(*, objects=0, deleted=False):
    s3 = boto3.client("s3", region_name=REGION)
    s3.create_bucket(Bucket="runs", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_versioning(Bucket="runs", VersioningConfiguration={"Status": "Enabled"})
    for number in range(objects):
        s3.put_object(Bucket="runs", Key=str(number), Body=b"x")
        if deleted:
            s3.delete_object(Bucket="runs", Key=str(number))
    return made("artifacts", BUCKET, bucket="runs", region=REGION)


def snapshot(*, cluster=False):
    rds = boto3.client("rds", region_name=REGION)
    if cluster:
        rds.create_db_cluster(
            DBClusterIdentifier="d",
            Engine="aurora-postgresql",
            MasterUsername="u",
            MasterUserPassword="p" * 9,
        )
        rds.create_db_cluster_snapshot(DBClusterIdentifier="d", DBClusterSnapshotIdentifier=FINAL)
        return
    rds.create_db_instance(
        DBInstanceIdentifier="d",
        DBInstanceClass="db.t4g.micro",
        Engine="postgres",
        AllocatedStorage=20,
        MasterUsername="u",
        MasterUserPassword="p" * 9,
    )
    rds.create_db_snapshot(DBInstanceIdentifier="d", DBSnapshotIdentifier=FINAL)


def refusal(project, capsys, *resources):
    """What a purge says that takes nothing."""
    project.write({"prod": {"resources": [*resources, cloud("server", "aws:ecs/service:Service")]}})
    before = project.read()
    code, _, err = call(capsys, "down", "--stack", "prod", "--purge", "--yes")
    assert code == 1
    assert "cannot be deleted as a whole, and nothing was taken" in err
    assert destroyed(project) == []
    assert project.read() == before
    return " ".join(err.split())


@pytest.mark.parametrize(
    "where", [(REGION, "mlflow-prod-vault"), ("eu-west-1", "mlflow-prod-copy")]
)
def test_a_vault_with_a_copy_stops_it(account, project, capsys, where):
    account[where] = [{"RecoveryPointArn": "arn:aws:rds:::snapshot:awsbackup:job-1"}]
    said = refusal(project, capsys, *VAULTS, key(), instance())
    assert f"vault {where[1]} holds copies" in said
    assert said.count("holds copies") == 1


@pytest.mark.parametrize("deleted", [False, True], ids=["objects", "former versions"])
def test_a_bucket_that_is_not_empty_stops_it(account, project, capsys, deleted):
    said = refusal(project, capsys, bucket(objects=1, deleted=deleted))
    assert "artifacts: bucket runs holds objects or former versions" in said


@pytest.mark.parametrize("cluster", [False, True])
def test_a_snapshot_of_the_last_ones_name_stops_it(account, project, capsys, cluster):
    snapshot(cluster=cluster)
    data = instance() if not cluster else {**instance(), "type": CLUSTER}
    assert f"database: there is a snapshot {FINAL} already" in refusal(project, capsys, key(), data)


def test_a_key_that_would_go_with_the_database_stops_it(account, project, capsys):
    """As a stack has it that an earlier version brought up."""
    said = refusal(project, capsys, key(retained=False), instance())
    assert f"database: its key {KEY} would be deleted with it" in said


def test_all_that_stops_it_is_said_at_once(account, project, capsys):
    account[REGION, "mlflow-prod-vault"] = [{}]
    snapshot()
    said = refusal(project, capsys, *VAULTS, key(), instance(), bucket(objects=1))
    assert all(what in said for what in ("holds copies", "holds objects", "a snapshot"))


def test_what_aws_does_not_say_stops_it(account, project, capsys, monkeypatch):
    def refused(*_asked, **_more):
        raise ClientError(
            {"Error": {"Code": "AccessDenied", "Message": "no"}}, "DescribeDBSnapshots"
        )

    monkeypatch.setattr(purge, "_has_snapshot", refused)
    said = refusal(project, capsys, key(), instance())
    assert (
        "database: AWS does not say whether it can be deleted: An error occurred (AccessDenied)"
        in said
    )


def test_what_can_be_deleted_is_and_the_key_of_its_last_copy_stays(account, project, capsys):
    resources = [*VAULTS, key(), instance(), bucket(), made("gone", BUCKET, bucket="gone")]
    project.write({"prod": {"resources": resources}})
    code, out, _ = call(capsys, "down", "--stack", "prod", "--purge", "--yes")
    assert code == 0
    assert f"Kept in AWS, for the copies that they encrypt: {KEY}." in out
    assert "database-key" not in out.split("Kept in AWS")[0]
    assert "prod: destroy --yes --skip-preview" in project.calls()
