"""Who may log in to a stack: list, add, remove, a new password, permissions.

Where users live depends on how they log in. `basic`: their names are in the stack's file and their passwords in its
state, so a change is one of the stack, by `up`. `mlflow`: in MLflow's own database, changed by its REST API as its
administrator; whose password is the stack's. `oidc`: at the identity provider.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import requests

from pulumi_mlflow.contracts import AuthMode
from pulumi_mlflow.core.auth import ADMIN
from pulumi_mlflow.generated import generate

from . import state
from .errors import OpsError
from .stack import PROBE_SECONDS, FrontDoor, Stack, StackOutputs

GRANTS = ("READ", "USE", "EDIT", "MANAGE", "DENY")
NO_GRANT = "NO_PERMISSIONS"
"""Takes a grant away; what is left is the default of `mlflow:access.permissions`."""

_USERS = "mlflow:access.users"


class User(NamedTuple):
    """Somebody who may log in."""

    name: str
    role: str
    """What they are, in a word or two."""


class Change(NamedTuple):
    """What a command has done."""

    said: str
    password: str | None = None
    """The user's new password, to be handed over once; None where there is none, or not yet."""


class Directory(Protocol):
    """Where a stack's users live."""

    def users(self) -> list[User]:
        """Everybody who may log in."""

    def add(self, name: str) -> Change:
        """Let somebody in."""

    def remove(self, name: str) -> Change:
        """Let somebody in no more."""

    def rotate(self, name: str) -> Change:
        """Give somebody a new password; the old one is worth nothing then."""

    def permit(self, name: str, experiment: str, permission: str) -> Change:
        """Say what somebody may do with an experiment."""


def directory(stack: Stack, *, run_up: bool) -> Directory:
    """Where a running stack's users live.

    Args:
        stack: the stack.
        run_up: whether a change of the stack's file is brought about at once, by `up`.

    Raises:
        OpsError: it is not up, or its users are not ours to change.
    """
    outputs = stack.outputs()
    if outputs.auth_mode is AuthMode.BASIC:
        return _Basic(stack, outputs, run_up)
    if outputs.auth_mode is AuthMode.MLFLOW:
        return _Own(stack, outputs.front_door)
    if outputs.auth_mode is AuthMode.NONE:
        raise OpsError(
            f"stack '{stack.name}' asks for no login (mlflow:access.auth is none); set it to basic or mlflow"
        )
    hint = (
        "Groups get their permissions in mlflow:access.permissions.groups and admin_groups; single experiments are "
        "shared in MLflow's own pages"
        if outputs.auth_mode is AuthMode.OIDC_MLFLOW
        else "Who of them may come in is said by mlflow:access.oidc.allowed_groups and email_domains"
    )
    raise OpsError(
        f"stack '{stack.name}': users live at the identity provider (mlflow:access.auth is "
        f"{outputs.auth_mode.value}); add and remove them there. {hint}"
    )


def _only(stack: Stack, end: str, sibling: str, what: str) -> str:
    """Name of the one generated secret with this end whose component has the sibling too.

    Raises:
        OpsError: there is none, or there are several such components.
    """
    known = state.generated_secret_names(stack.export())
    found = [k for k in known if k.endswith(end) and f"{k.removesuffix(end)}{sibling}" in known]
    if len(found) != 1:
        raise OpsError(
            f"stack '{stack.name}': has {len(found)} secrets of {what} that end with '{end}', not one; "
            f"{stack.up_command}"
        )
    return found[0]


def _new_secret(stack: Stack, name: str, password: str) -> None:
    """Put another value in the place of a generated secret, and bring it about."""
    stack.replace_state(state.with_secrets(stack.export(), {name: password}))
    stack.stream("up", "--yes", "--skip-preview")


@dataclass(frozen=True)
class _Basic:
    """Users in the stack's file, passwords in its state."""

    stack: Stack
    outputs: StackOutputs
    run_up: bool

    def users(self) -> list[User]:
        configured = self._configured()
        running = set(self.outputs.users)
        found = [User(str(self.outputs.username), "main user")]
        found += [
            User(name, "user" if name in running else f"comes with {self.stack.up_command}")
            for name in configured
        ]
        gone = sorted(running - set(configured) - {self.outputs.username})
        return found + [User(name, f"goes with {self.stack.up_command}") for name in gone]

    def add(self, name: str) -> Change:
        names = self._configured()
        if name in (*names, self.outputs.username):
            raise OpsError(f"{name}: is a user of stack '{self.stack.name}' already")
        self._config("set", f"{_USERS}[{len(names)}]", name)
        if not self.run_up:
            return Change(
                f"{name}: in {_USERS} of Pulumi.{self.stack.name}.yaml; next: {self.stack.up_command}, and then "
                f"pulumi stack output users --show-secrets -s {self.stack.name} shows the password"
            )
        self.stack.stream("up", "--yes", "--skip-preview")
        password = self.stack.outputs().users.get(name)
        if password is None:
            raise OpsError(f"{name}: no password in the stack's output 'users' after up")
        return Change(f"{name}: may log in", password.get_secret_value())

    def remove(self, name: str) -> Change:
        if name == self.outputs.username:
            raise OpsError(
                f"{name}: is the stack's main user; give it another name in mlflow:access.username instead"
            )
        names = self._configured()
        if name not in names:
            raise _unknown(name, self.stack)
        self._config("rm", f"{_USERS}[{names.index(name)}]")
        if self.run_up:
            self.stack.stream("up", "--yes", "--skip-preview")
            return Change(f"{name}: may log in no more")
        return Change(
            f"{name}: no longer in {_USERS} of Pulumi.{self.stack.name}.yaml; may log in until "
            f"{self.stack.up_command}"
        )

    def rotate(self, name: str) -> Change:
        if name != self.outputs.username and name not in self.outputs.users:
            raise _unknown(name, self.stack)
        main = _only(self.stack, "-login", "-salt", "a front door")
        secret = main if name == self.outputs.username else f"{main}-{name}"
        password = generate()
        _new_secret(self.stack, secret, password)
        return Change(f"{name}: has a new password", password)

    def permit(self, name: str, experiment: str, permission: str) -> Change:
        raise OpsError(
            f"{name}, {experiment}, {permission}: with mlflow:access.auth basic everybody may do everything; "
            "set it to mlflow for permissions"
        )

    def _configured(self) -> list[str]:
        """The further users that the stack's file names."""
        config = json.loads(self.stack.read("config", "--json"))
        access = config.get("mlflow:access", {})
        value = access.get("objectValue") or json.loads(access.get("value") or "{}")
        return [str(name) for name in value.get("users") or []]

    def _config(self, verb: str, key: str, *value: str) -> None:
        # Names such as `true` or `007` would become something else.
        text = ("--type", "string") if value else ()
        self.stack.read("config", verb, "--path", *text, key, *value)


@dataclass(frozen=True)
class _Own:
    """Users in MLflow's database."""

    stack: Stack
    door: FrontDoor

    def users(self) -> list[User]:
        listed = self._call("GET", "2.0/mlflow/users/list")["users"]
        return [
            User(user["username"], "administrator" if user["is_admin"] else "user")
            for user in sorted(listed, key=lambda user: str(user["username"]))
        ]

    def add(self, name: str) -> Change:
        if not name.isprintable() or name != name.strip() or not name or ":" in name:
            # A colon ends the name in a login.
            raise OpsError(
                f"name: must be printable, without ':' and spaces around it (got {name!r})"
            )
        password = generate()
        self._call("POST", "2.0/mlflow/users/create", {"username": name, "password": password})
        return Change(f"{name}: may log in", password)

    def remove(self, name: str) -> Change:
        if name == ADMIN:
            raise OpsError(
                f"{name}: is the stack's own administrator, which the next up makes again"
            )
        self._call("DELETE", "2.0/mlflow/users/delete", {"username": name})
        return Change(f"{name}: may log in no more")

    def rotate(self, name: str) -> Change:
        password = generate()
        if name == ADMIN:
            self._rotate_administrator(password)
        else:
            self._call(
                "PATCH",
                "2.0/mlflow/users/update-password",
                {"username": name, "password": password},
            )
        return Change(f"{name}: has a new password", password)

    def permit(self, name: str, experiment: str, permission: str) -> Change:
        wanted = permission.upper()
        if wanted not in (*GRANTS, NO_GRANT):
            raise OpsError(
                f"permission: must be one of {', '.join((*GRANTS, NO_GRANT))} (got {permission!r})"
            )
        number = self._experiment(experiment)
        grant = {"username": name, "resource_type": "experiment", "resource_id": number}
        # MLflow knows no change of a grant.
        self._call(
            "POST",
            "3.0/mlflow/users/permissions/revoke",
            grant,
            unless="RESOURCE_DOES_NOT_EXIST" if self._knows(name) else "",
        )
        if wanted != NO_GRANT:
            self._call(
                "POST", "3.0/mlflow/users/permissions/grant", {**grant, "permission": wanted}
            )
        return Change(f"{name}: {wanted} on experiment '{experiment}' ({number})")

    def _rotate_administrator(self, password: str) -> None:
        """The stack's state says what it is; the migration of the next `up` tells MLflow."""
        secret = _only(self.stack, "-admin", "-kek", "a tracking server")
        _new_secret(self.stack, secret, password)

    def _knows(self, name: str) -> bool:
        if name in {user.name for user in self.users()}:
            return True
        raise _unknown(name, self.stack)

    def _experiment(self, given: str) -> str:
        """The number of an experiment, by its name or number."""
        found = self._call(
            "GET",
            "2.0/mlflow/experiments/get-by-name",
            {"experiment_name": given},
            unless="RESOURCE_DOES_NOT_EXIST",
        )
        if not found and given.isdecimal():
            found = self._call(
                "GET",
                "2.0/mlflow/experiments/get",
                {"experiment_id": given},
                unless="RESOURCE_DOES_NOT_EXIST",
            )
        if not found:
            raise OpsError(f"experiment: there is none of this name or number (got {given!r})")
        return str(found["experiment"]["experiment_id"])

    def _call(
        self, method: str, path: str, values: Mapping[str, str] | None = None, *, unless: str = ""
    ) -> dict[str, Any]:
        """Call MLflow's API as its administrator.

        Args:
            method: HTTP method.
            path: below `/api/`.
            values: arguments.
            unless: error code that is no error; the answer is then empty.

        Raises:
            OpsError: MLflow refuses, in its own words, or does not answer.
        """
        url = f"{self.door.tracking_uri}/api/{path}"
        sent: dict[str, Any] = {"params": values} if method == "GET" else {"json": values}
        try:
            with self.door.session() as session:
                answer = session.request(
                    method, url, **sent, timeout=PROBE_SECONDS, allow_redirects=False
                )
        except requests.RequestException as error:
            raise OpsError(f"{url}: no answer ({type(error).__name__})") from error
        try:
            known = answer.json()
        except requests.JSONDecodeError:
            known = {}
        if answer.ok:
            return dict(known)
        if unless and known.get("error_code") == unless:
            return {}
        if answer.status_code == requests.codes.unauthorized:
            raise OpsError(
                f"{self.door.tracking_uri}: refuses the password of '{ADMIN}'; if it was changed in MLflow itself, "
                f"pulumi-mlflow users rotate {ADMIN} --stack {self.stack.name} makes it the stack's own again"
            )
        # Without what SQLAlchemy adds to it.
        reason = str(known.get("message") or f"HTTP {answer.status_code}").partition(" Error: (")[0]
        raise OpsError(f"{path.rpartition('mlflow/')[2]}: {reason}")


def _unknown(name: str, stack: Stack) -> OpsError:
    return OpsError(
        f"{name}: no user of stack '{stack.name}'; pulumi-mlflow users list --stack {stack.name} shows them"
    )
