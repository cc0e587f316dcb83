"""RDS: PostgreSQL, MySQL or MariaDB, or Aurora, that answers only TLS from the VPC.

The administrator's password is RDS's own: kept in Secrets Manager and rotated by RDS, known to no program but the
migration, which makes the server's user by it. So a rotation never touches the server, and the server is not the
administrator.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple, NotRequired, Optional, TypedDict

import pulumi
import pulumi_aws as aws

from ..contracts import DatabaseEndpoint
from ..core import aws_database, iam, uris
from ..generated import GeneratedSecret
from ..guard import DataGuard
from .common import AwsComponent
from .network import AwsNetworkPlace

ADMIN = aws_database.ADMIN

_LOGS = {"postgresql": ["postgresql", "upgrade"], "mysql": ["error", "slowquery"]}
"""Logs that go to CloudWatch, by what the engine speaks."""


class _Wanted(NamedTuple):
    """What is to be made, once it is known to be possible."""

    engine: str
    speaks: str
    version: str
    family: str
    instance_class: str
    database: str
    username: str
    port: int
    parameters: Sequence[aws_database.Parameter]
    insights: bool


class _Made(NamedTuple):
    """What the others need of an instance or a cluster."""

    arn: pulumi.Output[str]
    identifier: pulumi.Output[str]
    resource_id: pulumi.Output[str]
    host: pulumi.Output[str]
    read_host: Optional[pulumi.Output[str]]
    admin_secret: pulumi.Output[str]


_LOGINS = {
    "postgresql": "POSTGRES_SCRAM_SHA_256",
    "mysql": "MYSQL_CACHING_SHA2_PASSWORD",
    "mariadb": "MYSQL_NATIVE_PASSWORD",
}
"""How servers log in at RDS Proxy, by what the engine speaks."""


class AwsDatabaseProxyArgs(TypedDict):
    """RDS Proxy between servers and database."""

    ca: NotRequired[pulumi.Input[str]]
    """PEM of Amazon's own authorities, which sign its certificate, not RDS's; unverified TLS unless given."""
    connections_percent: NotRequired[int]
    """Share of the database's connections that it may use; 80 unless given."""


class AwsDatabaseArgs(TypedDict):
    """Arguments of AwsDatabase."""

    network: AwsNetworkPlace
    """The VPC that it is in."""
    engine: NotRequired[str]
    """`postgresql`, `mysql`, `mariadb`, `aurora-postgresql` or `aurora-mysql`; `postgresql` unless given."""
    version: NotRequired[str]
    """RDS's version; `15` (8.0 for MySQL, 10.11 for MariaDB) unless given. Without a minor RDS keeps that new."""
    instance_class: NotRequired[str]
    """Such as `db.r7g.large`; `db.t4g.medium` unless given."""
    name: NotRequired[str]
    """Name of the database; `mlflow` unless given."""
    username: NotRequired[str]
    """The server's user, which the migration makes; `mlflow` unless given."""
    max_connections: NotRequired[int]
    """Connections that it accepts; 150 unless given. Another number counts after a restart (PostgreSQL)."""
    storage_gb: NotRequired[int]
    """Disk, in GiB; 50 unless given. It can only grow; Aurora's does so by itself."""
    max_storage_gb: NotRequired[int]
    """Up to where the disk grows by itself, in GiB; four times `storage_gb` unless given."""
    multi_az: NotRequired[bool]
    """Whether a second one stands by in another zone; yes unless given."""
    backup_days: NotRequired[int]
    """Days of point-in-time recovery, 1 to 35; 14 unless given."""
    backup_region: NotRequired[Optional[str]]
    """Another region that backups are copied to; none unless given. Not with Aurora: AwsBackup copies that. Copies are
    kept for `backup_days` as they were when it was first given."""
    iam_auth: NotRequired[bool]
    """Whether people may log in by their AWS identity, see `login_policy`; no unless given."""
    replica: NotRequired[bool]
    """Whether a read replica answers searches; no unless given."""
    proxy: NotRequired[Optional[AwsDatabaseProxyArgs]]
    """RDS Proxy between servers and database; none unless given."""
    ca: NotRequired[pulumi.Input[str]]
    """PEM of RDS's authorities in this region, by which its certificate is verified; unverified TLS unless given."""
    apply_immediately: NotRequired[bool]
    """Whether a change of class or version interrupts now instead of in the maintenance window; no unless given."""
    allow_major_upgrade: NotRequired[bool]
    """Whether another major version is taken, which nothing takes back; no unless given."""
    deletion_protection: NotRequired[bool]
    """Whether RDS itself refuses to delete it, whoever asks; yes unless given. Off only to take it away for good."""
    places: NotRequired[list[str]]
    """Further places that reach it, such as `cluster:mlflow-prod` in the same VPC."""
    deployment: NotRequired[str]
    """Prefix of physical names; `<project>-<stack>` unless given."""


class AwsDatabase(AwsComponent):
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
        wanted = _check(name, args)
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
        key = self._key("key", f"Database of {self._deployment}")
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
            **_tls(args.get("ca")),
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

    def _instance(
        self,
        args: AwsDatabaseArgs,
        wanted: _Wanted,
        key: aws.kms.Key,
        group: aws.ec2.SecurityGroup,
        subnets: aws.rds.SubnetGroup,
        guard: DataGuard,
    ) -> _Made:
        parameters = aws.rds.ParameterGroup(
            self._child("parameters"), **self._parameters(wanted), opts=self._opts()
        )
        role = self._monitoring_role(key, args["network"]["region"])
        storage = args.get("storage_gb", 50)
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
            parameter_group_name=parameters.name,
            backup_retention_period=args.get("backup_days", 14),
            backup_window="02:00-03:00",
            maintenance_window="sun:03:30-sun:04:30",
            copy_tags_to_snapshot=True,
            # What is left when somebody deletes it all the same.
            delete_automated_backups=False,
            skip_final_snapshot=False,
            final_snapshot_identifier=self._short("final"),
            deletion_protection=args.get("deletion_protection", True),
            enabled_cloudwatch_logs_exports=_LOGS.get(wanted.speaks, _LOGS["mysql"]),
            **_insights(wanted, key),
            monitoring_interval=60,
            monitoring_role_arn=role.arn,
            apply_immediately=args.get("apply_immediately", False),
            tags=self._tags(),
            opts=self._opts(protect=True, depends_on=[guard]),
        )
        backup_region = args.get("backup_region")
        if backup_region:
            copy_key = self._key("backup-key", f"Backups of {self._deployment}", backup_region)
            aws.rds.InstanceAutomatedBackupsReplication(
                self._child("backup-copy"),
                source_db_instance_arn=instance.arn,
                kms_key_id=copy_key.arn,
                retention_period=args.get("backup_days", 14),
                region=backup_region,
                # AWS takes no other number of days for what there is: it would be made anew, without its copies.
                opts=self._opts(protect=True, ignore_changes=["retentionPeriod"]),
            )
        read_host: Optional[pulumi.Output[str]] = None
        if args.get("replica", False):
            replica = aws.rds.Instance(
                self._child("replica"),
                identifier=self._short("replica"),
                replicate_source_db=instance.identifier,
                instance_class=wanted.instance_class,
                max_allocated_storage=args.get("max_storage_gb", 4 * storage),
                storage_type="gp3",
                storage_encrypted=True,
                vpc_security_group_ids=[group.id],
                publicly_accessible=False,
                parameter_group_name=parameters.name,
                auto_minor_version_upgrade=True,
                copy_tags_to_snapshot=True,
                # It holds nothing that its source does not.
                skip_final_snapshot=True,
                **_insights(wanted, key),
                apply_immediately=args.get("apply_immediately", False),
                tags=self._tags("replica"),
                opts=self._opts(),
            )
            read_host = replica.address
        return _Made(
            arn=instance.arn,
            identifier=instance.identifier,
            resource_id=instance.resource_id,
            host=instance.address,
            read_host=read_host,
            admin_secret=instance.master_user_secrets.apply(lambda held: str(held[0].secret_arn)),
        )

    def _aurora(
        self,
        args: AwsDatabaseArgs,
        wanted: _Wanted,
        key: aws.kms.Key,
        group: aws.ec2.SecurityGroup,
        subnets: aws.rds.SubnetGroup,
        guard: DataGuard,
    ) -> _Made:
        """A cluster. Its storage spans three zones by itself; a second instance is what takes over."""
        parameters = aws.rds.ClusterParameterGroup(
            self._child("parameters"), **self._parameters(wanted), opts=self._opts()
        )
        role = self._monitoring_role(key, args["network"]["region"])
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
            db_cluster_parameter_group_name=parameters.name,
            backup_retention_period=args.get("backup_days", 14),
            preferred_backup_window="02:00-03:00",
            preferred_maintenance_window="sun:03:30-sun:04:30",
            copy_tags_to_snapshot=True,
            delete_automated_backups=False,
            skip_final_snapshot=False,
            final_snapshot_identifier=self._short("final"),
            deletion_protection=args.get("deletion_protection", True),
            enabled_cloudwatch_logs_exports=["postgresql"]
            if wanted.speaks == "postgresql"
            else ["error", "slowquery"],
            apply_immediately=args.get("apply_immediately", False),
            tags=self._tags(),
            opts=self._opts(protect=True, depends_on=[guard]),
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

        return _Made(
            arn=cluster.arn,
            identifier=cluster.cluster_identifier,
            resource_id=cluster.cluster_resource_id,
            host=answered(cluster.endpoint),
            read_host=answered(cluster.reader_endpoint) if replica else None,
            admin_secret=cluster.master_user_secrets.apply(lambda held: str(held[0].secret_arn)),
        )

    def _parameters(self, wanted: _Wanted) -> dict[str, Any]:
        """Arguments of a parameter group, an instance's or a cluster's."""
        return {
            # Another family is another group, and the old one is in use until the database has taken the new.
            "name": self._short(wanted.family.replace(".", "-")),
            "family": wanted.family,
            "parameters": [
                {"name": item.name, "value": item.value, "apply_method": _method(item)}
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

    def _proxy(
        self,
        proxy: AwsDatabaseProxyArgs,
        wanted: _Wanted,
        network: AwsNetworkPlace,
        key: aws.kms.Key,
        secret: GeneratedSecret,
        made: _Made,
        group: aws.ec2.SecurityGroup,
        shared: DatabaseEndpoint,
    ) -> DatabaseEndpoint:
        """RDS Proxy, which logs in to the database as the server's user, by a secret of its own."""
        held = aws.secretsmanager.Secret(
            self._child("user"),
            name=f"{self._deployment}/database-user",
            description="The user of the MLflow server, for RDS Proxy",
            kms_key_id=key.arn,
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
        endpoint.update(_tls(proxy.get("ca")))
        return endpoint


_VERSIONS = {
    "postgresql": "15",
    "mysql": "8.0",
    "mariadb": "10.11",
    "aurora-postgresql": "15",
    "aurora-mysql": "8.0",
}
"""Engine → the version where none is given: that of the other runtimes."""

_BACKUP_DAYS = range(1, 36)
"""RDS's own limits; 0 would turn backups off."""


def _check(name: str, args: AwsDatabaseArgs) -> _Wanted:
    """Refuse what RDS would, before anything is registered."""
    engine = args.get("engine", "postgresql")
    version = args.get("version") or _VERSIONS.get(engine, "")
    instance_class = args.get("instance_class", "db.t4g.medium")
    connections = args.get("max_connections", 150)
    database, username = args.get("name", "mlflow"), args.get("username", "mlflow")
    try:
        family = aws_database.family(engine, version)
        too_many = aws_database.check_connections(instance_class, connections)
        parameters = aws_database.parameters(engine, instance_class, connections)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    own, days, elsewhere = (
        args["network"]["region"],
        args.get("backup_days", 14),
        args.get("backup_region"),
    )
    reasons = {
        "max_connections": too_many,
        "username": f"{ADMIN} is the administrator's; take another"
        if username == ADMIN
        else aws_database.check_name(username),
        "name": aws_database.check_name(database),
        "backup_days": None if days in _BACKUP_DAYS else f"must be 1 to 35 (got {days})",
        "backup_region": _check_copy(engine, own, elsewhere),
    }
    for key, reason in reasons.items():
        if reason:
            raise ValueError(f"{name}: {key}: {reason}")
    speaks = aws_database.AURORA.get(engine, engine)
    port = uris.default_port(speaks)
    return _Wanted(
        engine=engine,
        speaks=speaks,
        version=version,
        family=family,
        instance_class=instance_class,
        database=database,
        username=username,
        port=port or 0,
        parameters=parameters,
        insights=aws_database.has_insights(engine, instance_class),
    )


def _check_copy(engine: str, own: str, elsewhere: Optional[str]) -> Optional[str]:
    """Why backups cannot be copied to a region, or None."""
    if elsewhere and engine in aws_database.AURORA:
        return "RDS copies no automated backups of Aurora; use AwsBackup's copy_region"
    return f"must be another region than {own}" if elsewhere == own else None


def _insights(wanted: _Wanted, key: aws.kms.Key) -> dict[str, Any]:
    """Arguments of Performance Insights, for each instance."""
    if not wanted.insights:
        return {"performance_insights_enabled": False}
    return {
        "performance_insights_enabled": True,
        "performance_insights_kms_key_id": key.arn,
        # A week costs nothing.
        "performance_insights_retention_period": 7,
    }


def _method(parameter: aws_database.Parameter) -> str:
    return "pending-reboot" if parameter.reboot else "immediate"


def _tls(ca: Optional[pulumi.Input[str]]) -> DatabaseEndpoint:
    """The server refuses plain text in any case; by the authorities' certificates clients know it is the server."""
    if ca is None:
        return DatabaseEndpoint(tls_mode="require")
    return DatabaseEndpoint(tls_mode="verify-full", ca=ca)
