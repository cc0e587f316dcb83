"""Cloud stacks under recording mocks: what a stack's settings register, with parents, protection and order."""

import copy
import json

import pulumi
import yaml
from pulumi.runtime.mocks import MockCallArgs, MockResourceArgs, Mocks
from pulumi.runtime.stack import run_pulumi_func
from tests.components import aws_support
from tests.stacks import pems
from tests.support import ROOT, program_loop, settled

from compose import compose
from settings import load

SENTINEL = "S3NTINEL"
"""How every secret that somebody typed begins."""

NETWORK = {
    "vpc_id": "vpc-0a1b2c3d",
    "cidr": "10.20.0.0/16",
    "private_subnets": ["subnet-0000000a", "subnet-0000000b"],
    "public_subnets": ["subnet-0000001a", "subnet-0000001b"],
    "endpoints": "sg-0a1b2c3d",
    "s3_endpoint": "vpce-0a1b2c3d",
    "s3_prefixes": "pl-6ea54007",
}
"""What a stack of others exports as `network`, and what the settings may say in its place."""


def exports_of(stack):
    """What another stack exports; one called `…/other/…` has others."""
    if "/other/" in stack:
        return {"network": {**NETWORK, "vpc_id": "vpc-other"}, "kubeconfig": "of another cluster"}
    return {"network": NETWORK, "kubeconfig": f"{SENTINEL}kubeconfig"}


class Recorder(Mocks):
    """AWS's and the cluster's answers; a look-up in either is an error."""

    def new_resource(self, args: MockResourceArgs):
        if args.typ == "pulumi:pulumi:StackReference":
            found = exports_of(args.inputs["name"])
            return f"{args.name}-id", {**args.inputs, "outputs": found, "secretOutputNames": []}
        added = aws_support.outputs(args) if args.typ.startswith(("aws:", "pulumi-python:")) else {}
        if args.typ.startswith("kubernetes:"):
            added = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}
        return f"{args.name}-id", {"id": f"{args.name}-id", **args.inputs, **added}

    def call(self, args: MockCallArgs):
        return aws_support.look_up(args.token, args.args)


class Composed:
    """A stack that was composed.

    Attributes:
        seen: logical name → what was registered, as of `aws_support.Seen`.
        exports: name → value and whether it is secret.
    """

    def __init__(self, settings, stack="prod", preview=False):
        recorder, exports = Recorder(), {}
        monitor = aws_support.Monitor(recorder)

        async def program():
            pulumi.runtime.mocks.set_mocks(
                recorder, project="mlflow", stack=stack, preview=preview, monitor=monitor
            )
            compose(settings)
            await settled()

        async def resolved(value):
            output = pulumi.Output.from_input(value)
            return await output.future(), await output.is_secret()

        usual = pulumi.export
        pulumi.export = exports.__setitem__
        try:
            with program_loop() as loop:
                loop.run_until_complete(run_pulumi_func(program))
                self.exports = {
                    name: loop.run_until_complete(resolved(value))
                    for name, value in exports.items()
                }
        finally:
            pulumi.export = usual
        self.seen = {}
        for request in monitor.requests:
            if request.type == "pulumi:pulumi:Stack":
                continue
            inputs = pulumi.runtime.rpc.deserialize_properties(request.object)
            key = request.name
            assert key not in self.seen, f"{key} is there twice"
            self.seen[key] = aws_support.Seen.of(request, inputs)
            self.seen[key].provider = request.provider
            self.seen[key].raw = inputs

    def __getitem__(self, name):
        return self.seen[name].inputs

    def of(self, typ):
        """What has a type that ends so."""
        return [item for item in self.seen.values() if item.typ.endswith(typ)]

    def golden(self):
        """One line for each resource: type, name, parent, and whether it is protected."""
        return sorted(
            " ".join(
                (item.typ, item.name, item.parent or "-", *(["protected"] if item.protect else []))
            )
            for item in self.seen.values()
        )


def merged(*trees):
    """Trees one over the other; a None takes a key away."""
    found = {}
    for tree in trees:
        for key, value in tree.items():
            if value is None:
                found.pop(key, None)
            elif isinstance(value, dict):
                found[key] = merged(found.get(key, {}), value)
            else:
                found[key] = copy.deepcopy(value)
    return found


def file_of(stack):
    """The settings of a stack's file."""
    config = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())["config"]
    return {key.removeprefix("mlflow:"): value for key, value in config.items()}


SECRETS = (
    "database_password",
    "artifacts_access_key",
    "artifacts_secret_key",
    "oidc_client_secret",
    "jobs_redis_url",
    "dump_access_key",
    "dump_secret_key",
)


def loaded(tree, root=ROOT, stack="prod"):
    """Settings of a tree, whose secrets are encrypted in its file."""
    raw = {key: text if isinstance(text, str) else json.dumps(text) for key, text in tree.items()}
    return load(stack, raw, root=root, secret_keys=[key for key in SECRETS if key in raw])


def secret(name):
    """A secret that somebody typed."""
    return {name: f"{SENTINEL}{name}"}


OIDC = {
    "access": {
        "auth": "oidc",
        "oidc": {"issuer": "https://sso.corp.example", "client_id": "mlflow"},
    },
    **secret("oidc_client_secret"),
}
AWS = merged(
    {
        "runtime": "aws",
        "aws": {"region": "eu-central-1", "zone": "Z0123456789ABC"},
        "artifacts": {"bucket": "artifacts-of-corp"},
        "access": {"hosts": ["mlflow.corp.example"]},
    },
    OIDC,
)
"""The least that a stack on Fargate says."""

CLUSTER = {
    "kubernetes": {
        "context": "prod",
        "ingress": {"class_name": "nginx", "issuer": "letsencrypt"},
    }
}
AWS_CLUSTER = merged(
    AWS,
    CLUSTER,
    {
        "aws": {"compute": "kubernetes", "network": NETWORK, "zone": None},
        "kubernetes": {"cluster": "corp", "security_group": "sg-0a1b2c3d", "secret_store": "aws"},
    },
)
"""Servers in an EKS cluster, data in RDS and S3."""

KUBERNETES = merged(
    {"runtime": "kubernetes"},
    CLUSTER,
    {
        "registry": {
            "server": "registry.corp.example/mlflow:3.17.2",
            "oauth2_proxy": "registry.corp.example/oauth2-proxy:7.8.1",
            "database": "registry.corp.example/postgresql:15.14",
        },
        "artifacts": {"bucket": "artifacts-of-corp", "existing": {"region": "eu-central-1"}},
        "kubernetes": {"identity": {"role_arn": "arn:aws:iam::111122223333:role/mlflow"}},
        "access": {"hosts": ["mlflow.corp.example"]},
    },
    OIDC,
)
"""Any cluster: PostgreSQL in it, a bucket that is there."""

EXISTING_DATABASE = {
    "database": {"existing": {"host": "db.corp.example", "ca_file": "rds-ca.pem"}},
    **secret("database_password"),
}
EXISTING_BUCKET = {"artifacts": {"bucket": "of-others", "existing": {"region": "eu-central-1"}}}


def certificates(folder):
    """The authorities' files that settings name."""
    pems.write(folder, {"rds-ca.pem": "certificate", "amazon-ca.pem": "certificate"})
