"""Puts a dump in the place of a Docker stack's data, so that an end at any moment loses nothing.

The order: writers are kept out; what the store lacks is added, and the database is made ready beside the old one, while
the old state serves; the server stops; the database is switched in one transaction, which also writes that a restore
has not ended; other objects are replaced, and surplus ones deleted last; the secrets go into the stack's state; that it
has ended is written, and the server starts. In between none starts (images/mlflow/unfinished.py).
"""

import contextlib
import dataclasses
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import docker
import requests
from docker.errors import DockerException, NotFound
from docker.models.containers import Container
from docker.utils.socket import STDOUT, frames_iter

from ..contracts import Engine
from ..core import closing, naming, proxy, store_server, stores
from ..core.server_image import RESTORE, RESTORE_COMMAND, UID
from ..login import NGINX_CONF
from . import engine, server_job
from .files import FILES_PATH

DATABASE_FILE = "database.pgdump"
"""PostgreSQL's own format: it restores indexes and rows many times as fast as rows alone."""
DATABASE_FOLDER = "database"
"""Of every other database: its rows, see images/mlflow/migrate_database.py."""
ARTIFACTS_FOLDER = "artifacts"

CONNECT = f'PGPASSWORD="$(cat {FILES_PATH}/password)"; export PGPASSWORD; set -eu; '

_DUMP_PATH = "/restoring"
_ANSWER = "answer: "
"""As in images/mlflow/restore.py."""
_TIMEOUT = 6 * 3600

_NEW, _OLD = "pulumi-mlflow-restored", "pulumi-mlflow-replaced"
"""Databases beside the stack's own, which has the server for itself."""

_BESIDE = f"""{CONNECT}
dropdb --if-exists --force {_NEW}
createdb {_NEW}
exec pg_restore --exit-on-error --no-owner -d {_NEW} {_DUMP_PATH}/{DATABASE_FILE}
"""

# Whoever is still connected, such as a pooler, would hold the rename up, and may be back at once.
_SWITCH = f"""{CONNECT}
dropdb --if-exists --force {_OLD}
for attempt in 1 2 3 4 5; do
  if psql -v ON_ERROR_STOP=1 -q -d postgres -v own="$PGDATABASE" -v new={_NEW} -v old={_OLD} <<'SQL'
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname IN (:'own', :'new');
BEGIN;
ALTER DATABASE :"own" RENAME TO :"old";
ALTER DATABASE :"new" RENAME TO :"own";
COMMIT;
SQL
  then
    dropdb --if-exists --force {_OLD} || true
    exit 0
  fi
done
exit 1
"""  # noqa: S608 - constants; the names that are given are psql's variables

_DROP = f"{CONNECT} exec dropdb --if-exists --force {_NEW}"

Progress = Callable[[str], None]


class Handover(Protocol):
    """What of a restore is the stack's, and not its data's."""

    again: str
    """What a person types to run the restore again."""

    def carry(self) -> None:
        """Write the secrets that belong to the data into the stack's state."""

    def up(self) -> None:
        """Bring the stack up, its server too."""


class UnfinishedError(RuntimeError):
    """A restore was ended after the database was switched."""


def is_own_postgresql(ops: Mapping[str, Any]) -> bool:
    """Whether the database is one for which we have an image and the right to make databases."""
    return ops["engine"] == Engine.POSTGRESQL.value and "image" in ops["database"]


def database_job(ops: Mapping[str, Any], script: str) -> engine.Job:
    """A shell script with PostgreSQL's programs, which find the stack's own database."""
    database = ops["database"]
    return engine.Job(
        name=naming.physical_name(ops["deployment"], "database", "copy"),
        image=database["image"],
        entrypoint=["/bin/sh", "-c"],
        command=[script],
        environment={
            "PGHOST": database["host"],
            "PGUSER": database["username"],
            "PGDATABASE": database["name"],
        },
        volumes={database["files"]: f"{FILES_PATH}:ro"},
        network=ops["network"],
        labels=naming.labels(ops["deployment"], "backup"),
        timeout=_TIMEOUT,
    )


def version(ops: Mapping[str, Any]) -> str:
    """MLflow's version in the stack's image, whether its server answers or not."""
    client = engine.connect()
    job = server_job.like_server(client, ops, "restore", [*RESTORE, "version"])
    return _answer(engine.run_job(client, job))


def restore(ops: Mapping[str, Any], folder: Path, progress: Progress, handover: Handover) -> None:
    """Make the stack hold what the dump holds.

    Args:
        ops: the stack's output of that name.
        folder: what `dump` wrote.
        progress: called with what is being done.
        handover: what is done to the stack itself.

    Raises:
        EngineError: a step failed before the switch; the old state is whole, and serves.
        UnfinishedError: a step failed after it; no server runs until the restore has ended.
    """
    _Restore(engine.connect(), ops, progress, handover).run(folder)


class _Restore:
    def __init__(
        self,
        client: docker.DockerClient,
        ops: Mapping[str, Any],
        progress: Progress,
        handover: Handover,
    ) -> None:
        self._client, self._ops, self._say, self._handover = client, ops, progress, handover
        self._server = client.containers.get(ops["tracking"]["container"])
        self._store_url = ""

    def run(self, folder: Path) -> None:
        began_unfinished = bool(self._unfinished())
        with contextlib.ExitStack() as held:
            try:
                with self._store_apart():
                    self._close(held)
                    self._data(folder)
                    self._handover.carry()
                    self._run("end")
            except BaseException as error:
                self._aborted(error, began_unfinished=began_unfinished)
                raise
            self._handover.up()
            self._start()
            self._say("front door: opening")

    def _data(self, folder: Path) -> None:
        self._say("dump: copying it to the engine")
        labels = naming.labels(self._ops["deployment"], "backup")
        name = naming.physical_name(self._ops["deployment"], "restore")
        image = self._ops["tracking"]["image"]
        # Without the secrets, which no job needs.
        parts = [DATABASE_FILE, DATABASE_FOLDER, ARTIFACTS_FOLDER]
        sources = [folder / part for part in parts if (folder / part).exists()]
        with engine.filled_volume(self._client, name, image, labels, sources) as volume:
            self._say("artifacts: adding what is not there")
            done = self._run("add", ARTIFACTS_FOLDER, volume=volume)
            self._say(f"artifacts: {_answer(done)}")
            switch = self._stage(folder, volume)
            self._stop()
            switch()
            self._say("artifacts: replacing and removing")
            done = self._run("finish", ARTIFACTS_FOLDER, volume=volume)
            self._say(f"artifacts: {_answer(done)}")

    def _stage(self, folder: Path, volume: str) -> Callable[[], None]:
        """Make the database ready beside the old one, where that can be; returns what switches."""
        if (folder / DATABASE_FOLDER).is_dir():
            return lambda: self._load(volume)
        self._say("database: pg_restore into a new one beside the old")
        self._postgresql(_BESIDE, volume)
        self._say("database: migrating the new one")
        self._run("prepare", given=[_NEW])
        return self._switch

    def _switch(self) -> None:
        self._say("database: switching")
        self._postgresql(_SWITCH)

    def _load(self, volume: str) -> None:
        self._say("database: replacing every row, in one transaction")
        job = self._job("database", [*server_job.ROWS, "load", f"{_DUMP_PATH}/{DATABASE_FOLDER}"])
        job.volumes[volume] = f"{_DUMP_PATH}:ro"
        self._say(f"database: {engine.run_job(self._client, job).strip().splitlines()[-1]}")
        self._say("database: migrating")
        engine.run_job(self._client, self._job("migration", [*server_job.BOOT, "migrate"]))

    def _aborted(self, error: BaseException, *, began_unfinished: bool) -> None:
        """Say, and see to it, that the stack is what it was, or that it is half done."""
        try:
            switched = bool(self._unfinished())
        except engine.EngineError as unknown:
            raise UnfinishedError(
                f"{_told(error)}\nThe database does not answer, so it cannot be told whether it was switched. "
                f"Nothing is lost; run it again: {self._handover.again}\n{unknown}"
            ) from error
        if switched:
            raise UnfinishedError(
                f"{_told(error)}\nHalf done: the database is the dump's"
                f"{' since an earlier restore' if began_unfinished else ''}, the artifacts are not all. No server runs "
                f"until this has ended; run it again: {self._handover.again}"
            ) from error
        with contextlib.suppress(DockerException, engine.EngineError):
            self._run("take-back")
            if is_own_postgresql(self._ops):
                self._postgresql(_DROP)
        self._say("nothing was changed: the old state is whole, and serves")
        self._start()

    def _unfinished(self) -> str:
        """What an earlier restore left to do, as the database says it; empty if nothing."""
        return _answer(self._run("state"))

    def _stop(self) -> None:
        self._say("server: stopping")
        self._server.stop(timeout=30)

    def _start(self) -> None:
        """Start the server, unless it runs, or `up` has made another."""
        name = self._ops["tracking"]["container"]
        server = self._client.containers.get(name)
        if server.status != "running":
            self._say("server: starting")
            server.start()
        engine.wait_healthy(self._client, name, timeout=180, say=self._say)

    def _run(
        self, step: str, part: str = "", *, volume: str = "", given: list[str] | None = None
    ) -> str:
        """Run a step of images/mlflow/restore.py; what it prints."""
        arguments = [f"{_DUMP_PATH}/{part}"] if part else given or []
        job = self._job("restore", [*RESTORE, step, *arguments])
        if volume:
            job.volumes[volume] = f"{_DUMP_PATH}:ro"
        return engine.run_job(self._client, job)

    def _job(self, role: str, command: list[str]) -> engine.Job:
        job = server_job.like_server(self._client, self._ops, role, command)
        environment = {**job.environment, RESTORE_COMMAND: self._handover.again}
        if self._store_url:
            environment["MLFLOW_S3_ENDPOINT_URL"] = self._store_url
        return dataclasses.replace(job, environment=environment)

    def _postgresql(self, script: str, volume: str = "") -> None:
        job = database_job(self._ops, script)
        if volume:
            job.volumes[volume] = f"{_DUMP_PATH}:ro"
        engine.run_job(self._client, job)

    def _close(self, held: contextlib.ExitStack) -> None:
        """Keep writers out until the stack is exited."""
        if not self._store_url:
            with contextlib.suppress(NotFound):
                name = naming.physical_name(self._ops["deployment"], "proxy")
                door = self._client.containers.get(name)
                if held.enter_context(closed(self._client, door)):
                    self._say("front door: closed to writers; reading goes on")
                    return
        # Its store is apart, or the front door is one of an earlier release, or there is none.
        self._stop()

    @contextlib.contextmanager
    def _store_apart(self) -> Iterator[None]:
        """Run a store that clients reach without the server under another name, where only our jobs reach it."""
        store = self._published_store()
        if store is None:
            if self._direct():
                self._say("artifact store: clients reach it without the server; stop them")
            yield
            return
        artifacts, deployment = self._ops["artifacts"], self._ops["deployment"]
        program = store_server.store_program(artifacts["store"])
        job = engine.Job(
            name=naming.physical_name(deployment, "artifacts", "apart"),
            image=artifacts["image"],
            command=program.command,
            environment=program.environment,
            volumes={
                artifacts["volume"]: program.data_path,
                artifacts["files"]: f"{FILES_PATH}:ro",
            },
            network=self._ops["network"],
            user=f"{UID}:{UID}",
            labels=naming.labels(deployment, "artifacts"),
        )
        self._say("artifact store: closed to clients, which reach it without the server")
        store.stop(timeout=30)
        try:
            with engine.running(self._client, job):
                self._store_url = f"http://{job.name}:{store_server.PORT}"
                yield
        finally:
            self._store_url = ""
            store.start()

    def _published_store(self) -> Container | None:
        """The stack's own store, if clients reach it without the server."""
        if not stores.abilities(self._ops["artifacts"]["store"]).runs_here:
            return None
        with contextlib.suppress(NotFound):
            name = naming.physical_name(self._ops["deployment"], "artifacts")
            found = self._client.containers.get(name)
            return found if found.attrs["HostConfig"]["PortBindings"] else None
        return None

    def _direct(self) -> bool:
        """Whether clients write to the store with keys of their own."""
        job = server_job.like_server(self._client, self._ops, "restore", [])
        return job.environment.get("ARTIFACTS_MODE") == "direct"


def _answer(printed: str) -> str:
    """What a step has to say, among warnings of the libraries that it uses."""
    found = [line for line in printed.splitlines() if line.startswith(_ANSWER)]
    return found[-1].removeprefix(_ANSWER) if found else ""


def _told(error: BaseException) -> str:
    return "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)


@contextlib.contextmanager
def closed(client: docker.DockerClient, door: Container) -> Iterator[bool]:
    """Close a front door to writers for the time of the block, or until this program is gone.

    Args:
        client: the engine.
        door: its container.

    Yields:
        Whether it is closed: one that an earlier release has made cannot be.
    """
    api = client.api
    script = closing.script(f"{FILES_PATH}/{NGINX_CONF}", proxy.PID_PATH)
    try:
        made = api.exec_create(door.id, ["/bin/sh", "-c", script], stdin=True)["Id"]
        stream: Any = api.exec_start(made, socket=True)
    except (DockerException, requests.RequestException):
        yield False
        return
    connection: Any = getattr(stream, "_sock", stream)
    try:
        said = b""
        for kind, block in frames_iter(connection, tty=False):  # type: ignore[no-untyped-call]
            said += block if kind == STDOUT else b""
            if closing.CLOSED.encode() in said:
                break
        yield closing.CLOSED.encode() in said
    finally:
        with contextlib.suppress(OSError):
            # A mere `close` would wait for all who hold the connection.
            connection.shutdown(socket.SHUT_RDWR)
        _await_end(api, made)


def _await_end(api: Any, made: str) -> None:
    """Wait for the door to be open again; its container may be gone by now."""
    for _ in range(50):
        try:
            if not api.exec_inspect(made)["Running"]:
                return
        except (DockerException, requests.RequestException):
            return
        time.sleep(0.2)
