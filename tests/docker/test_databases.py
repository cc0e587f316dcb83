"""Databases that others run, and moving from one to another with real runs."""

import contextlib
import datetime as dt
import json
import re
import secrets
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from tests.docker.builds import built
from tests.docker.stack import DEPLOYMENT, DockerStack, check_run, dev_settings, log_run
from tests.support import FULL, until

from pulumi_mlflow.core import uris
from pulumi_mlflow.docker import engine
from pulumi_mlflow.docker.files import FILES_PATH, _archive

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

PASSWORD = "S3cret" + secrets.token_hex(8)
NAME = "db.example.com"
"""What the servers' certificates are for."""


@contextlib.contextmanager
def volume_of(client, name, image, files, uid=999):
    """Files as a component has them, readable by the program's user only."""
    volume = client.volumes.create(name, labels={DEPLOYMENT: name})
    carrier = client.containers.create(image, ["true"], volumes=[f"{name}:{FILES_PATH}"])
    try:
        carrier.put_archive(FILES_PATH, _archive(files, uid))
        carrier.remove(force=True)
        yield volume.name
    finally:
        with contextlib.suppress(Exception):
            carrier.remove(force=True)
        volume.remove(force=True)


class Issued(NamedTuple):
    ca: str
    certificate: str
    key: str


def issue(host):
    """An authority and a server's certificate, with RSA: MySQL 8.0.12's OpenSSL shakes no hands with other keys."""
    now = dt.datetime.now(dt.UTC)

    def signed(name, key, issuer, issuer_key, extension):
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(extension, critical=False)
            .sign(issuer_key, hashes.SHA256())
            .public_bytes(serialization.Encoding.PEM)
            .decode()
        )

    def called(text):
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    ca_key, key = (rsa.generate_private_key(65537, 2048) for _ in range(2))
    ca = called("Tests' authority")
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    return Issued(
        signed(ca, ca_key, ca, ca_key, x509.BasicConstraints(ca=True, path_length=None)),
        signed(called(host), key, ca, ca_key, x509.SubjectAlternativeName([x509.DNSName(host)])),
        private.decode(),
    )


@pytest.fixture(scope="module")
def issued():
    return issue(NAME)


class Server:
    """A database server with TLS that nobody of us has made a component of."""

    def __init__(self, container, kind, name):
        self.container, self.kind, self.name = container, kind, name

    @property
    def port(self):
        return {"postgresql": 5432, "mysql": 3306}[self.kind]


@contextlib.contextmanager
def tls_server(client, kind, image, issued):
    name = f"it{secrets.token_hex(4)}"
    files = {"password": PASSWORD, "server.crt": issued.certificate, "server.key": issued.key}
    at = f"{FILES_PATH}/server"
    commands = {
        "postgresql": [
            "postgres",
            "-c",
            "ssl=on",
            "-c",
            f"ssl_cert_file={at}.crt",
            "-c",
            f"ssl_key_file={at}.key",
        ],
        "mysql": [
            "mysqld",
            f"--ssl-cert={at}.crt",
            f"--ssl-key={at}.key",
            "--skip-log-bin",
            "--skip-name-resolve",
        ],
    }
    prefix = {"postgresql": "POSTGRES", "mysql": "MYSQL"}[kind]
    environment = {
        f"{prefix}_USER": "mlflow",
        f"{prefix}_{'DB' if kind == 'postgresql' else 'DATABASE'}": "mlflow",
        f"{prefix}_PASSWORD_FILE": f"{FILES_PATH}/password",
        "PGDATA": "/var/lib/postgresql/data/pgdata",
    }
    network = client.networks.create(name, labels={DEPLOYMENT: name})
    with volume_of(client, f"{name}-files", image, files) as volume:
        container = client.containers.create(
            image,
            commands[kind],
            name=name,
            environment=environment,
            volumes=[f"{volume}:{FILES_PATH}:ro"],
            labels={DEPLOYMENT: name},
        )
        try:
            # One server under two names: that of its certificate, and another.
            network.connect(container, aliases=[NAME, "other.example.com"])
            container.start()
            yield Server(container, kind, name)
        finally:
            container.remove(force=True, v=True)
            network.remove()


def migrate(client, server, image, command, tls_mode, ca=None, host=NAME):
    """What the server's migration says in a stack with this `existing` database; or another command with its URI."""
    uri = uris.database_uri(
        uris.DatabaseAddress(
            engine=server.kind,
            host=host,
            port=server.port,
            database="mlflow",
            username="mlflow",
            password=PASSWORD,
            tls_mode=tls_mode,
            ca_path=f"{FILES_PATH}/database-ca.pem" if ca else "",
        )
    )
    files = {"env/MLFLOW_BACKEND_STORE_URI": uri, **({"database-ca.pem": ca} if ca else {})}
    with volume_of(client, f"{server.name}-job", image, files, 10001) as volume:
        job = engine.Job(
            name=f"{server.name}-migration",
            image=image,
            command=command,
            environment={"WAIT_SECONDS": "60"},
            volumes={volume: f"{FILES_PATH}:ro"},
            network=server.name,
            timeout=90,
        )
        try:
            return engine.run_job(client, job)
        except engine.EngineError as error:
            return str(error)


MIGRATION = ["python", "/opt/pulumi-mlflow/boot.py", "migrate"]
CIPHER = """
import os, sqlalchemy as sa
with sa.create_engine(os.environ["MLFLOW_BACKEND_STORE_URI"]).connect() as connection:
    asked = {"postgresql": "SELECT cipher FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
             "mysql": "SHOW SESSION STATUS LIKE 'Ssl_cipher'"}[connection.dialect.name]
    print("cipher", connection.execute(sa.text(asked)).one()[-1])
"""
SHOW = ["python", "-c", CIPHER]


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
def test_tls_modes_of_an_existing_database_are_honoured(watched, client, issued, kind):
    """What is refused is refused by the migration, before a server starts, at once and with what is wrong."""
    image = watched.stack.container("tracking").image.id
    database = {"postgresql": built("postgresql", MAJOR="15"), "mysql": built("mysql")}[kind]
    foreign = issue(NAME)
    with tls_server(client, kind, database, issued) as server:
        # Waits until it is up.
        until(lambda: "cipher" in migrate(client, server, image, SHOW, "require"), 90)

        right = migrate(client, server, image, SHOW, "verify-full", issued.ca)
        other_name = migrate(
            client, server, image, SHOW, "verify-ca", issued.ca, "other.example.com"
        )
        plain = migrate(client, server, image, SHOW, "disable")
        wrong_name = migrate(
            client, server, image, MIGRATION, "verify-full", issued.ca, "other.example.com"
        )
        wrong_ca = migrate(client, server, image, MIGRATION, "verify-full", foreign.ca)

    for connected in (right, other_name):
        assert re.fullmatch(r"cipher \w+[-_].*\s*", connected), connected
    assert plain.strip() in ("cipher None", "cipher"), plain
    assert "the database's certificate is not for this host name" in wrong_name
    # An authority of the same name, as after a renewal: OpenSSL has several words for it.
    assert re.search("certificate (is not signed by the authority|cannot be verified)", wrong_ca)
    for refusal in (wrong_name, wrong_ca):
        assert "mlflow:database.existing" in refusal
        assert PASSWORD not in refusal


def test_a_server_without_tls_is_refused_at_once_where_tls_is_wanted(watched, client):
    image = watched.stack.container("tracking").image.id
    host = watched.stack.container("database").name

    class Plain:
        kind, port, name = "postgresql", 5432, watched.stack.deployment

    refusal = migrate(client, Plain, image, MIGRATION, "require", host=host)

    assert "mlflow:database.existing.tls_mode must be what the server wants" in refusal


@pytest.fixture(scope="module")
def moving(client, tmp_path_factory):
    """A stack with PostgreSQL behind PgBouncer, and artifacts in a folder."""
    settings = dev_settings()
    settings["database"] = {
        "engine": "postgresql",
        "version": "15",
        "pgbouncer": True,
        "max_connections": 40,
    }
    settings["artifacts"] = {"store": "folder"}
    stack = DockerStack(client, tmp_path_factory.mktemp("moving") / "project", settings)
    left = []
    try:
        stack.up()
        yield stack, left
    finally:
        for name in left:
            with contextlib.suppress(Exception):
                client.volumes.get(name).remove()
        stack.close()


def use(stack, **database):
    """Write another database into the stack's file."""
    stack.settings["database"] = database
    stack.configure(stack.settings)


@pytest.mark.skipif(not FULL, reason="FULL=1: a stack moves between engines, which takes minutes")
def test_runs_move_from_postgresql_to_mysql_and_a_dump_of_that_comes_back(moving, client, tmp_path):
    stack, left = moving
    with stack.mlflow() as door:
        run = log_run(door, tmp_path / "logged", "Ünï 漢😀")
        door.log_metric(run.run_id, "Loss", 0.1 + 0.2)  # beside `loss`
        many = [door.create_experiment(f"experiment {number}") for number in range(3)]
        door.delete_experiment(many[0])
    pooled = int(show(stack, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'mlflow'"))
    assert pooled <= 21
    old = stack.outputs()["ops"]["database"]["volume"]

    use(stack, engine="mysql", version="8.0")
    refused = stack.pulumi("preview", ok=False)
    assert (
        "mlflow:database.engine: 'mysql' is refused while there is data made with 'postgresql'"
        in refused
    )
    assert f"pulumi-mlflow migrate-database --stack {stack.stack}" in refused

    said = stack.cli("migrate-database", "--yes")

    left.append(old)
    assert "Read back in the new database, and equal" in " ".join(said.split())  # a narrow table
    assert f"docker volume rm {old}" in said
    assert client.volumes.get(old)
    assert "pooler" not in stack.containers()
    with stack.mlflow() as door:
        check_run(door, run, tmp_path / "moved")
        assert door.get_metric_history(run.run_id, "Loss")[0].value == 0.1 + 0.2
        assert door.get_experiment(many[0]).lifecycle_stage == "deleted"
        # The next number of PostgreSQL's sequence or MySQL's counter is free.
        assert door.create_experiment("after the move") not in many
    stack.unchanged()

    dumped = tmp_path / "dump"
    stack.cli("dump", "--to", str(dumped))
    assert (
        json.loads((dumped / "database" / "rows.json").read_text())["tables"]["runs"]["rows"] == 1
    )
    with stack.mlflow() as door:
        door.delete_run(run.run_id)
        later = door.create_experiment("after the dump")
    stack.cli("restore", "--from", str(dumped), "--yes")
    with stack.mlflow() as door:
        check_run(door, run, tmp_path / "restored")
        assert door.get_run(run.run_id).info.lifecycle_stage == "active"
        assert later not in [e.experiment_id for e in door.search_experiments()]


def show(stack, query):
    return stack.execute("database", "psql", "-U", "mlflow", "-d", "mlflow", "-tAc", query).strip()
