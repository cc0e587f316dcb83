"""With the real `pulumi`: secrets travel from one stack to another, `down` keeps them, `--purge` does not."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pulumi_mlflow.ops import dump as dump_module
from pulumi_mlflow.ops import state
from pulumi_mlflow.ops.cli import main
from pulumi_mlflow.ops.stack import Stack

pytestmark = pytest.mark.engine

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = '''
import os
from pathlib import Path
import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult
from pulumi_mlflow.generated import GeneratedSecret


class Writer(ResourceProvider):
    """A server that knows its key: here, a file that holds it."""

    def create(self, props):
        Path(props["path"]).write_text(props["kek"])
        return CreateResult("server", props)

    def diff(self, _id, olds, news):
        return DiffResult(changes=olds["kek"] != news["kek"])

    def update(self, _id, olds, news):
        Path(news["path"]).write_text(news["kek"])
        return UpdateResult(news)

    def delete(self, _id, props):
        Path(props["path"]).unlink()


class Server(Resource, name="Server"):
    pass


kek, login = GeneratedSecret("tracking-kek"), GeneratedSecret("proxy-login")
access = GeneratedSecret("database-password")
path = f"{os.getcwd()}/server-of-{pulumi.get_stack()}"
Server(Writer(), "server", {"path": path, "kek": kek.value})
pulumi.export("tracking_uri", os.environ["TEST_TRACKING_URI"])
pulumi.export("auth_mode", "basic")
pulumi.export("username", "ann")
pulumi.export("password", login.value)
pulumi.export("runtime", "local")
pulumi.export("ops", {"engine": "sqlite"})
'''


class NoData:
    """A runtime without data: these tests are about secrets."""

    def dump(self, ops, folder, progress):
        (folder / "database").touch()

    def version(self, ops):
        return "3.17.2"

    def restore(self, ops, folder, progress, handover):
        handover.carry()
        handover.up()


@pytest.fixture
def folder(tmp_path, monkeypatch, version_server):
    """A project with the stacks dev and dev2, both up."""
    (tmp_path / "Pulumi.yaml").write_text(
        "name: ops\nruntime: python\noptions:\n  refresh: always\n"
    )
    (tmp_path / "__main__.py").write_text(PROGRAM)
    (tmp_path / "backend").mkdir()
    printed = subprocess.run(
        [sys.executable, ROOT / "toolchain" / "setup.py", "env"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    words = [w for w in shlex.split(printed) if "=" in w]
    tools = dict(w.split("=", 1) for w in words)
    variables = {
        **tools,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{tools['PATH']}",
        "PYTHONPATH": str(ROOT / "components"),
        "PULUMI_BACKEND_URL": (tmp_path / "backend").as_uri(),
        "PULUMI_CONFIG_PASSPHRASE": "engine-test",
        "TEST_TRACKING_URI": version_server,
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PULUMI_CONFIG_PASSPHRASE_FILE")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(dump_module, "_backup", lambda runtime: NoData())
    for name in ("dev", "dev2"):
        subprocess.run(["pulumi", "stack", "init", name], check=True)
        Stack(tmp_path, name).stream("up", "--yes", "--skip-preview")
    return tmp_path


def call(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return ended.value.code or 0


def secrets_of(folder, name):
    return state.generated_secrets(Stack(folder, name).export_secrets())


def test_secrets_travel_stay_encrypted_and_are_kept_until_purged(folder, capfd):
    dev, dev2 = secrets_of(folder, "dev"), secrets_of(folder, "dev2")
    assert len(set(dev.values()) | set(dev2.values())) == 6

    assert call("dump", "--stack", "dev", "--to", "d") == 0
    assert call("restore", "--stack", "dev2", "--from", "d", "--yes") == 0
    carried = secrets_of(folder, "dev2")
    assert carried == dev | {"database-password": dev2["database-password"]}
    assert (folder / "server-of-dev2").read_text() == dev["tracking-kek"]
    assert Stack(folder, "dev2").outputs().front_door.login == ("ann", dev["proxy-login"])
    Stack(folder, "dev2").read("preview", "--expect-no-changes")

    kept = "".join(p.read_text() for p in (folder / "backend").rglob("*") if p.is_file())
    printed = "".join(capfd.readouterr())
    for value in {*dev.values(), *dev2.values()}:
        assert value not in kept
        assert value not in printed

    for _ in range(2):
        assert call("down", "--stack", "dev2") == 0
        assert not (folder / "server-of-dev2").exists()
        assert secrets_of(folder, "dev2") == carried
    assert (folder / "server-of-dev").exists()

    assert call("down", "--stack", "dev2", "--purge", "--yes") == 0
    assert "proxy-login" in capfd.readouterr().out
    assert list(state.resources(Stack(folder, "dev2").export())) == []
    assert json.loads((folder / "d" / "secrets.json").read_text()) == dev
