"""Tags of AWS, labels of Kubernetes and Docker: whose it is, and what for."""

from collections.abc import Iterator

from pulumi_mlflow.core import naming
from pulumi_mlflow.core.plan import Resource

from .finding import DOCKER_CONTAINER, DOCKER_NETWORK, DOCKER_VOLUME, Finding, kind, labels

REQUIRED = tuple(naming.labels("", ""))

TAGGED = frozenset(
    f"aws:{name}"
    for name in (
        "acm/certificate:Certificate",
        "appautoscaling/target:Target",
        "backup/plan:Plan",
        "backup/restoreTestingPlan:RestoreTestingPlan",
        "backup/vault:Vault",
        "budgets/budget:Budget",
        "cloudwatch/logGroup:LogGroup",
        "cloudwatch/metricAlarm:MetricAlarm",
        "cognito/userPool:UserPool",
        "ec2/defaultSecurityGroup:DefaultSecurityGroup",
        "ec2/eip:Eip",
        "ec2/flowLog:FlowLog",
        "ec2/instance:Instance",
        "ec2/internetGateway:InternetGateway",
        "ec2/launchTemplate:LaunchTemplate",
        "ec2/natGateway:NatGateway",
        "ec2/routeTable:RouteTable",
        "ec2/securityGroup:SecurityGroup",
        "ec2/subnet:Subnet",
        "ec2/vpc:Vpc",
        "ec2/vpcEndpoint:VpcEndpoint",
        "ecr/repository:Repository",
        "ecs/cluster:Cluster",
        "ecs/service:Service",
        "ecs/taskDefinition:TaskDefinition",
        "efs/fileSystem:FileSystem",
        "eks/accessEntry:AccessEntry",
        "eks/addon:Addon",
        "eks/cluster:Cluster",
        "eks/nodeGroup:NodeGroup",
        "eks/podIdentityAssociation:PodIdentityAssociation",
        "iam/role:Role",
        "kms/key:Key",
        "lb/listener:Listener",
        "lb/listenerRule:ListenerRule",
        "lb/loadBalancer:LoadBalancer",
        "lb/targetGroup:TargetGroup",
        "rds/cluster:Cluster",
        "rds/clusterInstance:ClusterInstance",
        "rds/clusterParameterGroup:ClusterParameterGroup",
        "rds/instance:Instance",
        "rds/parameterGroup:ParameterGroup",
        "rds/proxy:Proxy",
        "rds/subnetGroup:SubnetGroup",
        "s3/bucket:Bucket",
        "secretsmanager/secret:Secret",
        "servicediscovery/privateDnsNamespace:PrivateDnsNamespace",
        "servicediscovery/service:Service",
        "sns/topic:Topic",
        "vpc/securityGroupEgressRule:SecurityGroupEgressRule",
        "vpc/securityGroupIngressRule:SecurityGroupIngressRule",
        "wafv2/webAcl:WebAcl",
    )
)
"""Types of AWS that take tags, of those that stacks of ours have or that people add beside them."""

_DOCKER = (DOCKER_CONTAINER, DOCKER_VOLUME, DOCKER_NETWORK)


def missing(resource: Resource) -> Iterator[Finding]:
    """Resources without the tags that every one of ours has (core/naming.py)."""
    if not (resource.type in TAGGED or resource.type in _DOCKER or _is_object(resource)):
        return
    found = labels(resource)
    if found is None:
        return
    lacking = [name for name in REQUIRED if name not in found]
    if lacking:
        word = "tags" if resource.type.startswith("aws:") else "labels"
        yield Finding(
            resource,
            f"{word} are missing: {', '.join(lacking)}",
            "add them, as naming.labels(deployment, role) gives them",
        )


def _is_object(resource: Resource) -> bool:
    """Whether it is an object of Kubernetes; charts, lists and patches are none by themselves."""
    return (
        resource.type.startswith("kubernetes:")
        and not resource.type.startswith(
            ("kubernetes:helm", "kubernetes:yaml", "kubernetes:kustomize")
        )
        and not kind(resource).endswith(("List", "Patch"))
    )
