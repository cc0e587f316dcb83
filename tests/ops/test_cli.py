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
    assert "'dve'" in err
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


def cloud(name, kind, *, protect=False, **inputs):
    """A resource of a stack in a cloud."""
    return {**resource(name, protect=protect), "type": kind, "inputs": inputs}


RDS, SERVICE, EKS = (
    "aws:rds/instance:Instance",
    "aws:ecs/service:Service",
    "aws:eks/cluster:Cluster",
)


@pytest.fixture(params=["aws", "kubernetes"])
def prod(project, request):
    serves = SERVICE if request.param == "aws" else "kubernetes:apps/v1:Deployment"
    data = cloud("database", RDS, protect=True, deletionProtection=True)
    project.write({"prod": {"resources": [data, cloud("server", serves)]}})
    return project


def destroyed(project):
    return [call for call in project.calls() if "destroy" in call or "unprotect" in call]


def test_down_in_a_cloud_names_what_stays_and_takes_nothing_without_a_yes(
    prod, capsys, monkeypatch
):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    code, out, _ = call(capsys, "down", "--stack", "prod")
    assert code == 1
    assert f"database  {RDS}  mlflow-dev-database" in out
    assert "server  " not in out
    assert "make down: YES=1" in out
    assert destroyed(prod) == []


@pytest.mark.parametrize(("words", "answer"), [(("--yes",), ""), ((), "y\n")])
def test_down_in_a_cloud_goes_on_with_a_yes(prod, capsys, monkeypatch, words, answer):
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    code, out, _ = call(capsys, "down", "--stack", "prod", *words)
    assert code == 0
    assert f"database  {RDS}" in out
    assert "Kept (1): database" in out
    assert destroyed(prod) == ["prod: destroy --exclude-protected --yes --skip-preview"]
    # Nothing runs by now, so there is nothing to ask.
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert call(capsys, "down", "--stack", "prod")[0] == 0


@pytest.mark.parametrize("kind", [RDS, EKS])
def test_what_aws_would_refuse_to_delete_stops_a_purge_before_anything_is_taken(
    project, capsys, kind
):
    data = cloud("data", kind, protect=True, deletionProtection=True)
    project.write({"prod": {"resources": [data, cloud("server", SERVICE)]}})
    code, _, err = call(capsys, "down", "--stack", "prod", "--purge", "--yes")
    assert code == 1
    assert f"data ({kind})" in err
    assert "mlflow:database.deletion_protection' false -s prod" in err
    assert destroyed(project) == []
    data["inputs"]["deletionProtection"] = False
    project.write({"prod": {"resources": [data, cloud("server", SERVICE)]}})
    assert call(capsys, "down", "--stack", "prod", "--purge", "--yes")[0] == 0
    assert project.read()["prod"]["resources"] == []


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
