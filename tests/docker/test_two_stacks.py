"""Two stacks of one project on one engine, and the way of data from one to the other."""

import time
from pathlib import Path

import mlflow
import pytest
from sklearn.linear_model import LogisticRegression
from tests.docker.stack import (
    ROLES,
    DockerStack,
    check_run,
    dev_settings,
    log_run,
    new_name,
    sha256,
)

from pulumi_mlflow.core import naming
from pulumi_mlflow.docker import engine

pytestmark = [pytest.mark.docker, pytest.mark.timeout(400)]

MODEL = "restored"
TRAINED_ON = ([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1])


@pytest.fixture(scope="module")
def street(watched):
    """A network of somebody else's, as that of a machine's reverse proxy."""
    network = watched.stack.client.networks.create(new_name(), driver="bridge")
    yield network
    network.remove()


@pytest.fixture(scope="module")
def other(watched, street):
    """A second stack, made as a person makes one: a copy of the file with another port. It adopts a network."""
    settings = {**dev_settings(), "network": {"existing": street.name}}
    stack = DockerStack(watched.stack.client, watched.stack.folder, settings)
    try:
        killed_first_up(stack, watched.stack.container("proxy").image.id)
        stack.up()
        yield stack
    finally:
        stack.close()


def killed_first_up(stack, image):
    """What one leaves that was killed before it could write down what it had just made."""
    network = naming.labels(stack.deployment, "network")
    stack.client.networks.create(stack.deployment, driver="bridge", labels=network)
    job = f"{stack.deployment}-tracking-migration"
    stack.client.containers.create(image, ["true"], name=job, labels=network, network="none")


@pytest.fixture(scope="module")
def own_run(other, tmp_path_factory):
    with other.mlflow() as door:
        return log_run(door, tmp_path_factory.mktemp("own"))


def test_each_serves_its_own_runs(dev, other, watched, own_run, tmp_path):
    assert set(dev.containers()) == set(other.containers()) == set(ROLES)
    with other.mlflow() as door:
        check_run(door, own_run, tmp_path / "own")
        with pytest.raises(mlflow.MlflowException, match="not found"):
            door.get_run(watched.run.run_id)
    with dev.mlflow() as door, pytest.raises(mlflow.MlflowException, match="not found"):
        door.get_run(own_run.run_id)


def test_neighbours_of_an_adopted_network_reach_the_front_door_and_nothing_else(other, street):
    session = other.session()
    login = f"user = {session.auth[0]}:{session.auth[1]}"
    script = f"""
cat > /tmp/login <<'LOGIN'
{login}
LOGIN
ask="curl -sS -o /dev/null -w %{{http_code}}"
$ask http://{other.deployment}-proxy:8080/version; echo
$ask -K /tmp/login http://{other.deployment}-proxy:8080/api/2.0/mlflow/experiments/search?max_results=1; echo
for role in tracking:5000 database:5432 artifacts:9000; do
  getent hosts "{other.deployment}-${{role%:*}}" || echo unknown
done
"""
    job = engine.Job(
        name=f"{other.deployment}-neighbour",
        image=other.container("proxy").image.id,
        entrypoint=["/bin/sh", "-uc"],
        command=[script],
        network=street.name,
        timeout=60,
    )

    assert engine.run_job(other.client, job).split() == ["401", "200", *["unknown"] * 3]
    street.reload()
    assert [found.name for found in street.containers] == [f"{other.deployment}-proxy"]


def test_restored_dump_has_the_same_bytes_and_opens_with_its_key(
    dev, other, own_run, watched, tmp_path
):
    with dev.mlflow():
        log_model(watched.run.run_id)
        logged = everything(watched.run.run_id, tmp_path / "logged")
    keys = [dev.execute("tracking", "cat", KEK), other.execute("tracking", "cat", KEK)]
    assert keys[0] != keys[1]
    folder = tmp_path / "dump"

    dev.cli("dump", "--to", str(folder))
    other.cli("restore", "--from", str(folder), "--yes")

    with other.mlflow() as door:
        check_run(door, watched.run, tmp_path / "found")
        assert everything(watched.run.run_id, tmp_path / "restored") == logged
        with pytest.raises(mlflow.MlflowException, match="not found"):
            door.get_run(own_run.run_id)
        log_run(door, tmp_path / "new")
    assert other.execute("tracking", "cat", KEK) == keys[0]
    other.unchanged()


KEK = "/run/pulumi-mlflow/env/MLFLOW_CRYPTO_KEK_PASSPHRASE"


def log_model(run_id):
    """Log, register and name a model."""
    with mlflow.start_run(run_id=run_id):
        logged = mlflow.sklearn.log_model(
            LogisticRegression().fit(*TRAINED_ON), name="model", pip_requirements=["scikit-learn"]
        )
    client = mlflow.MlflowClient()
    client.create_registered_model(MODEL)
    client.create_model_version(MODEL, logged.model_uri, run_id, model_id=logged.model_id)
    client.set_registered_model_alias(MODEL, "champion", "1")


def everything(run_id, folder):
    """What a client can have of a run and its model: data, predictions, and the hash of every file."""
    run = mlflow.MlflowClient().get_run(run_id)
    uri = f"models:/{MODEL}@champion"
    files = {}
    for name, source in {"run": f"runs:/{run_id}/", "model": uri}.items():
        (folder / name).mkdir(parents=True)
        fetched = Path(mlflow.artifacts.download_artifacts(source, dst_path=str(folder / name)))
        found = [path for path in fetched.rglob("*") if path.is_file()]
        files |= {f"{name}/{path.relative_to(fetched)}": sha256(path) for path in found}
    assert {"run/weights.bin", "model/MLmodel"} < files.keys()
    predicted = mlflow.pyfunc.load_model(uri).predict(TRAINED_ON[0])
    return run.to_dictionary(), list(predicted), files


def test_down_and_purge_of_one_leave_the_other_and_the_adopted_network(dev, other, street):
    running = {role: found.attrs["State"]["StartedAt"] for role, found in dev.containers().items()}
    started = time.monotonic()

    other.cli("down")

    print(f"down: {time.monotonic() - started:.0f} s")
    data = [f"{other.deployment}-artifacts-versitygw", f"{other.deployment}-database-postgresql-15"]
    assert other.left() == {"volumes": data}
    street.reload()  # still there
    assert street.containers == []

    output = other.cli("down", "--purge", "--yes")

    assert f"Lost for ever with stack '{other.stack}':" in output
    assert all(name in output for name in (*data, "tracking-kek", "proxy-login"))
    assert other.left() == {}
    after = {role: found.attrs["State"]["StartedAt"] for role, found in dev.containers().items()}
    assert after == running
