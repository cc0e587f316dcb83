"""What AWS adds to a resource's inputs: identifiers and addresses that look like its own."""

from __future__ import annotations

import hashlib
import uuid
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

ACCOUNT: Final = "111122223333"  # of AWS's own documentation
REGION: Final = "eu-central-1"

_BY_ARN: Final = "{arn}"
_IDS: Final = {
    "acm/certificate:Certificate": _BY_ARN,
    "ec2/eip:Eip": "eipalloc-{hex17}",
    "ec2/flowLog:FlowLog": "fl-{hex17}",
    "ec2/internetGateway:InternetGateway": "igw-{hex17}",
    "ec2/launchTemplate:LaunchTemplate": "lt-{hex17}",
    "ec2/natGateway:NatGateway": "nat-{hex17}",
    "ec2/routeTable:RouteTable": "rtb-{hex17}",
    "ec2/routeTableAssociation:RouteTableAssociation": "rtbassoc-{hex17}",
    "ec2/securityGroup:SecurityGroup": "sg-{hex17}",
    "ec2/subnet:Subnet": "subnet-{hex17}",
    "ec2/vpc:Vpc": "vpc-{hex17}",
    "ec2/vpcEndpoint:VpcEndpoint": "vpce-{hex17}",
    "ecs/cluster:Cluster": _BY_ARN,
    "ecs/service:Service": _BY_ARN,
    "kms/key:Key": "{uuid}",
    "lb/listener:Listener": _BY_ARN,
    "lb/listenerRule:ListenerRule": _BY_ARN,
    "lb/loadBalancer:LoadBalancer": _BY_ARN,
    "lb/targetGroup:TargetGroup": _BY_ARN,
    "secretsmanager/secret:Secret": _BY_ARN,
    "sns/topic:Topic": _BY_ARN,
    "vpc/securityGroupEgressRule:SecurityGroupEgressRule": "sgr-{hex17}",
    "vpc/securityGroupIngressRule:SecurityGroupIngressRule": "sgr-{hex17}",
    "wafv2/webAcl:WebAcl": _BY_ARN,
}
"""Type → its ids, where they are not its physical name."""

_NAMES: Final = ("bucket", "identifier", "clusterIdentifier", "name", "family")
"""Inputs that hold a physical name."""

_SERVICES: Final = {"cloudwatch": "logs", "lb": "elasticloadbalancing", "vpc": "ec2"}
"""Module → service in an ARN, where the two differ."""

_ARNS: Final = {
    "backup/vault:Vault": "arn:aws:backup:{place}:backup-vault:{name}",
    "cloudwatch/logGroup:LogGroup": "arn:aws:logs:{place}:log-group:{name}",
    "cloudwatch/metricAlarm:MetricAlarm": "arn:aws:cloudwatch:{place}:alarm:{name}",
    "ecs/taskDefinition:TaskDefinition": "arn:aws:ecs:{place}:task-definition/{name}:{revision}",
    "iam/role:Role": "arn:aws:iam::{account}:role/{name}",
    "kms/key:Key": "arn:aws:kms:{place}:key/{uuid}",
    "rds/cluster:Cluster": "arn:aws:rds:{place}:cluster:{name}",
    "rds/instance:Instance": "arn:aws:rds:{place}:db:{name}",
    "s3/bucket:Bucket": "arn:aws:s3:::{name}",
    "secretsmanager/secret:Secret": "arn:aws:secretsmanager:{place}:secret:{name}",
    "sns/topic:Topic": "arn:aws:sns:{place}:{name}",
}
"""Type → its ARNs; others are `arn:aws:SERVICE:PLACE:TYPE/NAME`."""

_RDS: Final = "{hex12}.{region}.rds.amazonaws.com"
_MASTER: Final = {
    "kmsKeyId": "arn:aws:kms:{place}:alias/aws/secretsmanager",
    "secretArn": "arn:aws:secretsmanager:{place}:secret:rds!{uuid}",
    "secretStatus": "active",
}
_OUTPUTS: Final[dict[str, dict[str, Any]]] = {
    "ec2/eip:Eip": {"allocationId": "eipalloc-{hex17}", "publicIp": "198.51.100.7"},
    "ec2/vpc:Vpc": {"defaultSecurityGroupId": "sg-{hex17}", "mainRouteTableId": "rtb-{hex17}"},
    "ec2/vpcEndpoint:VpcEndpoint": {"prefixListId": "pl-{hex17}"},
    "ecr/repository:Repository": {
        "registryId": "{account}",
        "repositoryUrl": "{account}.dkr.ecr.{region}.amazonaws.com/{name}",
    },
    "eks/cluster:Cluster": {
        "certificateAuthority": {"data": "LS0tLS1CRUdJTg=="},
        "endpoint": "https://{hex12}.gr7.{region}.eks.amazonaws.com",
        "vpcConfig": {"clusterSecurityGroupId": "sg-{hex17}"},
        "identities": [
            {"oidcs": [{"issuer": "https://oidc.eks.{region}.amazonaws.com/id/{hex17}"}]}
        ],
    },
    "kms/key:Key": {"keyId": "{uuid}"},
    "lb/loadBalancer:LoadBalancer": {
        "arnSuffix": "app/{name}/{hex17}",
        "dnsName": "{name}-1234567890.{region}.elb.amazonaws.com",
        "zoneId": "Z215JYRZR1TBD5",  # Frankfurt's
    },
    "lb/targetGroup:TargetGroup": {"arnSuffix": "targetgroup/{name}/{hex17}"},
    "rds/cluster:Cluster": {
        "clusterResourceId": "cluster-{hex17}",
        "endpoint": f"{{name}}.cluster-{_RDS}",
        "masterUserSecrets": [_MASTER],
        "readerEndpoint": f"{{name}}.cluster-ro-{_RDS}",
    },
    "rds/instance:Instance": {
        "address": f"{{name}}.{_RDS}",
        "endpoint": f"{{name}}.{_RDS}:5432",
        "masterUserSecrets": [_MASTER],
        "resourceId": "db-{hex17}",
    },
    "rds/proxy:Proxy": {"endpoint": f"{{name}}.proxy-{_RDS}"},
    "secretsmanager/secret:Secret": {"name": "{name}"},
    "secretsmanager/secretVersion:SecretVersion": {"versionId": "{uuid}"},
}
"""Type → what components read of it, its ARN and name aside. Texts and keys of `str.format`."""


REPLACED: Final = {
    "aws:ecs/taskDefinition:TaskDefinition": [
        "containerDefinitions",
        "cpu",
        "ephemeralStorage",
        "executionRoleArn",
        "family",
        "memory",
        "taskRoleArn",
        "volumes",
    ],
    "aws:s3/bucket:Bucket": ["bucket"],
    "aws:secretsmanager/secretVersion:SecretVersion": ["secretString"],
}
"""Type → what is replaced rather than updated, where no table says it: that whose ARN or version a rollout goes by."""


def made(
    kind: str, name: str, inputs: Mapping[str, Any], region: str
) -> tuple[str, dict[str, Any]]:
    """Tell the id and the computed outputs of a new resource.

    Args:
        kind: its type without the package, such as `rds/instance:Instance`.
        name: logical name.
        inputs: without the wrappers of secrets.
        region: of its provider.
    """
    region = str(inputs.get("region") or region)
    token = uuid.uuid4().hex
    given = next((str(inputs[key]) for key in _NAMES if inputs.get(key)), "")
    words = {
        "account": ACCOUNT,
        "hex12": token[:12],
        "hex17": token[:17],
        "name": given or f"{inputs.get('namePrefix') or name + '-'}{token[:8]}",
        "place": f"{region}:{ACCOUNT}",
        "region": region,
        "revision": str(_revision(inputs)),
        "uuid": str(uuid.UUID(token)),
    }
    module, short = kind.split("/", 1)[0], kind.rsplit(":", 1)[1].lower()
    usual = f"arn:aws:{_SERVICES.get(module, module)}:{{place}}:{short}/{{name}}"
    words["arn"] = _ARNS.get(kind, usual).format(**words)
    outputs: dict[str, Any] = {"name": words["name"], "arn": words["arn"], "region": region}
    outputs |= _filled(_OUTPUTS.get(kind, {}), words) | renewed(kind, inputs)
    if kind == "acm/certificate:Certificate":
        hosts = (inputs.get("domainName"), *(inputs.get("subjectAlternativeNames") or ()))
        outputs["domainValidationOptions"] = [_validation(str(host), token) for host in hosts]
    return _IDS.get(kind, "{name}").format(**words), outputs


def renewed(kind: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Tell the computed outputs that another input changes."""
    if kind != "ec2/launchTemplate:LaunchTemplate":
        return {}
    return {"latestVersion": _revision(inputs)}


def _filled(template: Any, words: Mapping[str, str]) -> Any:
    if isinstance(template, dict):
        return {key: _filled(value, words) for key, value in template.items()}
    if isinstance(template, list):
        return [_filled(item, words) for item in template]
    return template.format(**words)


def _revision(inputs: Mapping[str, Any]) -> int:
    """Another definition is another revision; which one AWS would count is not known here."""
    text = repr(sorted(inputs.items())).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:2]) + 1


def _validation(host: str, token: str) -> dict[str, str]:
    return {
        "domainName": host,
        "resourceRecordName": f"_{token}.{host}.",
        "resourceRecordType": "CNAME",
        "resourceRecordValue": f"_{token}.acm-validations.aws.",
    }


def answer(function: str, arguments: Mapping[str, Any], region: str) -> dict[str, Any] | None:
    """Answer a look-up, such as `aws:index/getRegion:getRegion`; None for one that is not known."""
    region = str(arguments.get("region") or region)
    user = f"arn:aws:iam::{ACCOUNT}:user/nobody"
    zones = {"names": [f"{region}{letter}" for letter in "abc"], "zoneIds": ["az1", "az2", "az3"]}
    known: dict[str, dict[str, Any]] = {
        "getAvailabilityZones": {"id": region, "region": region, **zones},
        "getCallerIdentity": {"accountId": ACCOUNT, "arn": user, "id": ACCOUNT, "userId": "AIDA"},
        "getPartition": {"id": "aws", "partition": "aws", "dnsSuffix": "amazonaws.com"},
        "getRegion": {"id": region, "name": region, "region": region},
    }
    return known.get(function.rsplit(":", 1)[1])
