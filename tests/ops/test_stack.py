"""What `pulumi` says of a stack, and what is said when it cannot."""

import pytest

from pulumi_mlflow.ops.errors import OpsError
from pulumi_mlflow.ops.stack import FrontDoor, Stack, find_project

OUTPUTS = {
    "tracking_uri": "http://127.0.0.1:5000/",
    "auth_mode": "basic",
    "username": "ann",
    "password": "hidden-value",
    "runtime": "local",
    "ops": {"engine": "sqlite"},
}


def test_the_project_is_found_from_a_folder_inside_it(project):
    inside = project.folder / "a" / "b"
    inside.mkdir(parents=True)
    assert find_project(inside) == project.folder


def test_outside_of_a_project_is_an_error(tmp_path):
    with pytest.raises(OpsError, match=r"no Pulumi\.yaml"):
        find_project(tmp_path)


def test_outputs(project):
    project.write({"dev": {"outputs": OUTPUTS}})
    outputs = Stack(project.folder, "dev").outputs()
    assert outputs.front_door.tracking_uri == "http://127.0.0.1:5000"
    assert outputs.front_door.login == ("ann", "hidden-value")
    assert "hidden-value" not in repr(outputs)


def test_a_stack_without_auth_has_no_login_whatever_else_it_exports(project):
    project.write({"dev": {"outputs": OUTPUTS | {"auth_mode": "none"}}})
    assert Stack(project.folder, "dev").outputs().front_door.login is None


@pytest.mark.parametrize(
    ("stacks", "makefile", "expected"),
    [
        ({}, True, "stack 'dev' was never up; make up STACK=dev"),
        ({"dev": {}}, True, "stack 'dev' is not up; make up STACK=dev"),
        ({"dev": {}}, False, "stack 'dev' is not up; pulumi up -s dev"),
        ({"dev": {"broken": "stack output"}}, False, "incorrect passphrase"),
        ({"dev": {"outputs": {"auth_mode": "basic"}}}, False, "malformed: tracking_uri, runtime"),
    ],
)
def test_errors_name_the_stack_and_the_mend(project, stacks, makefile, expected):
    (project.folder / "Pulumi.dev.yaml").touch()
    if makefile:
        (project.folder / "Makefile").touch()
    project.write(stacks)
    with pytest.raises(OpsError) as caught:
        Stack(project.folder, "dev").outputs()
    assert expected in str(caught.value)
    assert "dev" in str(caught.value)


def test_a_wrong_name_is_answered_with_those_that_exist(project):
    for name in ("dev", "local"):
        (project.folder / f"Pulumi.{name}.yaml").touch()
    with pytest.raises(OpsError, match=r"no stack 'dve' .*dev, local"):
        Stack(project.folder, "dve").outputs()


def test_malformed_outputs_do_not_show_their_values(project):
    project.write({"dev": {"outputs": OUTPUTS | {"password": ["hidden-value"]}}})
    with pytest.raises(OpsError, match="malformed: password") as caught:
        Stack(project.folder, "dev").outputs()
    assert "hidden-value" not in str(caught.value)


def test_no_pulumi(project, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OpsError, match="pulumi: not on PATH"):
        Stack(project.folder, "dev").outputs()


def test_the_toolchain_of_the_project_runs_pulumi(project):
    script = project.folder / "toolchain" / "setup.py"
    script.parent.mkdir()
    script.write_text(
        "import os, sys\n"
        "assert sys.argv[1:3] == ['run', '--']\n"
        "open('used', 'w').close()\n"
        "os.execvp(sys.argv[3], sys.argv[3:])\n"
    )
    project.write({"dev": {"outputs": OUTPUTS}})
    assert Stack(project.folder, "dev").outputs().runtime == "local"
    assert (project.folder / "used").exists()


def test_a_server_that_does_not_answer(project):
    project.write({"dev": {"outputs": OUTPUTS | {"tracking_uri": "http://127.0.0.1:9"}}})
    with pytest.raises(OpsError, match=r"http://127.0.0.1:9/version: no answer.*pulumi up -s dev"):
        Stack(project.folder, "dev").running()


def test_version_is_asked_with_the_login(door, server):
    with door(server) as guarded:
        assert guarded.front.version() == "3.17.2"
        with pytest.raises(OpsError, match="answered 401"):
            FrontDoor(tracking_uri=guarded.url).version()


def test_what_down_leaves_is_not_up(project):
    """Its outputs are still in the state: the password would go to whoever has the port by now."""
    kept = {
        "urn": "urn::data",
        "type": "docker:index/volume:Volume",
        "custom": True,
        "protect": True,
    }
    owner = {"urn": "urn::database", "type": "pulumi-mlflow:index:DockerDatabase"}
    provider = {"urn": "urn::docker", "type": "pulumi:providers:docker", "custom": True}
    project.write({"dev": {"outputs": OUTPUTS, "resources": [provider, owner, kept]}})
    with pytest.raises(OpsError, match="'dev' is not up"):
        Stack(project.folder, "dev").outputs()
