"""Policies of AWS: each case of what is allowed and what is not, action by action."""

import json

import pytest
from tests.components.aws_support import ACCOUNT, Policy

from pulumi_mlflow.core import iam

REGION = "eu-central-1"
BUCKET = "arn:aws:s3:::b"
OBJECT = "arn:aws:s3:::b/models/m"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1"
OTHER = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/2"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/replication"
TLS = {"aws_securetransport": "true"}
INSIDE = {**TLS, "aws_sourcevpce": "vpce-1"}

bucket = Policy(
    iam.bucket_policy("b", REGION, vpc_endpoint="vpce-1", exempt_roles=[ROLE], kms_key=KEY)
)


@pytest.mark.parametrize(
    ("action", "resource", "context", "decision"),
    [
        # Nothing is allowed by it: that is for the policy of a role.
        ("s3:GetObject", OBJECT, INSIDE, "none"),
        ("s3:PutObject", OBJECT, INSIDE, "none"),
        ("s3:GetObject", OBJECT, {**INSIDE, "aws_securetransport": "false"}, "deny"),
        ("s3:PutBucketPolicy", BUCKET, {"aws_securetransport": "false"}, "deny"),
        ("s3:GetObject", OBJECT, TLS, "deny"),
        ("s3:GetObject", OBJECT, {**TLS, "aws_sourcevpce": "vpce-2"}, "deny"),
        ("s3:GetObjectVersion", OBJECT, TLS, "deny"),
        ("s3:PutObject", OBJECT, TLS, "deny"),
        ("s3:DeleteObject", OBJECT, TLS, "deny"),
        ("s3:DeleteObjectVersion", OBJECT, TLS, "deny"),
        ("s3:ListBucket", BUCKET, TLS, "deny"),
        ("s3:AbortMultipartUpload", OBJECT, TLS, "deny"),
        # Whoever administers the bucket is not inside of the VPC.
        ("s3:PutBucketPolicy", BUCKET, TLS, "none"),
        ("s3:GetBucketVersioning", BUCKET, TLS, "none"),
        ("s3:PutLifecycleConfiguration", BUCKET, TLS, "none"),
        # AWS's own services come by no endpoint of ours.
        (
            "s3:GetObjectVersionForReplication",
            OBJECT,
            {**TLS, "aws_principalarn": ROLE},
            "none",
        ),
        ("s3:GetObject", OBJECT, {**TLS, "aws_principalarn": f"{ROLE}-2"}, "deny"),
        (
            "s3:PutObject",
            OBJECT,
            {**INSIDE, "s3_x_amz_server_side_encryption_aws_kms_key_id": KEY},
            "none",
        ),
        (
            "s3:PutObject",
            OBJECT,
            {**INSIDE, "s3_x_amz_server_side_encryption_aws_kms_key_id": OTHER},
            "deny",
        ),
        ("s3:PutObject", OBJECT, {**INSIDE, "s3_x_amz_server_side_encryption": "AES256"}, "deny"),
        ("s3:PutObject", OBJECT, {**INSIDE, "s3_x_amz_server_side_encryption": "aws:kms"}, "none"),
    ],
)
def test_a_buckets_policy(action, resource, context, decision):
    assert bucket.decide(action, resource, principal="*", **context) == decision


def test_without_an_endpoint_objects_are_reached_from_anywhere_by_tls():
    policy = Policy(iam.bucket_policy("b", REGION))
    assert policy.decide("s3:GetObject", OBJECT, **TLS) == "none"
    assert policy.decide("s3:GetObject", OBJECT, aws_securetransport="false") == "deny"


@pytest.mark.parametrize(
    ("context", "decision"),
    [
        ({"aws_sourceip": "203.0.113.7"}, "none"),
        ({"aws_sourceip": "198.51.100.7"}, "deny"),
        ({"aws_sourcevpce": "vpce-1"}, "none"),
        ({"aws_sourcevpce": "vpce-2"}, "deny"),
        ({"aws_sourceip": "52.0.0.1", "aws_principalarn": ROLE}, "none"),
    ],
    ids=["client", "somebody else", "endpoint", "foreign endpoint", "replication"],
)
def test_clients_reach_objects_from_their_own_addresses(context, decision):
    policy = Policy(
        iam.bucket_policy(
            "b", REGION, vpc_endpoint="vpce-1", clients=["203.0.113.0/24"], exempt_roles=[ROLE]
        )
    )
    assert policy.decide("s3:GetObject", OBJECT, **TLS, **context) == decision


task = Policy(iam.document(iam.artifact_access("b", "runs", REGION, KEY)))
VIA = {"kms_viaservice": f"s3.{REGION}.amazonaws.com"}


@pytest.mark.parametrize(
    ("action", "resource", "context", "decision"),
    [
        ("s3:GetObject", f"{BUCKET}/runs/1/model", {}, "allow"),
        ("s3:PutObject", f"{BUCKET}/runs/1/model", {}, "allow"),
        ("s3:DeleteObject", f"{BUCKET}/runs/1/model", {}, "allow"),
        ("s3:AbortMultipartUpload", f"{BUCKET}/runs/1/model", {}, "allow"),
        ("s3:ListMultipartUploadParts", f"{BUCKET}/runs/1/model", {}, "allow"),
        ("s3:GetObject", f"{BUCKET}/others/1", {}, "none"),
        ("s3:GetObject", f"{BUCKET}/runs-of-others/1", {}, "none"),
        ("s3:GetObject", "arn:aws:s3:::bb/runs/1", {}, "none"),
        ("s3:ListBucket", BUCKET, {"s3_prefix": "runs/1/"}, "allow"),
        ("s3:ListBucket", BUCKET, {"s3_prefix": ""}, "none"),
        ("s3:ListBucket", BUCKET, {}, "none"),
        # What is deleted can be had back: the server cannot delete a version.
        ("s3:DeleteObjectVersion", f"{BUCKET}/runs/1/model", {}, "none"),
        ("s3:PutBucketVersioning", BUCKET, {}, "none"),
        ("s3:PutLifecycleConfiguration", BUCKET, {}, "none"),
        ("s3:PutBucketPolicy", BUCKET, {}, "none"),
        ("s3:DeleteBucket", BUCKET, {}, "none"),
        ("s3:PutObjectAcl", f"{BUCKET}/runs/1/model", {}, "none"),
        ("kms:Decrypt", KEY, VIA, "allow"),
        ("kms:GenerateDataKey", KEY, VIA, "allow"),
        ("kms:Decrypt", KEY, {}, "none"),
        ("kms:Decrypt", OTHER, VIA, "none"),
        ("kms:ScheduleKeyDeletion", KEY, VIA, "none"),
    ],
)
def test_what_the_server_may_do_with_artifacts(action, resource, context, decision):
    assert task.decide(action, resource, **context) == decision


def test_the_server_may_do_these_eight_things_and_no_more():
    assert task.actions() == [
        "kms:Decrypt",
        "kms:GenerateDataKey",
        "s3:AbortMultipartUpload",
        "s3:DeleteObject",
        "s3:GetObject",
        "s3:ListBucket",
        "s3:ListMultipartUploadParts",
        "s3:PutObject",
    ]


def test_a_whole_bucket_is_listed_without_a_condition():
    policy = Policy(iam.document(iam.artifact_access("b", "", REGION)))
    assert policy.decide("s3:ListBucket", BUCKET) == "allow"
    assert policy.decide("s3:GetObject", f"{BUCKET}/x") == "allow"
    assert "kms:Decrypt" not in policy.actions()


GROUP = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:g"
SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:s-1"
REPOSITORY = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/mlflow"


@pytest.mark.parametrize(
    ("action", "resource", "context", "decision"),
    [
        ("ecr:GetAuthorizationToken", "*", {}, "allow"),
        ("ecr:BatchGetImage", REPOSITORY, {}, "allow"),
        ("ecr:GetDownloadUrlForLayer", REPOSITORY, {}, "allow"),
        ("ecr:BatchCheckLayerAvailability", REPOSITORY, {}, "allow"),
        ("ecr:BatchGetImage", f"{REPOSITORY}-2", {}, "none"),
        ("ecr:PutImage", REPOSITORY, {}, "none"),
        ("logs:PutLogEvents", f"{GROUP}:log-stream:a/b/c", {}, "allow"),
        ("logs:CreateLogStream", f"{GROUP}:log-stream:a/b/c", {}, "allow"),
        ("logs:CreateLogGroup", GROUP, {}, "none"),
        ("logs:DeleteLogGroup", GROUP, {}, "none"),
        ("secretsmanager:GetSecretValue", SECRET, {}, "allow"),
        ("secretsmanager:GetSecretValue", f"{SECRET}2", {}, "none"),
        ("secretsmanager:PutSecretValue", SECRET, {}, "none"),
        (
            "kms:Decrypt",
            KEY,
            {"kms_viaservice": f"secretsmanager.{REGION}.amazonaws.com"},
            "allow",
        ),
        ("kms:Decrypt", KEY, VIA, "none"),
    ],
)
def test_what_starts_a_task(action, resource, context, decision):
    start = Policy(
        iam.document(
            iam.task_start(
                repositories=[REPOSITORY],
                log_groups=[GROUP],
                secrets=[SECRET],
                region=REGION,
                kms_keys=[KEY],
            )
        )
    )
    assert start.decide(action, resource, **context) == decision


def test_a_task_without_secrets_reads_none():
    start = iam.task_start(repositories=[], log_groups=[GROUP], secrets=[], region=REGION)
    assert Policy(iam.document(start)).actions() == ["logs:CreateLogStream", "logs:PutLogEvents"]


@pytest.mark.parametrize(
    ("service", "context", "decision"),
    [
        (
            "ecs-tasks.amazonaws.com",
            {
                "aws_sourceaccount": ACCOUNT,
                "aws_sourcearn": f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/c/1",
            },
            "allow",
        ),
        (
            "ecs-tasks.amazonaws.com",
            {"aws_sourceaccount": "9" * 12, "aws_sourcearn": f"arn:aws:ecs:{REGION}:{'9' * 12}:x"},
            "none",
        ),
        ("ecs-tasks.amazonaws.com", {}, "none"),
        (
            "lambda.amazonaws.com",
            {"aws_sourceaccount": ACCOUNT, "aws_sourcearn": f"arn:aws:ecs:{REGION}:{ACCOUNT}:x"},
            "none",
        ),
    ],
)
def test_who_takes_on_a_tasks_role(service, context, decision):
    trust = Policy(iam.task_trust(REGION, ACCOUNT))
    assert trust.decide("sts:AssumeRole", principal=service, **context) == decision


def test_replication_copies_and_never_deletes():
    policy = Policy(iam.replication("b", KEY, REGION, "c", OTHER, "eu-west-1"))
    copy = "arn:aws:s3:::c/x"
    assert policy.decide("s3:ReplicateObject", copy) == "allow"
    assert policy.decide("s3:ReplicateDelete", copy) == "none"
    assert policy.decide("s3:ReplicateObject", OBJECT) == "none"
    assert policy.decide("s3:GetObjectVersionForReplication", OBJECT) == "allow"
    assert policy.decide("s3:GetObject", OBJECT) == "none"
    assert policy.decide("kms:Decrypt", KEY, **VIA) == "allow"
    assert policy.decide("kms:Decrypt", OTHER, **VIA) == "none"
    assert (
        policy.decide("kms:Encrypt", OTHER, kms_viaservice="s3.eu-west-1.amazonaws.com") == "allow"
    )
    assert policy.decide("kms:Encrypt", OTHER, **VIA) == "none"


@pytest.mark.parametrize(
    ("resource", "context", "decision"),
    [
        (OBJECT, {"aws_resourceaccount": ACCOUNT}, "allow"),
        (OBJECT, {"aws_resourceaccount": "9" * 12}, "none"),
        (f"arn:aws:s3:::prod-{REGION}-starport-layer-bucket/l", {}, "allow"),
        ("arn:aws:s3:::prod-us-east-1-starport-layer-bucket/l", {}, "none"),
    ],
)
def test_nothing_leaves_the_vpc_for_a_bucket_of_another_account(resource, context, decision):
    policy = Policy(iam.endpoint_policy(REGION, ACCOUNT))
    assert policy.decide("s3:GetObject", resource, principal="*", **context) == decision


def test_only_s3s_own_logging_writes_logs_of_this_bucket():
    policy = Policy(iam.log_bucket_policy("logs", REGION, "b", ACCOUNT))
    own = {"aws_sourcearn": BUCKET, "aws_sourceaccount": ACCOUNT, **TLS}
    target, who = "arn:aws:s3:::logs/x", "logging.s3.amazonaws.com"
    assert policy.decide("s3:PutObject", target, who, **own) == "allow"
    assert policy.decide("s3:PutObject", target, who, **{**own, "aws_sourceaccount": "9"}) == "none"
    assert policy.decide("s3:PutObject", target, "someone", **own) == "none"
    assert policy.decide("s3:GetObject", target, who, **own) == "none"


@pytest.mark.parametrize("name", [n for n in vars(iam) if n.startswith("BUCKET_DATA")])
def test_refused_actions_are_of_data_only(name):
    assert not [action for action in vars(iam)[name] if "Bucket" in action and "List" not in action]


@pytest.mark.parametrize(
    ("region", "prefix"),
    [("eu-central-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")],
)
def test_partitions(region, prefix):
    assert iam.bucket_arn("b", region) == f"arn:{prefix}:s3:::b"


@pytest.mark.parametrize("text", ["", "arn:aws:s3:::b", "x:aws:s3:r:1:b", "arn:aws:s3"])
def test_an_arn_without_an_account_is_refused(text):
    with pytest.raises(ValueError, match="must name an account"):
        iam.account_of(text)


def test_documents_are_the_same_text_each_time():
    assert iam.bucket_policy("b", REGION, exempt_roles=["y", "x"], vpc_endpoint="v") == (
        iam.bucket_policy("b", REGION, exempt_roles=["x", "y"], vpc_endpoint="v")
    )
    assert json.loads(iam.trust("x"))["Version"] == "2012-10-17"
    with pytest.raises(ValueError, match="needs a statement"):
        iam.document([])
