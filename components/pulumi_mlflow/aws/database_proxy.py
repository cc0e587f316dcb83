"""RDS Proxy between servers and their database."""

import json

import pulumi
import pulumi_aws as aws

from ..contracts import DatabaseEndpoint
from ..core import aws_database, iam
from ..generated import GeneratedSecret
from .common import AwsComponent
from .database_args import AwsDatabaseProxyArgs, Wanted, tls
from .database_server import Made
from .network import AwsNetworkPlace

_LOGINS = {
    "postgresql": "POSTGRES_SCRAM_SHA_256",
    "mysql": "MYSQL_CACHING_SHA2_PASSWORD",
    "mariadb": "MYSQL_NATIVE_PASSWORD",
}
"""How servers log in at RDS Proxy, by what the engine speaks."""


class DatabasePool(AwsComponent):
    """The parts of AwsDatabase that share its connections among servers."""

    def _proxy(
        self,
        proxy: AwsDatabaseProxyArgs,
        wanted: Wanted,
        network: AwsNetworkPlace,
        key: aws.kms.Key,
        secret: GeneratedSecret,
        made: Made,
        group: aws.ec2.SecurityGroup,
        shared: DatabaseEndpoint,
    ) -> DatabaseEndpoint:
        """RDS Proxy, which logs in to the database as the server's user, by a secret of its own."""
        held = aws.secretsmanager.Secret(
            self._child("user"),
            # A prefix: a name whose secret was deleted is taken for the days of its recovery.
            name_prefix=f"{self._deployment}/database-user-",
            description="The user of the MLflow server, for RDS Proxy",
            kms_key_id=key.arn,
            recovery_window_in_days=7,
            tags=self._tags("user"),
            opts=self._opts(),
        )
        login: pulumi.Output[str] = secret.value.apply(
            lambda password: json.dumps(
                {"username": wanted.username, "password": password}, sort_keys=True
            )
        )
        hidden: pulumi.Output[str] = pulumi.Output.secret(login)
        aws.secretsmanager.SecretVersion(
            self._child("user-version"),
            secret_id=held.id,
            secret_string=hidden,
            opts=self._opts(),
        )
        role = aws.iam.Role(
            self._child("proxy-role"),
            name=self._short("proxy"),
            assume_role_policy=key.arn.apply(
                lambda arn: iam.trust("rds.amazonaws.com", iam.own_account(iam.account_of(arn)))
            ),
            tags=self._tags("proxy"),
            opts=self._opts(),
        )
        allowed = aws.iam.RolePolicy(
            self._child("proxy-access"),
            name="secrets",
            role=role.id,
            policy=pulumi.Output.all(held.arn, key.arn).apply(
                lambda arns: iam.read_secrets([arns[0]], network["region"], [arns[1]])
            ),
            opts=self._opts(),
        )
        before = self._security_group("proxy", network["vpc_id"], "RDS Proxy of MLflow")
        self._let("proxy-database", before.id, group.id, wanted.port, "RDS Proxy to database")
        made_proxy = aws.rds.Proxy(
            self._child("proxy"),
            name=self._short("proxy"),
            engine_family="POSTGRESQL" if wanted.speaks == "postgresql" else "MYSQL",
            auths=[
                {
                    "auth_scheme": "SECRETS",
                    "iam_auth": "DISABLED",
                    "secret_arn": held.arn,
                    "client_password_auth_type": _LOGINS[wanted.speaks],
                }
            ],
            require_tls=True,
            role_arn=role.arn,
            vpc_subnet_ids=network["private_subnets"],
            vpc_security_group_ids=[before.id],
            # Longer than the age at which the server's pools renew a connection.
            idle_client_timeout=3600,
            tags=self._tags("proxy"),
            opts=self._opts(depends_on=[allowed]),
        )
        aws.rds.ProxyDefaultTargetGroup(
            self._child("proxy-pool"),
            db_proxy_name=made_proxy.name,
            connection_pool_config={
                "max_connections_percent": proxy.get("connections_percent", 80),
                # One that waits longer than a request may take is told so.
                "connection_borrow_timeout": 30,
            },
            opts=self._opts(),
        )
        aurora = wanted.engine in aws_database.AURORA
        target = aws.rds.ProxyTarget(
            self._child("proxy-target"),
            db_proxy_name=made_proxy.name,
            target_group_name="default",
            db_cluster_identifier=made.identifier if aurora else None,
            db_instance_identifier=None if aurora else made.identifier,
            opts=self._opts(),
        )
        endpoint = DatabaseEndpoint(
            **{
                **shared,
                "host": pulumi.Output.all(made_proxy.endpoint, target.id).apply(
                    lambda known: str(known[0])
                ),
                "security_group": before.id,
            }
        )
        # Not those of RDS's own certificates.
        endpoint.pop("ca", None)
        endpoint.update(tls(proxy.get("ca")))
        return endpoint
