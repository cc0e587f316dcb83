"""Exit codes and messages of the command line; and taking a stack down."""

import io

import pytest

from pulumi_mlflow.ops.cli import main

OUTPUTS = {
    "tracking_uri": "http://127.0.0.1:9",
    "auth_mode": "basic",
    "username": "ann",
    "password": "hidden-value",
    "runtime": "docker",
}


def call(capsys, *arguments):
    """Exit code, standard output, standard error."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, err = capsys.readouterr()
    return ended.value.code or 0, out, err


def resource(name, *, protect):
    return {
        "urn": f"urn:pulumi:dev::mlflow::t::{name}",
        "type": "docker:index/volume:Volume",
        "id": f"mlflow-dev-{name}",
        "custom": True,
        "protect": protect,
    }


@pytest.fixture
def dev(project):
    resources = [resource("data", protect=True), resource("server", protect=False)]
    project.write({"dev": {"outputs": OUTPUTS, "resources": resources}})
    return project


@pytest.mark.parametrize("command", ["info", "env", "verify", "down", "dump"])
def test_a_stack_that_does_not_exist(dev, capsys, command):
    code, out, err = call(capsys, command, "--stack", "dve")
    assert code == 1
    assert "'dve'" in err if command != "down" else "pulumi destroy: failed" in err
    assert not out
    assert "Traceback" not in err


def test_outside_of_a_project(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = call(capsys, "info", "--stack", "dev")
    assert code == 1
    assert "no Pulumi.yaml here or above" in err


def test_info_is_for_people_and_env_for_shells(dev, capsys):
    code, out, _ = call(capsys, "info", "--stack", "dev")
    assert code == 0
    assert "hidden-value" not in out
    code, out, err = call(capsys, "env", "--stack", "dev")
    assert code == 0
    assert out.splitlines()[-1] == "export MLFLOW_TRACKING_PASSWORD=hidden-value"
    assert not err


def test_verify_of_a_stack_whose_server_is_gone(dev, capsys):
    code, _, err = call(capsys, "verify", "--stack", "dev")
    assert code == 1
    assert "no answer" in err
    assert "pulumi up -s dev" in err
    assert "hidden-value" not in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "either --stack or --tracking-uri"),
        (["--stack", "dev", "--tracking-uri", "http://x"], "either --stack or --tracking-uri"),
        (["--tracking-uri", "http://x", "--username", "ann"], "MLFLOW_TRACKING_PASSWORD"),
    ],
)
def test_verify_is_told_what_is_missing(capsys, monkeypatch, arguments, message):
    monkeypatch.delenv("MLFLOW_TRACKING_PASSWORD", raising=False)
    code, _, err = call(capsys, "verify", *arguments)
    assert code == 1
    assert message in err


def test_verify_of_any_server_prints_a_table_and_fails_with_it(capsys, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hidden-value")
    url = "http://127.0.0.1:9"
    code, out, _ = call(capsys, "verify", "--tracking-uri", url, "--username", "ann")
    assert code == 1
    assert "failed" in out
    assert "not run" in out
    assert "hidden-value" not in out


def test_down_keeps_what_is_protected(dev, capsys):
    code, out, _ = call(capsys, "down", "--stack", "dev")
    assert code == 0
    assert "Kept (1): data" in out
    assert [r["id"] for r in dev.read()["dev"]["resources"]] == ["mlflow-dev-data"]
    assert "dev: destroy --exclude-protected --yes --skip-preview" in dev.calls()
    code, _, _ = call(capsys, "down", "--stack", "dev")
    assert code == 0


def test_purge_says_what_is_lost_and_without_a_yes_loses_nothing(dev, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    before = dev.read()
    code, out, _ = call(capsys, "down", "--stack", "dev", "--purge")
    assert code == 1
    assert "data  docker:index/volume:Volume  mlflow-dev-data" in out
    assert "server" not in out
    assert dev.read() == before


def test_purge_with_yes_destroys_all_and_says_what_first(dev, capsys):
    code, out, _ = call(capsys, "down", "--stack", "dev", "--purge", "--yes")
    assert code == 0
    assert "mlflow-dev-data" in out
    assert dev.read()["dev"]["resources"] == []


def test_a_failing_destroy_is_a_failure(dev, capsys):
    found = dev.read()
    found["dev"]["broken"] = "destroy"
    dev.write(found)
    assert call(capsys, "down", "--stack", "dev")[0] == 1
