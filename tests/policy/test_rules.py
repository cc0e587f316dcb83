"""Each rule has cases that pass and cases that fail, each failure with the resource and the mend."""

import dataclasses
import json
from pathlib import Path

import pytest
from policy import checks
from policy.checks import stateful, workloads

from pulumi_mlflow.core.plan import SECRET, UNKNOWN, Resource, Step

ROOT = Path(__file__).resolve().parents[2]
ANY = "0.0.0.0"  # noqa: S104
TAGS = {
    "pulumi-mlflow/deployment": "mlflow-prod",
    "pulumi-mlflow/role": "database",
    "pulumi-mlflow/managed-by": "pulumi",
}


def aws(kind, called="it", *, protected=False, refers=None, **inputs):
    module, kind = kind.split(".")
    token = f"aws:{module}/{kind[0].lower()}{kind[1:]}:{kind}"
    return Resource(token, called, inputs, protected, refers=refers or {})


def k8s(kind, role="tracking", called="it", *, protected=False, annotations=None, **inputs):
    group = {"Cluster": "postgresql.cnpg.io/v1", "ConfigMap": "core/v1"}.get(kind, "apps/v1")
    metadata = {"name": called, "labels": {**TAGS, "pulumi-mlflow/role": role}}
    if annotations:
        metadata["annotations"] = annotations
    return Resource(
        f"kubernetes:{group}:{kind}", called, {"metadata": metadata, **inputs}, protected
    )


def docker(kind="Container", role="tracking", called="it", *, protected=False, **inputs):
    token = f"docker:index/{kind[0].lower()}{kind[1:]}:{kind}"
    labels = [
        {"label": key, "value": value}
        for key, value in {**TAGS, "pulumi-mlflow/role": role}.items()
    ]
    return Resource(token, called, {"labels": labels, **inputs}, protected)


def task(called="task", *, refers=None, memory="2048", **container):
    """A task of ECS with one container that breaks nothing but what is given."""
    one = {"name": "server", "image": "mlflow:3.17.2", "user": "10001:10001", **container}
    return aws(
        "ecs.TaskDefinition",
        called,
        refers=refers,
        memory=memory,
        containerDefinitions=json.dumps([one]),
        tags={**TAGS, "pulumi-mlflow/role": "tracking"},
    )


def pod(context=None, **container):
    one = {
        "name": "server",
        "image": "mlflow:3.17.2",
        "resources": {"limits": {"memory": "1Gi"}},
        **container,
    }
    return {
        "template": {
            "spec": {"securityContext": context or {"runAsNonRoot": True}, "containers": [one]}
        }
    }


def deployment(context=None, **container):
    return k8s("Deployment", spec=pod(context, **container))


def statement(**fields):
    return json.dumps(
        {"Statement": [{"Sid": "Read", "Effect": "Allow", "Principal": "*", **fields}]}
    )


def bucket(name="bucket"):
    return aws("s3.Bucket", name, bucket="b", protected=True)


def of_bucket(kind, **inputs):
    return aws(f"s3.{kind}", kind, refers={"bucket": ["bucket"]}, bucket=UNKNOWN, **inputs)


BLOCKED = dict.fromkeys(
    ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"), True
)
VERSIONED = {"versioningConfiguration": {"status": "Enabled"}}
SERVE = ["mlflow", "server", "--workers", "2"]
BY_KMS = {"rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "aws:kms"}}]}
KEPT = {"backupRetentionPeriod": 14, "skipFinalSnapshot": False, "deletionProtection": True}
TO_HTTPS = [{"type": "redirect", "redirect": {"protocol": "HTTPS"}}]


def eks(**vpc):
    """A cluster that breaks nothing but what is given of its endpoints."""
    return aws("eks.Cluster", vpcConfig=vpc)


def disk(**ebs):
    return aws("ec2.LaunchTemplate", blockDeviceMappings=[{"deviceName": "/dev/xvda", "ebs": ebs}])


def metadata(kind="LaunchTemplate", **options):
    return aws(f"ec2.{kind}", metadataOptions=options)


def servers(maximum, accepted, percent=100, **more):
    """A database, a server's task, its service and its scaling."""
    return [
        aws("rds.Instance", "database", refers={"parameterGroupName": ["group"]}),
        aws(
            "rds.ParameterGroup",
            "group",
            parameters=[{"name": "max_connections", "value": accepted}],
        ),
        task(command=SERVE, **more),
        aws(
            "ecs.Service",
            "service",
            refers={"taskDefinition": ["task"]},
            desiredCount=1,
            deploymentMaximumPercent=percent,
            name="s",
        ),
        aws("appautoscaling.Target", "scaling", resourceId="service/mlflow/s", maxCapacity=maximum),
    ]


def scaled(maximum, accepted):
    return [
        k8s(
            "Cluster",
            "database",
            "database",
            spec={"postgresql": {"parameters": {"max_connections": accepted}}},
        ),
        k8s("Deployment", called="server", spec={"replicas": 1, **pod(command=SERVE)}),
        k8s(
            "HorizontalPodAutoscaler",
            called="scaler",
            spec={"maxReplicas": maximum, "scaleTargetRef": {"name": "server"}},
        ),
    ]


def on_docker(accepted, *more):
    return [
        docker(
            called="database",
            role="database",
            command=["postgres", "-c", f"max_connections={accepted}"],
        ),
        docker(called="server", command=SERVE),
        *more,
    ]


PASS = {
    "no-public-bucket": [
        aws("s3.Bucket", acl="private"),
        aws("s3.BucketPolicy", policy=statement(Principal={"AWS": "arn:aws:iam::1:root"})),
        aws("s3.BucketPolicy", policy=statement(Effect="Deny")),
        aws("s3.BucketPolicy", policy=statement(Condition={"StringEquals": {"aws:SourceVpce": "v"}})),
        aws("s3.BucketPublicAccessBlock", **BLOCKED),
    ],
    "buckets-block-public": [
        [bucket(), of_bucket("BucketPublicAccessBlock")],
        [bucket(), aws("s3.BucketPublicAccessBlock", "other", bucket="b")],
    ],
    "no-public-database": [
        aws("rds.Instance", publiclyAccessible=False, tags=TAGS),
        docker(role="database", ports=[{"internal": 5432, "ip": "127.0.0.1"}]),
        docker(role="proxy", ports=[{"internal": 8080, "ip": ANY}]),
        k8s("Service", "database", spec={"type": "ClusterIP"}),
        k8s("Service", "proxy", spec={"type": "LoadBalancer"}),
        k8s("Ingress", "proxy", spec={"tls": [{}]}),
    ],
    "no-open-security-group": [
        aws("vpc.SecurityGroupIngressRule", cidrIpv4="0.0.0.0/0", ipProtocol="tcp", fromPort=443, toPort=443),
        aws("vpc.SecurityGroupIngressRule", cidrIpv4="10.0.0.0/8", ipProtocol="-1"),
        aws("vpc.SecurityGroupEgressRule", cidrIpv4="0.0.0.0/0", ipProtocol="tcp", fromPort=443, toPort=443),
        aws("ec2.DefaultSecurityGroup", ingress=[], egress=[]),
        k8s("NetworkPolicy", spec={"ingress": [{"from": [{"podSelector": {}}]}]}),
        k8s("NetworkPolicy", "proxy", spec={"ingress": [{"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}]}),
        k8s("NetworkPolicy", spec={"ingress": []}),
    ],
    "no-public-cluster": [
        eks(endpointPublicAccess=False),
        eks(endpointPublicAccess=True, publicAccessCidrs=["52.1.0.0/16", "2a00:1450:4001::/48"]),
        eks(endpointPublicAccess=True, publicAccessCidrs=UNKNOWN),
        eks(endpointPublicAccess=True, publicAccessCidrs=[UNKNOWN]),
        eks(endpointPublicAccess=UNKNOWN),
        aws("eks.Cluster", vpcConfig=UNKNOWN),
        aws("rds.Cluster"),
    ],
    "cluster-secrets-encrypted": [
        aws("eks.Cluster", encryptionConfig={"provider": {"keyArn": UNKNOWN}, "resources": ["secrets"]}),
        aws("eks.Cluster", encryptionConfig=UNKNOWN),
        aws("ecs.Cluster"),
    ],
    "node-disks-encrypted": [
        disk(encrypted="true", volumeSize=100),
        disk(encrypted=UNKNOWN),
        aws("ec2.LaunchTemplate", blockDeviceMappings=[
            {"deviceName": "/dev/xvda", "ebs": {"encrypted": True}},
            {"deviceName": "/dev/sdb", "virtualName": "ephemeral0"},
        ]),
        aws("ec2.LaunchTemplate", blockDeviceMappings=UNKNOWN),
    ],
    "node-metadata-tokens": [
        metadata(httpTokens="required"),
        metadata("Instance", httpTokens="required"),
        metadata(httpEndpoint="disabled"),
        aws("ec2.LaunchTemplate", metadataOptions=UNKNOWN),
    ],
    "node-metadata-hops": [
        metadata(httpPutResponseHopLimit=1.0),
        metadata(httpEndpoint="disabled"),
        metadata(httpPutResponseHopLimit=UNKNOWN),
    ],
    "cluster-audit-log": [
        aws("eks.Cluster", enabledClusterLogTypes=["audit", "api"]),
        aws("eks.Cluster", enabledClusterLogTypes=[UNKNOWN]),
        aws("ecs.Cluster"),
    ],
    "encrypted-at-rest": [
        aws("rds.Instance", storageEncrypted=True),
        aws("efs.FileSystem", encrypted=UNKNOWN),
        aws("s3.BucketServerSideEncryptionConfiguration", **BY_KMS),
    ],
    "buckets-encrypted": [[bucket(), of_bucket("BucketServerSideEncryptionConfiguration", **BY_KMS)]],
    "encrypted-in-transit": [
        aws("rds.ParameterGroup", parameters=[{"name": "rds.force_ssl", "value": "1"}]),
        aws("lb.Listener", protocol="HTTP", defaultActions=TO_HTTPS),
        aws("lb.Listener", protocol="HTTPS", defaultActions=[{"type": "forward"}]),
        k8s("Ingress", spec={"tls": [{"hosts": ["h"]}]}),
        k8s("Ingress", annotations={"alb.ingress.kubernetes.io/certificate-arn": "arn"}, spec={"rules": []}),
    ],
    "backups": [
        aws("rds.Instance", **KEPT),
        aws("rds.Instance", replicateSourceDb="first", skipFinalSnapshot=True),
        aws("rds.Instance", backupRetentionPeriod=UNKNOWN),
    ],
    "backups-in-stack": [
        [bucket(), of_bucket("BucketVersioning", **VERSIONED)],
        [bucket(), aws("s3.BucketLogging", "logs", refers={"targetBucket": ["bucket"]})],
        [k8s("Cluster", "database"), k8s("ScheduledBackup", "database")],
        [k8s("Cluster", "database"), k8s("CronJob", "backup")],
    ],
    "image-versions": [
        task(),
        task(image="repository/mlflow@sha256:" + "0" * 64),
        docker(image="sha256:abc", user="1"),
        docker("RemoteImage", name="nginx:1.28.0-bookworm"),
        k8s("Cluster", "database", spec={"imageName": "postgresql:17.5"}),
        k8s("Deployment", spec=UNKNOWN),
    ],
    "no-root-containers": [
        task(),
        deployment(),
        deployment({"runAsUser": 0}, securityContext={"runAsUser": 5, "runAsNonRoot": True}),
        docker(user="999:999"),
        docker(user=UNKNOWN),
    ],
    "no-secrets-in-plain": [
        task(environment=[{"name": "MLFLOW_TRACKING_PASSWORD_FILE", "value": "/run/p"}]),
        task(environment=[{"name": "DB_PASSWORD", "value": "/run/secrets/p"}]),
        task(secrets=[{"name": "DB_PASSWORD", "valueFrom": "arn"}]),
        deployment(env=[{"name": "DB_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "s"}}}]),
        deployment(env=[{"name": "MLFLOW_URL", "value": "https://mlflow:5000"}]),
        docker(envs=["POSTGRES_USER=mlflow", "TOKEN=$(cat /run/t)", "TOKEN_TTL=5"], user="1"),
        k8s("ConfigMap", data={"nginx.conf": "server {}"}),
    ],
    "memory-limits": [task(), deployment(), docker(memory=256), docker(memory=UNKNOWN)],
    "tags": [
        aws("s3.Bucket", tags=TAGS),
        aws("s3.Bucket", tags=UNKNOWN),
        aws("s3.Bucket", tagsAll=TAGS),
        aws("s3.BucketPolicy"),
        k8s("Deployment"),
        docker("Volume"),
        Resource("kubernetes:helm.sh/v3:Release", "chart"),
        Resource("pulumi-mlflow:index:AwsDatabase", "component"),
    ],
    "stateful-protected": [
        aws("rds.Instance", protected=True, **KEPT),
        aws("rds.Instance", replicateSourceDb="first"),
        aws("s3.Bucket", protected=True, forceDestroy=False),
        docker("Volume", "database", protected=True),
        docker("Volume", "tracking"),
        k8s("PersistentVolumeClaim", protected=True),
        k8s("Cluster", "database", protected=True),
        k8s("Deployment"),
    ],
    "memory-budget": [servers(1, "500"), scaled(1, "500"), [task(command=[*SERVE[:3], "4"], memory="2048")]],
    "connection-budget": [
        servers(2, "246"),
        scaled(2, "364"),
        servers(2, "482", 200),
        on_docker(128),
        on_docker(50, docker(called="pooler", role="pooler")),
        [*servers(9, "100"), aws("rds.Proxy")],
        [task(command=SERVE)],
    ],
}  # fmt: skip

FAIL = {
    "no-public-bucket": [
        (aws("s3.Bucket", acl="public-read"), "acl is public-read"),
        (aws("s3.BucketPolicy", policy=statement()), "statement Read allows everybody"),
        (aws("s3.BucketPolicy", policy=statement(Principal={"AWS": ["*"]})), "allows everybody"),
        (aws("s3.BucketPublicAccessBlock", **{**BLOCKED, "blockPublicAcls": False}), "set blockPublicAcls to true"),
        (aws("s3.BucketPublicAccessBlock", **{**BLOCKED, "blockPublicPolicy": None}), "blockPublicPolicy is not true"),
    ],
    "buckets-block-public": [
        ([bucket()], "add an aws.s3.BucketPublicAccessBlock"),
        ([bucket(), aws("s3.BucketPublicAccessBlock", "other", bucket="c")], "nothing blocks"),
    ],
    "no-public-database": [
        (aws("rds.Instance", publiclyAccessible=True), "set publiclyAccessible to false"),
        (docker(role="database", ports=[{"internal": 5432, "ip": ANY}]), "port 5432 is published on 0.0.0.0"),
        (docker(role="artifacts", ports=[{"internal": 9000}]), "on all addresses"),
        (k8s("Service", "database", spec={"type": "LoadBalancer"}), "set spec.type to ClusterIP"),
        (k8s("Ingress", "artifacts", spec={"tls": [{}]}), "an Ingress leads to data"),
    ],
    "no-open-security-group": [
        (aws("vpc.SecurityGroupIngressRule", cidrIpv4="0.0.0.0/0", ipProtocol="tcp", fromPort=5432, toPort=5432), "tcp port 5432 is open to all"),
        (aws("vpc.SecurityGroupIngressRule", cidrIpv6="::/0", ipProtocol="tcp", fromPort=0, toPort=65535), "port 0-65535"),
        (aws("ec2.SecurityGroup", ingress=[{"protocol": "-1", "cidrBlocks": ["0.0.0.0/0"]}]), "port all"),
        (aws("ec2.SecurityGroupRule", type="ingress", protocol="udp", fromPort=443, toPort=443, cidrBlocks=["0.0.0.0/0"]), "udp port 443"),
        (aws("vpc.SecurityGroupEgressRule", cidrIpv4="0.0.0.0/0", ipProtocol="-1"), "everything may go out"),
        (k8s("NetworkPolicy", spec={"ingress": [{"ports": []}]}), "names nobody"),
        (k8s("NetworkPolicy", spec={"ingress": [{"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}]}), "all addresses in"),
    ],
    "no-public-cluster": [
        (eks(), "its API is public, and publicAccessCidrs are missing"),
        (aws("eks.Cluster"), "set vpcConfig.endpointPublicAccess to false"),
        (eks(endpointPublicAccess=True, publicAccessCidrs=[]), "publicAccessCidrs are missing"),
        (eks(endpointPublicAccess=True, publicAccessCidrs=["52.1.0.0/16", "0.0.0.0/0"]), "its API is open to 0.0.0.0/0."),
        (eks(publicAccessCidrs=["0.0.0.0/1", "128.0.0.0/1"]), "open to 0.0.0.0/1, 128.0.0.0/1"),
        (eks(publicAccessCidrs=["::/0"]), "blocks of /16 or smaller"),
        (eks(publicAccessCidrs=["2a00::/32"]), "open to 2a00::/32"),
        (eks(publicAccessCidrs=["all"]), "open to all"),
    ],
    "cluster-secrets-encrypted": [
        (aws("eks.Cluster"), "set encryptionConfig to a key of KMS"),
        (aws("eks.Cluster", encryptionConfig={"resources": []}), "encryptionConfig for secrets is missing"),
    ],
    "node-disks-encrypted": [
        (aws("ec2.LaunchTemplate"), "blockDeviceMappings are missing"),
        (disk(volumeSize=100), "ebs.encrypted of /dev/xvda is not true"),
        (disk(encrypted="false"), "set ebs.encrypted to true"),
    ],
    "node-metadata-tokens": [
        (aws("ec2.LaunchTemplate"), "set metadataOptions.httpTokens to required"),
        (metadata(httpTokens="optional"), "is not set to required"),
        (metadata("Instance", httpEndpoint="enabled"), "httpTokens is not set"),
    ],
    "node-metadata-hops": [
        (aws("ec2.LaunchTemplate"), "httpPutResponseHopLimit is not set"),
        (metadata(httpPutResponseHopLimit=2.0), "is 2. Mend: set it to 1, and give pods roles of their own"),
    ],
    "cluster-audit-log": [
        (aws("eks.Cluster"), "add audit to enabledClusterLogTypes"),
        (aws("eks.Cluster", enabledClusterLogTypes=["api"]), "audit is missing"),
    ],
    "encrypted-at-rest": [
        (aws("rds.Instance"), "set storageEncrypted to true"),
        (aws("efs.FileSystem", encrypted=False), "encrypted is not true"),
        (aws("s3.BucketServerSideEncryptionConfiguration", rules=[{}]), "set sseAlgorithm to aws:kms"),
    ],
    "buckets-encrypted": [([bucket()], "BucketServerSideEncryptionConfiguration")],
    "encrypted-in-transit": [
        (aws("rds.ParameterGroup", parameters=[{"name": "rds.force_ssl", "value": "0"}]), "set rds.force_ssl to 1"),
        (aws("lb.Listener", protocol="HTTP", defaultActions=[{"type": "forward"}]), "redirect to HTTPS"),
        (k8s("Ingress", spec={"rules": []}), "it ends no TLS"),
    ],
    "backups": [
        (aws("rds.Instance", **{**KEPT, "backupRetentionPeriod": 1}), "set backupRetentionPeriod to 7"),
        (aws("rds.Instance"), "backups are kept for 0 days"),
        (aws("rds.Instance", **{**KEPT, "skipFinalSnapshot": True}), "without a last snapshot"),
    ],
    "backups-in-stack": [
        ([bucket()], "add an aws.s3.BucketVersioning"),
        ([bucket(), of_bucket("BucketVersioning", versioningConfiguration={"status": "Suspended"})], "is lost"),
        ([k8s("Cluster", "database"), k8s("CronJob", "gc")], "no copy of it is made"),
    ],
    "image-versions": [
        (task(image="mlflow:latest"), "image of server is 'mlflow:latest'"),
        (deployment(image="mlflow"), "a tag that is not 'latest'"),
        (docker(image="registry:5000/mlflow"), "another one tomorrow"),
        (docker("RemoteImage", name="nginx"), "'nginx'"),
        (k8s("Cluster", "database", spec={"imageName": "postgresql:latest"}), "image of instances"),
    ],
    "no-root-containers": [
        (task(user="0:0"), "container server: user is root"),
        (task(user=None), "or not given"),
        (task(privileged=True), "privileged is true"),
        (deployment({"runAsUser": 5}), "runAsNonRoot is not true"),
        (deployment({"runAsNonRoot": True, "runAsUser": 0}), "runAsUser is 0"),
        (deployment(securityContext={"privileged": True}), "privileged is true"),
        (deployment(securityContext={"allowPrivilegeEscalation": True}), "allowPrivilegeEscalation"),
        (docker(), "run it as a user of its own"),
        (docker(user="1", privileged=True), "privileged is true"),
    ],
    "no-secrets-in-plain": [
        (task(environment=[{"name": "DB_PASSWORD", "value": "hunter22"}]), "variable DB_PASSWORD of server is named like a secret"),
        (task(command=["--backend-store-uri", "postgresql://mlflow:hunter22@db/mlflow"]), "an argument of server is a URL with a password"),
        (deployment(env=[{"name": "URI", "value": "mysql://u:hunter22@db"}]), "a URL with a password"),
        (docker(envs=["AWS_SECRET_ACCESS_KEY=hunter22"], user="1"), "variable AWS_SECRET_ACCESS_KEY"),
        (docker(envs=[f"SOMETHING={SECRET}"], user="1"), "is a secret of the stack"),
        (docker(envs=SECRET, user="1"), "`docker inspect` shows it"),
        (aws("ecs.TaskDefinition", containerDefinitions=SECRET), "name it under `secrets`"),
        (k8s("ConfigMap", data={"key.pem": "-----BEGIN PRIVATE KEY-----hunter22"}), "put it into a Secret"),
    ],
    "memory-limits": [
        (task(memory=None), "set `memory` of the task"),
        (deployment(resources={}), "set resources.limits.memory"),
        (docker(), "set memory and memorySwap"),
    ],
    "tags": [
        (aws("s3.Bucket"), "tags are missing: pulumi-mlflow/deployment, pulumi-mlflow/role"),
        (aws("kms.Key", tags={"Name": "x"}), "missing"),
        (Resource("kubernetes:core/v1:Secret", "it", {"metadata": {"name": "x"}}), "labels are missing"),
        (Resource("docker:index/volume:Volume", "it"), "labels are missing"),
    ],
    "stateful-protected": [
        (aws("rds.Instance", **KEPT), "set protect=True"),
        (aws("rds.Instance", protected=True, **{**KEPT, "deletionProtection": False}), "set deletionProtection to true"),
        (aws("rds.Instance", protected=True, backupRetentionPeriod=7), "deletionProtection is not set"),
        (aws("s3.Bucket", protected=True, forceDestroy=True), "set forceDestroy to false"),
        (docker("Volume", "artifacts"), "it holds data and is not protected"),
        (aws("ec2.Vpc", cidrBlock="10.0.0.0/16"), "it is what databases stand in and is not protected"),
        (aws("ec2.Subnet", cidrBlock="10.0.0.0/24"), "not protected"),
        (k8s("PersistentVolumeClaim"), "not protected"),
        (k8s("Cluster", "database"), "not protected"),
        (Resource("pulumi-python:dynamic/pulumi-mlflow:GeneratedSecret", "it"), "not protected"),
    ],
    "memory-budget": [
        ([task(command=SERVE, memory="512")], "give it 1024 MiB, or fewer workers"),
        ([deployment(command=SERVE, resources={"limits": {"memory": "512Mi"}})], "must be ≥ 768 MiB"),
    ],
    "connection-budget": [
        (servers(2, "245"), "raise max_connections to 246"),
        (servers(6, "245"), "raise max_connections to 718"),
        (scaled(2, "363"), "raise max_connections to 364"),
        (servers(2, "481", 200), "raise max_connections to 482"),
        (servers(2, "481", None), "raise max_connections to 482"),
        (on_docker(127), "raise max_connections to 128"),
        (on_docker(20, docker(called="pooler", role="pooler")), "raise max_connections to 30"),
    ],
}  # fmt: skip

BY_NAME = {rule.name: rule for rule in checks.RULES}


def as_list(given):
    return given if isinstance(given, list) else [given]


def cases(table):
    for name, several in table.items():
        for index, one in enumerate(several):
            yield pytest.param(name, one, id=f"{name}-{index}")


def test_every_rule_has_both_kinds_of_cases_and_a_name_of_its_own():
    assert set(PASS) == set(FAIL) == set(BY_NAME)
    assert len(BY_NAME) == len(checks.RULES)
    assert all(bool(rule.one) != bool(rule.whole) for rule in checks.RULES)


@pytest.mark.parametrize(("name", "given"), cases(PASS))
def test_what_is_right_passes(name, given):
    assert [str(found) for found in BY_NAME[name].judge(as_list(given))] == []


@pytest.mark.parametrize(("name", "given"), cases(FAIL))
def test_what_is_wrong_is_found_with_its_mend(name, given):
    resources, text = given
    found = BY_NAME[name].judge(as_list(resources))
    assert len(found) == 1, [str(one) for one in found]
    said = str(found[0])
    assert text in said
    assert said.startswith(f"{found[0].resource.name}: ")
    assert ". Mend: " in said
    assert "hunter22" not in said


@pytest.mark.parametrize(("name", "given"), cases(FAIL))
def test_what_is_not_known_yet_is_no_finding_of_a_single_resource(name, given):
    """Apart from what is not there at all: that needs no value."""
    [first, *_] = as_list(given[0])
    unknown = dataclasses.replace(first, inputs=dict.fromkeys(first.inputs, UNKNOWN))
    if BY_NAME[name].one:
        said = [str(found) for found in BY_NAME[name].judge([unknown])]
        absent = (
            "not set",
            "not true",
            "kept for 0",
            "not protected",
            "missing",
            "no limit",
            "given",
        )
        assert all(any(word in one for word in absent) for one in said), said


def test_what_a_plan_takes_away_is_named():
    data, other = aws("s3.Bucket", "data"), aws("sns.Topic", "topic")
    steps = [
        Step("delete", data, None),
        Step("replace", data, data, ("bucket",)),
        Step("update", data, data),
        Step("create", None, data),
        Step("delete", other, None),
    ]
    said = [str(found) for found in stateful.losses(steps)]
    assert said == [
        "data: it holds data and would be deleted. Mend: keep what names it; to move data see docs/runbooks/moving.md.",
        "data: it holds data and would be replaced for bucket. Mend: keep what names it; to move data see docs/runbooks/moving.md.",
    ]
    assert (ROOT / "docs" / "runbooks" / "moving.md").is_file()


def test_a_vpc_that_would_be_another_one_is_named():
    ground = aws("ec2.Vpc", "vpc", protected=True)
    [said] = stateful.losses([Step("replace", ground, ground, ("cidrBlock",))])
    assert str(said).startswith(
        "vpc: it is what databases stand in and would be replaced for cidrBlock"
    )


def test_jobs_of_docker_are_containers_too():
    job = Resource(
        "pulumi-python:dynamic/pulumi-mlflow:DockerJob",
        "job",
        {"image": "mlflow:latest", "environment": {"DB_PASSWORD": "hunter22"}, "command": ["x"]},
    )
    assert len(workloads.containers(job)) == 1
    names = {rule.name for rule, _ in checks.judge([job])}
    assert names == {"image-versions", "no-secrets-in-plain"}
