"""Ways to log in, changed by `up`: the component in a program of one's own."""

import base64
from pathlib import Path

import pytest
import requests
from tests.docker.builds import used
from tests.docker.door import gateway, serving
from tests.docker.identity import issuer, log_in
from tests.docker.stack import left, new_name, sweep
from tests.support import Workspace, free_port

from pulumi_mlflow.contracts import TrackingEndpoint
from pulumi_mlflow.core import proxy
from pulumi_mlflow.docker.proxy import DockerAuthProxyArgs, _check

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

PROGRAM = Path(__file__).parent / "program_door"


def test_each_mode_is_one_up_away(client, tmp_path):
    """basic → oidc with TLS → mlflow → none. Each time a second look proposes nothing, and logins stay as they were."""
    name = new_name()
    here = gateway(client.networks.get("bridge"))
    with serving(here) as behind, issuer(here) as provider:
        args = {
            "image": used(client, "nginx"),
            "oidc_image": used(client, "oauth2-proxy"),
            "port": free_port(),
            "users": ["grace", "linus"],
            "oidc": {
                "issuer": provider.url,
                "client_id": "mlflow",
            },
            "rate_limit": 200,
        }
        config = {
            "deployment": name,
            "behind": f"http://{here}:{behind.port}",
            "demanded": "none",
        }
        workspace = Workspace(tmp_path / "program", name, {**config, "args": args}, PROGRAM)

        secret = {"DOOR_CLIENT_SECRET": "sentinel-client-secret"}

        def up(auth, demanded="none", **changes):
            changed = {**config, "demanded": demanded, "args": {**args, "auth": auth, **changes}}
            workspace.configure(changed)
            workspace.pulumi("up", "--yes", "--skip-preview", "--refresh=false", **secret)
            workspace.pulumi("preview", "--refresh", "--expect-no-changes", "--diff", **secret)
            return workspace.read("stack", "output", "--json", "--show-secrets")

        def ask(url, login=None, **options):
            return requests.get(f"{url}/api/x", auth=login, timeout=10, **options).status_code

        try:
            found = up("basic")
            passwords = found["passwords"]
            assert set(passwords) == {"mlflow", "grace", "linus"}
            assert len(set(passwords.values())) == 3
            assert [ask(found["url"], login) for login in passwords.items()] == [200, 200, 200]
            assert ask(found["url"]) == 401
            containers = left(client, name)["containers"]

            found = up("oidc", self_signed=True)
            (tmp_path / "ca.pem").write_text(found["ca"])
            session, ca = requests.Session(), str(tmp_path / "ca.pem")
            assert found["url"].startswith("https://")
            assert log_in(session, found["url"], verify=ca)[-1].status_code == 200
            assert all(cookie.secure for cookie in session.cookies)
            assert ask(found["url"], verify=ca) == 401
            assert ask(found["url"], ("mlflow", passwords["mlflow"]), verify=ca) == 401
            for container in left(client, name)["containers"]:
                inspected = str(client.api.inspect_container(container))
                assert "sentinel-client-secret" not in inspected
                assert passwords["mlflow"] not in inspected
            plain = workspace.run("pulumi", "stack", "export", "-s", name)
            for known in ("PRIVATE KEY", "sentinel-client-secret", *passwords.values(), "S" * 32):
                assert known not in plain

            behind.login = "Basic " + base64.b64encode(b"admin:theirs").decode()
            found = up("mlflow", demanded="mlflow")
            assert left(client, name)["containers"] == containers, "the login service is gone"
            assert ask(found["url"], ("admin", "theirs")) == 200
            assert ask(found["url"], ("mlflow", passwords["mlflow"])) == 401

            behind.login = ""
            found = up("none", users=["grace"])
            assert found["passwords"] == {}
            assert ask(found["url"]) == 200
            state = workspace.read("stack", "export", "--show-secrets")["deployment"]["resources"]
            kept = {r["urn"].rpartition("::")[2]: r for r in state}
            assert (
                kept["proxy-login"]["outputs"]["value"]["plaintext"].strip('"')
                == (passwords["mlflow"])
            )
            assert "proxy-login-grace" in kept
            assert "proxy-login-linus" not in kept
            assert all(kept[f"proxy-{what}"]["protect"] for what in ("session", "certificate"))
        finally:
            workspace.run("pulumi", "state", "unprotect", "--all", "--yes", "-s", name)
            workspace.pulumi("destroy", "--yes", "--skip-preview")
            remaining = left(client, name)
            sweep(client, name)
        assert remaining == {}


def door_args(demanded="none", **changes):
    tracking = TrackingEndpoint(component="tracking", auth_mode=demanded)
    return DockerAuthProxyArgs(tracking=tracking, **changes)


@pytest.mark.parametrize(
    ("auth", "args", "message"),
    [
        ("mlflow", door_args(), r"proxy: auth 'mlflow' needs a server .*tracking has 'none'"),
        ("oidc-mlflow", door_args("mlflow"), "needs a server with auth 'oidc-mlflow'"),
        ("basic", door_args("mlflow"), "needs a server with auth 'none'"),
        ("none", door_args("oidc-mlflow"), "needs a server with auth 'none'"),
        ("oidc-mlflow", door_args("oidc-mlflow"), "proxy_secret of tracking"),
        ("basic", door_args(users=["ada", "mlflow"]), "twice .got mlflow"),
        ("basic", door_args(tls={"certificate": "", "key": ""}, self_signed=True), "give one"),
        ("none", door_args(bind="10.0.0.1"), "loopback only .bind is '10.0.0.1'"),
    ],
)
def test_what_nobody_or_everybody_could_pass_is_refused(auth, args, message):
    from pulumi_mlflow.contracts import AuthMode

    assert auth in proxy.MODES
    with pytest.raises(ValueError, match=message):
        _check("proxy", AuthMode(auth), args.get("bind", "127.0.0.1"), args)
