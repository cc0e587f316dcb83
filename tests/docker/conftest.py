"""One stack for most tests: it takes most of a minute to come up."""

import fcntl
import os
from collections.abc import Callable
from typing import NamedTuple

import docker
import pytest
from tests.docker.stack import DockerStack, Logged, check_run, log_run
from tests.docker.watch import Watch
from tests.support import until

from pulumi_mlflow.docker import engine


class Watched(NamedTuple):
    stack: DockerStack
    watch: Watch
    run: Logged


@pytest.fixture(scope="session")
def client() -> docker.DockerClient:
    """The engine."""
    return engine.connect()


@pytest.fixture(scope="session")
def one_first(tmp_path_factory) -> Callable[[Callable[[], object]], None]:
    """Bring a stack up: the first of several processes alone, since it may have to build images that the others then find."""
    own = tmp_path_factory.getbasetemp()
    folder = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    done = folder / "first-stack-is-up"

    def first(bring_up: Callable[[], object]) -> None:
        with (folder / "first-stack.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                bring_up()
                done.touch()
                return
        bring_up()

    return first


@pytest.fixture(scope="session")
def watched(client, one_first, tmp_path_factory):
    """A stack that was watched from its first moment on, and a run that must stay with it."""
    folder = tmp_path_factory.mktemp("docker")
    stack = DockerStack(client, folder / "project")
    watch = Watch(client, stack.deployment)
    with watch.running():
        try:
            one_first(stack.up)
            with stack.mlflow() as door:
                run = log_run(door, folder / "logged")
            yield Watched(stack, watch, run)
        finally:
            stack.close()


@pytest.fixture
def dev(watched, tmp_path):
    """The stack, up. A test may break it, and leaves it up, with its run, when it ends."""
    yield watched.stack
    # What it has started again may not listen yet.
    until(lambda: watched.stack.session().get(f"{watched.stack.url}/version", timeout=10).ok)
    with watched.stack.mlflow() as door:
        check_run(door, watched.run, tmp_path / "found")
