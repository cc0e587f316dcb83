"""Takes the data of a compose deployment along into a running stack: every row and every object, compared by hash.

The old deployment keeps running, or at least its database and store do; both are only read. Copying is done by jobs in
the place of the stack's server, which also join the old project's networks: so nothing needs to be published.
"""

import dataclasses
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import docker

from pulumi_mlflow.core import compose_mapping, uris, urls
from pulumi_mlflow.core.compose_file import Port
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

_DATABASE_FILE, _STORE_FILE = "database-uri", "store.json"

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
    if mapped.database is None and mapped.store is None:
        raise OpsError(
            f"{imported.source}: names no database and no store of its own, so there is nothing to copy"
        )
    outputs = stack.outputs()
    if outputs.runtime != "docker":
        raise OpsError(f"stack '{stack.name}': data is taken along into stacks on Docker only")
    client, ops = engine.connect(), outputs.ops
    folder = imported.source.absolute().parent
    job = _Copy(client, ops, folder)
    done: list[str] = []
    name = ops["tracking"]["container"]
    try:
        if mapped.store is not None:
            progress("artifacts: copying every object")
            done.append(job.store(mapped.store, store_at))
        if mapped.database is not None:
            progress("database: copying every row")
            done += job.save(mapped.database, database_at)
            progress("server: stopping")
            client.containers.get(name).stop(timeout=30)
            try:
                progress("database: bringing the rows in")
                done.append(job.load())
                if mapped.store is not None:
                    done += job.rewrite(mapped.store)
                progress("database: migrating")
                job.run("migration", [*server_job.BOOT, "migrate"])
            finally:
                progress("server: starting")
                client.containers.get(name).start()
            engine.wait_healthy(client, name, timeout=180, say=progress)
    except engine.EngineError as error:
        raise OpsError(f"import-compose --with-data: {error}") from error
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

    def save(self, source: compose_mapping.DatabaseSource, given: str | None) -> list[str]:
        """Copy the old database's rows to the scratch volume; the stack's server runs meanwhile."""
        if given:
            place = _given_place(given)
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
            )
        )
        command = [
            "python",
            "/opt/pulumi-mlflow/import_database.py",
            f"{_GIVEN}/{_DATABASE_FILE}",
            _COPY,
        ]
        printed = self._with_secret("import", command, _DATABASE_FILE, uri, place.network)
        return [
            line
            for line in printed.splitlines()
            if line.startswith(("other database", "schema ", "not taken"))
        ]

    def load(self) -> str:
        """Replace the rows of the stack's database; one transaction."""
        return f"database: {_last(self.run('import', [*server_job.ROWS, 'load', _COPY]))}"

    def store(self, source: compose_mapping.StoreSource, given: str | None) -> str:
        """Copy the old store's objects."""
        parts = urlsplit(given or source.endpoint_url)
        network = ""
        if not given:
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
        printed = self._with_secret("import", command, _STORE_FILE, json.dumps(content), network)
        return f"artifacts: {_last(printed)}"

    def rewrite(self, source: compose_mapping.StoreSource) -> list[str]:
        """Let the rows name the new store where they named the old one."""
        new = self._environment().get("ARTIFACTS_URI", "")
        if not new:
            raise OpsError(
                "the stack's server names no ARTIFACTS_URI; run `make up` with this version first"
            )
        command = ["python", "/opt/pulumi-mlflow/artifacts.py", "rewrite", source.uri, new]
        return [f"database: {line}" for line in self.run("import", command).splitlines() if line]

    def _environment(self) -> dict[str, str]:
        return server_job.like_server(self._client, self._ops, "import", []).environment

    def _with_secret(
        self, role: str, command: list[str], name: str, content: str, network: str
    ) -> str:
        job = server_job.like_server(self._client, self._ops, role, command)
        job = dataclasses.replace(
            job,
            host_gateway=True,
            extra_networks=[network] if network and network != job.network else [],
        )
        with tempfile.TemporaryDirectory(prefix="pulumi-mlflow-") as folder:
            path = Path(folder) / name
            path.touch(mode=0o600)
            path.write_text(content)
            return engine.run_job_from_folder(self._client, job, _GIVEN, Path(folder))

    def _find(self, service: str, port: int, published: Port | None, option: str) -> _Place:
        """Where containers reach a service: in its own network, else where it is published."""
        for container in self._client.containers.list(
            filters={"label": [f"{_SERVICE}={service}", f"{_PROJECT_FOLDER}={self._folder}"]}
        ):
            for network, joined in container.attrs["NetworkSettings"]["Networks"].items():
                if joined.get("IPAddress"):
                    return _Place(joined["IPAddress"], port, network)
        if published and published.published and not _is_loopback(published):
            return _Place(compose_mapping.HOST_OF_CONTAINERS, published.published, "")
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


def _last(printed: str) -> str:
    lines = printed.strip().splitlines()
    return lines[-1] if lines else "done"
