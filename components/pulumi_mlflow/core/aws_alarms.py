"""CloudWatch: what wakes somebody up, and what they look at first."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

BALANCER, TARGETS, CLUSTER, SERVICE, DOOR, DATABASE, REPLICA = PARTS = (
    "balancer",
    "targets",
    "cluster",
    "service",
    "door",
    "database",
    "replica",
)
"""Parts of a stack that a dimension may name; their values are known only once they are made."""

PERIOD_SECONDS = 60
"""Of every metric here: CloudWatch has them by the minute."""


@dataclass(frozen=True)
class Alarm:
    """An alarm.

    Attributes:
        name: end of its name.
        namespace: CloudWatch's.
        metric: CloudWatch's.
        dimensions: dimension → one of `PARTS`.
        statistic: `Average`, `Sum`, `Maximum` or `Minimum`.
        comparison: CloudWatch's operator.
        threshold: in the metric's unit.
        minutes: how long it must be so.
        meaning: what it means, and what to do.
        missing: what no data mean: `notBreaching`, or `breaching` where silence is the fault.
    """

    name: str
    namespace: str
    metric: str
    dimensions: Mapping[str, str]
    statistic: str
    comparison: str
    threshold: float
    minutes: int
    meaning: str
    missing: str = "notBreaching"


@dataclass(frozen=True)
class Stack:
    """What alarms are for.

    Attributes:
        replicas: fewest servers.
        max_connections: of the database.
        memory_mb: of the database, in MiB.
        storage_gb: disk of the database, in GiB; 0 where it grows by itself (Aurora).
        cluster: whether the database is a cluster (Aurora).
        replica: whether it has a read replica of its own.
    """

    replicas: int
    max_connections: int
    memory_mb: int
    storage_gb: int
    cluster: bool = False
    replica: bool = False


_ABOVE, _BELOW = "GreaterThanThreshold", "LessThanThreshold"
_WEB, _ECS, _INSIGHTS, _RDS = "AWS/ApplicationELB", "AWS/ECS", "ECS/ContainerInsights", "AWS/RDS"


def alarms(stack: Stack) -> list[Alarm]:
    """Alarms of a stack: few, each of which somebody must act on.

    Args:
        stack: its sizes.
    """
    web = {"LoadBalancer": BALANCER}
    task = {"ClusterName": CLUSTER, "ServiceName": SERVICE}
    door = {"ClusterName": CLUSTER, "ServiceName": DOOR}
    data = {("DBClusterIdentifier" if stack.cluster else "DBInstanceIdentifier"): DATABASE}
    found = [
        Alarm(
            "server-errors",
            _WEB,
            "HTTPCode_Target_5XX_Count",
            web,
            "Sum",
            _ABOVE,
            10,
            5,
            "The server answers with errors: look at its log, and at the database's connections",
        ),
        Alarm(
            "balancer-errors",
            _WEB,
            "HTTPCode_ELB_5XX_Count",
            web,
            "Sum",
            _ABOVE,
            10,
            5,
            "The load balancer gets no answer: 502 and 503 are tasks that ended, 504 the idle time",
        ),
        Alarm(
            "unhealthy",
            _WEB,
            "UnHealthyHostCount",
            {**web, "TargetGroup": TARGETS},
            "Maximum",
            _ABOVE,
            0,
            10,
            "A front door has not answered for ten minutes: look at the events of its service",
        ),
        Alarm(
            "server-tasks",
            _INSIGHTS,
            "RunningTaskCount",
            task,
            "Minimum",
            _BELOW,
            stack.replicas,
            10,
            "Fewer servers run than should: look at the events of the service",
            missing="breaching",
        ),
        Alarm(
            "door-tasks",
            _INSIGHTS,
            "RunningTaskCount",
            door,
            "Minimum",
            _BELOW,
            1,
            5,
            "No front door runs: look at the events of its service",
            missing="breaching",
        ),
        Alarm(
            "server-cpu",
            _ECS,
            "CPUUtilization",
            task,
            "Average",
            _ABOVE,
            85,
            15,
            "Autoscaling has come to its end: raise max_replicas, and the database's connections",
        ),
        Alarm(
            "server-memory",
            _ECS,
            "MemoryUtilization",
            task,
            "Maximum",
            _ABOVE,
            90,
            10,
            "A server is about to be ended for its memory: raise memory_mb, or take fewer workers",
        ),
        Alarm(
            "database-cpu",
            _RDS,
            "CPUUtilization",
            data,
            "Average",
            _ABOVE,
            80,
            15,
            "Look at Performance Insights; a larger class, or a read replica for searches",
        ),
        Alarm(
            "database-connections",
            _RDS,
            "DatabaseConnections",
            data,
            "Maximum",
            _ABOVE,
            # Ten are for others (budgets.CONNECTION_HEADROOM); this comes before.
            int(stack.max_connections * 0.85),
            5,
            "Requests will soon wait for a connection and fail: RDS Proxy, or fewer workers",
        ),
        Alarm(
            "database-memory",
            _RDS,
            "FreeableMemory",
            data,
            "Minimum",
            _BELOW,
            stack.memory_mb * (1 << 20) // 20,
            15,
            "The database is about to swap: a larger class, or fewer connections",
        ),
    ]
    if stack.storage_gb:
        found.append(
            Alarm(
                "database-disk",
                _RDS,
                "FreeStorageSpace",
                data,
                "Minimum",
                _BELOW,
                stack.storage_gb * (1 << 30) // 10,
                5,
                "The disk no longer grows by itself: raise max_storage_gb",
            )
        )
    if stack.replica:
        found.append(
            Alarm(
                "replica-lag",
                _RDS,
                "AuroraReplicaLagMaximum" if stack.cluster else "ReplicaLag",
                data if stack.cluster else {"DBInstanceIdentifier": REPLICA},
                "Maximum",
                _ABOVE,
                # Aurora's is in milliseconds.
                60_000 if stack.cluster else 60,
                10,
                "Searches show what was a minute ago: a larger replica, or none",
            )
        )
    # Of a database that others run nothing is known.
    return [alarm for alarm in found if stack.memory_mb or alarm.namespace != _RDS]


def dashboard(found: list[Alarm], names: Mapping[str, str], region: str) -> str:
    """A dashboard with the metric of each alarm, its threshold drawn in.

    Args:
        found: from `alarms`.
        names: one of `PARTS` → its name.
        region: where they are.
    """
    widgets: list[dict[str, Any]] = []
    for number, alarm in enumerate(found):
        dimensions = [
            part
            for dimension, value in sorted(alarm.dimensions.items())
            for part in (dimension, names[value])
        ]
        widgets.append(
            {
                "type": "metric",
                "x": 8 * (number % 3),
                "y": 6 * (number // 3),
                "width": 8,
                "height": 6,
                "properties": {
                    "title": alarm.name,
                    "region": region,
                    "stat": alarm.statistic,
                    "period": PERIOD_SECONDS,
                    "metrics": [[alarm.namespace, alarm.metric, *dimensions]],
                    "annotations": {
                        "horizontal": [{"label": alarm.meaning, "value": alarm.threshold}]
                    },
                },
            }
        )
    return json.dumps({"widgets": widgets}, sort_keys=True)
