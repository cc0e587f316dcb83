"""Images of ours that take the place of official ones: what they promise, under the hardening that we run them with."""

import contextlib
import json
import secrets
import time

import pymysql
import pytest
from tests.docker.builds import BUILD, built
from tests.docker.stack import DEPLOYMENT, left, sweep

from pulumi_mlflow import recipes
from pulumi_mlflow.docker.files import FILES_PATH, _Provider

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

PASSWORD = 'it\'s a \\ "pass" wörd $(id) `id`; -- '


@pytest.fixture(scope="module", autouse=True)
def ingredients():
    if missing := recipes.missing_ingredients(["mysql"], BUILD):
        pytest.skip(f"set-up has made no {missing}: this machine pulls images")


@pytest.fixture
def name(client):
    """Of things that are gone when the test ends."""
    name = f"it{secrets.token_hex(4)}"
    yield name
    remaining = left(client, name)
    sweep(client, name)
    assert remaining == {}


@contextlib.contextmanager
def running(client, name, image, files, uid, **options):
    """A container as our components run it."""
    labels = {DEPLOYMENT: name}
    props = {"name": name, "files": files, "image": image, "uid": uid, "labels": labels}
    provider = _Provider()
    volume = provider.create(provider.check({}, props).inputs).id
    client.volumes.create(f"{name}-data", labels=labels)
    data = options.pop("data")
    container = client.containers.run(
        image,
        name=name,
        user=f"{uid}:{uid}",
        read_only=True,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges:true"],
        volumes=[f"{volume}:{FILES_PATH}:ro", f"{name}-data:{data}"],
        labels=labels,
        detach=True,
        **options,
    )
    try:
        yield container
    finally:
        container.remove(force=True, v=True)
        client.volumes.get(f"{name}-data").remove()
        provider.delete(volume, props)


def eventually(attempt, seconds=120, errors=(pymysql.err.OperationalError,)):
    deadline = time.monotonic() + seconds
    while True:
        try:
            return attempt()
        except errors:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)


@pytest.mark.parametrize(("kind", "server"), [("mysql", "mysqld"), ("mariadb", "mariadbd")])
def test_a_first_start_that_was_killed_begins_again(client, name, kind, server):
    """The data folder is made beside and renamed; logins come from files, and root has none from the network."""
    image, upper = built(kind), kind.upper()
    files = {"password": PASSWORD, "root-password": f"{PASSWORD}root"}
    options = {
        "command": [server, "--datadir=/var/lib/mysql/data", "--collation-server=utf8mb4_bin"],
        "data": "/var/lib/mysql",
        "tmpfs": {"/tmp": "mode=1777", "/run/mysqld": "mode=1777"},
        "mem_limit": "768m",
        "environment": {
            f"{upper}_DATABASE": "ml_flow",
            f"{upper}_USER": "mlflow",
            f"{upper}_PASSWORD_FILE": f"{FILES_PATH}/password",
            f"{upper}_ROOT_PASSWORD_FILE": f"{FILES_PATH}/root-password",
        },
    }
    with running(client, name, image, files, 999, **options) as container:
        eventually(lambda: half_made(container), errors=(AssertionError,))
        container.kill()
        container.start()
        container.reload()
        address = container.attrs["NetworkSettings"]["IPAddress"]

        def connect(user="mlflow", password=PASSWORD, database="ml_flow"):
            return pymysql.connect(
                host=address, user=user, password=password.encode(), database=database
            )

        with eventually(connect).cursor() as cursor:
            cursor.execute("CREATE TABLE t (x VARCHAR(9)) DEFAULT CHARSET utf8mb4")
            cursor.execute("INSERT INTO t VALUES ('ä😀')")
            cursor.execute("SELECT x, @@collation_server, @@collation_database FROM t")
            assert cursor.fetchall() == (("ä😀", "utf8mb4_bin", "utf8mb4_bin"),)
            cursor.execute("SHOW DATABASES")
            assert ("mysql",) not in cursor.fetchall()
        for user, password in (("mlflow", "another"), ("root", f"{PASSWORD}root"), ("root", "")):
            with pytest.raises(pymysql.err.OperationalError):
                connect(user, password, None)
        assert run_in(container, "ls /var/lib/mysql; ls /tmp").split() in (
            ["data"],
            ["data", "mysqld.pid"],
        )
        shown = container.logs().decode() + json.dumps(container.attrs)
        assert "wörd" not in shown


def half_made(container):
    assert "data.new" in run_in(container, "ls /var/lib/mysql").split()


def run_in(container, script):
    return container.exec_run(["sh", "-c", script]).output.decode()
