"""Takes the data of a compose deployment along into a running stack: every row and every object, compared by hash.

The old deployment keeps running, or at least its database and store do; both are only read. Copying is done by jobs in
the place of the stack's server, which also join the old project's networks: so nothing needs to be published.
"""

import contextlib
import dataclasses
import json
import posixpath
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import docker
from docker.errors import NotFound
from docker.models.containers import Container
from sqlalchemy.engine import make_url

from pulumi_mlflow.core import uris, urls
from pulumi_mlflow.core.compose import where
from pulumi_mlflow.core.compose.file import Port
from pulumi_mlflow.core.compose.mapping import Mapped
from pulumi_mlflow.core.compose.sources import DatabaseSource, FileSource, StoreSource
from pulumi_mlflow.docker import engine, server_job

from .errors import OpsError
from .import_compose import Import
from .stack import Stack

_PROJECT_FOLDER = "com.docker.compose.project.working_dir"
_SERVICE = "com.docker.compose.service"
"""Labels that `docker compose` puts on its containers."""

_GIVEN = "/run/import"
"""Where a job finds addresses and secrets of the old deployment: files in a volume that goes with the job."""
_COPY = "/scratch/tmp-import"
"""The rows on their way; the server clears such folders of its scratch volume when it starts."""
_COMPARED = "/scratch/import-artifacts.sqlite"
"""Which objects are compared already, so that an interrupted copy goes on."""
_COMPARED_FILES = "/scratch/import-files.sqlite"
"""The same of a folder's files."""

_DATABASE_FILE, _STORE_FILE = "database-uri", "store.json"
_SQLITE, _FOLDER = "old.sqlite", "artifacts"
"""In the same place: a SQLite file, and artifacts that were files."""
_LEFT = "not taken"
_BY_SERVER = "mlflow-artifacts:"
"""Root of the URIs of artifacts that go through the server, to which a folder's belong."""

Progress = Callable[[str], None]


class _Place(NamedTuple):
    """Where a job reaches something of the old deployment."""

    host: str
    port: int
    network: str
    """That the job joins for it; empty where it need not."""


def import_data(
    stack: Stack,
    imported: Import,
    progress: Progress,
    *,
    database_at: str | None = None,
    store_at: str | None = None,
) -> list[str]:
    """Replace a stack's runs and models by those of a compose deployment, and copy its artifacts.

    Args:
        stack: of the docker runtime, and up. What it has of runs is lost: the caller has asked.
        imported: the compose file.
        progress: called with what is being done.
        database_at: `host:port` under which containers reach the old database; found out unless given.
        store_at: URL under which containers reach the old store; found out unless given.

    Returns:
        What was done, a line each.

    Raises:
        OpsError: there is nothing to copy, the old deployment is out of reach, or a step failed. The stack's server
            runs again in any case.
    """
    mapped = imported.mapped
    if not any((mapped.database, mapped.store, mapped.database_file, mapped.artifact_folder)):
        raise OpsError(
            f"{imported.source}: names no database and no store of its own, so there is nothing to copy"
        )
    outputs = stack.outputs()
    if outputs.runtime != "docker":
        raise OpsError(f"stack '{stack.name}': data is taken along into stacks on Docker only")
    client, ops = engine.connect(), outputs.ops
    folder = imported.source.absolute().parent
    job = _Copy(client, ops, folder)
    try:
        return _all(job, mapped, progress, database_at, store_at)
    except engine.EngineError as error:
        raise OpsError(f"import-compose --with-data: {error}") from error


def is_left(line: str) -> bool:
    """Whether a line of `import_data` names something that was not taken along."""
    return line.startswith(_LEFT)


def _all(
    job: "_Copy",
    mapped: Mapped,
    progress: Progress,
    database_at: str | None,
    store_at: str | None,
) -> list[str]:
    """Artifacts first: a run that is there has its artifacts."""
    done: list[str] = []
    roots: list[str] = []
    if mapped.store is not None:
        progress("artifacts: copying every object")
        done.append(job.store(mapped.store, store_at))
        roots = [mapped.store.uri]
    elif mapped.artifact_folder is not None:
        progress("artifacts: copying every file")
        line, roots = job.folder(mapped.artifact_folder)
        done.append(line)
    if mapped.database is not None:
        progress("database: copying every row")
        done += job.save(mapped.database, database_at)
    elif mapped.database_file is not None:
        progress("database: copying every row")
        done += job.save_file(mapped.database_file)
    with job.stopped_server(progress):
        if mapped.database is not None or mapped.database_file is not None:
            progress("database: bringing the rows in")
            done.append(job.load())
        for root in roots:
            done += job.rewrite(root)
        progress("database: migrating")
        job.run("migration", [*server_job.BOOT, "migrate"])
    return done


class _Copy:
    """The jobs.

    Args:
        client: the engine.
        ops: the stack's output of that name.
        folder: the compose file's own.
    """

    def __init__(self, client: docker.DockerClient, ops: Mapping[str, Any], folder: Path) -> None:
        self._client, self._ops, self._folder = client, ops, folder

    def run(self, role: str, command: list[str]) -> str:
        """Run a job in the server's place.

        Returns:
            What it prints.
        """
        return engine.run_job(
            self._client, server_job.like_server(self._client, self._ops, role, command)
        )

    def save(self, source: DatabaseSource, given: str | None) -> list[str]:
        """Copy the old database's rows to the scratch volume; the stack's server runs meanwhile."""
        if given:
            place = _given_place(given)
        elif not source.service:
            place = _Place(_seen_by_job(source.host), source.port, "")
        else:
            place = self._find(source.service, source.port, source.published, "--database-at")
        uri = uris.database_uri(
            uris.DatabaseAddress(
                engine=source.engine,
                host=place.host,
                port=place.port,
                database=source.name,
                username=source.username,
                password=source.password,
                tls_mode=source.tls_mode,
            )
        )
        if source.schema:
            options = {"options": f"-csearch_path={source.schema}"}
            url = make_url(uri).update_query_dict(options)
            uri = url.render_as_string(hide_password=False)
        with tempfile.TemporaryDirectory(prefix="pulumi-mlflow-") as folder:
            _write_secret(Path(folder) / _DATABASE_FILE, uri)
            return self._read_rows(Path(folder), place.network)

    def save_file(self, source: FileSource) -> list[str]:
        """The same of a SQLite file, which nobody may write to meanwhile."""
        container = self._container(source.service)
        if container.status in ("running", "paused", "restarting"):
            raise OpsError(
                f"service '{source.service}': runs, and may write to {source.path} while that is copied; stop it: "
                f"docker compose stop {source.service}"
            )
        path = _absolute(container, source.path)
        with tempfile.TemporaryDirectory(prefix="pulumi-mlflow-") as name:
            folder = Path(name)
            for ending in ("", "-wal", "-journal"):
                try:
                    engine.copy_out(self._client, container, f"{path}{ending}", folder)
                except NotFound:
                    if not ending:
                        raise OpsError(f"service '{source.service}': has no file {path}") from None
            copy = folder / _SQLITE
            (folder / path.name).rename(copy)
            for ending in ("-wal", "-journal"):
                beside = folder / f"{path.name}{ending}"
                if beside.exists():
                    beside.rename(folder / f"{_SQLITE}{ending}")
            _close_sqlite(copy)
            (folder / _DATABASE_FILE).write_text(f"sqlite:///{_GIVEN}/{_SQLITE}")
            return self._read_rows(folder, "")

    def _read_rows(self, given: Path, network: str) -> list[str]:
        command = [
            "python",
            "/opt/pulumi-mlflow/import_database.py",
            f"{_GIVEN}/{_DATABASE_FILE}",
            _COPY,
        ]
        printed = self._with_files("import", command, given, network)
        return [
            line
            for line in printed.splitlines()
            if line.startswith(("other database", "schema ", _LEFT))
        ]

    def load(self) -> str:
        """Replace the rows of the stack's database; one transaction."""
        return f"database: {_last(self.run('import', [*server_job.ROWS, 'load', _COPY]))}"

    def store(self, source: StoreSource, given: str | None) -> str:
        """Copy the old store's objects."""
        parts = urlsplit(given or source.endpoint_url)
        network = ""
        if not given and not source.service:
            host = urls.url_host(_seen_by_job(parts.hostname or ""))
            parts = parts._replace(netloc=f"{host}:{parts.port}" if parts.port else host)
        elif not given:
            port = parts.port or (443 if parts.scheme == "https" else 80)
            place = self._find(source.service, port, source.published, "--store-at")
            parts = parts._replace(netloc=f"{urls.url_host(place.host)}:{place.port}")
            network = place.network
        content = {
            "ARTIFACTS_URI": source.uri,
            "MLFLOW_S3_ENDPOINT_URL": urlunsplit(parts).rstrip("/"),
            "AWS_DEFAULT_REGION": source.region,
            "AWS_ACCESS_KEY_ID": source.access_key,
            "AWS_SECRET_ACCESS_KEY": source.secret_key,
        }
        program = ["python", "/opt/pulumi-mlflow/import_artifacts.py"]
        command = [*program, f"{_GIVEN}/{_STORE_FILE}", _COMPARED]
        with tempfile.TemporaryDirectory(prefix="pulumi-mlflow-") as folder:
            _write_secret(Path(folder) / _STORE_FILE, json.dumps(content))
            printed = self._with_files("import", command, Path(folder), network)
        return f"artifacts: {_last(printed)}"

    def folder(self, source: FileSource) -> tuple[str, list[str]]:
        """Copy artifacts that were files.

        Returns:
            What was done, and the roots by which rows of the old database name that folder.
        """
        container = self._container(source.service)
        path = _absolute(container, source.path)
        roots = [*source.roots, str(path), f"file://{path}"] if source.roots else []
        with tempfile.TemporaryDirectory(prefix="pulumi-mlflow-") as name:
            given = Path(name)
            inner = given / _FOLDER
            inner.mkdir()
            try:
                engine.copy_out(self._client, container, str(path), inner)
            except NotFound:
                return f"artifacts: service '{source.service}' has no folder {path}; none", roots
            content = {"ARTIFACTS_URI": f"{_GIVEN}/{_FOLDER}"}
            (given / _STORE_FILE).write_text(json.dumps(content))
            program = ["python", "/opt/pulumi-mlflow/import_artifacts.py"]
            printed = self._with_files(
                "import", [*program, f"{_GIVEN}/{_STORE_FILE}", _COMPARED_FILES], given, ""
            )
        return f"artifacts: {_last(printed)}", list(dict.fromkeys(roots))

    def rewrite(self, old: str) -> list[str]:
        """Let the rows name the new store where they named the old one."""
        new = self._environment().get("ARTIFACTS_URI", "")
        if not new:
            raise OpsError(
                "the stack's server names no ARTIFACTS_URI; run `make up` with this version first"
            )
        command = [
            "python",
            "/opt/pulumi-mlflow/artifacts.py",
            "rewrite",
            old,
            new if "://" in new else _BY_SERVER,
        ]
        return [f"database: {line}" for line in self.run("import", command).splitlines() if line]

    def _environment(self) -> dict[str, str]:
        return server_job.like_server(self._client, self._ops, "import", []).environment

    @contextmanager
    def stopped_server(self, progress: Progress) -> Iterator[None]:
        """The stack's server does not run meanwhile, and does again in any case."""
        name = self._ops["tracking"]["container"]
        progress("server: stopping")
        self._client.containers.get(name).stop(timeout=30)
        try:
            yield
        finally:
            progress("server: starting")
            self._client.containers.get(name).start()
        engine.wait_healthy(self._client, name, timeout=180, say=progress)

    def _with_files(self, role: str, command: list[str], given: Path, network: str) -> str:
        """Run a job that finds the content of a folder of this machine, secrets among it."""
        job = server_job.like_server(self._client, self._ops, role, command)
        job = dataclasses.replace(
            job,
            host_gateway=True,
            extra_networks=[network] if network and network != job.network else [],
        )
        return engine.run_job_from_folder(self._client, job, _GIVEN, given)

    def _container(self, service: str) -> Container:
        """The old container of a service; it need not run."""
        labels = [f"{_SERVICE}={service}", f"{_PROJECT_FOLDER}={self._folder}"]
        found = self._client.containers.list(all=True, filters={"label": labels})
        if not found:
            raise OpsError(
                f"service '{service}': no container of {self._folder} is found on this engine, and it has the files; "
                f"make it, without starting it: docker compose create {service}"
            )
        return found[0]

    def _find(self, service: str, port: int, published: Port | None, option: str) -> _Place:
        """Where containers reach a service: in its own network, else where it is published."""
        labels = [f"{_SERVICE}={service}", f"{_PROJECT_FOLDER}={self._folder}"]
        for container in self._client.containers.list(filters={"label": labels}):
            mode = container.attrs["HostConfig"].get("NetworkMode", "")
            if mode == "host":
                return _Place(where.MACHINE, port, "")
            if mode.startswith("container:"):
                container = self._client.containers.get(mode.partition(":")[2])  # noqa: PLW2901 - whose network it is
            for network, joined in container.attrs["NetworkSettings"]["Networks"].items():
                if joined.get("IPAddress"):
                    return _Place(joined["IPAddress"], port, network)
        if published and published.published and not _is_loopback(published):
            return _Place(where.MACHINE, published.published, "")
        raise OpsError(
            f"service '{service}': no running container of {self._folder} is found on this engine, and no port of it "
            f"is published beyond loopback; start it (docker compose up -d {service}), or say where it is: {option}"
        )


def _is_loopback(published: Port) -> bool:
    return bool(published.address) and urls.is_loopback(published.address)


def _given_place(text: str) -> _Place:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise OpsError(f"--database-at: must be host:port (got '{text}')")
    return _Place(host, int(port), "")


def _seen_by_job(host: str) -> str:
    """A host of the compose file as containers of a stack reach it."""
    return where.MACHINE if urls.is_loopback(host) or host in ("0.0.0.0", "::") else host  # noqa: S104 - compared


def _absolute(container: Container, path: str) -> PurePosixPath:
    """A path in a container; a relative one begins where its program starts."""
    folder = container.attrs["Config"].get("WorkingDir") or "/"
    return PurePosixPath(posixpath.normpath(posixpath.join(folder, path)))


def _close_sqlite(file: Path) -> None:
    """Take what stands in the files beside it into a SQLite file, which is read alone afterwards."""
    try:
        with contextlib.closing(sqlite3.connect(file)) as database:
            database.execute("PRAGMA journal_mode=DELETE")
            database.execute("PRAGMA schema_version")
    except sqlite3.DatabaseError as error:
        raise OpsError(f"the old server's SQLite file cannot be read: {error}") from error


def _write_secret(file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.write_text(text)


def _last(printed: str) -> str:
    lines = printed.strip().splitlines()
    return lines[-1] if lines else "done"
