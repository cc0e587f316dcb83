"""What a person or a training script needs to reach a stack's server, as text to read, to paste, or as a file."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from enum import Enum
from pathlib import Path

from pulumi_mlflow.core import server

from .errors import OpsError
from .stack import TOOLCHAIN, FrontDoor, Stack, StackOutputs

_PROGRAM = "pulumi-mlflow"

_LOGIN = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
_TOKEN = "MLFLOW_TRACKING_TOKEN"  # noqa: S105 - the variable's name
_CA = "MLFLOW_TRACKING_SERVER_CERT_PATH"

_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,=-]+")
"""Values that every reader takes as they are, `docker run --env-file` too, which knows no quotes."""


class Format(str, Enum):
    """How variables are written."""

    SHELL = "shell"
    DOTENV = "dotenv"


def variables(door: FrontDoor, ca_file: Path | None) -> dict[str, str]:
    """Environment variables that make MLflow's client, and boto3 in artifact mode `direct`, use this server.

    Args:
        door: the server.
        ca_file: where the certificate of the server's authority was written; None where it has none of its own.
    """
    found = {"MLFLOW_TRACKING_URI": door.tracking_uri}
    if door.login is not None:
        found |= dict(zip(_LOGIN, door.login, strict=True))
    if ca_file is not None:
        found[_CA] = str(ca_file)
    store = door.store
    if store is not None:
        optional = {
            "MLFLOW_S3_ENDPOINT_URL": store.endpoint_url,
            "AWS_DEFAULT_REGION": store.region,
            server.ADDRESSING: store.addressing,
            "AWS_ACCESS_KEY_ID": store.access_key and store.access_key.get_secret_value(),
            "AWS_SECRET_ACCESS_KEY": store.secret_key and store.secret_key.get_secret_value(),
        }
        if store.endpoint_url:
            # boto3 1.36 and later send checksums that only S3 itself knows.
            optional |= dict.fromkeys(
                ("AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION"),
                "when_required",
            )
        found |= {name: value for name, value in optional.items() if value}
    return found


def lines(door: FrontDoor, form: Format, ca_file: Path | None = None) -> list[str]:
    """The variables as lines of a shell, for `eval`, or of a dotenv file.

    Args:
        door: the server.
        form: for whom.
        ca_file: see `variables`.

    Raises:
        OpsError: a value cannot be written so that every reader of dotenv files reads it.
    """
    found = variables(door, ca_file)
    if form is Format.DOTENV:
        return [f"{name}={dotenv_quoted(name, value)}" for name, value in found.items()]
    # A login left over from another stack would be sent to this one.
    forgotten = [name for name in (*_LOGIN, _TOKEN, _CA) if name not in found]
    if door.wants_token:
        forgotten.remove(_TOKEN)
    unset = [f"unset {' '.join(forgotten)}"] if forgotten else []
    return [*unset, *(f"export {name}={shlex.quote(value)}" for name, value in found.items())]


def dotenv_quoted(name: str, value: str) -> str:
    """A value as bash, python-dotenv and `docker compose` all read it.

    They differ: between single quotes python-dotenv fills in `${…}` too, and takes a backslash for an escape; between
    double quotes bash runs what stands between backticks.

    Raises:
        OpsError: no way of writing it suits all.
    """
    if _PLAIN.fullmatch(value):
        return value
    if value.isprintable():
        if not re.search(r"['\\]|\$\{", value):
            return f"'{value}'"
        if "`" not in value:
            escaped = value.replace("\\", "\\\\").replace('"', '\\"')
            # The default of a variable that nobody sets is the one way to write a dollar sign that suits all.
            return f'"{escaped.replace("$", "${__:-$}")}"'
    raise OpsError(
        f"{name}: its value has characters that a dotenv file cannot hold for every reader; use --format shell"
    )


def token_hint(door: FrontDoor) -> str:
    """What a user of an identity provider has to add; empty for other stacks."""
    if not door.wants_token:
        return ""
    return (
        f"This stack's users log in at its identity provider: export {_TOKEN}=… with an ID or access token of yours. "
        "It is no output of the stack, and expires"
    )


def write_ca(stack: Stack, door: FrontDoor) -> Path | None:
    """Write the certificate of the server's own authority where MLflow's client can read it.

    Returns:
        Its path; None where the machine's authorities do.
    """
    if not door.ca:
        return None
    target = stack.project / ".state" / "ca" / f"{stack.name}.pem"
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.is_file() or target.read_text() != door.ca:
        _replace(target, door.ca, 0o644)
    return target


def write(target: Path, content: list[str]) -> None:
    """Write a file of secrets that only its owner can read.

    Raises:
        OpsError: git would take it up, or it cannot be written.
    """
    target = target.absolute()
    if not target.parent.is_dir():
        raise OpsError(f"{target}: there is no folder {target.parent}")
    if _is_for_git(target):
        raise OpsError(
            f"{target}: git would take it up, and it holds secrets; add it to .gitignore, or name a file elsewhere"
        )
    try:
        _replace(target, "".join(f"{line}\n" for line in content), 0o600)
    except OSError as error:
        raise OpsError(f"{target}: cannot be written: {error}") from error


def _replace(target: Path, content: str, mode: int) -> None:
    """In one step, so that nobody reads half of it, and it never has another mode."""
    number, fresh = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(number, "w") as file:
            file.write(content)
        Path(fresh).chmod(mode)
        Path(fresh).replace(target)
    except BaseException:
        Path(fresh).unlink(missing_ok=True)
        raise


def _is_for_git(path: Path) -> bool:
    try:
        done = subprocess.run(
            ["git", "-C", str(path.parent), "check-ignore", "--quiet", str(path)],
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        return False
    return done.returncode == 1  # 0: ignored; 128: no repository


def program(project: Path) -> str:
    """This command, written so that it runs when pasted into a shell in the project's folder.

    A set-up may have PATH changed for this process only, so an installation inside the project is named by its
    path even when PATH has it.
    """
    # Not resolved: a venv's python is a link to the one that it was made from.
    script = Path(sys.executable).parent / _PROGRAM
    if not script.is_file():
        return f"{shlex.quote(sys.executable)} -m pulumi_mlflow.ops.cli"
    if script.is_relative_to(project):
        return shlex.quote(str(script.relative_to(project)))
    on_path = shutil.which(_PROGRAM)
    return _PROGRAM if on_path and Path(on_path) == script else shlex.quote(str(script))


def summary(stack: Stack, outputs: StackOutputs) -> list[str]:
    """What `make up` ends with: URL, login and the `env` line. No secret is in it."""
    name = shlex.quote(stack.name)
    own = program(stack.project)
    lines = [f"MLflow (stack {stack.name})  {outputs.front_door.tracking_uri}"]
    if outputs.auth_mode.by_provider:
        lines.append("Log in                at your identity provider")
    elif outputs.front_door.login is None:
        lines.append("Log in                no login needed")
    else:
        toolchain = (stack.project / TOOLCHAIN).is_file()
        prefix = f"python3 {TOOLCHAIN} run -- " if toolchain else ""
        show = f"{prefix}pulumi stack output password --show-secrets -s {name}"
        lines += [f"Log in as             {outputs.username}", f"Show the password     {show}"]
    return [
        *lines,
        f'Use it in this shell  eval "$({own} env --stack {name})"',
        f"Check it              {own} verify --stack {name}",
    ]
