"""What a stack did not make and uses: a database server, a bucket, an identity provider."""

import contextlib
import ipaddress
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import docker
from botocore.config import Config
from docker.models.containers import Container
from tests.docker.identity import Issuer, issuer
from tests.docker.matrix import Place
from tests.docker.stack import DEPLOYMENT, DockerStack, sweep
from tests.support import free_port, until

from pulumi_mlflow.core import store_server
from pulumi_mlflow.docker.files import FILES_PATH, _archive

SECRET = secrets.token_hex(16)
"""Password, access key and secret key of everything here."""


@dataclass
class Neighbours:
    """Where they are.

    Attributes:
        host: this machine, for containers and for itself.
        provider: who logs users in.
        database: container of PostgreSQL.
        database_port: its port.
        bucket_port: of the store.
    """

    host: str
    provider: Issuer
    database: Container
    database_port: int
    bucket_port: int

    def place(self) -> Place:
        """Ports for one stack, and a database of its own, with names that SQL wants in quotes.

        Its user may do nothing in `public`, and owns one schema.
        """
        name = f"Of-{secrets.token_hex(4)}"
        made = {
            "mlflow": (
                f'CREATE DATABASE "{name}"',
                f"CREATE ROLE \"{name}\" LOGIN PASSWORD '{SECRET}'",
            ),
            name: (f'CREATE SCHEMA "{name} runs" AUTHORIZATION "{name}"',),
        }
        for database, statements in made.items():
            for statement in statements:
                create = [
                    "psql",
                    "-U",
                    "mlflow",
                    "-h",
                    "127.0.0.1",
                    "-d",
                    database,
                    "-c",
                    statement,
                ]
                assert _succeeds(self.database, create, PGPASSWORD=SECRET)
        return Place(
            host=self.host,
            port=free_port(),
            store_port=free_port(),
            console_port=free_port(),
            database_port=self.database_port,
            database_name=name,
            database_user=name,
            schema=f"{name} runs",
            bucket_port=self.bucket_port,
            issuer=self.provider.url,
        )


def this_machine(client: docker.DockerClient) -> str:
    """Address of the engine's machine that containers of every network, and the machine itself, reach."""
    bridge = client.networks.get("bridge").attrs["IPAM"]["Config"][0]
    first = next(ipaddress.ip_network(bridge["Subnet"]).hosts())
    return str(bridge.get("Gateway") or first)


@contextlib.contextmanager
def neighbours(client: docker.DockerClient, like: DockerStack) -> Iterator[Neighbours]:
    """Start them all.

    Args:
        client: the engine.
        like: a stack whose database and store are of the same images.
    """
    name = f"it{secrets.token_hex(4)}"
    host = this_machine(client)
    ports = free_port(), free_port()
    try:
        database = _database(client, name, like.container("database").image.id, (host, ports[0]))
        bucket(client, name, like.container("artifacts").image.id, (host, ports[1]))
        with issuer(host) as provider:
            yield Neighbours(host, provider, database, *ports)
    finally:
        sweep(client, name)


def _database(
    client: docker.DockerClient, name: str, image: str, published: tuple[str, int]
) -> Container:
    container = client.containers.create(
        image,
        ["postgres"],
        name=f"{name}-database",
        environment={
            "POSTGRES_USER": "mlflow",
            "POSTGRES_DB": "mlflow",
            "POSTGRES_PASSWORD_FILE": f"{FILES_PATH}/password",
        },
        ports={"5432/tcp": published},
        labels={DEPLOYMENT: name},
    )
    container.put_archive(FILES_PATH, _archive({"password": SECRET}, 999))
    container.start()
    ready = ["psql", "-U", "mlflow", "-d", "mlflow", "-h", "127.0.0.1", "-c", "SELECT 1"]
    until(lambda: _succeeds(container, ready, PGPASSWORD=SECRET), 60)
    return container


def bucket(
    client: docker.DockerClient,
    name: str,
    image: str,
    published: tuple[str, int],
    *,
    bucket: str = "mlflow",
    region: str = store_server.REGION,
    tls: tuple[str, str] | None = None,
) -> Any:
    """Start a store with a bucket in it.

    Args:
        client: the engine.
        name: deployment; `stack.sweep` of it ends the store.
        image: id of versitygw's image.
        published: address and port of this machine.
        bucket: its name.
        region: for which requests must be signed.
        tls: certificate and key; plain HTTP without.

    Returns:
        A client of it, with the keys `SECRET`.
    """
    program = store_server.store_program("versitygw")
    command = [region if word == store_server.REGION else word for word in program.command]
    files = store_server.store_files("versitygw", SECRET, SECRET)
    if tls:
        files |= {"tls.crt": tls[0], "tls.key": tls[1]}
        paths = [f"{FILES_PATH}/{name}" for name in ("tls.crt", "tls.key")]
        command[1:1] = ["--cert", paths[0], "--key", paths[1]]
    container = client.containers.create(
        image,
        command,
        name=f"{name}-bucket",
        environment=program.environment,
        ports={f"{store_server.PORT}/tcp": published},
        labels={DEPLOYMENT: name},
    )
    container.put_archive(FILES_PATH, _archive(files, 10001))
    container.start()
    store = boto3.client(
        "s3",
        endpoint_url=f"http{'s' if tls else ''}://{published[0]}:{published[1]}",
        verify=False,
        region_name=region,
        aws_access_key_id=SECRET,
        aws_secret_access_key=SECRET,
        config=Config(signature_version="s3v4", retries={"max_attempts": 1}),
    )
    until(lambda: store.create_bucket(Bucket=bucket), 60)
    return store


def _succeeds(container: Container, command: list[str], **environment: str) -> bool:
    return bool(container.exec_run(command, environment=environment).exit_code == 0)
