"""Memory of servers and connections of databases, by the numbers of the components (core/budgets.py)."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from pulumi_mlflow.core import aws_database, budgets
from pulumi_mlflow.core.plan import Resource, dig

from .finding import DOCKER_CONTAINER, Finding, items, kind, known, kubernetes, role, texts
from .workloads import TASK, Container, containers, servers

_POOL = "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE"
_OVERFLOW = "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW"


def memory(resources: Sequence[Resource]) -> Iterator[Finding]:
    """Servers with less memory than their workers need."""
    for server in servers(resources):
        limit, workers = server.memory_mb, _workers(server)
        if isinstance(limit, (int, float)) and workers:
            reason = budgets.check_memory(workers, int(limit))
            if reason:
                yield Finding(
                    server.resource,
                    f"memory of {server.name} {reason}",
                    f"give it {budgets.server_memory_mb(workers)} MiB, or fewer workers",
                )


def connections(resources: Sequence[Resource]) -> Iterator[Finding]:
    """Databases that accept fewer connections than all servers together open."""
    if any(one.type == "aws:rds/proxy:Proxy" for one in resources):
        # It opens a share of what the database accepts, and lets the others wait.
        return
    pooled = any(one.type == DOCKER_CONTAINER and role(one) == "pooler" for one in resources)
    opened = sum(_opened(server, resources) for server in servers(resources))
    if not opened:
        return
    if pooled:
        opened = min(opened, budgets.POOLER_CONNECTIONS)
    least = opened + budgets.CONNECTION_HEADROOM
    for database, limit in _limits(resources):
        if limit < least:
            yield Finding(
                database,
                f"it accepts {limit} connections, and all servers need {least} during a rollout",
                f"raise max_connections to {least}, or lower replicas, workers or the pools",
            )


def _opened(server: Container, resources: Sequence[Resource]) -> int:
    workers = _workers(server)
    if not workers:
        return 0
    return budgets.server_connections(
        workers,
        _replicas(server, resources),
        _whole(server.environment.get(_POOL), budgets.POOL_SIZE),
        _whole(server.environment.get(_OVERFLOW), budgets.MAX_OVERFLOW),
        own_users="--app-name" in server.words,
    )


def _workers(server: Container) -> int:
    words = server.words
    at = words.index("--workers") + 1 if "--workers" in words else len(words)
    return _whole(words[at], 0) if at < len(words) else 0


def _whole(value: Any, otherwise: int) -> int:
    return int(value) if isinstance(value, str) and value.isdigit() else otherwise


def _replicas(server: Container, resources: Sequence[Resource]) -> int:
    """The most that run at once of a server, old and new ones of a rollout counted; 1 where nothing says more."""
    resource = server.resource
    if resource.type == TASK:
        return max(
            (_of_service(one, resources) for one in _services(resource, resources)), default=1
        )
    if kubernetes(resource):
        name = resource.get("metadata", "name")
        scaled = [
            one.get("spec", "maxReplicas")
            for one in resources
            if kubernetes(one) == "HorizontalPodAutoscaler"
            and known(name)
            and one.get("spec", "scaleTargetRef", "name") == name
        ]
        wanted = [resource.get("spec", "replicas"), *scaled]
        most = max((int(one) for one in wanted if isinstance(one, (int, float))), default=1)
        return most + _surge(resource, most)
    return 1


def _surge(deployment: Resource, replicas: int) -> int:
    """How many more a rollout starts before old ones end; a quarter unless told otherwise, as Kubernetes does."""
    if deployment.get("spec", "strategy", "type") == "Recreate":
        return 0
    given = deployment.get("spec", "strategy", "rollingUpdate", "maxSurge")
    if isinstance(given, (int, float)):
        return int(given)
    percent = _number(str(given).removesuffix("%")) if isinstance(given, str) else 25
    return math.ceil(replicas * percent / 100)


def _services(task: Resource, resources: Sequence[Resource]) -> list[Resource]:
    return [
        one
        for one in resources
        if one.type == "aws:ecs/service:Service"
        and task.identity in one.refers.get("taskDefinition", ())
    ]


def _of_service(service: Resource, resources: Sequence[Resource]) -> int:
    name = service.get("name")
    most = [
        one.get("maxCapacity")
        for one in resources
        if one.type == "aws:appautoscaling/target:Target"
        and (
            service.identity in one.refers.get("resourceId", ())
            or (known(name) and str(one.get("resourceId")).endswith(f"/{name}"))
        )
    ]
    wanted = [service.get("desiredCount"), *most]
    count = max((int(one) for one in wanted if isinstance(one, (int, float))), default=1)
    percent = service.get("deploymentMaximumPercent")
    return int(count * (percent if isinstance(percent, (int, float)) else 200) // 100)


def _limits(resources: Sequence[Resource]) -> Iterator[tuple[Resource, int]]:
    """Databases of the stack, with the connections that they accept; without those that do not say."""
    for one in resources:
        if one.type == "aws:rds/instance:Instance" and one.get("replicateSourceDb") is None:
            limit = _of_group(one, resources)
        elif kubernetes(one) == "Cluster":
            limit = _number(one.get("spec", "postgresql", "parameters", "max_connections"))
        elif one.type == DOCKER_CONTAINER and role(one) == "database":
            limit = _of_command(one)
        else:
            continue
        if limit:
            yield one, limit


def _of_group(instance: Resource, resources: Sequence[Resource]) -> int:
    """Of the parameter group; else RDS's own default, which goes by memory."""
    for group in resources:
        if kind(group) == "ParameterGroup" and (
            group.identity in instance.refers.get("parameterGroupName", ())
            or (
                known(group.get("name")) and group.get("name") == instance.get("parameterGroupName")
            )
        ):
            for one in items(group.get("parameters")):
                if dig(one, "name") == "max_connections":
                    return _number(dig(one, "value"))
    made = instance.get("instanceClass")
    try:
        return aws_database.most_connections(made) if isinstance(made, str) else 0
    except ValueError:
        return 0


def _of_command(container: Resource) -> int:
    [found] = containers(container)
    for word in texts(list(found.command)):
        name, _, value = word.removeprefix("--").partition("=")
        if name.replace("-", "_") == "max_connections":
            return _number(value)
    return 0


def _number(value: Any) -> int:
    if isinstance(value, str) and value.isdigit():
        return int(value)
    return int(value) if isinstance(value, (int, float)) else 0
