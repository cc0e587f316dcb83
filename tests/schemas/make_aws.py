"""Makes aws-exclusive.json: which attributes AWS's provider takes together, and which not, out of its own source.

    python3 toolchain/setup.py run -- python tests/schemas/make_aws.py

Mocks and the test provider take any inputs, so a resource that the real provider refuses is found here or at the first `up`. The
source is a Go module, checked by Go's checksum database; it is under the MPL 2.0, and only names of attributes are kept. Rules within
blocks are left out: they name indices, and none of ours has two that exclude one another.
"""

import json
import re
import subprocess
from pathlib import Path

import pulumi_aws
from pulumi._types import input_type_py_to_pulumi_names

HERE = Path(__file__).resolve().parent
PAGE = HERE / "aws-exclusive.json"
MODULE = "github.com/hashicorp/terraform-provider-aws"
VERSION = "v1.60.1-0.20260602190131-5f2286d6d836"
"""Version 6.48 of the provider, that of pulumi_aws 7.51."""
TYPES = {
    "aws_acm_certificate": "acm/certificate:Certificate",
    "aws_backup_restore_testing_selection": "backup/restoreTestingSelection:RestoreTestingSelection",
    "aws_budgets_budget": "budgets/budget:Budget",
    "aws_cloudwatch_log_group": "cloudwatch/logGroup:LogGroup",
    "aws_cloudwatch_metric_alarm": "cloudwatch/metricAlarm:MetricAlarm",
    "aws_db_instance": "rds/instance:Instance",
    "aws_db_parameter_group": "rds/parameterGroup:ParameterGroup",
    "aws_db_proxy_target": "rds/proxyTarget:ProxyTarget",
    "aws_db_subnet_group": "rds/subnetGroup:SubnetGroup",
    "aws_eks_cluster": "eks/cluster:Cluster",
    "aws_eks_node_group": "eks/nodeGroup:NodeGroup",
    "aws_flow_log": "ec2/flowLog:FlowLog",
    "aws_iam_role": "iam/role:Role",
    "aws_iam_role_policy": "iam/rolePolicy:RolePolicy",
    "aws_kms_key": "kms/key:Key",
    "aws_launch_template": "ec2/launchTemplate:LaunchTemplate",
    "aws_lb": "lb/loadBalancer:LoadBalancer",
    "aws_lb_target_group": "lb/targetGroup:TargetGroup",
    "aws_nat_gateway": "ec2/natGateway:NatGateway",
    "aws_rds_cluster": "rds/cluster:Cluster",
    "aws_rds_cluster_instance": "rds/clusterInstance:ClusterInstance",
    "aws_rds_cluster_parameter_group": "rds/clusterParameterGroup:ClusterParameterGroup",
    "aws_route": "ec2/route:Route",
    "aws_route53_record": "route53/record:Record",
    "aws_route_table_association": "ec2/routeTableAssociation:RouteTableAssociation",
    "aws_s3_bucket": "s3/bucket:Bucket",
    "aws_secretsmanager_secret": "secretsmanager/secret:Secret",
    "aws_secretsmanager_secret_version": "secretsmanager/secretVersion:SecretVersion",
    "aws_subnet": "ec2/subnet:Subnet",
    "aws_vpc": "ec2/vpc:Vpc",
    "aws_vpc_endpoint": "ec2/vpcEndpoint:VpcEndpoint",
    "aws_vpc_security_group_ingress_rule": "vpc/securityGroupIngressRule:SecurityGroupIngressRule",
    "aws_wafv2_web_acl": "wafv2/webAcl:WebAcl",
}
"""The provider's types that we make and that have such rules, and their names in pulumi_aws."""
RULES = {
    "ConflictsWith": "at_most_one",
    "ExactlyOneOf": "exactly_one",
    "AtLeastOneOf": "at_least_one",
    "RequiredWith": "requires",
}
"""The provider's word → ours: at most, exactly or at least one of them is given; the first is given only with the second."""
_KEY = r'(names\.\w+|"\w+"|[a-z]\w+)'
_FIELD = re.compile(rf"^(\t+){_KEY}: +(?:\{{|schema\.)", re.MULTILINE)
_RULE = re.compile(
    r"^(\t+)(" + "|".join(RULES) + r"):\s+(?:\[\]string\{([^}]*)\}|(\w+),)", re.MULTILINE
)
_VALIDATOR = re.compile(r"resourcevalidator\.(\w+)\(([^;]*?)\n\t\t\)", re.DOTALL)


def module():
    """The folder of the provider's source."""
    command = ["go", "mod", "download", "-json", f"{MODULE}@{VERSION}"]
    done = subprocess.run(command, cwd="/", stdout=subprocess.PIPE, text=True, check=True)
    return Path(json.loads(done.stdout)["Dir"])


def sources(folder):
    """Type of the provider → file and text of what declares it."""
    found = {}
    for path in sorted((folder / "internal" / "service").glob("*/*.go")):
        text = path.read_text()
        for name in re.findall(r'@(?:SDK|Framework)Resource\("(aws_\w+)"', text):
            found[name] = path.relative_to(folder).as_posix(), text
    return found


def rules(text, name, constants):
    """Kind and attributes of each rule at the top level of a resource."""

    known = constants | dict(re.findall(r'^\t(\w+)\s+= "(\w+)"', text, re.MULTILINE))
    lists = dict(re.findall(r"(\w+) = \[\]string\{([^}]*)\}", text))

    def plain(word):
        return word.strip('"') if word.startswith('"') else known[word.removeprefix("names.")]

    # The provider writes the schema into the function below the annotation, or into its method.
    body = text[text.index(f'Resource("{name}"') :]
    parts = re.split(r"^func ", body, flags=re.MULTILINE)
    schema = next((one for one in parts if _FIELD.search(one)), "")
    fields = list(_FIELD.finditer(schema))
    top = min((len(match[1]) for match in fields), default=0)
    fields = [match for match in fields if len(match[1]) == top]
    ends = [*(match.start() for match in fields[1:]), len(schema)][: len(fields)]
    for field, end in zip(fields, ends, strict=True):
        for indent, kind, inline, named in _RULE.findall(schema[field.start() : end]):
            listed = inline or lists[named]
            if len(indent) != top + 1 or "." in listed.replace("names.", ""):
                continue  # of a block within it
            own, others = plain(field[2]), {plain(word) for word in re.findall(_KEY, listed)}
            others -= {own}
            if kind == "ConflictsWith":
                yield from ((RULES[kind], sorted((own, one))) for one in others)
            elif kind == "RequiredWith":
                yield from ((RULES[kind], [own, one]) for one in others)
            else:
                yield RULES[kind], sorted({own, *others})
    for kind, listed in _VALIDATOR.findall(body):
        yield RULES[kind], [plain(word) for word in re.findall(rf"MatchRoot\({_KEY}\)", listed)]


def inputs(token):
    """Attribute of the provider → name of the input of pulumi_aws. Lists have the plural."""
    section, name = token.split("/")[0], token.rsplit(":", 1)[1]
    given = input_type_py_to_pulumi_names(getattr(getattr(pulumi_aws, section), f"{name}Args"))

    def find(attribute):
        for python in (attribute, f"{attribute}s", f"{attribute.removesuffix('y')}ies"):
            if python in given:
                return given[python]
        return None  # one that Pulumi left out

    return find


def main():
    """Write the page."""
    folder = module()
    constants = dict(
        re.findall(
            r'^\t(Attr\w+)\s+= "([^"]+)"',
            (folder / "names/attr_consts_gen.go").read_text(),
            re.MULTILINE,
        )
    )
    known, page = sources(folder), {}
    for name, token in sorted(TYPES.items()):
        path, text = known[name]
        find, found = inputs(token), set()
        for kind, attributes in rules(text, name, constants):
            names = tuple(camel for one in attributes if (camel := find(one)))
            if len(names) > 1:
                found.add((kind, names))
        page[f"aws:{token}"] = {
            "rules": [{kind: list(names)} for kind, names in sorted(found)],
            "source": f"{MODULE} {VERSION}: {path}",
        }
    PAGE.write_text(json.dumps(page, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
