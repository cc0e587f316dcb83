"""A prod stack that the real `pulumi` brings up on the test provider, and what holds for each of them.

Nothing here is about AWS: see toolchain/test_provider.
"""

import json
import re
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from tests.engine.fake_aws import FakeAws
from tests.engine.fake_kube import FakeKube
from tests.stacks.cloud import SENTINEL, merged
from tests.support import ROOT, Workspace, toolchain_environment

sys.path.insert(0, str(ROOT / "toolchain"))

from steps import providers
from steps.places import Places

DATABASE = {"database": {"engine": "postgresql", "version": "15"}}
STATEFUL = {
    "aws:backup/vault:Vault",
    "aws:eks/cluster:Cluster",
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
        kube: what answers those to a cluster.
        env: variables for `pulumi`.
        taken: seconds of the first preview.
    """

    workspace: Workspace
    tree: dict
    fake: FakeAws
    kube: FakeKube
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
        """Other settings for a while; the secrets, which are encrypted in the file, stay."""
        file = self.workspace.file
        usual = file.read_text()
        content = yaml.safe_load(usual)
        others = {f"mlflow:{k}": v for k, v in plain(merged(self.tree, *trees)).items()}
        file.write_text(yaml.safe_dump({**content, "config": {**content["config"], **others}}))
        yield
        file.write_text(usual)

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


def made_in_order(done, *names):
    """What is named so was made, one after the other."""
    places = [at(done, "create", name) for name in names]
    assert places == sorted(places)


@contextmanager
def brought_up(folder, tree, packages, uid=lambda _body: "", **variables):
    """A stack of these settings.

    Args:
        folder: an empty one, for project, state and log.
        tree: its settings.
        packages: of Pulumi, that the test provider stands in for.
        uid: of an object in the API server, if there is one.
        variables: of the test provider.
    """
    log = folder / "log"
    log.touch()
    environment = {**toolchain_environment(), "PYTHONPATH": str(ROOT / "components"), **variables}
    places = Places(ROOT, Path(environment["PULUMI_MLFLOW_CACHE"]))
    with (
        FakeAws(log) as fake,
        FakeKube(log, uid) as kube,
        providers.stand_in(
            places, environment, packages, words=("--apply", "--log", str(log))
        ) as attached,
    ):
        workspace = Workspace(folder / "project", "prod", plain(tree))
        env = {
            providers.ATTACH: attached[providers.ATTACH],
            **fake.environment,
            **kube.environment,
        }
        prod = Prod(workspace, tree, fake, kube, env)
        words = [f"mlflow:{key}={value}" for key, value in typed(tree).items()]
        prod.pulumi("config", "set-all", *[part for one in words for part in ("--secret", one)])
        started = time.monotonic()
        prod.pulumi("preview")
        prod.taken = time.monotonic() - started
        assert fake.lines() == []  # a preview makes nothing
        prod.up()
        yield prod


def takes_seconds(prod, record_property):
    record_property("preview_seconds", round(prod.taken, 1))
    print(f"preview: {prod.taken:.1f} s")
    assert prod.taken < 120  # a bound for hangs: machines are busy. It is below 15 s on a quiet one


def stays_as_it_is(prod):
    with prod.doing() as done:
        prod.pulumi("refresh", "--yes", "--skip-preview", "--expect-no-changes")
        prod.up("--expect-no-changes")
    assert done == []


def keeps_secrets(prod):
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
        assert secret not in state
        assert secret not in said.replace(f"={secret}", "")  # what this test itself has typed
        assert secret not in logged


def registers_nothing_of_wrong_settings(prod):
    with prod.settings({"database": {"engine": "oracle"}}), prod.doing() as done:
        said = prod.up(ok=False)
    assert "database.engine" in said
    assert done == []


def keeps_its_data(prod):
    """A plain destroy takes servers away, which are made again, and fails at the first thing that holds data."""
    with prod.doing() as done:
        said = prod.pulumi("destroy", "--yes", "--skip-preview", ok=False)
    assert "protected" in said
    assert [line for line in done if line["type"] in STATEFUL] == []
    left = prod.state()
    assert {one["type"] for one in left if one.get("protect")} & STATEFUL
    prod.pulumi("state", "unprotect", "--all", "--yes")
    with prod.doing() as done:
        prod.pulumi("destroy", "--yes", "--skip-preview")
    assert prod.state() == []
    assert {line["type"] for line in done} & STATEFUL
