"""The command line `pulumi-mlflow`: what a person does with a stack beside `pulumi up`."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import SecretStr
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from ..core import base_images, costs, server_image
from . import containers, local, state
from . import cost as cost_module
from . import down as down_module
from . import dump as dump_module
from . import env as env_module
from . import gc as gc_module
from . import images_update as images_update_module
from . import import_compose as import_compose_module
from . import import_data as import_data_module
from . import import_mlruns as import_mlruns_module
from . import migrate_artifacts as migrate_artifacts_module
from . import migrate_database as migrate_database_module
from . import users as users_module
from . import verify as verify_module
from .errors import OpsError
from .stack import TOKEN, FrontDoor, Stack, find_project

app = typer.Typer(
    help="Work with an MLflow stack that `pulumi up` has made.",
    no_args_is_help=True,
    add_completion=False,
    # Rich tracebacks show local variables, and these may be secrets.
    pretty_exceptions_enable=False,
)

users = typer.Typer(help="Say who may log in to a stack.", no_args_is_help=True)
app.add_typer(users, name="users")

_progress = Console(stderr=True)
_STYLES = {
    verify_module.Result.PASSED: "green",
    verify_module.Result.FAILED: "bold red",
    verify_module.Result.NOT_RUN: "yellow",
    verify_module.Result.NOT_APPLICABLE: "dim",
}

_ROLE_STYLES = ("cyan", "green", "yellow", "magenta", "blue", "bright_cyan", "bright_magenta")

Role = Annotated[
    str | None,
    typer.Option("--role", help="One part alone: tracking, database, artifacts, proxy, …"),
]
StackName = Annotated[str, typer.Option("--stack", "-s", help="Name of the stack.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
UserName = Annotated[str, typer.Argument(help="Login name.")]
RunUp = Annotated[bool, typer.Option("--yes", help="Run `up` too, where it takes one.")]
Show = Annotated[
    bool, typer.Option("--show", help="Print the password even if this is no terminal.")
]
PasswordFile = Annotated[
    Path | None, typer.Option("--output", help="File for the password, mode 0600.")
]


@app.command()
def info(stack: StackName) -> None:
    """Show the URL, how to log in, and how to use the server in a shell."""
    found = _stack(stack)
    for line in env_module.summary(found, found.outputs()):
        typer.echo(line)


@app.command()
def env(
    stack: StackName,
    form: Annotated[
        env_module.Format, typer.Option("--format", help="For eval in a shell, or a dotenv file.")
    ] = env_module.Format.SHELL,
    output: Annotated[
        Path | None, typer.Option("--output", help="File to write, mode 0600; else it is printed.")
    ] = None,
) -> None:
    """Print what makes MLflow's client use the stack, for eval or as a dotenv file; passwords are among it."""
    found = _stack(stack)
    door = found.outputs().front_door
    lines = env_module.lines(door, form, env_module.write_ca(found, door))
    if hint := env_module.token_hint(door):
        typer.echo(hint, err=True)
    if output is not None:
        env_module.write(output, lines)
        typer.echo(f"{output}: {len(lines)} lines, secrets included", err=True)
        return
    for line in lines:
        typer.echo(line)


@app.command()
def verify(
    stack: Annotated[str | None, typer.Option("--stack", "-s", help="Name of the stack.")] = None,
    tracking_uri: Annotated[str | None, typer.Option(help="Any server instead of a stack.")] = None,
    username: Annotated[str | None, typer.Option(help="With --tracking-uri: who logs in.")] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Every route in every spelling too: a minute.")
    ] = False,
    large: Annotated[
        bool, typer.Option("--large", help="All of --full, and 1.2 GB up and down.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option("--report", help="File to write the outcomes to, as JSON.")
    ] = None,
) -> None:
    """Send a real training run through the front door and back, and check who is refused.

    With --tracking-uri and --username, the password is read from MLFLOW_TRACKING_PASSWORD; where people log in at an
    identity provider, the token from MLFLOW_TRACKING_TOKEN.
    """
    door = _front_door(stack, tracking_uri, username)
    levels = verify_module.Level
    level = levels.LARGE if large else levels.FULL if full else levels.QUICK
    with _status(f"verifying {door.tracking_uri}") as show:
        outcomes = verify_module.verify(door, show, level)
    if report is not None:
        report.write_text(verify_module.report(outcomes))
    _print_outcomes(outcomes, Text(door.tracking_uri))
    if not verify_module.succeeded(outcomes):
        raise typer.Exit(1)


@app.command()
def cost(
    plan: Annotated[Path, typer.Option("--plan", help="What `pulumi preview --json` printed.")],
    prices: Annotated[
        Path, typer.Option("--prices", help="Another table, such as one of your region.")
    ] = cost_module.PRICES,
    assume: Annotated[
        list[str] | None, typer.Option("--assume", help="Such as artifacts_gb=500.")
    ] = None,
) -> None:
    """Estimate what a plan costs a month at AWS, beside the managed service."""
    table = cost_module.load_prices(prices, assume or ())
    found = cost_module.load_plan(plan)
    before, after = costs.bill(found.before, table), costs.bill(found.after, table)
    for line in cost_module.report(before, after, table):
        typer.echo(line)


@app.command()
def down(
    stack: StackName,
    purge: Annotated[bool, typer.Option("--purge", help="Destroy data and secrets too.")] = False,
    yes: Yes = False,
) -> None:
    """Destroy the stack's servers and networks, and keep its data and secrets unless --purge.

    Of a stack in a cloud it says first what is protected, and asks.
    """
    found = _stack(stack)
    if purge:
        stays = down_module.purge(found, lambda lost: _confirm_loss(found, lost, yes=yes))
        if stays:
            typer.echo(stays)
        return
    kept = down_module.down(found, lambda kept: _confirm_stop(found, kept, yes=yes))
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
    """Replace a stack's database and artifacts, and the secrets that open them, by a dump's.

    Nobody can write meanwhile. Ended before it switches, it has changed nothing; after that, it is run again.
    """
    found = _stack(stack)
    with _status(f"restoring stack {stack}") as show:
        prepared = dump_module.prepare_restore(found, source.absolute(), show)
    manifest = prepared.manifest
    question = (
        f"Replace all runs, models and artifacts of stack '{stack}' by those of "
        f"'{manifest.stack}' from {manifest.created:%Y-%m-%d %H:%M} UTC?"
    )
    _confirm(question, yes=yes)
    # Lines, since Pulumi's own output comes between them.
    prepared.run(
        lambda step: _progress.print(Text(f"restoring stack {stack}: {step}"), soft_wrap=True)
    )
    typer.echo(f"stack {stack}: restored from {source} ({len(manifest.files)} files)")


@app.command("migrate-artifacts")
def migrate_artifacts(
    stack: StackName,
    copied: Annotated[
        bool, typer.Option("--copied", help="You have copied them yourself: switch only.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Move all artifacts to the store that the stack file now names, and compare them by SHA-256.

    The server is stopped meanwhile. Run again, it goes on where it was interrupted. With the old settings put back, it
    goes back.
    """
    found = _stack(stack)
    # Lines, since Pulumi's own output comes between them.
    moved = migrate_artifacts_module.migrate_artifacts(
        found,
        lambda plan: _confirm(f"{plan}: stop the server and move?", yes=yes),
        lambda step: _progress.print(Text(f"moving the artifacts of stack {stack}: {step}")),
        copied=copied,
    )
    typer.echo(f"stack {stack}: {moved.said}")
    if moved.left:
        typer.echo(
            f"The old artifacts stay in volume {moved.left} until you remove it: docker volume rm {moved.left}"
        )


@app.command("migrate-database")
def migrate_database(stack: StackName, yes: Yes = False) -> None:
    """Move all runs and models to the database that the stack file now names; the server is stopped meanwhile.

    Run again, it goes on where it was interrupted. With the old settings put back, it goes back.
    """
    found = _stack(stack)
    # Lines, since Pulumi's own output comes between them.
    moved = migrate_database_module.migrate_database(
        found,
        lambda plan: _confirm(f"{plan}: stop the server and move?", yes=yes),
        lambda step: _progress.print(Text(f"moving the database of stack {stack}: {step}")),
    )
    if moved.back:
        typer.echo(f"stack {stack}: back on the old database; nothing was moved")
        return
    table = Table("Table", "Rows", title=Text("Read back in the new database, and equal"))
    for name, rows in moved.rows.items():
        if rows:
            table.add_row(Text(name), str(rows))
    Console().print(table)
    for volume in moved.left:
        typer.echo(
            f"The old data stays in volume {volume} until you remove it: docker volume rm {volume}"
        )


@app.command()
def ps(stack: StackName) -> None:
    """Show the stack's parts: health, uptime, memory, CPU, restarts, ports. Exit code 1 if one is not well."""
    found = _stack(stack)
    with _status(f"looking at stack {stack}"):
        folder = _local_folder(found)
        if folder is None:
            rows = containers.ps(containers.find(found))
        else:
            rows = local.ps(folder, found.outputs().tracking_uri)
    table = Table("Role", "Image", "State", "Up", "Memory", "CPU", "Restarts", "Published")
    for row in rows:
        state_text = Text(row.state, style="green" if row.well else "bold red")
        cells = (row.uptime, row.memory, row.cpu, row.restarts, row.ports)
        table.add_row(Text(row.role), Text(row.image), state_text, *(Text(cell) for cell in cells))
    _wide().print(table)
    if not all(row.well for row in rows):
        raise typer.Exit(1)


@app.command()
def logs(
    stack: StackName,
    role: Role = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more.")] = False,
    tail: Annotated[int, typer.Option("--tail", min=0, help="Lines of each part.")] = 100,
    timestamps: Annotated[
        bool, typer.Option("--timestamps", help="Show the engine's times.")
    ] = False,
) -> None:
    """Show what the stack's parts have written, in order of time."""
    found = _stack(stack)
    folder = _local_folder(found)
    if folder is None:
        lines = containers.logs(containers.find(found, role), tail=tail, follow=follow)
    else:
        lines = local.logs(folder, role, tail=tail, follow=follow)
    console = Console(highlight=False, soft_wrap=True)
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        for line in lines:
            style = _ROLE_STYLES[sum(line.role.encode()) % len(_ROLE_STYLES)]
            moment = f"{line.time} " if timestamps and line.time else ""
            console.print(Text.assemble((f"{line.role:<10} | ", style), moment, line.text))


@app.command()
def shell(
    stack: StackName,
    role: Role = "tracking",
    command: Annotated[
        list[str] | None,
        typer.Argument(help="Instead of a shell: program and arguments, after --."),
    ] = None,
) -> None:
    """Open a shell in a container of the stack, as the container's own user; of a local stack, on this machine.

    Beside the server, it has the server's variables, secrets included, so that MLflow's own commands work.
    """
    found = _stack(stack)
    folder = _local_folder(found)
    wanted = command or ["/bin/sh"]
    if folder is not None:
        raise typer.Exit(local.shell(folder, found.outputs().tracking_uri, wanted))
    found_containers = containers.find(found, role)
    running = [c for c in found_containers if c.status == "running"]
    through = server_image.SHELL if role == "tracking" else []
    raise typer.Exit(containers.shell((running or found_containers)[0], wanted, through))


@app.command()
def gc(
    stack: StackName,
    older_than: Annotated[
        str,
        typer.Option("--older-than", help="Time since it was deleted: days, hours: 30d, 2d12h."),
    ] = "30d",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show it, and delete nothing.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Delete for good what was deleted in MLflow: runs, models and experiments, with their artifacts; shown first."""
    found = _stack(stack)
    with _status(f"looking for what is deleted in stack {stack}"):
        deleted = gc_module.find(found, older_than)
    for line in deleted:
        typer.echo(line)
    typer.echo(f"{len(deleted)} deleted more than {older_than} ago")
    if dry_run or not deleted:
        return
    _confirm("Delete them for good, with their artifacts?", yes=yes)
    with _status(f"deleting in stack {stack}"):
        gone = gc_module.delete(found, older_than)
    typer.echo(f"{len(gone)} deleted for good")


@app.command("images-update")
def images_update(
    stack: Annotated[
        str | None, typer.Option("--stack", "-s", help="Compare what this stack runs as well.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show it, and write nothing.")] = False,
) -> None:
    """Lock the official base images to the digests that their tags have now, and show what is new.

    The stack's next preview shows what this changes. Nothing is pulled or pushed here.
    """
    with _status("asking for digests") as show:
        found = images_update_module.look(_stack(stack) if stack else None, show)
    now = base_images.merge(found.changes)
    _print_rows(base_images.COLUMNS, [change.row() for change in found.changes])
    if found.running:
        _print_rows(base_images.RUNNING_COLUMNS, [one.row(now) for one in found.running])
    elif stack:
        typer.echo(f"stack '{stack}' has pushed no image")
    if found.is_new and dry_run:
        typer.echo(f"{found.file}: not written; without --dry-run it is")
        return
    if found.is_new:
        found.write()
    typer.echo(f"{found.file}: {'written; commit it' if found.is_new else 'nothing new'}")
    if found.is_new or found.is_behind:
        typer.echo(
            f"Next: make preview STACK={stack or 'prod'} shows which images and tasks change"
        )


@app.command("import-compose")
def import_compose(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILE]...",
            help="Compose file of an MLflow deployment, or its folder; more files go on top of it, in order.",
        ),
    ] = None,
    stack: Annotated[str, typer.Option("--stack", "-s", help="Name of the new stack.")] = "compose",
    file: Annotated[
        list[Path] | None,
        typer.Option("--file", "-f", help="Another way to name files, as in docker compose."),
    ] = None,
    env_file: Annotated[
        Path | None,
        typer.Option("--env-file", help="What fills in its variables; default: .env beside it."),
    ] = None,
    profile: Annotated[
        list[str] | None, typer.Option("--profile", help="As in docker compose; may be repeated.")
    ] = None,
    in_place: Annotated[
        bool,
        typer.Option(
            "--in-place",
            help="Use the database and the store where they are, even where it is in doubt whose they are: `up` "
            "migrates them.",
        ),
    ] = False,
    with_data: Annotated[
        bool,
        typer.Option("--with-data", help="Copy runs and artifacts into the stack, which is up."),
    ] = False,
    database_at: Annotated[
        str | None, typer.Option(help="host:port of the old database, if it is not found.")
    ] = None,
    store_at: Annotated[
        str | None, typer.Option(help="URL of the old artifact store, if it is not found.")
    ] = None,
    yes: Yes = False,
) -> None:
    """Write a stack's file from a compose file, and say what could not be taken. No secret is written.

    With --with-data, after `up`: copy every row and every object of the old deployment, compared by hash.

    Exit code: 0 if all was taken, 3 if something was lost or guessed, which the output names.
    """
    files = [*(paths or []), *(file or [])] or [Path()]
    found = _stack(stack)
    imported = import_compose_module.read(files, env_file, profile or (), in_place=in_place)
    if with_data:
        _confirm(
            f"Replace all runs and models of stack '{stack}' by those of {imported.source}?",
            yes=yes,
        )
        with _status(f"importing into stack {stack}") as show:
            done = import_data_module.import_data(
                found, imported, show, database_at=database_at, store_at=store_at
            )
        for line in done:
            typer.echo(line)
        if any(import_data_module.is_left(line) for line in done):
            raise typer.Exit(import_compose_module.LEFT)
        return
    target, mended = import_compose_module.write(found.project, stack, imported)
    if imported.files[1:]:
        typer.echo(f"read: {', '.join(map(str, imported.files))}")
    for place, key in imported.mapped.taken:
        typer.echo(f"{place} → mlflow:{key}")
    left = [*mended, *imported.mapped.findings]
    for finding in left:
        kind = "note" if not finding.lost else "changed" if finding in mended else "not so"
        typer.echo(f"{kind:7}  {finding}".replace("-s STACK", f"-s {stack}"), err=True)
    typer.echo(f"{target}: {len(imported.mapped.taken)} settings; {len(left)} to look at above")
    typer.echo(f"Next: make setup STACK={stack}, then {found.up_command}")
    if any(finding.lost for finding in left):
        raise typer.Exit(import_compose_module.LEFT)


@app.command("import-mlruns")
def import_mlruns(
    folder: Annotated[Path, typer.Argument(help="./mlruns, or the folder that it is in.")],
    stack: StackName,
) -> None:
    """Copy a folder of MLflow's file store into the running server. A second import brings only what is new.

    The folder is only read. Exit code 2: something was skipped, cut or renamed, and is listed with its file and reason.
    """
    found = _stack(stack)
    door = found.running()[0].front_door
    environment = env_module.variables(door, env_module.write_ca(found, door))
    with _bar(f"importing into stack {stack}") as progress:
        report = import_mlruns_module.import_mlruns(folder, door, environment, progress)
    for line in report.left:
        typer.echo(f"not taken  {line}", err=True)
    for line in report.notes:
        typer.echo(f"note  {line}", err=True)
    for title, numbers in (("Imported", report.taken), ("Was there", report.known)):
        said = ", ".join(f"{number} {kind}" for kind, number in numbers.items() if number)
        typer.echo(f"{title}: {said or 'nothing'}")
    if report.left:
        typer.echo(f"{len(report.left)} lines above: what is not there as it is in the folder")
        raise typer.Exit(2)


@users.command("list")
def list_users(stack: StackName) -> None:
    """Show who may log in."""
    table = Table("User", "Role")
    for user in users_module.directory(_stack(stack), run_up=False).users():
        table.add_row(Text(user.name), Text(user.role))
    Console().print(table)


@users.command()
def add(
    name: UserName,
    stack: StackName,
    yes: RunUp = False,
    show: Show = False,
    output: PasswordFile = None,
) -> None:
    """Let somebody in, with a password that is made and shown once."""
    _require_reader(show=show, output=output)
    _report(users_module.directory(_stack(stack), run_up=yes).add(name), output)


@users.command()
def remove(name: UserName, stack: StackName, yes: RunUp = False) -> None:
    """Let somebody in no more; their runs and models stay."""
    _report(users_module.directory(_stack(stack), run_up=yes).remove(name))


@users.command()
def rotate(
    name: UserName, stack: StackName, show: Show = False, output: PasswordFile = None
) -> None:
    """Give somebody a new password; `up` runs where the stack's state holds it."""
    _require_reader(show=show, output=output)
    _report(users_module.directory(_stack(stack), run_up=True).rotate(name), output)


@users.command()
def permit(
    name: UserName,
    experiment: Annotated[str, typer.Argument(help="Its name or number.")],
    permission: Annotated[
        str,
        typer.Argument(help=f"{', '.join(users_module.GRANTS)}; {users_module.NO_GRANT}: none."),
    ],
    stack: StackName,
) -> None:
    """Say what a user may do with an experiment, with `auth: mlflow`."""
    found = users_module.directory(_stack(stack), run_up=False)
    _report(found.permit(name, experiment, permission))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; an expected error is one line, without a traceback.

    Args:
        arguments: instead of those of the process.
    """
    with contextlib.suppress(ValueError):  # not in the main thread
        # As Ctrl-C: what was begun is ended in order.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        app(args=arguments, prog_name="pulumi-mlflow")
    except OpsError as error:
        print(f"pulumi-mlflow: {error}", file=sys.stderr)
        sys.exit(1)


def _require_reader(*, show: bool, output: Path | None) -> None:
    """A new password goes to somebody who asked for it, not into the log of a job."""
    if not (show or output or sys.stdout.isatty()):
        raise OpsError(
            "the new password has nowhere to go: this is no terminal; --show or --output FILE"
        )
    if output is not None:
        env_module.write(output, [])


def _report(change: users_module.Change, output: Path | None = None) -> None:
    typer.echo(change.said, err=change.password is not None)
    if change.password is None:
        return
    if output is None:
        typer.echo(change.password)
    else:
        env_module.write(output, [change.password])
        typer.echo(f"{output}: the password", err=True)


def _local_folder(stack: Stack) -> Path | None:
    """The folder of a local stack's server; None for other stacks. Those show their containers while `up` fails too."""
    with contextlib.suppress(OpsError):
        if containers.find(stack):
            return None
    outputs = stack.outputs()
    if outputs.runtime in ("aws", "kubernetes"):
        raise OpsError(f"stack '{stack.name}' has no containers here: {_elsewhere(outputs.ops)}")
    return Path(outputs.ops["server_folder"]) if outputs.runtime == "local" else None


def _elsewhere(ops: dict[str, Any]) -> str:
    """Where the parts of a cloud stack are seen."""
    server = ops.get("tracking", {})
    if "log_group" in server:
        region = server["region"]
        return (
            f"they are tasks of ECS; aws logs tail {server['log_group']} --region {region}, and "
            f"aws ecs describe-services --cluster {server['cluster']} --services {server['service']} --region {region}"
        )
    namespace = server.get("namespace", "<namespace>")
    return f"they are pods; kubectl -n {namespace} get pods, and kubectl -n {namespace} logs"


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
        token = os.environ.get(TOKEN)
        return FrontDoor(
            tracking_uri=tracking_uri.rstrip("/"), token=SecretStr(token) if token else None
        )
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


@contextmanager
def _bar(title: str) -> Iterator[Callable[[int, int, str], None]]:
    """A progress bar on a terminal; a line for each step elsewhere."""
    if not _progress.is_terminal:
        said = ""

        def say(done: int, total: int, step: str) -> None:
            nonlocal said
            if step != said:
                _progress.print(Text(f"{title}: {step} ({done} of {total})"), soft_wrap=True)
            said = step

        yield say
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=_progress) as live:
        task = live.add_task(title, total=None)

        def update(done: int, total: int, step: str) -> None:
            live.update(task, completed=done, total=total or None, description=f"{title}: {step}")

        yield update


def _wide() -> Console:
    """Standard output, without line breaks in a file or a pipe."""
    return Console(width=None if sys.stdout.isatty() else 200)


def _print_outcomes(outcomes: list[verify_module.Outcome], title: Text) -> None:
    table = Table("Check", "Result", "Seconds", Column("Detail", overflow="fold"), title=title)
    for o in outcomes:
        result = Text(o.result.value, style=_STYLES[o.result])
        table.add_row(Text(o.title), result, f"{o.seconds:.1f}", Text(o.detail))
    Console().print(table)


def _print_rows(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(*columns)
    for row in rows:
        table.add_row(*map(Text, row))
    _wide().print(table)


def _confirm_stop(stack: Stack, kept: list[state.Protected], *, yes: bool) -> None:
    typer.echo(f"Kept of stack '{stack.name}', since it is protected, with what it stands on:")
    _list(kept)
    typer.echo(
        "All else goes: servers, front door, alarms, nodes. Nobody reaches MLflow until `up`."
    )
    if not yes:
        typer.echo("Nothing is taken before a yes: answer it, or give --yes (make down: YES=1).")
    _confirm("Take it down?", yes=yes)


def _confirm_loss(stack: Stack, lost: list[state.Protected], *, yes: bool) -> None:
    if not lost:
        return
    typer.echo(f"Lost for ever with stack '{stack.name}':")
    _list(lost)
    _confirm("Destroy them?", yes=yes)


def _list(resources: list[state.Protected]) -> None:
    for resource in resources:
        typer.echo(f"  {resource.name}  {resource.kind}  {resource.identity}".rstrip())


def _confirm(question: str, *, yes: bool) -> None:
    if not yes:
        typer.confirm(question, abort=True, err=True)


if __name__ == "__main__":
    main()
