"""The files that give MLflow users of its own, read as MLflow reads them."""

import configparser
import json

import pytest

from pulumi_mlflow.core import auth, server

URI = "postgresql+psycopg2://mlflow:p%40ss%2Fword@db:5432/mlflow"
GIVEN = {
    "database_uri": URI,
    "admin_password": "100%-secret",
    "session_key": "session",
    "proxy_secret": "pr0xy-s3cret",
    "folder": "/run/files",
    "modules": "/opt/modules",
}


def files(mode="mlflow", **settings):
    return auth.files(auth.AuthSettings(mode, **settings), **GIVEN)


def ini(found):
    config = configparser.ConfigParser()  # as mlflow/server/auth/config.py
    config.read_string(found[auth.MLFLOW_FILE])
    return config["mlflow"]


def test_mlflow_reads_what_was_written():
    options = ini(files(default="NO_PERMISSIONS"))
    assert options["database_uri"] == URI
    assert options["admin_password"] == "100%-secret"
    assert options["admin_username"] == auth.ADMIN
    assert options["default_permission"] == "NO_PERMISSIONS"
    assert "authorization_function" not in options


def test_everybody_may_read_unless_told_otherwise():
    assert ini(files())["default_permission"] == "READ"


@pytest.mark.parametrize("mode", auth.MODES)
def test_names_are_known_before_the_secrets(mode):
    assert set(auth.file_names(mode)) == set(files(mode))
    assert auth.file_names("none") == ()


def test_proxy_is_believed_in_one_mode_only():
    found = files("oidc-mlflow", groups={"data: scientists": "EDIT"}, admin_groups=["b", "a"])
    assert ini(found)["authorization_function"] == "proxy_auth:authenticate"
    assert found["env/PYTHONPATH"] == "/opt/modules"
    assert found["env/PROXY_AUTH_CONFIG"] == f"/run/files/{auth.PROXY_FILE}"
    assert json.loads(found[auth.PROXY_FILE]) == {
        "proxy_secret": "pr0xy-s3cret",
        "admin_username": "admin",
        "admin_groups": ["a", "b"],
        "groups": {"data: scientists": "EDIT"},
    }
    assert "pr0xy-s3cret" not in "".join(files("mlflow").values())


def test_variables_name_no_secret_but_the_session_key():
    found = files("oidc-mlflow")
    values = {name: value for name, value in found.items() if name.startswith("env/")}
    assert values.pop("env/MLFLOW_FLASK_SERVER_SECRET_KEY") == "session"
    assert not any(secret in "".join(values.values()) for secret in ("100%", "p%40", "pr0xy"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"mode": "basic"}, "auth: must be one of mlflow, oidc-mlflow (got 'basic')"),
        ({"default": "read"}, "permissions.default: must be one of"),
        ({"default": "DENY"}, "permissions.default"),
        ({"mode": "oidc-mlflow", "groups": {"a": "ADMIN"}}, "permissions.groups.a: must be one of"),
        ({"mode": "oidc-mlflow", "admin_groups": [" "]}, "group: must not be empty"),
        ({"groups": {"a": "READ"}}, "use auth 'oidc-mlflow'"),
        ({"admin_groups": ["a"]}, "use auth 'oidc-mlflow'"),
    ],
)
def test_wrong_settings_are_refused(settings, words):
    with pytest.raises(ValueError) as refused:
        auth.AuthSettings(**{"mode": "mlflow", **settings})
    assert words in str(refused.value)


def test_server_asks_for_logins_only_if_told():
    settings = {
        "host": "127.0.0.1",
        "port": 5000,
        "workers": 2,
        "allowed_hosts": (),
        "artifacts_destination": "/a",
        "pool_size": 5,
        "max_overflow": 5,
        "scratch_dir": "/s",
    }
    assert "--app-name" not in server.server_argv(server.ServerSettings(**settings))
    argv = server.server_argv(server.ServerSettings(**settings, own_users=True))
    assert argv[argv.index("--app-name") + 1] == "basic-auth"
