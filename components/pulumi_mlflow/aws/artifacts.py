"""S3: a bucket that nobody reaches but the VPC's own programs, encrypted by a key of its own."""

from collections.abc import Sequence
from typing import NamedTuple, NotRequired, Optional, TypedDict

import pulumi
import pulumi_aws as aws

from ..contracts import ArtifactEndpoint, Scope
from ..core import iam, naming, uris
from ..guard import DataGuard
from .common import AwsComponent
from .network import AwsNetworkPlace

DELETED_DAYS = 30
"""How long a deleted or overwritten object can be had back: a month's holiday of whoever would miss it."""

ACCESS_LOG_DAYS = 90
"""How long access logs are kept: what PCI DSS 10.5.1 wants at hand, and enough to see who read what was leaked."""

_BUCKET_LIMIT = 63
"""Characters of a bucket's name."""


class _Bucket(NamedTuple):
    bucket: aws.s3.Bucket
    settled: Sequence[pulumi.CustomResource]
    """Its settings: it is as it should be once they are there."""


class AwsArtifactStoreArgs(TypedDict):
    """Arguments of AwsArtifactStore."""

    bucket: str
    """Name of the bucket, the only one of that name in the world."""
    network: AwsNetworkPlace
    """The VPC that it is used from."""
    prefix: NotRequired[str]
    """Folder in the bucket; none unless given."""
    vpc_only: NotRequired[bool]
    """Whether objects are reached through the VPC's endpoint only; yes unless given. Clients that use the store
    themselves (mode direct, multipart) need `false`, or a way into the VPC."""
    clients: NotRequired[list[str]]
    """Blocks of addresses that objects are reached from beside the VPC's endpoint, without `vpc_only`; from everywhere
    unless given."""
    expire_multipart_days: NotRequired[int]
    """Days after which unfinished uploads are removed; 7 unless given."""
    keep_deleted_days: NotRequired[int]
    """Days for which deleted and overwritten objects are kept; 30 unless given."""
    tiering_days: NotRequired[Optional[int]]
    """Days after which objects move to Intelligent-Tiering; never unless given."""
    access_logs: NotRequired[bool]
    """Whether each request is logged, in a bucket of its own; yes unless given."""
    replica_region: NotRequired[Optional[str]]
    """Another region that every object is copied to, in a bucket of its own; none unless given."""
    trusted_roles: NotRequired[list[pulumi.Input[str]]]
    """ARNs of further roles that reach objects from outside of the VPC, such as that of AWS Backup."""
    deployment: NotRequired[str]
    """Prefix of physical names; `<project>-<stack>` unless given."""


class AwsArtifactStore(AwsComponent):
    """A bucket with versions, a key of its own, and a policy that refuses all but TLS from the VPC.

    Bucket, replica and keys are protected, and none is emptied by its deletion.

    Raises:
        ValueError: a name that S3 refuses, a number of days that is none, a replica in the same region, or `vpc_only`
            or `clients` in a VPC without an endpoint for S3.
    """

    _role = "artifacts"

    endpoint: ArtifactEndpoint
    """For a server in the same VPC, with the identity of its task; known once the bucket is as it should be."""
    bucket_arn: pulumi.Output[str]
    """ARN of the bucket."""
    key_arn: pulumi.Output[str]
    """ARN of its key."""

    def __init__(
        self, name: str, args: AwsArtifactStoreArgs, opts: Optional[pulumi.ResourceOptions] = None
    ) -> None:
        network, bucket_name = args["network"], args["bucket"]
        region, replica_region = network["region"], args.get("replica_region")
        uri = _check(name, args)
        super().__init__(name, args.get("deployment"), opts)
        guard = DataGuard(
            self._child("guard"),
            self._role,
            {"mlflow:artifacts.store": "s3", "mlflow:artifacts.bucket": bucket_name},
            opts,
            self,
        )
        key = self._key("key", f"Artifacts of {self._deployment}")
        made = self._bucket("bucket", bucket_name, key, args, [guard])
        bucket, settled = made
        exempt: list[pulumi.Input[str]] = list(args.get("trusted_roles", []))
        if replica_region:
            role = self._replicate(args, replica_region, made, key)
            exempt.append(role.arn)
        vpc_only, clients = args.get("vpc_only", True), args.get("clients", [])
        policy = aws.s3.BucketPolicy(
            self._child("policy"),
            bucket=bucket.id,
            policy=pulumi.Output.all(
                key=key.arn,
                endpoint=network["s3_endpoint"] if vpc_only or clients else "",
                roles=pulumi.Output.all(*exempt),
            ).apply(
                lambda known: iam.bucket_policy(
                    bucket_name,
                    region,
                    vpc_endpoint=known["endpoint"],
                    clients=() if vpc_only else clients,
                    exempt_roles=known["roles"],
                    kms_key=known["key"],
                )
            ),
            opts=self._opts(depends_on=settled),
        )
        if args.get("access_logs", True):
            self._access_logs(bucket, bucket_name, region, key)
        self.bucket_arn = bucket.arn
        self.key_arn = key.arn
        self.endpoint = ArtifactEndpoint(
            component=name,
            reach=[network["place"]] if vpc_only else [network["place"], Scope.PUBLIC.value],
            # Nothing is put into it before its policy and settings stand.
            uri=pulumi.Output.all(bucket.id, policy.id, *(item.id for item in settled)).apply(
                lambda _: uri
            ),
            region=region,
            kms_key=key.arn,
        )
        self.register_outputs({"endpoint": self.endpoint})

    def _bucket(
        self,
        role: str,
        bucket_name: str,
        key: aws.kms.Key,
        args: AwsArtifactStoreArgs,
        after: list[pulumi.Resource],
        region: Optional[str] = None,
    ) -> _Bucket:
        """A protected bucket with all that does not depend on others."""
        bucket = aws.s3.Bucket(
            self._child(role),
            # Another name would replace it: the guard refuses that at preview.
            bucket=bucket_name,
            force_destroy=False,
            region=region,
            tags=self._tags(role),
            opts=self._opts(protect=True, depends_on=after),
        )
        closed = self._close(role, bucket, region)
        versions = aws.s3.BucketVersioning(
            self._child(f"{role}-versions"),
            bucket=bucket.id,
            versioning_configuration={"status": "Enabled"},
            region=region,
            opts=self._opts(),
        )
        encryption = aws.s3.BucketServerSideEncryptionConfiguration(
            self._child(f"{role}-encryption"),
            bucket=bucket.id,
            rules=[
                {
                    "apply_server_side_encryption_by_default": {
                        "sse_algorithm": "aws:kms",
                        "kms_master_key_id": key.arn,
                    },
                    # One request to KMS for many objects: up to 99 % of its cost,
                    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-key.html
                    "bucket_key_enabled": True,
                }
            ],
            region=region,
            opts=self._opts(),
        )
        lifecycle = aws.s3.BucketLifecycleConfiguration(
            self._child(f"{role}-lifecycle"),
            bucket=bucket.id,
            rules=_lifecycle(args),
            region=region,
            # Rules about versions of a bucket that has none are another thing.
            opts=self._opts(depends_on=[versions]),
        )
        return _Bucket(bucket, [*closed, versions, encryption, lifecycle])

    def _close(
        self, role: str, bucket: aws.s3.Bucket, region: Optional[str] = None
    ) -> list[pulumi.CustomResource]:
        """Nothing public, and no access lists: every object is its bucket's owner's."""
        return [
            aws.s3.BucketPublicAccessBlock(
                self._child(f"{role}-private"),
                bucket=bucket.id,
                block_public_acls=True,
                block_public_policy=True,
                ignore_public_acls=True,
                restrict_public_buckets=True,
                region=region,
                opts=self._opts(),
            ),
            aws.s3.BucketOwnershipControls(
                self._child(f"{role}-owner"),
                bucket=bucket.id,
                rule={"object_ownership": "BucketOwnerEnforced"},
                region=region,
                opts=self._opts(),
            ),
        ]

    def _replicate(
        self, args: AwsArtifactStoreArgs, region: str, source: _Bucket, source_key: aws.kms.Key
    ) -> aws.iam.Role:
        """Copy every new object, but no deletion, to a bucket in another region; returns the role that does it."""
        name, own = args["bucket"], args["network"]["region"]
        replica_name = naming.physical_name(name, region, limit=_BUCKET_LIMIT)
        key = self._key("replica-key", f"Copy of artifacts of {self._deployment}", region)
        replica = self._bucket("replica", replica_name, key, args, [], region)
        aws.s3.BucketPolicy(
            self._child("replica-policy"),
            bucket=replica.bucket.id,
            policy=key.arn.apply(lambda arn: iam.bucket_policy(replica_name, region, kms_key=arn)),
            region=region,
            opts=self._opts(depends_on=replica.settled),
        )
        role = aws.iam.Role(
            self._child("replication-role"),
            name=self._short("replication"),
            assume_role_policy=key.arn.apply(
                lambda arn: iam.trust("s3.amazonaws.com", iam.own_account(iam.account_of(arn)))
            ),
            tags=self._tags("replication"),
            opts=self._opts(),
        )
        allowed = aws.iam.RolePolicy(
            self._child("replication-access"),
            name="replicate",
            role=role.id,
            policy=pulumi.Output.all(source_key.arn, key.arn).apply(
                lambda arns: iam.replication(name, arns[0], own, replica_name, arns[1], region)
            ),
            opts=self._opts(),
        )
        aws.s3.BucketReplicationConfig(
            self._child("replication"),
            bucket=source.bucket.id,
            role=role.arn,
            rules=[
                {
                    "id": "all",
                    "status": "Enabled",
                    "priority": 1,
                    "filter": {"prefix": ""},
                    # What somebody deletes here, by mistake or not, stays there.
                    "delete_marker_replication": {"status": "Disabled"},
                    "source_selection_criteria": {
                        "sse_kms_encrypted_objects": {"status": "Enabled"}
                    },
                    "destination": {
                        "bucket": replica.bucket.arn,
                        "storage_class": "STANDARD_IA",
                        "encryption_configuration": {"replica_kms_key_id": key.arn},
                        "metrics": {"status": "Enabled"},
                    },
                }
            ],
            # Both buckets must have versions before.
            opts=self._opts(depends_on=[*source.settled, *replica.settled, allowed]),
        )
        return role

    def _access_logs(
        self, bucket: aws.s3.Bucket, bucket_name: str, region: str, key: aws.kms.Key
    ) -> None:
        """Log each request to a bucket of its own. S3 delivers logs to buckets with S3's own keys only."""
        name = naming.physical_name(bucket_name, "access-logs", limit=_BUCKET_LIMIT)
        logs = aws.s3.Bucket(
            self._child("access-logs"),
            bucket=name,
            force_destroy=False,
            tags=self._tags("access-logs"),
            opts=self._opts(protect=True),
        )
        closed = self._close("access-logs", logs)
        aws.s3.BucketServerSideEncryptionConfiguration(
            self._child("access-logs-encryption"),
            bucket=logs.id,
            rules=[{"apply_server_side_encryption_by_default": {"sse_algorithm": "AES256"}}],
            opts=self._opts(),
        )
        aws.s3.BucketLifecycleConfiguration(
            self._child("access-logs-lifecycle"),
            bucket=logs.id,
            rules=[
                {
                    "id": "expire",
                    "status": "Enabled",
                    "filter": {"prefix": ""},
                    "expiration": {"days": ACCESS_LOG_DAYS},
                    "abort_incomplete_multipart_upload": {"days_after_initiation": 7},
                }
            ],
            opts=self._opts(),
        )
        # The key's ARN names the account, which a bucket's does not.
        policy = aws.s3.BucketPolicy(
            self._child("access-logs-policy"),
            bucket=logs.id,
            policy=key.arn.apply(
                lambda arn: iam.log_bucket_policy(name, region, bucket_name, iam.account_of(arn))
            ),
            opts=self._opts(depends_on=closed),
        )
        aws.s3.BucketLogging(
            self._child("logging"),
            bucket=bucket.id,
            target_bucket=logs.id,
            target_prefix="s3/",
            opts=self._opts(depends_on=[policy]),
        )


def _check(name: str, args: AwsArtifactStoreArgs) -> str:
    """The URI; refuses what S3 would, and what would leave the server without a way to its objects."""
    network, replica = args["network"], args.get("replica_region")
    for key in ("expire_multipart_days", "keep_deleted_days", "tiering_days"):
        days = args.get(key)
        if days is not None and int(str(days)) < 1:
            raise ValueError(f"{name}: {key}: must be ≥ 1 (got {days})")
    if replica == network["region"]:
        raise ValueError(f"{name}: replica_region: must be another region than {replica}")
    if "s3_endpoint" not in network and (args.get("vpc_only", True) or args.get("clients")):
        key = "vpc_only" if args.get("vpc_only", True) else "clients"
        raise ValueError(
            f"{name}: {key}: the VPC has no endpoint for S3; give the network one, or vpc_only: false without clients"
        )
    try:
        return uris.artifact_uri("s3", args["bucket"], args.get("prefix", ""))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _lifecycle(args: AwsArtifactStoreArgs) -> list[aws.s3.BucketLifecycleConfigurationRuleArgsDict]:
    rules: list[aws.s3.BucketLifecycleConfigurationRuleArgsDict] = [
        {
            "id": "unfinished-uploads",
            "status": "Enabled",
            "filter": {"prefix": ""},
            "abort_incomplete_multipart_upload": {
                "days_after_initiation": args.get("expire_multipart_days", 7)
            },
        },
        {
            "id": "deleted",
            "status": "Enabled",
            "filter": {"prefix": ""},
            "noncurrent_version_expiration": {
                "noncurrent_days": args.get("keep_deleted_days", DELETED_DAYS)
            },
            # The marker of a deletion goes when nothing is left below it.
            "expiration": {"expired_object_delete_marker": True},
        },
    ]
    tiering = args.get("tiering_days")
    if tiering:
        rules.append(
            {
                "id": "tiering",
                "status": "Enabled",
                "filter": {"prefix": ""},
                "transitions": [{"days": tiering, "storage_class": "INTELLIGENT_TIERING"}],
            }
        )
    return rules
