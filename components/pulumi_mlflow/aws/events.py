"""Steps of an AWS stack that are not things but events: a one-shot task, a rollout that has come to its end.

Both are dynamic resources that only exist once they have succeeded, as in docker/job.py: a failure fails `up` with the
log's end, what depends on them does not start, and the next `up` tries again.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import boto3
import pulumi
from botocore.exceptions import ClientError
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider

from .. import builds
from ..core import ecs as ecs_core

_POLL_SECONDS = 5
_SAY_SECONDS = 15


class TaskError(RuntimeError):
    """A task or rollout failed; the message ends with the end of its log."""


def log_end(logs: Any, group: str, container: str, task: str) -> str:
    """The last lines that a container of a task has logged; says so where there are none.

    Args:
        logs: boto3's client.
        group: name of the log group.
        container: its name.
        task: ARN of the task.
    """
    try:
        found = logs.get_log_events(
            logGroupName=group,
            logStreamName=ecs_core.log_stream(container, task),
            limit=builds.LOG_TAIL,
            startFromHead=False,
        )
    except ClientError as error:
        return f"(no log: {error.response['Error']['Code']})"
    return "\n".join(str(event["message"]).rstrip() for event in found["events"]) or "(empty log)"


def run_task(
    ecs: Any, logs: Any, props: Mapping[str, Any], sleep: Callable[[float], None] = time.sleep
) -> str:
    """Run a task once, to its end.

    Args:
        ecs: boto3's client.
        logs: boto3's client.
        props: `cluster`, `task_definition`, `subnets`, `security_groups`, `log_group`, `timeout` in seconds.
        sleep: waits so many seconds.

    Returns:
        ARN of the task.

    Raises:
        TaskError: it could not start, one of its containers failed, or it did not end in time.
    """
    name = props["name"]
    started = ecs.run_task(
        cluster=props["cluster"],
        taskDefinition=props["task_definition"],
        launchType="FARGATE",
        platformVersion=ecs_core.PLATFORM,
        count=1,
        startedBy="pulumi-mlflow",
        propagateTags="TASK_DEFINITION",
        networkConfiguration={
            "awsvpcConfiguration": {
                "subnets": list(props["subnets"]),
                "securityGroups": list(props["security_groups"]),
                "assignPublicIp": "DISABLED",
            }
        },
    )
    if started.get("failures") or not started["tasks"]:
        reasons = "; ".join(str(item.get("reason")) for item in started.get("failures", []))
        raise TaskError(f"{name} could not start: {reasons or 'ECS gave no reason'}")
    arn = str(started["tasks"][0]["taskArn"])
    waited = 0.0
    while True:
        task = ecs.describe_tasks(cluster=props["cluster"], tasks=[arn])["tasks"][0]
        if task["lastStatus"] == "STOPPED":
            break
        if waited >= float(props["timeout"]):
            ecs.stop_task(cluster=props["cluster"], task=arn, reason="pulumi-mlflow: timeout")
            ends = _ends(logs, props["log_group"], arn, task.get("containers", []))
            raise TaskError(f"{name} did not end within {float(props['timeout']):.0f} s:\n{ends}")
        if waited % _SAY_SECONDS < _POLL_SECONDS:
            builds.say(f"{name}: {str(task['lastStatus']).lower()}")
        sleep(_POLL_SECONDS)
        waited += _POLL_SECONDS
    failed = [item for item in task["containers"] if item.get("exitCode") != 0]
    if failed:
        codes = ", ".join(
            f"{item['name']}: {'exit code ' + str(item['exitCode']) if 'exitCode' in item else 'did not run'}"
            f"{' (' + item['reason'] + ')' if item.get('reason') else ''}"
            for item in failed
        )
        ends = _ends(logs, props["log_group"], arn, [item for item in failed if "exitCode" in item])
        raise TaskError(f"{name} failed: {codes}; {task.get('stoppedReason', 'no reason')}\n{ends}")
    return arn


def _ends(logs: Any, group: str, task: str, containers: Sequence[Mapping[str, Any]]) -> str:
    return "\n".join(
        f"--- {item['name']}\n{log_end(logs, group, item['name'], task)}" for item in containers
    )


def wait_rollout(
    ecs: Any, logs: Any, props: Mapping[str, Any], sleep: Callable[[float], None] = time.sleep
) -> None:
    """Wait until a service runs a task definition, and nothing else.

    A circuit breaker's rollback ends in a service that is steady, with the old tasks: for `up` that is a failure.

    Args:
        ecs: boto3's client.
        logs: boto3's client.
        props: `cluster`, `service`, `task_definition`, `log_group`, `container`, `timeout` in seconds.
        sleep: waits so many seconds.

    Raises:
        TaskError: the rollout was rolled back, or did not end in time.
    """
    waited = 0.0
    while True:
        [service] = ecs.describe_services(cluster=props["cluster"], services=[props["service"]])[
            "services"
        ]
        wanted = [
            item
            for item in service["deployments"]
            if item["taskDefinition"] == props["task_definition"]
        ]
        state = wanted[0]["rolloutState"] if wanted else "FAILED"
        if state == "COMPLETED" and wanted[0]["status"] == "PRIMARY":
            return
        late = waited >= float(props["timeout"])
        if state == "FAILED" or late:
            why = f"not steady within {float(props['timeout']):.0f} s" if late else "rolled back"
            events = "\n".join(str(event["message"]) for event in service.get("events", [])[:5])
            raise TaskError(f"{props['name']}: {why}\n{events}\n{_last_stopped(ecs, logs, props)}")
        if waited % _SAY_SECONDS < _POLL_SECONDS:
            running, desired = wanted[0].get("runningCount", 0), wanted[0].get("desiredCount", 0)
            builds.say(f"{props['name']}: {running} of {desired} new tasks run")
        sleep(_POLL_SECONDS)
        waited += _POLL_SECONDS


def _last_stopped(ecs: Any, logs: Any, props: Mapping[str, Any]) -> str:
    """Why the last task of a service stopped, and its log's end."""
    arns = ecs.list_tasks(
        cluster=props["cluster"], serviceName=props["service"], desiredStatus="STOPPED"
    )["taskArns"]
    if not arns:
        return "(no task has stopped)"
    found = ecs.describe_tasks(cluster=props["cluster"], tasks=arns[:10])["tasks"]
    own = [item for item in found if item["taskDefinitionArn"] == props["task_definition"]]
    if not own:
        return "(no task of the new definition has stopped)"
    last = own[0]
    end = log_end(logs, props["log_group"], props["container"], last["taskArn"])
    return f"the last task: {last.get('stoppedReason', 'no reason')}\n{end}"


def _clients(props: Mapping[str, Any]) -> tuple[Any, Any]:
    region = props["region"]
    return boto3.client("ecs", region_name=region), boto3.client("logs", region_name=region)


class _EventProvider(ResourceProvider):
    """An event has happened or has not: any change of its inputs makes it happen again."""

    serialize_as_secret_always = False

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        # How long to wait, and what it is called, are nothing that happens.
        changed = [
            key
            for key in news
            if key not in ("__provider", "timeout", "name") and news[key] != olds.get(key)
        ]
        # Not deleted before: Pulumi would then replace what depends on it as well, such as the proxy's files.
        return DiffResult(changes=bool(changed), replaces=changed, delete_before_replace=False)

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Nothing is left of it."""


class _TaskProvider(_EventProvider):
    def create(self, props: dict[str, Any]) -> CreateResult:
        run_task(*_clients(props), props)
        return CreateResult(id_=props["task_definition"], outs=props)


class _RolloutProvider(_EventProvider):
    def create(self, props: dict[str, Any]) -> CreateResult:
        wait_rollout(*_clients(props), props)
        return CreateResult(id_=props["task_definition"], outs=props)


class AwsTask(Resource, module="pulumi-mlflow", name="AwsTask"):
    """A task that runs once, before what depends on it.

    Args:
        name: logical name.
        props: of `run_task`, with `name` and `region`; any change runs it again.
        triggers: values whose change runs it again too.

    Attributes:
        task_definition: what has run.
    """

    task_definition: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        props: dict[str, Any],
        triggers: dict[str, pulumi.Input[str]] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(_TaskProvider(), name, {**props, "triggers": triggers or {}}, opts)


class AwsRollout(Resource, module="pulumi-mlflow", name="AwsRollout"):
    """A service running what it was told to; depend on `task_definition` to come after.

    Args:
        name: logical name.
        props: of `wait_rollout`, with `name` and `region`; a new task definition is waited for again.

    Attributes:
        task_definition: what runs.
    """

    task_definition: pulumi.Output[str]

    def __init__(
        self, name: str, props: dict[str, Any], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(_RolloutProvider(), name, props, opts)
