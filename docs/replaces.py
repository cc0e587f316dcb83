"""Writes docs/replaces.md: which settings change a stateful resource in place, and which would make another one.

    python docs/replaces.py               the page, from docs/replaces.json and a run of our components under mocks
    python docs/replaces.py --check       only compare
    python docs/replaces.py --facts aws=FOLDER docker=FOLDER
                                          docs/replaces.json, from the Terraform providers' sources

Pulumi's AWS and Docker providers are bridges to those of Terraform: a property that has `ForceNew` in its schema there,
or `RequiresReplace` in that of Terraform's newer framework, is replaced. FOLDER is a checkout, or what
`go mod download -json MODULE@VERSION` calls `Dir`.
"""

import argparse
import importlib
import itertools
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parent.parent
FACTS: Final = ROOT / "docs" / "replaces.json"
PAGE: Final = ROOT / "docs" / "replaces.md"

SOURCES: Final = {
    "aws": "github.com/hashicorp/terraform-provider-aws v1.60.1-0.20260602190131-5f2286d6d836"
    " (commit 5f2286d6d836c1969afcf1b5b8f48194644295c6, 6.48.0 before its release)",
    "docker": "github.com/kreuzwerker/terraform-provider-docker v0.0.0-20260916201441-96d331c98ff4",
}
"""Package → Go module that its facts are from; Go's checksum database vouches for it."""

RESOURCES: Final = {
    "aws:backup/plan:Plan": "aws_backup_plan",
    "aws:backup/vault:Vault": "aws_backup_vault",
    "aws:backup/vaultLockConfiguration:VaultLockConfiguration": "aws_backup_vault_lock_configuration",
    "aws:cloudwatch/logGroup:LogGroup": "aws_cloudwatch_log_group",
    "aws:ec2/launchTemplate:LaunchTemplate": "aws_launch_template",
    "aws:ec2/securityGroup:SecurityGroup": "aws_security_group",
    "aws:ec2/subnet:Subnet": "aws_subnet",
    "aws:ec2/vpc:Vpc": "aws_vpc",
    "aws:ec2/vpcEndpoint:VpcEndpoint": "aws_vpc_endpoint",
    "aws:ecr/repository:Repository": "aws_ecr_repository",
    "aws:ecs/cluster:Cluster": "aws_ecs_cluster",
    "aws:ecs/service:Service": "aws_ecs_service",
    "aws:ecs/taskDefinition:TaskDefinition": "aws_ecs_task_definition",
    "aws:eks/accessEntry:AccessEntry": "aws_eks_access_entry",
    "aws:eks/accessPolicyAssociation:AccessPolicyAssociation": "aws_eks_access_policy_association",
    "aws:eks/addon:Addon": "aws_eks_addon",
    "aws:eks/cluster:Cluster": "aws_eks_cluster",
    "aws:eks/nodeGroup:NodeGroup": "aws_eks_node_group",
    "aws:eks/podIdentityAssociation:PodIdentityAssociation": "aws_eks_pod_identity_association",
    "aws:iam/role:Role": "aws_iam_role",
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": "aws_iam_role_policy_attachment",
    "aws:kms/key:Key": "aws_kms_key",
    "aws:lb/loadBalancer:LoadBalancer": "aws_lb",
    "aws:lb/targetGroup:TargetGroup": "aws_lb_target_group",
    "aws:rds/cluster:Cluster": "aws_rds_cluster",
    "aws:rds/clusterInstance:ClusterInstance": "aws_rds_cluster_instance",
    "aws:rds/clusterParameterGroup:ClusterParameterGroup": "aws_rds_cluster_parameter_group",
    "aws:rds/instance:Instance": "aws_db_instance",
    "aws:rds/instanceAutomatedBackupsReplication:InstanceAutomatedBackupsReplication": (
        "aws_db_instance_automated_backups_replication"
    ),
    "aws:rds/parameterGroup:ParameterGroup": "aws_db_parameter_group",
    "aws:rds/proxy:Proxy": "aws_db_proxy",
    "aws:rds/subnetGroup:SubnetGroup": "aws_db_subnet_group",
    "aws:s3/bucket:Bucket": "aws_s3_bucket",
    "aws:s3/bucketPolicy:BucketPolicy": "aws_s3_bucket_policy",
    "aws:s3/bucketVersioning:BucketVersioning": "aws_s3_bucket_versioning",
    "aws:secretsmanager/secret:Secret": "aws_secretsmanager_secret",
    "aws:secretsmanager/secretVersion:SecretVersion": "aws_secretsmanager_secret_version",
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": "aws_vpc_security_group_ingress_rule",
    "docker:index/container:Container": "docker_container",
    "docker:index/network:Network": "docker_network",
    "docker:index/volume:Volume": "docker_volume",
}
"""Pulumi's type → Terraform's: all that a cluster of ours has. What else the other components make holds nothing."""

STATEFUL: Final = {
    "aws:backup/vault:Vault": "backup vault",
    "aws:backup/vaultLockConfiguration:VaultLockConfiguration": "vault's lock",
    "aws:ec2/subnet:Subnet": "subnet",
    "aws:ec2/vpc:Vpc": "VPC",
    "aws:eks/cluster:Cluster": "EKS cluster",
    "aws:kms/key:Key": "key",
    "aws:rds/cluster:Cluster": "Aurora cluster",
    "aws:rds/instance:Instance": "RDS instance",
    "aws:rds/instanceAutomatedBackupsReplication:InstanceAutomatedBackupsReplication": "copied backups",
    "aws:rds/subnetGroup:SubnetGroup": "subnet group",
    "aws:s3/bucket:Bucket": "bucket",
    "aws:secretsmanager/secret:Secret": "secret",
    "docker:index/volume:Volume": "volume",
}
"""Types that hold data, or that such a one stands on or is opened by → how the page calls them."""

_SCHEMA: Final = re.compile(r"map\[string\](\*schema\.Schema|schema\.Attribute)\{$")
_ENTRY: Final = re.compile(r'^(\t+)("(?P<text>\w+)"|names\.(?P<name>Attr\w+)):\s+(?P<rest>.*)$')
_OPENS: Final = re.compile(r"^(schema\.\w+Attribute)?\{$")
_FORCE_NEW: Final = re.compile(r"^\t+(ForceNew:\s+true,|\w+planmodifier\.RequiresReplace\w*\()")
_SOMETIMES: Final = re.compile(r'(?:ForceNewIf\w*|\.ForceNew)\(\s*(?:"(\w+)"|names\.(Attr\w+))')


class SourceError(RuntimeError):
    """A provider's source is not written as this script reads it."""


class Argument(NamedTuple):
    """An argument of a Terraform resource."""

    name: str
    replaces: bool
    parts: tuple[str, ...] = ()
    """Paths of what is in it that replaces by itself, where it does not as a whole."""


# ---------------------------------------------------------------- the facts


def constants(folder: Path) -> dict[str, str]:
    """Read the names that the AWS provider keeps as constants; nothing where it has none."""
    found: dict[str, str] = {}
    for file in sorted((folder / "names").glob("attr_const*.go")):
        found |= dict(re.findall(r'(Attr\w+)\s*=\s*"(\w+)"', file.read_text()))
    return found


def schema(text: str, names: Mapping[str, str]) -> Iterator[Argument]:
    """Read the arguments of a resource out of the Go source of its schema.

    Args:
        text: of the file, or of the function, whose first schema is that of the resource; as gofmt writes it.
        names: constant → name.

    Raises:
        SourceError: there is no schema.
    """
    depth, lines = _body(text)
    # Arguments around a line, the outermost first: tabs, name, whether it replaces.
    around: list[tuple[int, str, bool]] = []
    parts: list[str] = []
    for line in lines:
        tabs = _tabs(line)
        entry = _ENTRY.match(line)
        if entry:
            argument = entry["text"] or names.get(entry["name"], entry["name"])
            if _OPENS.match(entry["rest"]):
                around.append((tabs, argument, False))
            elif tabs == depth + 1:
                yield Argument(argument, "ForceNew" in entry["rest"])
        elif around and line.strip() == "}," and tabs == around[-1][0]:
            path = ".".join(name for _, name, _ in around)
            _, argument, replaces = around.pop()
            if around and replaces:
                parts.append(path.partition(".")[2])
            elif not around:
                yield Argument(argument, replaces, () if replaces else tuple(parts))
                parts = []
        elif around and _FORCE_NEW.match(line):
            around[-1] = (*around[-1][:2], True)


def _body(text: str) -> tuple[int, list[str]]:
    """Find the first schema: tabs before it, and its lines."""
    lines = text.splitlines()
    start = next((i for i, line in enumerate(lines) if _SCHEMA.search(line)), None)
    if start is None:
        raise SourceError("no schema")
    depth = _tabs(lines[start])
    within = itertools.takewhile(
        lambda line: not line.strip() or _tabs(line) > depth, lines[start + 1 :]
    )
    return depth, list(within)


def _tabs(line: str) -> int:
    return len(line) - len(line.lstrip("\t"))


def sometimes(text: str, names: Mapping[str, str]) -> set[str]:
    """Names of arguments that a resource replaces under conditions of its own."""
    return {text or names.get(name, name) for text, name in _SOMETIMES.findall(text)}


def _mark(resource: str) -> re.Pattern[str]:
    """What stands before the function of a resource of AWS."""
    return re.compile(rf'// @(SDK|Framework)Resource\("{resource}"')


def source_file(folder: Path, resource: str) -> Path:
    """Find where a resource of a provider is written.

    Raises:
        SourceError: nowhere, or in several places.
    """
    if not resource.startswith("aws_"):
        return folder / "internal" / "provider" / f"resource_{resource}.go"
    mark = _mark(resource)
    found = [
        file
        for file in sorted(folder.glob("internal/service/*/*.go"))
        if not file.name.endswith(("_test.go", "_list.go", "_gen.go"))
        and mark.search(file.read_text())
    ]
    if len(found) != 1:
        raise SourceError(f"{resource}: in {found or 'no file'}")
    return found[0]


def read_resource(folder: Path, resource: str) -> tuple[Path, list[Argument], set[str]]:
    """Read what a provider's source says of a resource: its file, arguments, and those replaced at times."""
    file = source_file(folder, resource)
    text, names = file.read_text(), constants(folder)
    mark = _mark(resource).search(text)
    # In a file of several resources the annotation stands before its function.
    return (
        file.relative_to(folder),
        list(schema(text[mark.start() if mark else 0 :], names)),
        sometimes(text, names),
    )


def camel(name: str) -> str:
    """How Pulumi writes a name, or a path of names."""
    return re.sub(r"_(\w)", lambda found: found[1].upper(), name)


def plural(name: str) -> str:
    """How Pulumi calls most lists."""
    return f"{name[:-1]}ies" if name.endswith("y") else f"{name}s"


def pulumi_name(argument: Argument, known: set[str]) -> str | None:
    """How Pulumi calls an argument; None if its SDK has none such."""
    name = camel(argument.name)
    return next((one for one in (name, plural(name)) if one in known), None)


def picked(value: Any, path: str) -> Any:
    """What is at a part's path, in each element of a list; None where nothing is."""
    if isinstance(value, list):
        return [picked(one, path) for one in value]
    if not isinstance(value, dict):
        return None
    first, _, rest = path.partition(".")
    found = value.get(first, value.get(plural(first)))
    return picked(found, rest) if rest else found


def sdk_names(token: str) -> set[str]:
    """Names of the inputs of a resource in the installed SDK."""
    package, module, kind = token.split(":")
    path = f"pulumi_{package}" + ("" if package == "docker" else f".{module.split('/')[0]}")
    arguments = getattr(importlib.import_module(path), kind)._internal_init.__annotations__  # noqa: SLF001
    return {
        first + "".join(part.capitalize() for part in rest)
        for first, *rest in (name.split("_") for name in arguments)
    } - {"opts", "resourceName"}


def facts(folders: Mapping[str, Path]) -> dict[str, Any]:
    """What docs/replaces.json holds.

    Args:
        folders: package → its Terraform provider's source.
    """
    found: dict[str, Any] = {}
    for token, resource in RESOURCES.items():
        package = token.split(":")[0]
        file, arguments, conditional = read_resource(folders[package], resource)
        known = sdk_names(token)
        named = {name: one for one in arguments if (name := pulumi_name(one, known))}
        # The provider puts it into every schema, and replaces by it: internal/provider/sdkv2/region.go.
        everywhere = {"region"} & known if package == "aws" else set()
        # By a part of it; one that has a condition besides is of the others.
        parts = {
            n: [camel(p) for p in a.parts]
            for n, a in named.items()
            if a.parts and a.name not in conditional
        }
        at_times = {n for n, a in named.items() if a.name in conditional or a.parts}
        always = {n for n, a in named.items() if a.replaces} | everywhere
        found[token] = {
            "in_place": sorted(set(named) - at_times - always),
            "parts": parts,
            "replaces": sorted(always),
            "sometimes": sorted(at_times - always),
            "source": f"{SOURCES[package].split(' (')[0]}: {file.as_posix()}",
        }
    return found


def main() -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="fail if the page is not current")
    parser.add_argument(
        "--facts", nargs="+", metavar="PACKAGE=FOLDER", help="read the sources anew"
    )
    options = parser.parse_args()
    if options.facts:
        folders = {
            name: Path(path) for name, _, path in (one.partition("=") for one in options.facts)
        }
        FACTS.write_text(json.dumps(facts(folders), indent=1, sort_keys=True) + "\n")
    known = json.loads(FACTS.read_text())
    pages = importlib.import_module("replaces_page")
    page = pages.page(known, pages.outcomes(known))
    if options.check:
        if PAGE.read_text() != page:
            print(
                f"{PAGE.relative_to(ROOT)} is not current: python docs/replaces.py", file=sys.stderr
            )
            return 1
        return 0
    PAGE.write_text(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
