"""A Pulumi stack, seen from outside: its outputs and its state, read and written through the `pulumi` command."""

import base64
import json
import os
import shlex
import ssl
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from requests.adapters import HTTPAdapter

from pulumi_mlflow.contracts import AuthMode

from . import children, state
from .errors import OpsError

PULUMI_SECONDS = 120
"""How long a reading command may take. Measured 1-3 s; the rest is for a remote state backend."""

PROBE_SECONDS = 10
"""How long a server may take to answer a health check before it counts as down."""

TOKEN = "MLFLOW_TRACKING_TOKEN"  # noqa: S105 - the variable's name
"""Where MLflow's client, and these commands, find a bearer token of the identity provider."""

TOOLCHAIN = Path("toolchain") / "setup.py"
"""The set-up script of this repository; a project without it uses the `pulumi` on PATH."""


def basic(username: str, password: str) -> str:
    """The header `Authorization` of a login in UTF-8, as MLflow's client sends it; requests would use Latin-1."""
    return f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"


class StoreAccess(BaseModel):
    """An artifact store that clients write to themselves, in artifact mode `direct`."""

    model_config = ConfigDict(frozen=True)

    endpoint_url: str | None = None
    """None for S3 itself."""
    region: str | None = None
    addressing: str | None = None
    """`path` or `virtual`; None where boto3 decides."""
    access_key: SecretStr | None = None
    """None where clients have keys of their own."""
    secret_key: SecretStr | None = None


class FrontDoor(BaseModel):
    """Where a client finds an MLflow server, and what it logs in with."""

    model_config = ConfigDict(frozen=True)

    tracking_uri: str
    """URL without a trailing slash."""
    username: str | None = None
    """None where the server asks for no login, or for a token."""
    password: SecretStr | None = None
    token: SecretStr | None = None
    """Bearer token of the identity provider."""
    ca: str | None = None
    """PEM of the certificate authority that signed the server's certificate; None for those of the machine."""
    store: StoreAccess | None = None
    """None where artifacts go through the server."""
    auth_mode: AuthMode | None = None
    """None where it is not known, since the server is not a stack's."""

    @property
    def login(self) -> tuple[str, str] | None:
        """User and password; None where the server asks for no login."""
        if self.username is None or self.password is None:
            return None
        return self.username, self.password.get_secret_value()

    @property
    def wants_token(self) -> bool:
        """Whether programs log in with a token of the identity provider."""
        return self.auth_mode is not None and self.auth_mode.by_provider

    @property
    def authorization(self) -> str | None:
        """The header `Authorization`; None where the server asks for no login."""
        if self.token is not None:
            return f"Bearer {self.token.get_secret_value()}"
        return basic(*self.login) if self.login else None

    @property
    def secrets(self) -> list[str]:
        """What must not be shown."""
        given = [self.password, self.token]
        if self.store is not None:
            given += [self.store.access_key, self.store.secret_key]
        return [secret.get_secret_value() for secret in given if secret]

    def trust(self) -> ssl.SSLContext:
        """What a TLS connection to the server is checked by."""
        return ssl.create_default_context(cadata=self.ca)

    def session(self) -> requests.Session:
        """A session that is logged in, and trusts the server's own certificate authority."""
        session = requests.Session()
        session.auth = self._authorize
        if self.ca:
            session.mount("https://", _Trusting(self.trust()))
        return session

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        # As `auth`, or requests would put a login of ~/.netrc in its place.
        if self.authorization:
            request.headers["Authorization"] = self.authorization
        return request

    def get(self, path: str) -> requests.Response:
        """Ask the server for a path, logged in."""
        with self.session() as session:
            return session.get(
                f"{self.tracking_uri}{path}", timeout=PROBE_SECONDS, allow_redirects=False
            )

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
            hint = f"; set {TOKEN} to a token of yours that is valid" if self.wants_token else ""
            raise OpsError(
                f"{url}: answered {answer.status_code} instead of MLflow's version{hint}"
            )
        return answer.text.strip()


class _Trusting(HTTPAdapter):
    """Connections whose certificates are checked by a context of ours."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **kwargs)


class StackOutputs(BaseModel):
    """What `infra/compose.py` exports, as far as these commands need it."""

    model_config = ConfigDict(frozen=True)

    tracking_uri: str
    auth_mode: AuthMode
    runtime: str = Field(pattern=r"^[a-z]+$")
    username: str | None = None
    password: SecretStr | None = None
    users: dict[str, SecretStr] = {}
    """Further users of `basic` and their passwords."""
    ca: str | None = None
    store: StoreAccess | None = None
    ops: dict[str, Any] = {}

    @property
    def front_door(self) -> FrontDoor:
        """The server as a client sees it, with the user's own token where that is the login."""
        by_token = self.auth_mode.by_provider
        by_password = not by_token and self.auth_mode is not AuthMode.NONE
        token = os.environ.get(TOKEN)
        return FrontDoor(
            tracking_uri=self.tracking_uri.rstrip("/"),
            username=self.username if by_password else None,
            password=self.password if by_password else None,
            token=SecretStr(token) if token and by_token else None,
            ca=self.ca,
            store=self.store,
            auth_mode=self.auth_mode,
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
        command = [*self.command(*arguments), "--non-interactive", "--color", "never"]
        try:
            done = children.run(command, self.project, given=stdin, seconds=PULUMI_SECONDS)
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
            code = children.show(self.command(*arguments), self.project)
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

    def restore_command(self, folder: Path) -> str:
        """What a person types to restore a dump again, which he has agreed to."""
        if (self.project / "Makefile").is_file():
            return shlex.join(["make", "restore", f"STACK={self.name}", f"FROM={folder}", "YES=1"])
        return shlex.join(
            ["pulumi-mlflow", "restore", "--stack", self.name, "--from", str(folder), "--yes"]
        )

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
