"""The rules of this pack: pure functions over resources, without Pulumi's policy SDK."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pulumi_mlflow.core.plan import Resource

from . import backups, budgets, clusters, encryption, exposure, labels, stateful, workloads
from .finding import Finding

One = Callable[[Resource], Iterable[Finding]]
Whole = Callable[[Sequence[Resource]], Iterable[Finding]]


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        name: what an exception names.
        description: what must be, as one sentence.
        one: judges a resource by itself; asked before each is made.
        whole: judges a stack; asked after all are registered.
    """

    name: str
    description: str
    one: One | None = None
    whole: Whole | None = None

    def judge(self, resources: Sequence[Resource]) -> list[Finding]:
        """All that breaks it."""
        found = [finding for each in resources for finding in (self.one(each) if self.one else ())]
        return found + list(self.whole(resources) if self.whole else ())


RULES = (
    Rule("no-public-bucket", "No bucket is open to the public.", exposure.public_bucket),
    Rule(
        "buckets-block-public",
        "Every bucket refuses public access, whatever its policy says.",
        whole=exposure.unblocked_buckets,
    ),
    Rule(
        "no-public-database",
        "Databases and stores are reached from their network only.",
        exposure.public_database,
    ),
    Rule(
        "no-open-security-group",
        "Only the front door's ports are open to all addresses.",
        exposure.open_to_all,
    ),
    Rule(
        "no-public-cluster",
        "The API of a cluster is private, or open to a few named addresses.",
        clusters.public_endpoint,
    ),
    Rule("encrypted-at-rest", "Data is encrypted where it lies.", encryption.at_rest),
    Rule(
        "buckets-encrypted",
        "Every bucket names the key that it encrypts with.",
        whole=encryption.unencrypted_buckets,
    ),
    Rule(
        "cluster-secrets-encrypted",
        "A cluster's secrets are encrypted with a key of the account's.",
        clusters.secrets_at_rest,
    ),
    Rule("node-disks-encrypted", "Disks of nodes are encrypted.", clusters.disks_at_rest),
    Rule(
        "node-metadata-tokens",
        "The metadata of machines wants a token (IMDSv2).",
        clusters.tokens,
    ),
    Rule(
        "node-metadata-hops",
        "The metadata of machines does not reach the containers on them.",
        clusters.hops,
    ),
    Rule("cluster-audit-log", "A cluster logs who did what.", clusters.logs),
    Rule(
        "encrypted-in-transit",
        "Databases and front doors refuse plain connections.",
        encryption.in_transit,
    ),
    Rule("backups", "Databases keep backups, also when they are deleted.", backups.of_database),
    Rule(
        "backups-in-stack",
        "Buckets keep versions; databases in a cluster are copied elsewhere.",
        whole=backups.of_stack,
    ),
    Rule("image-versions", "Every image is named by a digest or a version.", workloads.versions),
    Rule("no-root-containers", "No container runs as root or privileged.", workloads.root),
    Rule(
        "no-secrets-in-plain",
        "Variables, arguments and ConfigMaps hold no secrets.",
        workloads.secrets,
    ),
    Rule("memory-limits", "Every container has a limit on its memory.", workloads.memory),
    Rule("tags", "Everything carries the tags that say whose it is.", labels.missing),
    Rule(
        "stateful-protected",
        "What holds data, or opens it, is protected from deletion.",
        stateful.unprotected,
    ),
    Rule(
        "memory-budget",
        "A server has the memory that its workers need.",
        whole=budgets.memory,
    ),
    Rule(
        "connection-budget",
        "The database accepts the connections that all servers open.",
        whole=budgets.connections,
    ),
)


def judge(resources: Sequence[Resource]) -> list[tuple[Rule, Finding]]:
    """All that breaks a rule."""
    return [(rule, finding) for rule in RULES for finding in rule.judge(resources)]
