"""Logins and public names of compose files: labels, Caddy, plugins."""

import pytest
import yaml
from tests.core.compose_projects import lines

from pulumi_mlflow.core.compose import file as compose_file
from pulumi_mlflow.core.compose import mapping


@pytest.mark.parametrize(
    ("labels", "files", "users", "hosts"),
    [
        (["traefik.http.routers.m.rule=Host(`a.org`) && PathPrefix(`/`)"], {}, None, ["a.org"]),
        (["traefik.http.routers.m.rule=Host(`a.org`) || Host(`b.org`)"], {}, None, ["a.org", "b.org"]),
        (["traefik.http.routers.m.middlewares=x,l@docker", "traefik.http.middlewares.l.basicauth.users=ada:$$a$$b,eve:c"],
         {}, ["ada", "eve"], None),
        (["traefik.http.routers.m.middlewares=l", "traefik.http.middlewares.l.basicAuth.usersFile=/users"],
         {"users.txt": "ada:x\n# no\neve:y\n"}, ["ada", "eve"], None),
        (["traefik.http.middlewares.l.basicauth.users=ada:x"], {}, None, None),  # nothing uses it
        (["caddy=a.org", "caddy.basic_auth.ada=hash"], {}, ["ada"], ["a.org"]),
    ],
)  # fmt: skip
def test_logins_and_names_in_labels(labels, files, users, hosts):
    tree = {
        "services": {
            "proxy": {"image": "traefik", "volumes": ["./users.txt:/users"]},
            "m": {"image": "mlflow", "command": "mlflow server", "labels": labels},
        }
    }
    read = lambda path: files.get(path.removeprefix("./"))  # noqa: E731
    file = compose_file.parse(yaml.safe_dump(tree), read, {})
    access = mapping.map_file(file, read, "/").settings["access"]
    assert access.get("hosts") == hosts
    found = [access[k] for k in ("username",) if k in access] + access.get("users", [])
    assert (found or None) == users


def test_a_caddyfile_has_names_and_users():
    text = "ml.example.org, www.example.org {\n  basic_auth {\n    ada hash\n    eve hash\n  }\n  reverse_proxy m:5000\n}\n"
    tree = {
        "services": {
            "caddy": {"image": "caddy", "volumes": ["./Caddyfile:/etc/caddy/Caddyfile"], "ports": ["443:443"]},
            "m": {"image": "mlflow", "command": "mlflow server"},
        }
    }  # fmt: skip
    read = {"./Caddyfile": text}.get
    file = compose_file.parse(yaml.safe_dump(tree), read, {})
    access = mapping.map_file(file, read, "/").settings["access"]
    assert (access["username"], access["users"]) == ("ada", ["eve"])
    assert access["hosts"] == ["ml.example.org", "www.example.org"]


def test_the_oidc_plugins_own_defaults_are_known():
    text = """
services:
  m:
    image: mlflow
    command: mlflow server --app-name oidc-auth
    environment: {OIDC_DISCOVERY_URL: 'https://id.example.org/.well-known/openid-configuration', OIDC_CLIENT_ID: c}
"""
    file = compose_file.parse(text, lambda _path: None, {})
    found = mapping.map_file(file, lambda _path: None, "/")
    access = found.settings["access"]
    assert access["auth"] == "oidc-mlflow"
    assert access["oidc"]["admin_groups"] == ["mlflow-admin"]
    assert access["oidc"]["allowed_groups"] == ["mlflow", "mlflow-admin"]
    # Everybody may manage everything there; that is not taken without a word.
    assert "permissions" not in access
    assert "without DEFAULT_MLFLOW_PERMISSION the plugin lets everybody manage all" in lines(found)


def test_a_permission_of_mlflows_own_users_is_taken():
    tree = {
        "services": {
            "m": {
                "image": "mlflow",
                "command": "mlflow server --app-name basic-auth",
                "environment": {"MLFLOW_AUTH_CONFIG_PATH": "/auth.ini"},
                "volumes": ["./auth.ini:/auth.ini"],
            }
        }
    }
    read = {"./auth.ini": "[mlflow]\ndefault_permission = NO_PERMISSIONS\n"}.get
    file = compose_file.parse(yaml.safe_dump(tree), read, {})
    access = mapping.map_file(file, read, "/").settings["access"]
    assert access == {"auth": "mlflow", "permissions": {"default": "NO_PERMISSIONS"}}
