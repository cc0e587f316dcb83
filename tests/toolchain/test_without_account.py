"""The test provider's own answers, without an engine."""

import json
import sys

import pytest
import requests
from tests.support import ROOT

sys.path.insert(0, str(ROOT / "toolchain"))

from pulumi.runtime import rpc
from pulumi.runtime.proto import provider_pb2

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


def test_an_update_keeps_what_was_computed():
    olds = {"arn": "arn:aws:x", "size": 1, "gone": 2}
    request = provider_pb2.UpdateRequest(
        urn=f"{URN}{VPC}::thing",
        olds=values.write(olds),
        old_inputs=values.write({"size": 1, "gone": 2}),
        news=values.write({"size": 3}),
    )
    answer = made().Update(request, Context())
    assert values.read(answer.properties) == {"arn": "arn:aws:x", "size": 3}


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
