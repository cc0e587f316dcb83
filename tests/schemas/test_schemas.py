"""Every object of ours, those of operators too, is strictly valid in three minor versions of Kubernetes."""

import json
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from tests.kubernetes import every
from tests.schemas import kubeconform, make, make_aws, slips

ROOT = Path(__file__).resolve().parents[2]
OLDEST, *LATER = make.VERSIONS
OPERATORS_KINDS = {f"{of.api}/{kind}" for of in make.OPERATORS.values() for kind in of.kinds}


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    """What is wrong with objects in a version of Kubernetes: one process judges them all."""
    folder = tmp_path_factory.mktemp("schemas")
    for version in make.VERSIONS:
        (folder / version).mkdir()
        kubeconform.write(folder / version, version)
    return lambda version, *bodies: kubeconform.wrong(folder / version, bodies)


@pytest.mark.parametrize("version", make.VERSIONS)
def test_every_object_is_strictly_valid(judge, version):
    objects = every.objects()
    found = judge(version, *(made.body for made in objects))
    assert {str(made): why for made, why in zip(objects, found, strict=True) if why} == {}


def test_all_kinds_are_judged():
    seen = Counter(made.kind for made in every.objects())
    known = {f"{api}/{kind}" for api, kinds in make.KINDS.items() for kind in kinds}
    assert set(seen) <= known | OPERATORS_KINDS
    assert known - set(seen) <= {"v1/ConfigMap"}
    assert set(seen) >= OPERATORS_KINDS
    assert seen.total() > 150


def test_each_document_names_its_source():
    modules = {
        "kubernetes": make.MODULE,
        **{name: of.module for name, of in make.OPERATORS.items()},
    }
    versions = {
        "kubernetes": make.VERSIONS,
        **{name: of.versions for name, of in make.OPERATORS.items()},
    }
    wanted = {make.target(name, one): (name, one) for name in versions for one in versions[name]}
    assert set(wanted) == set(make.HERE.glob("*.json")) - {make_aws.PAGE}
    for name, version in wanted.values():
        source = kubeconform.document(name, version)["source"]
        assert (source["module"], source["version"]) == (modules[name], f"v{version}")
        assert source["licence"] == "Apache-2.0"
        assert re.fullmatch(r"h1:[\w+/]{43}=", source["sum"])
        kinds = make.KINDS if name == "kubernetes" else make.OPERATORS[name].kinds
        assert len(source["sha256"]) == len(kinds)


def test_an_archive_with_another_checksum_is_refused(monkeypatch):
    got = subprocess.CompletedProcess([], 0, json.dumps({"Sum": "h1:other", "Dir": "/"}))
    monkeypatch.setattr(make.subprocess, "run", lambda *args, **options: got)
    known = make.target("cert-manager", *make.OPERATORS["cert-manager"].versions)
    with pytest.raises(SystemExit, match="has the checksum h1:other, not h1:"):
        make.operator("cert-manager", make.OPERATORS["cert-manager"], "1.21.2")
    assert (
        make.module("a.module", "9.9.9", known)[1]["sum"] == "h1:other"
    )  # of no version that is pinned


@pytest.mark.parametrize("version", make.VERSIONS)
def test_each_document_is_whole(version):
    schemas = kubeconform.document("kubernetes", version)["schemas"]
    assert set(make.references(schemas)) <= set(schemas)


def test_the_oldest_versions_are_those_that_the_page_promises():
    page = (ROOT / "docs" / "kubernetes.md").read_text()
    promised = {
        "kubernetes": re.findall(r"Kubernetes (\d+\.\d+) or later", page),
        "cloudnative-pg": re.findall(r"CloudNativePG's operator (\d+\.\d+) or later", page),
        "external-secrets": re.findall(r"External Secrets operator (\d+\.\d+) or later", page),
    }
    first = {"kubernetes": OLDEST, **kubeconform.versions(OLDEST)}
    assert promised == {name: [make.minor(first[name])] for name in promised}
    [judged] = re.findall(r"judged by the definitions of (.*?)\. Not proved", page, re.DOTALL)
    versions = [make.minor(version) for of in make.OPERATORS.values() for version in of.versions]
    assert sorted(re.findall(r"\d+\.\d+", judged)) == sorted(versions)


@pytest.mark.parametrize("version", make.VERSIONS)
@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        ("spec.replica", 2, "'replica' not allowed"),
        ("spec.template.spec.containers.0.securityContext.readonlyRootFilesystem", True, "'readonlyRootFilesystem' not allowed"),
        ("spec.replicas", "2", "got string, want integer"),
        ("spec.replicas", 2**31, "maximum: got 2.147483648"),
        ("spec.replicas", True, "got boolean, want integer"),
        ("spec.template.spec.containers.0.ports", {}, "got object, want array"),
        ("spec.template.spec.containers.0.name", None, "missing property 'name'"),
        ("spec.template.spec.containers.0.livenessProbe.httpGet.port", [80], "oneOf failed, none matched"),
        ("spec.strategy.rollingUpdate.maxSurge", 1.5, "oneOf failed, none matched"),
        ("metadata.labels.tier", 1, "got number, want string"),
        ("metadata.creationTimestamp", "yesterday", "is not valid date-time"),
        ("kind", "Deploiment", "could not find schema for Deploiment"),
    ],
)  # fmt: skip
def test_a_slip_is_found(judge, version, path, value, why):
    body = slips.an_object("apps/v1/Deployment", "tracking-deployment")
    right, wrong = judge(version, body, slips.changed(body, path, value))
    assert right == ""
    assert why in wrong


@pytest.mark.parametrize("version", make.VERSIONS)
@pytest.mark.parametrize(
    ("kind", "path", "value", "why"), [slip[:4] for slip in slips.OPERATORS if slip[3]]
)
def test_a_slip_in_an_object_of_an_operator_is_found(judge, version, kind, path, value, why):
    [wrong] = judge(version, slips.changed(slips.an_object(kind), path, value))
    assert why in wrong


def test_every_kind_of_an_operator_has_a_slip():
    assert {kind for kind, *_ in slips.OPERATORS} == OPERATORS_KINDS


def test_data_that_is_no_base64_is_found(judge):
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}
    right, wrong = judge(OLDEST, {**secret, "data": {"a": "YQ=="}}, {**secret, "data": {"a": "a"}})
    assert right == ""
    assert "does not match pattern" in wrong


def test_a_field_of_a_later_version_is_found_in_the_earlier(judge):
    """Sidecars are containers of the start with a restart policy: 1.28."""
    body = slips.changed(
        slips.an_object("apps/v1/Deployment", "tracking-deployment"),
        "spec.template.spec.initContainers",
        [{"name": "side", "restartPolicy": "Always"}],
    )
    assert "'restartPolicy' not allowed" in judge(OLDEST, body)[0]
    assert [judge(version, body) for version in LATER] == [[""], [""]]


def test_what_is_no_prose_is_kept():
    """`default` and `description` are names of fields in places; a default's content is an object's."""
    names = {"description": {"type": "string", "description": "x", "default": {"description": "y"}}}
    assert make.without_prose({"properties": names}) == {
        "properties": {"description": {"type": "string", "default": {"description": "y"}}}
    }
    assert make.without_prose({"properties": names}, dropped=make.needless) == {
        "properties": {"description": {"type": "string"}}
    }
