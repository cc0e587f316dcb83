"""Whether AWS Backup may copy what it is told to, in this account and region.

What a selection names by its ARN is copied whatever the account has opted in to, but for Aurora, which AWS Backup then
passes over without a word: https://docs.aws.amazon.com/aws-backup/latest/devguide/assigning-resources.html

The setting is the account's, and other plans follow it too, so it is looked at and not changed.
"""

import re
from collections.abc import Sequence
from typing import Any

import boto3
import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider

_AURORA = re.compile(r"arn:[^:]+:rds:[^:]*:[^:]*:cluster:")


class OptInError(RuntimeError):
    """The account has not opted in to copies of something."""


def check(backup: Any, region: str, resources: Sequence[str]) -> None:
    """Refuse what AWS Backup would leave out.

    Args:
        backup: boto3's client; not asked where nothing needs it.
        region: that the copies are made in.
        resources: ARNs of what is to be copied.

    Raises:
        OptInError: Aurora is among it, and the account has not opted in.
    """
    if not any(_AURORA.match(arn) for arn in resources):
        return
    opted: dict[str, bool] = backup.describe_region_settings()["ResourceTypeOptInPreference"]
    if not opted.get("Aurora"):
        raise OptInError(
            f"AWS Backup copies no Aurora in {region} until the account opts in, for all of its plans there: "
            f"aws backup update-region-settings --region {region} --resource-type-opt-in-preference Aurora=true; "
            f"then up again"
        )


class _OptInProvider(ResourceProvider):
    serialize_as_secret_always = False

    def create(self, props: dict[str, Any]) -> CreateResult:
        region = props["region"]
        check(boto3.client("backup", region_name=region), region, props["resources"])
        return CreateResult(id_=region, outs=props)

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        changed = [key for key in ("region", "resources") if news[key] != olds.get(key)]
        return DiffResult(changes=bool(changed), replaces=changed, delete_before_replace=False)

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Nothing is left of it."""


class AwsBackupOptIn(Resource, module="pulumi-mlflow", name="AwsBackupOptIn"):
    """An account that AWS Backup copies these for; what depends on it comes after.

    Args:
        name: logical name.
        region: that the copies are made in.
        resources: ARNs of what is to be copied.
    """

    def __init__(
        self,
        name: str,
        region: str,
        resources: Sequence[pulumi.Input[str]],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {"region": region, "resources": list(resources)}
        super().__init__(_OptInProvider(), name, props, opts)
