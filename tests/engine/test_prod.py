"""The prod stacks, driven by the real `pulumi` on the test provider: order, protection, secrets, no change where none is due.

Nothing here is about AWS: see toolchain/test_provider.
"""

import json
import re
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.engine.fake_aws import FakeAws
from tests.stacks.cloud import AWS, KUBERNETES, SENTINEL, merged
from tests.support import ROOT, Workspace, toolchain_environment

sys.path.insert(0, str(ROOT / "toolchain"))

from steps import providers
from steps.places import Places

pytestmark = pytest.mark.engine

DATABASE = {"database": {"engine": "postgresql", "version": "15"}}
STATEFUL = {
    "aws:backup/vault:Vault",
    "aws:kms/key:Key",
    "aws:rds/instance:Instance",
    "aws:s3/bucket:Bucket",
    "kubernetes:postgresql.cnpg.io/v1:Cluster",
}


@dataclass
class Prod:
    """A prod stack that is up, with what was done to it.

    Attributes:
        workspace: its project and state.
        tree: its settings.
        fake: what answers the components' own questions to AWS, and the log.
        env: variables for `pulumi`.
        taken: seconds of the first preview.
    """

    workspace: Workspace
    tree: dict
    fake: FakeAws
    env: dict
    taken: float = 0

    def pulumi(self, *words, ok=True):
        return self.workspace.pulumi(*words, ok=ok, **self.env)

    def up(self, *words, ok=True):
        return self.pulumi("up", "--yes", "--skip-preview", *words, ok=ok)

    @contextmanager
    def doing(self):
        """Collects what is done meanwhile: `what type name` in order."""
        before, done = len(self.fake.lines()), []
        yield done
        done += self.fake.lines()[before:]

    @contextmanager
    def settings(self, *trees):
        """Other settings for a while."""
        self.workspace.configure(plain(merged(self.tree, *trees)))
        self.secret()
        yield
        self.workspace.configure(plain(self.tree))
        self.secret()

    def secret(self):
        words = [f"mlflow:{key}={value}" for key, value in typed(self.tree).items()]
        self.pulumi("config", "set-all", *[part for one in words for part in ("--secret", one)])

    def state(self):
        return self.workspace.read("stack", "export")["deployment"].get("resources", [])


def typed(tree):
    return {key: text for key, text in tree.items() if str(text).startswith(SENTINEL)}


def plain(tree):
    return {key: value for key, value in tree.items() if key not in typed(tree)}


def at(done, what, name):
    """Where in the log something was done to a resource, or a task was run."""
    found = [
        number
        for number, line in enumerate(done)
        if line["what"] == what and re.search(name, line["name"])
    ]
    assert found, f"{what} {name} is not among {[(x['what'], x['name']) for x in done]}"
    return found[0]


@contextmanager
def brought_up(folder, tree, packages):
    log = folder / "log"
    log.touch()
    environment = {**toolchain_environment(), "PYTHONPATH": str(ROOT / "components")}
    places = Places(ROOT, Path(environment["PULUMI_MLFLOW_CACHE"]))
    with (
        FakeAws(log) as fake,
        providers.stand_in(
            places, environment, packages, words=("--apply", "--log", str(log))
        ) as attached,
    ):
        workspace = Workspace(folder / "project", "prod", plain(tree))
        env = {providers.ATTACH: attached[providers.ATTACH], **fake.environment}
        prod = Prod(workspace, tree, fake, env)
        prod.secret()
        started = time.monotonic()
        prod.pulumi("preview")
        prod.taken = time.monotonic() - started
        assert fake.lines() == []  # a preview makes nothing
        prod.up()
        yield prod
        prod.pulumi("state", "unprotect", "--all", "--yes")
        with prod.doing() as done:
            prod.pulumi("destroy", "--yes", "--skip-preview")
        assert prod.state() == []
        gone = {line["type"] for line in done if line["what"] == "delete"}
        assert gone & STATEFUL


@pytest.fixture(scope="module")
def fargate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fargate")
    with brought_up(folder, merged(AWS, DATABASE), ["aws"]) as prod:
        yield prod


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cluster")
    with brought_up(folder, merged(KUBERNETES, DATABASE), ["kubernetes"]) as prod:
        yield prod


@pytest.fixture(params=["fargate", "cluster"], scope="module")
def prod(request):
    return request.getfixturevalue(request.param)


def test_a_preview_takes_seconds(prod, record_property):
    record_property("preview_seconds", round(prod.taken, 1))
    print(f"preview: {prod.taken:.1f} s")
    assert prod.taken < 120  # a bound for hangs; the number is for a quiet machine


def test_what_holds_data_comes_first_then_migration_then_servers_then_the_door(fargate):
    done = fargate.fake.lines()
    instance = at(done, "create", "database-instance")
    task = at(done, "create", "tracking-migration-task")
    ran = at(done, "run", "tracking-migration")
    server = at(done, "create", "tracking-server-service")
    door = at(done, "create", "proxy-server-service")
    assert instance < task < ran < server < door
    assert at(done, "create", "artifacts-policy") < ran


def test_in_a_cluster_the_migrations_job_comes_before_the_servers(cluster):
    done = cluster.fake.lines()
    assert done[0]["type"].endswith(("Namespace", "NetworkPolicy"))
    policy = at(done, "create", "network-deny|network-default|network-policy")
    assert policy < at(done, "create", "database") < at(done, "create", "tracking-migration")
    assert at(done, "create", "tracking-migration") < at(done, "create", "tracking-deployment")
    assert at(done, "create", "tracking-deployment") < at(done, "create", "proxy-deployment")


def test_nothing_changes_where_nothing_is_due(prod):
    with prod.doing() as done:
        prod.pulumi("refresh", "--yes", "--skip-preview", "--expect-no-changes")
        prod.up("--expect-no-changes")
    assert done == []


def test_no_secret_is_plain_in_the_state_or_in_what_was_said(prod):
    state = json.dumps(prod.workspace.read("stack", "export"))
    shown = prod.workspace.read("stack", "export", "--show-secrets")["deployment"]["resources"]
    generated = [
        json.loads(value["plaintext"])
        for one in shown
        if one["type"].endswith("GeneratedSecret")
        and isinstance(value := one["outputs"].get("value"), dict)
    ]
    assert generated
    said = prod.workspace.log.read_text()
    logged = prod.fake.log.read_text()
    for secret in (*typed(prod.tree).values(), *generated):
        commands = said.replace(f"={secret}", "")  # what this test itself has typed
        assert secret not in state
        assert secret not in commands
        assert secret not in logged


def test_a_larger_server_is_rolled_out_after_its_migration_and_touches_no_data(fargate):
    with fargate.settings({"tracking": {"memory_mb": 8192}}):
        fargate.fake.exit_code = 1
        with fargate.doing() as done:
            said = fargate.up(ok=False)
        assert 'relation "runs" does not exist' in said
        assert not [line for line in done if line["name"] == "tracking-server-service"]
        fargate.fake.exit_code = 0
        with fargate.doing() as healed:
            fargate.up()
    everything = [*done, *healed]
    assert at(everything, "create", "tracking-server-task") < at(
        everything, "update", "tracking-server-service"
    )
    assert at(healed, "run", "tracking-migration") < at(healed, "update", "tracking-server-service")
    assert not [x for x in everything if x["what"] == "delete" and x["type"] in STATEFUL]
    assert not [x for x in everything if x["what"] == "create" and x["type"] in STATEFUL]


def test_a_larger_server_in_a_cluster_has_another_migration_and_touches_no_data(cluster):
    with cluster.settings({"tracking": {"memory_mb": 8192}}), cluster.doing() as done:
        cluster.up()
    assert at(done, "update", "tracking-deployment")
    assert not [x for x in done if x["type"] in STATEFUL]


def test_what_holds_data_is_not_destroyed(prod):
    with prod.doing() as done:
        said = prod.pulumi("destroy", "--yes", "--skip-preview", ok=False)
    assert "protected" in said
    assert done == []  # not even what is not protected
    assert {one["type"] for one in prod.state() if one.get("protect")} & STATEFUL


def test_another_bucket_is_refused(fargate):
    with fargate.settings({"artifacts": {"bucket": "another-of-corp"}}), fargate.doing() as done:
        said = fargate.up(ok=False)
    assert "artifacts-of-corp" in said
    assert not [line for line in done if line["type"] in STATEFUL]


def test_wrong_settings_register_nothing(prod):
    with prod.settings({"database": {"engine": "oracle"}}), prod.doing() as done:
        said = prod.up(ok=False)
    assert "mlflow:database.engine" in said or "database.engine" in said
    assert done == []


def test_the_test_provider_makes_nothing_by_itself(fargate):
    """As `make preview` starts it, an `up` fails at its first resource."""
    environment = toolchain_environment()
    places = Places(ROOT, Path(environment["PULUMI_MLFLOW_CACHE"]))
    with providers.stand_in(places, environment, ["aws"]) as attached:
        kept = dict(fargate.env)
        fargate.env[providers.ATTACH] = attached[providers.ATTACH]
        with fargate.settings({"tracking": {"memory_mb": 8192}}), fargate.doing() as done:
            fargate.env[providers.ATTACH] = attached[providers.ATTACH]
            said = fargate.up(ok=False)
        fargate.env |= kept
    assert "this is the test provider, which makes nothing" in said
    assert done == []
