"""What moving a database and moving a store have in common: a switch of settings that the data guard refuses otherwise.

The stack file says where the data shall be, the guard in the stack's state says where it is. In between, the state says
`migrating`, and any ordinary preview or `up` is refused: an interrupted move can only be finished or taken back.
"""

import copy
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import docker

from pulumi_mlflow.guard import GUARD, MIGRATING

from . import state
from .errors import OpsError
from .stack import Stack

VOLUME = "docker:index/volume:Volume"

Progress = Callable[[str], None]
"""Called with what is being done."""


@dataclass(frozen=True)
class Plan:
    """What a move would do.

    Args:
        before: settings that the data was made with.
        begun: settings that an earlier move began to move it to; else those of `before`.
        after: settings of the stack file.
        resumed: whether an earlier move began and did not end.
        volumes: data volumes that it makes.
    """

    before: Mapping[str, str]
    begun: Mapping[str, str]
    after: Mapping[str, str]
    resumed: bool
    volumes: list[str]

    @property
    def back(self) -> bool:
        """Whether it takes an earlier move back: nothing is copied."""
        return self.resumed and self.before == self.after

    def __str__(self) -> str:
        """The settings that change, as the user knows them."""
        keys = [k for k in {**self.before, **self.after} if self.before.get(k) != self.after.get(k)]
        return ", ".join(
            f"{key} {self.before.get(key, '(none)')} → {self.after.get(key, '(none)')}"
            for key in keys
        )


class Move:
    """The data of one role, on its way to where the stack file says.

    Args:
        stack: must have been up.
        role: `database` or `artifacts`.
    """

    def __init__(self, stack: Stack, role: str) -> None:
        self.stack, self.role = stack, role
        self._kept: Mapping[str, Any] | None = None

    def open(self, *, keep: bool = True) -> None:
        """Let `up` replace the role's protected data resources; `cancel` takes it back.

        Args:
            keep: whether volumes that go stay on the engine, no longer part of the stack. The next `up` protects
                again whatever the program still has.

        Raises:
            OpsError: the stack has no such data.
        """
        exported = self.stack.export()
        self._kept = self._kept or exported
        self.stack.replace_state(opened(exported, self.role, keep=keep))

    def cancel(self) -> None:
        """Put the state back as it was; only before `up`."""
        if self._kept is not None:
            self.stack.replace_state(self._kept)

    def plan(self) -> Plan:
        """What `up` would do now; also proves that the stack file is right.

        Raises:
            OpsError: pulumi refuses the stack file; its reasons are on the terminal.
        """
        found = guard(self.stack.export(), self.role)["inputs"]
        with _migrating(self.role):
            try:
                printed = self.stack.read("preview", "--json", "--show-sames")
            except OpsError:
                self.stack.stream("preview")
                raise
        # Those of a refresh come first, with what is there.
        steps = [step for step in json.loads(printed)["steps"] if step["op"] != "refresh"]
        after = next(
            step["newState"]["inputs"]["settings"]
            for step in steps
            if _type(step) == GUARD and step["newState"]["inputs"]["role"] == self.role
        )
        resumed = bool(found.get("migrating"))
        return Plan(
            begun=found["settings"],
            before=found["before"] if resumed else found["settings"],
            after=after,
            resumed=resumed,
            volumes=[
                step["newState"]["inputs"]["name"]
                for step in steps
                if _type(step) == VOLUME
                and step.get("newState", {}).get("protect")
                and step["op"] in ("create", "replace", "create-replacement")
            ],
        )

    def up(self) -> None:
        """Bring the stack up where the stack file says.

        Raises:
            OpsError: pulumi fails; the same move can be run again, or taken back.
        """
        try:
            with _migrating(self.role):
                self.stack.stream("up", "--yes", "--skip-preview")
        except OpsError as error:
            raise OpsError(
                f"{error}. No server runs on data that was not verified. When the cause is mended, run "
                f"migrate-{self.role} again and it goes on; or put the old settings back into "
                f"Pulumi.{self.stack.name}.yaml, run it, and it goes back"
            ) from error

    def close(self) -> None:
        """Say that the data is where the stack file says and was verified; ordinary `up`s pass again.

        Raises:
            OpsError: pulumi fails.
        """
        self.stack.replace_state(closed(self.stack.export(), self.role))
        self.stack.stream("up", "--yes", "--skip-preview")


def docker_ops(stack: Stack, what: str) -> Mapping[str, Any]:
    """What operations need to know of a stack whose data can be moved.

    Args:
        stack: the stack; up, or in the middle of a move.
        what: command and what it moves, for the error.

    Raises:
        OpsError: the stack is of another runtime.
    """
    outputs = stack.outputs()
    if outputs.runtime != "docker":
        raise OpsError(
            f"stack '{stack.name}': {what} of the docker runtime (this one is '{outputs.runtime}')"
        )
    return outputs.ops


def require_free(plan: Plan, client: docker.DockerClient) -> None:
    """Refuse a move into a volume that is there already: nobody knows whose data it holds.

    Raises:
        OpsError: names the volume and how to remove it.
    """
    present = {volume.name for volume in client.volumes.list()}
    taken = sorted(present.intersection(plan.volumes))
    if taken:
        raise OpsError(
            f"volume {', '.join(taken)}: is there, with data of an earlier time; if you do not need that any more: "
            f"docker volume rm {' '.join(taken)}"
        )


def guard(exported: Mapping[str, Any], role: str) -> dict[str, Any]:
    """The role's data guard in an exported state.

    Raises:
        OpsError: there is none.
    """
    for resource in state.resources(exported):
        # Release 0.1's have no role.
        known = resource.get("inputs", {}).get("role") or state.logical_name(resource)
        if resource["type"] == GUARD and known in (role, f"{role}-guard"):
            return resource
    raise OpsError(
        f"{role}: this stack's state has no data guard; run 'up' with this version first"
    )


def opened(exported: Mapping[str, Any], role: str, *, keep: bool) -> dict[str, Any]:
    """A copy of the state in which the role's data may be replaced.

    Args:
        exported: a stack's state.
        role: `database` or `artifacts`.
        keep: whether the engine keeps volumes that leave the state.
    """
    changed = copy.deepcopy(dict(exported))
    prefix = state.logical_name(guard(changed, role)).removesuffix("guard")
    for resource in state.resources(changed):
        mine = state.logical_name(resource).startswith(prefix) and resource["type"] != GUARD
        if not mine or not resource.get("protect") or resource.get("delete"):
            continue
        resource["protect"] = False
        if resource["type"] == VOLUME:
            resource["retainOnDelete"] = keep
    return changed


def closed(exported: Mapping[str, Any], role: str) -> dict[str, Any]:
    """A copy of the state in which the role's guard remembers the new settings, and no move."""
    changed = copy.deepcopy(dict(exported))
    resource = guard(changed, role)
    for part in ("inputs", "outputs"):
        resource[part].pop("before", None)
        resource[part]["migrating"] = False
    return changed


def _type(step: Mapping[str, Any]) -> str:
    return str(step.get("newState", {}).get("type", ""))


@contextmanager
def _migrating(role: str) -> Iterator[None]:
    """The program's guards and components see that this role's data is being moved."""
    os.environ[MIGRATING] = role
    try:
        yield
    finally:
        del os.environ[MIGRATING]
