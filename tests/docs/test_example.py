"""The examples type-check, and make what they say."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pulumi
import pytest
from pulumi.runtime.mocks import MockCallArgs, MockResourceArgs, Mocks
from pulumi.runtime.stack import run_pulumi_func
from tests.support import program_loop, toolchain_environment

from pulumi_mlflow.contracts import UnreachableEndpointError

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "own-repo"
MIXED = ROOT / "examples" / "mixed"
CONFIG = {"databaseHost": "db.example.com", "databasePassword": "p@ss word"}


class Recorder(Mocks):
    """Remembers what was registered."""

    def __init__(self):
        self.seen = {}

    def new_resource(self, args: MockResourceArgs):
        self.seen[args.name] = args
        added = {"value": f"{args.name}-value", "image_id": f"sha256:{args.name}", "volume": "v"}
        return f"{args.name}-id", {**args.inputs, **added}

    def call(self, _args: MockCallArgs):
        return {}


@pytest.mark.parametrize("example", [EXAMPLE, MIXED], ids=lambda path: path.name)
def test_it_type_checks(example):
    done = subprocess.run(
        [sys.executable, "-m", "mypy", example / "__main__.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def run_example(program, project, config):
    """What a program registers: name → resource."""
    recorder = Recorder()

    def run():
        pulumi.runtime.mocks.set_mocks(recorder, project=project, stack="team", preview=False)
        pulumi.runtime.set_all_config({f"{project}:{key}": value for key, value in config.items()})
        runpy.run_path(str(program))

    with program_loop() as loop:
        try:
            loop.run_until_complete(run_pulumi_func(run))
        finally:
            pulumi.runtime.set_all_config({})
    return recorder.seen


@pytest.fixture
def registered():
    return run_example(EXAMPLE / "__main__.py", "platform", CONFIG)


def test_it_runs_our_containers_and_the_given_database(registered):
    containers = {name for name, seen in registered.items() if seen.typ.endswith(":Container")}
    assert containers == {"artifacts-container", "tracking-container", "proxy-container"}
    published = {name for name in containers if registered[name].inputs.get("ports")}
    assert published == {"proxy-container"}
    names = {registered[name].inputs["name"] for name in containers}
    assert names == {"platform-team-artifacts", "platform-team-tracking", "platform-team-proxy"}
    files = registered["tracking-files"].inputs["files"]  # a secret: its value is wrapped
    uri = files["value"]["env/MLFLOW_BACKEND_STORE_URI"]
    assert uri == (
        "postgresql+psycopg2://mlflow:p%40ss word@db.example.com:5432/mlflow?sslmode=require"
    )


def running(seen):
    """What runs: containers, and servers of this machine."""
    kinds = (":Container", ":ServerProcess")
    return {name for name, resource in seen.items() if resource.typ.endswith(kinds)}


def test_mixed_with_the_server_here():
    seen = run_example(
        MIXED / "__main__.py",
        "mixed",
        {"here": "server", "databasePort": "6000", "dataDir": "/srv/ml/data"},
    )
    assert running(seen) == {"database-container", "tracking-server"}
    (published,) = seen["database-container"].inputs["ports"]
    assert (published["ip"], published["external"]) == ("127.0.0.1", 6000)


def test_mixed_with_the_database_here():
    config = {"here": "database", "databasePassword": CONFIG["databasePassword"]}
    seen = run_example(MIXED / "__main__.py", "mixed", config)
    assert running(seen) == {"tracking-container", "proxy-container"}
    files = seen["tracking-files"].inputs["files"]
    uri = files["value"]["env/MLFLOW_BACKEND_STORE_URI"]
    assert "@host.docker.internal:5432/mlflow" in uri


def test_an_endpoint_out_of_reach_is_refused_with_both_named(tmp_path):
    """The very mistake that the example's comment warns of."""
    program = tmp_path / "__main__.py"
    text = (MIXED / "__main__.py").read_text()
    program.write_text(text.replace("database.host_endpoint,", "database.endpoint,"))
    with pytest.raises(UnreachableEndpointError) as error:
        run_example(program, "mixed", {"here": "server", "dataDir": "/srv/ml/data"})
    assert "tracking runs in 'host' and cannot reach database" in str(error.value)


@pytest.mark.engine
@pytest.mark.docker
def test_it_can_be_previewed(tmp_path):
    (tmp_path / "state").mkdir()
    environment = {
        **os.environ,
        **toolchain_environment(),
        "PULUMI_BACKEND_URL": (tmp_path / "state").as_uri(),
        "PULUMI_CONFIG_PASSPHRASE": "example",
    }
    environment.pop("PULUMI_CONFIG_PASSPHRASE_FILE")
    project = tmp_path / "own-repo"
    project.mkdir()
    for name in ("Pulumi.yaml", "__main__.py"):
        (project / name).write_text((EXAMPLE / name).read_text())

    def run(*arguments, given=""):
        done = subprocess.run(
            ["pulumi", *arguments, "--non-interactive"],
            cwd=project,
            env=environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("stack", "init", "team", "--no-select")
    run("config", "set", "databaseHost", CONFIG["databaseHost"], "-s", "team")
    secret = CONFIG["databasePassword"]
    run("config", "set", "--secret", "databasePassword", "-s", "team", given=secret)
    preview = run("preview", "--json", "-s", "team")
    steps = json.loads(preview)["steps"]
    assert {step["op"] for step in steps} == {"create"}
    types = [step["newState"]["type"] for step in steps]
    assert types.count("docker:index/container:Container") == 3
    assert secret not in preview
