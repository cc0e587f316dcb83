"""One-shot tasks and rollouts, against stand-ins for ECS and CloudWatch Logs: each failure is told with its cause."""

import copy
import itertools

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
    own = ("files", "migration")

    def __init__(self, states=(), failures=()):
        self.states, self.failures = list(states), list(failures)
        self.stopped, self.started = [], []

    def run_task(self, **asked):
        check_request("ecs", "RunTask", **asked)
        self.started.append(asked)
        tasks = [] if self.failures else [{"taskArn": ARN}]
        return {"tasks": tasks, "failures": self.failures}

    def describe_tasks(self, cluster, tasks):
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return {"tasks": [state] if state else []}

    def describe_task_definition(self, **asked):
        check_request("ecs", "DescribeTaskDefinition", **asked)
        assert asked["taskDefinition"] == "td:2"
        return {"taskDefinition": {"containerDefinitions": [{"name": own} for own in self.own]}}

    def stop_task(self, **asked):
        check_request("ecs", "StopTask", **asked)
        self.stopped.append(asked)

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
    logs, ecs = Logs(), Ecs([stopped(files=0, user=1, migration=None)])
    ecs.own = ("files", "user", "migration")
    with pytest.raises(events.TaskError) as caught:
        run(ecs, logs)
    assert "user: exit code 1, migration: did not run" in str(caught.value)
    assert [asked["logStreamName"] for asked in logs.asked] == ["task/user/abc"]


def test_without_an_image_there_is_no_log():
    with pytest.raises(events.TaskError, match="files: did not run"):
        run(Ecs([stopped(files=None, migration=None)]))
    with pytest.raises(events.TaskError, match=r"\(no log: ResourceNotFoundException\)"):
        run(Ecs([stopped(files=0, migration=1)]), Logs(None))


def test_a_task_that_ecs_does_not_show_yet_is_asked_for_again():
    arn, waited = run(Ecs([None, None, RUNNING, stopped(files=0, migration=0)]))
    assert (arn, len(waited)) == (ARN, 3)


def test_a_task_that_ecs_never_shows_is_a_failure():
    with pytest.raises(events.TaskError, match=f"ECS started {ARN} and does not know it"):
        run(Ecs([None]))


@pytest.mark.parametrize("code", [137, None])
def test_containers_that_others_add_are_not_judged(code):
    """GuardDuty's agent runs in each task of Fargate, and is killed at its end."""
    agent = {"aws-guardduty-agent-x": code}
    assert run(Ecs([stopped(files=0, migration=0, **agent)]))[0] == ARN
    with pytest.raises(events.TaskError, match="failed: migration: exit code 1; Essential"):
        run(Ecs([stopped(files=0, migration=1, **agent)]))


def test_a_task_without_its_containers_has_not_succeeded():
    with pytest.raises(events.TaskError, match="files: did not run, migration: did not run"):
        run(Ecs([stopped()]))


def test_a_task_that_could_not_start_says_why():
    with pytest.raises(events.TaskError, match="could not start: RESOURCE:CPU"):
        run(Ecs(failures=[{"reason": "RESOURCE:CPU"}]))


def test_a_task_that_does_not_end_is_ended():
    ecs = Ecs([RUNNING])
    with pytest.raises(events.TaskError, match="did not end within 60 s:\n--- migration"):
        run(ecs)
    assert ecs.stopped[0]["task"] == ARN


ROLLOUT = {**PROPS, "service": "s", "container": "server"}


class Service(Ecs):
    """A service as ECS keeps it: rollouts, and a circuit breaker that goes back to the last one that was completed."""

    def __init__(self, task_definition="td:2", ran="td:1", *, lag=0):
        super().__init__([stopped(server=1)])
        self.deployments, self.sent, self.lag, self.there = [], [], lag, True
        self.numbers = itertools.count()
        if ran:
            self.begin(ran)
            self.complete()
        self.shown = list(self.deployments)
        self.begin(task_definition)

    def begin(self, task_definition):
        for item in self.deployments:
            item["status"] = "ACTIVE"
        self.deployments.insert(
            0,
            {
                "id": f"ecs-svc/{next(self.numbers)}",
                "status": "PRIMARY",
                "taskDefinition": task_definition,
                "rolloutState": "IN_PROGRESS",
            },
        )

    def complete(self):
        self.deployments[0]["rolloutState"] = "COMPLETED"
        del self.deployments[1:]

    def fail(self):
        """Roll back; a first rollout has nothing to go back to, and stays as it is."""
        self.deployments[0]["rolloutState"] = "FAILED"
        if len(self.deployments) > 1:
            self.begin(self.deployments[1]["taskDefinition"])
            self.complete()

    def describe_services(self, cluster, services):
        self.lag -= 1
        shown = self.shown if self.lag >= 0 else self.deployments
        state = {"deployments": shown, "events": [{"message": "(service s) is unhealthy"}]}
        return {"services": [copy.deepcopy(state)] if self.there else []}

    def update_service(self, **asked):
        check_request("ecs", "UpdateService", **asked)
        self.sent.append(asked)
        self.shown = copy.deepcopy(self.deployments)
        self.begin(asked["taskDefinition"])
        return {"service": {"deployments": copy.deepcopy(self.deployments)}}


def rollout(ecs, *then, logs=None):
    """Wait for it, while what `then` says happens one after the other."""
    waited, steps = [], list(then)

    def sleep(seconds):
        waited.append(seconds)
        if steps:
            steps.pop(0)()

    events.wait_rollout(ecs, logs or Logs(), ROLLOUT, sleep)
    return waited


def nothing():
    """Happens."""


def test_a_rollout_is_waited_for():
    service = Service()
    assert rollout(service, nothing, service.complete) == [5, 5]
    assert rollout(service) == []
    assert service.sent == []


def test_a_rollback_is_a_failure_though_the_service_is_steady():
    service = Service()
    with pytest.raises(events.TaskError) as caught:
        rollout(service, nothing, service.fail)
    message = str(caught.value)
    assert "rolled back" in message
    assert "(service s) is unhealthy" in message
    assert message.endswith("Essential container in task exited\nTraceback\nthe cause")
    assert service.sent == []


@pytest.mark.parametrize("ran", ["td:1", ""], ids=["rolled back", "first"])
def test_what_failed_is_begun_again_by_the_next_up(ran):
    """The provider sends nothing then: it has told the service already what to run."""
    service = Service(ran=ran)
    with pytest.raises(events.TaskError, match="rolled back"):
        rollout(service, service.fail)
    # Whatever was wrong outside (a role, a secret, the database) is right again.
    rollout(service, *[nothing] * 6, service.complete)
    assert service.sent == [
        {"cluster": "c", "service": "s", "taskDefinition": "td:2", "forceNewDeployment": True}
    ]
    assert [item["taskDefinition"] for item in service.deployments] == ["td:2"]
    assert rollout(service) == []


@pytest.mark.parametrize("ran", ["td:1", ""], ids=["rolled back", "first"])
def test_what_fails_again_is_a_failure_again_and_is_begun_once(ran):
    service = Service(ran=ran)
    service.fail()
    with pytest.raises(events.TaskError, match="rolled back"):
        rollout(service, *[nothing] * 6, service.fail)
    assert len(service.sent) == 1


def test_a_rollout_that_ecs_does_not_show_yet_is_not_begun_twice():
    service = Service(lag=3)
    rollout(service, *[nothing] * 4, service.complete)
    assert service.sent == []


def test_one_that_was_begun_again_may_take_its_time_to_be_shown():
    service = Service()
    service.fail()

    def lag():
        service.lag = 3

    rollout(service, *[nothing] * 4, lag, *[nothing] * 3, service.complete)
    assert len(service.sent) == 1


def test_a_rollout_that_does_not_end():
    with pytest.raises(events.TaskError, match="not steady within 60 s"):
        rollout(Service())


def test_a_rollout_whose_place_another_one_has_taken_is_no_success():
    service = Service()

    def other():
        service.complete()
        service.begin("td:3")

    with pytest.raises(events.TaskError, match="rolled back"):
        rollout(service, other)


def test_a_service_that_there_is_not():
    service = Service()
    service.there = False
    with pytest.raises(events.TaskError, match="cluster c has no such service"):
        rollout(service)


@pytest.mark.parametrize("provider", [events._TaskProvider(), events._RolloutProvider()])
def test_how_long_to_wait_is_nothing_that_happens(provider):
    assert not provider.diff("i", PROPS, {**PROPS, "timeout": 90.0}).changes
    changed = provider.diff("i", PROPS, {**PROPS, "task_definition": "td:3"})
    assert (changed.changes, changed.replaces) == (True, ["task_definition"])
    # Else what depends on it is replaced too: the front door at each rollout of the server.
    assert not changed.delete_before_replace


def test_a_step_that_failed_is_not_there(monkeypatch):
    ecs = Ecs([stopped(files=0, migration=1)])
    monkeypatch.setattr(events, "_clients", lambda _props: (ecs, Logs()))
    with pytest.raises(events.TaskError):
        events._TaskProvider().create(PROPS)
    ecs.states = [stopped(files=0, migration=0)]
    assert events._TaskProvider().create(PROPS).id == "td:2"
