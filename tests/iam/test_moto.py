"""The roles and bucket policies that a whole stack registers, in moto: real requests of boto3, allowed or denied.

moto's evaluator goes by actions and resources; all conditions hold for it, also in a statement that denies. So roles
are judged by moto alone, and what depends on conditions (a bucket's policy) by the simulator, which moto asks for
each request. Every condition of every document is in test_documents.py.
"""

import contextlib
import json
from typing import ClassVar

import artifacts
import boto3
import pytest
from bootlib import BootError
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.core.authorization import enable_iam_authentication
from moto.iam.access_control import PermissionResult
from moto.s3.models import FakeBucket
from tests.components.aws_support import ACCOUNT, REGION
from tests.components.test_aws_whole import whole
from tests.iam.simulator import SOMEBODY, ResourcePolicy

from pulumi_mlflow.aws import registry
from pulumi_mlflow.core import iam

BUCKET, FOREIGN = "artifacts-of-acme", "artifacts-of-others"
ENDPOINT = "network-s3-id"
FOR_NO_RESOURCE = {"ecr:GetAuthorizationToken"}
"""Actions that AWS knows no resource for."""


@pytest.fixture(scope="module")
def usual():
    return whole()


@pytest.fixture(autouse=True)
def account(monkeypatch):
    """An account of moto's own, which no request leaves."""
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"):
        monkeypatch.setenv(f"AWS_{name}", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("MOTO_ACCOUNT_ID", ACCOUNT)
    with mock_aws():
        yield


def statements(found):
    """Policies of roles: logical name → statements."""
    return {
        item.name: json.loads(item.inputs["policy"])["Statement"]
        for item in found.of("iam/rolePolicy:RolePolicy")
    }


def as_role(found, name):
    """Makes a role as the stack does, and takes it on."""
    made = found[f"{name}-role"]
    client = boto3.client("iam")
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}]}  # fmt: skip
    # moto's trust has no services: who may take it on is judged in tests/core/test_iam.py.
    arn = client.create_role(RoleName=made["name"], AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]  # fmt: skip
    if f"{name}-access" in found.seen:
        client.put_role_policy(
            RoleName=made["name"], PolicyName="access", PolicyDocument=found[f"{name}-access"]["policy"]
        )  # fmt: skip
    given = boto3.client("sts").assume_role(RoleArn=arn, RoleSessionName="task")["Credentials"]
    return boto3.Session(
        given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], region_name=REGION
    )


def buckets():
    s3 = boto3.client("s3")
    for name in (BUCKET, FOREIGN):
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_object(Bucket=name, Key="there", Body=b"x")
    return s3


@contextlib.contextmanager
def refused():
    with pytest.raises(ClientError) as caught:
        yield
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403, caught.value


# What the server does, and what it must not be able to. Each: (operation, arguments beside Bucket).
DONE = [
    ("put_object", {"Key": "1/a/artifacts/model.pkl", "Body": b"x"}),
    ("get_object", {"Key": "there"}),
    ("head_object", {"Key": "there"}),
    ("list_objects_v2", {}),
    ("delete_object", {"Key": "there"}),
    ("create_multipart_upload", {"Key": "big"}),
]
NOT_OF_SERVERS = [
    ("delete_bucket", {}),
    ("put_bucket_policy", {"Policy": "{}"}),
    ("get_bucket_policy", {}),
    ("put_bucket_versioning", {"VersioningConfiguration": {"Status": "Suspended"}}),
    ("put_bucket_lifecycle_configuration", {"LifecycleConfiguration": {"Rules": []}}),
    ("delete_bucket_encryption", {}),
    ("list_object_versions", {}),
]


def test_a_server_uses_its_bucket_and_no_other(usual):
    buckets()
    s3 = as_role(usual, "tracking-server").client("s3")
    with enable_iam_authentication():
        for operation, arguments in DONE:
            getattr(s3, operation)(Bucket=BUCKET, **arguments)
            with refused():
                getattr(s3, operation)(Bucket=FOREIGN, **arguments)


def test_a_server_with_a_prefix_has_no_objects_beside_it(usual):
    buckets()
    session = as_role(usual, "tracking-server")
    below = iam.document(iam.artifact_access(BUCKET, "team/runs", REGION))
    boto3.client("iam").put_role_policy(
        RoleName=usual["tracking-server-role"]["name"], PolicyName="access", PolicyDocument=below
    )
    s3 = session.client("s3")
    with enable_iam_authentication():
        s3.put_object(Bucket=BUCKET, Key="team/runs/1/model", Body=b"x")
        assert s3.get_object(Bucket=BUCKET, Key="team/runs/1/model")["Body"].read() == b"x"
        for key in ("there", "team/other", "team/runs-of-others/1"):
            for operation, arguments in (("get_object", {}), ("put_object", {"Body": b"x"}), ("delete_object", {})):  # fmt: skip
                with refused():
                    getattr(s3, operation)(Bucket=BUCKET, Key=key, **arguments)


def test_a_server_changes_nothing_of_the_bucket_itself(usual):
    buckets()
    s3 = as_role(usual, "tracking-server").client("s3")
    with enable_iam_authentication():
        for operation, arguments in NOT_OF_SERVERS:
            with refused():
                getattr(s3, operation)(Bucket=BUCKET, **arguments)


@pytest.mark.parametrize("role", ["tracking-start", "tracking-migration", "proxy-start"])
def test_who_starts_tasks_has_no_artifacts(usual, role):
    buckets()
    s3 = as_role(usual, role).client("s3")
    with enable_iam_authentication():
        for operation, arguments in [*DONE, *NOT_OF_SERVERS]:
            with refused():
                getattr(s3, operation)(Bucket=BUCKET, **arguments)


ELSEWHERE = [
    ("iam", "create_user", {"UserName": "u"}),
    ("iam", "put_role_policy", {"RoleName": "r", "PolicyName": "p", "PolicyDocument": "{}"}),
    ("sts", "assume_role", {"RoleArn": f"arn:aws:iam::{ACCOUNT}:role/admin", "RoleSessionName": "task"}),
    ("secretsmanager", "list_secrets", {}),
    ("kms", "list_keys", {}),
    ("rds", "describe_db_instances", {}),
    ("rds", "delete_db_instance", {"DBInstanceIdentifier": "d"}),
    ("ecs", "list_clusters", {}),
    ("ec2", "describe_instances", {}),
    ("s3", "list_buckets", {}),
    ("s3", "create_bucket", {"Bucket": "mine", "CreateBucketConfiguration": {"LocationConstraint": REGION}}),
]  # fmt: skip


@pytest.mark.parametrize(
    "role", ["tracking-server", "tracking-start", "tracking-migration", "proxy-start"]
)
def test_no_role_of_a_task_does_anything_else(usual, role):
    session = as_role(usual, role)
    with enable_iam_authentication():
        for service, operation, arguments in ELSEWHERE:
            with refused():
                getattr(session.client(service), operation)(**arguments)


def test_who_starts_tasks_may_pull_images(usual):
    """The one action that is for no resource."""
    starts = as_role(usual, "tracking-start")
    doors, servers = as_role(usual, "proxy-start"), as_role(usual, "tracking-server")
    with enable_iam_authentication():
        assert starts.client("ecr").get_authorization_token()["authorizationData"]
        assert doors.client("ecr").get_authorization_token()["authorizationData"]
        with refused():
            servers.client("ecr").get_authorization_token()


def test_moto_finds_a_role_that_is_too_wide(usual):
    """The judge is judged."""
    buckets()
    wide = as_role(usual, "tracking-server")
    boto3.client("iam").put_role_policy(
        RoleName=usual["tracking-server-role"]["name"],
        PolicyName="access",
        PolicyDocument=iam.document([iam.allow("All", ["s3:*"], ["*"])]),
    )
    with enable_iam_authentication(), pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"), refused():  # fmt: skip
        wide.client("s3").get_object(Bucket=FOREIGN, Key="there")


def test_no_role_is_an_administrator(usual):
    found = statements(usual)
    assert set(found) == {
        "network-flow-logs-policy",
        "proxy-start-access",
        "tracking-migration-access",
        "tracking-server-access",
        "tracking-start-access",
    }
    for name, given in found.items():
        for statement in given:
            assert statement["Effect"] == "Allow"
            assert not {a for a in statement["Action"] if "*" in a}, name
            if "*" in statement["Resource"]:
                assert set(statement["Action"]) <= FOR_NO_RESOURCE, name
    attached = {item.inputs["policyArn"] for item in usual.of("iam/rolePolicyAttachment:RolePolicyAttachment")}  # fmt: skip
    assert {arn.rsplit("/", 1)[1] for arn in attached} == {
        "AWSBackupServiceRolePolicyForBackup",
        "AWSBackupServiceRolePolicyForRestores",
        "AWSBackupServiceRolePolicyForS3Backup",
        "AWSBackupServiceRolePolicyForS3Restore",
        "AmazonRDSEnhancedMonitoringRole",
    }


def test_every_policy_is_a_document_that_iam_takes(usual):
    """moto refuses what AWS does: unknown elements, effects, actions without a service, ARNs without parts."""
    client = boto3.client("iam")
    given = {item.name: item.inputs["policy"] for item in usual.of("iam/rolePolicy:RolePolicy")}
    for name, policy in given.items():
        client.create_policy(PolicyName=name, PolicyDocument=policy)
    for item in usual.of("iam/role:Role"):
        client.create_role(
            RoleName=item.inputs["name"], AssumeRolePolicyDocument=item.inputs["assumeRolePolicy"]
        )
    with pytest.raises(ClientError, match="MalformedPolicyDocument"):
        client.create_policy(PolicyName="bad", PolicyDocument=policy.replace("Action", "Actoin"))


# ---------------------------------------------------------------- the bucket's own policy


class Asked:
    """Puts the simulator, with conditions, in the place of moto's evaluator for policies of buckets."""

    context: ClassVar[dict] = {}
    who: ClassVar[str] = SOMEBODY

    @staticmethod
    def judge(bucket, action, resource):
        if not bucket.policy:
            return PermissionResult.NEUTRAL
        # moto names all uploads, reads and deletions after their method.
        action = {"s3:HeadObject": "s3:GetObject"}.get(action, action)
        policy = ResourcePolicy(bucket.policy.decode())
        said = policy.decide(action, resource, Asked.context, who=Asked.who)
        return {
            "allow": PermissionResult.PERMITTED,
            "deny": PermissionResult.DENIED,
            "none": PermissionResult.NEUTRAL,
        }[said]


INSIDE = {"aws:SourceVpce": ENDPOINT}
HTTP = {"aws:SecureTransport": "false"}
BACKUP = f"arn:aws:iam::{ACCOUNT}:role/mlflow-prod-backup-service"


@pytest.mark.parametrize(
    ("who", "context", "works"),
    [
        (SOMEBODY, INSIDE, True),
        (SOMEBODY, {**INSIDE, **HTTP}, False),
        (SOMEBODY, {"aws:SourceVpce": "vpce-of-others"}, False),
        (SOMEBODY, {}, False),
        (BACKUP, {}, True),
        (BACKUP, HTTP, False),
        (f"{BACKUP}-2", {}, False),
    ],
    ids=["endpoint", "http", "foreign endpoint", "internet", "backup", "backup by http", "namesake"],
)  # fmt: skip
def test_the_bucket_is_reached_by_tls_from_our_endpoint_alone(
    usual, monkeypatch, who, context, works
):
    """Even an administrator, whom his own policies allow everything."""
    s3 = buckets()
    s3.put_bucket_policy(Bucket=BUCKET, Policy=usual["artifacts-policy"]["policy"])
    monkeypatch.setattr(FakeBucket, "get_permission", Asked.judge)
    monkeypatch.setattr(Asked, "context", context)
    monkeypatch.setattr(Asked, "who", who)
    for operation, arguments in (
        ("get_object", {"Key": "there"}),
        ("put_object", {"Key": "there", "Body": b"y"}),
        ("delete_object", {"Key": "there"}),
    ):
        with contextlib.nullcontext() if works else refused():
            getattr(s3, operation)(Bucket=BUCKET, **arguments)


def test_the_policy_belongs_to_the_endpoint_that_the_network_made(usual):
    assert ENDPOINT in usual["artifacts-policy"]["policy"]
    assert usual.seen["network-s3"].typ == "aws:ec2/vpcEndpoint:VpcEndpoint"


# ---------------------------------------------------------------- what our programs ask of AWS


def proven(monkeypatch, **wanted):
    """The check that the migration makes of its bucket; the stores of the Docker tests cannot encrypt."""
    monkeypatch.setenv("ARTIFACTS_URI", f"s3://{BUCKET}")
    for name, value in wanted.items():
        monkeypatch.setenv(name, value)
    # moto lets everybody read without keys: that it is private is proved on real stores.
    monkeypatch.setattr(artifacts, "_prove_private", lambda _store: None)
    artifacts.prove()


@pytest.mark.parametrize("wanted", ["sse-s3", "sse-kms"])
def test_a_bucket_that_encrypts_as_wanted_is_proved(monkeypatch, wanted, capsys):
    s3 = buckets()
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": artifacts.SSE[wanted]}}
    s3.put_bucket_encryption(Bucket=BUCKET, ServerSideEncryptionConfiguration={"Rules": [rule]})
    proven(monkeypatch, ENCRYPTION=wanted)
    assert "keys write, read and delete" in capsys.readouterr().out
    assert [found["Key"] for found in s3.list_objects_v2(Bucket=BUCKET)["Contents"]] == ["there"]


def test_a_bucket_that_encrypts_otherwise_is_refused(monkeypatch):
    buckets()
    with pytest.raises(BootError, match=r"wants sse-kms \(aws:kms\)"):
        proven(monkeypatch, ENCRYPTION="sse-kms")


@pytest.mark.parametrize(
    ("days", "prefix", "fits"), [(3, "", True), (7, "", True), (8, "", False), (3, "x/", False)]
)
def test_unfinished_uploads_must_have_an_end(monkeypatch, days, prefix, fits):
    rule = {
        "ID": "unfinished",
        "Status": "Enabled",
        "Filter": {"Prefix": prefix},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": days},
    }
    buckets().put_bucket_lifecycle_configuration(
        Bucket=BUCKET, LifecycleConfiguration={"Rules": [rule]}
    )
    with contextlib.nullcontext() if fits else pytest.raises(BootError, match="no rule"):
        proven(monkeypatch, EXPIRE_MULTIPART_DAYS="7")


def test_an_image_is_found_by_its_tag():
    ecr = boto3.client("ecr")
    ecr.create_repository(repositoryName="mlflow")
    assert registry.find_digest(ecr, "mlflow", "a") == ""
    manifest = json.dumps({"schemaVersion": 2, "mediaType": "m", "config": {"digest": "sha256:" + "a" * 64}, "layers": []})  # fmt: skip
    put = ecr.put_image(repositoryName="mlflow", imageManifest=manifest, imageTag="a")
    assert registry.find_digest(ecr, "mlflow", "a") == put["image"]["imageId"]["imageDigest"]
    with pytest.raises(ClientError, match="RepositoryNotFoundException"):
        registry.find_digest(ecr, "none", "a")
    assert registry.credentials(ecr)["username"] == "AWS"
