"""What docker/engine.py, files.py and images.py do with the real engine."""

import contextlib
import hashlib
import re
import secrets
import shutil
import threading
import time

import pytest
from docker.errors import NotFound
from tests.docker.stack import DEPLOYMENT, left, sweep

from pulumi_mlflow import recipes
from pulumi_mlflow.docker import engine
from pulumi_mlflow.docker.files import FILES_PATH, _Provider
from pulumi_mlflow.docker.job import _HealthyProvider

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def image(watched):
    """One with a shell."""
    return watched.stack.container("proxy").image.id


@pytest.fixture
def name(client):
    """Of things that are gone when the test ends."""
    name = f"it{secrets.token_hex(4)}"
    yield name
    remaining = left(client, name)
    sweep(client, name)
    assert remaining == {}


@pytest.fixture
def job(name, image):
    """Makes a job of a shell script."""

    def make(script, **fields):
        return engine.Job(
            name=f"{name}-job",
            image=image,
            entrypoint=["/bin/sh", "-euc"],
            command=[script],
            labels={DEPLOYMENT: name},
            **fields,
        )

    return make


def test_job_gives_its_log(client, job):
    assert engine.run_job(client, job("echo one; echo two")).split() == ["one", "two"]


def test_failed_job_is_an_error_with_exit_code_and_the_end_of_its_log(client, job):
    with pytest.raises(engine.EngineError) as failed:
        engine.run_job(client, job("seq 1000; echo the cause >&2; exit 3"))

    header, *shown = str(failed.value).splitlines()
    assert header.endswith("-job failed with exit code 3:")
    assert shown == [*map(str, range(1001 - engine.LOG_TAIL, 1001)), "the cause"]


def test_job_that_does_not_end_is_ended(client, job):
    started = time.monotonic()
    with pytest.raises(engine.EngineError, match=r"did not end within 1 s:\nhalf way"):
        engine.run_job(client, job("echo half way; exec sleep 600", timeout=1))
    assert time.monotonic() - started < 30


def test_left_over_of_a_job_is_no_obstacle(client, job):
    wanted = job("echo new")
    client.containers.create(wanted.image, name=wanted.name, labels=wanted.labels)

    assert engine.run_job(client, wanted) == "new\n"


def test_job_is_hardened(client, job):
    script = (
        "grep -E '^(CapEff|NoNewPrivs)' /proc/self/status; touch /tmp/t; ! touch /t 2>/dev/null"
    )

    status = engine.run_job(client, job(script)).split()

    assert status == ["CapEff:", "0" * 16, "NoNewPrivs:", "1"]


def test_folder_goes_in_and_comes_out(client, job, tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "sub").mkdir(parents=True)
    target.mkdir()
    content = secrets.token_bytes(3_000_000)
    (source / "sub" / "ä file").write_bytes(content)
    (source / "sub" / "ä file").chmod(0o600)
    read = "cd /run/pulumi-mlflow; sha256sum < 'sub/ä file'"
    write = "cd /run/pulumi-mlflow; mkdir sub; echo -n made > 'sub/ä file'"

    digest = engine.run_job_from_folder(client, job(read), FILES_PATH, source).split()[0]
    engine.run_job_to_folder(client, job(write), FILES_PATH, target)

    assert digest == hashlib.sha256(content).hexdigest()
    assert (target / "sub" / "ä file").read_text() == "made"


def test_nothing_stays_of_a_copy_that_failed(client, job, tmp_path):
    with pytest.raises(engine.EngineError, match="exit code 5"):
        engine.run_job_to_folder(client, job("exit 5"), FILES_PATH, tmp_path)
    with pytest.raises(engine.EngineError, match="exit code 5"):
        engine.run_job_from_folder(client, job("exit 5"), FILES_PATH, tmp_path)
    # The fixture `name` looks for what is left.


def test_failed_build_is_an_error_with_its_log(client, name, image, tmp_path):
    (tmp_path / "Dockerfile").write_text(f"FROM {image}\nRUN echo the-cause; exit 7\n")

    with pytest.raises(engine.EngineError) as failed:
        engine.build_image(client, f"{name}:1", tmp_path, {}, {DEPLOYMENT: name})

    assert "returned a non-zero code: 7" in str(failed.value)
    assert "the-cause" in str(failed.value)
    assert engine.image_exists(client, f"{name}:1") == ""


def test_build_gives_the_image(client, name, image, tmp_path):
    (tmp_path / "Dockerfile").write_text(f"FROM {image}\nARG WORD\nENV WORD=$WORD\n")
    try:
        built = engine.build_image(client, f"{name}:1", tmp_path, {"WORD": "so"}, {"a": "b"})

        assert built == engine.image_exists(client, f"{name}:1")
        config = client.images.get(built).attrs["Config"]
        assert "WORD=so" in config["Env"]
        assert config["Labels"]["a"] == "b"
    finally:
        client.images.remove(f"{name}:1")


def test_image_name_changes_with_all_that_goes_into_it(tmp_path, monkeypatch):
    def named(**build_args):
        return recipes.image_name("nginx", recipes.ImageSource.REGISTRY, build_args)

    shutil.copytree(recipes.folder(), tmp_path / "images")
    original = named(BASE="debian")
    monkeypatch.setattr(recipes, "folder", lambda: tmp_path / "images")
    assert named(BASE="debian") == original
    assert re.fullmatch(r"pulumi-mlflow/nginx:[0-9a-f]{16}", original)

    names = {original, named(BASE="other")}
    (tmp_path / "images" / "nginx" / "Dockerfile").write_text("FROM scratch\n")
    names.add(named(BASE="debian"))
    (tmp_path / "images" / "nginx" / "added").touch()
    names.add(named(BASE="debian"))

    assert len(names) == 4


def checked(props, olds=None):
    """The inputs as the engine gives them to `create` and `diff`."""
    return _Provider().check(olds or {}, props).inputs


class TestFiles:
    """Files in a volume, as the provider behind `DockerFiles` makes them."""

    @pytest.fixture
    def props(self, name, image):
        return {
            "name": name,
            "files": {"nginx.conf": "daemon off;", "env/SECRET": "ä$'\"\n"},
            "image": image,
            "uid": 4711,
            "labels": {DEPLOYMENT: name},
        }

    def test_belong_to_the_user_alone(self, client, props, job):
        made = _Provider().create(checked(props))

        mounted = {made.outs["volume"]: f"{FILES_PATH}:ro"}
        look = f"cd {FILES_PATH}; stat -c '%n %a %u %g' env * */*; cat env/SECRET"
        seen = engine.run_job(client, job(look, volumes=mounted, user="4711:4711")).splitlines()
        with pytest.raises(engine.EngineError, match="Permission denied"):
            engine.run_job(client, job(f"cat {FILES_PATH}/nginx.conf", volumes=mounted, user="1:1"))
        _Provider().delete(made.id, made.outs)

        assert set(seen[:-1]) == {
            "env 500 4711 4711",
            "nginx.conf 400 4711 4711",
            "env/SECRET 400 4711 4711",
        }
        assert seen[-1] == props["files"]["env/SECRET"].strip()

    def test_are_seen_as_gone_or_changed(self, props):
        provider = _Provider()
        given = checked(props)
        made = provider.create(given)
        changed = checked({**props, "files": {"nginx.conf": "daemon on;"}}, given)

        assert "files" not in made.outs
        assert not provider.diff(made.id, made.outs, checked(props, given)).changes
        assert provider.diff(made.id, made.outs, changed).replaces == ["files"]
        assert provider.read(made.id, made.outs).id == made.id
        provider.delete(made.id, made.outs)
        provider.delete(made.id, made.outs)  # somebody else was faster
        assert not provider.read(made.id, made.outs).id

    def test_stay_when_a_change_is_taken_back_and_the_old_ones_go_at_last(self, props):
        # A, then B whose container fails, then A again: the deletion of the first A is due, and comes after the second.
        provider = _Provider()
        given = checked(props)
        first = provider.create(given)
        other = checked({**props, "files": {"nginx.conf": "daemon on;"}}, given)
        second = provider.create(other)
        back = provider.create(checked(props, other))
        for old in (first, second):
            provider.delete(old.id, old.outs)

        assert provider.read(back.id, back.outs).id == back.id
        provider.delete(back.id, back.outs)

    def test_go_after_the_container_that_is_taken_down_beside_them(self, client, props, image):
        provider = _Provider()
        made = provider.create(checked(props))
        mounted = [f"{made.id}:{FILES_PATH}:ro"]
        container = client.containers.create(image, labels=props["labels"], volumes=mounted)
        later = threading.Timer(2, container.remove)
        later.start()

        provider.delete(made.id, made.outs)
        later.join()

        assert not provider.read(made.id, made.outs).id


class TestWaitHealthy:
    """Bounded waits that end with their cause."""

    @pytest.fixture
    def container(self, client, name, image):
        """Runs a shell script for ever, with another as its health check."""

        def run(script, check):
            return client.containers.run(
                image,
                entrypoint=["/bin/sh", "-c"],
                command=[script],
                name=f"{name}-waited",
                labels={DEPLOYMENT: name},
                restart_policy={"Name": "always"},
                healthcheck={"test": ["CMD-SHELL", check], "interval": 500_000_000, "retries": 1},
                network_mode="none",
                init=True,
                detach=True,
            )

        yield run
        with contextlib.suppress(NotFound):
            client.containers.get(f"{name}-waited").remove(force=True)

    def test_crashes_are_reported_with_the_log(self, client, container):
        started = time.monotonic()
        with pytest.raises(engine.EngineError) as failed:
            engine.wait_healthy(
                client, container("echo the cause; exit 9", "true").name, timeout=60
            )

        assert re.search(r"crashed \d times \(state \w+, exit code 9\)", str(failed.value))
        assert str(failed.value).endswith("the cause")
        assert time.monotonic() - started < 30

    def test_time_is_bounded_and_the_check_is_reported(self, client, container):
        running = container("echo started; exec sleep 600", "echo not yet; exit 1")

        with pytest.raises(engine.EngineError) as failed:
            engine.wait_healthy(client, running.name, timeout=3)

        assert "not healthy within 3 s (state running" in str(failed.value)
        assert "last health check: 'not yet'; its log:\nstarted" in str(failed.value)

    def test_ends_when_the_check_passes(self, client, container):
        running = container(
            "sleep 2; touch /tmp/ready; exec sleep 600", "test -e /tmp/ready || exit 1"
        )

        engine.wait_healthy(client, running.name, timeout=30)

        running.reload()
        assert running.health == "healthy"
        # What a refresh sees of the step in the state: while it is gone, the next `up` waits again.
        step = {"container": running.id}
        assert _HealthyProvider().read(running.id, step).id == running.id
        running.restart(timeout=0)
        assert not _HealthyProvider().read(running.id, step).id
        running.remove(force=True)
        assert not _HealthyProvider().read(running.id, step).id
