"""AWS Backup: copies of database and bucket in locked vaults, here and far away, restored for a test each week."""

from typing import NotRequired, Optional, TypedDict

import pulumi
import pulumi_aws as aws

from ..core import iam, naming
from .backup_opt_in import AwsBackupOptIn
from .common import AwsComponent
from .network import AwsNetworkPlace

_NAME_LIMIT = 50
"""Characters of the name of a vault, a selection, a plan."""

_DAILY, _MONTHLY = "cron(0 5 * * ? *)", "cron(0 7 1 * ? *)"
"""When copies start, in UTC: AWS Backup fails in RDS's own windows (`aws_database`), and in the hour before them."""

_START_MINUTES = 60
"""Within which a copy starts: the least that AWS takes. The other rule starts later, or AWS would follow only one."""

_MONTHLY_DAYS = 365
_LEAST_DAYS, _MOST_DAYS = 7, 400
"""What the lock lets through: shorter could be used to have copies vanish, longer to have them cost for ever."""

_POLICIES = (
    "service-role/AWSBackupServiceRolePolicyForBackup",
    "service-role/AWSBackupServiceRolePolicyForRestores",
    "AWSBackupServiceRolePolicyForS3Backup",
    "AWSBackupServiceRolePolicyForS3Restore",
)
"""AWS's own: what a backup and a restore of RDS and S3 take is documented as these alone."""

TYPES = ("RDS", "Aurora", "S3")
"""Kinds of resource whose restore is tested."""


class AwsBackupRoleArgs(TypedDict):
    """Arguments of AwsBackupRole."""

    network: AwsNetworkPlace
    """The VPC of the stack, whose region is the partition's."""
    deployment: NotRequired[str]
    """Prefix of physical names; `<project>-<stack>` unless given."""


class AwsBackupRole(AwsComponent):
    """The role of AWS Backup, made before the bucket: that must trust it, since it comes from outside of the VPC."""

    _role = "backup"

    arn: pulumi.Output[str]
    """For `trusted_roles` of AwsArtifactStore and `role` of AwsBackup; known once it may do its work."""

    def __init__(
        self, name: str, args: AwsBackupRoleArgs, opts: Optional[pulumi.ResourceOptions] = None
    ) -> None:
        super().__init__(name, args.get("deployment"), opts)
        role = aws.iam.Role(
            self._child("role"),
            name=self._short("service"),
            assume_role_policy=iam.trust("backup.amazonaws.com"),
            tags=self._tags("service"),
            opts=self._opts(),
        )
        granted = [
            aws.iam.RolePolicyAttachment(
                self._child(f"policy-{number}"),
                role=role.name,
                policy_arn=iam.managed_policy(policy, args["network"]["region"]),
                opts=self._opts(),
            )
            for number, policy in enumerate(_POLICIES)
        ]
        self.arn = pulumi.Output.all(role.arn, *(item.id for item in granted)).apply(
            lambda known: str(known[0])
        )
        self.register_outputs({"arn": self.arn})


class AwsBackupArgs(TypedDict):
    """Arguments of AwsBackup."""

    region: str
    """Region of the stack."""
    role: pulumi.Input[str]
    """`AwsBackupRole.arn`."""
    resources: list[pulumi.Input[str]]
    """ARNs of what is backed up: `AwsDatabase.arn`, `AwsArtifactStore.bucket_arn`."""
    keep_days: NotRequired[int]
    """Days that daily copies are kept, 7 to 400; 35 unless given. Monthly ones are kept for a year."""
    copy_region: NotRequired[Optional[str]]
    """Another region that every copy is copied to, in a vault of its own; none unless given."""
    immutable_after_days: NotRequired[Optional[int]]
    """Days after which nobody, AWS included, can take the lock off or delete a copy early: not to be undone. Without,
    whoever may administer the vault can."""
    test_types: NotRequired[list[str]]
    """Kinds that are restored for a test each week: `RDS`, `Aurora`, `S3`; `RDS` unless given. A restore costs what the
    restored thing does, for some hours."""
    deployment: NotRequired[str]
    """Prefix of physical names; `<project>-<stack>` unless given."""


class AwsBackup(AwsComponent):
    """A daily and a monthly copy of all that holds data, in vaults that nobody empties before their time.

    `up` fails before the selection where the account has not opted in to what is backed up; see `AwsBackupOptIn`.

    Raises:
        ValueError: nothing to back up, days that the lock does not let through, a copy in the same region, or a kind
            that cannot be tested.
    """

    _role = "backup"

    vault: pulumi.Output[str]
    """Name of the vault."""
    restore_plan: pulumi.Output[str]
    """Name of the restore testing plan, for alarms."""

    def __init__(
        self, name: str, args: AwsBackupArgs, opts: Optional[pulumi.ResourceOptions] = None
    ) -> None:
        _check(name, args)
        super().__init__(name, args.get("deployment"), opts)
        lock, copy_region = args.get("immutable_after_days"), args.get("copy_region")
        vault = self._vault("vault", lock)
        keep = args.get("keep_days", 35)
        far = self._vault("copy", lock, copy_region) if copy_region else None

        def rule(role: str, schedule: str, days: int) -> aws.backup.PlanRuleArgsDict:
            copied: list[aws.backup.PlanRuleCopyActionArgsDict] = []
            if far:
                copied.append(
                    {"destination_vault_arn": far.arn, "lifecycle": {"delete_after": days}}
                )
            return {
                "rule_name": role,
                "target_vault_name": vault.name,
                "schedule": schedule,
                "start_window": _START_MINUTES,
                "completion_window": 720,
                "lifecycle": {"delete_after": days},
                "copy_actions": copied,
                # Continuous backups would change RDS's own settings behind ours.
                "enable_continuous_backup": False,
                "recovery_point_tags": self._tags(role),
            }

        plan = aws.backup.Plan(
            self._child("plan"),
            name=self._within_limit("backup-plan"),
            rules=[
                rule("daily", _DAILY, keep),
                rule("monthly", _MONTHLY, _MONTHLY_DAYS),
            ],
            tags=self._tags("plan"),
            opts=self._opts(),
        )
        allowed = AwsBackupOptIn(
            self._child("opt-in"),
            args["region"],
            args["resources"],
            # An account's first vault or plan in a region opts it in to all that there is.
            self._opts(depends_on=[plan]),
        )
        aws.backup.Selection(
            self._child("selection"),
            name=self._within_limit("data"),
            plan_id=plan.id,
            iam_role_arn=args["role"],
            resources=args["resources"],
            opts=self._opts(depends_on=[allowed]),
        )
        testing = aws.backup.RestoreTestingPlan(
            self._child("restore-test"),
            # Letters, digits and _ only.
            name=self._within_limit("restore").replace("-", "_"),
            schedule_expression="cron(0 6 ? * SUN *)",
            start_window_hours=4,
            recovery_point_selection={
                "algorithm": "LATEST_WITHIN_WINDOW",
                "include_vaults": [vault.arn],
                "recovery_point_types": ["SNAPSHOT"],
                "selection_window_days": 7,
            },
            tags=self._tags("restore-test"),
            opts=self._opts(),
        )
        for kind in args.get("test_types", ["RDS"]):
            aws.backup.RestoreTestingSelection(
                self._child(f"restore-{kind.lower()}"),
                name=kind.lower(),
                restore_testing_plan_name=testing.name,
                protected_resource_type=kind,
                # Only what is ours: the vault may hold more one day. The provider takes conditions or ARNs, not both.
                protected_resource_conditions={
                    "string_equals": [
                        {
                            "key": "aws:ResourceTag/pulumi-mlflow/deployment",
                            "value": self._deployment,
                        }
                    ]
                },
                iam_role_arn=args["role"],
                # Then AWS takes down what it restored.
                validation_window_hours=1,
                opts=self._opts(),
            )
        self.vault, self.restore_plan = vault.name, testing.name
        self.register_outputs({"vault": self.vault, "restore_plan": self.restore_plan})

    def _within_limit(self, role: str) -> str:
        """Physical name within AWS Backup's limit."""
        return naming.physical_name(self._deployment, role, limit=_NAME_LIMIT)

    def _vault(
        self, role: str, lock: Optional[int], region: Optional[str] = None
    ) -> aws.backup.Vault:
        """A locked vault with a key of its own, of the bucket's copies and of all that come from another region.

        Copies of RDS keep the database's key, as its snapshots do.
        """
        key = self._key(f"{role}-key", f"Backups of {self._deployment}", region, outlives=True)
        vault = aws.backup.Vault(
            self._child(role),
            name=self._within_limit(role),
            kms_key_arn=key.arn,
            force_destroy=False,
            region=region,
            tags=self._tags(role),
            opts=self._opts(protect=True),
        )
        aws.backup.VaultLockConfiguration(
            self._child(f"{role}-lock"),
            backup_vault_name=vault.name,
            min_retention_days=_LEAST_DAYS,
            max_retention_days=_MOST_DAYS,
            # Without it the lock is one that an administrator can take off ("governance").
            changeable_for_days=lock,
            region=region,
            # It goes with its vault, and one that nobody can take off any more could go no other way.
            opts=self._opts(protect=True, retain_on_delete=True),
        )
        return vault


def _check(name: str, args: AwsBackupArgs) -> None:
    keep, lock = args.get("keep_days", 35), args.get("immutable_after_days")
    unknown = sorted(set(args.get("test_types", [])) - set(TYPES))
    least = 3  # AWS's own limit
    reasons = {
        "resources": None if args["resources"] else "must name what is backed up",
        "keep_days": None
        if _LEAST_DAYS <= keep <= _MOST_DAYS
        else f"must be {_LEAST_DAYS} to {_MOST_DAYS} (got {keep})",
        "immutable_after_days": f"must be ≥ {least}, AWS's own limit (got {lock})"
        if lock is not None and lock < least
        else None,
        "copy_region": f"must be another region than {args['region']}"
        if args.get("copy_region") == args["region"]
        else None,
        "test_types": f"{', '.join(unknown)} is none of {', '.join(TYPES)}" if unknown else None,
    }
    for key, reason in reasons.items():
        if reason:
            raise ValueError(f"{name}: {key}: {reason}")
