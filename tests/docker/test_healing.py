"""A stack that something happened to is whole again, by itself or by the next `up`."""

import time

import docker
import pytest
from tests.docker.hardening import check_inside
from tests.docker.stack import DEPLOYMENT, ROLES, log_run
from tests.support import until

from pulumi_mlflow.core import health, naming
from pulumi_mlflow.core import limits as limits_of
from pulumi_mlflow.docker import leftovers
from pulumi_mlflow.docker.files import FILES_PATH, _archive, _Provider

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(300)]

SCRIPT = f"{FILES_PATH}/{health.FILE}"


def send(client, signal, container, *pids):
    """`kill` on the engine's machine: the engine takes its own `kill` for a wish that the container stays down.

    From a container that sees the machine's processes, so that neither root here nor a local engine is needed.

    Args:
        client: the engine.
        signal: such as `KILL`.
        container: one of the deployment, whose image is used.
        pids: as the machine counts them.
    """
    client.containers.run(
        container.image.id,
        entrypoint=["/bin/sh", "-c"],
        command=[f"kill -{signal} {' '.join(map(str, pids))}"],
        pid_mode="host",
        network_mode="none",
        user="0",
        labels={DEPLOYMENT: container.labels[DEPLOYMENT]},
        remove=True,
    )


def init_of(container):
    return str(container.attrs["State"]["Pid"])


def children(container, parent):
    """The processes that another has started, oldest first; those of the machine's count."""
    found = [line[:2] for line in container.top(ps_args="-eo pid,ppid")["Processes"]]
    return sorted((pid for pid, ppid in found if ppid == parent), key=int)


def main_of(container):
    """The program: what `docker-init` has started."""
    return children(container, init_of(container))[0]


def workers_of(container):
    return children(container, main_of(container))


def state_of(container, pid):
    """One letter, as `ps` has it; nothing for a process that is gone."""
    lines = container.top(ps_args="-eo pid,stat")["Processes"]
    return "".join(stat[0] for number, stat in lines if number == pid)


def is_back(container, before):
    """Whether a container was started anew since, and is well."""
    state = container.attrs["State"]
    restarted = state["StartedAt"] != before.attrs["State"]["StartedAt"]
    return restarted and state["Health"]["Status"] == "healthy"


def wait_for(stack, roles, seconds):
    """Wait until containers are back, and say how long each took."""
    started, left = time.monotonic(), dict(roles)

    def none_left():
        for role in [
            role for role, before in left.items() if is_back(stack.container(role), before)
        ]:
            del left[role]
            print(f"{role}: healthy again after {time.monotonic() - started:.0f} s")
        return not left

    until(none_left, seconds)


def test_killed_processes_are_started_again_within_a_minute(dev, client, tmp_path):
    before = dev.containers()

    send(client, "KILL", before["proxy"], *map(init_of, before.values()))

    wait_for(dev, before, 60)
    for container in dev.containers().values():
        check_inside(container)  # its limits too: the engine keeps them
    with dev.mlflow() as door:
        log_run(door, tmp_path / "logged")


@pytest.mark.parametrize("which", ["main process", "worker"])
def test_stopped_processes_are_started_anew_within_90_seconds(dev, client, which, tmp_path):
    """SIGSTOP is how a program that hangs can be had at will; the engine alone would leave it for ever.

    A worker is none of a program's children that the program itself starts anew; versitygw has threads only.
    """
    before = dev.containers()
    if which == "worker":
        victims = {r: (workers_of(c) or [None])[0] for r, c in before.items()}
        victims = {role: pid for role, pid in victims.items() if pid}
        assert victims.keys() >= {"database", "proxy", "tracking"}
    else:
        victims = {role: main_of(container) for role, container in before.items()}
    assert all(state_of(before[role], pid) in "SR" for role, pid in victims.items())

    send(client, "STOP", before["proxy"], *victims.values())

    assert {state_of(before[role], pid) for role, pid in victims.items()} == {"T"}
    wait_for(dev, {role: before[role] for role in victims}, 90)
    for role in victims:
        assert "watchdog: process " in dev.container(role).logs(tail=200).decode(), role
    with dev.mlflow() as door:
        log_run(door, tmp_path / "logged")


def test_stopped_init_goes_on_and_nothing_is_restarted(dev, client):
    """PID 1 of a container reaps and forwards signals; without it, not even a killed program would come back."""
    before = dev.containers()
    inits = {role: init_of(container) for role, container in before.items()}

    send(client, "STOP", before["proxy"], *inits.values())

    until(lambda: all(state_of(before[role], pid) == "S" for role, pid in inits.items()), 30)
    after = dev.containers()
    assert {r: init_of(container) for r, container in after.items()} == inits


class TestWatchdog:
    """The script of `core.health` in a plain container, with low limits."""

    HUNG = "test ! -e /tmp/hang || sleep 60"
    REFUSED = "test ! -e /tmp/refuse"

    @pytest.fixture
    def watched_program(self, client, dev):
        """Runs containers with a check and limits: stopped, hung, refused, starting."""
        made = []

        def run(check, limits, program="exec sleep 600"):
            container = client.containers.create(
                dev.container("proxy").image.id,
                entrypoint=["/bin/sh", "-c", program],
                labels={DEPLOYMENT: dev.deployment},
                user="101:101",
                tmpfs={"/tmp": limits_of.tmpfs()},
                cap_drop=["ALL"],
                restart_policy={"Name": "unless-stopped"},
                healthcheck={
                    "test": ["CMD", "sh", SCRIPT, "3", *map(str, limits), "sh", "-c", check],
                    "interval": 500_000_000,
                    "timeout": 10_000_000_000,
                    "retries": 1,
                },
                network_mode="none",
                init=True,
            )
            made.append(container)
            container.put_archive(FILES_PATH, _archive({health.FILE: health.SCRIPT}, 101))
            container.start()
            return container

        yield run
        for container in made:
            container.remove(force=True)

    def restarted(self, container):
        container.reload()
        return container.attrs["RestartCount"] > 0

    def healthy(self, container):
        container.reload()
        return container.health == "healthy"

    def test_a_program_that_hangs_or_refuses_is_started_anew_when_its_limit_is_reached(
        self, watched_program
    ):
        hung = watched_program(self.HUNG, (99, 2, 99, 99))
        refused = watched_program(self.REFUSED, (99, 99, 3, 99))
        never_well = watched_program("exit 1", (99, 99, 99, 3))
        patient = [
            watched_program(self.REFUSED, (99, 99, 999, 99)),
            watched_program("exit 1", (1, 1, 1, 999)),  # starts; whatever it does, it has time
        ]
        until(lambda: self.healthy(hung) and self.healthy(refused) and self.healthy(patient[0]), 20)

        for container, file in ((hung, "hang"), (refused, "refuse"), (patient[0], "refuse")):
            container.exec_run(["touch", f"/tmp/{file}"])

        until(lambda: all(map(self.restarted, (hung, refused, never_well))), 30)
        assert "watchdog: no answer to the health check, 2 times in a row" in hung.logs().decode()
        assert "watchdog: the health check fails, 3 times in a row" in refused.logs().decode()
        until(lambda: self.healthy(hung) and self.healthy(refused), 20)
        assert not any(map(self.restarted, patient))

    def test_what_only_looks_stopped_is_left_alone(self, watched_program):
        """A command of a person's, stopped by Ctrl-Z; and a name that reads like the state of a process."""
        named = "cp /bin/sleep '/var/tmp/x) T 1'; exec '/var/tmp/x) T 1' 600"
        container = watched_program("true", (1, 1, 1, 99), named)
        until(lambda: self.healthy(container), 20)
        container.exec_run(["sh", "-c", "kill -STOP $$"], detach=True)
        until(
            lambda: (
                "T" in {line[0][0] for line in container.top(ps_args="-eo stat,pid")["Processes"]}
            ),
            10,
        )
        assert any(
            "x) T 1" in line[-1] for line in container.top(ps_args="-eo pid,args")["Processes"]
        )

        time.sleep(3)

        assert self.healthy(container)
        assert not self.restarted(container)


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


def test_what_a_killed_up_made_and_could_not_write_down_is_made_anew(dev):
    """A container that the state does not know; whose name would be taken for ever."""
    before = dev.container("proxy").id
    resources = dev.read("stack", "export")["deployment"]["resources"]
    (urn,) = [
        r["urn"] for r in resources if r["urn"].endswith("container:Container::proxy-container")
    ]
    dev.pulumi("state", "delete", urn, "--target-dependents", "--yes")

    output = dev.up()

    assert "left by an 'up' that was ended" in output
    assert dev.container("proxy").id != before
    dev.unchanged()


def test_a_container_of_others_keeps_its_name(dev):
    """Such as another clone's stack of this name: it is in another network."""
    image = dev.container("proxy").image.id
    labels = dev.container("proxy").labels
    name = f"{dev.deployment}-elsewhere"
    dev.client.containers.create(image, ["true"], name=name, labels=labels, network="none")
    try:
        leftovers.container(labels, dev.deployment)(dev.client, name)
        assert dev.client.containers.get(name)
        # And its network, as long as somebody is in it.
        leftovers.network(naming.labels(dev.deployment, "network"))(dev.client, dev.deployment)
        assert dev.client.networks.list(names=[dev.deployment])
    finally:
        dev.client.containers.get(name).remove(force=True)


def test_files_do_not_wait_for_what_was_to_carry_them(dev):
    props = {
        "name": f"{dev.deployment}-carried",
        "files": {"x": "1"},
        "image": dev.container("proxy").image.id,
        "uid": 101,
        "labels": naming.labels(dev.deployment, "proxy"),
    }
    made = _Provider().create(_Provider().check({}, props).inputs)
    labels = dev.client.volumes.get(made.id).attrs["Labels"]
    dev.client.containers.create(
        props["image"], ["true"], volumes=[f"{made.id}:/files"], labels=labels
    )
    started = time.monotonic()
    _Provider().delete(made.id, {})
    assert time.monotonic() - started < 60
    assert made.id not in dev.left().get("volumes", [])
