# ruff: noqa: E501 - rows of tables
"""The page of docs/replaces.py: our components run under mocks, once with each setting and once with another."""

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

# By name: it lies beside this file, where mypy does not look.
_FACTS: Final[Any] = importlib.import_module("replaces")
ROOT: Final[Path] = _FACTS.ROOT
SOURCES: Final[dict[str, str]] = _FACTS.SOURCES
STATEFUL: Final[dict[str, str]] = _FACTS.STATEFUL

if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))


class Setting(NamedTuple):
    """A setting that is changed."""

    component: str
    name: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    made_with: bool = False
    """Whether data was made with it, so that a change is meant to be refused."""


class Changes(NamedTuple):
    """What becomes of resources: type → the properties that change."""

    updates: dict[str, list[str]]
    replaces: dict[str, list[str]]
    unproved: dict[str, list[str]]


class Outcome(NamedTuple):
    """What a change does."""

    data: Changes
    """To what holds data."""
    others: Changes
    """To what holds none."""
    added: list[str]
    removed: list[str]
    refused: bool
    """By the guard, at preview."""
    protected: bool
    """Whether all that would be replaced, and holds data, is protected."""


_AURORA: Final = {"engine": "aurora-postgresql", "instance_class": "db.r7g.large"}
_FAR: Final = {"backup_region": "eu-west-1"}
_PROXY: Final = {"proxy": {"ca": "PEM"}}
_ADMIN: Final = "arn:aws:iam::111122223333:role/"
_OFFICE: Final = {"public": True, "allowed_cidrs": ["52.1.0.0/16"]}

SETTINGS: Final = (
    Setting("AwsDatabase", "instance_class", {}, {"instance_class": "db.r7g.xlarge"}),
    Setting("AwsDatabase", "version, minor", {"version": "15.8"}, {"version": "15.10"}),
    Setting("AwsDatabase", "version, major (allow_major_upgrade)", {"version": "15"}, {"version": "16", "allow_major_upgrade": True, "apply_immediately": True}),
    Setting("AwsDatabase", "storage_gb", {}, {"storage_gb": 200}),
    Setting("AwsDatabase", "max_storage_gb", {}, {"max_storage_gb": 500}),
    Setting("AwsDatabase", "max_connections", {}, {"max_connections": 200}),
    Setting("AwsDatabase", "multi_az", {}, {"multi_az": False}),
    Setting("AwsDatabase", "backup_days", {}, {"backup_days": 30}),
    Setting("AwsDatabase", "backup_days (with backup_region)", _FAR, {**_FAR, "backup_days": 30}),
    Setting("AwsDatabase", "backup_region", {}, _FAR),
    Setting("AwsDatabase", "iam_auth", {}, {"iam_auth": True}),
    Setting("AwsDatabase", "proxy", {}, _PROXY),
    Setting("AwsDatabase", "apply_immediately", {}, {"apply_immediately": True}),
    Setting("AwsDatabase", "deletion_protection", {}, {"deletion_protection": False}),
    Setting("AwsDatabase", "username", {}, {"username": "tracking"}),
    Setting("AwsDatabase", "engine", {}, {"engine": "mysql"}, made_with=True),
    Setting("AwsDatabase", "name", {}, {"name": "other"}, made_with=True),
    Setting("AwsDatabase, Aurora", "instance_class", _AURORA, {**_AURORA, "instance_class": "db.r7g.xlarge"}),
    Setting("AwsDatabase, Aurora", "version", {**_AURORA, "version": "15.8"}, {**_AURORA, "version": "16.4", "allow_major_upgrade": True, "apply_immediately": True}),
    Setting("AwsDatabase, Aurora", "backup_days", _AURORA, {**_AURORA, "backup_days": 30}),
    Setting("AwsDatabase, Aurora", "replica, multi_az", {**_AURORA, "multi_az": False}, {**_AURORA, "replica": True}),
    Setting("AwsDatabase, Aurora", "iam_auth", _AURORA, {**_AURORA, "iam_auth": True}),
    Setting("AwsArtifactStore", "vpc_only", {}, {"vpc_only": False}),
    Setting("AwsArtifactStore", "clients", {"vpc_only": False}, {"vpc_only": False, "clients": ["203.0.113.0/24"]}),
    Setting("AwsArtifactStore", "expire_multipart_days", {}, {"expire_multipart_days": 3}),
    Setting("AwsArtifactStore", "keep_deleted_days", {}, {"keep_deleted_days": 90}),
    Setting("AwsArtifactStore", "tiering_days", {}, {"tiering_days": 30}),
    Setting("AwsArtifactStore", "access_logs", {"access_logs": False}, {}),
    Setting("AwsArtifactStore", "replica_region", {}, {"replica_region": "eu-west-1"}),
    Setting("AwsArtifactStore", "trusted_roles", {}, {"trusted_roles": ["arn:aws:iam::111122223333:role/r"]}),
    Setting("AwsArtifactStore", "bucket", {}, {"bucket": "artifacts-of-others"}, made_with=True),
    Setting("AwsBackup", "keep_days", {}, {"keep_days": 60}),
    Setting("AwsBackup", "copy_region", {}, {"copy_region": "eu-west-1"}),
    Setting("AwsBackup", "test_types", {}, {"test_types": ["RDS", "S3"]}),
    Setting("AwsBackup", "immutable_after_days", {}, {"immutable_after_days": 30}, made_with=True),
    Setting("AwsNetwork", "zones, a third one", {}, {"zones": ["a", "b", "c"]}),
    Setting("AwsNetwork", "nat", {}, {"nat": "single"}),
    Setting("AwsNetwork", "flow_logs", {}, {"flow_logs": False}),
    Setting("AwsNetwork", "foreign_buckets", {}, {"foreign_buckets": ["b"]}),
    Setting("AwsNetwork", "cidr", {}, {"cidr": "10.43.0.0/16"}, made_with=True),
    Setting("AwsEksCluster", "version", {}, {"version": "1.34"}),
    Setting("AwsEksCluster", "addon_versions", {}, {"addon_versions": {"coredns": "v1.12.1-eksbuild.2"}}),
    Setting("AwsEksCluster", "nodes.release", {}, {"nodes": {"release": "1.33.4-20250904"}}),
    Setting("AwsEksCluster", "nodes.min, max", {}, {"nodes": {"min": 3, "max": 9, "desired": 3}}),
    Setting("AwsEksCluster", "nodes.desired", {}, {"nodes": {"desired": 4}}),
    Setting("AwsEksCluster", "nodes.instance_type", {}, {"nodes": {"instance_type": "r6i.xlarge"}}),
    Setting("AwsEksCluster", "nodes.disk_gb", {}, {"nodes": {"disk_gb": 500}}),
    Setting("AwsEksCluster", "allowed_cidrs", {}, {"allowed_cidrs": ["10.0.0.0/8"]}),
    Setting("AwsEksCluster", "public", {}, _OFFICE),
    Setting("AwsEksCluster", "allowed_cidrs (public)", _OFFICE, {**_OFFICE, "allowed_cidrs": ["52.2.0.0/16"]}),
    Setting("AwsEksCluster", "admins, one more", {}, {"admins": {"a": f"{_ADMIN}a", "b": f"{_ADMIN}b"}}),
    Setting("AwsEksCluster", "admins, another role", {}, {"admins": {"a": f"{_ADMIN}b"}}),
    Setting("AwsEksCluster", "log_types", {}, {"log_types": ["audit", "api"]}),
    Setting("AwsEksCluster", "extended_support", {}, {"extended_support": True}),
    Setting("AwsEksCluster", "endpoints", {}, {"endpoints": True}),
    Setting("AwsEksCluster", "deletion_protection", {}, {"deletion_protection": False}),
    Setting("AwsEksCluster", "network, a third zone", {}, {"zones": ["subnet-c"]}),
    Setting("AwsEksCluster", "deployment", {}, {"deployment": "other"}, made_with=True),
)  # fmt: skip
"""Whatever may be changed of what holds data, or of what such a thing stands on."""


def makers() -> dict[str, Callable[[Mapping[str, Any]], Any]]:
    """Component → what makes one from changed arguments, once a program runs."""
    support = importlib.import_module("tests.components.aws_support")
    there = {"network": support.NETWORK}
    database = importlib.import_module("pulumi_mlflow.aws.database").AwsDatabase
    store = importlib.import_module("pulumi_mlflow.aws.artifacts").AwsArtifactStore
    backup = importlib.import_module("pulumi_mlflow.aws.backup").AwsBackup
    network = importlib.import_module("pulumi_mlflow.aws.network").AwsNetwork
    eks = importlib.import_module("pulumi_mlflow.aws.eks").AwsEksCluster
    given: Mapping[str, Any] = {"region": support.REGION, "role": "r", "resources": ["arn:x"]}
    region = support.REGION

    def zones(args: Mapping[str, Any]) -> dict[str, Any]:
        return {"region": region, **args, **({"zones": [f"{region}{z}" for z in args["zones"]]} if "zones" in args else {})}  # fmt: skip

    def cluster(zones: Sequence[str] = (), **args: Any) -> dict[str, Any]:
        known = support.NETWORK
        there = {**known, "private_subnets": [*known["private_subnets"], *zones]}
        return {"network": there, "version": "1.33", "admins": {"a": f"{_ADMIN}a"}, **args}

    return {
        "AwsDatabase": lambda args: database("database", {**there, **args}),
        "AwsDatabase, Aurora": lambda args: database("database", {**there, **args}),
        "AwsArtifactStore": lambda args: store("artifacts", {"bucket": "artifacts-of-acme", **there, **args}),
        "AwsBackup": lambda args: backup("backup", {**given, **args}),
        "AwsNetwork": lambda args: network("network", zones(args)),
        "AwsEksCluster": lambda args: eks("eks", cluster(**args)),
    }  # fmt: skip


def ran(setting: Setting, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Register a component with these arguments, under mocks: logical name → what was registered."""
    support = importlib.import_module("tests.components.aws_support")
    make = makers()[setting.component]
    seen: dict[str, Any] = support.Program(lambda: make(arguments)).seen
    return seen


def outcome(setting: Setting, facts: Mapping[str, Any]) -> Outcome:
    """What the change of a setting does."""
    was, now = ran(setting, setting.before), ran(setting, setting.after)
    stateful = {name for name, one in {**was, **now}.items() if one.typ in STATEFUL}
    data, others = Changes({}, {}, {}), Changes({}, {}, {})
    for name in sorted(set(was) & set(now)):
        if was[name].typ.startswith("aws:"):
            judge(data if name in stateful else others, facts, was[name], now[name])
    guarded = any(
        one.typ.endswith("DataGuard") and now[name].inputs != one.inputs
        for name, one in was.items()
        if name in now
    )
    bare = {was[name].typ for name in stateful & set(was) if not was[name].protect}
    return Outcome(
        data,
        others,
        added=sorted(stateful & set(now) - set(was)),
        removed=sorted(stateful & set(was) - set(now)),
        refused=guarded,
        protected=not bare & set(data.replaces),
    )


def judge(found: Changes, facts: Mapping[str, Any], was: Any, now: Any) -> None:
    """Sort the changed properties of one resource by what they do to it."""
    known = facts.get(was.typ, {"replaces": (), "in_place": (), "parts": {}})
    for key in sorted(set(was.inputs) | set(now.inputs)):
        before, after = (heeded(one.inputs.get(key), key, now.ignored) for one in (was, now))
        if before == after or key in now.ignored:
            continue
        parts = [
            (_FACTS.picked(before, path), _FACTS.picked(after, path))
            for path in known["parts"].get(key, ())
        ]
        if key in known["replaces"] or any(one != other for one, other in parts):
            into = found.replaces
        elif key in known["in_place"] or parts:
            into = found.updates
        else:
            into = found.unproved
        into.setdefault(was.typ, []).append(key)


def heeded(value: Any, key: str, ignored: set[str]) -> Any:
    """Leave out of a property what Pulumi is told to ignore in it."""
    if not isinstance(value, dict):
        return value
    return {name: one for name, one in value.items() if f"{key}.{name}" not in ignored}


def told(properties: Mapping[str, list[str]]) -> str:
    """Name resources with their properties."""
    return "; ".join(
        f"{STATEFUL.get(typ) or typ.rsplit(':', 1)[1]}: {_code(list(dict.fromkeys(keys)))}"
        for typ, keys in properties.items()
    )


def _held(found: Outcome) -> str:
    """What keeps a replacement from happening."""
    if found.refused:
        return "refused at preview by the guard"
    if found.protected:
        return "it is protected, so `up` ends with an error and nothing is lost"
    return "**not protected**"


def row(setting: Setting, found: Outcome) -> str:
    """A line of the table."""
    data, others = found.data, found.others
    if data.replaces:
        verdict, touched = f"**would replace**: {_held(found)}", told(data.replaces)
    elif data.unproved:
        verdict, touched = "unproved", told(data.unproved)
    elif found.refused:
        verdict, touched = "refused at preview by the guard", told(data.updates)
    else:
        verdict, touched = "update" if data.updates else "no change of it", told(data.updates)
    extra = [f"adds `{name}`" for name in found.added]
    extra += [f"removes `{name}`" for name in found.removed]
    if data.replaces or found.refused:
        rest = []
    else:
        words = {
            "**made anew**": others.replaces,
            "unproved": others.unproved,
            "update": others.updates,
        }
        rest = [f"{word}: {told(changed)}" for word, changed in words.items() if changed]
    by = "; ".join([touched, *extra] if touched else extra)
    return f"| {setting.component} | `{setting.name}` | {verdict} | {by} | {'. '.join(rest)} |"


_HEAD: Final = """# What changes in place, and what would be replaced

Made by [docs/replaces.py](replaces.py); do not edit. A test compares it, and fails if a setting that should change in
place touches a property by which the provider replaces what holds data.

Of AWS and Docker the replace set is that of the provider's own schema: `ForceNew` (in Terraform's newer framework
`RequiresReplace`) in the Terraform provider that Pulumi's is a bridge to. The script reads it from the source; [replaces.json](replaces.json) keeps it, with the file of each type. Sources:

{sources}

Pulumi's bridge can override single properties, and the versions of bridge and source are near but not the same: those
were not compared. What a row says was found by running our component under mocks twice, once with each value.
`unproved`: the source says nothing, or makes it depend on values; or, of what holds none, it was not read.

What holds data is also what others stand on: a VPC, a key, a cluster of EKS. What holds none may be made anew: the new one is there
before the old one goes, where the provider does not need its name.

## Settings of our AWS components

| component | setting | what holds data | by | what holds none |
| --- | --- | --- | --- | --- |
"""

_KUBERNETES: Final = """
## Kubernetes

An object's own schema does not say what may change; the API server's validation does. Each row was asked of a real API server
(1.32.13) by [tests/kubernetes/test_apiserver.py](../tests/kubernetes/test_apiserver.py); where the rule is written in `k8s.io/kubernetes` v1.32.13 stands beside it.

| object | field | server's answer | rule |
| --- | --- | --- | --- |
| Deployment | `replicas`, image, memory | update | |
| Deployment | `selector` | refused: immutable | `pkg/apis/apps/validation`, `ValidateDeploymentUpdate` |
| StatefulSet | image | update | |
| StatefulSet | `serviceName` | refused, as all but replicas, template, strategy and the claims' retention | `pkg/apis/apps/validation`, `ValidateStatefulSetUpdate` |
| Job | template | refused: immutable. Ours has another name for another template | `pkg/apis/batch/validation`, `ValidateJobSpecUpdate` |
| CronJob | `schedule` | update | |
| PersistentVolumeClaim | `storageClassName`, `accessModes` | refused: immutable | `pkg/apis/core/validation`, `ValidatePersistentVolumeClaimUpdate` |
| PersistentVolumeClaim | `resources.requests.storage`, smaller | refused | the same |

What is refused, Pulumi's Kubernetes provider proposes as a replacement; of what is protected `up` then ends with an error. Which fields it
takes for such is in its own source, which was not read: unproved. So is all of CloudNativePG's `Cluster`: its webhook decides.

## Every property by which a stateful resource is replaced

| resource | properties | at times |
| --- | --- | --- |
"""


def outcomes(facts: Mapping[str, Any]) -> list[tuple[Setting, Outcome]]:
    """What the change of each setting does."""
    return [(setting, outcome(setting, facts)) for setting in SETTINGS]


def page(facts: Mapping[str, Any], found: Sequence[tuple[Setting, Outcome]]) -> str:
    """The whole page.

    Args:
        facts: content of docs/replaces.json.
        found: from `outcomes`.
    """
    sources = "\n".join(f"- {package}: `{source}`" for package, source in SOURCES.items())
    rows = [row(setting, done) for setting, done in found]
    listed = [
        f"| `{typ}` | {_code(facts[typ]['replaces'])} | {_code(facts[typ]['sometimes'])} |"
        for typ in STATEFUL
    ]
    return (
        _HEAD.format(sources=sources)
        + "\n".join(rows)
        + "\n"
        + _KUBERNETES
        + "\n".join(listed)
        + "\n"
    )


def _code(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
