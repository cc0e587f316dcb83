"""RDS itself: an instance or Aurora's cluster, with its parameters, logs and backups."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, Optional

import pulumi
import pulumi_aws as aws

from ..core import aws_database, iam
from ..guard import DataGuard
from .common import AwsComponent
from .database_args import ADMIN, AwsDatabaseArgs, Wanted

_LOGS = {"postgresql": ["postgresql", "upgrade"], "mysql": ["error", "slowquery"]}
"""Logs that go to CloudWatch, by what the engine speaks."""


class Made(NamedTuple):
    """What the others need of an instance or a cluster."""

    arn: pulumi.Output[str]
    identifier: pulumi.Output[str]
    resource_id: pulumi.Output[str]
    host: pulumi.Output[str]
    read_host: Optional[pulumi.Output[str]]
    admin_secret: pulumi.Output[str]


class DatabaseServer(AwsComponent):
    """The parts of AwsDatabase that hold data."""

    def _instance(
        self,
        args: AwsDatabaseArgs,
        wanted: Wanted,
        key: aws.kms.Key,
        group: aws.ec2.SecurityGroup,
        subnets: aws.rds.SubnetGroup,
        guard: DataGuard,
    ) -> Made:
        parameters = aws.rds.ParameterGroup(
            self._child("parameters"), **self._parameters(wanted), opts=self._opts()
        )
        role = self._monitoring_role(key, args["network"]["region"])
        storage = args.get("storage_gb", 50)
        exported = _LOGS.get(wanted.speaks, _LOGS["mysql"])
        logs = self._logs("instance", exported)
        instance = aws.rds.Instance(
            self._child("instance"),
            identifier=self._physical(),
            engine=aws_database.RDS[wanted.engine],
            engine_version=wanted.version,
            allow_major_version_upgrade=args.get("allow_major_upgrade", False),
            auto_minor_version_upgrade=True,
            instance_class=wanted.instance_class,
            allocated_storage=storage,
            max_allocated_storage=args.get("max_storage_gb", 4 * storage),
            storage_type="gp3",
            storage_encrypted=True,
            kms_key_id=key.arn,
            db_name=wanted.database,
            username=ADMIN,
            # RDS makes it, keeps it in Secrets Manager, and makes another every seven days.
            manage_master_user_password=True,
            master_user_secret_kms_key_id=key.arn,
            iam_database_authentication_enabled=args.get("iam_auth", False),
            multi_az=args.get("multi_az", True),
            db_subnet_group_name=subnets.name,
            vpc_security_group_ids=[group.id],
            publicly_accessible=False,
            parameter_group_name=parameters.id,
            backup_retention_period=args.get("backup_days", 14),
            backup_window=aws_database.BACKUP_WINDOW,
            maintenance_window=aws_database.MAINTENANCE_WINDOW,
            copy_tags_to_snapshot=True,
            # What is left when somebody deletes it all the same.
            delete_automated_backups=False,
            skip_final_snapshot=False,
            final_snapshot_identifier=self._final_snapshot(),
            deletion_protection=args.get("deletion_protection", True),
            enabled_cloudwatch_logs_exports=exported,
            **_insights(wanted, key),
            monitoring_interval=60,
            monitoring_role_arn=role.arn,
            apply_immediately=args.get("apply_immediately", False),
            tags=self._tags(),
            opts=self._data_opts(guard, logs),
        )
        backup_region = args.get("backup_region")
        if backup_region:
            copy_key = self._key(
                "backup-key", f"Backups of {self._deployment}", backup_region, outlives=True
            )
            aws.rds.InstanceAutomatedBackupsReplication(
                self._child("backup-copy"),
                source_db_instance_arn=instance.arn,
                kms_key_id=copy_key.arn,
                retention_period=args.get("backup_days", 14),
                region=backup_region,
                # AWS takes no other number of days for what there is: it would be made anew, without its copies.
                opts=self._opts(protect=True, ignore_changes=["retentionPeriod"]),
            )
        return Made(
            arn=instance.arn,
            identifier=instance.identifier,
            resource_id=instance.resource_id,
            host=instance.address,
            read_host=None,
            admin_secret=instance.master_user_secrets.apply(lambda held: str(held[0].secret_arn)),
        )

    def _aurora(
        self,
        args: AwsDatabaseArgs,
        wanted: Wanted,
        key: aws.kms.Key,
        group: aws.ec2.SecurityGroup,
        subnets: aws.rds.SubnetGroup,
        guard: DataGuard,
    ) -> Made:
        """A cluster. Its storage spans three zones by itself; a second instance is what takes over."""
        parameters = aws.rds.ClusterParameterGroup(
            self._child("parameters"), **self._parameters(wanted), opts=self._opts()
        )
        role = self._monitoring_role(key, args["network"]["region"])
        # Aurora logs an upgrade of PostgreSQL elsewhere.
        exported = [log for log in _LOGS[wanted.speaks] if log != "upgrade"]
        logs = self._logs("cluster", exported)
        cluster = aws.rds.Cluster(
            self._child("cluster"),
            cluster_identifier=self._physical(),
            engine=wanted.engine,
            engine_version=wanted.version,
            allow_major_version_upgrade=args.get("allow_major_upgrade", False),
            storage_encrypted=True,
            kms_key_id=key.arn,
            database_name=wanted.database,
            master_username=ADMIN,
            manage_master_user_password=True,
            master_user_secret_kms_key_id=key.arn,
            iam_database_authentication_enabled=args.get("iam_auth", False),
            db_subnet_group_name=subnets.name,
            vpc_security_group_ids=[group.id],
            db_cluster_parameter_group_name=parameters.id,
            backup_retention_period=args.get("backup_days", 14),
            preferred_backup_window=aws_database.BACKUP_WINDOW,
            preferred_maintenance_window=aws_database.MAINTENANCE_WINDOW,
            copy_tags_to_snapshot=True,
            delete_automated_backups=False,
            skip_final_snapshot=False,
            final_snapshot_identifier=self._final_snapshot(),
            deletion_protection=args.get("deletion_protection", True),
            enabled_cloudwatch_logs_exports=exported,
            apply_immediately=args.get("apply_immediately", False),
            tags=self._tags(),
            opts=self._data_opts(guard, logs),
        )
        replica = args.get("replica", False)
        count = 2 if args.get("multi_az", True) or replica else 1
        instances = [
            aws.rds.ClusterInstance(
                self._child(f"instance-{number}"),
                identifier=self._short(str(number)),
                cluster_identifier=cluster.id,
                engine=aws.rds.EngineType(wanted.engine),
                engine_version=cluster.engine_version,
                instance_class=wanted.instance_class,
                db_subnet_group_name=subnets.name,
                publicly_accessible=False,
                auto_minor_version_upgrade=True,
                **_insights(wanted, key),
                monitoring_interval=60,
                monitoring_role_arn=role.arn,
                apply_immediately=args.get("apply_immediately", False),
                tags=self._tags(str(number)),
                opts=self._opts(),
            )
            for number in range(1, count + 1)
        ]

        def answered(host: pulumi.Output[str]) -> pulumi.Output[str]:
            """A cluster has an address before any instance answers there."""
            return pulumi.Output.all(host, *(item.id for item in instances)).apply(
                lambda known: str(known[0])
            )

        return Made(
            arn=cluster.arn,
            identifier=cluster.cluster_identifier,
            resource_id=cluster.cluster_resource_id,
            host=answered(cluster.endpoint),
            read_host=answered(cluster.reader_endpoint) if replica else None,
            admin_secret=cluster.master_user_secrets.apply(lambda held: str(held[0].secret_arn)),
        )

    def _final_snapshot(self) -> str:
        """Name of the last copy, which RDS makes when the database is deleted: of the time when that was made.

        The snapshot stays, and a second one of the same name would be refused, and with it the second deletion.
        """
        return self._short("final", datetime.now(UTC).strftime("%Y%m%d%H%M%S"))

    def _data_opts(
        self, guard: DataGuard, logs: Sequence[pulumi.Resource]
    ) -> pulumi.ResourceOptions:
        """Of what holds the data."""
        return self._opts(
            protect=True,
            depends_on=[guard, *logs],
            # Its name is of the time when the database was made.
            ignore_changes=["finalSnapshotIdentifier"],
        )

    def _logs(self, what: str, exported: Sequence[str]) -> list[aws.cloudwatch.LogGroup]:
        """Log groups, before RDS makes them by itself, which keeps logs for ever.

        https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_LogAccess.Procedural.UploadtoCloudWatch.html

        Args:
            what: `instance` or `cluster`.
            exported: RDS's names of the logs.
        """
        return [
            self._log_group(f"log-{log}", f"/aws/rds/{what}/{self._physical()}/{log}")
            for log in exported
        ]

    def _parameters(self, wanted: Wanted) -> dict[str, Any]:
        """Arguments of a parameter group, an instance's or a cluster's."""
        return {
            # Another family is another group, and the old one is in use until the database has taken the new. Its name
            # never comes again: an upgrade that failed and was taken back would find it taken.
            "name_prefix": f"{self._short(wanted.family.replace('.', '-'))}-",
            "family": wanted.family,
            "parameters": [
                {
                    "name": item.name,
                    "value": item.value,
                    "apply_method": "immediate" if item.immediate else "pending-reboot",
                }
                for item in wanted.parameters
            ],
            "description": f"MLflow on {wanted.family}",
            "tags": self._tags("parameters"),
        }

    def _monitoring_role(self, key: aws.kms.Key, region: str) -> aws.iam.Role:
        """Who writes the machine's own figures (RDS Enhanced Monitoring), each minute."""
        role = aws.iam.Role(
            self._child("monitoring-role"),
            name=self._short("monitoring"),
            # The key's ARN names the account.
            assume_role_policy=key.arn.apply(
                lambda arn: iam.trust(
                    "monitoring.rds.amazonaws.com", iam.own_account(iam.account_of(arn))
                )
            ),
            tags=self._tags("monitoring"),
            opts=self._opts(),
        )
        aws.iam.RolePolicyAttachment(
            self._child("monitoring-policy"),
            role=role.name,
            # AWS's own: it is for RDSOSMetrics, a log group of AWS's, and nothing else.
            policy_arn=iam.managed_policy("service-role/AmazonRDSEnhancedMonitoringRole", region),
            opts=self._opts(),
        )
        return role


def _insights(wanted: Wanted, key: aws.kms.Key) -> dict[str, Any]:
    """Arguments of Performance Insights, for each instance."""
    if not wanted.insights:
        return {"performance_insights_enabled": False}
    return {
        "performance_insights_enabled": True,
        "performance_insights_kms_key_id": key.arn,
        # A week costs nothing.
        "performance_insights_retention_period": 7,
    }
