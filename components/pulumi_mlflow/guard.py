"""Settings that data was made with: a change of one is refused at preview, until its data has been moved."""

import os
from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi.dynamic import (
    CheckFailure,
    CheckResult,
    CreateResult,
    DiffResult,
    Resource,
    ResourceProvider,
    UpdateResult,
)

MIGRATING = "PULUMI_MLFLOW_MIGRATING"
"""Variable that `pulumi-mlflow migrate-database` and `migrate-artifacts` set: the role whose data they are moving."""

GUARD = "pulumi-python:dynamic/pulumi-mlflow:DataGuard"
"""Type token in a stack's state."""

_FIRST_OWNERS = {"database": "DockerDatabase", "artifacts": "DockerArtifactStore"}
"""Role → class of the component that the guard was below in release 0.1."""


def mend(role: str, stack: str) -> str:
    """How a person goes on after a refusal.

    Args:
        role: `database` or `artifacts`.
        stack: name of the stack.
    """
    return (
        f"move it with `pulumi-mlflow migrate-{role} --stack {stack}`, which stops the server, copies, compares and "
        "switches, or put the setting back"
    )


class _Provider(ResourceProvider):
    serialize_as_secret_always = False

    def check(self, olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        # Of release 0.1: no role, and nothing but settings.
        was, now = olds.get("settings") or {}, news["settings"]
        if news.get("migrating"):
            before = olds["before"] if olds.get("migrating") else was
            return CheckResult({**news, "before": before}, [])
        if olds.get("migrating"):
            before = ", ".join(f"{key} {value}" for key, value in olds["before"].items())
            unverified = (
                f"the data has left its place ({before}) and has not been verified in the new one: run "
                f"`pulumi-mlflow migrate-{news['role']} --stack {news['stack']}` again, which goes on, or back if you "
                "have put the settings back"
            )
            return CheckResult(news, [CheckFailure("settings", unverified)])
        failures = [
            CheckFailure(
                "settings",
                f"{key}: {now.get(key)!r} is refused while there is data made with {was[key]!r}: {news['mend']}",
            )
            for key in was
            if was[key] != now.get(key)
        ]
        return CheckResult(news, failures)

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(id_="guard", outs=props)

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        changed = [key for key in ("settings", "migrating") if olds.get(key) != news[key]]
        return DiffResult(changes=bool(changed))

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(outs=news)


class DataGuard(Resource, module="pulumi-mlflow", name="DataGuard"):
    """Remembers, with the data, the settings it was made with.

    It stands beside the component that fills the role, not below it, so that it is the same resource whatever fills
    the role: a switch from our PostgreSQL to an existing one is seen as well.

    Args:
        name: logical name; `<component>-guard`.
        role: `database` or `artifacts`.
        settings: key → value, as the user knows them.
        opts: options of the component; its parent is the guard's too, and `protect` is set, since it must live as
            long as the data.
        component: the component beside it; none for an existing database or store.
    """

    def __init__(
        self,
        name: str,
        role: str,
        settings: Mapping[str, str],
        opts: pulumi.ResourceOptions | None = None,
        component: pulumi.Resource | None = None,
    ) -> None:
        stack = pulumi.get_stack()
        owner: pulumi.Input[str] | pulumi.Resource = component or (
            f"urn:pulumi:{stack}::{pulumi.get_project()}::pulumi-mlflow:index:{_FIRST_OWNERS[role]}"
            f"::{name.removesuffix('-guard')}"
        )
        super().__init__(
            _Provider(),
            name,
            {
                "role": role,
                "stack": stack,
                "settings": dict(settings),
                "mend": mend(role, stack),
                "migrating": os.environ.get(MIGRATING) == role,
            },
            pulumi.ResourceOptions(
                parent=opts.parent if opts else None,
                protect=True,
                aliases=[pulumi.Alias(parent=owner)],
            ),
        )
