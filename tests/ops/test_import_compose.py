"""A compose file becomes a stack's file that the project's own settings accept."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import settings
from pulumi_mlflow.ops import import_compose
from pulumi_mlflow.ops.cli import main
from pulumi_mlflow.ops.errors import OpsError

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests" / "core" / "compose_files"
PROJECTS = sorted(folder.name for folder in FIXTURES.iterdir())


def compose(name):
    files = sorted((FIXTURES / name).iterdir())
    return next(path for path in files if re.fullmatch(r"(docker-)?compose\.ya?ml", path.name))


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A project with our own settings."""
    (tmp_path / "Pulumi.yaml").write_text("name: mlflow\n")
    (tmp_path / "infra").symlink_to(ROOT / "infra")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DB_PASSWORD", "sentinel-db")
    monkeypatch.setenv("POSTGRES_PASSWORD", "sentinel-pg")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, err = capsys.readouterr()
    return ended.value.code or 0, out, err


def loaded(file, stack, secrets):
    """As Pulumi hands the file to our program."""
    config = yaml.safe_load(file.read_text())["config"]
    raw = {
        key.removeprefix("mlflow:"): json.dumps(value) if isinstance(value, dict) else str(value)
        for key, value in config.items()
    }
    return settings.load(
        stack, raw | dict.fromkeys(secrets, "x"), root=file.parent, secret_keys=secrets
    )


@pytest.mark.parametrize("name", PROJECTS)
def test_the_file_is_right_by_our_own_settings_and_holds_no_secret(clone, capsys, name):
    code, out, err = call(capsys, "import-compose", str(compose(name)), "--stack", name)
    file = clone / f"Pulumi.{name}.yaml"
    mapped = import_compose.read(compose(name), None).mapped
    lost = not mapped.is_whole or "changed" in err
    assert code == (3 if lost else 0), err
    secrets = mapped.secrets
    assert loaded(file, name, secrets).runtime.value == "docker"
    assert "sentinel" not in file.read_text() + out + err
    assert f"make up STACK={name}" in out or f"pulumi up -s {name}" in out
    assert "STACK" not in err


def test_what_our_rules_refuse_is_mended_and_said(clone, capsys):
    _, _, err = call(capsys, "import-compose", str(compose("nginx-mysql")), "--stack", "n")
    assert "mlflow:artifacts.bucket: must be lower-case letters" in err
    assert "(got \"ml_artifacts\"); written: 'mlflow'" in err
    config = yaml.safe_load((clone / "Pulumi.n.yaml").read_text())["config"]
    assert config["mlflow:artifacts"]["bucket"] == "mlflow"


WHOLE = """
services:
  db:
    image: postgres:16
    environment: {POSTGRES_USER: u, POSTGRES_PASSWORD: p, POSTGRES_DB: d}
  mlflow:
    image: ghcr.io/mlflow/mlflow:v2.22.0
    ports: ["127.0.0.1:5001:5000"]
    command: mlflow server --host 0.0.0.0 --backend-store-uri postgresql://u:p@db/d --artifacts-destination /data
"""


def test_the_exit_code_tells_whether_something_is_lost(clone, capsys):
    file = clone / "compose.yml"
    file.write_text(WHOLE)
    code, _, err = call(capsys, "import-compose", str(file), "--stack", "whole")
    assert (code, re.findall("(?m)^not so|^changed", err)) == (0, [])
    assert "note     services: nothing in the file asks for a login" in err

    file.write_text(WHOLE.replace("--host", "--static-prefix /x --host"))
    code, _, err = call(capsys, "import-compose", str(file), "--stack", "lost")
    assert (code, re.findall("(?m)^not so|^changed", err)) == (3, ["not so"])

    file.write_text(WHOLE.replace("POSTGRES_DB: d", "POSTGRES_DB: D-1").replace("db/d", "db/D-1"))
    code, _, err = call(capsys, "import-compose", str(file), "--stack", "changed")
    assert (code, re.findall("(?m)^not so|^changed", err)) == (3, ["changed"])
    assert import_compose.read(file, None).mapped.database.name == "D-1"  # it is still copied


def test_files_go_on_top_of_one_another_as_in_docker_compose(clone, capsys, monkeypatch):
    folder = FIXTURES / "entrypoint-override"
    monkeypatch.delenv("COMPOSE_FILE", raising=False)

    def workers(*paths):
        found = import_compose.read([Path(p) for p in paths], None)
        return [f.name for f in found.files], found.mapped.settings.get("tracking")

    base, prod = folder / "compose.yml", folder / "compose.prod.yml"
    both = ["compose.yml", "compose.override.yml"]
    assert workers(base) == (both, {"workers": 3})
    assert workers(folder) == (both, {"workers": 3})
    allowed = {"workers": 6, "allowed_hosts": ["ml.example.org"]}
    assert workers(base, prod) == (["compose.yml", "compose.prod.yml"], allowed)
    monkeypatch.setenv("COMPOSE_FILE", "compose.yml:compose.prod.yml")
    assert workers(base) == (["compose.yml", "compose.prod.yml"], allowed)
    code, out, _ = call(
        capsys, "import-compose", "-f", str(base), "--file", str(prod), "--stack", "several"
    )
    assert code == 3
    assert "compose.prod.yml" in out
    config = yaml.safe_load((clone / "Pulumi.several.yaml").read_text())["config"]
    assert config["mlflow:tracking"]["workers"] == 6


def test_names_and_addresses_of_this_machine_are_known(clone):
    for own in ("127.0.0.1", socket.gethostname(), "localhost"):
        assert import_compose._is_this_machine(own)
    assert not import_compose._is_this_machine("192.0.2.1")
    assert not import_compose._is_this_machine("no-such-host.invalid")
    file = clone / "compose.yml"
    text = WHOLE.replace("@db/", f"@{socket.gethostname()}:5439/")
    file.write_text(
        text.replace("image: postgres:16", "image: postgres:16\n    ports: ['5439:5432']")
    )
    found = import_compose.read(file, None).mapped
    assert "existing" not in found.settings["database"]
    assert (found.database.service, found.database.port) == ("db", 5432)


def test_an_existing_database_keeps_its_names(clone, capsys):
    """It is not ours to make, so its names are what they are."""
    _, _, err = call(capsys, "import-compose", str(compose("existing-names")), "--stack", "e")
    assert "changed  mlflow:database" not in err
    config = yaml.safe_load((clone / "Pulumi.e.yaml").read_text())["config"]
    assert config["mlflow:database"] == {
        "engine": "mysql",
        "name": "Mlflow-Backend-Store",
        "username": "root",
        "existing": {"host": "host.docker.internal", "port": 3306, "tls_mode": "require"},
    }


def test_an_existing_file_stays_as_it_is(clone, capsys):
    file = clone / "Pulumi.compose.yaml"
    file.write_text("mine")
    code, _, err = call(capsys, "import-compose", str(compose("mysql-minio")))
    assert code == 1
    assert "is there already; name another stack with --stack" in err
    assert file.read_text() == "mine"


def test_the_shell_wins_over_the_env_file_as_in_compose(clone, monkeypatch, tmp_path):
    other = tmp_path / "other.env"
    other.write_text("MYSQL_DATABASE=from_file\nMYSQL_USER=from_file\nMYSQL_PASSWORD=x\n")
    monkeypatch.setenv("MYSQL_USER", "from_shell")
    found = import_compose.read(compose("mysql-minio"), other).mapped
    assert found.settings["database"]["name"] == "from_file"
    assert found.settings["database"]["username"] == "from_shell"
    assert "${AWS_ACCESS_KEY_ID}: has no value" in "\n".join(str(f) for f in found.findings)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read"), ("a: 1", "no 'services:'"), ("\udcff", "cannot be read")],
)
def test_a_file_that_will_not_do_is_named(clone, capsys, content, message):
    file = clone / "compose.yml"
    if content is not None:
        file.write_text(content, errors="surrogateescape")
    code, _, err = call(capsys, "import-compose", str(file))
    assert code == 1
    assert str(file) in err
    assert message in err


def test_a_project_of_somebody_else_has_no_such_settings(tmp_path, monkeypatch):
    (tmp_path / "Pulumi.yaml").write_text("name: other\n")
    found = import_compose.read(compose("mysql-minio"), None)
    with pytest.raises(OpsError, match=r"no infra/settings\.py"):
        import_compose.write(tmp_path, "x", found)


def test_module_runs_without_a_project_on_the_path(clone):
    """`pulumi-mlflow` is started by its own script, so the project's modules are not on sys.path yet."""
    done = subprocess.run(
        [sys.executable, "-m", "pulumi_mlflow.ops.cli", "import-compose", str(compose("mysql-minio"))],
        cwd=clone, env={**os.environ, "PYTHONPATH": str(ROOT / "components")}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert (clone / "Pulumi.compose.yaml").is_file()
