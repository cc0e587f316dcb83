"""One-shot tasks and rollouts, against stand-ins for ECS and CloudWatch Logs: each failure is told with its cause."""

import pytest
from botocore.exceptions import ClientError
from tests.components.aws_support import check_request

from pulumi_mlflow.aws import events

ARN = "arn:aws:ecs:eu-central-1:1:task/c/abc"
PROPS = {
    "name": "mlflow-prod-tracking-migration",
    "cluster": "c",
    "task_definition": "td:2",
    "subnets": ["a", "b"],
    "security_groups": ["sg"],
    "log_group": "g",
    "timeout": 60.0,
    "region": "eu-central-1",
}


class Logs:
    def __init__(self, lines=("Traceback", "the cause")):
        self.lines, self.asked = lines, []

    def get_log_events(self, **asked):
        check_request("logs", "GetLogEvents", **asked)
        self.asked.append(asked)
        if self.lines is None:
            raise ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "GetLogEvents")
        return {"events": [{"message": f"{line}\n"} for line in self.lines]}


class Ecs:
    def __init__(self, states=(), failures=(), services=()):
        self.states, self.failures, self.services = list(states), list(failures), list(services)
        self.stopped, self.started = [], []

    def run_task(self, **asked):
        check_request("ecs", "RunTask", **asked)
        self.started.append(asked)
        tasks = [] if self.failures else [{"taskArn": ARN}]
        return {"tasks": tasks, "failures": self.failures}

    def describe_tasks(self, cluster, tasks):
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return {"tasks": [state]}

    def stop_task(self, **asked):
        check_request("ecs", "StopTask", **asked)
        self.stopped.append(asked)

    def describe_services(self, cluster, services):
        state = self.services.pop(0) if len(self.services) > 1 else self.services[0]
        return {"services": [state]}

    def list_tasks(self, **asked):
        check_request("ecs", "ListTasks", **asked)
        assert asked["desiredStatus"] == "STOPPED"
        return {"taskArns": [ARN] if self.states else []}


RUNNING = {"lastStatus": "RUNNING", "containers": [{"name": "migration"}]}


def stopped(**codes):
    containers = [
        {"name": name, **({} if code is None else {"exitCode": code})}
        for name, code in codes.items()
    ]
    return {
        "lastStatus": "STOPPED",
        "stoppedReason": "Essential container in task exited",
        "containers": containers,
        "taskArn": ARN,
        "taskDefinitionArn": "td:2",
    }


def run(ecs, logs=None):
    waited = []
    return events.run_task(ecs, logs or Logs(), PROPS, waited.append), waited


def test_a_task_is_waited_for_to_its_end():
    ecs = Ecs([{**RUNNING, "lastStatus": "PENDING"}, RUNNING, stopped(files=0, migration=0)])
    arn, waited = run(ecs)
    assert arn == ARN
    assert len(waited) == 2
    [asked] = ecs.started
    network = asked["networkConfiguration"]["awsvpcConfiguration"]
    assert network == {
        "subnets": ["a", "b"],
        "securityGroups": ["sg"],
        "assignPublicIp": "DISABLED",
    }
    assert (asked["taskDefinition"], asked["count"], asked["launchType"]) == ("td:2", 1, "FARGATE")
    assert not ecs.stopped


def test_a_failure_comes_with_the_end_of_its_log():
    logs = Logs()
    with pytest.raises(events.TaskError) as caught:
        run(Ecs([stopped(files=0, migration=1)]), logs)
    message = str(caught.value)
    assert "mlflow-prod-tracking-migration failed: migration: exit code 1" in message
    assert message.endswith("--- migration\nTraceback\nthe cause")
    [asked] = logs.asked
    assert asked["logGroupName"] == "g"
    assert asked["logStreamName"] == "task/migration/abc"
    assert asked["startFromHead"] is False


def test_what_never_ran_is_a_failure_too_and_the_cause_is_the_one_that_did():
    logs = Logs()
    with pytest.raises(events.TaskError) as caught:
        run(Ecs([stopped(files=0, user=1, migration=None)]), logs)
    assert "user: exit code 1, migration: did not run" in str(caught.value)
    assert [asked["logStreamName"] for asked in logs.asked] == ["task/user/abc"]


def test_without_an_image_there_is_no_log():
    with pytest.raises(events.TaskError, match="files: did not run"):
        run(Ecs([stopped(files=None, migration=None)]))
    with pytest.raises(events.TaskError, match=r"\(no log: ResourceNotFoundException\)"):
        run(Ecs([stopped(migration=1)]), Logs(None))


def test_a_task_that_could_not_start_says_why():
    with pytest.raises(events.TaskError, match="could not start: RESOURCE:CPU"):
        run(Ecs(failures=[{"reason": "RESOURCE:CPU"}]))


def test_a_task_that_does_not_end_is_ended():
    ecs = Ecs([RUNNING])
    with pytest.raises(events.TaskError, match="did not end within 60 s:\n--- migration"):
        run(ecs)
    assert ecs.stopped[0]["task"] == ARN


ROLLOUT = {**PROPS, "service": "s", "container": "server"}
OLD = {"taskDefinition": "td:1", "rolloutState": "COMPLETED", "status": "ACTIVE"}


def new(state, status="PRIMARY", **counts):
    return {"taskDefinition": "td:2", "rolloutState": state, "status": status, **counts}


def service(*deployments):
    return {"deployments": list(deployments), "events": [{"message": "(service s) is unhealthy"}]}


def rollout(*services, states=(), logs=None):
    waited = []
    ecs = Ecs(states, services=services)
    events.wait_rollout(ecs, logs or Logs(), ROLLOUT, waited.append)
    return waited


def test_a_rollout_is_waited_for():
    assert rollout(
        service(new("IN_PROGRESS", runningCount=1, desiredCount=2), OLD),
        service(new("COMPLETED")),
    ) == [5]


def test_a_rollback_is_a_failure_though_the_service_is_steady():
    back = {**OLD, "status": "PRIMARY"}
    with pytest.raises(events.TaskError) as caught:
        rollout(service(back), states=[stopped(server=1)])
    message = str(caught.value)
    assert "rolled back" in message
    assert "(service s) is unhealthy" in message
    assert message.endswith("Essential container in task exited\nTraceback\nthe cause")


@pytest.mark.parametrize("state", ["FAILED", "IN_PROGRESS"])
def test_a_rollout_that_fails_or_does_not_end(state):
    with pytest.raises(events.TaskError, match=r"rolled back|not steady within 60 s"):
        rollout(service(new(state)))


def test_a_deployment_that_is_no_longer_the_primary_is_no_success():
    with pytest.raises(events.TaskError, match="not steady"):
        rollout(service(new("COMPLETED", "ACTIVE"), {**OLD, "status": "PRIMARY"}))


@pytest.mark.parametrize("provider", [events._TaskProvider(), events._RolloutProvider()])
def test_how_long_to_wait_is_nothing_that_happens(provider):
    assert not provider.diff("i", PROPS, {**PROPS, "timeout": 90.0}).changes
    changed = provider.diff("i", PROPS, {**PROPS, "task_definition": "td:3"})
    assert (changed.changes, changed.replaces) == (True, ["task_definition"])
    # Else what depends on it is replaced too: the front door at each rollout of the server.
    assert not changed.delete_before_replace


def test_a_step_that_failed_is_not_there(monkeypatch):
    ecs = Ecs([stopped(migration=1)])
    monkeypatch.setattr(events, "_clients", lambda _props: (ecs, Logs()))
    with pytest.raises(events.TaskError):
        events._TaskProvider().create(PROPS)
    ecs.states = [stopped(migration=0)]
    assert events._TaskProvider().create(PROPS).id == "td:2"
