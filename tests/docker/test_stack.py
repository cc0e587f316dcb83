"""What a stack of the docker runtime is when it is up."""

import time

import pytest
from tests.docker.stack import ROLES

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]


def test_second_up_changes_nothing_nor_does_preview_after_a_refresh(dev):
    started = time.monotonic()
    dev.up("--expect-no-changes")
    print(f"second up: {time.monotonic() - started:.1f} s")

    dev.pulumi("refresh", "--yes", "--skip-preview", "--expect-no-changes")
    dev.unchanged()


@pytest.mark.parametrize("role", ROLES)
def test_container_is_hardened(dev, role):
    found = dev.container(role).attrs
    host, config = found["HostConfig"], found["Config"]

    assert host["ReadonlyRootfs"]
    assert not host["Privileged"]
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    user, _, group = config["User"].partition(":")
    assert int(user) > 0
    assert int(group) > 0
    assert host["Memory"] == host["MemorySwap"] > 0
    assert host["LogConfig"] == {
        "Type": "json-file",
        "Config": {"max-size": "10m", "max-file": "3"},
    }
    assert config["Healthcheck"]["Test"][0] == "CMD"
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert host["Init"]
    assert not host["Binds"] or not [bind for bind in host["Binds"] if bind.startswith("/")]
    assert all(mount["Type"] in ("volume", "tmpfs") for mount in found["Mounts"])
    assert list(found["NetworkSettings"]["Networks"]) == [dev.deployment]


def test_there_are_no_other_containers(dev):
    expected = sorted(f"{dev.deployment}-{role}" for role in ROLES)
    assert dev.left()["containers"] == expected


def test_only_the_proxy_publishes_a_port_on_loopback(dev):
    published = {
        role: [binding for bindings in found.ports.values() for binding in bindings or ()]
        for role, found in dev.containers().items()
    }

    wanted = {"HostIp": "127.0.0.1", "HostPort": str(dev.settings["access"]["port"])}
    assert published == {"database": [], "artifacts": [], "tracking": [], "proxy": [wanted]}


@pytest.mark.parametrize("role", ROLES)
def test_files_are_for_the_containers_user_alone(dev, role):
    script = "find /run/pulumi-mlflow -type f -exec stat -c '%a %u' {} +; id -u"

    *files, user = dev.execute(role, "sh", "-c", script).splitlines()

    assert files
    assert set(files) == {f"400 {user}"}
    assert user != "0"
