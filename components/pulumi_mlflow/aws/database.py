"""RDS: PostgreSQL, MySQL or MariaDB, or Aurora, that answers only TLS from the VPC.

The administrator's password is RDS's own: kept in Secrets Manager and rotated by RDS, known to no program but the
migration, which makes the server's user by it. So a rotation never touches the server, and the server is not the
administrator.
"""

from typing import Optional

import pulumi
import pulumi_aws as aws

from ..contracts import DatabaseEndpoint
from ..core import aws_database, iam
from ..generated import GeneratedSecret
from ..guard import DataGuard
from .database_args import ADMIN, AwsDatabaseArgs, AwsDatabaseProxyArgs, check, tls
from .database_proxy import DatabasePool
from .database_server import DatabaseServer

__all__ = ["ADMIN", "AwsDatabase", "AwsDatabaseArgs", "AwsDatabaseProxyArgs"]


class AwsDatabase(DatabaseServer, DatabasePool):
    """A database server of RDS, protected, encrypted, backed up, and closed but to those who add a rule for themselves.

    Size, version, parameters and days update it in place. Engine and names are what it was made with: the guard refuses
    others at preview, since RDS would replace it.

    Raises:
        ValueError: an engine, version, class or number that RDS does not have, or too many connections for the class.
    """

    _role = "database"

    endpoint: DatabaseEndpoint
    """For servers: RDS Proxy's where there is one."""
    direct_endpoint: DatabaseEndpoint
    """For migrations: never through a proxy; names the administrator's secret."""
    read_endpoint: Optional[DatabaseEndpoint]
    """For searches; only with `replica`."""
    arn: pulumi.Output[str]
    """ARN of the instance or cluster, for backups and alarms."""
    identifier: pulumi.Output[str]
    """Its name, for alarms."""
    login_policy: pulumi.Output[str]
    """With `iam_auth`: the policy by which a person logs in as the user `people`, whom an administrator makes."""

    def __init__(
        self, name: str, args: AwsDatabaseArgs, opts: Optional[pulumi.ResourceOptions] = None
    ) -> None:
        wanted = check(name, args)
        super().__init__(name, args.get("deployment"), opts)
        network = args["network"]
        guard = DataGuard(
            self._child("guard"),
            self._role,
            {
                "mlflow:database.engine": wanted.engine,
                "mlflow:database.name": wanted.database,
                "mlflow:database.username": wanted.username,
            },
            opts,
            self,
        )
        secret = GeneratedSecret(self._child("password"), opts=self._opts())
        # The final snapshot and AWS Backup's copies are encrypted by it, and stay.
        key = self._key("key", f"Database of {self._deployment}", outlives=True)
        group = self._security_group("database", network["vpc_id"], "Database of MLflow")
        subnets = aws.rds.SubnetGroup(
            self._child("subnets"),
            name=self._short("subnets"),
            description="Private subnets",
            subnet_ids=network["private_subnets"],
            tags=self._tags("subnets"),
            opts=self._opts(),
        )
        aurora = wanted.engine in aws_database.AURORA
        make = self._aurora if aurora else self._instance
        made = make(args, wanted, key, group, subnets, guard)
        self.arn, self.identifier = made.arn, made.identifier
        self.login_policy = pulumi.Output.all(made.arn, made.resource_id).apply(
            lambda known: iam.database_login(
                network["region"], iam.account_of(known[0]), known[1], "people"
            )
        )
        shared = DatabaseEndpoint(
            component=name,
            reach=[network["place"], *args.get("places", [])],
            engine=wanted.speaks,
            port=wanted.port,
            database=wanted.database,
            username=wanted.username,
            password=pulumi.Output.secret(secret.value),
            security_group=group.id,
            # RDS's own id is another one if it was made anew; the name would be the same.
            data=made.resource_id,
            **tls(args.get("ca")),
        )
        self.direct_endpoint = DatabaseEndpoint(
            **{
                **shared,
                "host": made.host,
                "admin_secret": made.admin_secret,
                "admin_key": key.arn,
            }
        )
        self.endpoint = self.direct_endpoint
        proxy = args.get("proxy")
        if proxy is not None:
            self.endpoint = self._proxy(proxy, wanted, network, key, secret, made, group, shared)
        self.read_endpoint = (
            DatabaseEndpoint(**{**shared, "host": made.read_host}) if made.read_host else None
        )
        self.register_outputs(
            {
                "endpoint": self.endpoint,
                "direct_endpoint": self.direct_endpoint,
                "read_endpoint": self.read_endpoint,
            }
        )
