"""What is wrong with a stack's settings, how to say it, and the command that mends it."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from pydantic import BaseModel, SecretStr

NAMESPACE = "mlflow"
"""Namespace of our keys in a stack's file."""

Path = tuple[str | int, ...]
"""Where a setting stands: keys and list indexes, such as `("access", "hosts", 0)`."""

_SHOWN = 60
"""Characters of a wrong value that a message shows."""

_SECRET_KEY = re.compile(r"pass|secret|token|key|cred|salt|kek|private|dsn|redis", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"://[^/]*@")


class Rule(StrEnum):
    """Every rule that a stack's settings are checked against. The ids are stable; the docs and tests list them."""

    meaning: str
    """One sentence for the docs."""

    def __new__(cls, identity: str, meaning: str) -> Self:  # noqa: D102
        rule = str.__new__(cls, identity)
        rule._value_ = identity
        rule.meaning = meaning
        return rule

    UNKNOWN_KEY = (
        "unknown-key",
        "The key is none of those above. Secrets are generated, so no key takes one.",
    )
    MISSING = "missing", "A key without a default is not given."
    WRONG_TYPE = "wrong-type", "The value has another type than the key."
    NOT_A_CHOICE = "not-a-choice", "The value is none of the key's choices."
    OUT_OF_RANGE = "out-of-range", "A number is below its minimum or over its maximum."
    OTHER_RUNTIME = "other-runtime", "The key has no meaning in the stack's runtime."
    LATEST = "latest", "A version is `latest`, which is another one tomorrow."
    TRACKING_VERSION = "tracking-version", "MLflow's version is not the one of this release."
    ALLOWED_HOST = (
        "allowed-host",
        "An allowed host is no host name or address; `*` would allow every one.",
    )
    PUBLIC_HOST = "public-host", "A public host is no host name or address; `*` is none."
    BIND = "bind", "The bind address is no IP address of its own (`localhost` is accepted)."
    PORT = "port", "The port is not within 1-65535."
    PORT_PRIVILEGED = (
        "port-privileged",
        "A port below 1024 needs root, and a local server runs as you.",
    )
    LOGIN_NAME = "login-name", "The login name cannot stand in an htpasswd file."
    DATABASE_NAME = (
        "database-name",
        "The name of a database to be made is no plain identifier, or is reserved.",
    )
    DATABASE_USER = (
        "database-user",
        "The user of a database to be made is no plain identifier, or is reserved.",
    )
    NAME_LENGTH = (
        "name-length",
        "The name of an existing database or of its user is longer than its engine takes.",
    )
    SYSTEM_DATABASE = "system-database", "The database is one that its server keeps for itself."
    SEARCH_PATH = "search-path", "The search path is none, or the engine has no schemas."
    MAX_OVERFLOW_ZERO = (
        "max-overflow-zero",
        "An overflow of 0 is ignored by MLflow, which then takes its default.",
    )
    BUCKET_NAME = "bucket-name", "The bucket's name breaks the rules of S3."
    DATA_DIR_RELATIVE = (
        "data-dir-relative",
        "The data folder is not absolute, or goes through `..`.",
    )
    DATA_DIR_UNSAFE = "data-dir-unsafe", "The data folder belongs to the system or to all of you."
    REGION = "region", "The AWS region does not look like one."
    VPC_CIDR = "vpc-cidr", "The VPC's address block is not private, or not between /16 and /24."
    NAMESPACE = "namespace", "The Kubernetes namespace is no DNS label, or is Kubernetes' own."
    DATABASE_HOST = "database-host", "The host of an existing database is no host name or address."
    NFS = "nfs", "Server, path or options of an NFS export cannot be mounted."
    EMAIL_DOMAIN = "email-domain", "A mail domain is none."
    HTML_SOURCE = "html-source", "A source of HTML artifacts is no https origin."
    ENDPOINT_URL = (
        "endpoint-url",
        "The URL of an existing store is none, or says more than where it is.",
    )
    FRONT_URL = "front-url", "The public URL of the stack is none, or says more than where it is."
    PUBLIC_URL = "public-url", "The public URL of the store is none, or says more than where it is."
    OIDC_ISSUER = "oidc-issuer", "The issuer is no URL, or not https beyond a private network."
    PREFIX = "prefix", "The prefix in a bucket has characters that not every store keeps."
    ARTIFACT_URI = "artifact-uri", "The URI is none of Google's or Azure's stores."
    NETWORK_NAME = "network-name", "The network to join is no name, or one of Docker's own."
    SECRET_PLAIN = "secret-plain", "A secret stands unencrypted in the stack's file, or is empty."
    SECRET_MISSING = "secret-missing", "A secret that other settings need is not given."
    SECRET_UNUSED = "secret-unused", "A secret is given that nothing needs."
    ENGINE = "engine", "The database engine is not offered in this runtime."
    STORE = "store", "The artifact store is not offered in this runtime."
    AUTH = "auth", "The way to log in is not offered in this runtime."
    AUTH_NONE = "auth-none", "Without a login the server may listen on loopback only."
    HOST_MISSING = "host-missing", "A server that others reach needs its public host name."
    SQLITE_REPLICAS = "sqlite-replicas", "A SQLite file serves one replica."
    DOCKER_REPLICAS = "docker-replicas", "The docker runtime runs one replica in this release."
    DATABASE_VERSION = "database-version", "The database's version is not offered."
    BUILD_VERSION = "build-version", "Images built from packages hold one version of each engine."
    USER_LENGTH = "user-length", "MySQL and MariaDB take user names of 32 characters at most."
    PGBOUNCER = "pgbouncer", "PgBouncer speaks PostgreSQL's protocol only."
    EXISTING_ENGINE = "existing-engine", "A SQLite file is not a server that exists elsewhere."
    EXISTING_MEMORY = (
        "existing-memory",
        "The memory of an existing server is not this stack's to set.",
    )
    EXISTING_LOOPBACK = (
        "existing-loopback",
        "In a container, loopback is the container itself.",
    )
    CA_MISSING = (
        "ca-missing",
        "A server's certificate is to be verified, but its authority's is not given.",
    )
    CA_UNUSED = "ca-unused", "An authority is given, but no certificate is verified."
    CONNECTIONS = (
        "connections",
        "The servers' pools could ask for more connections than the database has.",
    )
    WORKER_MEMORY = "worker-memory", "The workers need more memory than the server's limit."
    BUCKET_MISSING = (
        "bucket-missing",
        "An existing bucket must be named; ours is made with a name of its own.",
    )
    STORE_EXISTING = "store-existing", "Only `store: s3` is a store that exists already."
    EXISTING_MISSING = "existing-missing", "`store: s3` in Docker is a bucket that exists already."
    URI_MISSING = "uri-missing", "`gcs` and `azure` need the URI of their container."
    URI_SCHEME = "uri-scheme", "The URI belongs to another kind of store."
    URI_UNUSED = "uri-unused", "Only `gcs` and `azure` are named by a URI."
    BUCKET_UNUSED = "bucket-unused", "The kind of store has no bucket, or names it in its URI."
    STORE_MEMORY = "store-memory", "The store runs elsewhere, so its memory is not ours to set."
    NFS_UNUSED = "nfs-unused", "Only a folder is kept on NFS."
    DIRECT_STORE = "direct-store", "Clients cannot reach a folder of the server directly."
    MULTIPART_STORE = (
        "multipart-store",
        "Only stores that speak S3 have presigned multipart uploads.",
    )
    MULTIPART_DIRECT = (
        "multipart-direct",
        "In direct mode clients have the store's keys, and presigned URLs have no use.",
    )
    MULTIPART_URL = (
        "multipart-url",
        "Presigned URLs work only if server and clients reach the store under one URL.",
    )
    CLIENTS_STORE = (
        "clients-store",
        "Clients are to use a store themselves that only the VPC or the cluster reaches.",
    )
    PUBLIC_URL_UNUSED = "public-url-unused", "The store is not published, or has its own URL."
    PUBLIC_URL_PORT = (
        "public-url-port",
        "The store is published on another port than its public URL has.",
    )
    STORE_PORT_UNUSED = "store-port-unused", "The store is not published, so it has no port."
    CONSOLE_UNUSED = "console-unused", "Only MinIO has a console."
    PORT_CLASH = "port-clash", "Two services would listen on one port."
    LIFECYCLE = "lifecycle", "The store has no lifecycle rules."
    ENCRYPTION = "encryption", "The store does not encrypt objects in the way asked for."
    OIDC_MISSING = "oidc-missing", "Login by an identity provider needs the provider."
    OIDC_UNUSED = "oidc-unused", "An identity provider is given, but nobody logs in with it."
    OIDC_EVERYBODY = (
        "oidc-everybody",
        "The provider has accounts for all the world, and nothing says whose may log in.",
    )
    ADMIN_GROUPS = "admin-groups", "Only MLflow's permissions know administrators."
    USERS_UNUSED = "users-unused", "Names of users belong to `auth: basic`."
    USERS_TWICE = "users-twice", "A user is named twice."
    PERMISSIONS_UNUSED = (
        "permissions-unused",
        "Permissions belong to `auth: mlflow` and `oidc-mlflow`.",
    )
    PERMISSION_GROUPS = "permission-groups", "Groups come from an identity provider."
    PLAIN_TEXT = (
        "plain-text",
        "Logins would cross the network unencrypted. An explicit `tls: none` says that TLS ends before us.",
    )
    TLS_FILES = "tls-files", "Certificate and key belong together, and to `tls: files`."
    FILE_MISSING = "file-missing", "A file is not there or cannot be read."
    FILE_CONTENT = "file-content", "A file does not hold the PEM that it should."
    TLS_PAIR = "tls-pair", "The private key is not that of the certificate."
    TLS_DATES = "tls-dates", "The certificate is not valid today."
    TLS_HOST = "tls-host", "The certificate is not made for the public host."
    AWS_ID = "aws-id", "An id or ARN of AWS has another form."
    EMAIL = "email", "Who is to be told of alarms is no mail address."
    STACK_NAME = "stack-name", "Another stack is not named as organization/project/stack."
    KUBERNETES_NAME = "kubernetes-name", "The name of an object in the cluster has another form."
    IMAGE = "image", "An image has no tag and no digest, or the tag `latest`."
    BLOCK = "block", "A block of addresses is none."
    INSTANCE_CLASS = "instance-class", "The class of the database is none of RDS's."
    PROVIDER_URL = "provider-url", "An endpoint of the provider is no URL with https."
    MAX_REPLICAS = "max-replicas", "Autoscaling would have fewer servers at most than at least."
    CLASS_CONNECTIONS = (
        "class-connections",
        "RDS does not have so many connections in a database of this class.",
    )
    RDS_NAME = "rds-name", "RDS keeps the name of the database or of its user for itself."
    AURORA = "aurora", "Aurora has no disk to be sized, and copies no automated backups."
    READ_REPLICA = (
        "read-replica",
        "RDS makes no read replica of such an instance, only Aurora does.",
    )
    MAJOR_UPGRADE = (
        "major-upgrade",
        "Another major version could not be taken in the maintenance window.",
    )
    RDS_PROXY = "rds-proxy", "RDS Proxy is not there, or not for this compute."
    FARGATE_SIZE = "fargate-size", "Fargate has no task with so many CPUs or so much memory."
    FARGATE_DISK = "fargate-disk", "Fargate has no task with so large a disk."
    ZONES = "zones", "Availability zones are not two or three different ones of the region."
    SAME_REGION = "same-region", "A copy for the loss of a region would lie in that region."
    NAT = "nat", "An identity provider is asked, and no way to the Internet leads there."
    NETWORK_BOTH = "network-both", "A network is described in two ways, or as new and as existing."
    NETWORK_PARTS = "network-parts", "Of an existing network something is missing."
    CERTIFICATE = (
        "certificate",
        "The front door has no certificate, none can be made, or several are given.",
    )
    LOGIN_ALB = "login-alb", "The load balancer cannot log these users in."
    COGNITO_BOTH = "cognito-both", "A user pool and another provider are given."
    CLIENTS_OPEN = "clients-open", "A load balancer inside the VPC is open to the whole Internet."
    FIREWALL_UNUSED = "firewall-unused", "A rate for the firewall is given, and no firewall."
    BUDGET = "budget", "A budget needs somebody to be told."
    NOT_MADE = "not-made", "A setting of what the stack makes is given for what is there already."
    BACKUP_NOTHING = "backup-nothing", "Nothing that holds data is made, so nothing is backed up."
    BACKUP_TESTED = "backup-tested", "What is to be restored for a test is not backed up."
    COMPUTE_UNUSED = "compute-unused", "A setting of the other `aws.compute`."
    CLUSTER = "cluster", "The cluster is named in no way, or in two."
    CLUSTER_NETWORK = "cluster-network", "The database for a cluster must be in the cluster's VPC."
    CLUSTER_ACCESS = (
        "cluster-access",
        "Servers in a cluster would not get at the database or the bucket in AWS.",
    )
    WAY_IN = "way-in", "Neither an Ingress nor a Gateway leads to the stack, or both do."
    WAY_SOURCE = "way-source", "Nothing says from where the Ingress sends requests."
    IMAGE_MISSING = "image-missing", "The cluster needs an image that is in a registry."
    IMAGE_DIGEST = "image-digest", "Tasks in AWS run images by their digest."
    IMAGE_REACH = "image-reach", "Tasks in AWS cannot pull an image from where it is."
    IMAGE_UNUSED = "image-unused", "An image is given that nothing runs."
    IDENTITY = "identity", "A bucket without keys needs one identity of the pods."
    CLUSTER_MYSQL = "cluster-mysql", "In the cluster only PostgreSQL can be made."
    SCHEDULE = "schedule", "A schedule is no five fields of cron."
    REDIS_URL = "redis-url", "The queue of jobs is no URL of a Redis."
    ADDRESSING = (
        "addressing",
        "A bucket in the host name would make none, or one without a certificate.",
    )
    EXTRA_UNUSED = "extra-unused", "The server's image would have what nothing uses."
    LABELS = "labels", "Labels for Prometheus are given, and no namespace of it."


@dataclass(frozen=True)
class Put:
    """Sets a key, in a list also the item one past the end."""

    path: Path
    value: str | int | bool

    def command(self, stack: str) -> str:
        """The shell command that does it to the stack's file."""
        return f"pulumi config set --path {_quoted(_key(self.path))} {_word(self.value)} -s {_word(stack)}"

    def apply(self, tree: dict[str, Any]) -> None:
        """Do it to decoded settings, by the same rules as the command."""
        node: Any = tree
        for step, following in zip(self.path, self.path[1:], strict=False):
            empty: Any = [] if isinstance(following, int) else {}
            child = node.setdefault(step, empty) if isinstance(node, dict) else node[step]
            if not isinstance(child, type(empty)):
                node[step] = child = empty
            node = child
        last = self.path[-1]
        if isinstance(node, list) and last == len(node):
            node.append(self.value)
        else:
            node[last] = self.value


@dataclass(frozen=True)
class Drop:
    """Removes a key."""

    path: Path

    def command(self, stack: str) -> str:
        """The shell command that does it to the stack's file."""
        # A path may start with a plain name only, and a name that stands alone needs no path.
        path = "--path " if len(self.path) > 1 else ""
        return f"pulumi config rm {path}{_quoted(_key(self.path))} -s {_word(stack)}"

    def apply(self, tree: dict[str, Any]) -> None:
        """Do it to decoded settings."""
        node: Any = tree
        for step in self.path[:-1]:
            node = node[step]
        del node[self.path[-1]]


@dataclass(frozen=True)
class Encrypt:
    """Sets a top-level key to an encrypted value that the command asks for."""

    path: Path

    def command(self, stack: str) -> str:
        """The shell command that does it to the stack's file; without a value it asks for one, unseen."""
        return f"pulumi config set --secret {_quoted(_key(self.path))} -s {_word(stack)}"

    def apply(self, tree: dict[str, Any]) -> None:
        """Do it to decoded settings."""
        tree[str(self.path[0])] = SecretStr("the value that was typed")


Mend = Put | Drop | Encrypt


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a stack's settings."""

    rule: Rule
    path: Path
    text: str
    """What is wrong, with the value got."""
    mend: Mend

    @property
    def key(self) -> str:
        """The key as `pulumi config` names it, such as `mlflow:access.hosts[0]`."""
        return _key(self.path)

    def line(self, stack: str) -> str:
        """File, key, problem and mend in one line."""
        return f"Pulumi.{stack}.yaml: {self.key}: {self.text}; {self.mend.command(stack)}"


def unused(rule: Rule, path: Path, why: str, value: object = None) -> Problem:
    """A setting without a meaning beside others, which is mended by taking it away.

    Args:
        rule: the rule.
        path: where it stands.
        why: beside, for or without what, such as `without aws.firewall`.
        value: what it is; None where the message does not show it.
    """
    match value:
        case None:
            shown = "a value"
        case str():
            shown = f'"{value}"'
        case list():
            shown = "a list"
        case dict() | BaseModel():
            shown = "a mapping"
        case _:
            shown = str(value).lower()
    return Problem(rule, path, f"has no meaning {why} (got {shown})", Drop(path))


def same_region(path: Path, region: str) -> Problem:
    """A copy for the loss of the stack's region that would lie in it."""
    text = f'must be another region than aws.region (got "{region}")'
    return Problem(Rule.SAME_REGION, path, text, Drop(path))


class SettingsError(ValueError):
    """A stack's settings are wrong: one line for each problem."""

    def __init__(self, stack: str, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(problem.line(stack) for problem in problems))
        self.problems = tuple(problems)


def is_secret(path: Path) -> bool:
    """Whether a key looks like one that holds a secret."""
    return any(_SECRET_KEY.search(str(step)) for step in path)


def got(path: Path, value: Any, secret: Iterable[str]) -> str:
    """A wrong value as a message shows it: short, on one line, and never what may be a secret.

    Args:
        path: where it stands.
        value: the value.
        secret: top-level keys whose values are encrypted in the stack's file.
    """
    if str(path[0]) in secret or is_secret(path):
        return "(got a value that is not shown)"
    if isinstance(value, dict | list):
        return f"(got a {'mapping' if isinstance(value, dict) else 'list'})"
    text = json.dumps(value)  # escapes what a terminal would act on
    if _SECRET_VALUE.search(text):
        return "(got a value that is not shown, since it may hold a password)"
    return f"(got {text if len(text) <= _SHOWN else text[:_SHOWN] + '…'})"


def dotted(path: Path) -> str:
    """A path as `pulumi config --path` reads it, such as `access.hosts[0]`."""
    text = str(path[0])
    for step in path[1:]:
        if isinstance(step, int):
            text += f"[{step}]"
        elif re.search(r'[.\[\]"]', step) or not step:
            escaped = step.replace('"', '\\"')
            text += f'["{escaped}"]'
        else:
            text += f".{step}"
    return text


def _key(path: Path) -> str:
    return f"{NAMESPACE}:{dotted(path)}"


def _quoted(text: str) -> str:
    """A shell word in single quotes, needed or not: a key looks the same in every message."""
    return "'" + text.replace("'", "'\"'\"'") + "'"


def _word(value: str | int | bool) -> str:
    """A shell word, quoted where needed."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if re.fullmatch(r"[\w@%+=:,./-]+", text, re.ASCII) else _quoted(text)
