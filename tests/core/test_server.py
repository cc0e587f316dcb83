"""The server's command line and environment are ones that the installed MLflow knows."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow import cli, environment_variables
from mlflow.server import constants
from mlflow.server.security_utils import is_allowed_host_header
from mlflow.store.db.utils import create_sqlalchemy_engine

from pulumi_mlflow.core import server

label = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
names = st.lists(label, min_size=1, max_size=4).map(".".join)
ports = st.integers(1, 65535)
ADDRESSES = ["10.1.2.3", "::1", "2001:db8::1", "[2001:db8::1]"]


def settings(**changes):
    values = {
        "host": "10.0.0.5",
        "port": 5001,
        "workers": 3,
        "allowed_hosts": ("a", "a:*"),
        "artifacts_destination": "s3://mlflow/x",
        "pool_size": 7,
        "max_overflow": 8,
        "scratch_dir": "/scratch",
    }
    return server.ServerSettings(**{**values, **changes})


S3 = {"s3_endpoint_url": "http://s3:7070", "prometheus_dir": "/scratch/metrics"}


def test_mlflow_parses_the_command_line(monkeypatch):
    for name in list(os.environ):
        if name.startswith("MLFLOW_"):
            monkeypatch.delenv(name)
    for name, value in (
        server.server_environment(settings(**S3)) | server.secret_environment("sqlite:////x", "k")
    ).items():
        monkeypatch.setenv(name, value)
    program, command, *arguments = server.server_argv(settings(**S3), "/opt/mlflow")
    assert (program, command) == ("/opt/mlflow", "server")
    got = cli.server.make_context("server", arguments).params
    assert got["backend_store_uri"] == "sqlite:////x"
    assert (got["host"], got["port"], int(got["workers"])) == ("10.0.0.5", 5001, 3)
    assert got["artifacts_destination"] == "s3://mlflow/x"
    assert got["serve_artifacts"] is True
    assert got["allowed_hosts"] == "a,a:*"
    assert got["expose_prometheus"] == "/scratch/metrics"
    # The default server: the one with the FastAPI routes.
    assert got["gunicorn_opts"] is None
    assert got["waitress_opts"] is None


def test_direct_mode_serves_no_artifacts_and_names_the_store(monkeypatch):
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", "sqlite:////x")
    argv = server.server_argv(settings(artifact_mode="direct"))
    got = cli.server.make_context("server", argv[2:]).params
    assert got["serve_artifacts"] is False
    assert got["default_artifact_root"] == "s3://mlflow/x"
    with pytest.raises(
        ValueError, match=r"artifact_mode: must be proxied or direct \(got 'both'\)"
    ):
        server.server_argv(settings(artifact_mode="both"))


def test_metrics_are_off_unless_asked_for():
    assert "--expose-prometheus" not in server.server_argv(settings())


def known_to_mlflow():
    variables = {
        value.name
        for value in vars(environment_variables).values()
        if isinstance(value, environment_variables._EnvironmentVariable)
    }
    options = {option.envvar for option in cli.server.params}
    return variables | options | {v for v in vars(constants).values() if isinstance(v, str)}


def test_mlflow_knows_every_variable():
    ours = server.server_environment(settings(**S3)) | server.secret_environment("u", "k")
    mlflow = {name for name in ours if name.startswith("MLFLOW_")}
    assert len(mlflow) == 15
    assert mlflow <= known_to_mlflow()


def test_mlflow_reads_the_values(monkeypatch):
    for name, value in server.server_environment(settings(**S3)).items():
        monkeypatch.setenv(name, value)
    assert environment_variables.MLFLOW_DISABLE_TELEMETRY.get() is True
    assert environment_variables.MLFLOW_SERVER_ENABLE_JOB_EXECUTION.get() is False
    assert environment_variables.MLFLOW_S3_ENDPOINT_URL.get() == "http://s3:7070"
    assert len(environment_variables._MLFLOW_WEBHOOK_ALLOWED_SCHEMES.get()) == 1
    engine = create_sqlalchemy_engine("postgresql+psycopg2://u:p@db/d")
    assert (engine.pool.size(), engine.pool._max_overflow) == (7, 8)
    assert engine.pool._recycle == 1800
    assert engine.pool._pre_ping is True


def test_botocore_reads_the_values(monkeypatch):
    import boto3

    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    environment = server.server_environment(settings(**S3)) | server.secret_environment(
        "u", "k", "access", "secret"
    )
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    client = boto3.session.Session().client("s3", endpoint_url="http://s3:7070")
    assert client.meta.region_name == "us-east-1"
    assert client.meta.config.request_checksum_calculation == "when_required"
    assert client.meta.config.response_checksum_validation == "when_required"
    credentials = client._request_signer._credentials
    assert (credentials.access_key, credentials.secret_key) == ("access", "secret")


def test_s3_itself_keeps_its_own_ways():
    environment = server.server_environment(settings(s3_region="eu-central-1"))
    aws = {name: value for name, value in environment.items() if "S3" in name or "AWS" in name}
    assert aws == {"AWS_DEFAULT_REGION": "eu-central-1"}


def test_a_folder_needs_nothing_of_s3():
    assert not [name for name in server.server_environment(settings()) if "AWS" in name]


def test_python_spools_to_the_scratch_folder(tmp_path):
    environment = server.server_environment(settings(scratch_dir=str(tmp_path)))
    found = subprocess.run(
        [sys.executable, "-c", "import tempfile; print(tempfile.gettempdir())"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == str(tmp_path)


def test_an_overflow_that_mlflow_ignores_is_refused():
    with pytest.raises(ValueError, match=r"must be ≥ 1 \(got 0\)"):
        server.server_environment(settings(max_overflow=0))


@given(st.text(min_size=8), st.text(min_size=8), st.text(min_size=8), st.text(min_size=8))
def test_secrets_are_in_their_own_environment_only(uri, kek, access_key, secret_key):
    secrets = server.secret_environment(uri, kek, access_key, secret_key)
    assert secrets == {
        "MLFLOW_BACKEND_STORE_URI": uri,
        "MLFLOW_CRYPTO_KEK_PASSPHRASE": kek,
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret_key,
    }
    assert not secrets.keys() & server.server_environment(settings(**S3)).keys()


def test_no_keys_no_variables():
    assert server.secret_environment("u", "k").keys() == {
        "MLFLOW_BACKEND_STORE_URI",
        "MLFLOW_CRYPTO_KEK_PASSPHRASE",
    }


@pytest.mark.parametrize("arguments", [("u", ""), ("u", "k", "access"), ("u", "k", "", "secret")])
def test_half_a_secret_is_refused(arguments):
    with pytest.raises(ValueError, match="must"):
        server.secret_environment(*arguments)


@given(st.lists(names | st.sampled_from(ADDRESSES), max_size=5), ports)
def test_every_name_is_answered_with_any_port(given_names, port):
    allowed = entries(server.allowed_hosts(given_names))
    for name in [*given_names, "localhost", "127.0.0.1", "::1"]:
        host = f"[{name.strip('[]')}]" if ":" in name else name
        assert is_allowed_host_header(allowed, host)
        assert is_allowed_host_header(allowed, f"{host}:{port}")


@given(st.lists(names, max_size=3), names, ports)
def test_foreign_names_are_not(given_names, foreign, port):
    allowed = entries(server.allowed_hosts(given_names))
    if foreign not in {*given_names, "localhost", "127.0.0.1"}:
        assert not is_allowed_host_header(allowed, foreign)
        assert not is_allowed_host_header(allowed, f"{foreign}:{port}")
    for name in given_names:
        assert not is_allowed_host_header(allowed, f"{name}.evil.example")
        assert not is_allowed_host_header(allowed, f"evil.{name}.example:{port}")
    assert not is_allowed_host_header(allowed, "")
    assert not is_allowed_host_header(allowed, ":")


def test_brackets_are_no_set_of_characters():
    # As a pattern, `[::1]:*` is "one of : and 1, then a colon".
    assert not is_allowed_host_header(entries(server.allowed_hosts([])), "1:5000")


def entries(hosts):
    """As MLflow reads them from the variable."""
    return ",".join(hosts).split(",")


def test_patterns():
    allowed = server.allowed_hosts(["*.Example.com", "10.1.*"])
    assert is_allowed_host_header(list(allowed), "mlflow.example.com:8443")
    assert is_allowed_host_header(list(allowed), "10.1.200.7:5000")
    assert not is_allowed_host_header(list(allowed), "example.org")


def test_hosts_are_sorted_and_unique():
    hosts = server.allowed_hosts(["b", "a", "b", "LOCALHOST", "::1", "[::1]"])
    assert list(hosts) == sorted(set(hosts))
    assert hosts == server.allowed_hosts(["::1", "b", "a"])


@pytest.mark.parametrize("name", ["", "*", "**", "*.*", "a,b", "a b", "a:5000", "http://a", "[::1"])
def test_a_name_that_is_none_or_all_is_refused(name):
    with pytest.raises(ValueError, match="allowed host"):
        server.allowed_hosts([name])


def test_ready_asks_the_database_and_health_does_not(tmp_path, monkeypatch):
    """On the real routes: a table is taken away, and only READY_PATH notices."""
    uri = f"sqlite:////{tmp_path}/mlflow.db"
    # Another process: MLflow keeps its stores in module globals.
    program = f"""
import sqlalchemy
from mlflow.server import app, handlers
handlers.initialize_backend_stores({uri!r}, default_artifact_root={str(tmp_path)!r})
client = app.test_client()
ask = lambda: [client.get(path).status_code for path in ({server.HEALTH_PATH!r}, {server.READY_PATH!r})]
print(ask())
with sqlalchemy.create_engine({uri!r}).begin() as connection:
    connection.exec_driver_sql("ALTER TABLE experiments RENAME TO gone")
print(ask())
"""
    environment = {
        **os.environ,
        "_MLFLOW_SERVER_FILE_STORE": uri,
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    environment.pop("PYTEST_CURRENT_TEST", None)
    found = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    before, after = found.stdout.splitlines()[-2:]
    assert before == "[200, 200]"
    assert after.startswith("[200, ")
    assert int(after.removeprefix("[200, ").rstrip("]")) >= 400
