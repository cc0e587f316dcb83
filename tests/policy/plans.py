"""Real plans: what the stacks and components register under mocks, as the rules see it."""

import os
from pathlib import Path

import pulumi
import pytest
from pulumi.runtime import rpc
from pulumi.runtime.mocks import MockMonitor
from pulumi.runtime.stack import run_pulumi_func
from tests.components import aws_support
from tests.kubernetes import cluster
from tests.stacks import cloud, test_compose
from tests.support import program_loop

from compose import compose
from pulumi_mlflow import existing
from pulumi_mlflow.aws.eks import AwsEksCluster
from pulumi_mlflow.aws.network import AwsNetwork
from pulumi_mlflow.core.plan import wanted
from pulumi_mlflow.kubernetes.artifacts import KubernetesArtifactStore
from pulumi_mlflow.kubernetes.backup import KubernetesBackup
from pulumi_mlflow.kubernetes.database import KubernetesDatabase
from pulumi_mlflow.kubernetes.monitoring import KubernetesMonitoring
from pulumi_mlflow.kubernetes.network import KubernetesNetwork
from pulumi_mlflow.kubernetes.proxy import KubernetesAuthProxy
from pulumi_mlflow.kubernetes.tracking import KubernetesTrackingServer
from settings import load

ROOT = Path(__file__).resolve().parents[2]


def recorded(program, mocks, stack):
    """The resources that a program registers."""
    found = []
    registered = MockMonitor.RegisterResource

    def register(monitor, request):
        answer = registered(monitor, request)
        if request.type != "pulumi:pulumi:Stack":
            found.append((answer.urn, request))
        return answer

    def started():
        pulumi.runtime.mocks.set_mocks(mocks, project="mlflow", stack=stack, preview=False)
        program()

    with program_loop() as loop, pytest.MonkeyPatch.context() as patch:
        patch.setattr(MockMonitor, "RegisterResource", register)
        patch.setattr("pulumi.export", lambda *_: None)
        loop.run_until_complete(run_pulumi_func(started))
    return [
        wanted(request, rpc.deserialize_properties(request.object), urn) for urn, request in found
    ]


def stack(name, cache, **changes):
    """A committed stack file, as `make up` composes it."""
    (cache / "images").mkdir(exist_ok=True)
    for made in ("rootfs-test.tar", "versitygw-test", "oauth2-proxy-test", "minio-test"):
        (cache / "images" / made).write_text("x")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "PULUMI_MLFLOW_CACHE", str(cache))
        settings = load(name, {**test_compose.raw(name), **changes}, root=ROOT, secret_keys=[])
        return recorded(lambda: compose(settings), test_compose.Recorder(), name)


def prod(tree=None):
    """A stack in a cloud: the committed file's, or another."""
    settings = cloud.loaded(tree or {**cloud.file_of("prod"), **cloud.secret("oidc_client_secret")})
    return recorded(lambda: compose(settings), cloud.Recorder(), "prod")


def in_cluster():
    """A cluster without a cloud: database, store, servers, front door, copies, alerts."""
    there = KubernetesNetwork("network", {})
    database = KubernetesDatabase(
        "database",
        {
            "namespace": there.namespace,
            "image": "postgresql:17.5",
            "version": "17",
            "max_connections": 500,
        },
    )
    store = KubernetesArtifactStore(
        "artifacts",
        {"namespace": there.namespace, "image": "versitygw:1.8.0", "job_image": cluster.IMAGE},
    )
    _servers(there, database.endpoint, store.endpoint, max_connections=500)


def _servers(there, database, artifacts, **more):
    server = KubernetesTrackingServer(
        "tracking",
        {
            "namespace": there.namespace,
            "image": cluster.IMAGE,
            "database": database,
            "artifacts": artifacts,
            "public_url": "https://mlflow.example.com",
            "autoscaling": {"min_replicas": 2, "max_replicas": 3},
            "monitoring_namespace": "monitoring",
            **more,
        },
    )
    KubernetesAuthProxy(
        "proxy",
        {
            "namespace": there.namespace,
            "image": "nginx:1.28.0-bookworm",
            "tracking": server.endpoint,
            "hosts": ["mlflow.example.com"],
            "ingress": {
                "class_name": "nginx",
                "controller": "nginx",
                "source": {"namespace": "ingress-nginx"},
            },
            "certificate": {"issuer": "letsencrypt"},
            "auth": "oidc",
            "oidc": {
                "issuer": "https://sso.example.com",
                "client_id": "mlflow",
                "client_secret": pulumi.Output.secret("typedclient"),
            },
            "oidc_image": "oauth2-proxy:7.8.1",
        },
    )
    copies = existing.existing_artifacts("copies", uri="s3://copies", region="eu-west-1")
    KubernetesBackup(
        "backup",
        {
            "namespace": there.namespace,
            "image": cluster.IMAGE,
            "database": database,
            "tracking": server.endpoint,
            "destination": copies,
            "role_arn": "arn:aws:iam::1:role/backup",
            "gc_days": 30,
        },
    )
    KubernetesMonitoring("monitoring", {"namespace": there.namespace, "tracking": server.endpoint})


def eks(**args):
    """A network and a cluster of our own, as docs/aws.md has them."""

    def program():
        network = AwsNetwork("network", {"region": aws_support.REGION}).network
        admins = {"pipeline": "arn:aws:iam::111122223333:role/pipeline"}
        AwsEksCluster("eks", {"network": network, "version": "1.33", "admins": admins, **args})

    return recorded(program, cloud.Recorder(), "prod")


def kubernetes(program):
    return recorded(program, cluster.Echo((), {}), "prod")
