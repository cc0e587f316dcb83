"""Every Kubernetes object of ours is strictly valid in three minor versions of Kubernetes."""

import copy
import re
from collections import Counter
from pathlib import Path

import pytest
from tests.kubernetes import every
from tests.schemas import make, strict

ROOT = Path(__file__).resolve().parents[2]
MINORS = ("1.27", "1.32", "1.36")
OPERATORS = {
    "barmancloud.cnpg.io/v1",
    "cert-manager.io/v1",
    "external-secrets.io/v1",
    "gateway.networking.k8s.io/v1",
    "monitoring.coreos.com/v1",
    "postgresql.cnpg.io/v1",
}
"""Whose schemas are not Kubernetes' own: their objects are not judged here."""


def built_in():
    return [made for made in every.objects() if made.body["apiVersion"] not in OPERATORS]


@pytest.mark.parametrize("minor", MINORS)
def test_every_object_is_strictly_valid(minor):
    document = strict.documents()[minor]
    found = {str(made): strict.wrong(document, made.body) for made in built_in()}
    assert {made: why for made, why in found.items() if why} == {}


def test_all_kinds_are_judged_but_those_of_operators():
    seen = Counter(made.kind for made in every.objects())
    judged = {kind for kind in seen if kind.rsplit("/", 1)[0] not in OPERATORS}
    known = {f"{api}/{kind}" for api, kinds in make.KINDS.items() for kind in kinds}
    assert judged <= known
    assert known - judged <= {"v1/ConfigMap"}
    assert {kind.rsplit("/", 1)[0] for kind in seen} >= OPERATORS, (
        "one of them is left out for nothing"
    )
    assert sum(seen[kind] for kind in judged) > 100


def test_each_document_names_its_source():
    documents = strict.documents()
    assert tuple(documents) == MINORS
    for minor, document in documents.items():
        source = document["source"]
        assert source["version"].startswith(f"v{minor}.")
        assert source["licence"] == "Apache-2.0"
        assert re.fullmatch(r"h1:[\w+/]{43}=", source["sum"])
        assert len(source["sha256"]) == len(make.KINDS)
        for name in make.references(document["schemas"]):
            assert name in document["schemas"], f"{minor} refers to {name}"


def test_the_oldest_version_is_the_one_that_the_page_promises():
    page = (ROOT / "docs" / "kubernetes.md").read_text()
    [promised] = re.findall(r"Kubernetes (1\.\d+) or later", page)
    assert promised == MINORS[0]


def deployment():
    for made in every.objects():
        if made.kind == "apps/v1/Deployment" and made.name == "tracking-deployment":
            return copy.deepcopy(made.body)
    raise AssertionError("no deployment of the servers")


@pytest.mark.parametrize("minor", MINORS)
@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        ("spec.replica", 2, "unknown field"),
        ("spec.template.spec.containers.0.securityContext.readonlyRootFilesystem", True, "unknown field"),
        ("spec.replicas", "2", "is no integer"),
        ("spec.replicas", 2**31, "is no int32"),
        ("spec.replicas", True, "is no integer"),
        ("spec.template.spec.containers.0.ports", {}, "is no array"),
        ("spec.template.spec.containers.0.name", None, "missing"),
        ("spec.template.spec.containers.0.livenessProbe.httpGet.port", [80], "is none of"),
        ("spec.strategy.rollingUpdate.maxSurge", 1.5, "is none of"),
        ("metadata.labels.tier", 1, "is no string"),
        ("metadata.creationTimestamp", "yesterday", "is no date-time"),
        ("kind", "Deploiment", "unknown kind"),
    ],
)  # fmt: skip
def test_a_slip_is_found(minor, path, value, why):
    body = deployment()
    document = strict.documents()[minor]
    assert strict.wrong(document, body) == []
    *way, last = path.split(".")
    at = body
    for step in way:
        at = at[int(step)] if step.isdigit() else at.setdefault(step, {})
    if value is None:
        del at[last]
    else:
        at[last] = value
    found = strict.wrong(document, body)
    assert found
    assert why in found[0]


def test_a_field_of_a_later_version_is_found_in_the_earlier():
    """Sidecars are containers of the start with a restart policy: 1.28."""
    body = deployment()
    body["spec"]["template"]["spec"]["initContainers"] = [
        {"name": "side", "restartPolicy": "Always"}
    ]
    judged = {minor: strict.wrong(document, body) for minor, document in strict.documents().items()}
    assert [why for why in judged["1.27"] if "restartPolicy: unknown field" in why]
    assert judged["1.32"] == judged["1.36"] == []


def test_fields_named_like_words_of_the_schema_are_kept():
    """`default` and `description` are taken away as prose, and are names of fields in places."""
    kept = make.without_prose(
        {"properties": {"description": {"type": "string", "description": "x"}}}
    )
    assert kept == {"properties": {"description": {"type": "string"}}}
