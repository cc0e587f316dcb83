"""The settings of a stack as frozen models. What concerns one key is checked here, the rest in rules.py."""

import ipaddress
import math
import re
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from problems import Rule
from pulumi_mlflow.contracts import AuthMode, Engine
from pulumi_mlflow.core import budgets, uris

MLFLOW_VERSION = "3.17.2"
"""The version that this release is made for: options, migrations and memory differ from version to version."""

EXAMPLE_HOST = "mlflow.example.com"

_IDENTIFIER = re.compile(
    r"[a-z_][a-z0-9_]{0,62}"
)  # PostgreSQL's NAMEDATALEN is 64 with its closing zero
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")  # RFC 1123, 2.1
_LOGIN = re.compile(r"[A-Za-z0-9._@+-]{1,64}")
_REGION = re.compile(r"[a-z]{2,3}(-[a-z]+)+-\d{1,2}")
_WHOLE = re.compile(r"-?\d{1,18}")

_RESERVED_DATABASES = {"postgres", "template0", "template1", "mysql", "sys", "information_schema"}
_RESERVED_USERS = {"root", "mysql", "public", "rdsadmin"}
_SYSTEM_TREES = ("/bin", "/boot", "/dev", "/etc", "/lib", "/proc", "/run", "/sbin", "/sys", "/usr")
_SHARED_FOLDERS = (
    "/",
    "/home",
    "/root",
    "/tmp",  # noqa: S108 - refused, not used
    "/var",
    "/opt",
    "/srv",
    "/mnt",
    "/media",
    "/Users",
)


class Runtime(StrEnum):
    """Where a stack runs."""

    LOCAL = "local"
    DOCKER = "docker"
    AWS = "aws"
    KUBERNETES = "kubernetes"


class Images(StrEnum):
    """Where images come from."""

    AUTO = "auto"
    REGISTRY = "registry"
    BUILD = "build"


class Store(StrEnum):
    """Where artifacts are kept."""

    FOLDER = "folder"
    VERSITYGW = "versitygw"
    S3 = "s3"


class Size(StrEnum):
    """How large the machines of a cloud stack are."""

    S = "S"
    M = "M"
    L = "L"


class Compute(StrEnum):
    """What runs the containers in AWS."""

    FARGATE = "fargate"
    KUBERNETES = "kubernetes"


ALL = tuple(Runtime)
LOCAL = (Runtime.LOCAL,)
DOCKER = (Runtime.DOCKER,)
AWS = (Runtime.AWS,)
KUBERNETES = (Runtime.KUBERNETES,)
CLOUD = AWS + KUBERNETES
SERVERS = DOCKER + CLOUD
HERE = LOCAL + DOCKER
CONTAINERS = DOCKER + KUBERNETES


def _refuse(rule: Rule, message: str, mend: str | int | None = None) -> PydanticCustomError:
    """The error of one of our rules.

    Args:
        rule: the rule.
        message: what the value must be.
        mend: a right value made from the wrong one; without it the mend is the key's example.
    """
    return PydanticCustomError(rule.value, "{message}", {"message": message, "mend": mend})


def _whole(value: Any) -> Any:
    """`pulumi config set` writes digits of a nested key as a number and of a top-level key as text."""
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _refuse(Rule.WRONG_TYPE, "must be a whole number")
    return value


def _number(value: Any) -> Any:
    if isinstance(value, str) and re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _refuse(Rule.WRONG_TYPE, "must be a number")
    return value


def _text(value: Any) -> Any:
    """Digits are text too: `pulumi config set --path` writes them as a number, and nobody quotes a version."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise _refuse(Rule.WRONG_TYPE, "must be text, in quotes if it looks like a number")
    return value


def _pinned(value: str) -> str:
    if value.strip().lower() == "latest":
        raise _refuse(Rule.LATEST, "must be a version, and 'latest' is another one tomorrow")
    return value


def _this_release(value: str) -> str:
    if value != MLFLOW_VERSION:
        raise _refuse(
            Rule.TRACKING_VERSION, f"must be {MLFLOW_VERSION}, which this release is made for"
        )
    return value


def is_address(text: str) -> bool:
    """Whether it is an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_host(text: str) -> bool:
    labels = text.lower().split(".")
    return is_address(text) or (
        len(text) <= 253  # noqa: PLR2004 - RFC 1035, 2.3.4, without length bytes
        and all(_LABEL.fullmatch(label) for label in labels)
        and not labels[-1].isdigit()  # what ends in a number is an address, and no right one
    )


def _check_host(rule: Rule, value: str) -> str:
    if _is_host(value):
        return value
    bare = re.sub(r"^[A-Za-z][A-Za-z0-9+.-]*://|[:/].*$", "", value.strip())
    raise _refuse(
        rule,
        "must be a host name or address alone, such as mlflow.example.com, "
        + ("and '*' would be every one" if "*" in value else "without scheme, port or path"),
        bare if _is_host(bare) else EXAMPLE_HOST,
    )


def _allowed_host(value: str) -> str:
    return _check_host(Rule.ALLOWED_HOST, value)


def _public_host(value: str) -> str:
    return _check_host(Rule.PUBLIC_HOST, value)


def _bind(value: str) -> str:
    if value == "localhost":
        return "127.0.0.1"  # Docker publishes on addresses, not on names
    if not is_address(value) or ipaddress.ip_address(value).is_multicast or "%" in value:
        raise _refuse(Rule.BIND, "must be an IP address of the machine that publishes the port")
    return value


def _port(value: int) -> int:
    if not 1 <= value <= 65535:  # noqa: PLR2004 - 16 bits
        raise _refuse(Rule.PORT, "must be a port, 1-65535")
    return value


def _login_name(value: str) -> str:
    if not _LOGIN.fullmatch(value):
        raise _refuse(
            Rule.LOGIN_NAME,
            "must be 1-64 letters, digits or . _ @ + - (':' ends a name in htpasswd)",
        )
    return value


def _identifier(rule: Rule, value: str, reserved: set[str]) -> str:
    if not _IDENTIFIER.fullmatch(value):
        raise _refuse(
            rule, "must be 1-63 lower-case letters, digits or _, and start with a letter or _"
        )
    if value in reserved or value.startswith("pg_"):
        raise _refuse(rule, "must not be a name that the database keeps for itself")
    return value


def _database_name(value: str) -> str:
    return _identifier(Rule.DATABASE_NAME, value, _RESERVED_DATABASES)


def _database_user(value: str) -> str:
    return _identifier(Rule.DATABASE_USER, value, _RESERVED_USERS)


def _overflow(value: int) -> int:
    if value < 1:
        raise _refuse(
            Rule.MAX_OVERFLOW_ZERO, "must be ≥ 1, since MLflow ignores 0 and takes its default, 10"
        )
    return value


def _bucket(value: str) -> str:
    problem = uris.check_bucket(value)
    if problem:
        raise _refuse(Rule.BUCKET_NAME, problem)
    return value


def _data_dir(value: str) -> str:
    path = PurePosixPath(value)
    if not path.is_absolute() or ".." in path.parts or "\0" in value:
        raise _refuse(
            Rule.DATA_DIR_RELATIVE, "must be an absolute path without '..' ('~' is not expanded)"
        )
    mine = len(path.parts) == 3 and path.parts[1] in ("home", "Users")  # noqa: PLR2004 - /home/ada
    if mine or str(path) in _SHARED_FOLDERS or str(path).startswith("//"):
        raise _refuse(Rule.DATA_DIR_UNSAFE, "must be a folder of its own: a purge deletes it")
    if any(path.is_relative_to(tree) for tree in _SYSTEM_TREES):
        raise _refuse(Rule.DATA_DIR_UNSAFE, "must not lie in a folder of the system")
    if re.search(r"[%?]", value):
        raise _refuse(
            Rule.DATA_DIR_UNSAFE, "must not hold % or ?, which MLflow takes for a part of a URI"
        )
    return value


def _region(value: str) -> str:
    if not _REGION.fullmatch(value):
        raise _refuse(Rule.REGION, "must be an AWS region, such as eu-central-1")
    return value


def _vpc_cidr(value: str) -> str:
    try:
        network = ipaddress.IPv4Network(value)
    except ValueError:
        network = ipaddress.IPv4Network("0.0.0.0/0")
    if not network.is_private or not 16 <= network.prefixlen <= 24:  # noqa: PLR2004 - see the message
        raise _refuse(
            Rule.VPC_CIDR,
            "must be a private IPv4 block from /16 (AWS's largest) to /24 (room for our subnets)",
        )
    return value


def _namespace(value: str) -> str:
    if not _LABEL.fullmatch(value) or value == "default" or value.startswith("kube-"):
        raise _refuse(
            Rule.NAMESPACE,
            "must be a DNS label (a-z, 0-9, -, at most 63 characters), and none of Kubernetes' own",
        )
    return value


Whole = Annotated[int, BeforeValidator(_whole)]
Number = Annotated[float, BeforeValidator(_number)]
Text = Annotated[str, BeforeValidator(_text)]
Version = Annotated[Text, AfterValidator(_pinned)]


def _for(*runtimes: Runtime) -> dict[str, Any]:
    """Marks a field with the runtimes in which it has a meaning."""
    return {"runtimes": [runtime.value for runtime in runtimes]}


class Section(BaseModel):
    """Base of all models: immutable, and a key that is none of ours is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Tracking(Section):
    """The MLflow server."""

    version: Annotated[Version, AfterValidator(_this_release)] = Field(
        MLFLOW_VERSION,
        description="Version of MLflow. Each release of this project is made for one.",
        examples=[MLFLOW_VERSION],
        json_schema_extra=_for(*ALL),
    )
    workers: Whole = Field(
        2,
        ge=1,
        le=64,
        description="Server processes in each replica; one serves one request per thread.",
        examples=[2],
        json_schema_extra=_for(*ALL),
    )
    replicas: Whole = Field(
        1,
        ge=1,
        le=32,
        description="Servers behind the proxy or load balancer.",
        examples=[1],
        json_schema_extra=_for(*ALL),
    )
    memory_mb: Whole | None = Field(
        None,
        ge=256,
        le=1_048_576,
        description="Memory limit of one replica, in MiB; computed from `workers` unless given.",
        examples=[2048],
        json_schema_extra=_for(*SERVERS),
    )
    cpus: Number | None = Field(
        None,
        ge=0.1,
        le=256,
        description="CPU limit of one replica, in cores; none unless given.",
        examples=[2],
        json_schema_extra=_for(*SERVERS),
    )
    allowed_hosts: list[Annotated[Text, AfterValidator(_allowed_host)]] = Field(
        [],
        description="Further host names under which the server may be asked. Those that the stack "
        "makes, and `access.hosts`, are allowed anyway.",
        examples=["tracking.example.com"],
        json_schema_extra=_for(*ALL),
    )


class Database(Section):
    """The database of runs, models and users."""

    engine: Engine = Field(
        description="Database engine.", examples=["postgresql"], json_schema_extra=_for(*ALL)
    )
    version: Version = Field(
        description="Major version of the engine. Part of the data volume's name: a change is refused "
        "while there is data, see the runbook for dump and restore.",
        examples=["15"],
        json_schema_extra=_for(*SERVERS),
    )
    name: Annotated[Text, AfterValidator(_database_name)] = Field(
        "mlflow",
        description="Name of the database.",
        examples=["mlflow"],
        json_schema_extra=_for(*SERVERS),
    )
    username: Annotated[Text, AfterValidator(_database_user)] = Field(
        "mlflow",
        description="User that owns the database. Its password is generated.",
        examples=["mlflow"],
        json_schema_extra=_for(*SERVERS),
    )
    max_connections: Whole = Field(
        150,
        ge=20,
        le=5000,
        description="Connections that the database accepts.",
        examples=[150],
        json_schema_extra=_for(*SERVERS),
    )
    memory_mb: Whole = Field(
        768,
        ge=256,
        le=1_048_576,
        description="Memory limit of the database, in MiB.",
        examples=[768],
        json_schema_extra=_for(*CONTAINERS),
    )
    pool_size: Whole = Field(
        budgets.POOL_SIZE,
        ge=1,
        le=100,
        description="Connections that each server process keeps open.",
        examples=[budgets.POOL_SIZE],
        json_schema_extra=_for(*SERVERS),
    )
    max_overflow: Annotated[Whole, AfterValidator(_overflow)] = Field(
        budgets.MAX_OVERFLOW,
        le=100,
        description="Connections that each server process opens beyond `pool_size` under load. With fewer than "
        "40 together, requests of many clients at once fail. 0 is refused, since MLflow ignores it.",
        examples=[budgets.MAX_OVERFLOW],
        json_schema_extra=_for(*SERVERS),
    )


class Artifacts(Section):
    """Where models, plots and files are kept."""

    store: Store = Field(
        description="Kind of store.", examples=["versitygw"], json_schema_extra=_for(*ALL)
    )
    bucket: Annotated[Text, AfterValidator(_bucket)] = Field(
        "mlflow",
        description="Name of the bucket; S3 itself wants one that nobody else in the world has.",
        examples=["mlflow"],
        json_schema_extra=_for(*SERVERS),
    )
    memory_mb: Whole = Field(
        256,
        ge=64,
        le=1_048_576,
        description="Memory limit of the store, in MiB.",
        examples=[256],
        json_schema_extra=_for(*CONTAINERS),
    )


class Access(Section):
    """The front door."""

    auth: AuthMode = Field(
        description="How users log in: `none`, `basic` (one user, password generated), `oidc` (your "
        "identity provider), `mlflow` (MLflow's own users).",
        examples=["basic"],
        json_schema_extra=_for(*ALL),
    )
    username: Annotated[Text, AfterValidator(_login_name)] = Field(
        "mlflow",
        description="Login name for `auth: basic`.",
        examples=["mlflow"],
        json_schema_extra=_for(*SERVERS),
    )
    bind: Annotated[Text, AfterValidator(_bind)] = Field(
        "127.0.0.1",
        description="Address on which the port is published; `0.0.0.0` is every one of the machine.",
        examples=["127.0.0.1"],
        json_schema_extra=_for(*HERE),
    )
    port: Annotated[Whole, AfterValidator(_port)] = Field(
        5000,
        description="Port on which the server is published.",
        examples=[5000],
        json_schema_extra=_for(*HERE),
    )
    hosts: list[Annotated[Text, AfterValidator(_public_host)]] = Field(
        [],
        description="Public host names; the first is the one in links. Needed where others than this "
        "machine reach the server.",
        examples=[EXAMPLE_HOST],
        json_schema_extra=_for(*SERVERS),
    )


class Aws(Section):
    """The AWS account's part."""

    region: Annotated[Text, AfterValidator(_region)] = Field(
        description="Region of all resources.",
        examples=["eu-central-1"],
        json_schema_extra=_for(*AWS),
    )
    vpc_cidr: Annotated[Text, AfterValidator(_vpc_cidr)] = Field(
        "10.42.0.0/16",
        description="Address block of the VPC.",
        examples=["10.42.0.0/16"],
        json_schema_extra=_for(*AWS),
    )
    compute: Compute = Field(
        Compute.FARGATE,
        description="What runs the containers.",
        examples=["fargate"],
        json_schema_extra=_for(*AWS),
    )


class Kubernetes(Section):
    """The cluster's part."""

    context: Text = Field(
        min_length=1,
        description="Context of your kubeconfig. Never the current one by accident, so it has no default.",
        examples=["production"],
        json_schema_extra=_for(*KUBERNETES),
    )
    namespace: Annotated[Text, AfterValidator(_namespace)] = Field(
        "mlflow",
        description="Namespace; made by the stack.",
        examples=["mlflow"],
        json_schema_extra=_for(*KUBERNETES),
    )


class Settings(Section):
    """All settings of one stack."""

    runtime: Runtime = Field(
        description="Where the stack runs: `local` (one process, SQLite, a folder), `docker`, `aws`, "
        "`kubernetes`.",
        examples=["local"],
        json_schema_extra=_for(*ALL),
    )
    images: Images = Field(
        Images.AUTO,
        description="Where images come from: `registry` (official ones), `build` (from packages), "
        "`auto` (what `make setup` found reachable).",
        examples=["auto"],
        json_schema_extra=_for(*DOCKER),
    )
    data_dir: Annotated[Text, AfterValidator(_data_dir)] | None = Field(
        None,
        description="Absolute folder of database and artifacts; `.state/data/<stack>` in the project "
        "unless given.",
        json_schema_extra=_for(*LOCAL),
    )
    size: Size = Field(
        Size.S,
        description="Size of the machines.",
        examples=["S"],
        json_schema_extra=_for(*CLOUD),
    )
    tracking: Tracking = Field(description="The MLflow server.", json_schema_extra=_for(*ALL))
    database: Database = Field(
        description="The database of runs and models.", json_schema_extra=_for(*ALL)
    )
    artifacts: Artifacts = Field(
        description="Where models and files are kept.", json_schema_extra=_for(*ALL)
    )
    access: Access = Field(description="The front door.", json_schema_extra=_for(*ALL))
    aws: Aws | None = Field(
        None, description="The AWS account's part.", json_schema_extra=_for(*AWS)
    )
    kubernetes: Kubernetes | None = Field(
        None, description="The cluster's part.", json_schema_extra=_for(*KUBERNETES)
    )
