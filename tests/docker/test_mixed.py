"""examples/mixed for real: a server here with a database in Docker, and the other way round."""

import contextlib
import ipaddress
import json
import os
import secrets
import subprocess
from pathlib import Path

import mlflow
import pytest
from tests.docker.builds import built
from tests.docker.stack import DEPLOYMENT, check_run, log_run, sweep
from tests.support import FULL, ROOT, free_port, toolchain_environment, until

pytestmark = [
    pytest.mark.docker,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not FULL, reason="FULL=1: two programs with stacks of their own take minutes"
    ),
]

PASSWORD = f"S3cret{secrets.token_hex(8)}"


class Program:
    """The example in a folder of its own, with a stack of a name that nobody else has."""

    def __init__(self, client, folder: Path, **config: str) -> None:
        self.client, self.folder = client, folder
        self.stack = f"it{secrets.token_hex(4)}"
        (folder / "state").mkdir(parents=True)
        for name in ("Pulumi.yaml", "__main__.py"):
            (folder / name).write_text((ROOT / "examples" / "mixed" / name).read_text())
        self.environment = {
            **os.environ,
            **toolchain_environment(),
            "PULUMI_BACKEND_URL": (folder / "state").as_uri(),
            "PULUMI_CONFIG_PASSPHRASE": "example",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        self.environment.pop("PULUMI_CONFIG_PASSPHRASE_FILE", None)
        self.run("stack", "init", self.stack, "--no-select")
        for key, value in {"images": "build", **config}.items():
            secret = ["--secret"] if key.endswith("Password") else []
            self.run("config", "set", *secret, key, "-s", self.stack, given=value)

    def run(self, *arguments, given=""):
        done = subprocess.run(
            ["pulumi", *arguments, "--non-interactive"],
            cwd=self.folder, env=self.environment, input=given, capture_output=True, text=True, timeout=300,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def up(self) -> None:
        self.run("up", "--yes", "--skip-preview", "-s", self.stack)

    def unchanged(self) -> None:
        self.run("preview", "--expect-no-changes", "--diff", "-s", self.stack)

    @contextlib.contextmanager
    def mlflow(self, monkeypatch):
        found = json.loads(
            self.run("stack", "output", "--json", "--show-secrets", "-s", self.stack)
        )
        for name in ("username", "password"):
            monkeypatch.setenv(f"MLFLOW_TRACKING_{name.upper()}", found.get(name, ""))
        before = mlflow.get_tracking_uri()
        mlflow.set_tracking_uri(found["tracking_uri"])
        try:
            yield mlflow.MlflowClient()
        finally:
            mlflow.set_tracking_uri(before)

    def close(self) -> None:
        try:
            self.run("state", "unprotect", "--all", "--yes", "-s", self.stack)
            self.run("destroy", "--yes", "--skip-preview", "-s", self.stack)
        finally:
            sweep(self.client, f"mixed-{self.stack}")


@pytest.fixture
def program(client, tmp_path):
    with contextlib.ExitStack() as cleanup:

        def make(**config):
            made = Program(client, tmp_path / config["here"], **config)
            cleanup.callback(made.close)
            return made

        yield make


@pytest.fixture
def postgresql(client):
    """As if it ran on the engine's machine: published where containers find that machine. Returns its port."""
    name, port = f"it{secrets.token_hex(4)}", free_port()
    bridge = client.networks.get("bridge").attrs["IPAM"]["Config"][0]
    # Some engines name the network only; the machine has its first address.
    gateway = bridge.get("Gateway") or str(ipaddress.ip_network(bridge["Subnet"])[1])
    try:
        # Our image reads the password from a file only.
        start = 'printf %s "$PASSWORD" > /tmp/pw && exec docker-entrypoint.sh postgres'
        container = client.containers.run(
            built("postgresql", MAJOR="15"),
            ["sh", "-c", start],
            name=name,
            detach=True,
            labels={DEPLOYMENT: name},
            environment={
                "POSTGRES_USER": "mlflow",
                "POSTGRES_DB": "mlflow",
                "PASSWORD": PASSWORD,
                "POSTGRES_PASSWORD_FILE": "/tmp/pw",
                "PGDATA": "/var/lib/postgresql/data/pgdata",
            },
            ports={"5432/tcp": (gateway, port)},
        )
        until(lambda: container.exec_run(["pg_isready", "-h", "127.0.0.1"]).exit_code == 0, 60)
        yield port
    finally:
        sweep(client, name)


def test_a_server_here_and_its_database_in_docker(program, client, tmp_path, monkeypatch):
    mixed = program(
        here="server", port=str(free_port()), databasePort=str(free_port()), dataDir=str(tmp_path / "data")
    )  # fmt: skip
    mixed.up()
    with mixed.mlflow(monkeypatch) as door:
        run = log_run(door, tmp_path / "logged")
        check_run(door, run, tmp_path / "found")
    database = client.containers.get(f"mixed-{mixed.stack}-database")
    query = f"SELECT count(*) FROM metrics WHERE run_uuid = '{run.run_id}'"
    script = f'PGPASSWORD="$(cat /run/pulumi-mlflow/password)" psql -h 127.0.0.1 -U mlflow -At -c "{query}"'
    assert database.exec_run(["sh", "-c", script]).output.decode().strip() == "3"
    places = {place["HostIp"] for bound in database.ports.values() for place in bound or ()}
    assert places == {"127.0.0.1"}
    mixed.unchanged()


def test_a_database_here_and_the_server_in_docker(program, postgresql, tmp_path, monkeypatch):
    mixed = program(
        here="database", port=str(free_port()), databasePort=str(postgresql), databasePassword=PASSWORD
    )  # fmt: skip
    mixed.up()
    with mixed.mlflow(monkeypatch) as door:
        check_run(door, log_run(door, tmp_path / "logged"), tmp_path / "found")
    mixed.unchanged()
