"""Components of AWS under mocks: what was registered, with parents, protection and dependencies."""

import json
import zlib
from dataclasses import dataclass

import botocore.session
import pulumi
from botocore.validate import ParamValidator
from pulumi.runtime.mocks import MockCallArgs, MockMonitor, MockResourceArgs, Mocks
from pulumi.runtime.stack import run_pulumi_func
from tests.support import is_secret, plain, program_loop

ACCOUNT = "111122223333"
REGION = "eu-central-1"
ZONES = "cab"

NETWORK = {
    "place": "vpc:mlflow-prod",
    "region": REGION,
    "vpc_id": "vpc-1",
    "cidr": "10.42.0.0/16",
    "private_subnets": ["subnet-a", "subnet-b"],
    "public_subnets": ["subnet-pa", "subnet-pb"],
    "endpoints": "sg-endpoints",
    "s3_endpoint": "vpce-s3",
    "s3_prefixes": "pl-s3",
    "internet": True,
}


@dataclass
class Seen:
    """A registered resource."""

    name: str
    typ: str
    inputs: dict
    parent: str
    protect: bool
    after: set
    """Names of what it depends on, directly."""
    secret: set
    """Names of inputs that are secret as a whole."""
    ignored: set
    """Names of inputs whose change Pulumi is told to ignore."""
    retained: bool
    """Whether it stays where it is when Pulumi forgets it."""

    @classmethod
    def of(cls, request, inputs):
        """From a request to register it."""
        return cls(
            request.name,
            request.type,
            plain(inputs),
            _name(request.parent),
            request.protect,
            {_name(urn) for urn in request.dependencies},
            {key for key, value in inputs.items() if is_secret(value)},
            set(request.ignoreChanges),
            request.retainOnDelete,
        )


def arn(service, rest):
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{rest}"


def outputs(args):
    """What AWS would add to the inputs."""
    kind = args.typ.rsplit(":", 1)[1]
    service = args.typ.split(":")[1].split("/")[0]
    found = {"arn": arn(service, f"{kind}/{args.name}")}
    if kind == "Bucket":
        found["arn"] = f"arn:aws:s3:::{args.inputs['bucket']}"
    if kind == "Role":
        found["arn"] = f"arn:aws:iam::{ACCOUNT}:role/{args.inputs['name']}"
    if kind == "Secret":
        found["arn"] = arn(service, f"secret:{args.name}")
    if kind == "Key":
        found["arn"] = arn(service, f"key/{args.name}")
    if kind == "Topic":
        found["arn"] = arn(service, args.name)
    if kind == "Repository":
        found["arn"] = arn(service, f"repository/{args.inputs['name']}")
    if kind == "LogGroup":
        found["arn"] = arn("logs", f"log-group:{args.inputs['name']}")
    if kind == "VpcEndpoint":
        found["prefixListId"] = "pl-made"
    if kind in ("Instance", "Proxy"):
        found["address"] = found["endpoint"] = f"{args.name}.example.rds"
        found["masterUserSecrets"] = [{"secretArn": arn("secretsmanager", "secret:rds!db-1")}]
    if kind == "Cluster" and service == "rds":
        found["endpoint"] = f"{args.name}.example.rds"
        found["readerEndpoint"] = f"{args.name}-ro.example.rds"
        found["masterUserSecrets"] = [{"secretArn": arn("secretsmanager", "secret:rds!cluster-1")}]
    if kind == "Cluster" and service == "eks":
        found |= {
            "endpoint": "https://ABC.gr7.eks.example",
            "certificateAuthority": {"data": "Q0E="},
            "vpcConfig": {**args.inputs["vpcConfig"], "clusterSecurityGroupId": "sg-nodes"},
        }
    if kind == "LaunchTemplate":
        # Each change is another version.
        found["latestVersion"] = zlib.crc32(json.dumps(plain(args.inputs), sort_keys=True).encode())
    if kind == "SecretVersion":
        found["versionId"] = f"version-of-{args.name}"
    if kind == "Repository":
        found["repositoryUrl"] = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{args.inputs['name']}"
    if kind == "LoadBalancer":
        found |= {"dnsName": "lb.example", "zoneId": "ZLB", "arnSuffix": "app/lb/1"}
    if kind == "TargetGroup":
        found["arnSuffix"] = f"targetgroup/{args.name}/1"
    if kind == "Certificate":
        found["domainValidationOptions"] = [
            {
                "domainName": host,
                "resourceRecordName": f"_x.{host}",
                "resourceRecordType": "CNAME",
                "resourceRecordValue": "_y.example",
            }
            for host in (
                args.inputs["domainName"],
                *args.inputs.get("subjectAlternativeNames", []),
            )
        ]
    if kind == "GeneratedSecret":
        found["value"] = f"{args.name}value".replace("-", "").ljust(int(args.inputs["length"]), "0")
    if kind == "UniqueSuffix":
        found["suffix"] = args.inputs["version"]
    if kind == "AwsImagePush":
        found["digest"] = "sha256:" + "d" * 64
    return found


def look_up(token, asked):
    """The account's zones, in no order; whatever else a component looks up in an account is an error."""
    if token != "aws:index/getAvailabilityZones:getAvailabilityZones":
        raise AssertionError(f"{token}: a component looked something up in an account")
    filters = [{"Name": item["name"], "Values": item["values"]} for item in asked["filters"]]
    check_request("ec2", "DescribeAvailabilityZones", Filters=filters)
    return {"names": [f"{REGION}{zone}" for zone in ZONES], "zoneIds": []}


class Recorder(Mocks):
    def new_resource(self, args: MockResourceArgs):
        return f"{args.name}-id", {"id": f"{args.name}-id", **args.inputs, **outputs(args)}

    def call(self, args: MockCallArgs):
        return look_up(args.token, args.args)


class Monitor(MockMonitor):
    """Keeps what mocks are not told."""

    def __init__(self, mocks):
        super().__init__(mocks)
        self.requests = []

    def RegisterResource(self, request):  # noqa: N802
        self.requests.append(request)
        return super().RegisterResource(request)


def _name(urn):
    return urn.rsplit("::", 1)[-1]


class Program:
    """A program that has run under mocks."""

    def __init__(self, make, preview=False):
        recorder = Recorder()
        monitor = Monitor(recorder)
        made = []

        def program():
            pulumi.runtime.mocks.set_mocks(
                recorder, project="mlflow", stack="prod", preview=preview, monitor=monitor
            )
            made.append(make())

        async def resolved(output):
            return await output.future(), await output.is_secret()

        with program_loop() as loop:
            loop.run_until_complete(run_pulumi_func(program))
            self.made = made[0]
            self._known = {}
            for key, value in self._outputs():
                self._known[key] = loop.run_until_complete(resolved(value))
        self.seen = {}
        self.raw = {}
        for request in monitor.requests:
            if request.type == "pulumi:pulumi:Stack":
                continue
            inputs = pulumi.runtime.rpc.deserialize_properties(request.object)
            assert request.name not in self.seen, f"{request.name} is there twice"
            self.raw[request.name] = inputs
            self.seen[request.name] = Seen.of(request, inputs)

    def _outputs(self):
        endpoint = getattr(self.made, "endpoint", None) or getattr(self.made, "network", None) or {}
        for key, value in endpoint.items():
            if not isinstance(value, list):
                yield key, pulumi.Output.from_input(value)

    def __getitem__(self, name):
        return self.seen[name].inputs

    def endpoint(self, key):
        """A field of the component's endpoint, and whether it is secret."""
        return self._known[key]

    def of(self, kind):
        """Resources of a kind, such as `s3/bucket:Bucket`, in the order of registration."""
        return [item for item in self.seen.values() if item.typ == f"aws:{kind}"]

    def protected(self):
        return {name for name, item in self.seen.items() if item.protect}

    def waits_for(self, name):
        """All that a resource comes after: dependencies of dependencies, and children of components."""
        found, todo = set(), [name]
        while todo:
            current = todo.pop()
            for other in self.seen[current].after if current in self.seen else set():
                if other not in found:
                    found.add(other)
                    todo.append(other)
        return found


def check_request(service, operation, /, **request):
    """Demand that AWS's own description of a request takes it (botocore's model; no account is asked)."""
    shape = botocore.session.get_session().get_service_model(service).operation_model(operation)
    report = ParamValidator().validate(request, shape.input_shape)
    assert not report.has_errors(), report.generate_report()
