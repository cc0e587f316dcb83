"""CloudWatch: alarms that somebody must act on, a dashboard of the same, a budget."""

from typing import NotRequired, Optional, TypedDict

import pulumi
import pulumi_aws as aws

from ..core import aws_alarms, aws_database, iam
from .common import AwsComponent


class AwsMonitoringArgs(TypedDict):
    """Arguments of AwsMonitoring."""

    region: str
    """Region of the stack."""
    balancer: pulumi.Input[str]
    """`AwsAuthProxy.balancer`."""
    targets: pulumi.Input[str]
    """`AwsAuthProxy.target_group`."""
    door_service: pulumi.Input[str]
    """`AwsAuthProxy.service_name`."""
    cluster_name: pulumi.Input[str]
    """`AwsTrackingServer.cluster_name`."""
    server_service: pulumi.Input[str]
    """`AwsTrackingServer.service_name`."""
    database: NotRequired[Optional[pulumi.Input[str]]]
    """`AwsDatabase.identifier`; none for a database of others."""
    engine: NotRequired[str]
    """The database's engine; `postgresql` unless given."""
    instance_class: NotRequired[str]
    """The database's class; `db.t4g.medium` unless given."""
    max_connections: NotRequired[int]
    """Connections that the database accepts; 150 unless given."""
    storage_gb: NotRequired[int]
    """The database's disk, in GiB; 50 unless given."""
    replica: NotRequired[Optional[pulumi.Input[str]]]
    """Name of the database's read replica; none unless given. Any text for Aurora, whose replicas are its own."""
    replicas: NotRequired[int]
    """Fewest servers; 2 unless given."""
    emails: NotRequired[list[str]]
    """Who is told. Each must confirm a mail of AWS's; alarms are shown, and nobody is told, without."""
    budget_usd: NotRequired[Optional[float]]
    """What the stack may cost a month, in US dollars; no budget unless given."""
    deployment: NotRequired[str]
    """Prefix of physical names; `<project>-<stack>` unless given."""


class AwsMonitoring(AwsComponent):
    """Alarms, a dashboard, and a budget of what carries the stack's tag.

    Raises:
        ValueError: a budget without anybody to tell, or a class of RDS that there is not.
    """

    _role = "monitoring"

    topic: pulumi.Output[str]
    """ARN of the topic that alarms go to; further subscribers may be added to it."""

    def __init__(
        self, name: str, args: AwsMonitoringArgs, opts: Optional[pulumi.ResourceOptions] = None
    ) -> None:
        emails, budget = args.get("emails", []), args.get("budget_usd")
        stack = _stack(name, args)
        super().__init__(name, args.get("deployment"), opts)
        topic = aws.sns.Topic(
            self._child("topic"),
            # Names of metrics and numbers: nothing secret, and CloudWatch cannot use AWS's own key.
            name=self._short("alarms"),
            tags=self._tags("alarms"),
            opts=self._opts(),
        )
        policy = aws.sns.TopicPolicy(
            self._child("topic-policy"),
            arn=topic.arn,
            policy=topic.arn.apply(iam.topic_policy),
            opts=self._opts(),
        )
        for email in dict.fromkeys(emails):
            aws.sns.TopicSubscription(
                self._child(f"email-{email}"),
                topic=topic.arn,
                protocol="email",
                endpoint=email,
                opts=self._opts(),
            )
        parts: dict[str, pulumi.Input[str]] = {
            aws_alarms.BALANCER: args["balancer"],
            aws_alarms.TARGETS: args["targets"],
            aws_alarms.CLUSTER: args["cluster_name"],
            aws_alarms.SERVICE: args["server_service"],
            aws_alarms.DOOR: args["door_service"],
            aws_alarms.DATABASE: args.get("database") or "",
            aws_alarms.REPLICA: args.get("replica") or "",
        }
        found = aws_alarms.alarms(stack)
        for alarm in found:
            aws.cloudwatch.MetricAlarm(
                self._child(alarm.name),
                name=f"{self._deployment}-{alarm.name}",
                alarm_description=alarm.meaning,
                namespace=alarm.namespace,
                metric_name=alarm.metric,
                dimensions={key: parts[part] for key, part in alarm.dimensions.items()},
                statistic=alarm.statistic,
                comparison_operator=alarm.comparison,
                threshold=alarm.threshold,
                period=aws_alarms.PERIOD_SECONDS,
                evaluation_periods=alarm.minutes,
                treat_missing_data=alarm.missing,
                alarm_actions=[topic.arn],
                ok_actions=[topic.arn],
                tags=self._tags(alarm.name),
                opts=self._opts(),
            )
        aws.cloudwatch.Dashboard(
            self._child("dashboard"),
            dashboard_name=self._whole(),
            dashboard_body=pulumi.Output.all(**parts).apply(
                lambda names: aws_alarms.dashboard(found, names, args["region"])
            ),
            opts=self._opts(),
        )
        if budget:
            self._budget(budget, emails, topic, policy)
        self.topic = topic.arn
        self.register_outputs({"topic": self.topic})

    def _budget(
        self, limit: float, emails: list[str], topic: aws.sns.Topic, policy: aws.sns.TopicPolicy
    ) -> None:
        """Tell at 80 % of what is spent, and where more than all is foreseen."""
        aws.budgets.Budget(
            self._child("budget"),
            name=self._short("budget"),
            budget_type="COST",
            limit_amount=f"{limit:g}",
            limit_unit="USD",
            time_unit="MONTHLY",
            # The tag counts once it has been activated in Billing (cost allocation tags).
            cost_filters=[
                {
                    "name": "TagKeyValue",
                    "values": [f"user:pulumi-mlflow/deployment${self._deployment}"],
                }
            ],
            notifications=[
                {
                    "comparison_operator": "GREATER_THAN",
                    "threshold": threshold,
                    "threshold_type": "PERCENTAGE",
                    "notification_type": kind,
                    "subscriber_email_addresses": emails,
                    "subscriber_sns_topic_arns": [topic.arn],
                }
                for threshold, kind in ((80, "ACTUAL"), (100, "FORECASTED"))
            ],
            tags=self._tags("budget"),
            opts=self._opts(depends_on=[policy]),
        )


def _stack(name: str, args: AwsMonitoringArgs) -> aws_alarms.Stack:
    budget = args.get("budget_usd")
    if budget is not None and (budget <= 0 or not args.get("emails")):
        raise ValueError(
            f"{name}: budget_usd: must be over 0, and emails must name whom to tell (got {budget:g} and "
            f"{len(args.get('emails', []))} addresses)"
        )
    aurora = args.get("engine", "postgresql") in aws_database.AURORA
    try:
        memory = aws_database.memory_mb(args.get("instance_class", "db.t4g.medium"))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return aws_alarms.Stack(
        replicas=args.get("replicas", 2),
        max_connections=args.get("max_connections", 150),
        memory_mb=memory if args.get("database") else 0,
        storage_gb=0 if aurora else args.get("storage_gb", 50),
        cluster=aurora,
        replica=bool(args.get("replica")),
    )
