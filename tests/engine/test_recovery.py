"""The runbooks of a lost passphrase, a lost key of KMS and a lost state, command by command, by the real CLI."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
import requests
import yaml
from tests.support import ROOT, free_port, toolchain_environment, until

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

PROGRAM = Path(__file__).parent / "recovery_program"
RUNBOOK = ROOT / "docs" / "runbooks" / "lost-key.md"
REGION = "eu-central-1"


class Project:
    """A project in a folder, with a stack `test`."""

    def __init__(self, folder):
        self.folder, self.file = folder, folder / "Pulumi.test.yaml"
        shutil.copytree(PROGRAM, folder, ignore=shutil.ignore_patterns("__pycache__"))
        tools = toolchain_environment()
        self.environment = {
            **os.environ,
            **tools,
            "PATH": f"{Path(sys.executable).parent}:{tools['PATH']}",
            "PYTHONPATH": str(ROOT / "components"),
        }
        self.environment.pop("PULUMI_CONFIG_PASSPHRASE", None)
        self.new_backend("state")
        self.new_passphrase("correct horse")

    def new_backend(self, name):
        (self.folder / name).mkdir()
        self.environment["PULUMI_BACKEND_URL"] = (self.folder / name).as_uri()

    def new_passphrase(self, text):
        (self.folder / "passphrase").write_text(text)
        self.environment["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(self.folder / "passphrase")

    def run(self, *arguments, ok=True):
        done = subprocess.run(
            ["pulumi", *arguments, "--non-interactive"],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        assert (done.returncode == 0) == ok, done.stdout
        return done.stdout

    def start(self, *arguments):
        self.run("stack", "init", "test", *arguments)
        self.run("config", "set", "path", str(self.folder / "thing"))
        self.up()

    def up(self):
        return self.run("up", "--yes", "--skip-preview")

    def password(self):
        return self.run("stack", "output", "password", "--show-secrets").strip()

    def adopt(self, copy):
        """The runbook's program, and the import."""
        [program] = re.findall(r"<<'PY'\n(.*?)^PY$", RUNBOOK.read_text(), re.MULTILINE | re.DOTALL)
        command = [sys.executable, "-c", program, "test", copy]
        subprocess.run(command, cwd=self.folder, check=True)
        self.run("stack", "import", "--file", copy)

    def forget(self, *keys):
        """Takes what belongs to the old key out of the stack's file."""
        content = yaml.safe_load(self.file.read_text())
        self.file.write_text(yaml.safe_dump({k: v for k, v in content.items() if k not in keys}))


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path / "project")


def test_a_copy_of_the_state_opens_without_the_lost_passphrase(project):
    project.start()
    password = project.password()
    project.run("stack", "export", "--show-secrets", "--file", "copy.json")
    project.new_passphrase("another")
    assert "incorrect passphrase" in project.run("preview", ok=False)

    project.new_backend("state-2")
    project.forget("encryptionsalt")
    project.run("stack", "init", "test")
    project.adopt("copy.json")
    assert project.password() == password
    assert (
        password not in (project.folder / "state-2/.pulumi/stacks/recovery/test.json").read_text()
    )
    project.run("preview", "--expect-no-changes")


def test_a_lost_state_comes_back_from_a_copy_and_refresh(project):
    """What has changed since the copy is seen by `refresh`, and put right by the next `up`."""
    project.start()
    password = project.password()
    project.run("stack", "export", "--file", "copy.json")
    assert password not in (project.folder / "copy.json").read_text()
    (project.folder / "thing").write_text("changed by hand since")
    shutil.rmtree(project.folder / "state")

    project.new_backend("state-2")
    project.run("stack", "init", "test")
    project.run("stack", "import", "--file", "copy.json")
    project.run("refresh", "--yes", "--skip-preview")
    assert "changed by hand since" in project.run("stack", "export")
    assert "1 updated" in project.up()
    assert (project.folder / "thing").read_text() == "as we want it"
    assert project.password() == password, "another secret than the data was made with"


@pytest.fixture
def kms(project):
    """A KMS on this machine, in a process of its own."""
    url = f"http://127.0.0.1:{free_port()}"
    login = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    project.environment |= {**login, "AWS_REGION": REGION, "AWS_ENDPOINT_URL_KMS": url}
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", url.rpartition(":")[2]]
    quiet = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
    }
    server = subprocess.Popen(command, **quiet)
    try:
        until(lambda: requests.get(f"{url}/moto-api/data.json", timeout=2).ok, 60)
        yield Kms(url)
    finally:
        server.kill()
        server.wait(10)


class Kms:
    """Its keys."""

    def __init__(self, url):
        self.url = url
        session = boto3.Session("testing", "testing", region_name=REGION)
        self.client = session.client("kms", endpoint_url=url)

    def key(self):
        return self.client.create_key()["KeyMetadata"]["KeyId"]

    def lose_all(self):
        """As after a key's deletion; moto decrypts by one that is only disabled."""
        requests.post(f"{self.url}/moto-api/reset", timeout=10).raise_for_status()


def provider(key):
    return f"awskms://{key}?region={REGION}"


def test_a_key_of_kms_that_is_gone(project, kms):
    """The copy is imported under another key."""
    project.start("--secrets-provider", provider(kms.key()))
    password = project.password()
    state = project.folder / "state/.pulumi/stacks/recovery/test.json"
    providers = json.loads(state.read_text())["checkpoint"]["latest"]["secrets_providers"]
    assert (providers["type"], password in state.read_text()) == ("cloud", False)
    project.run("stack", "export", "--show-secrets", "--file", "copy.json")
    kms.lose_all()
    assert "operation error KMS: Decrypt" in project.run("preview", ok=False)

    project.new_backend("state-2")
    project.forget("secretsprovider", "encryptedkey")
    project.run("stack", "init", "test", "--secrets-provider", provider(kms.key()))
    project.adopt("copy.json")
    assert project.password() == password
    project.run("preview", "--expect-no-changes")
