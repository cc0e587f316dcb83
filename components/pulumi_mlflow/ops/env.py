"""What a person or a training script needs to reach a stack's server, as text to read or to paste."""

import shlex
import shutil
import sys
from pathlib import Path

from .stack import TOOLCHAIN, FrontDoor, Stack, StackOutputs

_PROGRAM = "pulumi-mlflow"


def export_lines(door: FrontDoor) -> list[str]:
    """Shell lines that make MLflow's client use this server, for `eval`."""
    uri = f"export MLFLOW_TRACKING_URI={shlex.quote(door.tracking_uri)}"
    if door.login is None:
        # A login left over from another stack would be sent to this one.
        return [uri, "unset MLFLOW_TRACKING_USERNAME MLFLOW_TRACKING_PASSWORD"]
    username, password = door.login
    return [
        uri,
        f"export MLFLOW_TRACKING_USERNAME={shlex.quote(username)}",
        f"export MLFLOW_TRACKING_PASSWORD={shlex.quote(password)}",
    ]


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
    if outputs.front_door.login is None:
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
