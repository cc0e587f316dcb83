"""A stack whose users are MLflow's own: PostgreSQL, the server's real command line, nginx, and the commands for users."""

import json

import pytest
import requests
from tests.docker.stack import DockerStack, dev_settings, left

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

SEARCH = "/api/2.0/mlflow/experiments/search?max_results=1"
ARTIFACT = "/api/2.0/mlflow-artifacts/artifacts/{}/run/artifacts/file"
FORGED = {"X-Mlflow-User": "admin", "X-Mlflow-Groups": "ml-admins", "X_Mlflow_User": "admin"}


@pytest.fixture
def stack(client, tmp_path):
    settings = {**dev_settings(auth="mlflow"), "artifacts": {"store": "folder"}}
    settings["access"].pop("username", None)
    made = DockerStack(client, tmp_path / "project", settings)
    try:
        yield made
    finally:
        made.close()
        assert left(client, made.deployment) == {}


def test_own_users_of_a_stack(stack):
    stack.up()
    admin = ("admin", stack.outputs()["password"])

    def ask(method: str, path: str, login: tuple[str, str] | None, **sent) -> requests.Response:
        return requests.request(method, stack.url + path, auth=login, timeout=30, **sent)

    def users(*arguments: str) -> str:
        return stack.run("pulumi-mlflow", "users", *arguments, "--stack", stack.stack)

    # Nobody comes in without a login, nor by saying who they are.
    for path in ("/", SEARCH, ARTIFACT.format(1), "/ajax-api/3.0/mlflow/server-info", "/graphql"):
        for headers in ({}, FORGED, {**FORGED, "X-Mlflow-Proxy-Secret": "guessed"}):
            assert ask("GET", path, None, headers=headers).status_code == 401, path
        assert ask("GET", path, ("admin", "wrong"), headers=FORGED).status_code == 401, path
    made = ask("POST", "/api/2.0/mlflow/experiments/create", admin, json={"name": "shared"})
    experiment = made.json()["experiment_id"]

    # Somebody new reads; may write once that is said.
    password = users("add", "ada", "--show").splitlines()[-1]
    ada = ("ada", password)
    run = {"experiment_id": experiment}
    assert ask("GET", SEARCH, ada).status_code == 200
    assert ask("POST", "/api/2.0/mlflow/runs/create", ada, json=run).status_code == 403
    assert ask("PUT", ARTIFACT.format(experiment), ada, data=b"x").status_code == 403
    users("permit", "ada", "shared", "EDIT")
    assert ask("POST", "/api/2.0/mlflow/runs/create", ada, json=run).status_code == 200
    assert ask("PUT", ARTIFACT.format(experiment), ada, data=b"x").status_code == 200
    users("permit", "ada", "shared", "NO_PERMISSIONS")
    assert ask("POST", "/api/2.0/mlflow/runs/create", ada, json=run).status_code == 403

    # Their secrets are files of the server alone.
    tracking = stack.container("tracking")
    secrets = [admin[1], *_secrets(stack, "tracking-session", "tracking-proxy-secret")]
    seen = json.dumps(tracking.attrs) + stack.execute(
        "tracking", "sh", "-c", "cat /proc/[0-9]*/cmdline"
    )
    assert not [secret for secret in secrets if secret in seen + stack.log.read_text()]

    # A new password of the administrator is one of the stack's state, and comes with up.
    users("rotate", "admin", "--output", str(stack.folder / "password"))
    new = ("admin", stack.outputs()["password"])
    assert new[1] == (stack.folder / "password").read_text().strip() != admin[1]
    assert ask("GET", SEARCH, new).status_code == 200
    assert ask("GET", SEARCH, admin).status_code == 401
    assert ask("GET", SEARCH, ada).status_code == 200
    users("remove", "ada")
    assert "ada" not in users("list")
    stack.unchanged()


def _secrets(stack: DockerStack, *names: str) -> list[str]:
    resources = stack.read("stack", "export", "--show-secrets")["deployment"]["resources"]
    found = {r["urn"].rpartition("::")[2]: r.get("outputs", {}).get("value") for r in resources}
    return [json.loads(found[name]["plaintext"]) for name in names]
