"""The settings of a stack as frozen models. What concerns one value is checked in values.py, the rest in rules/."""

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from pulumi_mlflow.contracts import AuthMode, Engine
from pulumi_mlflow.core import budgets
from values import (
    EXAMPLE_HOST,
    EXAMPLE_ISSUER,
    MLFLOW_VERSION,
    AllowedHost,
    ArtifactUri,
    Bind,
    Bucket,
    DatabaseHost,
    DatabaseName,
    DatabaseUser,
    DataDir,
    DockerName,
    EmailDomain,
    EndpointUrl,
    Flag,
    FrontUrl,
    Issuer,
    LoginName,
    Namespace,
    NfsOptions,
    NfsPath,
    NfsServer,
    Number,
    Overflow,
    Port,
    Prefix,
    PublicHost,
    PublicUrl,
    Region,
    Secret,
    Text,
    ThisRelease,
    Version,
    VpcCidr,
    Whole,
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
    MINIO = "minio"
    S3 = "s3"
    GCS = "gcs"
    AZURE = "azure"


class ArtifactMode(StrEnum):
    """Which way artifacts take."""

    PROXIED = "proxied"
    DIRECT = "direct"


class Encryption(StrEnum):
    """How a store encrypts objects at rest."""

    NONE = "none"
    SSE_S3 = "sse-s3"
    SSE_KMS = "sse-kms"


class TlsMode(StrEnum):
    """How a connection to a database is encrypted; libpq's words for both engines."""

    DISABLE = "disable"
    REQUIRE = "require"
    VERIFY_CA = "verify-ca"
    VERIFY_FULL = "verify-full"


class FrontTls(StrEnum):
    """Which certificate the front door shows."""

    NONE = "none"
    SELF_SIGNED = "self-signed"
    FILES = "files"


class Extra(StrEnum):
    """What the server's image has on request."""

    GCS = "gcs"
    AZURE = "azure"
    METRICS = "metrics"
    REDIS = "redis"


class Permission(StrEnum):
    """MLflow's permissions on an experiment or model (mlflow/server/auth/permissions.py)."""

    READ = "READ"
    USE = "USE"
    EDIT = "EDIT"
    MANAGE = "MANAGE"
    NO_PERMISSIONS = "NO_PERMISSIONS"


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


def _for(*runtimes: Runtime) -> dict[str, Any]:
    """Marks a field with the runtimes in which it has a meaning."""
    return {"runtimes": [runtime.value for runtime in runtimes]}


class Section(BaseModel):
    """Base of all models: immutable, and a key that is none of ours is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Tracking(Section):
    """The MLflow server."""

    version: ThisRelease = Field(
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
    allowed_hosts: list[AllowedHost] = Field(
        [],
        description="Further host names under which the server may be asked. Those that the stack "
        "makes, and `access.hosts`, are allowed anyway.",
        examples=["tracking.example.com"],
        json_schema_extra=_for(*ALL),
    )
    extras: list[Extra] = Field(
        [],
        description="What the server's image has beside the drivers for PostgreSQL, MySQL and S3: those of other "
        "stores (that of `artifacts.store` is there anyway), `metrics` for Prometheus, `redis` for a queue of jobs.",
        examples=["gcs"],
        json_schema_extra=_for(*CONTAINERS),
    )
    scratch_mb: Whole | None = Field(
        None,
        ge=64,
        le=10_485_760,
        description="Free disk, in MiB, that the server's scratch volume must have: whole artifacts pass through "
        "it. Computed from `workers` unless given.",
        examples=[20480],
        json_schema_extra=_for(*DOCKER),
    )


class ExistingDatabase(Section):
    """A database server that this stack did not make. `database.name` and `database.username` must be there."""

    host: DatabaseHost = Field(
        description="Name or address; `host.docker.internal` is the machine that the containers run on.",
        examples=["host.docker.internal"],
        json_schema_extra=_for(*DOCKER),
    )
    port: Port | None = Field(
        None,
        description="TCP port; the engine's usual one unless given.",
        examples=[5432],
        json_schema_extra=_for(*DOCKER),
    )
    tls_mode: TlsMode = Field(
        TlsMode.VERIFY_FULL,
        description="`disable`, `require` (encrypted, server not verified), `verify-ca` or `verify-full`.",
        examples=["require"],
        json_schema_extra=_for(*DOCKER),
    )
    ca_file: Text | None = Field(
        None,
        min_length=1,
        description="File with the certificate of the authority that signed the server's; relative to the project.",
        examples=["database-ca.pem"],
        json_schema_extra=_for(*DOCKER),
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
    name: DatabaseName = Field(
        "mlflow",
        description="Name of the database.",
        examples=["mlflow"],
        json_schema_extra=_for(*SERVERS),
    )
    username: DatabaseUser = Field(
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
    max_overflow: Overflow = Field(
        budgets.MAX_OVERFLOW,
        le=100,
        description="Connections that each server process opens beyond `pool_size` under load. With fewer than "
        "40 together, requests of many clients at once fail. 0 is refused, since MLflow ignores it.",
        examples=[budgets.MAX_OVERFLOW],
        json_schema_extra=_for(*SERVERS),
    )
    pgbouncer: Flag = Field(
        False,
        description="Whether PgBouncer stands between server and PostgreSQL, so that many workers share few "
        "connections.",
        examples=[False],
        json_schema_extra=_for(*DOCKER),
    )
    existing: ExistingDatabase | None = Field(
        None,
        description="A database server that this stack did not make. Its password is the secret "
        "`mlflow:database_password`.",
        json_schema_extra=_for(*DOCKER),
    )


class ExistingArtifacts(Section):
    """A bucket that this stack did not make, with `artifacts.store: s3`."""

    endpoint_url: EndpointUrl | None = Field(
        None,
        description="URL of an S3-compatible store; AWS's own S3 unless given.",
        examples=["https://s3.example.com"],
        json_schema_extra=_for(*DOCKER),
    )
    region: Text = Field(
        "us-east-1",
        min_length=1,
        description="Region that requests are signed for.",
        examples=["us-east-1"],
        json_schema_extra=_for(*DOCKER),
    )
    prefix: Prefix = Field(
        "",
        description="Path in the bucket below which everything is kept.",
        examples=["mlflow"],
        json_schema_extra=_for(*DOCKER),
    )
    ca_file: Text | None = Field(
        None,
        min_length=1,
        description="File with the certificate of the authority that signed the store's; relative to the project.",
        examples=["store-ca.pem"],
        json_schema_extra=_for(*DOCKER),
    )


class Nfs(Section):
    """An NFS export that keeps the folder of `artifacts.store: folder`."""

    server: NfsServer = Field(
        description="Name or address of the server.",
        examples=["nas.example.com"],
        json_schema_extra=_for(*DOCKER),
    )
    path: NfsPath = Field(
        description="Exported folder.", examples=["/export/mlflow"], json_schema_extra=_for(*DOCKER)
    )
    options: NfsOptions = Field(
        "rw,nfsvers=4",
        description="Mount options.",
        examples=["rw,nfsvers=4"],
        json_schema_extra=_for(*DOCKER),
    )


class Artifacts(Section):
    """Where models, plots and files are kept."""

    store: Store = Field(
        description="Kind of store.", examples=["versitygw"], json_schema_extra=_for(*ALL)
    )
    bucket: Bucket = Field(
        "mlflow",
        description="Name of the bucket; `default` for minio unless given. S3 itself wants one that nobody else in "
        "the world has.",
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
    mode: ArtifactMode = Field(
        ArtifactMode.PROXIED,
        description="`proxied`: clients know the server alone. `direct`: clients read and write the store "
        "themselves, with its keys.",
        examples=["proxied"],
        json_schema_extra=_for(*DOCKER),
    )
    multipart: Flag = Field(
        False,
        description="Whether the server hands out presigned URLs for large files, so that their bytes pass it by. "
        "Server and clients must reach the store under one URL, `artifacts.public_url`.",
        examples=[False],
        json_schema_extra=_for(*DOCKER),
    )
    port: Port = Field(
        9000,
        description="Port on which the store is published, at `access.bind`, if clients use it themselves.",
        examples=[9000],
        json_schema_extra=_for(*DOCKER),
    )
    console_port: Port = Field(
        9001,
        description="Port of MinIO's console, on loopback.",
        examples=[9001],
        json_schema_extra=_for(*DOCKER),
    )
    public_url: PublicUrl | None = Field(
        None,
        description="URL under which clients reach the store; `http://` with `access.bind` and port unless given. If "
        "its host is an address, the store is published there.",
        examples=["http://172.17.0.1:9000"],
        json_schema_extra=_for(*DOCKER),
    )
    existing: ExistingArtifacts | None = Field(
        None,
        description="A bucket that this stack did not make. Its keys are the secrets "
        "`mlflow:artifacts_access_key` and `mlflow:artifacts_secret_key`.",
        json_schema_extra=_for(*DOCKER),
    )
    uri: ArtifactUri | None = Field(
        None,
        description="Where `gcs` and `azure` keep artifacts.",
        examples=["gs://team-mlflow/artifacts"],
        json_schema_extra=_for(*DOCKER),
    )
    nfs: Nfs | None = Field(
        None,
        description="An NFS export that keeps the folder, instead of a volume on the engine's own disk.",
        json_schema_extra=_for(*DOCKER),
    )
    expire_multipart_days: Whole | None = Field(
        None,
        ge=1,
        le=3650,
        description="Days after which the store removes uploads that were never finished.",
        examples=[7],
        json_schema_extra=_for(*DOCKER),
    )
    encryption: Encryption = Field(
        Encryption.NONE,
        description="How the store encrypts objects at rest.",
        examples=["none"],
        json_schema_extra=_for(*DOCKER),
    )


class Oidc(Section):
    """Your identity provider."""

    issuer: Issuer = Field(
        description="Issuer URL, as in the tokens; its `/.well-known/openid-configuration` is read.",
        examples=[EXAMPLE_ISSUER],
        json_schema_extra=_for(*SERVERS),
    )
    client_id: Text = Field(
        "mlflow",
        min_length=1,
        max_length=255,
        description="Client that the provider knows for this stack. Its secret is `mlflow:oidc_client_secret`.",
        examples=["mlflow"],
        json_schema_extra=_for(*SERVERS),
    )
    audiences: list[Text] = Field(
        [],
        description="Further audiences whose bearer tokens are accepted; `client_id` always is.",
        examples=["mlflow-sdk"],
        json_schema_extra=_for(*SERVERS),
    )
    scopes: list[Text] = Field(
        [],
        description="Scopes that a login asks for beside `openid email profile`.",
        examples=["groups"],
        json_schema_extra=_for(*SERVERS),
    )
    groups_claim: Text = Field(
        "groups",
        min_length=1,
        description="Claim that lists a user's groups.",
        examples=["groups"],
        json_schema_extra=_for(*SERVERS),
    )
    allowed_groups: list[Text] = Field(
        [],
        description="Groups whose members may log in; everybody of the provider unless given.",
        examples=["ml-team"],
        json_schema_extra=_for(*SERVERS),
    )
    email_domains: list[EmailDomain] = Field(
        [],
        description="Mail domains whose users may log in; any unless given.",
        examples=["example.com"],
        json_schema_extra=_for(*SERVERS),
    )
    admin_groups: list[Text] = Field(
        [],
        description="Groups whose members administer MLflow, with `auth: oidc-mlflow`.",
        examples=["ml-admins"],
        json_schema_extra=_for(*SERVERS),
    )
    ca_file: Text | None = Field(
        None,
        min_length=1,
        description="File with the certificate of the authority that signed the provider's; relative to the project.",
        examples=["oidc-ca.pem"],
        json_schema_extra=_for(*DOCKER),
    )


class Permissions(Section):
    """What MLflow's users may do, with `auth: mlflow` or `oidc-mlflow`."""

    default: Permission = Field(
        Permission.READ,
        description="What everybody may do with experiments and models of others.",
        examples=["READ"],
        json_schema_extra=_for(*SERVERS),
    )
    groups: dict[str, Permission] = Field(
        {},
        description="What members of a group of the identity provider may do with them, with `oidc-mlflow`.",
        examples=["ml-team: EDIT"],
        json_schema_extra=_for(*SERVERS),
    )


class Access(Section):
    """The front door."""

    auth: AuthMode = Field(
        description="How users log in: `none`, `basic` (passwords generated), `oidc` (your identity provider), "
        "`mlflow` (MLflow's own users and permissions), `oidc-mlflow` (your provider's users with MLflow's "
        "permissions).",
        examples=["basic"],
        json_schema_extra=_for(*ALL),
    )
    username: LoginName = Field(
        "mlflow",
        description="Login name for `auth: basic`.",
        examples=["mlflow"],
        json_schema_extra=_for(*SERVERS),
    )
    bind: Bind = Field(
        "127.0.0.1",
        description="Address on which the port is published; `0.0.0.0` is every one of the machine.",
        examples=["127.0.0.1"],
        json_schema_extra=_for(*HERE),
    )
    port: Port = Field(
        5000,
        description="Port on which the server is published.",
        examples=[5000],
        json_schema_extra=_for(*HERE),
    )
    hosts: list[PublicHost] = Field(
        [],
        description="Public host names; the first is the one in links. Needed where others than this "
        "machine reach the server.",
        examples=[EXAMPLE_HOST],
        json_schema_extra=_for(*SERVERS),
    )
    public_url: FrontUrl | None = Field(
        None,
        description="URL under which another proxy before this one, which ends TLS and passes the Host header on, "
        "shows the stack; its host is allowed.",
        examples=[f"https://{EXAMPLE_HOST}"],
        json_schema_extra=_for(*DOCKER),
    )
    users: list[LoginName] = Field(
        [],
        description="Further users for `auth: basic`, each with a generated password.",
        examples=["ada"],
        json_schema_extra=_for(*DOCKER),
    )
    tls: FrontTls = Field(
        FrontTls.NONE,
        description="`none` (loopback, or TLS ends before us), `self-signed` (a certificate made for development), "
        "`files` (your own).",
        examples=["self-signed"],
        json_schema_extra=_for(*DOCKER),
    )
    tls_certificate: Text | None = Field(
        None,
        min_length=1,
        description="PEM file with the certificate and its chain; relative to the project. Used with `tls: files`.",
        examples=["tls.crt"],
        json_schema_extra=_for(*DOCKER),
    )
    tls_key: Text | None = Field(
        None,
        min_length=1,
        description="PEM file with its private key, unencrypted. Keep it out of git. Used with `tls: files`.",
        examples=["tls.key"],
        json_schema_extra=_for(*DOCKER),
    )
    rate_limit: Whole = Field(
        200,
        ge=0,
        le=100_000,
        description="Requests a second that one client may make, with as many again at once; 0 is no limit.",
        examples=[200],
        json_schema_extra=_for(*DOCKER),
    )
    cache: Flag = Field(
        True,
        description="Whether nginx keeps the UI's static files instead of asking the server each time.",
        examples=[True],
        json_schema_extra=_for(*DOCKER),
    )
    oidc: Oidc | None = Field(
        None, description="Your identity provider.", json_schema_extra=_for(*SERVERS)
    )
    permissions: Permissions | None = Field(
        None,
        description="What MLflow's users may do, with `auth: mlflow` or `oidc-mlflow`.",
        json_schema_extra=_for(*SERVERS),
    )


class Network(Section):
    """The network of the stack's containers."""

    existing: DockerName | None = Field(
        None,
        description="Docker network that the front door joins besides its own, such as that of your own reverse proxy.",
        examples=["nginx_network"],
        json_schema_extra=_for(*DOCKER),
    )


class Aws(Section):
    """The AWS account's part."""

    region: Region = Field(
        description="Region of all resources.",
        examples=["eu-central-1"],
        json_schema_extra=_for(*AWS),
    )
    vpc_cidr: VpcCidr = Field(
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
    namespace: Namespace = Field(
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
    data_dir: DataDir | None = Field(
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
    network: Network | None = Field(
        None, description="The network of the containers.", json_schema_extra=_for(*DOCKER)
    )
    database_password: Secret | None = Field(
        None,
        description="Secret: password of `database.username` at `database.existing`.",
        json_schema_extra=_for(*DOCKER),
    )
    artifacts_access_key: Secret | None = Field(
        None,
        description="Secret: access key for `artifacts.existing`.",
        json_schema_extra=_for(*DOCKER),
    )
    artifacts_secret_key: Secret | None = Field(
        None,
        description="Secret: secret key for `artifacts.existing`.",
        json_schema_extra=_for(*DOCKER),
    )
    oidc_client_secret: Secret | None = Field(
        None,
        description="Secret: the client secret of `access.oidc.client_id`.",
        json_schema_extra=_for(*SERVERS),
    )
    aws: Aws | None = Field(
        None, description="The AWS account's part.", json_schema_extra=_for(*AWS)
    )
    kubernetes: Kubernetes | None = Field(
        None, description="The cluster's part.", json_schema_extra=_for(*KUBERNETES)
    )
