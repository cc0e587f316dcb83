"""Containers of ECS, Kubernetes and Docker, judged alike: images, users, secrets, memory."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pulumi_mlflow.core import manifests
from pulumi_mlflow.core.plan import SECRET, UNKNOWN, Resource, Unknown, dig

from .finding import DOCKER_CONTAINER, Finding, items, known, kubernetes, role, texts

TASK = "aws:ecs/taskDefinition:TaskDefinition"
_JOB = "pulumi-python:dynamic/pulumi-mlflow:DockerJob"
_IMAGE = "docker:index/remoteImage:RemoteImage"

_SECRET_NAME = re.compile(
    r"(^|_)(PASSWORD|PASSWD|PASS|PASSPHRASE|SECRET|TOKEN|API_?KEY|ACCESS_KEY|SECRET_KEY|PRIVATE_KEY|"
    r"CREDENTIALS?|KEK)(_|$)",
    re.IGNORECASE,
)
_NO_SECRET_NAME = re.compile(r"_(FILE|PATH|DIR|ID|NAME|ARN|URL|MODE|TTL|SECONDS)$", re.IGNORECASE)
"""Names that say where a secret is, or what it is called."""

_WITH_PASSWORD = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s:@]*:[^/\s:@$]+@", re.IGNORECASE)
_KEYS = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY|\bAKIA[0-9A-Z]{16}\b")


@dataclass(frozen=True)
class Container:
    """A container, of any runtime.

    Attributes:
        resource: what defines it.
        name: its name there.
        image: what it runs.
        command: entrypoint and arguments.
        environment: variable → value.
        root: why it runs as root or with its rights; empty if it does not.
        memory_mb: its limit, in MiB; None if it has none.
    """

    resource: Resource
    name: str
    image: Any = UNKNOWN
    command: Sequence[Any] = ()
    environment: Mapping[str, Any] = field(default_factory=dict)
    root: str = ""
    memory_mb: Any = UNKNOWN

    @property
    def words(self) -> list[str]:
        """What is known of its command."""
        return texts(list(self.command))


def containers(resource: Resource) -> list[Container]:
    """The containers that a resource defines; none where they are not known yet."""
    if resource.type == TASK:
        return list(_of_ecs(resource))
    if resource.type == DOCKER_CONTAINER:
        return [_of_docker(resource)]
    if resource.type == _JOB:
        return [_of_job(resource)]
    if (pod := _pod(resource)) is not None:
        return list(_of_pod(resource, pod))
    return []


def _of_ecs(resource: Resource) -> Iterator[Container]:
    text = resource.get("containerDefinitions")
    try:
        listed = json.loads(text) if isinstance(text, str) else []
    except json.JSONDecodeError:
        return
    for one in items(listed):
        user = str(dig(one, "user") or "").split(":")[0]
        why = "user is root, or not given" if user in ("", "0", "root") else ""
        if dig(one, "privileged") is True:
            why = "privileged is true"
        yield Container(
            resource,
            str(dig(one, "name")),
            dig(one, "image"),
            [*items(dig(one, "entryPoint")), *items(dig(one, "command"))],
            _variables(dig(one, "environment")),
            why,
            dig(one, "memory") or _number(resource.get("memory")),
        )


def _of_docker(resource: Resource) -> Container:
    user = resource.get("user")
    root_user = str(user or "").split(":")[0] in ("", "0", "root")
    why = "user is root, or not given" if root_user and not isinstance(user, Unknown) else ""
    if resource.get("privileged") is True:
        why = "privileged is true"
    pairs = [text.partition("=") for text in texts(resource.get("envs"))]
    return Container(
        resource,
        str(resource.get("name") or resource.name),
        resource.get("image"),
        [*items(resource.get("entrypoints")), *items(resource.get("command"))],
        {name: value for name, _, value in pairs},
        why,
        resource.get("memory"),
    )


def _of_job(resource: Resource) -> Container:
    """A one-shot container; the component sets its user and limits by itself."""
    environment = resource.get("environment")
    return Container(
        resource,
        str(resource.get("name") or resource.name),
        resource.get("image"),
        items(resource.get("command")),
        environment if isinstance(environment, Mapping) else {},
    )


def _pod(resource: Resource) -> Mapping[str, Any] | None:
    match kubernetes(resource):
        case "Pod":
            found = resource.get("spec")
        case "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job":
            found = resource.get("spec", "template", "spec")
        case "CronJob":
            found = resource.get("spec", "jobTemplate", "spec", "template", "spec")
        case _:
            return None
    return found if isinstance(found, Mapping) else None


def _of_pod(resource: Resource, pod: Mapping[str, Any]) -> Iterator[Container]:
    whole = pod.get("securityContext") or {}
    for one in [*items(pod.get("initContainers")), *items(pod.get("containers"))]:
        yield Container(
            resource,
            str(dig(one, "name")),
            dig(one, "image"),
            [*items(dig(one, "command")), *items(dig(one, "args"))],
            _variables(dig(one, "env")),
            _root_of_pod(dig(one, "securityContext") or {}, whole),
            _mib(dig(one, "resources", "limits", "memory")),
        )


def _root_of_pod(own: Any, whole: Any) -> str:
    if dig(own, "privileged") is True:
        return "privileged is true"
    if dig(own, "allowPrivilegeEscalation") is True:
        return "allowPrivilegeEscalation is true"
    users = [dig(own, "runAsUser"), dig(whole, "runAsUser")]
    user = users[0] if users[0] is not None else users[1]
    if user == 0:
        return "runAsUser is 0"
    rules = [dig(own, "runAsNonRoot"), dig(whole, "runAsNonRoot")]
    rule = rules[0] if rules[0] is not None else rules[1]
    return (
        "" if rule is True or (rule is not None and not known(rule)) else "runAsNonRoot is not true"
    )


def _variables(listed: Any) -> dict[str, Any]:
    return {
        str(dig(one, "name")): dig(one, "value")
        for one in items(listed)
        if dig(one, "value") is not None
    }


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isdigit() else value


_UNITS = {
    "Ki": 1 / 1024,
    "Mi": 1,
    "Gi": 1024,
    "Ti": 1024 * 1024,
    "M": 1e6 / 2**20,
    "G": 1e9 / 2**20,
}


def _mib(value: Any) -> Any:
    """Memory of Kubernetes, in MiB."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(Ki|Mi|Gi|Ti|M|G)?", str(value)) if known(value) else None
    if found is None:
        return value
    return float(found[1]) * (_UNITS[found[2]] if found[2] else 1 / 2**20)


def versions(resource: Resource) -> Iterator[Finding]:
    """Images by no version, or by `latest`."""
    images = [(each.name, each.image) for each in containers(resource)]
    if resource.type == _IMAGE:
        images = [(resource.name, resource.get("name"))]
    if kubernetes(resource) == "Cluster":
        images = [("instances", resource.get("spec", "imageName"))]
    for name, image in images:
        if not isinstance(image, str) or image == SECRET or image.startswith("sha256:"):
            continue
        try:
            manifests.check_image(image)
        except ValueError:
            yield Finding(
                resource,
                f"image of {name} is {image!r}, which is another one tomorrow",
                "name a digest (@sha256:…) or a tag that is not 'latest'",
            )


def root(resource: Resource) -> Iterator[Finding]:
    """Containers that run as root, or with its rights."""
    for each in containers(resource):
        if each.root:
            yield Finding(
                resource, f"container {each.name}: {each.root}", "run it as a user of its own"
            )


def secrets(resource: Resource) -> Iterator[Finding]:
    """Secrets where everybody reads them who may look at a container, a task or a ConfigMap."""
    if resource.type in _SHOWN and resource.get(_SHOWN[resource.type][0]) == SECRET:
        yield Finding(resource, *_SHOWN[resource.type][1:])
    for each in containers(resource):
        told = [(f"variable {name}", name, value) for name, value in each.environment.items()]
        told += [("an argument", "", word) for word in each.words]
        for what, name, value in told:
            if why := _why_secret(name, value):
                yield Finding(resource, f"{what} of {each.name} {why}", _AS_FILE)
    data = resource.get("data") if kubernetes(resource) == "ConfigMap" else None
    for name, value in data.items() if isinstance(data, Mapping) else ():
        if why := _why_secret(str(name), value):
            yield Finding(resource, f"key {name} {why}", "put it into a Secret")


_AS_FILE = "give it as a file from a secret of the runtime"
_SHOWN = {
    TASK: (
        "containerDefinitions",
        "containerDefinitions holds a secret, and ECS shows it to whoever may describe tasks",
        "name it under `secrets`, from Secrets Manager",
    ),
    DOCKER_CONTAINER: ("envs", "envs is a secret, and `docker inspect` shows it", _AS_FILE),
}
"""Type → input that is shown to many, what to say where it is a secret as a whole, and the mend."""


def _why_secret(name: str, value: Any) -> str:
    """Why a value looks like a secret; empty if it does not. The value is not in it."""
    if not isinstance(value, str) or not value:
        return ""
    if value == SECRET:
        return "is a secret of the stack"
    if _WITH_PASSWORD.search(value):
        return "is a URL with a password"
    if _KEYS.search(value):
        return "is a key"
    named = _SECRET_NAME.search(name) and not _NO_SECRET_NAME.search(name)
    # A path or a reference says where the secret is.
    elsewhere = value.startswith(("/", "$(", "${")) or value.lower() in ("true", "false")
    return "is named like a secret" if named and not elsewhere else ""


def memory(resource: Resource) -> Iterator[Finding]:
    """Containers that may take all memory of their machine."""
    for each in containers(resource):
        if each.memory_mb is None or each.memory_mb == 0:
            yield Finding(
                resource, f"container {each.name} has no limit on its memory", _LIMIT[_of(resource)]
            )


def _of(resource: Resource) -> str:
    return "aws" if resource.type == TASK else "kubernetes" if kubernetes(resource) else "docker"


_LIMIT = {
    "aws": "set `memory` of the task",
    "kubernetes": "set resources.limits.memory",
    "docker": "set memory and memorySwap",
}


def servers(resources: Sequence[Resource]) -> list[Container]:
    """The containers that are MLflow's servers."""
    return [
        each
        for resource in resources
        for each in containers(resource)
        if {"mlflow", "server"} <= set(each.words) and role(resource) in ("", "tracking", "jobs")
    ]
