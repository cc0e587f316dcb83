"""Stacks in a cloud without an account: the test provider's own answers, and when set-up uses it."""

import contextlib
import json
import subprocess
import sys

import pytest
import requests
from pulumi.runtime import rpc
from pulumi.runtime.proto import provider_pb2
from tests.support import ROOT

sys.path.insert(0, str(ROOT / "toolchain"))

import setup as cli
from steps import providers
from steps.console import Console, SetupError
from steps.environment import Environment
from steps.places import Places
from test_provider import aws, kube, provider, values

URN = "urn:pulumi:prod::mlflow::pulumi-mlflow:index:X$"


class RefusedError(Exception):
    """What `abort` does to a request."""


class Context:
    def abort(self, _code, text):
        raise RefusedError(text)


def secret(value):
    return {rpc._special_sig_key: rpc._special_secret_sig, "value": value}


def made(apply=True, **options):
    return provider.TestProvider(apply=apply, cluster=None, replace={}, **options)


def create(one, kind, properties, preview=False):
    request = provider_pb2.CreateRequest(
        urn=f"{URN}{kind}::thing", properties=values.write(properties), preview=preview
    )
    return one.Create(request, Context())


def diff(one, kind, olds, news):
    request = provider_pb2.DiffRequest(
        urn=f"{URN}{kind}::thing", old_inputs=values.write(olds), news=values.write(news)
    )
    answer = one.Diff(request, Context())
    return list(answer.diffs), list(answer.replaces), answer.deleteBeforeReplace


VPC = "aws:ec2/vpc:Vpc"
JOB = "kubernetes:batch/v1:Job"
GROUP = "aws:eks/nodeGroup:NodeGroup"


def test_a_preview_tells_inputs_only_and_a_creation_more():
    planned = create(made(apply=False), VPC, {"cidrBlock": "10.0.0.0/16"}, preview=True)
    assert (planned.id, values.read(planned.properties)) == ("", {"cidrBlock": "10.0.0.0/16"})
    done = create(made(), VPC, {"cidrBlock": "10.0.0.0/16"})
    assert done.id.startswith("vpc-")
    assert {"arn", "cidrBlock", "defaultSecurityGroupId"} <= set(values.read(done.properties))


def test_nothing_is_made_unless_that_was_allowed():
    with pytest.raises(RefusedError, match="test provider, which makes nothing"):
        create(made(apply=False), VPC, {})


def test_secrets_stay_secret_and_are_not_logged(tmp_path):
    log = tmp_path / "log"
    kind = "aws:secretsmanager/secretVersion:SecretVersion"
    done = create(made(log=log), kind, {"secretString": secret("S3NTINEL"), "secretId": "a"})
    assert values.read(done.properties)["secretString"] == secret("S3NTINEL")
    assert json.loads(log.read_text())["inputs"]["secretString"] == "[secret]"


def test_what_differs_is_updated_secret_or_not():
    assert diff(made(), VPC, {"a": 1, "b": secret(2)}, {"a": 1, "b": 2, "c": None}) == (
        [],
        [],
        False,
    )
    assert diff(made(), VPC, {"a": 1}, {"a": 2, "b": 3})[:2] == (["a", "b"], [])


def test_a_table_says_what_is_replaced():
    one = provider.TestProvider(apply=True, cluster=None, replace={VPC: ["tags.place"]})
    olds = {"tags": {"place": "a", "x": 1}}
    assert diff(one, VPC, olds, {"tags": {"place": "a", "x": 2}})[1] == []
    assert diff(one, VPC, olds, {"tags": {"place": "b", "x": 1}})[1] == ["tags"]


def test_the_table_may_be_that_of_the_docs(tmp_path):
    group = {"replaces": ["subnetIds"], "parts": {"launchTemplate": ["id"]}}
    table = {VPC: {"replaces": ["cidrBlock"], "source": "x"}, GROUP: group}
    (tmp_path / "table").write_text(json.dumps(table))
    told = provider.replace_table(str(tmp_path / "table"))
    assert told[VPC] == ["cidrBlock"]
    assert told["aws:s3/bucket:Bucket"] == ["bucket"]
    assert told[GROUP] == ["subnetIds", "launchTemplate.id"]
    one = provider.TestProvider(apply=True, cluster=None, replace=told)
    was = {"launchTemplate": {"id": "a", "version": "1"}}
    for now, replaced in (("version", []), ("id", ["launchTemplate"])):
        other = {"launchTemplate": {**was["launchTemplate"], now: "z"}}
        assert diff(one, GROUP, was, other)[1] == replaced
    assert provider.replace_table(None) == aws.REPLACED


def job(name="one", **spec):
    metadata = {"name": name, "namespace": "x"}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def test_an_object_of_another_name_is_another_and_a_jobs_pods_cannot_be_changed():
    assert diff(made(), JOB, job("one"), job("two"))[1:] == (["metadata"], False)
    assert diff(made(), JOB, job(template="a"), job(template="b"))[1:] == (["spec"], True)
    assert diff(made(), JOB, job(suspend=False), job(suspend=True))[1:] == ([], False)


def test_an_immutable_secret_is_replaced():
    kind = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "immutable": True}
    assert kube.replaces(
        {**kind, "stringData": {"a": "1"}}, {**kind, "stringData": {"a": "2"}}
    ) == ["stringData"]


def update(kind, olds, inputs, news):
    request = provider_pb2.UpdateRequest(
        urn=f"{URN}{kind}::thing",
        olds=values.write(olds),
        old_inputs=values.write(inputs),
        news=values.write(news),
    )
    return values.read(made().Update(request, Context()).properties)


def test_an_update_keeps_what_was_computed():
    olds = {"arn": "arn:aws:x", "size": 1, "gone": 2}
    found = update(VPC, olds, {"size": 1, "gone": 2}, {"size": 3})
    assert found == {"arn": "arn:aws:x", "size": 3}


def test_what_was_computed_within_an_input_is_kept_too():
    kind, given = "aws:eks/cluster:Cluster", {"vpcConfig": {"endpointPublicAccess": False}}
    olds = values.read(create(made(), kind, given).properties)
    group = olds["vpcConfig"]["clusterSecurityGroupId"]
    assert group.startswith("sg-")
    found = update(kind, olds, given, {"vpcConfig": {"endpointPublicAccess": True}})
    assert found["vpcConfig"] == {"endpointPublicAccess": True, "clusterSecurityGroupId": group}
    assert update(kind, olds, given, {"vpcConfig": secret("x")})["vpcConfig"] == secret("x")


def test_another_template_is_another_version():
    kind = "aws:ec2/launchTemplate:LaunchTemplate"
    olds = values.read(create(made(), kind, {"instanceType": "a"}).properties)
    found = update(kind, olds, {"instanceType": "a"}, {"instanceType": "b"})
    assert found["arn"] == olds["arn"]
    assert found["latestVersion"] != olds["latestVersion"]


def test_lookups_are_answered_or_named():
    request = provider_pb2.InvokeRequest(tok="aws:index/getRegion:getRegion", args=values.write({}))
    found = values.read(getattr(made().Invoke(request, Context()), "return"))
    assert found["region"] == aws.REGION
    request.tok = "aws:ec2/getAmi:getAmi"
    with pytest.raises(RefusedError, match="getAmi"):
        made().Invoke(request, Context())


class Answer:
    def __init__(self, status, body):
        self.status_code, self.body, self.ok = status, body, status < 400
        self.text = json.dumps(body)

    def json(self):
        return self.body


def test_objects_are_applied_to_a_cluster_as_a_kubeconfig_says(tmp_path, monkeypatch):
    asked = []

    def request(session, method, url, **options):
        asked.append((method, url.removeprefix("https://kube:6443"), options))
        assert session.headers["Authorization"] == "Bearer token"
        assert not session.trust_env
        if method == "GET":
            return Answer(200, {"resources": [{"name": "jobs", "kind": "Job", "namespaced": True}]})
        if method == "DELETE":
            return Answer(404, {"message": "gone"})
        if options["json"]["spec"]:
            return Answer(200, {"metadata": {"uid": "u"}})
        return Answer(422, {"message": "spec is wrong"})

    monkeypatch.setattr(requests.Session, "request", request)
    (tmp_path / "config").write_text(
        json.dumps(
            {
                "current-context": "x",
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "clusters": [{"name": "c", "cluster": {"server": "https://kube:6443"}}],
                "users": [{"name": "u", "user": {"token": "token"}}],
            }
        )
    )
    for address in (str(tmp_path / "config"), "https://token@kube:6443"):
        asked.clear()
        cluster = kube.Cluster(address)
        assert cluster.apply(job(template="a")) == {"metadata": {"uid": "u"}}
        cluster.delete(job())
        with pytest.raises(kube.KubeError, match="Job one: the API server answers 422: spec is wr"):
            cluster.apply(job())
        with pytest.raises(kube.KubeError, match="knows no Pod"):
            cluster.read({**job(), "kind": "Pod"})
        assert [one[:2] for one in asked[:3]] == [
            ("GET", "/apis/batch/v1"),
            ("PATCH", "/apis/batch/v1/namespaces/x/jobs/one"),
            ("DELETE", "/apis/batch/v1/namespaces/x/jobs/one"),
        ]
        assert asked[1][2]["headers"] == {"Content-Type": "application/apply-patch+yaml"}


# ---------------------------------------------------------------- what a preview and an up run on


@pytest.fixture
def places(tmp_path):
    clone = Places(root=tmp_path / "clone", cache=tmp_path / "cache")
    packages = clone.venv / "lib" / "python3.11" / "site-packages" / "pulumi_aws"
    packages.mkdir(parents=True)
    (packages / "pulumi-plugin.json").write_text('{"version": "7.51.1"}')
    return clone


PROD = {"mlflow:runtime": "aws", "mlflow:aws": {"compute": "fargate"}}
CREDENTIALS = {"AWS_PROFILE": "prod"}


@pytest.mark.parametrize(
    ("settings", "packages"),
    [
        ({"mlflow:runtime": "local"}, []),
        (PROD, ["aws"]),
        ({"mlflow:runtime": "aws"}, ["aws"]),
        ({"mlflow:runtime": "aws", "mlflow:aws": {"compute": "kubernetes"}}, ["aws", "kubernetes"]),
        ({"mlflow:runtime": "kubernetes"}, ["kubernetes"]),
    ],
)
def test_which_packages_want_an_account(settings, packages):
    assert providers.packages_of(settings) == packages


@pytest.mark.parametrize(
    ("package", "given", "settings", "file", "missing"),
    [
        ("aws", {}, {}, None, "no AWS credentials"),
        ("aws", CREDENTIALS, {}, None, None),
        ("aws", {"AWS_WEB_IDENTITY_TOKEN_FILE": "/x"}, {}, None, None),
        ("aws", {}, {"aws:profile": "prod"}, None, None),
        ("aws", {}, {}, ".aws/credentials", None),
        ("aws", {"AWS_CONFIG_FILE": "/nowhere"}, {}, ".aws/config", "no AWS credentials"),
        ("kubernetes", {}, {}, None, "no kubeconfig"),
        ("kubernetes", {}, {}, ".kube/config", None),
        ("kubernetes", {"KUBECONFIG": "/nowhere"}, {}, ".kube/config", "no kubeconfig"),
        ("kubernetes", {}, {"mlflow:kubernetes": {"stack": "acme/eks/prod"}}, None, None),
    ],
)
def test_whose_credentials_are_missing(
    places, tmp_path, monkeypatch, package, given, settings, file, missing
):
    monkeypatch.setenv("HOME", str(tmp_path))
    if file:
        (tmp_path / file).parent.mkdir()
        (tmp_path / file).write_text("x")
    found = providers.no_account(package, Environment(places, given), settings)
    assert (found is None) == (missing is None)
    assert missing is None or found.startswith(missing)


@pytest.fixture
def prepared(places, tmp_path, monkeypatch):
    """A set-up whose programs are there, and what it would run."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (*providers._AWS_VARIABLES, *providers._AWS_FILES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(cli.Setup, "machine", lambda *_a, **_k: None)
    monkeypatch.setattr(cli, "stack_settings", lambda *_a: PROD)
    monkeypatch.setattr(cli, "ensure_stack", lambda *_a: done.append("stack"))
    monkeypatch.setattr(cli, "reachable", lambda _url: False)
    trial = (tmp_path / "trial.yaml", {"TRIAL": "1"})
    monkeypatch.setattr(providers, "trial", lambda *_a: trial)
    monkeypatch.setattr(
        providers, "stand_in", lambda *_a: contextlib.nullcontext({"STAND_IN": "1"})
    )
    done = []

    def run(command, *, env, **_options):
        done.append((command, "STAND_IN" in env))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(cli.subprocess, "run", run)
    setup = cli.Setup(places, Console(tmp_path / "logs", quiet=True))
    return setup, done


def have_plugin(places):
    folder = places.cache / "pulumi-home" / "plugins" / "resource-aws-v7.51.1"
    folder.mkdir(parents=True)
    (folder / "pulumi-resource-aws").touch(0o755)


def test_a_preview_without_an_account_says_so_and_has_a_state_of_its_own(prepared, capfd):
    setup, done = prepared
    assert setup.preview("prod", "auto", ["--", "--json"]) == 0
    [(command, stands_in)] = done
    assert command[:5] == ["pulumi", "preview", "-s", "prod", "--json"]
    assert command[5] == "--config-file"
    assert stands_in
    said = capfd.readouterr()
    assert "test provider in place of aws: no AWS credentials" in said.err
    assert said.out == ""


@pytest.mark.parametrize(
    ("choice", "credentials", "plugin", "stands_in"),
    [
        ("auto", True, True, False),
        ("auto", True, False, True),
        ("auto", False, True, True),
        ("test", True, True, True),
        ("real", False, False, False),
    ],
)
def test_the_real_plugin_is_used_where_it_and_credentials_are_there(
    prepared, places, monkeypatch, choice, credentials, plugin, stands_in
):
    setup, done = prepared
    if credentials:
        monkeypatch.setenv("AWS_PROFILE", "prod")
    if plugin:
        have_plugin(places)
    setup.preview("prod", choice, [])
    assert done[-1][1] is stands_in
    assert ("stack" in done) is not stands_in


def test_an_up_without_an_account_is_refused_before_anything_else(prepared, monkeypatch):
    setup, done = prepared
    with pytest.raises(SetupError, match=r"prod cannot be brought up(.|\n)*no AWS credentials"):
        setup.run("prod", docker=False, image_source=None, accounts=True)
    monkeypatch.setenv("AWS_PROFILE", "prod")
    with pytest.raises(SetupError, match=r"aws 7\.51\.1 is not installed"):
        setup.run("prod", docker=False, image_source=None, accounts=True)
    assert done == []
    have_plugin(setup.places)
    setup.run("prod", docker=False, image_source=None, accounts=True)
    assert done == ["stack"]


def test_a_trial_opens_no_secret(places, monkeypatch):
    settings = {
        **PROD,
        "mlflow:access": {"auth": "oidc"},
        "mlflow:artifacts_secret_key": {"secure": "v1:abc"},
    }
    (places.root / "Pulumi.yaml").write_text("name: mlflow\n")
    asked = []

    def capture(command, **options):
        asked.append((command, options["env"]))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(providers, "capture", capture)
    given = {"PULUMI_CONFIG_PASSPHRASE": "real", "PULUMI_ACCESS_TOKEN": "real"}
    for _ in range(2):  # the second time nothing is made
        file, env = providers.trial(places, Environment(places, given), "prod", settings)
    [(_, first), (command, _)] = asked
    assert first is not None
    assert "real" not in env.values()
    assert env["PULUMI_BACKEND_URL"].startswith((places.state / "trial").as_uri())
    assert "mlflow:oidc_client_secret=trial-oidc-client-secret" in command
    assert "mlflow:artifacts_secret_key=trial-artifacts-secret-key" in command
    assert "abc" not in file.read_text()


@pytest.mark.parametrize("command", ["up", "refresh", "down"])
def test_what_changes_a_cloud_asks_for_accounts(command):
    told = subprocess.run(
        ["make", "-n", command, "STACK=prod"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert "--stack prod --accounts" in told
    told = subprocess.run(
        ["make", "-n", "info"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert "--accounts" not in told


def test_bytecode_is_kept_whatever_the_machine_says(places):
    """Else each `pulumi` compiles the providers' SDKs anew."""
    exports = Environment(places, {"PYTHONDONTWRITEBYTECODE": "1"}).exports()
    assert exports["PYTHONDONTWRITEBYTECODE"] == ""
    assert "PYTHONDONTWRITEBYTECODE" not in Environment(places, {}).exports()
