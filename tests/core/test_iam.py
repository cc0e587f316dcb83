"""Policies of AWS: each case of what is allowed and what is not, action by action."""

import json

import botocore.loaders
import pytest
from tests.components.aws_support import ACCOUNT
from tests.iam.simulator import (
    EVERYTHING,
    NOBODY,
    SOMEBODY,
    STRANGER,
    STRANGERS,
    EndpointPolicy,
    ResourcePolicy,
    RolePolicy,
    TrustPolicy,
)

from pulumi_mlflow.core import iam

REGION = "eu-central-1"
BUCKET = "arn:aws:s3:::b"
OBJECT = "arn:aws:s3:::b/models/m"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1"
OTHER = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/2"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/replication"
HTTP = {"aws:SecureTransport": "false"}
INSIDE = {"aws:SourceVpce": "vpce-1"}
KEY_ID = "s3:x-amz-server-side-encryption-aws-kms-key-id"

bucket = ResourcePolicy(
    iam.bucket_policy("b", REGION, vpc_endpoint="vpce-1", exempt_roles=[ROLE], kms_key=KEY)
)


@pytest.mark.parametrize("administrator", [False, True])
@pytest.mark.parametrize(
    ("action", "resource", "context", "decision"),
    [
        # Nothing is allowed by it: that is for the policy of a role.
        ("s3:GetObject", OBJECT, INSIDE, "none"),
        ("s3:PutObject", OBJECT, INSIDE, "none"),
        ("s3:GetObject", OBJECT, {**INSIDE, **HTTP}, "deny"),
        ("s3:PutBucketPolicy", BUCKET, HTTP, "deny"),
        ("s3:GetObject", OBJECT, {}, "deny"),
        ("s3:GetObject", OBJECT, {"aws:SourceVpce": "vpce-2"}, "deny"),
        ("s3:GetObjectVersion", OBJECT, {}, "deny"),
        ("s3:PutObject", OBJECT, {}, "deny"),
        ("s3:DeleteObject", OBJECT, {}, "deny"),
        ("s3:DeleteObjectVersion", OBJECT, {}, "deny"),
        ("s3:ListBucketMultipartUploads", BUCKET, {}, "deny"),
        ("s3:AbortMultipartUpload", OBJECT, {}, "deny"),
        # Whoever administers the bucket is not inside of the VPC.
        ("s3:PutBucketPolicy", BUCKET, {}, "none"),
        ("s3:GetBucketVersioning", BUCKET, {}, "none"),
        ("s3:PutLifecycleConfiguration", BUCKET, {}, "none"),
        ("s3:PutObject", OBJECT, {**INSIDE, KEY_ID: KEY}, "none"),
        ("s3:PutObject", OBJECT, {**INSIDE, KEY_ID: OTHER}, "deny"),
        ("s3:PutObject", OBJECT, {**INSIDE, "s3:x-amz-server-side-encryption": "AES256"}, "deny"),
        ("s3:PutObject", OBJECT, {**INSIDE, "s3:x-amz-server-side-encryption": "aws:kms"}, "none"),
    ],
)
def test_a_buckets_policy(action, resource, context, decision, administrator):
    identity = EVERYTHING if administrator else None
    said = bucket.decide(action, resource, context, identity=identity)
    assert said == ("allow" if administrator and decision == "none" else decision)


PROVIDER = (
    "s3:ListBucket",
    "s3:GetBucketPolicy",
    "s3:GetBucketAcl",
    "s3:GetBucketCORS",
    "s3:GetBucketWebsite",
    "s3:GetBucketVersioning",
    "s3:GetAccelerateConfiguration",
    "s3:GetBucketRequestPayment",
    "s3:GetBucketLogging",
    "s3:GetLifecycleConfiguration",
    "s3:GetReplicationConfiguration",
    "s3:GetEncryptionConfiguration",
    "s3:GetBucketObjectLockConfiguration",
    "s3:GetBucketTagging",
    "s3:GetBucketPublicAccessBlock",
    "s3:GetBucketOwnershipControls",
)
"""What terraform-provider-aws asks of a bucket and its parts at a refresh: internal/service/s3/bucket.go,
`resourceBucketRead`, and `…Read` of the files beside it. HeadBucket, by which it sees whether the bucket is there, is
s3:ListBucket, and a refusal is taken for a bucket that is gone: `findBucket` drops the error, then `EmptyResultError`."""


@pytest.mark.parametrize("clients", [[], ["203.0.113.0/24"]])
@pytest.mark.parametrize("action", [*PROVIDER, "s3:ListBucketVersions", "s3:DeleteBucket"])
def test_who_runs_up_outside_of_the_vpc_sees_what_the_provider_must_see(action, clients):
    """Else a refresh drops the protected bucket from the state; the last two are those of a purge."""
    policy = ResourcePolicy(
        iam.bucket_policy("b", REGION, vpc_endpoint="vpce-1", clients=clients, kms_key=KEY)
    )
    context = {"aws:SourceIp": "198.51.100.7"}
    assert policy.decide(action, BUCKET, context, identity=EVERYTHING) == "allow"
    assert policy.decide(action, BUCKET, context) == "none"


@pytest.mark.parametrize(("who", "decision"), [(ROLE, "allow"), (f"{ROLE}-2", "deny")])
def test_services_of_awss_own_come_by_no_endpoint_of_ours(who, decision):
    for action in ("s3:GetObject", "s3:GetObjectVersionForReplication"):
        assert bucket.decide(action, OBJECT, who=who, identity=EVERYTHING) == decision
        assert bucket.decide(action, OBJECT, HTTP, who=who, identity=EVERYTHING) == "deny"


@pytest.mark.parametrize("who", [NOBODY, STRANGER, "logging.s3.amazonaws.com"])
def test_strangers_get_nothing_even_inside(who):
    identity = EVERYTHING if who == STRANGER else None
    for action in ("s3:GetObject", "s3:PutObject", "s3:DeleteObject"):
        assert bucket.decide(action, OBJECT, INSIDE, who=who, identity=identity) == "none"
        assert bucket.decide(action, OBJECT, who=who, identity=identity) == "deny"


def test_without_an_endpoint_objects_are_reached_from_anywhere_by_tls():
    policy = ResourcePolicy(iam.bucket_policy("b", REGION))
    assert policy.decide("s3:GetObject", OBJECT) == "none"
    assert policy.decide("s3:GetObject", OBJECT, identity=EVERYTHING) == "allow"
    assert policy.decide("s3:GetObject", OBJECT, HTTP, identity=EVERYTHING) == "deny"


@pytest.mark.parametrize("administrator", [False, True])
@pytest.mark.parametrize(
    ("context", "who", "decision"),
    [
        ({"aws:SourceIp": "203.0.113.7"}, SOMEBODY, "none"),
        ({"aws:SourceIp": "198.51.100.7"}, SOMEBODY, "deny"),
        (INSIDE, SOMEBODY, "none"),
        ({"aws:SourceVpce": "vpce-2"}, SOMEBODY, "deny"),
        ({"aws:SourceIp": "52.0.0.1"}, ROLE, "none"),
        ({"aws:SourceIp": "203.0.113.7", **HTTP}, SOMEBODY, "deny"),
    ],
    ids=["client", "somebody else", "endpoint", "foreign endpoint", "replication", "http"],
)
def test_clients_reach_objects_from_their_own_addresses(context, who, decision, administrator):
    policy = ResourcePolicy(
        iam.bucket_policy(
            "b", REGION, vpc_endpoint="vpce-1", clients=["203.0.113.0/24"], exempt_roles=[ROLE]
        )
    )
    identity = EVERYTHING if administrator else None
    said = policy.decide("s3:GetObject", OBJECT, context, who=who, identity=identity)
    assert said == ("allow" if administrator and decision == "none" else decision)


task = RolePolicy(iam.document(iam.artifact_access("b", "runs", REGION, KEY)))
VIA = {"kms:ViaService": f"s3.{REGION}.amazonaws.com"}


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
        ("s3:ListBucket", BUCKET, {"s3:prefix": "runs/1/"}, "allow"),
        ("s3:ListBucket", BUCKET, {"s3:prefix": ""}, "none"),
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
    assert task.decide(action, resource, context) == decision


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
    policy = RolePolicy(iam.document(iam.artifact_access("b", "", REGION)))
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
            {"kms:ViaService": f"secretsmanager.{REGION}.amazonaws.com"},
            "allow",
        ),
        ("kms:Decrypt", KEY, VIA, "none"),
    ],
)
def test_what_starts_a_task(action, resource, context, decision):
    start = RolePolicy(
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
    assert start.decide(action, resource, context) == decision


def test_a_task_without_secrets_reads_none():
    start = iam.task_start(repositories=[], log_groups=[GROUP], secrets=[], region=REGION)
    assert RolePolicy(iam.document(start)).actions() == [
        "logs:CreateLogStream",
        "logs:PutLogEvents",
    ]


@pytest.mark.parametrize(
    ("service", "context", "decision"),
    [
        (
            "ecs-tasks.amazonaws.com",
            {
                "aws:SourceAccount": ACCOUNT,
                "aws:SourceArn": f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/c/1",
            },
            "allow",
        ),
        (
            "ecs-tasks.amazonaws.com",
            {"aws:SourceAccount": "9" * 12, "aws:SourceArn": f"arn:aws:ecs:{REGION}:{'9' * 12}:x"},
            "none",
        ),
        ("ecs-tasks.amazonaws.com", {}, "none"),
        (
            "lambda.amazonaws.com",
            {"aws:SourceAccount": ACCOUNT, "aws:SourceArn": f"arn:aws:ecs:{REGION}:{ACCOUNT}:x"},
            "none",
        ),
    ],
)
def test_who_takes_on_a_tasks_role(service, context, decision):
    trust = TrustPolicy(iam.task_trust(REGION, ACCOUNT))
    assert trust.decide(service, context) == decision


def test_replication_copies_and_never_deletes():
    policy = RolePolicy(iam.replication("b", KEY, REGION, "c", OTHER, "eu-west-1"))
    copy = "arn:aws:s3:::c/x"
    assert policy.decide("s3:ReplicateObject", copy) == "allow"
    assert policy.decide("s3:ReplicateDelete", copy) == "none"
    assert policy.decide("s3:ReplicateObject", OBJECT) == "none"
    assert policy.decide("s3:GetObjectVersionForReplication", OBJECT) == "allow"
    assert policy.decide("s3:GetObject", OBJECT) == "none"
    assert policy.decide("kms:Decrypt", KEY, VIA) == "allow"
    assert policy.decide("kms:Decrypt", OTHER, VIA) == "none"
    there = {"kms:ViaService": "s3.eu-west-1.amazonaws.com"}
    assert policy.decide("kms:Encrypt", OTHER, there) == "allow"
    assert policy.decide("kms:Encrypt", OTHER, VIA) == "none"


@pytest.mark.parametrize(
    ("resource", "owner", "decision"),
    [
        (OBJECT, ACCOUNT, "allow"),
        (OBJECT, STRANGERS, "none"),
        (f"arn:aws:s3:::prod-{REGION}-starport-layer-bucket/l", STRANGERS, "allow"),
        ("arn:aws:s3:::prod-us-east-1-starport-layer-bucket/l", STRANGERS, "none"),
    ],
)
def test_nothing_leaves_the_vpc_for_a_bucket_of_another_account(resource, owner, decision):
    policy = EndpointPolicy(iam.endpoint_policy(REGION, ACCOUNT))
    assert policy.decide("s3:GetObject", resource, owner=owner) == decision


def test_only_s3s_own_logging_writes_logs_of_this_bucket():
    policy = ResourcePolicy(iam.log_bucket_policy("logs", REGION, "b", ACCOUNT))
    own = {"aws:SourceArn": BUCKET, "aws:SourceAccount": ACCOUNT}
    target, who = "arn:aws:s3:::logs/x", "logging.s3.amazonaws.com"
    assert policy.decide("s3:PutObject", target, own, who=who) == "allow"
    assert policy.decide("s3:PutObject", target, {**own, **HTTP}, who=who) == "deny"
    for stranger in ({"aws:SourceAccount": STRANGERS}, {"aws:SourceArn": f"{BUCKET}-2"}):
        assert policy.decide("s3:PutObject", target, {**own, **stranger}, who=who) == "none"
    for stranger in ("s3.amazonaws.com", SOMEBODY, NOBODY):
        assert policy.decide("s3:PutObject", target, own, who=stranger) == "none"
    assert policy.decide("s3:GetObject", target, own, who=who) == "none"


@pytest.mark.parametrize("name", [n for n in vars(iam) if n.startswith("BUCKET_DATA")])
def test_refused_actions_are_of_data_only(name):
    assert not [action for action in vars(iam)[name] if "Bucket" in action and "List" not in action]


def regions():
    """Region, partition and domain, as botocore has them; those of secret services aside."""
    found = botocore.loaders.create_loader().load_data("partitions")["partitions"]
    return [
        (region, known["id"], known["outputs"]["dnsSuffix"])
        for known in found
        if "iso" not in known["id"]
        for region in known["regions"]
        if "global" not in region
    ]


@pytest.mark.parametrize(("region", "partition", "domain"), regions())
def test_each_region_has_the_arns_and_the_domain_of_its_partition(region, partition, domain):
    assert iam.bucket_arn("b", region) == f"arn:{partition}:s3:::b"
    assert iam.via("s3", region) == {"StringEquals": {"kms:ViaService": f"s3.{region}.{domain}"}}


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
