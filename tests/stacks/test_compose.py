"""The local and docker stacks as composed from the real YAML files, under mocks; the cloud's are in test_prod.py."""

import json
from collections import Counter
from pathlib import Path

import pulumi
import pytest
import yaml
from pulumi.runtime.mocks import MockCallArgs, MockResourceArgs, Mocks
from pulumi.runtime.stack import run_pulumi_func
from tests.support import opened, program_loop, settled

from compose import compose
from settings import load

ROOT = Path(__file__).resolve().parents[2]


def generated(name):
    """How the value of a generated secret starts here: letters only, as real ones have no signs either."""
    return f"{name}value".replace("-", "")


class Recorder(Mocks):
    """Remembers all that was registered; outputs are the inputs, with what a provider would add."""

    def __init__(self):
        self.seen = []

    def new_resource(self, args: MockResourceArgs):
        self.seen.append(args)
        added = {}
        if args.typ.endswith("GeneratedSecret"):
            added["value"] = generated(args.name).ljust(int(args.inputs["length"]), "0")
        added |= {"image_id": f"sha256:{args.name}", "volume": f"{args.name}-volume"}
        return f"{args.name}-id", {**args.inputs, **added}

    def call(self, _args: MockCallArgs):
        return {}


def raw(stack):
    config = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())["config"]
    return {
        key.removeprefix("mlflow:"): value if isinstance(value, str) else json.dumps(value)
        for key, value in config.items()
    }


def composed(stack, changes=None, typed=()):
    """Resources, exports and secret exports of a stack; values that start with `typed` are encrypted in its file."""
    given = {**raw(stack), **(changes or {})}
    secret = [key for key, text in given.items() if text.startswith(tuple(typed))]
    settings = load(stack, given, root=ROOT, secret_keys=secret)
    recorder = Recorder()
    exports = {}

    async def program():
        pulumi.runtime.mocks.set_mocks(recorder, project="mlflow", stack=stack, preview=False)
        compose(settings)
        await settled()

    async def resolved(output):
        return await output.future(), await output.is_secret()

    with program_loop() as loop, pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "pulumi.export",
            lambda name, value: exports.__setitem__(name, pulumi.Output.from_input(value)),
        )
        loop.run_until_complete(run_pulumi_func(program))
        known = {name: loop.run_until_complete(resolved(out)) for name, out in exports.items()}
    return recorder.seen, known


@pytest.fixture(scope="module", autouse=True)
def ingredients(tmp_path_factory):
    """What set-up makes for built images; the tests read only names and sizes."""
    cache = tmp_path_factory.mktemp("cache")
    (cache / "images").mkdir()
    for name in ("rootfs-test.tar", "versitygw-test", "oauth2-proxy-test", "minio-test"):
        (cache / "images" / name).write_text("x")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PULUMI_MLFLOW_CACHE", str(cache))
        yield


@pytest.fixture(scope="module", params=["registry", "build"])
def dev(request, ingredients):
    return composed("dev", {"images": request.param})


@pytest.fixture(scope="module")
def local():
    return composed("local")


def kinds(seen):
    return Counter(item.typ.rsplit(":", 1)[1] for item in seen)


def only(seen, name):
    [found] = [item for item in seen if item.name == name]
    return found


def test_local_is_three_components_and_no_docker(local):
    seen, exports = local
    assert kinds(seen) >= Counter(LocalDatabase=1, LocalArtifactStore=1, LocalTrackingServer=1)
    assert not [item for item in seen if item.typ.startswith("docker:")]
    assert exports["tracking_uri"][0] == "http://127.0.0.1:5000"
    assert exports["auth_mode"][0] == "none"


def test_dev_is_six_components_on_one_network(dev):
    seen, exports = dev
    found = kinds(seen)
    for name in ("Images", "Network", "Database", "ArtifactStore", "TrackingServer", "AuthProxy"):
        assert found[f"Docker{name}"] == 1
    assert found["Network"] == 1
    assert exports["runtime"][0] == "docker"


def containers(seen):
    return [item for item in seen if item.typ == "docker:index/container:Container"]


def test_every_container_is_hardened(dev):
    found = containers(dev[0])
    assert len(found) == 4
    for item in found:
        inputs = item.inputs
        assert inputs["readOnly"] is True
        assert inputs["capabilities"] == {"drops": ["ALL"]}
        assert inputs["securityOpts"] == ["no-new-privileges:true"]
        assert inputs["user"].split(":")[0] not in ("", "0", "root")
        assert inputs["memory"] == inputs["memorySwap"] > 0
        assert inputs["restart"] == "unless-stopped"
        assert inputs["healthcheck"]["tests"][0] == "CMD"
        assert inputs["logOpts"]["max-size"]
        assert {"label": "pulumi-mlflow/deployment", "value": "mlflow-dev"} in inputs["labels"]


def test_only_the_proxy_publishes_a_port_on_loopback(dev):
    published = {item.name: item.inputs.get("ports") for item in containers(dev[0])}
    [(name, ports)] = [(name, ports) for name, ports in published.items() if ports]
    assert name == "proxy-container"
    assert ports == [{"internal": 8080, "external": 5001, "ip": "127.0.0.1"}]


def test_every_container_waits_for_its_health(dev):
    found = kinds(dev[0])
    assert found["DockerHealthy"] == len(containers(dev[0]))


def test_no_secret_stands_in_a_container(dev):
    seen, _ = dev
    secrets = {generated(item.name) for item in seen if item.typ.endswith("GeneratedSecret")}
    assert len(secrets) > 6
    for item in containers(seen):
        text = json.dumps(item.inputs)
        assert not [value for value in secrets if value in text]


def test_the_files_with_secrets_are_secret(dev):
    for item in dev[0]:
        if item.typ.endswith("DockerFiles"):
            assert set(item.inputs["files"]) != set(opened(item.inputs["files"])), "not wrapped"


def test_secrets_reach_the_containers_by_files(dev):
    seen, _ = dev
    files = {
        item.name: opened(item.inputs["files"]) for item in seen if item.typ.endswith("DockerFiles")
    }
    assert generated("database-password") in json.dumps(files["tracking-files"])
    assert generated("tracking-kek") in json.dumps(files["tracking-files"])
    assert files["database-files"]["password"].startswith(generated("database-password"))


def test_data_and_its_secrets_have_names_that_carry_the_stack(dev):
    volumes = {item.inputs["name"] for item in dev[0] if item.typ == "docker:index/volume:Volume"}
    assert volumes == {
        "mlflow-dev-database-postgresql-15",
        "mlflow-dev-artifacts-versitygw",
        "mlflow-dev-tracking-scratch",
    }


def test_the_password_is_a_secret_output(dev):
    _, exports = dev
    assert exports["password"][1] is True
    # One secret inside makes a whole output secret: people could not read the URL.
    assert [name for name, (_, secret) in exports.items() if secret] == ["password"]


def test_migration_and_bucket_come_before_the_server(dev):
    seen, _ = dev
    jobs = {
        item.name: item.inputs["command"][-1] for item in seen if item.typ.endswith("DockerJob")
    }
    assert jobs == {"artifacts-bucket": "bucket", "tracking-migration": "migrate"}
    order = [item.name for item in seen]
    assert order.index("artifacts-bucket") < order.index("tracking-container")
    assert order.index("tracking-migration") < order.index("tracking-container")
    assert order.index("tracking-healthy") < order.index("proxy-container")


def test_official_images_are_pinned(ingredients):
    seen, _ = composed("dev", {"images": "registry"})
    pulled = [item.inputs["name"] for item in seen if item.typ.endswith("RemoteImage")]
    assert len(pulled) == 2
    assert all(":" in name and not name.endswith(":latest") for name in pulled)


def test_without_login_nothing_but_loopback(ingredients):
    seen, exports = composed("dev", {"images": "build", "access": json.dumps({"auth": "none"})})
    assert "password" not in exports
    conf = opened(only(seen, "proxy-files").inputs["files"])
    assert "auth_basic off" in conf["nginx.conf"]
    assert set(conf) == {"nginx.conf", "health.sh"}


EXISTING_DATABASE = {
    "database": {"existing": {"host": "db.corp.example", "tls_mode": "require"}},
    "database_password": "typed-database",
}
EXISTING_BUCKET = {
    "artifacts": {
        "store": "s3",
        "bucket": "team",
        "existing": {"endpoint_url": "https://s3.corp.example"},
    },
    "artifacts_access_key": "typed-access",
    "artifacts_secret_key": "typed-secret",
}
PROVIDER = {"issuer": "https://sso.corp.example", "client_id": "mlflow"}
OIDC = {"oidc_client_secret": "typed-client"}
DATABASES = {
    "postgresql": {},
    "pgbouncer": {"database": {"pgbouncer": True}},
    "mysql": {"database": {"engine": "mysql"}},
    "mariadb": {"database": {"engine": "mariadb"}},
    "sqlite": {"database": {"engine": "sqlite"}},
    "existing": EXISTING_DATABASE,
}
STORES = {
    "versitygw": {},
    "direct": {"artifacts": {"mode": "direct"}},
    "multipart": {"artifacts": {"multipart": True, "public_url": "http://172.17.0.1:9000"}},
    "minio": {"artifacts": {"store": "minio", "expire_multipart_days": 7}},
    "folder": {"artifacts": {"store": "folder"}},
    "nfs": {"artifacts": {"store": "folder", "nfs": {"server": "nas.corp.example", "path": "/x"}}},
    "s3": EXISTING_BUCKET,
    "gcs": {"artifacts": {"store": "gcs", "uri": "gs://team/mlflow"}},
    "azure": {
        "artifacts": {"store": "azure", "uri": "abfss://c@account.dfs.core.windows.net/mlflow"}
    },
}
LOGINS = {
    "none": {"access": {"auth": "none"}},
    "basic": {"access": {"users": ["ada"], "tls": "self-signed"}},
    "mlflow": {"access": {"auth": "mlflow"}},
    "oidc": {"access": {"auth": "oidc", "oidc": PROVIDER}, **OIDC},
    "oidc-mlflow": {
        "access": {
            "auth": "oidc-mlflow",
            "oidc": {**PROVIDER, "admin_groups": ["admins"]},
            "permissions": {"default": "READ", "groups": {"team": "EDIT"}},
        },
        **OIDC,
    },
}


def combined(*parts):
    """The settings of several tables together, as text."""
    found = {}
    for part in parts:
        for key, value in part.items():
            found[key] = {**found.get(key, {}), **value} if isinstance(value, dict) else value
    return {k: v if isinstance(v, str) else json.dumps(v) for k, v in found.items()}


CELLS = {
    *((database, "versitygw", "basic") for database in DATABASES),
    *(("postgresql", store, "basic") for store in STORES),
    *(("postgresql", "versitygw", login) for login in LOGINS),
    *(("sqlite", "folder", login) for login in LOGINS),
}


@pytest.mark.parametrize(("database", "store", "login"), sorted(CELLS))
def test_every_choice_composes_and_keeps_its_secrets(database, store, login, ingredients):
    changes = combined({"images": "registry"}, DATABASES[database], STORES[store], LOGINS[login])

    seen, exports = composed("dev", changes, typed=("typed-",))

    assert exports["auth_mode"][0] == login
    assert {item.name.removesuffix("-container") for item in containers(seen)} >= {
        "tracking",
        "proxy",
    }
    secrets = {generated(item.name) for item in seen if item.typ.endswith("GeneratedSecret")}
    secrets |= {text for text in changes.values() if text.startswith("typed-")}
    for item in seen:
        if not item.typ.endswith(("GeneratedSecret", "DockerFiles")):
            text = json.dumps(item.inputs, default=str)
            assert not [value for value in secrets if value in text], item.name
    public = {name: value for name, (value, secret) in exports.items() if not secret}
    assert not [value for value in secrets if value in json.dumps(public, default=str)]
