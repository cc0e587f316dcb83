"""What a stack's exported state says: what is protected, and which secrets it holds. Pure."""

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pulumi_mlflow.core.plan import SECRET_SIGNATURE, SIGNATURE

GENERATED_SECRET = "pulumi-python:dynamic/pulumi-mlflow:GeneratedSecret"  # noqa: S105, a type
"""Type token of `pulumi_mlflow.generated.GeneratedSecret`."""


class Protected(NamedTuple):
    """A resource that `pulumi destroy` leaves alone."""

    name: str
    kind: str
    identity: str
    """The provider's id, such as a volume's name; empty for components."""


def resources(state: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The resources of an exported state; none for a stack that was never up."""
    yield from (state.get("deployment") or {}).get("resources") or []


def logical_name(resource: Mapping[str, Any]) -> str:
    """The name that the program gave the resource."""
    return str(resource["urn"]).rsplit("::", 1)[-1]


def protected(state: Mapping[str, Any]) -> list[Protected]:
    """The protected resources, in the order of the state."""
    return [
        Protected(logical_name(r), str(r["type"]), str(r.get("id", "")))
        for r in resources(state)
        if r.get("protect")
    ]


def locked(state: Mapping[str, Any]) -> list[Protected]:
    """The resources that AWS itself refuses to delete, whatever Pulumi says."""
    return [
        Protected(logical_name(r), str(r["type"]), str(r.get("id", "")))
        for r in resources(state)
        if (r.get("inputs") or {}).get("deletionProtection") is True
    ]


def in_cloud(state: Mapping[str, Any]) -> bool:
    """Whether anything is in AWS or in a cluster: what others use, and cannot be put back by hand."""
    return any(str(r["type"]).startswith(("aws:", "kubernetes:")) for r in resources(state))


def is_up(state: Mapping[str, Any]) -> bool:
    """Whether anything runs: after `down` only protected resources are left, below the components that own them.

    Their stack's outputs stay too, and would name a port that may be somebody else's by now.
    """
    return any(
        r.get("custom") and not r.get("protect") and not r["type"].startswith("pulumi:providers:")
        for r in resources(state)
    )


def generated_secrets(state: Mapping[str, Any]) -> dict[str, str]:
    """Logical name and value of every `GeneratedSecret`.

    Args:
        state: exported with its secrets in plain.
    """
    return {
        logical_name(r): json.loads(r["outputs"]["value"]["plaintext"])
        for r in resources(state)
        if r["type"] == GENERATED_SECRET
    }


def generated_secret_names(state: Mapping[str, Any]) -> set[str]:
    """Logical names of every `GeneratedSecret`; the state may be encrypted."""
    return {logical_name(r) for r in resources(state) if r["type"] == GENERATED_SECRET}


def with_secrets(state: Mapping[str, Any], values: Mapping[str, str]) -> dict[str, Any]:
    """A copy of the state in which the named `GeneratedSecret`s have other values.

    Args:
        state: exported, encrypted or not; what is not named stays as it is.
        values: logical name → new value.
    """
    changed = copy.deepcopy(dict(state))
    for resource in resources(changed):
        name = logical_name(resource)
        if resource["type"] == GENERATED_SECRET and name in values:
            resource["outputs"]["value"] = {
                SIGNATURE: SECRET_SIGNATURE,
                "plaintext": json.dumps(values[name]),
            }
    return changed
