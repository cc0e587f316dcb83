"""Checks of the machine and the engine, against real sockets and an engine that is played by a small HTTP server."""

import functools
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from docker.client import DockerClient
from tests.stacks import cloud

import preflight
from models import Images
from pulumi_mlflow import recipes
from settings import load

DEPLOYMENT = "project-stack"  # what pulumi calls project and stack outside of a run


class FakeEngine(ThreadingHTTPServer):
    """Answers what preflight asks of an engine."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.api = "1.41"
        self.containers = {}
        self.networks = {"bridge": "bridge", "none": "null"}

    def publish(self, name, deployment, address, port):
        self.containers[name] = {
            "Id": name,
            "Name": f"/{name}",
            "Config": {"Labels": {"pulumi-mlflow/deployment": deployment} if deployment else {}},
            "NetworkSettings": {
                "Ports": {"8080/tcp": [{"HostIp": address, "HostPort": str(port)}]}
            },
        }


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.partition("?")[0]
        name = path.split("/")[-2]
        if path.endswith("/version"):
            answer = {"ApiVersion": self.server.api, "Version": "test"}
        elif path.endswith("/networks"):
            named = self.server.networks.items()
            answer = [{"Name": name, "Driver": driver} for name, driver in named]
        elif name == "containers":
            answer = [{"Id": container} for container in self.server.containers]
        else:
            answer = self.server.containers[name]
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def engine(monkeypatch):
    server = FakeEngine()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{server.server_port}")
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def taken():
    """A port that this test listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def docker(port=5000, **access):
    return load("stack", {"runtime": "docker", "access": json.dumps({"port": port, **access})})


def local(port, data_dir=None, **access):
    raw = {"runtime": "local", "access": json.dumps({"port": port, **access})}
    return load("stack", raw | ({"data_dir": str(data_dir)} if data_dir else {}))


def refusal(settings):
    with pytest.raises(preflight.PreflightError) as refused:
        preflight.preflight(settings)
    message = str(refused.value)
    assert "\n" not in message
    return message


def free_port_of(message):
    command = "; pulumi config set --path 'mlflow:access.port' "
    assert command in message
    port, _, rest = message.partition(command)[2].partition(" ")
    assert rest == "-s stack"
    return int(port)


def test_a_local_port_that_is_free(taken):
    preflight.preflight(local(free_port_of(refusal(local(taken)))))


def test_a_local_port_that_somebody_has(taken):
    message = refusal(local(taken))

    assert message.startswith(
        f"Pulumi.stack.yaml: mlflow:access.port: {taken} on 127.0.0.1 is taken by "
    )
    assert "pid" in message


def test_a_local_port_that_our_own_server_has(taken, tmp_path, monkeypatch):
    from pulumi_mlflow.local import processes

    asked = []
    monkeypatch.setattr(processes, "owns_port", lambda *given: asked.append(given) or True)

    preflight.preflight(local(taken, tmp_path / "data"))

    assert asked == [(tmp_path / "data", taken)]


def test_an_address_that_is_not_of_this_machine():
    # 192.0.2.0/24 is for documentation (RFC 5737), so no machine has it.
    settings = docker(bind="192.0.2.7", tls="none", hosts=["mlflow.corp.example"])

    message = refusal_with_local_engine(settings)

    assert message.startswith("Pulumi.stack.yaml: mlflow:access.bind: must be an address of this")
    assert message.endswith("; pulumi config set --path 'mlflow:access.bind' 127.0.0.1 -s stack")


def refusal_with_local_engine(settings):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preflight, "_engine", _NoContainers)
        return refusal(settings)


class _NoContainers:
    class api:  # noqa: N801
        base_url = "http+docker://localhost"

    class containers:  # noqa: N801
        @staticmethod
        def list(**_):
            return []

    def close(self):
        pass


def test_a_port_that_a_program_beside_the_engine_has(taken):
    message = refusal_with_local_engine(docker(taken))

    assert f"mlflow:access.port: {taken} on 127.0.0.1 is taken by" in message
    assert free_port_of(message) != taken


def test_an_engine_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")

    assert refusal(docker()) == (
        f"Docker Engine: cannot be reached at unix://{tmp_path}/none.sock: "
        "No such file or directory; unset DOCKER_HOST"
    )


def test_an_engine_that_refuses(monkeypatch, taken):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{port}")

    message = refusal(docker())

    assert "Connection refused" in message
    assert message.endswith("; unset DOCKER_HOST")


def test_the_machines_own_engine_is_not_running(monkeypatch, tmp_path):
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    dead = functools.partial(DockerClient, base_url=f"unix://{tmp_path}/none.sock", version="auto")
    monkeypatch.setattr("docker.from_env", dead)

    assert refusal(docker()).endswith("; python3 toolchain/setup.py engine start")


def test_an_engine_that_is_too_old(engine):
    engine.api = "1.39"

    message = refusal(docker())

    assert "speaks API 1.39, and 1.41 (Engine 20.10) is the oldest that works" in message


def test_a_port_that_our_own_container_has(engine):
    engine.publish("mlflow-stack-proxy", DEPLOYMENT, "127.0.0.1", 5000)

    preflight.preflight(docker())


@pytest.mark.parametrize("deployment", ["", "project-other"])
@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::"])  # noqa: S104
def test_a_port_that_another_container_has(engine, deployment, address):
    engine.publish("mlflow-other-proxy", deployment, address, 5000)
    engine.publish("another", "", "127.0.0.1", 5001)

    message = refusal(docker())

    assert "5000 on 127.0.0.1 is taken by container mlflow-other-proxy" in message
    assert free_port_of(message) == 5002


def test_the_same_port_on_another_address_is_free(engine):
    engine.publish("another", "", "192.0.2.7", 5000)

    preflight.preflight(docker())


def test_a_network_to_join_must_be_there(engine):
    joining = load("stack", {"runtime": "docker", "network": '{"existing": "nginx_network"}'})
    assert refusal(joining) == (
        "Pulumi.stack.yaml: mlflow:network.existing: the engine has no such bridge network, there is none yet "
        "(got 'nginx_network'); docker network create nginx_network, or name another: "
        "pulumi config set --path 'mlflow:network.existing' NAME -s stack"
    )
    engine.networks |= {"other": "bridge", "another": "bridge"}
    assert "there are another, other (got" in refusal(joining)

    engine.networks["nginx_network"] = "bridge"
    preflight.preflight(joining)


def test_ingredients_that_set_up_has_not_made(engine, monkeypatch, tmp_path):
    monkeypatch.setenv("PULUMI_MLFLOW_CACHE", str(tmp_path))
    built = load("stack", {"runtime": "docker", "images": "build"})

    message = refusal(built)

    assert "rootfs-*.tar" in message
    assert "versitygw-*" in message
    assert message.endswith("; make setup STACK=stack")
    preflight.preflight(docker())


@pytest.mark.parametrize(
    "tree",
    [
        {"runtime": "docker", "images": "build"},
        {"runtime": "docker", "artifacts": '{"store": "minio"}'},
        cloud.AWS,
    ],
    ids=["built", "minio", "aws"],
)
def test_a_preview_needs_no_ingredients_and_an_up_does(tree, engine, monkeypatch, tmp_path):
    monkeypatch.setenv("PULUMI_MLFLOW_CACHE", str(tmp_path))
    settings = cloud.loaded(tree) if tree is cloud.AWS else load("stack", tree)
    assert "missing" in refusal(settings)
    monkeypatch.setattr("pulumi.runtime.is_dry_run", lambda: True)
    preflight.preflight(settings)


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"database": '{"engine": "mysql"}'}, {"mysql-*.tar.gz", "versitygw-*"}),
        ({"database": '{"engine": "mariadb"}'}, {"versitygw-*"}),
        ({"artifacts": '{"store": "minio"}'}, {"minio-*"}),
        ({"artifacts": '{"store": "folder"}'}, set()),
        (
            {
                "access": '{"auth": "oidc", "oidc": {"issuer": "https://id.test", "client_id": "x"}}',
                "oidc_client_secret": "x" * 32,
            },
            {"oauth2-proxy-*", "versitygw-*"},
        ),
    ],
    ids=["mysql", "mariadb", "minio", "folder", "oidc"],
)
def test_only_ingredients_of_what_the_stack_runs_are_wanted(
    engine, monkeypatch, tmp_path, settings, wanted
):
    monkeypatch.setenv("PULUMI_MLFLOW_CACHE", str(tmp_path))
    raw = {"runtime": "docker", "images": "build", **settings}
    built = load("stack", raw, secret_keys={"oidc_client_secret"})

    named = {word.rpartition("/")[2] for word in refusal(built).split() if "/images/" in word}

    assert named == {"rootfs-*.tar", *wanted}


def test_ingredients_that_set_up_has_made(engine, monkeypatch, tmp_path):
    monkeypatch.setenv("PULUMI_MLFLOW_CACHE", str(tmp_path))
    for name in ("rootfs-bookworm-amd64-1.tar", "versitygw-1.8.0"):
        Path(tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "images" / name).touch()

    preflight.preflight(load("stack", {"runtime": "docker", "images": "build"}))

    assert recipes.cache_folder() == tmp_path


@pytest.mark.parametrize("tree", [cloud.AWS, cloud.KUBERNETES], ids=["aws", "kubernetes"])
def test_the_cloud_is_not_asked(tree, monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", "unix:///none.sock")
    monkeypatch.setenv("PULUMI_MLFLOW_CACHE", str(tmp_path))
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "oauth2-proxy-test").touch()

    preflight.preflight(cloud.loaded(tree))


@pytest.mark.parametrize(("key", "port"), [("port", 9000), ("console_port", 9001)])
def test_the_stores_ports_are_checked_as_well(key, port, engine):
    settings = load(
        "stack",
        {"runtime": "docker", "artifacts": '{"store": "minio", "mode": "direct"}'},
        auto_images=Images.REGISTRY,
    )
    engine.publish("another", "", "127.0.0.1", port)

    message = refusal(settings)

    assert f"mlflow:artifacts.{key}: {port} on 127.0.0.1 is taken by container another" in message
