"""A front door that is closed to writers on the real nginx: who reads passes, and nobody is told that a write was kept."""

import os
import subprocess
import sys
import threading
import time

import pytest
import requests
from tests.docker.door import door
from tests.support import until

from pulumi_mlflow.core import closing
from pulumi_mlflow.docker import restoring

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

UPLOAD = "/api/2.0/mlflow-artifacts/artifacts/1/run/artifacts/model.pkl"
SEARCH = "/api/2.0/mlflow/runs/search"

HOLDS = """
import sys, time, docker
from pulumi_mlflow.docker import engine, restoring
client = engine.connect()
with restoring.closed(client, client.containers.get(sys.argv[1])) as closed:
    print(closed, flush=True)
    time.sleep(120)
"""


@pytest.fixture(scope="module")
def gate(client):
    with door(client) as made:
        made.start(auth="none", htpasswd_path="")
        yield made


def test_closed_to_writers_and_open_again(client, gate):
    put, post = (lambda: requests.put(gate.url + UPLOAD, data=b"x", timeout=10)), requests.post
    assert put().status_code == 200
    with restoring.closed(client, gate.container("proxy")) as closed:
        assert closed
        refused = put()
        assert (refused.status_code, refused.json()["error_code"]) == (
            503,
            "TEMPORARILY_UNAVAILABLE",
        )
        assert refused.json()["message"] == closing.WAITING
        assert (
            post(f"{gate.url}/api/2.0/mlflow/runs/create", json={}, timeout=10).status_code == 503
        )
        assert post(gate.url + SEARCH, json={}, timeout=10).status_code == 200
        assert requests.get(gate.url + UPLOAD, timeout=10).status_code == 200
    assert put().status_code == 200


def test_an_upload_under_way_is_cut_off(client, gate):
    """Its client must not be told that it was kept."""
    answers, begun = [], threading.Event()

    def blocks():
        for _ in range(100):
            begun.set()
            yield b"x" * 1000
            time.sleep(0.05)

    def upload():
        try:
            answers.append(requests.put(gate.url + UPLOAD, data=blocks(), timeout=30).status_code)
        except requests.RequestException as error:
            answers.append(type(error).__name__)

    thread = threading.Thread(target=upload)
    thread.start()
    assert begun.wait(10)
    time.sleep(0.5)
    with restoring.closed(client, gate.container("proxy")):
        thread.join(20)
        assert answers != [200]
        assert not thread.is_alive()


def test_it_opens_when_the_one_who_closed_it_is_killed(gate):
    name = gate.container("proxy").name
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDS, name], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    try:
        assert holder.stdout.readline() == "True\n"
        assert requests.put(gate.url + UPLOAD, data=b"x", timeout=10).status_code == 503
    finally:
        holder.kill()
        holder.wait()
    until(lambda: requests.put(gate.url + UPLOAD, data=b"x", timeout=10).status_code == 200, 20)


def test_a_door_of_an_earlier_release_is_said_not_to_be_closed(client, gate, monkeypatch):
    monkeypatch.setattr(closing, "CLOSED_PATH", "/tmp/unknown")
    with restoring.closed(client, gate.container("proxy")) as closed:
        assert not closed
