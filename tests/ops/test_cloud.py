"""Commands for stacks that run in a cloud: from the outputs alone, and those that need Docker say so."""

import pytest

from pulumi_mlflow.ops.cli import main

SERVERS = {
    "aws": {
        "log_group": "/pulumi-mlflow/mlflow-prod/tracking",
        "cluster": "arn:aws:ecs:eu-central-1:111122223333:cluster/mlflow-prod",
        "service": "mlflow-prod-tracking-server",
        "region": "eu-central-1",
    },
    "kubernetes": {"namespace": "mlflow-prod", "image": "registry.corp.example/mlflow:3.17.2"},
}


def call(capsys, *arguments):
    """Exit code, standard output, standard error."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, err = capsys.readouterr()
    return ended.value.code or 0, out, err


@pytest.fixture(params=SERVERS)
def prod(request, project, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///none.sock")
    outputs = {
        "tracking_uri": "https://mlflow.corp.example",
        "auth_mode": "oidc",
        "runtime": request.param,
        "ops": {"engine": "postgresql", "tracking": SERVERS[request.param]},
    }
    made = {
        "urn": "urn:pulumi:prod::mlflow::t::server",
        "type": "t",
        "id": "server",
        "custom": True,
        "protect": False,
    }
    project.write({"prod": {"outputs": outputs, "resources": [made]}})
    return request.param


def test_url_and_login_are_shown(prod, capsys):
    code, out, _ = call(capsys, "info", "--stack", "prod")
    assert code == 0
    assert "https://mlflow.corp.example" in out
    code, out, err = call(capsys, "env", "--stack", "prod")
    assert code == 0
    assert "MLFLOW_TRACKING_URI=https://mlflow.corp.example" in out
    assert "MLFLOW_TRACKING_TOKEN" in err


@pytest.mark.parametrize("command", ["ps", "logs", "shell"])
def test_what_needs_containers_says_where_the_parts_are(prod, capsys, command):
    code, _, err = call(capsys, command, "--stack", "prod")

    assert code == 1
    assert "stack 'prod' has no containers here" in err
    wanted = {"aws": "aws logs tail /pulumi-mlflow/mlflow-prod/tracking --region eu-central-1"}
    assert wanted.get(prod, "kubectl -n mlflow-prod logs") in err


def test_copies_are_the_clouds_own(prod, capsys, monkeypatch):
    monkeypatch.setattr("pulumi_mlflow.ops.stack.FrontDoor.version", lambda _door: "3.17.2")

    code, _, err = call(capsys, "dump", "--stack", "prod")

    assert code == 1
    assert (
        f"dump and restore are not for it; its copies are those of the backup component, see docs/{prod}.md"
        in err
    )
