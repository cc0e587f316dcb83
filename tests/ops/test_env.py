"""What is printed for people and shells."""

import shlex
import stat
import subprocess
import sys
from pathlib import Path

import dotenv
import pytest
from hypothesis import HealthCheck, given, settings, strategies
from pydantic import SecretStr

from pulumi_mlflow.contracts import AuthMode
from pulumi_mlflow.ops import env
from pulumi_mlflow.ops.env import Format
from pulumi_mlflow.ops.errors import OpsError
from pulumi_mlflow.ops.stack import FrontDoor, Stack, StackOutputs, StoreAccess

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
    lines = env.lines(door, Format.SHELL)
    assert evaluated(lines, "MLFLOW_TRACKING_URI") == "http://x/?a=b&c='d'"
    assert evaluated(lines, "MLFLOW_TRACKING_USERNAME") == f"u {HOSTILE}"
    assert evaluated(lines, "MLFLOW_TRACKING_PASSWORD") == HOSTILE


@pytest.mark.parametrize("name", ["USERNAME", "PASSWORD", "TOKEN", "SERVER_CERT_PATH"])
def test_without_a_login_that_of_another_stack_is_forgotten(name):
    lines = env.lines(FrontDoor(tracking_uri="http://x"), Format.SHELL)
    assert (
        evaluated(lines, f"MLFLOW_TRACKING_{name}", **{f"MLFLOW_TRACKING_{name}": "old"}) == "unset"
    )


@pytest.mark.parametrize("mode", [AuthMode.OIDC, AuthMode.OIDC_MLFLOW])
def test_a_token_of_ones_own_stays_where_it_is_the_login(mode):
    door = FrontDoor(tracking_uri="http://x", auth_mode=mode)
    lines = env.lines(door, Format.SHELL)
    assert evaluated(lines, "MLFLOW_TRACKING_TOKEN", MLFLOW_TRACKING_TOKEN="mine") == "mine"
    assert "export MLFLOW_TRACKING_TOKEN=" in env.token_hint(door)


def test_a_store_that_wants_the_bucket_in_its_host_is_asked_so_by_clients_too():
    store = StoreAccess(endpoint_url="https://oss.example.com", addressing="virtual")
    found = env.variables(FrontDoor(tracking_uri="http://x", store=store), None)
    assert found["MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE"] == "virtual"


def test_a_store_that_clients_use_themselves():
    store = StoreAccess(
        endpoint_url="http://127.0.0.1:9000", region="us-east-1",
        access_key=SecretStr("key"), secret_key=SecretStr(HOSTILE),
    )  # fmt: skip
    found = env.variables(FrontDoor(tracking_uri="http://x", store=store), Path("/ca.pem"))
    assert found == {
        "MLFLOW_TRACKING_URI": "http://x",
        "MLFLOW_TRACKING_SERVER_CERT_PATH": "/ca.pem",
        "MLFLOW_S3_ENDPOINT_URL": "http://127.0.0.1:9000",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": HOSTILE,
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
    }
    assert "AWS_REQUEST_CHECKSUM_CALCULATION" not in env.variables(
        FrontDoor(tracking_uri="http://x", store=StoreAccess(region="eu-central-1")), None
    )


def sourced(file):
    """What bash has in NAME after `source`, with an environment in which nothing else is."""
    script = f'set -u; source {shlex.quote(str(file))}; printf %s "$NAME"'
    done = subprocess.run(
        ["bash", "--norc", "-c", script], env={"LC_ALL": "C.UTF-8"}, capture_output=True, check=True
    )
    return done.stdout.decode()


HARD = ["", "plain-1.2/x@y:z", "a b", "#c", " # c", "'", '"', "\\", "\\\\n", "\\n", "$HOME", "${HOME}", "${HOME:-x}", "`id`",
        "$(id)", "a=b", "!x", "it's ${HOME}", "ä€", "$", "$$", "a\\'b$", HOSTILE.replace("\t", "").replace("`", "")]  # fmt: skip


def both_read(tmp_path, value):
    file = tmp_path / "env"
    file.write_text(f"BEFORE=1\nNAME={env.dotenv_quoted('NAME', value)}\nAFTER=2\n")
    assert dotenv.dotenv_values(file) == {"BEFORE": "1", "NAME": value, "AFTER": "2"}
    assert sourced(file) == value


@pytest.mark.parametrize("value", HARD)
def test_a_dotenv_value_is_the_same_to_bash_and_python_dotenv(tmp_path, value):
    both_read(tmp_path, value)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    strategies.text(strategies.sampled_from("aZ0 '\"\\$`{}()#!=:-&;|<>*?~\t\n~%ä_"), max_size=12)
)
def test_whatever_the_value_both_read_it_or_it_is_refused(tmp_path, value):
    try:
        both_read(tmp_path, value)
    except OpsError:
        assert "`" in value or not value.isprintable()


def test_plain_values_have_no_quotes_since_docker_knows_none():
    assert (
        env.dotenv_quoted("N", "http://127.0.0.1:5000/x?".rstrip("?")) == "http://127.0.0.1:5000/x"
    )


@pytest.mark.parametrize("value", ["a`b'", "line\nline", "nul\0"])
def test_what_no_dotenv_file_can_hold_is_refused_without_showing_it(value):
    with pytest.raises(OpsError, match="MLFLOW_TRACKING_PASSWORD") as error:
        env.dotenv_quoted("MLFLOW_TRACKING_PASSWORD", value)
    assert value not in str(error.value)


def test_a_file_is_the_owners_alone_also_when_it_was_there(tmp_path):
    target = tmp_path / "x.env"
    target.write_text("old")
    target.chmod(0o644)
    env.write(target, ["A=1", "B=2"])
    assert target.read_text() == "A=1\nB=2\n"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["x.env"]
    with pytest.raises(OpsError, match="there is no folder"):
        env.write(tmp_path / "no" / "x.env", [])


def test_a_file_that_git_would_take_up_is_refused(tmp_path):
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    with pytest.raises(OpsError, match="git would take it up"):
        env.write(tmp_path / "x.env", ["A=1"])
    (tmp_path / ".gitignore").write_text("*.env\n")
    env.write(tmp_path / "x.env", ["A=1"])


def test_the_servers_own_authority_is_written_once(tmp_path):
    stack = Stack(tmp_path, "dev")
    assert env.write_ca(stack, FrontDoor(tracking_uri="http://x")) is None
    for pem in ("first", "second"):
        path = env.write_ca(stack, FrontDoor(tracking_uri="https://x", ca=pem))
        assert path == tmp_path / ".state" / "ca" / "dev.pem"
        assert path.read_text() == pem


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
