"""What the API says of a workload, and what is made of it; as kubelets of 1.28 to 1.32 and their runtimes write it."""

import pytest

from pulumi_mlflow.core import rollouts

READY = {"replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2}


def workload(kind="Deployment", generation=2, wanted=2, **status):
    return {
        "kind": kind,
        "metadata": {
            "name": "it",
            "uid": "uid-it",
            "generation": generation,
            "annotations": {"deployment.kubernetes.io/revision": "3"},
        },
        "spec": {} if kind == "Job" else {"replicas": wanted},
        "status": {"observedGeneration": generation, **status},
    }


def pod(name="it-x", owner="uid-set", waiting=None, **changes):
    status = {
        "name": "server",
        "image": "registry.example/not-found/mlflow:nightly",
        "state": {"waiting": waiting} if waiting else {"running": {}},
        **changes,
    }
    return {
        "metadata": {"name": name, "ownerReferences": [{"uid": owner}]},
        "status": {"containerStatuses": [status]},
    }


@pytest.mark.parametrize(
    ("found", "settled"),
    [
        (workload(**READY), True),
        (workload(**READY | {"replicas": 3}), False),  # an old one is still there
        (workload(**READY | {"updatedReplicas": 1}), False),
        (workload(**READY | {"readyReplicas": 1}), False),
        (workload(**READY | {"availableReplicas": 1}), False),
        (workload(**READY | {"observedGeneration": 1}), False),  # it tells of the last template
        (workload(wanted=0), True),
        (workload(), False),  # what a return to a template that the cluster still has begins with
        (workload("StatefulSet", **READY, currentRevision="a", updateRevision="a"), True),
        (workload("StatefulSet", **READY, currentRevision="a", updateRevision="b"), False),
        (workload("Job", conditions=[{"type": "Complete", "status": "True"}]), True),
        (workload("Job", active=1), False),
        (workload("Job", conditions=[{"type": "Failed", "status": "True"}]), False),
    ],
)
def test_only_what_runs_its_newest_template_and_nothing_else_is_settled(found, settled):
    assert rollouts.settled(found) is settled


def test_what_kubernetes_gives_up_is_told_with_its_reason():
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    assert "ProgressDeadlineExceeded" in rollouts.given_up(workload(conditions=[late]))
    # Of the last template: the controller has not seen the new one.
    assert rollouts.given_up(workload(conditions=[late], observedGeneration=1)) == ""
    failed = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}
    assert "BackoffLimitExceeded" in rollouts.given_up(workload("Job", conditions=[failed]))
    assert rollouts.given_up(workload("Job", active=1)) == ""


def lasts(waiting, **changes):
    [fault] = rollouts.faults(workload(), [pod(waiting=waiting, **changes)], [])
    return fault.lasts


def pull(message, reason="ErrImagePull"):
    return lasts({"reason": reason, "message": message})


IMAGE = "registry.example/not-found/mlflow:nightly"


@pytest.mark.parametrize(
    "message",
    [
        f'failed to pull and unpack image "{IMAGE}": failed to resolve reference "{IMAGE}": {IMAGE}: not found',
        f'Back-off pulling image "{IMAGE}": ErrImagePull: {IMAGE}: not found',
        "reading manifest nightly in registry.example/x: manifest unknown",
        "pull access denied, repository does not exist or may require authorization",
        "unexpected status from HEAD request to https://registry.example/v2/x: 403 Forbidden",
        "failed to authorize: 401 Unauthorized",
        "no basic auth credentials",
        "no match for platform in manifest: not found",
        "dial tcp: lookup nowhere.invalid on 10.96.0.10:53: no such host",
        "tls: failed to verify certificate: x509: certificate signed by unknown authority",
    ],
)
def test_an_image_that_nobody_gets_by_waiting_fails_soon(message):
    assert pull(message) <= 30


@pytest.mark.parametrize(
    "message",
    [
        f'Back-off pulling image "{IMAGE}"',
        f'failed to pull and unpack image "{IMAGE}": failed to do request: i/o timeout',
        "dial tcp 10.0.0.1:443: connect: connection refused",
        "429 Too Many Requests - Server message: toomanyrequests",
        "503 Service Unavailable",
        "context deadline exceeded",
        "write /var/lib/containerd/x: no space left on device",
    ],
)
def test_what_may_mend_itself_keeps_the_rollouts_time(message):
    assert pull(message) is None


@pytest.mark.parametrize(
    ("waiting", "changes", "least", "most"),
    [
        ({"reason": "InvalidImageName"}, {}, 0, 30),
        ({"reason": "ErrImageNeverPull"}, {}, 0, 30),
        # A Secret may be seen some seconds after it is there.
        ({"reason": "CreateContainerConfigError"}, {}, 10, 40),
        ({"reason": "RunContainerError"}, {}, 10, 40),
        ({"reason": "CrashLoopBackOff"}, {"restartCount": 2}, 0, 0),
    ],
)
def test_what_cannot_mend_itself_ends_within_a_minute(waiting, changes, least, most):
    assert least <= lasts(waiting, **changes) <= most


def test_a_first_crash_is_no_end():
    assert lasts({"reason": "CrashLoopBackOff"}, restartCount=1) is None


def test_a_crash_is_told_with_its_reason():
    ended = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off 20s"}
    crashed = pod(waiting=waiting, restartCount=2, lastState=ended)
    [fault] = rollouts.faults(workload(), [crashed], [])
    assert "OOMKilled, exit code 137" in str(fault)
    assert fault.container == "server"


def test_a_container_that_starts_or_runs_is_no_fault():
    waits = {"reason": "ContainerCreating"}
    assert rollouts.faults(workload(), [pod(), pod(waiting=waits)], []) == []


def test_no_room_is_told_and_keeps_its_time():
    pending = pod()
    pending["status"] = {
        "conditions": [
            {
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": "0/1 nodes are available: Insufficient memory",
            }
        ]
    }
    [fault] = rollouts.faults(workload(), [pending], [])
    assert "Insufficient memory" in str(fault)
    assert fault.lasts is None


def test_pods_that_are_refused_end_the_wait():
    """By a quota, or by Pod Security: a Deployment says so, of the others there is an event."""
    message = 'pods "it-x" is forbidden: exceeded quota'
    failure = {"type": "ReplicaFailure", "status": "True", "message": message}
    event = {"reason": "FailedCreate", "message": message, "involvedObject": {"uid": "uid-it"}}
    for found, events in (
        (workload(conditions=[failure]), []),
        (workload("Job"), [event]),
        (workload("StatefulSet"), [event]),
    ):
        [fault] = rollouts.faults(found, [], events)
        assert message in str(fault)
        assert 10 <= fault.lasts <= 40


def test_a_volume_that_does_not_come_is_told():
    event = {
        "reason": "FailedMount",
        "message": 'secret "x" not found',
        "involvedObject": {"name": "it-x"},
    }
    waits = pod(waiting={"reason": "ContainerCreating"})
    [fault] = rollouts.faults(workload(), [waits], [event])
    assert 'secret "x" not found' in str(fault)


def test_events_of_others_are_none_of_ours():
    event = {"reason": "FailedCreate", "message": "m", "involvedObject": {"uid": "uid-other"}}
    assert rollouts.faults(workload("Job"), [], [event]) == []


def test_only_pods_of_the_newest_template_are_judged():
    old = {"uid": "uid-old", "ownerReferences": [{"uid": "uid-it"}]}
    new = {"uid": "uid-set", "ownerReferences": [{"uid": "uid-it"}]}
    key = "deployment.kubernetes.io/revision"
    sets = [
        {"metadata": {**old, "annotations": {key: "2"}}},
        {"metadata": {**new, "annotations": {key: "3"}}},
    ]
    pods = [pod("a", "uid-old"), pod("b", "uid-set"), pod("c", "uid-other")]
    found = rollouts.newest(workload(), sets, pods)
    assert [one["metadata"]["name"] for one in found] == ["b"]
    jobs = rollouts.newest(workload("Job"), [], [pod("j", "uid-it"), pod("k", "other")])
    assert [one["metadata"]["name"] for one in jobs] == ["j"]
