"""Steps of an AWS stack that are not things but events: a one-shot task, a rollout that has come to its end.

Both are dynamic resources that only exist once they have succeeded, as in docker/job.py: a failure fails `up` with the
log's end, what depends on them does not start, and the next `up` tries again.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import boto3
import pulumi
import tenacity
from botocore.exceptions import ClientError
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider

from .. import builds
from ..core import ecs as ecs_core

_POLL_SECONDS = 5
_SAY_SECONDS = 15
_LOOKS = 6
"""How often ECS is asked for what it was just told of: its answers lag behind, mostly for seconds."""

_Answer = TypeVar("_Answer")


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
        TaskError: it could not start, a container of its definition failed, or it did not end in time. Containers that
            others add (GuardDuty's agent) are not judged: they end when the task does, with any code.
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
        task = _task(ecs, props, arn, sleep)
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
    known = {item["name"]: item for item in task.get("containers", [])}
    own = [known.get(container, {"name": container}) for container in _containers(ecs, props)]
    failed = [item for item in own if item.get("exitCode") != 0]
    if failed:
        codes = ", ".join(
            f"{item['name']}: {'exit code ' + str(item['exitCode']) if 'exitCode' in item else 'did not run'}"
            f"{' (' + item['reason'] + ')' if item.get('reason') else ''}"
            for item in failed
        )
        ends = _ends(logs, props["log_group"], arn, [item for item in failed if "exitCode" in item])
        raise TaskError(f"{name} failed: {codes}; {task.get('stoppedReason', 'no reason')}\n{ends}")
    return arn


def _task(
    ecs: Any, props: Mapping[str, Any], arn: str, sleep: Callable[[float], None]
) -> Mapping[str, Any]:
    """A task as ECS sees it."""
    found = _patient(
        lambda: ecs.describe_tasks(cluster=props["cluster"], tasks=[arn])["tasks"], bool, sleep
    )
    if not found:
        raise TaskError(f"{props['name']}: ECS started {arn} and does not know it")
    task: Mapping[str, Any] = found[0]
    return task


def _containers(ecs: Any, props: Mapping[str, Any]) -> list[str]:
    """Names of the containers that a task definition has."""
    found = ecs.describe_task_definition(taskDefinition=props["task_definition"])
    return [str(item["name"]) for item in found["taskDefinition"]["containerDefinitions"]]


def _patient(
    ask: Callable[[], _Answer], enough: Callable[[_Answer], Any], sleep: Callable[[float], None]
) -> _Answer:
    """The first answer that is enough, or the last of `_LOOKS`."""
    answers = tenacity.Retrying(
        sleep=sleep,
        stop=tenacity.stop_after_attempt(_LOOKS),
        wait=tenacity.wait_fixed(_POLL_SECONDS),
        retry=tenacity.retry_if_result(lambda answer: not enough(answer)),
        retry_error_callback=lambda state: state.outcome and state.outcome.result(),
    )
    return answers(ask)


def _ends(logs: Any, group: str, task: str, containers: Sequence[Mapping[str, Any]]) -> str:
    return "\n".join(
        f"--- {item['name']}\n{log_end(logs, group, item['name'], task)}" for item in containers
    )


def wait_rollout(
    ecs: Any, logs: Any, props: Mapping[str, Any], sleep: Callable[[float], None] = time.sleep
) -> None:
    """Wait until a service runs a task definition, and nothing else.

    A circuit breaker's rollback ends in a service that is steady, with the old tasks: for `up` that is a failure. The
    next `up` begins such a rollout again, since the provider has told the service already, and sends nothing.

    Args:
        ecs: boto3's client.
        logs: boto3's client.
        props: `cluster`, `service`, `task_definition`, `log_group`, `container`, `timeout` in seconds.
        sleep: waits so many seconds.

    Raises:
        TaskError: there is no such service, or its rollout was rolled back, or did not end in time.
    """
    service = _patient(lambda: _service(ecs, props), lambda found: _under_way(found, props), sleep)
    if not service:
        raise TaskError(f"{props['name']}: cluster {props['cluster']} has no such service")
    followed = _under_way(service, props)
    if not followed:
        builds.say(f"{props['name']}: its last rollout failed, and is begun again")
        begun = ecs.update_service(
            cluster=props["cluster"],
            service=props["service"],
            taskDefinition=props["task_definition"],
            forceNewDeployment=True,
        )
        followed = _primary(begun["service"])["id"]
    waited, looks = 0.0, 0
    while True:
        service = _service(ecs, props)
        own = {item["id"]: item for item in service.get("deployments", [])}.get(followed)
        # What was begun a moment ago may not be shown yet; what was shown once and is no more has failed.
        looks = _LOOKS if own else looks + 1
        state = own["rolloutState"] if own and own["status"] == "PRIMARY" else "FAILED"
        if state == "COMPLETED":
            return
        late = waited >= float(props["timeout"])
        if late or (state == "FAILED" and looks >= _LOOKS):
            why = f"not steady within {float(props['timeout']):.0f} s" if late else "rolled back"
            events = "\n".join(str(event["message"]) for event in service.get("events", [])[:5])
            raise TaskError(f"{props['name']}: {why}\n{events}\n{_last_stopped(ecs, logs, props)}")
        if waited % _SAY_SECONDS < _POLL_SECONDS:
            counts = own or {}
            running, desired = counts.get("runningCount", 0), counts.get("desiredCount", 0)
            builds.say(f"{props['name']}: {running} of {desired} new tasks run")
        sleep(_POLL_SECONDS)
        waited += _POLL_SECONDS


def _service(ecs: Any, props: Mapping[str, Any]) -> Mapping[str, Any]:
    """A service as ECS sees it; empty where it does not."""
    found = ecs.describe_services(cluster=props["cluster"], services=[props["service"]])
    service: Mapping[str, Any] = next(iter(found["services"]), {})
    return service


def _primary(service: Mapping[str, Any]) -> Mapping[str, Any]:
    """The rollout that a service is at, or has come to; empty where there is none."""
    found = (item for item in service.get("deployments", []) if item["status"] == "PRIMARY")
    return next(found, {})


def _under_way(service: Mapping[str, Any], props: Mapping[str, Any]) -> str:
    """Id of the rollout to what is wanted; empty if it failed, or if another one has taken its place."""
    last = _primary(service)
    wanted = last.get("taskDefinition") == props["task_definition"]
    return str(last["id"]) if wanted and last["rolloutState"] != "FAILED" else ""


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
