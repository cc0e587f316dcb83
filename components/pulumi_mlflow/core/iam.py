"""Policy documents of AWS: who may do what. Each action has its reason; none is a wildcard.

Documents are JSON with sorted keys, so that the same policy is the same text at every `up`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from . import uris

VERSION = "2012-10-17"
"""Of the policy language: the current one."""

Statement = Mapping[str, Any]

BUCKET_DATA_ACTIONS = (
    "s3:AbortMultipartUpload",
    "s3:DeleteObject*",
    "s3:GetObject*",
    "s3:ListBucketMultipartUploads",
    "s3:ListMultipartUploadParts",
    "s3:PutObject*",
    "s3:RestoreObject",
)
"""What touches objects. A bucket's own settings are not among them: a policy that refused those from outside of the
VPC would lock out whoever has to change it. Nor are lists of names: by ListBucket, which HeadBucket is, the provider
sees whether the bucket is there, and takes a refusal for a no; by ListBucketVersions a purge sees whether it is empty.
"""


def document(statements: Sequence[Statement]) -> str:
    """A policy as JSON.

    Args:
        statements: from `allow` and `deny`.

    Raises:
        ValueError: it has none, which AWS refuses.
    """
    if not statements:
        raise ValueError("policy: needs a statement")
    return json.dumps({"Version": VERSION, "Statement": list(statements)}, sort_keys=True)


def allow(
    sid: str,
    actions: Sequence[str],
    resources: Sequence[str],
    conditions: Mapping[str, Any] | None = None,
    principal: Mapping[str, Any] | str = "",
) -> dict[str, Any]:
    """A statement that allows.

    Args:
        sid: letters and digits that say what it is for.
        actions: `service:Action`.
        resources: ARNs; none for trust policies, which have no resource.
        conditions: operator → key → value.
        principal: who, in policies of a resource; left out in those of a role.
    """
    return _statement("Allow", sid, actions, resources, conditions, principal)


def deny(
    sid: str,
    actions: Sequence[str],
    resources: Sequence[str],
    conditions: Mapping[str, Any] | None = None,
    principal: Mapping[str, Any] | str = "",
) -> dict[str, Any]:
    """A statement that refuses, whatever others allow; arguments as of `allow`."""
    return _statement("Deny", sid, actions, resources, conditions, principal)


def _statement(
    effect: str,
    sid: str,
    actions: Sequence[str],
    resources: Sequence[str],
    conditions: Mapping[str, Any] | None,
    principal: Mapping[str, Any] | str,
) -> dict[str, Any]:
    return {
        "Sid": sid,
        "Effect": effect,
        "Action": sorted(actions),
        **({"Resource": sorted(resources)} if resources else {}),
        **({"Condition": dict(conditions)} if conditions else {}),
        **({"Principal": principal} if principal else {}),
    }


_PARTITIONS = {
    "cn-": ("aws-cn", "amazonaws.com.cn"),
    "eusc-": ("aws-eusc", "amazonaws.eu"),
    "us-gov-": ("aws-us-gov", "amazonaws.com"),
}
"""How the names of regions begin → partition, and the domain of its services: those that are not AWS's usual ones."""


def partition(region: str) -> str:
    """First part of the ARNs of a region: `aws`, or that of China, Europe's sovereign cloud or the US government.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html
    """
    return _partition(region)[0]


def domain(region: str) -> str:
    """The domain that services of a region are in, such as `amazonaws.com`."""
    return _partition(region)[1]


def _partition(region: str) -> tuple[str, str]:
    others = (found for begin, found in _PARTITIONS.items() if region.startswith(begin))
    return next(others, ("aws", "amazonaws.com"))


def via(service: str, region: str) -> dict[str, Any]:
    """Condition that a key is used through a service alone.

    https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-via-service
    """
    return {"StringEquals": {"kms:ViaService": f"{service}.{region}.{domain(region)}"}}


def account_of(arn: str) -> str:
    """Account that a resource belongs to.

    Raises:
        ValueError: it is no ARN, or one without an account (a bucket's has none).
    """
    parts = arn.split(":")
    if len(parts) < 6 or parts[0] != "arn" or not parts[4]:  # noqa: PLR2004 - arn:partition:service:region:account:…
        raise ValueError(f"arn: must name an account (got {arn!r})")
    return parts[4]


def bucket_arn(bucket: str, region: str) -> str:
    """ARN of a bucket, which holds neither region nor account."""
    return f"arn:{partition(region)}:s3:::{bucket}"


def managed_policy(name: str, region: str) -> str:
    """ARN of a policy that AWS itself keeps.

    Args:
        name: with its path, such as `service-role/…`.
        region: any of the partition.
    """
    return f"arn:{partition(region)}:iam::aws:policy/{name}"


def trust(service: str, conditions: Mapping[str, Any] | None = None) -> str:
    """Who may take a role on: a service of AWS.

    Args:
        service: such as `ecs-tasks.amazonaws.com`.
        conditions: what keeps other accounts from borrowing the service (the confused deputy).
    """
    return document(
        [allow("Assume", ["sts:AssumeRole"], [], conditions, principal={"Service": service})]
    )


def pod_trust() -> str:
    """Who may take on the role of pods: EKS Pod Identity, which tags the session with cluster and service account.

    https://docs.aws.amazon.com/eks/latest/userguide/pod-id-role.html
    """
    return document(
        [
            allow(
                "Assume",
                ["sts:AssumeRole", "sts:TagSession"],
                [],
                principal={"Service": "pods.eks.amazonaws.com"},
            )
        ]
    )


def cluster_trust(region: str, account: str, cluster: str) -> str:
    """Who may take on the role of a cluster: EKS, for that cluster alone.

    https://docs.aws.amazon.com/eks/latest/userguide/cross-service-confused-deputy-prevention.html

    Args:
        region: that the cluster is in.
        account: that it belongs to.
        cluster: its name.
    """
    arn = f"arn:{partition(region)}:eks:{region}:{account}:cluster/{cluster}"
    return trust("eks.amazonaws.com", {"ArnLike": {"aws:SourceArn": arn}, **own_account(account)})


def task_trust(region: str, account: str) -> str:
    """Who may take on the role of a task: ECS, for tasks of this account and region.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html
    """
    return trust(
        "ecs-tasks.amazonaws.com",
        {
            "ArnLike": {"aws:SourceArn": f"arn:{partition(region)}:ecs:{region}:{account}:*"},
            "StringEquals": {"aws:SourceAccount": account},
        },
    )


def own_account(account: str) -> dict[str, Any]:
    """Condition that a service acts for something of this account."""
    return {"StringEquals": {"aws:SourceAccount": account}}


def bucket_policy(
    bucket: str,
    region: str,
    *,
    vpc_endpoint: str = "",
    clients: Sequence[str] = (),
    exempt_roles: Sequence[str] = (),
    kms_key: str = "",
) -> str:
    """What nobody may do with a bucket, whatever their own policies allow. It allows nothing to anybody.

    Args:
        bucket: its name.
        region: where it is.
        vpc_endpoint: id of the S3 endpoint that objects are reached by; empty for from anywhere, by a login.
        clients: blocks of addresses that objects are reached from too, with `vpc_endpoint`.
        exempt_roles: ARNs of roles of AWS's own services, which come by no endpoint of ours: replication, AWS Backup.
        kms_key: ARN of the key that objects are encrypted with; another one is refused.
    """
    arn = bucket_arn(bucket, region)
    objects = f"{arn}/*"
    statements = [
        deny(
            "OnlyByTls",
            ["s3:*"],
            [arn, objects],
            {"Bool": {"aws:SecureTransport": "false"}},
            principal="*",
        )
    ]
    if vpc_endpoint:
        outside: dict[str, Any] = {"StringNotEquals": {"aws:SourceVpce": vpc_endpoint}}
        if clients:
            # A request that came by an endpoint has no such address, for which `NotIpAddress` holds too: by ours it is
            # let in by the line above.
            outside["NotIpAddress"] = {"aws:SourceIp": sorted(clients)}
        if exempt_roles:
            outside["ArnNotEquals"] = {"aws:PrincipalArn": sorted(exempt_roles)}
        statements.append(
            deny("OnlyFromVpc", BUCKET_DATA_ACTIONS, [arn, objects], outside, principal="*")
        )
    if kms_key:
        # Without the header the bucket's own key is taken. `StringNotEquals` also holds where there is no header, and
        # `…IfExists` would not change that.
        other = {
            "StringNotEquals": {"s3:x-amz-server-side-encryption-aws-kms-key-id": kms_key},
            "Null": {"s3:x-amz-server-side-encryption-aws-kms-key-id": "false"},
        }
        statements += [
            deny("OnlyOurKey", ["s3:PutObject"], [objects], other, principal="*"),
            deny(
                "OnlyKms",
                ["s3:PutObject"],
                [objects],
                {
                    "StringNotEquals": {"s3:x-amz-server-side-encryption": "aws:kms"},
                    "Null": {"s3:x-amz-server-side-encryption": "false"},
                },
                principal="*",
            ),
        ]
    return document(statements)


def log_bucket_policy(bucket: str, region: str, source: str, account: str) -> str:
    """Policy of a bucket that S3 writes the access logs of another one to.

    Args:
        bucket: the logs' bucket.
        region: where both are.
        source: the bucket whose accesses are logged.
        account: account that both belong to.
    """
    arn = bucket_arn(bucket, region)
    return document(
        [
            deny(
                "OnlyByTls",
                ["s3:*"],
                [arn, f"{arn}/*"],
                {"Bool": {"aws:SecureTransport": "false"}},
                principal="*",
            ),
            allow(
                "AccessLogs",
                ["s3:PutObject"],
                [f"{arn}/*"],
                {
                    "ArnEquals": {"aws:SourceArn": bucket_arn(source, region)},
                    **own_account(account),
                },
                principal={"Service": "logging.s3.amazonaws.com"},
            ),
        ]
    )


def store_access(uri: str, region: str, kms_key: str) -> str:
    """What a server may do with its store. A store of another kind has keys of its own, and no policy of AWS's.

    Args:
        uri: of the artifacts.
        region: where the bucket is.
        kms_key: ARN of the key that objects are encrypted with; empty with S3's own keys.
    """
    scheme, _, rest = uri.partition("://")
    bucket, _, prefix = rest.partition("/")
    if scheme != "s3" or uris.check_bucket(bucket):
        # A role must have some policy to be attached; this one is for nothing.
        return document([deny("Nothing", ["s3:GetObject"], ["*"])])
    return document(artifact_access(bucket, prefix, region, kms_key))


def artifact_access(
    bucket: str, prefix: str, region: str, kms_key: str = ""
) -> list[dict[str, Any]]:
    """What a tracking server does with its artifacts.

    Args:
        bucket: where they are.
        prefix: folder in it; empty for the whole bucket.
        region: where it is.
        kms_key: ARN of the key that objects are encrypted with; empty with S3's own keys.
    """
    arn = bucket_arn(bucket, region)
    below = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
    statements = [
        allow(
            "ListArtifacts",
            # Pages of artifacts, and HeadBucket at the migration.
            ["s3:ListBucket"],
            [arn],
            {"StringLike": {"s3:prefix": [f"{below}*", below.rstrip("/")]}} if below else None,
        ),
        allow(
            "Artifacts",
            [
                "s3:GetObject",
                "s3:PutObject",
                # `mlflow gc`. The bucket keeps versions, and their deletion is not allowed.
                "s3:DeleteObject",
                # boto3 sends files over 8 MB in parts, and ends what failed.
                "s3:AbortMultipartUpload",
                "s3:ListMultipartUploadParts",
            ],
            [f"{arn}/{below}*"],
        ),
    ]
    if kms_key:
        statements.append(
            allow(
                "ArtifactKey",
                # Decrypt for reading, and for the parts of an upload; a data key for writing.
                ["kms:Decrypt", "kms:GenerateDataKey"],
                [kms_key],
                via("s3", region),
            )
        )
    return statements


def task_start(
    *,
    repositories: Sequence[str],
    log_groups: Sequence[str],
    secrets: Sequence[str],
    region: str,
    kms_keys: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """What ECS does to start a task: pull the image, open a log, read the secrets. The task itself cannot.

    Narrower than AWS's own AmazonECSTaskExecutionRolePolicy, which is for every repository and log group.

    Args:
        repositories: ARNs of image repositories; none for images of public registries.
        log_groups: ARNs of log groups, without `:*`.
        secrets: ARNs of secrets.
        region: where all that is.
        kms_keys: ARNs of keys of ours that secrets are encrypted with; none with AWS's own.
    """
    statements = [
        allow(
            "Logs",
            ["logs:CreateLogStream", "logs:PutLogEvents"],
            [f"{group}:log-stream:*" for group in log_groups],
        )
    ]
    if repositories:
        statements += [
            # A login to the registry is not for a repository: this action takes no other resource.
            allow("RegistryLogin", ["ecr:GetAuthorizationToken"], ["*"]),
            allow(
                "Pull",
                [
                    "ecr:BatchCheckLayerAvailability",
                    "ecr:BatchGetImage",
                    "ecr:GetDownloadUrlForLayer",
                ],
                repositories,
            ),
        ]
    if secrets:
        statements.append(allow("Secrets", ["secretsmanager:GetSecretValue"], secrets))
    if kms_keys:
        statements.append(
            allow(
                "SecretKeys",
                ["kms:Decrypt"],
                kms_keys,
                via("secretsmanager", region),
            )
        )
    return statements


def replication(
    bucket: str, kms_key: str, region: str, replica: str, replica_key: str, replica_region: str
) -> str:
    """What S3 does to copy a bucket's objects to another region.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/setting-repl-config-perm-overview.html

    Args:
        bucket: the source.
        kms_key: ARN of its key.
        region: where it is.
        replica: the copy.
        replica_key: ARN of the copy's key.
        replica_region: where the copy is.
    """
    source, target = bucket_arn(bucket, region), bucket_arn(replica, replica_region)
    return document(
        [
            allow("Source", ["s3:GetReplicationConfiguration", "s3:ListBucket"], [source]),
            allow(
                "Read",
                [
                    "s3:GetObjectVersionAcl",
                    "s3:GetObjectVersionForReplication",
                    "s3:GetObjectVersionTagging",
                ],
                [f"{source}/*"],
            ),
            # Without ReplicateDelete: what is deleted here stays there.
            allow("Write", ["s3:ReplicateObject", "s3:ReplicateTags"], [f"{target}/*"]),
            allow(
                "Decrypt",
                ["kms:Decrypt"],
                [kms_key],
                via("s3", region),
            ),
            allow(
                "Encrypt",
                ["kms:Encrypt"],
                [replica_key],
                via("s3", replica_region),
            ),
        ]
    )


def endpoint_policy(region: str, account: str, buckets: Sequence[str] = ()) -> str:
    """What may pass the VPC's S3 endpoint: buckets of this account, and ECR's, where the layers of images are.

    A program inside the VPC thus cannot carry data to a bucket of another account.

    https://docs.aws.amazon.com/AmazonECR/latest/userguide/vpc-endpoints.html

    Args:
        region: where the VPC is.
        account: whose it is.
        buckets: names of buckets of other accounts that may be used.
    """
    others = [
        allow(
            "OtherBuckets",
            ["s3:*"],
            [
                text
                for bucket in buckets
                for text in (bucket_arn(bucket, region), f"{bucket_arn(bucket, region)}/*")
            ],
            principal="*",
        )
    ]
    return document(
        [
            *(others if buckets else []),
            allow(
                "OwnBuckets",
                ["s3:*"],
                ["*"],
                {"StringEquals": {"aws:ResourceAccount": account}},
                principal="*",
            ),
            allow(
                "ImageLayers",
                ["s3:GetObject"],
                [f"arn:{partition(region)}:s3:::prod-{region}-starport-layer-bucket/*"],
                principal="*",
            ),
        ]
    )


def flow_logs(log_group: str) -> str:
    """What a VPC does to write its flow logs.

    Args:
        log_group: its ARN, without `:*`.
    """
    return document(
        [
            allow(
                "Write",
                ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
                [log_group, f"{log_group}:*"],
            )
        ]
    )


def read_secrets(secrets: Sequence[str], region: str, kms_keys: Sequence[str] = ()) -> str:
    """What RDS Proxy does to log in to the database.

    Args:
        secrets: ARNs of secrets.
        region: where they are.
        kms_keys: ARNs of keys of ours that they are encrypted with.
    """
    statements = [
        allow(
            "Secrets",
            # It asks for the description to see that the secret is one.
            ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"],
            secrets,
        )
    ]
    if kms_keys:
        statements.append(
            allow(
                "SecretKeys",
                ["kms:Decrypt"],
                kms_keys,
                via("secretsmanager", region),
            )
        )
    return document(statements)


def database_login(region: str, account: str, resource_id: str, user: str) -> str:
    """What a person needs to log in to a database by their own identity, without a password.

    https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.IAMPolicy.html

    Args:
        region: where the database is.
        account: whose it is.
        resource_id: RDS's own id of it (`db-…`, `cluster-…`).
        user: name in the database, which must be granted `rds_iam` (PostgreSQL) or made with AWSAuthenticationPlugin.
    """
    arn = f"arn:{partition(region)}:rds-db:{region}:{account}:dbuser:{resource_id}/{user}"
    return document([allow("Login", ["rds-db:connect"], [arn])])


def topic_policy(topic: str) -> str:
    """Who may publish to a topic of alarms: CloudWatch and Budgets, for this account.

    Args:
        topic: its ARN.
    """
    account = account_of(topic)
    return document(
        [
            allow(
                "Alarms",
                ["sns:Publish"],
                [topic],
                own_account(account),
                principal={"Service": ["budgets.amazonaws.com", "cloudwatch.amazonaws.com"]},
            ),
            deny(
                "OnlyByTls",
                ["sns:Publish"],
                [topic],
                {"Bool": {"aws:SecureTransport": "false"}},
                principal="*",
            ),
        ]
    )
