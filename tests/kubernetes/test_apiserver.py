"""Every object of ours is accepted by a real API server that enforces restricted pods; what must not be is refused."""

import copy
from collections import Counter

import pytest
from tests.kubernetes import apiserver, cluster, every
from tests.schemas.test_schemas import OPERATORS

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with apiserver.for_tests(tmp_path_factory.mktemp("kube")) as running:
        yield running


@pytest.fixture(scope="module")
def objects(server):
    """What our components make, in a namespace as ours makes it; accounts are there, as pods want them."""
    found = [made for made in every.objects() if made.body["apiVersion"] not in OPERATORS]
    [namespace] = [made for made in found if made.body["kind"] == "Namespace"]
    assert accepted(server.apply(namespace.body)) == []
    for made in found:
        if made.body["kind"] == "ServiceAccount":
            assert accepted(server.apply(made.body)) == []
    return found


def accepted(answer):
    """Warnings, if any: those of the Pod Security Standards, and of versions that will go."""
    assert answer.ok, answer.text
    return [answer.headers["Warning"]] if "Warning" in answer.headers else []


def pods(objects):
    """A pod of every workload's template: those that a controller would make."""
    for made in objects:
        spec = made.body.get("spec", {})
        template = spec.get("jobTemplate", {}).get("spec", spec).get("template")
        if template:
            metadata = {"namespace": cluster.NAMESPACE, "name": f"pod-of-{made.name}"[:60]}
            labels = template["metadata"]["labels"]
            yield (
                made,
                {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "metadata": {**metadata, "labels": labels},
                    "spec": copy.deepcopy(template["spec"]),
                },
            )


def refused(answer, reason):
    assert answer.status_code in (400, 403, 422, 500), answer.text
    assert reason in answer.json()["message"]


def test_the_namespace_enforces_restricted_pods(server, objects):
    [namespace] = [made for made in objects if made.body["kind"] == "Namespace"]
    labels = server.get(namespace.body).json()["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_every_object_is_accepted(server, objects):
    """Schema, validation and admission; no warning, so no version that will go, and no pod that would be refused."""
    wrong = {}
    for made in objects:
        answer = server.apply(made.body, dry_run=True)
        if not answer.ok or "Warning" in answer.headers:
            wrong[str(made)] = answer.headers.get("Warning") or answer.json()["message"]
    assert wrong == {}
    assert len(objects) > 100


def test_pods_of_every_workload_are_admitted(server, objects):
    found = list(pods(objects))
    assert set(Counter(made.body["kind"] for made, _ in found)) == {
        "CronJob",
        "Deployment",
        "Job",
        "StatefulSet",
    }
    for made, pod in found:
        answer = server.apply(pod, dry_run=True)
        assert answer.ok, f"{made}: {answer.text}"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("runAsNonRoot", False),
        ("allowPrivilegeEscalation", True),
        ("privileged", True),
        ("capabilities", {"add": ["NET_ADMIN"]}),
        ("seccompProfile", {"type": "Unconfined"}),
    ],
)
def test_a_pod_that_is_not_restricted_is_refused(server, objects, field, value):
    _, pod = next(pods(objects))
    pod["spec"]["containers"][0].setdefault("securityContext", {})[field] = value
    answer = server.apply(pod, dry_run=True)
    refused(answer, "" if field == "privileged" else 'violates PodSecurity "restricted:latest"')


def test_a_workload_of_pods_that_would_be_refused_is_warned_of(server, objects):
    """So that no warning means something above."""
    bad = changed(first(objects, "Deployment", "tracking"), "spec.template.spec.hostNetwork", True)
    assert "would violate PodSecurity" in accepted(server.apply(bad, dry_run=True))[0]


def test_a_host_path_is_refused(server, objects):
    _, pod = next(pods(objects))
    pod["spec"]["volumes"].append({"name": "host", "hostPath": {"path": "/"}})
    refused(server.apply(pod, dry_run=True), "restricted volume types")


def test_a_slip_is_refused(server, objects):
    """As the schemas of tests/schemas do, for the version of this server."""
    [body, *_] = [made.body for made in objects if made.body["kind"] == "Deployment"]
    body = copy.deepcopy(body)
    body["spec"]["replica"] = 2
    refused(server.apply(body, dry_run=True), "field not declared in schema")


def first(objects, kind, combination):
    [found, *_] = [
        made.body for made in objects if made.body["kind"] == kind and combination in made.combination
    ]  # fmt: skip
    return found


def changed(body, path, value):
    body = copy.deepcopy(body)
    *way, last = path.split(".")
    at = body
    for step in way:
        at = at[int(step)] if step.isdigit() else at[step]
    at[last] = value(at[last]) if callable(value) else value
    return body


IMAGE = "registry.example/other@sha256:" + "1" * 64
IN_PLACE = {
    "replicas": ("Deployment", "tracking", "spec.replicas", 7),
    "image": ("Deployment", "tracking", "spec.template.spec.containers.0.image", IMAGE),
    "memory": ("Deployment", "tracking", "spec.template.spec.containers.0.resources.limits.memory", "9Gi"),
    "the store's image": ("StatefulSet", "data", "spec.template.spec.containers.0.image", IMAGE),
    "a schedule": ("CronJob", "backup", "spec.schedule", "1 2 3 * *"),
}  # fmt: skip
REPLACED = {
    "a job's image": ("Job", "tracking", "spec.template.spec.containers.0.image", IMAGE, "field is immutable"),
    "a selector": ("Deployment", "tracking", "spec.selector.matchLabels", {"a": "b"}, "field is immutable"),
    "a claim's class": ("PersistentVolumeClaim", "data", "spec.storageClassName", "other", "spec is immutable"),
    "a claim's way of access": ("PersistentVolumeClaim", "data", "spec.accessModes", ["ReadWriteMany"], "spec is immutable"),
    "a smaller claim": ("PersistentVolumeClaim", "data", "spec.resources.requests.storage", "1Mi", "can not be less than"),
    "the service of a set": ("StatefulSet", "data", "spec.serviceName", "other", "are forbidden"),
}  # fmt: skip


@pytest.fixture(scope="module")
def there(server, objects):
    """One of each kind, for real."""
    for kind, combination, *_ in [*IN_PLACE.values(), *REPLACED.values()]:
        accepted(server.apply(first(objects, kind, combination)))
    return server


@pytest.mark.parametrize(("kind", "combination", "path", "value"), IN_PLACE.values(), ids=IN_PLACE)
def test_what_changes_in_place(there, objects, kind, combination, path, value):
    body = first(objects, kind, combination)
    before = there.get(body).json()["metadata"]["uid"]
    answer = there.apply(changed(body, path, value), dry_run=True)
    accepted(answer)
    assert answer.json()["metadata"]["uid"] == before


@pytest.mark.parametrize(
    ("kind", "combination", "path", "value", "reason"), REPLACED.values(), ids=REPLACED
)
def test_what_would_be_another_object(there, objects, kind, combination, path, value, reason):
    """The table of docs/replaces.md names these by this test."""
    body = first(objects, kind, combination)
    if kind == "PersistentVolumeClaim":
        body = bound(there, body)
    refused(there.apply(changed(body, path, value), dry_run=True), reason)


def bound(server, body):
    """A claim that has its disk: nobody here gives it one, and some rules hold from then on."""
    given = changed(body, "spec", lambda spec: {**spec, "storageClassName": spec.get("storageClassName", "standard")})  # fmt: skip
    given["metadata"]["name"] = "bound"
    accepted(server.apply(given))
    live = server.get(given).json()
    live["status"] = {"phase": "Bound", "capacity": given["spec"]["resources"]["requests"]}
    assert server.session.put(f"{server.path(given)}/status", json=live, timeout=30).ok
    return given
