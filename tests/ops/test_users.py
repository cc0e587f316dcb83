"""`pulumi-mlflow users` for users in the stack's file, and for those that are not ours. MLflow's own: tests/engine."""

import json

import pytest

from pulumi_mlflow.ops.cli import main
from pulumi_mlflow.ops.state import GENERATED_SECRET

NAMES = ("proxy-login", "proxy-login-ada", "proxy-salt", "tracking-admin", "tracking-kek")


def call(capsys, *arguments):
    """Exit code, standard output, standard error."""
    with pytest.raises(SystemExit) as ended:
        main(["users", *arguments, "--stack", "dev"])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return ended.value.code or 0, out, err


def secret(name):
    return {
        "urn": f"urn:pulumi:dev::mlflow::{GENERATED_SECRET}::{name}",
        "type": GENERATED_SECRET,
        "custom": True,
        "outputs": {"value": {"plaintext": json.dumps(f"old {name}")}},
    }


def stack(auth="basic", **outputs):
    known = {"tracking_uri": "http://127.0.0.1:9", "runtime": "docker", "auth_mode": auth}
    login = {"username": "mlflow", "password": "main-password"}
    return {
        "outputs": {
            **known,
            **login,
            "users": {"mlflow": "main-password", "ada": "adas"},
            **outputs,
        },
        "resources": [secret(name) for name in NAMES],
        "config": {"mlflow:access": {"value": json.dumps({"users": ["ada"]})}},
    }


@pytest.fixture
def dev(project):
    project.write({"dev": stack()})
    return project


def values(project):
    return {
        resource["urn"].rpartition("::")[2]: json.loads(resource["outputs"]["value"]["plaintext"])
        for resource in project.read()["dev"]["resources"]
    }


def test_who_may_log_in(dev, capsys):
    _, out, _ = call(capsys, "list")
    assert [line.split()[1] for line in out.splitlines() if "user" in line] == ["mlflow", "ada"]


def test_new_user_is_a_setting_and_an_up(dev, capsys):
    code, out, _ = call(capsys, "add", "eve", "--show")
    assert code == 0
    assert dev.calls()[-1] == "dev: config set --path --type string mlflow:access.users[1] eve"
    assert "next: pulumi up -s dev" in out

    dev.write({"dev": stack(users={"eve": "made-by-up"})})
    _, out, err = call(capsys, "add", "eve", "--yes", "--show")
    assert "dev: up --yes --skip-preview" in dev.calls()
    assert out.splitlines()[-1] == "made-by-up"
    assert "made-by-up" not in err


def test_gone_user_is_a_setting_and_an_up(dev, capsys):
    _, out, _ = call(capsys, "remove", "ada")
    assert "may log in until pulumi up -s dev" in out
    assert dev.calls()[-1] == "dev: config rm --path mlflow:access.users[0]"
    call(capsys, "remove", "ada", "--yes")
    assert dev.calls()[-1] == "dev: up --yes --skip-preview"


@pytest.mark.parametrize(
    ("auth", "name", "changed"),
    [
        ("basic", "ada", "proxy-login-ada"),
        ("basic", "mlflow", "proxy-login"),
        ("mlflow", "admin", "tracking-admin"),
    ],
)
def test_new_password_replaces_one_secret_of_the_state(
    project, capsys, tmp_path, auth, name, changed
):
    project.write({"dev": stack(auth)})
    before = values(project)
    file = tmp_path / "password"
    code, out, err = call(capsys, "rotate", name, "--output", str(file))
    assert code == 0, err
    new = file.read_text().strip()
    assert len(new) >= 32
    assert file.stat().st_mode & 0o777 == 0o600
    assert new not in out + err + "".join(project.calls())
    assert values(project) == {**before, changed: new}
    assert project.calls()[-1] == "dev: up --yes --skip-preview"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("add", "eve"), "--show or --output FILE"),
        (("rotate", "ada"), "--show or --output FILE"),
        (("add", "mlflow", "--show"), "mlflow: is a user of stack 'dev' already"),
        (("add", "ada", "--show"), "ada: is a user of stack 'dev' already"),
        (("remove", "mlflow"), "mlflow:access.username"),
        (("remove", "nobody"), "nobody: no user of stack 'dev'"),
        (("rotate", "nobody", "--show"), "nobody: no user of stack 'dev'"),
        (("permit", "ada", "x", "READ"), "set it to mlflow"),
    ],
)
def test_what_cannot_be_changes_nothing(dev, capsys, arguments, words):
    code, out, err = call(capsys, *arguments)
    assert code == 1
    assert words in err
    assert not out
    assert not [line for line in dev.calls() if "config set" in line or " up" in line]


@pytest.mark.parametrize(
    ("auth", "words"),
    [
        ("none", "set it to basic or mlflow"),
        ("oidc", "allowed_groups"),
        ("oidc-mlflow", "mlflow:access.permissions.groups"),
    ],
)
def test_users_that_live_elsewhere(project, capsys, auth, words):
    project.write({"dev": stack(auth)})
    code, _, err = call(capsys, "list")
    assert code == 1
    assert words in err
