"""What a rule finds, and the few things that all rules ask of a resource."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pulumi_mlflow.core.plan import SECRET, Resource, Unknown

DOCKER_CONTAINER = "docker:index/container:Container"
DOCKER_VOLUME = "docker:index/volume:Volume"
DOCKER_NETWORK = "docker:index/network:Network"
ROLE = "pulumi-mlflow/role"
DATA = ("database", "artifacts")
"""Roles that keep data."""


@dataclass(frozen=True)
class Finding:
    """A resource that breaks a rule.

    Attributes:
        resource: which.
        problem: what is wrong with it; never a secret's value.
        mend: what to change.
    """

    resource: Resource
    problem: str
    mend: str

    def __str__(self) -> str:
        return f"{self.resource.name}: {self.problem}. Mend: {self.mend}."


def known(value: Any) -> bool:
    """Whether a value is there and known; a rule says nothing about one that is not known yet."""
    return value is not None and not isinstance(value, Unknown)


def items(value: Any) -> list[Any]:
    """A list's elements; none where there is no list, or it is not known."""
    known_list = isinstance(value, Sequence) and not isinstance(value, str)
    return list(value) if known_list else []


def texts(value: Any) -> list[str]:
    """The strings of a value that is one, or a list of them."""
    return (
        [value] if isinstance(value, str) else [one for one in items(value) if isinstance(one, str)]
    )


def kind(resource: Resource) -> str:
    """The last word of a type: `Bucket`."""
    return resource.type.rsplit(":", 1)[-1]


def kubernetes(resource: Resource) -> str:
    """The kind of a Kubernetes object; empty for others."""
    return kind(resource) if resource.type.startswith("kubernetes:") else ""


def labels(resource: Resource) -> Mapping[str, Any] | None:
    """Tags or labels; None where they are not known yet."""
    if resource.type.startswith("docker:"):
        found = resource.get("labels")
        if isinstance(found, Unknown):
            return None
        return {
            str(one.get("label")): one.get("value")
            for one in items(found)
            if isinstance(one, Mapping)
        }
    if resource.type.startswith("kubernetes:"):
        found = resource.get("metadata", "labels")
    elif resource.type.startswith("aws:"):
        found = [resource.get("tagsAll"), resource.get("tags")]
        if any(isinstance(one, Unknown) for one in found):
            return None
        found = {
            key: value for one in found if isinstance(one, Mapping) for key, value in one.items()
        }
    else:
        found = resource.get("labels")
    if isinstance(found, Unknown) or found == SECRET:
        return None
    return found if isinstance(found, Mapping) else {}


def role(resource: Resource) -> str:
    """What a resource is for: `database`, `tracking`, …; empty where it does not say."""
    return str((labels(resource) or {}).get(ROLE) or "")


def referring(
    resources: Sequence[Resource], kind_: str, field: str, target: Resource, *names: str
) -> Iterator[Resource]:
    """Resources of a kind whose field is another resource's: by reference, or by its physical name.

    Args:
        resources: of the stack.
        kind_: last word of their type.
        field: of theirs.
        target: the other resource.
        names: the inputs of the other one that hold its physical name.
    """
    physical = {value for name in names if isinstance(value := target.get(name), str)}
    for one in resources:
        if kind(one) == kind_ and (
            target.identity in one.refers.get(field, ()) or one.get(field) in physical
        ):
            yield one
