"""Whether a workload of Kubernetes runs what it was told to, and what keeps it from that, by what the API says."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_SOON = 10
"""Seconds that something which cannot mend itself must last: a second try has then failed like the first."""

_LATER = 30
"""Seconds for what may mend itself, such as a Secret that the kubelet has not seen yet."""

_RESTARTS = 2
"""Restarts after which a crash counts: the third start fails like the first two."""

_HOPELESS = re.compile(
    r"not ?found|manifest unknown|name unknown|unknown to registry|does not exist|unauthori[sz]ed"
    r"|authentication required|authorization failed|denied|forbidden|no basic auth|no match for platform"
    r"|invalid reference|no such host|x509|gave HTTP response to HTTPS client|\b40[134]\b",
    re.IGNORECASE,
)
"""What registries and container runtimes say of an image that nobody gets by trying again. Not a time-out, a refused
connection, a full disk, or too many requests: these keep the rollout's own time."""

_BARE = re.compile(r'Back-off pulling image "[^"]*"')
"""What is said between two tries by releases of Kubernetes that do not repeat the cause there."""

_CONFIG = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}


@dataclass(frozen=True)
class Fault:
    """What keeps a container, or a whole pod, from running.

    Attributes:
        where: pod and container, or the object that makes pods.
        reason: as the API has it.
        message: as the API has it; empty where it says no cause.
        lasts: seconds after which nobody waits any longer; None where waiting is right.
        container: whose log tells more; empty for none.
    """

    where: str
    reason: str
    message: str
    lasts: float | None = None
    container: str = ""

    @property
    def key(self) -> str:
        """The same fault has the same key, whatever its message counts."""
        return f"{self.where} {self.reason}"

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}{f': {self.message}' if self.message else ''}"


def settled(found: Mapping[str, Any]) -> bool:
    """Whether a Deployment or StatefulSet runs its newest template and nothing else, or a Job has succeeded.

    Of other kinds: whether they say that they are ready.

    Args:
        found: the object as the API has it.
    """
    status, kind = found.get("status") or {}, found["kind"]
    if kind == "Job":
        return _condition(found, "Complete") is not None
    if kind not in ("Deployment", "StatefulSet"):
        return _condition(found, "Ready") is not None
    if status.get("observedGeneration", 0) < found["metadata"]["generation"]:
        return False  # what follows is about an older template
    wanted = found["spec"].get("replicas", 1)
    if kind == "StatefulSet" and status.get("currentRevision") != status.get("updateRevision"):
        return False
    counts = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    return all(status.get(count, 0) == wanted for count in counts)


def given_up(found: Mapping[str, Any]) -> str:
    """Why Kubernetes itself has given up; empty while it goes on."""
    if found["kind"] == "Job":
        failed = _condition(found, "Failed")
    elif (found.get("status") or {}).get("observedGeneration", 0) < found["metadata"]["generation"]:
        return ""
    else:
        failed = _condition(found, "Progressing", "False")
    return f"{failed.get('reason', 'Failed')}: {failed.get('message', '')}" if failed else ""


def progress(found: Mapping[str, Any]) -> str:
    """How far it is, for people."""
    status = found.get("status") or {}
    if found["kind"] == "Job":
        return f"{status.get('active', 0)} active, {status.get('failed', 0)} failed"
    wanted, now = found["spec"].get("replicas", 1), status.get("updatedReplicas", 0)
    old = status.get("replicas", 0) - now
    ready = f"{min(now, status.get('readyReplicas', 0))} of {wanted} ready"
    return f"{ready}, {old} old to go" if old > 0 else ready


def newest(
    found: Mapping[str, Any], sets: Sequence[Mapping[str, Any]], pods: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """The pods of a workload's newest template.

    Args:
        found: the workload.
        sets: ReplicaSets of its namespace, for a Deployment.
        pods: pods with its labels.
    """
    owner, revision = found["metadata"].get("uid", ""), None
    if found["kind"] == "Deployment":
        key = "deployment.kubernetes.io/revision"
        revision = _annotations(found).get(key)
        owners = [
            one["metadata"]["uid"]
            for one in sets
            if owner in _owners(one) and _annotations(one).get(key) == revision
        ]
        return [pod for pod in pods if set(owners) & set(_owners(pod))]
    own = [pod for pod in pods if owner in _owners(pod)]
    if found["kind"] == "StatefulSet":
        revision = (found.get("status") or {}).get("updateRevision")
        key = "controller-revision-hash"
        return [pod for pod in own if pod["metadata"].get("labels", {}).get(key) == revision]
    return own


def faults(
    found: Mapping[str, Any],
    pods: Sequence[Mapping[str, Any]],
    events: Sequence[Mapping[str, Any]],
) -> list[Fault]:
    """What keeps a workload from being ready.

    Args:
        found: the workload.
        pods: its newest ones.
        events: of the namespace, the last one last.
    """
    seen = [fault for pod in pods for fault in _of_pod(pod, found["kind"])]
    if failure := _condition(found, "ReplicaFailure"):
        seen.append(_unmade(found, failure.get("message", "")))
    elif not pods:
        uid = found["metadata"]["uid"]
        own = [one for one in events if one.get("involvedObject", {}).get("uid") == uid]
        refused = [one for one in own if one.get("reason") == "FailedCreate"]
        seen += [_unmade(found, one.get("message", "")) for one in refused[-1:]]
    named = {pod["metadata"]["name"] for pod in pods}
    for event in events:
        about = event.get("involvedObject", {}).get("name", "")
        if about in named and event.get("reason") in ("FailedMount", "FailedAttachVolume"):
            seen.append(Fault(about, event["reason"], event.get("message", "")))
    return list({fault.key: fault for fault in seen}.values())


def _unmade(found: Mapping[str, Any], message: str) -> Fault:
    return Fault(f"{found['kind']} {found['metadata']['name']}", "FailedCreate", message, _LATER)


def _of_pod(pod: Mapping[str, Any], kind: str) -> Iterator[Fault]:
    name, status = pod["metadata"]["name"], pod.get("status") or {}
    if pod["metadata"].get("deletionTimestamp"):
        return
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            reason = condition.get("reason", "Unschedulable")
            yield Fault(f"pod {name}", reason, condition.get("message", ""))
    for one in (*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])):
        waiting = one.get("state", {}).get("waiting") or {}
        fault = _of_container(f"pod {name}, container {one['name']}", one, waiting)
        if fault:
            yield fault
        elif kind == "Job" and (ended := one.get("state", {}).get("terminated") or {}).get(
            "exitCode"
        ):
            yield Fault(
                f"pod {name}, container {one['name']}",
                ended.get("reason", "Error"),
                f"exit code {ended['exitCode']}",
                container=one["name"],
            )


def _of_container(
    where: str, status: Mapping[str, Any], waiting: Mapping[str, Any]
) -> Fault | None:
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    if reason in ("InvalidImageName", "ErrImageNeverPull"):
        return Fault(where, reason, message, _SOON)
    if reason in ("ErrImagePull", "ImagePullBackOff"):
        # One key for both: they take turns.
        message = "" if _BARE.fullmatch(message) else message
        hopeless = bool(_HOPELESS.search(_without_name(message, status.get("image", ""))))
        return Fault(where, "ErrImagePull", message, _SOON if hopeless else None)
    if reason in _CONFIG:
        return Fault(where, reason, message, _LATER, status["name"])
    if reason == "CrashLoopBackOff":
        ended = status.get("lastState", {}).get("terminated") or {}
        why = f"{ended.get('reason', 'Error')}, exit code {ended.get('exitCode', '?')}, "
        times = status.get("restartCount", 0)
        text = f"{why}started {times + 1} times"
        return Fault(where, reason, text, 0 if times >= _RESTARTS else None, status["name"])
    return None


def _without_name(message: str, image: str) -> str:
    """What is said of an image, without its name: that may hold any word, such as `not-found`."""
    bare = image.split("@", maxsplit=1)[0].rpartition(":")[0] or image
    return message.replace(image, "").replace(bare, "") if image else message


def _condition(
    found: Mapping[str, Any], kind: str, status: str = "True"
) -> Mapping[str, Any] | None:
    conditions = (found.get("status") or {}).get("conditions") or []
    return next(
        (one for one in conditions if one["type"] == kind and one["status"] == status), None
    )


def _owners(item: Mapping[str, Any]) -> list[str]:
    return [one["uid"] for one in item["metadata"].get("ownerReferences", [])]


def _annotations(item: Mapping[str, Any]) -> Mapping[str, str]:
    return item["metadata"].get("annotations") or {}
