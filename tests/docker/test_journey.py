"""A stranger on a bare machine: every command of the README, in order, with nothing in the cache and an empty home."""

import os
import secrets
import subprocess
import time

import pytest
from tests.docker import journey
from tests.docker.stack import sweep
from tests.support import FULL, ROOT, free_port

MINUTES = 100
"""For all of it: on two cores that reach package registries alone, programs are built for about 40."""

SLOWEST = 60 * 60
"""Seconds for one command: the first that needs a program may have to build it."""

OURS = (
    "PULUMI_",
    "MLFLOW_",
    "AWS_",
    "KUBE",
    "VIRTUAL_ENV",
    "GOPATH",
    "GOCACHE",
    "GOMODCACHE",
    "XDG_",
)


def test_no_command_of_the_readme_is_forgotten():
    assert journey.forgotten() == []


def test_no_command_is_typed_that_the_readme_has_not():
    known = [*(step.written for step in journey.STEPS), *journey.LEFT]
    assert sorted(set(known) - set(journey.written())) == []
    assert len(known) == len(set(known))


def test_commands_are_told_from_other_words(monkeypatch, tmp_path):
    (tmp_path / "A.md").write_text(
        "`make up` and `make up STACK=dev   # a comment`, never `makes`\n"
        "```\nmake verify\nsome output\n```\n| `pulumi a\\|b` | `images` |\n"
    )
    monkeypatch.setattr(journey, "ROOT", tmp_path)
    monkeypatch.setattr(journey, "PAGES", ("A.md",))
    assert set(journey.written()) == {"make up", "make up STACK=dev", "make verify", "pulumi a|b"}
    assert journey.forgotten() == ["pulumi a|b"]


def test_a_shared_machine_gets_names_and_ports_of_its_own():
    typed = journey.in_stack("make up STACK=dev2 >/dev/null; x 5001 Pulumi.dev.yaml", "it", 7, 8)
    assert typed == "make up STACK=it2 >/dev/null; x 7 Pulumi.it.yaml"


class Shell:
    """One shell of a stranger, kept from command to command."""

    def __init__(self, folder, home, cache):
        self.folder, self.deadline = folder, time.monotonic() + MINUTES * 60
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(OURS)}
        self.environment |= {"HOME": str(home), "PULUMI_MLFLOW_CACHE": str(cache)}
        self.variables = home / "variables"

    def type(self, command):
        """Run a command; what it exports stays."""
        started = time.monotonic()
        done = subprocess.run(
            ["bash", "-c", f"set -e\n{command}\nenv -0 > {self.variables}"],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=min(SLOWEST, max(60, self.deadline - started)),
            check=False,
        )
        print(f"{time.monotonic() - started:6.0f} s  {command}", flush=True)
        assert done.returncode == 0, f"{command}:\n{done.stdout[-6000:]}"
        pairs = self.variables.read_text().split("\0")
        self.environment = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
        return done.stdout


@pytest.mark.docker
@pytest.mark.timeout((MINUTES + 10) * 60)
@pytest.mark.skipif(not FULL, reason="FULL=1: builds or downloads every program anew")
def test_every_command_of_the_readme_on_a_bare_machine(client, tmp_path):
    """As typed; but `dev` has another name and port, since others may have one on this engine."""
    name, folder = f"it{secrets.token_hex(4)}", tmp_path / "pulumi-mlflow"
    home, cache = tmp_path / "home", tmp_path / "cache"
    home.mkdir()
    subprocess.run(["git", "clone", "-q", ROOT, folder], check=True)
    ports = [free_port() for _ in range(3)]
    journey.stack_file(folder, "dev", name, ports[0])
    journey.stack_file(folder, "local", "local", ports[2])
    shell = Shell(folder, home, cache)
    try:
        for step in journey.STEPS:
            shell.type(journey.in_stack(step.command, name, ports[0], ports[1]))
    finally:
        for stack in (f"STACK={name}", f"STACK={name}2", ""):
            subprocess.run(
                ["make", "down", "PURGE=1", *filter(None, [stack])],
                cwd=folder,
                env=shell.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
            )
        for stack in (name, f"{name}2"):
            sweep(client, f"mlflow-{stack}")
