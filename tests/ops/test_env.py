"""What is printed for people and shells."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from pulumi_mlflow.ops import env
from pulumi_mlflow.ops.stack import FrontDoor, Stack, StackOutputs

HOSTILE = "a'b\"c$HOME `id` \\ &;|<>!ä\t#"


def evaluated(lines, variable, **before):
    """What a shell has in a variable after `eval` of the lines."""
    script = 'eval "$LINES_TO_EVAL"; printf %s "${' + variable + '-unset}"'
    environment = {"LINES_TO_EVAL": "\n".join(lines), "PATH": "/usr/bin:/bin", **before}
    done = subprocess.run(
        ["sh", "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_a_shell_gets_back_what_went_in():
    door = FrontDoor(
        tracking_uri="http://x/?a=b&c='d'", username=f"u {HOSTILE}", password=SecretStr(HOSTILE)
    )
    lines = env.export_lines(door)
    assert evaluated(lines, "MLFLOW_TRACKING_URI") == "http://x/?a=b&c='d'"
    assert evaluated(lines, "MLFLOW_TRACKING_USERNAME") == f"u {HOSTILE}"
    assert evaluated(lines, "MLFLOW_TRACKING_PASSWORD") == HOSTILE


def test_without_a_login_that_of_another_stack_is_forgotten():
    lines = env.export_lines(FrontDoor(tracking_uri="http://x"))
    assert evaluated(lines, "MLFLOW_TRACKING_PASSWORD", MLFLOW_TRACKING_PASSWORD="old") == "unset"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Make this process one that runs from a venv with the command in it."""

    def install(folder: Path) -> Path:
        script = folder / "bin" / "pulumi-mlflow"
        script.parent.mkdir(parents=True)
        script.write_text("#!/bin/sh\necho it runs\n")
        script.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(folder / "bin" / "python"))
        return script

    return install


def test_a_command_inside_the_project_is_named_by_its_path(tmp_path, installed, monkeypatch):
    project = tmp_path / "my project"
    script = installed(project / ".venv")
    # On PATH for this process, as in `make up`, which says nothing about the person's shell.
    monkeypatch.setenv("PATH", str(script.parent), prepend=":")
    pasted = env.program(project)
    assert pasted == ".venv/bin/pulumi-mlflow"
    done = subprocess.run(["sh", "-c", pasted], cwd=project, capture_output=True, check=True)
    assert done.stdout == b"it runs\n"


def test_a_command_outside_is_named_by_its_name_only_if_path_finds_it(
    tmp_path, installed, monkeypatch
):
    script = installed(tmp_path / "tool venv")
    assert env.program(tmp_path / "project") == f"'{script}'"
    monkeypatch.setenv("PATH", str(script.parent), prepend=":")
    assert env.program(tmp_path / "project") == "pulumi-mlflow"


def test_not_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert env.program(tmp_path) == f"{tmp_path}/python -m pulumi_mlflow.ops.cli"


@pytest.mark.parametrize("auth", ["none", "basic"])
def test_summary_shows_url_and_login_and_never_the_password(tmp_path, auth):
    outputs = StackOutputs(
        tracking_uri="http://127.0.0.1:5000",
        auth_mode=auth,
        runtime="docker",
        username="ann",
        password=SecretStr("hidden-value"),
    )
    text = "\n".join(env.summary(Stack(tmp_path, "dev"), outputs))
    assert "http://127.0.0.1:5000" in text
    assert "hidden-value" not in text
    assert 'env --stack dev)"' in text
    assert ("pulumi stack output password --show-secrets -s dev" in text) == (auth == "basic")
    assert ("ann" in text) == (auth == "basic")
