"""Waiting for a workload: what it ends on, after how long, and what it says then. Time is a number here."""

import itertools
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from tests.core.test_rollouts import READY, pod, workload

from pulumi_mlflow.kubernetes import ready

PROPS = {
    "cluster": {"context": "here"},
    "namespace": "mlflow-prod",
    "kind": "Deployment",
    "name": "it",
    "uid": "uid-it",
    "selector": "a=b",
    "version": "1",
    "timeout": 3600,
}
SETS = [
    {
        "metadata": {
            "uid": "uid-set",
            "ownerReferences": [{"uid": "uid-it"}],
            "annotations": {"deployment.kubernetes.io/revision": "3"},
        }
    }
]
GONE = {"reason": "ErrImagePull", "message": "registry.example/x: not found"}
BARE = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "registry.example/x"'}
SLOW = {"reason": "ErrImagePull", "message": "i/o timeout"}


class Api:
    """A cluster that goes through these states, one each time that somebody looks; the last one stays."""

    def __init__(self, *states):
        self._states, self._now = list(states), states[0]

    def workload(self, _kind, _name):
        self._now = self._states.pop(0) if len(self._states) > 1 else self._states[0]
        if isinstance(self._now[0], Exception):
            raise self._now[0]
        return self._now[0]

    def sets(self, _selector):
        return SETS

    def pods(self, _selector):
        return self._now[1]

    def events(self):
        return self._now[2] if len(self._now) > 2 else []

    def log(self, pod, container, *, previous):
        return f"log of {pod} {container} {'before' if previous else 'now'}"


def waited(*states, **changes):
    """Seconds that are waited, and how it ended."""
    clock = itertools.count(0, 0.001)
    slept = []
    watch = ready.Watch(
        Api(*states), {**PROPS, **changes}, lambda: next(clock) + sum(slept), slept.append
    )
    try:
        watch.wait()
    except ready.RolloutError as error:
        return sum(slept), str(error)
    return sum(slept), ""


def test_it_ends_once_everything_is_new_and_ready():
    busy = (workload(**READY | {"replicas": 3}), [pod()])
    seconds, said = waited(busy, busy, (workload(**READY), [pod()]))
    assert (seconds, said) == (4, "")


def test_an_image_that_is_not_there_ends_it_within_a_minute_with_the_cause():
    seconds, said = waited((workload(), [pod(waiting=GONE)]))
    assert seconds < 60
    assert "registry.example/x: not found" in said
    assert "pod it-x, container server" in said


def test_the_cause_is_remembered_between_two_tries():
    tries = [(workload(), [pod(waiting=GONE)]), *[(workload(), [pod(waiting=BARE)])] * 30]
    seconds, said = waited(*tries)
    assert seconds < 60
    assert "registry.example/x: not found" in said


def test_a_registry_that_is_slow_keeps_the_rollouts_time():
    late = {
        "type": "Progressing",
        "status": "False",
        "reason": "ProgressDeadlineExceeded",
        "message": "progress deadline",
    }
    slow = (workload(), [pod(waiting=SLOW)])
    seconds, said = waited(*[slow] * 250, (workload(conditions=[late]), [pod(waiting=SLOW)]))
    assert seconds == 500
    assert "ProgressDeadlineExceeded" in said
    assert "i/o timeout" in said


def test_a_fault_that_goes_away_is_forgotten():
    bad = (workload(), [pod(waiting={"reason": "CreateContainerConfigError"})])
    good = (workload(), [pod()])
    assert waited(*[bad] * 10, good, *[bad] * 10, (workload(**READY), []))[1] == ""


def test_a_crash_is_told_with_the_log_of_the_last_start():
    crashed = pod(waiting={"reason": "CrashLoopBackOff"}, restartCount=2)
    _, said = waited((workload(), [crashed]))
    assert "log of it-x server before" in said


def test_a_job_that_failed_is_told_with_its_log():
    failed = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}
    ended = pod(owner="uid-it", state={"terminated": {"exitCode": 1, "reason": "Error"}})
    _, said = waited((workload("Job", conditions=[failed]), [ended]), kind="Job")
    assert "BackoffLimitExceeded" in said
    assert "log of it-x server now" in said


def test_it_ends_at_its_own_time_too():
    seconds, said = waited((workload(), [pod(waiting=SLOW)]), timeout=60)
    assert 60 <= seconds <= 70
    assert "not ready within 60 s" in said
    assert "i/o timeout" in said


def test_another_cluster_than_the_providers_is_told():
    for found in (None, workload() | {"metadata": {**workload()["metadata"], "uid": "another"}}):
        _, said = waited((found, []))
        assert "`cluster`" in said


def test_an_api_that_is_away_for_a_minute_is_waited_for():
    away = (OSError("refused"), [])
    assert waited(*[away] * 30, (workload(**READY), []))[1] == ""
    seconds, said = waited(away)
    assert 100 < seconds < 200
    assert "refused" in said


def test_what_is_ready_no_longer_is_waited_for_by_the_next_up(monkeypatch):
    provider = ready._ReadyProvider()
    for found, changed in ((workload(), True), (workload(**READY), False)):
        monkeypatch.setattr(ready, "Api", lambda *_args, found=found: Api((found, [])))
        read = provider.read("it", PROPS).outs
        assert provider.diff("it", read, PROPS).changes is changed


def test_a_change_of_the_time_limit_is_nothing_to_wait_for():
    provider = ready._ReadyProvider()
    assert provider.diff("it", PROPS, {**PROPS, "timeout": 1}).changes is False
    for key in ("uid", "version", "name"):
        assert provider.diff("it", PROPS, {**PROPS, key: "other"}).changes is True


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A cluster's API over HTTP, with a kubeconfig that names it; path → answer, and what was asked."""
    answers, asked = {}, []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers.get("Authorization")))
            found = answers.get(self.path.split("?")[0])
            self.send_response(200 if found is not None else 404)
            self.end_headers()
            self.wfile.write(found if isinstance(found, bytes) else json.dumps(found).encode())

        def log_message(self, *_arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "elsewhere",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [
            {"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}
        ],
        "users": [{"name": "u", "user": {"token": "typedtoken"}}],
    }
    file = tmp_path / "config"
    file.write_text(yaml.safe_dump(kubeconfig))
    monkeypatch.setenv("KUBECONFIG", str(file))
    yield kubeconfig, answers, asked
    server.shutdown()
    server.server_close()


def test_a_cluster_is_asked_by_context_or_content_of_a_kubeconfig(cluster):
    kubeconfig, answers, asked = cluster
    here = "/apis/apps/v1/namespaces/mlflow-prod"
    core = "/api/v1/namespaces/mlflow-prod"
    found = {key: value for key, value in workload().items() if key != "kind"}
    answers |= {
        f"{here}/deployments/it": found,
        f"{here}/replicasets": {"items": SETS},
        f"{core}/pods": {"items": [pod(waiting={"reason": "CrashLoopBackOff"}, restartCount=2)]},
        f"{core}/events": {"items": []},
        f"{core}/pods/it-x/log": b"first\nlast line",
    }
    # A context is looked up when it is asked, and the current one is never taken for it.
    by_content = {**kubeconfig, "current-context": "here"}
    for access in ({"context": "here"}, {"kubeconfig": yaml.safe_dump(by_content)}):
        api = ready.Api(access, "mlflow-prod")
        with pytest.raises(ready.RolloutError, match="last line"):
            ready.Watch(api, PROPS).wait()
    assert {token for _, token in asked} == {"Bearer typedtoken"}
    assert any("labelSelector=a%3Db" in path for path, _ in asked)
    assert any("previous=true" in path.lower() for path, _ in asked)


def test_a_context_that_is_not_there_is_told(cluster):
    with pytest.raises(ready.RolloutError, match="nowhere"):
        ready.Api({"context": "nowhere"}, "mlflow-prod")
