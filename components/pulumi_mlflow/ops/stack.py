"""A Pulumi stack, seen from outside: its outputs and its state, read and written through the `pulumi` command."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from requests.auth import HTTPBasicAuth

from pulumi_mlflow.contracts import AuthMode

from . import state
from .errors import OpsError

PULUMI_SECONDS = 120
"""How long a reading command may take. Measured 1-3 s; the rest is for a remote state backend."""

PROBE_SECONDS = 10
"""How long a server may take to answer a health check before it counts as down."""

TOOLCHAIN = Path("toolchain") / "setup.py"
"""The set-up script of this repository; a project without it uses the `pulumi` on PATH."""


def basic_auth(username: str, password: str) -> HTTPBasicAuth:
    """A login in UTF-8, as MLflow's client sends it; requests would encode text as Latin-1."""
    return HTTPBasicAuth(username.encode(), password.encode())


class FrontDoor(BaseModel):
    """Where a client finds an MLflow server, and what it logs in with."""

    model_config = ConfigDict(frozen=True)

    tracking_uri: str
    """URL without a trailing slash."""
    username: str | None = None
    """None where the server asks for no login."""
    password: SecretStr | None = None

    @property
    def login(self) -> tuple[str, str] | None:
        """User and password; None where the server asks for no login."""
        if self.username is None or self.password is None:
            return None
        return self.username, self.password.get_secret_value()

    def get(self, path: str) -> requests.Response:
        """Ask the server for a path, logged in."""
        auth = basic_auth(*self.login) if self.login else None
        return requests.get(f"{self.tracking_uri}{path}", auth=auth, timeout=PROBE_SECONDS)

    def version(self) -> str:
        """MLflow's version, as the server tells it.

        Raises:
            OpsError: nothing answers, or what answers is not MLflow or refuses the login.
        """
        url = f"{self.tracking_uri}/version"
        try:
            answer = self.get("/version")
        except requests.RequestException as error:
            raise OpsError(f"{url}: no answer ({type(error).__name__})") from error
        if answer.status_code != requests.codes.ok:
            raise OpsError(f"{url}: answered {answer.status_code} instead of MLflow's version")
        return answer.text.strip()


class StackOutputs(BaseModel):
    """What `infra/compose.py` exports, as far as these commands need it."""

    model_config = ConfigDict(frozen=True)

    tracking_uri: str
    auth_mode: AuthMode
    runtime: str = Field(pattern=r"^[a-z]+$")
    username: str | None = None
    password: SecretStr | None = None
    ops: dict[str, Any] = {}

    @property
    def front_door(self) -> FrontDoor:
        """The server as a client sees it."""
        login = self.auth_mode is not AuthMode.NONE
        return FrontDoor(
            tracking_uri=self.tracking_uri.rstrip("/"),
            username=self.username if login else None,
            password=self.password if login else None,
        )


def find_project(start: Path) -> Path:
    """The folder of the Pulumi project that `start` is in.

    Raises:
        OpsError: neither `start` nor a folder above it has a Pulumi.yaml.
    """
    for folder in (start, *start.parents):
        if (folder / "Pulumi.yaml").is_file():
            return folder
    raise OpsError(f"{start}: no Pulumi.yaml here or above; change to the project's folder")


@dataclass(frozen=True)
class Stack:
    """One stack of one project.

    Args:
        project: folder of Pulumi.yaml.
        name: the stack's name, as `pulumi -s` takes it.
    """

    project: Path
    name: str

    def command(self, *arguments: str) -> list[str]:
        """A `pulumi` command on this stack that finds the project's own programs, venv and passphrase."""
        toolchain = self.project / TOOLCHAIN
        prefix = [sys.executable, str(toolchain), "run", "--"] if toolchain.is_file() else []
        return [*prefix, "pulumi", *arguments, "--stack", self.name]

    def read(self, *arguments: str, stdin: str | None = None) -> str:
        """Run `pulumi` quietly and return what it prints.

        Raises:
            OpsError: it fails, cannot be started, or takes longer than `PULUMI_SECONDS`.
        """
        what = f"pulumi {' '.join(arguments)}"
        try:
            done = subprocess.run(
                [*self.command(*arguments), "--non-interactive", "--color", "never"],
                cwd=self.project,
                input=stdin,
                capture_output=True,
                text=True,
                timeout=PULUMI_SECONDS,
                check=False,
            )
        except FileNotFoundError as error:
            raise OpsError("pulumi: not on PATH; install it, or run 'make setup'") from error
        except subprocess.TimeoutExpired as error:
            raise OpsError(f"{what}: no end after {PULUMI_SECONDS} s") from error
        if done.returncode:
            raise self._failure(what, done.stderr)
        return done.stdout

    def stream(self, *arguments: str) -> None:
        """Run `pulumi` with its output on the terminal.

        Raises:
            OpsError: it fails or cannot be started.
        """
        try:
            code = subprocess.run(
                self.command(*arguments), cwd=self.project, check=False
            ).returncode
        except FileNotFoundError as error:
            raise OpsError("pulumi: not on PATH; install it, or run 'make setup'") from error
        if code:
            raise OpsError(f"pulumi {arguments[0]}: failed (exit code {code}); its cause is above")

    def outputs(self) -> StackOutputs:
        """The stack's outputs, secrets included.

        Raises:
            OpsError: there is no such stack, it is not up, or its outputs are not ours.
        """
        printed = self.read("stack", "output", "--json", "--show-secrets")
        found = json.loads(printed or "{}")
        if not found or not state.is_up(self.export()):
            raise OpsError(f"stack '{self.name}' is not up; {self.up_command}")
        try:
            return StackOutputs.model_validate(found)
        except ValidationError as error:
            # Only the places: pydantic's own text shows values, and these may be secrets.
            fields = ", ".join(".".join(map(str, e["loc"])) for e in error.errors())
            raise OpsError(
                f"stack '{self.name}': outputs missing or malformed: {fields}; {self.up_command}"
            ) from None

    def running(self) -> tuple[StackOutputs, str]:
        """The outputs and MLflow's version, of a stack whose server answers.

        Raises:
            OpsError: as `outputs`, or the server does not answer.
        """
        outputs = self.outputs()
        try:
            return outputs, outputs.front_door.version()
        except OpsError as error:
            raise OpsError(f"stack '{self.name}': {error}; {self.up_command}") from error

    def export(self) -> Mapping[str, Any]:
        """The stack's state with its secrets encrypted."""
        exported: Mapping[str, Any] = json.loads(self.read("stack", "export"))
        return exported

    def export_secrets(self) -> Mapping[str, Any]:
        """The stack's state with its secrets in plain. Never written anywhere."""
        exported: Mapping[str, Any] = json.loads(self.read("stack", "export", "--show-secrets"))
        return exported

    def replace_state(self, new: Mapping[str, Any]) -> None:
        """Make `new` the stack's state; Pulumi encrypts the secrets that it holds in plain.

        It goes through a pipe, so that no secret is on disk.
        """
        self.read("stack", "import", stdin=json.dumps(new))

    @property
    def up_command(self) -> str:
        """What a person types to bring the stack up."""
        if (self.project / "Makefile").is_file():
            return f"make up STACK={self.name}"
        return f"pulumi up -s {self.name}"

    def _failure(self, what: str, stderr: str) -> OpsError:
        if "no stack named" not in stderr:
            return OpsError(f"{what} (stack '{self.name}'): {stderr.strip()}")
        files = self.project.glob("Pulumi.*.yaml")
        known = sorted(f.name.removeprefix("Pulumi.").removesuffix(".yaml") for f in files)
        if self.name in known:
            return OpsError(f"stack '{self.name}' was never up; {self.up_command}")
        return OpsError(
            f"no stack '{self.name}' (this project has files for: {', '.join(known) or 'none'}); "
            f"name one of them, or write Pulumi.{self.name}.yaml"
        )
