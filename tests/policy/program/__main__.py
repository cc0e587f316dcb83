"""Registers resources under the providers' own types, without the providers: a pack judges those alike."""

from typing import Any

import pulumi

TAGS = {
    "pulumi-mlflow/deployment": "mlflow-test",
    "pulumi-mlflow/role": "database",
    "pulumi-mlflow/managed-by": "pulumi",
}


class Registered(pulumi.ComponentResource):
    """A resource of any type."""

    def __init__(self, typ: str, name: str, props: dict[str, Any], *, protect: bool = True) -> None:
        super().__init__(typ, name, props, pulumi.ResourceOptions(protect=protect))
        # As a provider answers: what was given. Rules over a whole stack see that.
        self.register_outputs(props)


config = pulumi.Config("mlflow")
bad = config.get("bad") == "yes"
Registered(
    "aws:rds/instance:Instance",
    "database",
    {
        "publiclyAccessible": bad,
        "storageEncrypted": True,
        "backupRetentionPeriod": 14,
        "deletionProtection": True,
        "password": pulumi.Output.secret("hunter22"),
        "tags": TAGS,
    },
    protect=not bad,
)
Registered("aws:s3/bucket:Bucket", "bucket", {"bucket": "b", "tags": TAGS})
for kind, props in {
    "bucketPublicAccessBlock:BucketPublicAccessBlock": dict.fromkeys(
        ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"),
        True,
    ),
    "bucketVersioning:BucketVersioning": {
        "versioningConfiguration": {"status": "Suspended" if bad else "Enabled"}
    },
    "bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": {
        "rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "aws:kms"}}]
    },
}.items():
    Registered(f"aws:s3/{kind}", kind.rsplit(":", 1)[1], {"bucket": "b", **props}, protect=False)
