"""A stack that something happened to is whole again, by itself or by the next `up`."""

import time

import docker
import pytest
from tests.docker.stack import DEPLOYMENT, ROLES, log_run
from tests.support import until

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]


def kill_main_process(client, container):
    """`kill -9` on the engine's machine: the engine takes its own `kill` for a wish that it stays down.

    From a container that sees the machine's processes, so that neither root here nor a local engine is needed.
    """
    client.containers.run(
        container.image.id,
        entrypoint=["/bin/sh", "-c"],
        command=[f"kill -9 {container.attrs['State']['Pid']}"],
        pid_mode="host",
        network_mode="none",
        user="0",
        labels={DEPLOYMENT: container.labels[DEPLOYMENT]},
        remove=True,
    )


@pytest.mark.parametrize("role", ROLES)
def test_killed_process_is_restarted_within_30_seconds(dev, client, role, tmp_path):
    killed = dev.container(role)
    started = time.monotonic()

    kill_main_process(client, killed)

    until(lambda: is_back(dev.container(role), killed), 30)
    print(f"{role}: healthy again after {time.monotonic() - started:.1f} s")
    with dev.mlflow() as door:
        log_run(door, tmp_path / "logged")


def is_back(container, killed):
    state = container.attrs["State"]
    restarted = state["StartedAt"] != killed.attrs["State"]["StartedAt"]
    return restarted and state["Health"]["Status"] == "healthy"


def test_verify_passes_afterwards(dev):
    print(dev.cli("verify"))


def test_removed_containers_are_put_back_by_up(dev):
    for container in dev.containers().values():
        container.remove(force=True)
    assert dev.containers() == {}

    dev.up()

    assert set(dev.containers()) == set(ROLES)


def test_proxy_finds_a_server_that_has_a_new_address(dev, client):
    server, proxy = dev.container("tracking"), dev.container("proxy")
    network = client.networks.get(dev.deployment)
    session, address = dev.session(), address_of(server, network)
    server.stop()
    squatter = occupy(client, network, proxy, address)
    try:
        server.start()
        until(lambda: dev.container("tracking").health == "healthy", 60)
        assert address_of(server, network) != address
        started = time.monotonic()
        until(lambda: session.get(f"{dev.url}/version", timeout=5).ok, 10)
        print(f"found again {time.monotonic() - started:.1f} s after it was healthy")
    finally:
        squatter.remove(force=True)

    assert dev.container("proxy").attrs["State"]["StartedAt"] == proxy.attrs["State"]["StartedAt"]


def address_of(container, network):
    container.reload()
    return container.attrs["NetworkSettings"]["Networks"][network.name]["IPAddress"]


def occupy(client: docker.DockerClient, network, like, address):
    """A container that has taken an address of a network."""
    squatter = client.containers.run(
        like.image.id,
        entrypoint=["sleep", "600"],
        command=[],
        network=network.name,
        labels={DEPLOYMENT: like.labels[DEPLOYMENT]},
        init=True,
        detach=True,
    )
    # The engine gives out the lowest free address.
    assert address_of(squatter, network) == address
    return squatter
