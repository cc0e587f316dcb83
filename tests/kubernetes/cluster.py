"""Runs a program under mocks and judges every Kubernetes object that it registers."""

import dataclasses
import json
import re
from dataclasses import dataclass
from typing import Any

import pulumi
import pytest
from pulumi.runtime import rpc
from pulumi.runtime.mocks import MockMonitor, Mocks
from pulumi.runtime.stack import run_pulumi_func
from tests.kubernetes import fields, restricted
from tests.support import is_secret, opened, program_loop

from pulumi_mlflow.core import manifests
from pulumi_mlflow.kubernetes.unique import SuffixProvider

DEPLOYMENT = "pulumi-mlflow/deployment"
ROLE = "pulumi-mlflow/role"
IMAGE = "registry.example/mlflow@sha256:" + "0" * 64
NAMESPACE = "mlflow-prod"
BUILT_IN = {
    "v1",
    "apps/v1",
    "autoscaling/v2",
    "batch/v1",
    "networking.k8s.io/v1",
    "policy/v1",
}
"""What the API server itself knows; the others are their operators'."""


@dataclass(frozen=True)
class Seen:
    """A registered resource."""

    typ: str
    name: str
    inputs: Any
    request: Any

    @property
    def kind(self):
        return self.typ.rsplit(":", 1)[1]

    @property
    def is_kubernetes(self):
        return self.typ.startswith("kubernetes:")

    @property
    def is_workload(self):
        return self.pod is not None

    @property
    def labels(self):
        return self.inputs["metadata"]["labels"]

    @property
    def physical(self):
        return self.inputs["metadata"]["name"]

    @property
    def spec(self):
        return self.inputs["spec"]

    @property
    def template(self):
        """The pods' template, if it makes any."""
        if self.kind in ("Deployment", "Job", "StatefulSet") and self.is_kubernetes:
            return self.spec["template"]
        if self.kind == "CronJob":
            return self.spec["jobTemplate"]["spec"]["template"]
        return None

    @property
    def pod(self):
        return self.template["spec"] if self.template else None

    @property
    def container(self):
        [found] = self.pod["containers"]
        return found

    @property
    def depends_on(self):
        """Names of what must be there first, by any way that is direct; see `behind`."""
        return {urn.rsplit("::", 1)[1] for urn in self.request.dependencies}

    @property
    def parent(self):
        return self.request.parent.rsplit("::", 1)[1]

    def secret_files(self):
        """Path → content of a Secret with files."""
        return opened(self.inputs["stringData"])


class Echo(Mocks):
    def __init__(self, failing, held):
        self.failing, self.held = failing, held

    def new_resource(self, args):
        if args.name in self.failing:
            raise RuntimeError(f"{args.name} failed")
        outs = dict(args.inputs)
        if args.typ.endswith("UniqueSuffix"):
            outs = self.held[args.name] = self.checked(args)
        if args.typ.endswith("GeneratedSecret"):
            outs["value"] = secret_of(args.name, int(args.inputs["length"]))
        if args.typ.endswith("GeneratedCertificate"):
            outs |= {"ca": "CA", "ca_key": "CAKEY", "certificate": "CERT", "key": "KEY"}
        return f"{args.name}-id", outs

    def checked(self, args):
        """Inputs as the provider has them, given those of the last `up`."""
        return SuffixProvider().check(self.held.get(args.name, {}), args.inputs).inputs

    def call(self, _args):
        return {}


def secret_of(name, length=32):
    """The value of a generated secret here: letters only, and no other contains it."""
    return f"{name}value".replace("-", "").ljust(length, "0")


def run(program, failing=(), stack="prod", held=None):
    """What a program registers, and what it returns; its error, if something was to fail.

    Args:
        program: called once.
        failing: logical names of what cannot be made.
        stack: its name.
        held: what the stack's state holds of suffixes; the next `up` of the same stack gets it again.
    """
    seen, made = [], {}
    state = {} if held is None else held
    registered = MockMonitor.RegisterResource

    def register(monitor, request):
        answer = registered(monitor, request)
        if request.type != "pulumi:pulumi:Stack":
            inputs = rpc.deserialize_properties(request.object)
            seen.append(Seen(request.type, request.name, inputs, request))
        return answer

    def started():
        pulumi.runtime.mocks.set_mocks(
            Echo(failing, state), project="mlflow", stack=stack, preview=False
        )
        made["it"] = program()

    with program_loop() as loop, pytest.MonkeyPatch.context() as patch:
        patch.setattr(MockMonitor, "RegisterResource", register)
        if failing:
            with pytest.raises(Exception, match="failed"):
                loop.run_until_complete(run_pulumi_func(started))
            return seen, None
        loop.run_until_complete(run_pulumi_func(started))
        result = resolved(loop, made["it"])
    return seen, result


def resolved(loop, value):
    """Outputs as (value, is secret)."""
    if isinstance(value, pulumi.Output):

        async def both():
            return await value.future(), await value.is_secret()

        return loop.run_until_complete(both())
    if isinstance(value, dict):
        return {key: resolved(loop, item) for key, item in value.items()}
    return value


def only(seen, kind, role=None):
    found = [
        item for item in seen if item.kind == kind and (role is None or item.labels[ROLE] == role)
    ]
    assert len(found) == 1, f"{kind} {role}: {[item.name for item in found]} of {kinds(seen)}"
    return found[0]


def behind(seen, item):
    """Names of all that an object waits for, over whatever is between them."""
    by_name, found, todo = {one.name: one for one in seen}, set(), [item]
    while todo:
        for name in todo.pop().depends_on - found:
            found.add(name)
            todo += [by_name[name]] if name in by_name else []
    return found


def kinds(seen):
    return sorted(f"{item.kind}/{item.name}" for item in seen)


def env(item):
    """Variables of a pod's only container: name → value."""
    return {entry["name"]: entry.get("value") for entry in item.container["env"]}


def judge(seen):
    """All that holds for every object, whatever it is for."""
    objects = [item for item in seen if item.is_kubernetes]
    assert objects
    generated = {
        secret_of(item.name, int(item.inputs["length"]))
        for item in seen
        if item.typ.endswith("GeneratedSecret")
    }
    for item in objects:
        judge_object(item, generated)
    for item in objects:
        if item.is_workload:
            judge_pod(item)
            judge_edges(item, objects)
            judge_secrets(item, objects)
    for item in objects:
        if item.kind in ("Service", "PodDisruptionBudget"):
            selector = item.spec["selector"]
            selector = selector.get("matchLabels", selector)
            selected = [
                other.name
                for other in objects
                if other.is_workload
                and selector.items() <= other.template["metadata"]["labels"].items()
            ]
            assert len(selected) == 1, f"{item.name} selects {selected}"


def judge_object(item, generated):
    metadata = item.inputs["metadata"]
    limit = 52 if item.kind in ("CronJob", "StatefulSet") else 63
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", metadata["name"]), item.name
    assert len(metadata["name"]) <= limit, item.name
    if item.kind != "Namespace":
        assert metadata["namespace"] == NAMESPACE, item.name
    assert metadata["labels"][DEPLOYMENT]
    assert metadata["labels"][ROLE]
    assert metadata["labels"]["pulumi-mlflow/managed-by"] == "pulumi"
    for value in metadata["labels"].values():
        assert manifests.check_label(value) is None
    assert item.parent != "", f"{item.name} has no parent"
    if item.inputs["apiVersion"] in BUILT_IN:
        readable = {key: opened(value) for key, value in item.inputs.items()}
        assert fields.wrong(dataclasses.replace(item, inputs=readable)) == [], item.name
    text = json.dumps(item.inputs)
    if item.kind == "Secret":
        assert is_secret(item.inputs["stringData"]), f"{item.name} is not encrypted"
        text = json.dumps({**item.inputs, "stringData": None})
    leaked = [value for value in generated if value in text]
    assert not leaked, f"{item.name} holds {leaked}"


def judge_pod(item):
    pod = item.pod
    assert restricted.violations(pod) == [], item.name
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert pod["serviceAccountName"] not in ("", "default")
    assert item.template["metadata"]["labels"].items() >= item.labels.items(), item.name
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for volume in volumes.values():
        for kind in ("secret", "projected"):
            if kind in volume:
                assert volume[kind]["defaultMode"] == 0o400
        if "emptyDir" in volume:
            assert volume["emptyDir"]["sizeLimit"]
            assert "medium" not in volume["emptyDir"]
    mounted = set()
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert manifests.check_image(container["image"])
        for given in ("requests", "limits"):
            assert set(container["resources"][given]) == {"cpu", "memory", "ephemeral-storage"}
        mounted |= {mount["name"] for mount in container["volumeMounts"]}
        if item.kind not in ("Job", "CronJob"):
            assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container)
    assert mounted == set(volumes)


def judge_edges(item, objects):
    """A policy of its role's own, beside the one that denies everything."""
    labels = item.template["metadata"]["labels"]
    policies = [
        other
        for other in objects
        if other.kind == "NetworkPolicy"
        and other.spec["podSelector"].get("matchLabels", {}).get(ROLE) == labels[ROLE]
    ]
    assert len(policies) == 1, item.name
    assert set(policies[0].spec["policyTypes"]) == {"Ingress", "Egress"}
    assert policies[0].name in item.depends_on, f"{item.name} may start before its policy"


def judge_secrets(item, objects):
    """What a pod mounts exists, with those keys."""
    held = {
        other.physical: set(opened(other.inputs["stringData"]))
        for other in objects
        if other.kind == "Secret"
    }
    for other in objects:
        if other.kind == "ExternalSecret" and "template" in other.spec["target"]:
            [source] = other.spec["target"]["template"]["templateFrom"]
            keys = {entry["key"] for entry in source["secret"]["items"]}
            assert keys <= held[source["secret"]["name"]]
            held[other.spec["target"]["name"]] = keys
        elif other.kind == "ExternalSecret":
            held[other.spec["target"]["name"]] = {one["secretKey"] for one in other.spec["data"]}
    for name, keys in mounted_secrets(item.pod):
        if name.endswith("-cert"):
            continue  # cert-manager makes it
        assert keys <= held[name], f"{item.name} waits for files that nobody makes"


def mounted_secrets(pod):
    """Name and keys of each Secret among a pod's volumes."""
    for volume in pod["volumes"]:
        if "secret" in volume:
            yield volume["secret"]["secretName"], {one["key"] for one in volume["secret"]["items"]}
        for source in volume.get("projected", {}).get("sources", []):
            yield source["secret"]["name"], {one["key"] for one in source["secret"]["items"]}
