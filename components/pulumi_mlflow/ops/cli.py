"""The command line `pulumi-mlflow`: what a person does with a stack beside `pulumi up`."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from . import down as down_module
from . import dump as dump_module
from . import env as env_module
from . import state
from . import verify as verify_module
from .errors import OpsError
from .stack import FrontDoor, Stack, find_project

app = typer.Typer(
    help="Work with an MLflow stack that `pulumi up` has made.",
    no_args_is_help=True,
    add_completion=False,
    # Rich tracebacks show local variables, and these may be secrets.
    pretty_exceptions_enable=False,
)

_progress = Console(stderr=True)
_STYLES = {
    verify_module.Result.PASSED: "green",
    verify_module.Result.FAILED: "bold red",
    verify_module.Result.NOT_RUN: "yellow",
    verify_module.Result.NOT_APPLICABLE: "dim",
}

StackName = Annotated[str, typer.Option("--stack", "-s", help="Name of the stack.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@app.command()
def info(stack: StackName) -> None:
    """Show the URL, how to log in, and how to use the server in a shell."""
    found = _stack(stack)
    for line in env_module.summary(found, found.outputs()):
        typer.echo(line)


@app.command()
def env(stack: StackName) -> None:
    """Print shell lines for eval that make MLflow's client use the stack; the password is among them."""
    for line in env_module.export_lines(_stack(stack).outputs().front_door):
        typer.echo(line)


@app.command()
def verify(
    stack: Annotated[str | None, typer.Option("--stack", "-s", help="Name of the stack.")] = None,
    tracking_uri: Annotated[str | None, typer.Option(help="Any server instead of a stack.")] = None,
    username: Annotated[str | None, typer.Option(help="With --tracking-uri: who logs in.")] = None,
) -> None:
    """Send a real training run through the front door and back, and check who is refused.

    With --tracking-uri and --username, the password is read from MLFLOW_TRACKING_PASSWORD.
    """
    door = _front_door(stack, tracking_uri, username)
    with _status(f"verifying {door.tracking_uri}") as show:
        outcomes = verify_module.verify(door, show)
    _print_outcomes(outcomes, Text(door.tracking_uri))
    if not verify_module.succeeded(outcomes):
        raise typer.Exit(1)


@app.command()
def down(
    stack: StackName,
    purge: Annotated[bool, typer.Option("--purge", help="Destroy data and secrets too.")] = False,
    yes: Yes = False,
) -> None:
    """Destroy the stack's servers and networks, and keep its data and secrets unless --purge."""
    found = _stack(stack)
    if purge:
        down_module.purge(found, lambda lost: _confirm_loss(found, lost, yes=yes))
        return
    kept = down_module.down(found)
    if kept:
        typer.echo(f"Kept ({len(kept)}): {', '.join(p.name for p in kept)}")


@app.command()
def dump(
    stack: StackName,
    to: Annotated[
        Path | None, typer.Option("--to", help="Empty folder; default: a new one in dump/.")
    ] = None,
) -> None:
    """Copy database, artifacts and secrets of a running stack into a folder that only you can open."""
    found = _stack(stack)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    folder = (to or found.project / "dump" / f"{stack}-{stamp}").absolute()
    with _status(f"dumping stack {stack}") as show:
        manifest = dump_module.dump(found, folder, show)
    size = sum(entry.size for entry in manifest.files.values())
    typer.echo(f"{folder}: {len(manifest.files)} files, {size / 1e6:.1f} MB, secrets included")


@app.command()
def restore(
    stack: StackName,
    source: Annotated[Path, typer.Option("--from", help="Folder that `dump` has written.")],
    yes: Yes = False,
) -> None:
    """Replace a running stack's database and artifacts, and the secrets that open them, by a dump's."""
    found = _stack(stack)
    with _status(f"restoring stack {stack}") as show:
        prepared = dump_module.prepare_restore(found, source.absolute(), show)
    manifest = prepared.manifest
    question = (
        f"Replace all runs, models and artifacts of stack '{stack}' by those of "
        f"'{manifest.stack}' from {manifest.created:%Y-%m-%d %H:%M} UTC?"
    )
    _confirm(question, yes=yes)
    with _status(f"restoring stack {stack}") as show:
        prepared.data(show)
    prepared.secrets()
    typer.echo(f"stack {stack}: restored from {source} ({len(manifest.files)} files)")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; an expected error is one line, without a traceback.

    Args:
        arguments: instead of those of the process.
    """
    try:
        app(args=arguments, prog_name="pulumi-mlflow")
    except OpsError as error:
        print(f"pulumi-mlflow: {error}", file=sys.stderr)
        sys.exit(1)


def _stack(name: str) -> Stack:
    return Stack(find_project(Path.cwd()), name)


def _front_door(stack: str | None, tracking_uri: str | None, username: str | None) -> FrontDoor:
    if stack is not None and tracking_uri is None:
        return _stack(stack).running()[0].front_door
    if stack is not None or tracking_uri is None:
        raise OpsError("verify: give either --stack or --tracking-uri")
    # Never an argument, which would be in the list of processes.
    password = os.environ.get("MLFLOW_TRACKING_PASSWORD")
    if username is None:
        return FrontDoor(tracking_uri=tracking_uri.rstrip("/"))
    if not password:
        raise OpsError("verify: --username needs the password in MLFLOW_TRACKING_PASSWORD")
    return FrontDoor(
        tracking_uri=tracking_uri.rstrip("/"), username=username, password=SecretStr(password)
    )


@contextmanager
def _status(title: str) -> Iterator[Callable[[str], None]]:
    """A live line on a terminal; a line for each step elsewhere, such as in a CI log."""
    if not _progress.is_terminal:
        yield lambda step: _progress.print(Text(f"{title}: {step}"), soft_wrap=True)
        return
    with _progress.status(Text(title)) as live:
        yield lambda step: live.update(Text(f"{title}: {step}"))


def _print_outcomes(outcomes: list[verify_module.Outcome], title: Text) -> None:
    table = Table("Check", "Result", "Seconds", Column("Detail", overflow="fold"), title=title)
    for o in outcomes:
        result = Text(o.result.value, style=_STYLES[o.result])
        table.add_row(Text(o.title), result, f"{o.seconds:.1f}", Text(o.detail))
    Console().print(table)


def _confirm_loss(stack: Stack, lost: list[state.Protected], *, yes: bool) -> None:
    if not lost:
        return
    typer.echo(f"Lost for ever with stack '{stack.name}':")
    for resource in lost:
        typer.echo(f"  {resource.name}  {resource.kind}  {resource.identity}".rstrip())
    _confirm("Destroy them?", yes=yes)


def _confirm(question: str, *, yes: bool) -> None:
    if not yes:
        typer.confirm(question, abort=True, err=True)


if __name__ == "__main__":
    main()
