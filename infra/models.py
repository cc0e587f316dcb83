"""The settings of a stack as frozen models. What concerns one value is checked in values.py, the rest in rules/."""

from enum import StrEnum

from pydantic import Field

from cloud_models import (
    Addressing,
    Archive,
    Aws,
    Backup,
    Jobs,
    Kubernetes,
    Monitoring,
    Registry,
    Size,
)
from pulumi_mlflow.contracts import AuthMode, Engine
from pulumi_mlflow.core import budgets, proxy
from sections import (
    ALL,
    AWS,
    BUILT,
    CLOUD,
    CONTAINERS,
    DOCKER,
    HERE,
    KUBERNETES,
    LOCAL,
    SERVERS,
    Runtime,
    Section,
    only,
)
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
    HtmlSource,
    HttpsUrl,
    InstanceClass,
    Issuer,
    KubernetesName,
    LoginName,
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
    SearchPath,
    Secret,
    Text,
    ThisRelease,
    Version,
    Whole,
)


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


class Tracking(Section):
    """The MLflow server."""

    version: ThisRelease = Field(
        MLFLOW_VERSION,
        description="Version of MLflow. Each release of this project is made for one.",
        examples=[MLFLOW_VERSION],
        json_schema_extra=only(*ALL),
    )
    workers: Whole = Field(
        2,
        ge=1,
        le=64,
        description="Server processes in each replica; one serves one request per thread. By `size` in a cloud unless "
        "given.",
        examples=[2],
        json_schema_extra=only(*ALL),
    )
    replicas: Whole = Field(
        1,
        ge=1,
        le=32,
        description="Servers behind the proxy or load balancer, the fewest in a cloud; there by `size` unless given.",
        examples=[1],
        json_schema_extra=only(*ALL),
    )
    max_replicas: Whole | None = Field(
        None,
        ge=1,
        le=32,
        description="Most servers, that are added by load; by `size` unless given.",
        examples=[6],
        json_schema_extra=only(*CLOUD),
    )
    memory_mb: Whole | None = Field(
        None,
        ge=256,
        le=1_048_576,
        description="Memory limit of one replica, in MiB; computed from `workers` unless given.",
        examples=[2048],
        json_schema_extra=only(*SERVERS),
    )
    cpus: Number | None = Field(
        None,
        ge=0.1,
        le=256,
        description="CPU limit of one replica, in cores; none unless given.",
        examples=[2],
        json_schema_extra=only(*SERVERS),
    )
    allowed_hosts: list[AllowedHost] = Field(
        [],
        description="Further host names under which the server may be asked. Those that the stack "
        "makes, and `access.hosts`, are allowed anyway.",
        examples=["tracking.example.com"],
        json_schema_extra=only(*ALL),
    )
    extras: list[Extra] = Field(
        [],
        description="What the server's image has beside the drivers for PostgreSQL, MySQL and S3: those of other "
        "stores (that of `artifacts.store` is there anyway). `metrics` and `redis` are there where "
        "`monitoring.namespace` and `jobs_redis_url` need them, and refused elsewhere.",
        examples=["gcs"],
        json_schema_extra=only(*BUILT),
    )
    jobs: Jobs | None = Field(
        None,
        description="One server more in the cluster, which alone runs MLflow's jobs; none are run unless given (`{}` "
        "is enough). Jobs that wait are in its memory, or in the Redis of the secret `mlflow:jobs_redis_url`.",
        json_schema_extra=only(*CLOUD),
    )
    scratch_mb: Whole | None = Field(
        None,
        ge=64,
        le=10_485_760,
        description="Free disk, in MiB, that the server's scratch volume must have: whole artifacts pass through "
        "it. Computed from `workers` unless given.",
        examples=[20480],
        json_schema_extra=only(*SERVERS),
    )


class ExistingDatabase(Section):
    """A database server that this stack did not make. The names of database and user are used as they are."""

    host: DatabaseHost = Field(
        description="Name or address; `host.docker.internal` is the machine that the containers run on.",
        examples=["host.docker.internal"],
        json_schema_extra=only(*SERVERS),
    )
    port: Port | None = Field(
        None,
        description="TCP port; the engine's usual one unless given.",
        examples=[5432],
        json_schema_extra=only(*SERVERS),
    )
    tls_mode: TlsMode = Field(
        TlsMode.VERIFY_FULL,
        description="`disable`, `require` (encrypted, server not verified), `verify-ca` or `verify-full`.",
        examples=["require"],
        json_schema_extra=only(*SERVERS),
    )
    ca_file: Text | None = Field(
        None,
        min_length=1,
        description="File with the certificate of the authority that signed the server's; relative to the project.",
        examples=["database-ca.pem"],
        json_schema_extra=only(*SERVERS),
    )
    search_path: SearchPath | None = Field(
        None,
        description="PostgreSQL's schemas between commas, names in double quotes where they are not plain; MLflow's "
        "tables are made in the first, which must be there. What the server has for the user unless given.",
        examples=["mlflow"],
        json_schema_extra=only(*SERVERS),
    )


class Database(Section):
    """The database of runs, models and users."""

    engine: Engine = Field(
        description="Database engine.", examples=["postgresql"], json_schema_extra=only(*ALL)
    )
    version: Version = Field(
        description="Major version of the engine. Part of the data volume's name: a change is refused "
        "while there is data, see the runbook for dump and restore.",
        examples=["15"],
        json_schema_extra=only(*SERVERS),
    )
    name: DatabaseName = Field(
        "mlflow",
        description="Name of the database; with `existing` as it is, else a plain identifier.",
        examples=["mlflow"],
        json_schema_extra=only(*SERVERS),
    )
    username: DatabaseUser = Field(
        "mlflow",
        description="User that owns the database, whose password is generated; with `existing` its name as it is.",
        examples=["mlflow"],
        json_schema_extra=only(*SERVERS),
    )
    max_connections: Whole = Field(
        150,
        ge=20,
        le=5000,
        description="Connections that the database accepts; in a cloud what the servers may ask for, unless given.",
        examples=[150],
        json_schema_extra=only(*SERVERS),
    )
    memory_mb: Whole = Field(
        768,
        ge=256,
        le=1_048_576,
        description="Memory limit of the database, in MiB.",
        examples=[768],
        json_schema_extra=only(*CONTAINERS),
    )
    pool_size: Whole = Field(
        budgets.POOL_SIZE,
        ge=1,
        le=100,
        description="Connections that each server process keeps open.",
        examples=[budgets.POOL_SIZE],
        json_schema_extra=only(*SERVERS),
    )
    max_overflow: Overflow = Field(
        budgets.MAX_OVERFLOW,
        le=100,
        description="Connections that each server process opens beyond `pool_size` under load. With fewer than "
        "40 together, requests of many clients at once fail. 0 is refused, since MLflow ignores it.",
        examples=[budgets.MAX_OVERFLOW],
        json_schema_extra=only(*SERVERS),
    )
    instances: Whole = Field(
        2,
        ge=1,
        le=9,
        description="Servers of a database in the cluster, of which one takes writes and the others stand by.",
        examples=[3],
        json_schema_extra=only(*KUBERNETES),
    )
    pgbouncer: Flag = Field(
        False,
        description="Whether PgBouncer stands between server and PostgreSQL, so that many workers share few "
        "connections.",
        examples=[False],
        json_schema_extra=only(*DOCKER),
    )
    aurora: Flag = Field(
        False,
        description="Whether Amazon Aurora takes the place of RDS, for PostgreSQL and MySQL.",
        examples=[True],
        json_schema_extra=only(*AWS),
    )
    instance_class: InstanceClass | None = Field(
        None,
        description="Class of the database; by `size` unless given.",
        examples=["db.r7g.large"],
        json_schema_extra=only(*AWS),
    )
    storage_gb: Whole | None = Field(
        None,
        ge=20,
        le=65536,
        description="Disk of the database, in GiB, which grows and never shrinks; by `size` unless given.",
        examples=[100],
        json_schema_extra=only(*CLOUD),
    )
    storage_class: KubernetesName | None = Field(
        None,
        description="Storage class of its disks; the usual one of the cluster unless given.",
        examples=["gp3"],
        json_schema_extra=only(*KUBERNETES),
    )
    archive: Archive | None = Field(
        None,
        description="Backups of a database in the cluster, by CloudNativePG's Barman Cloud plug-in. Without one "
        "there are none, and the policy pack refuses the stack.",
        json_schema_extra=only(*KUBERNETES),
    )
    multi_az: Flag = Field(
        True,
        description="Whether a second one stands by in another zone.",
        examples=[True],
        json_schema_extra=only(*AWS),
    )
    read_replica: Flag = Field(
        False,
        description="Whether a read replica answers searches; with `aurora` only.",
        examples=[True],
        json_schema_extra=only(*AWS),
    )
    rds_proxy: Flag = Field(
        False,
        description="Whether RDS Proxy stands between servers and database.",
        examples=[True],
        json_schema_extra=only(*AWS),
    )
    iam_auth: Flag = Field(
        False,
        description="Whether people may log in to the database by their AWS identity.",
        examples=[True],
        json_schema_extra=only(*AWS),
    )
    backup_days: Whole = Field(
        14,
        ge=1,
        le=35,
        description="Days that one can go back to, to any second.",
        examples=[14],
        json_schema_extra=only(*AWS),
    )
    backup_region: Region | None = Field(
        None,
        description="Another region that these backups are copied to; none unless given.",
        examples=["eu-west-1"],
        json_schema_extra=only(*AWS),
    )
    ca_file: Text | None = Field(
        None,
        min_length=1,
        description="File with the certificates of RDS's authorities in the region, by which servers verify the "
        "database; relative to the project. Without it connections are encrypted, and the server is not verified.",
        examples=["rds-ca.pem"],
        json_schema_extra=only(*AWS),
    )
    rds_proxy_ca_file: Text | None = Field(
        None,
        min_length=1,
        description="The same for RDS Proxy: the root certificates of Amazon.",
        examples=["amazon-ca.pem"],
        json_schema_extra=only(*AWS),
    )
    apply_immediately: Flag = Field(
        False,
        description="Whether a change of class or version interrupts now instead of in the maintenance window.",
        examples=[True],
        json_schema_extra=only(*AWS),
    )
    allow_major_upgrade: Flag = Field(
        False,
        description="Whether another major version is taken, which nothing takes back; needs `apply_immediately`.",
        examples=[True],
        json_schema_extra=only(*AWS),
    )
    deletion_protection: Flag = Field(
        True,
        description="Whether RDS itself refuses to delete the database, whoever asks.",
        examples=[True],
        json_schema_extra=only(*AWS),
    )
    existing: ExistingDatabase | None = Field(
        None,
        description="A database server that this stack did not make. Its password is the secret "
        "`mlflow:database_password`.",
        json_schema_extra=only(*SERVERS),
    )


class ExistingArtifacts(Section):
    """A bucket that this stack did not make, with `artifacts.store: s3`."""

    endpoint_url: EndpointUrl | None = Field(
        None,
        description="URL of an S3-compatible store; AWS's own S3 unless given.",
        examples=["https://s3.example.com"],
        json_schema_extra=only(*SERVERS),
    )
    addressing: Addressing = Field(
        Addressing.AUTO,
        description="How requests name the bucket: in the `path` (`https://host/bucket`), in the host (`virtual`, "
        "`https://bucket.host`), or as boto3 decides: the path where `endpoint_url` is given.",
        examples=["virtual"],
        json_schema_extra=only(*SERVERS),
    )
    region: Text = Field(
        "us-east-1",
        min_length=1,
        description="Region that requests are signed for.",
        examples=["us-east-1"],
        json_schema_extra=only(*SERVERS),
    )
    prefix: Prefix = Field(
        "",
        description="Path in the bucket below which everything is kept.",
        examples=["mlflow"],
        json_schema_extra=only(*SERVERS),
    )
    ca_file: Text | None = Field(
        None,
        min_length=1,
        description="File with the certificate of the authority that signed the store's; relative to the project.",
        examples=["store-ca.pem"],
        json_schema_extra=only(*SERVERS),
    )


class Nfs(Section):
    """An NFS export that keeps the folder of `artifacts.store: folder`."""

    server: NfsServer = Field(
        description="Name or address of the server.",
        examples=["nas.example.com"],
        json_schema_extra=only(*DOCKER),
    )
    path: NfsPath = Field(
        description="Exported folder.", examples=["/export/mlflow"], json_schema_extra=only(*DOCKER)
    )
    options: NfsOptions = Field(
        "rw,nfsvers=4",
        description="Mount options.",
        examples=["rw,nfsvers=4"],
        json_schema_extra=only(*DOCKER),
    )


class Artifacts(Section):
    """Where models, plots and files are kept."""

    store: Store = Field(
        description="Kind of store.", examples=["versitygw"], json_schema_extra=only(*ALL)
    )
    bucket: Bucket = Field(
        "mlflow",
        description="Name of the bucket; `default` for minio unless given. S3 itself wants one that nobody else in "
        "the world has.",
        examples=["mlflow"],
        json_schema_extra=only(*SERVERS),
    )
    memory_mb: Whole = Field(
        256,
        ge=64,
        le=1_048_576,
        description="Memory limit of the store, in MiB.",
        examples=[256],
        json_schema_extra=only(*CONTAINERS),
    )
    vpc_only: Flag = Field(
        True,
        description="Whether objects of the bucket that is made are reached through the VPC's endpoint alone. Clients "
        "that use it themselves (`mode: direct`, `multipart`) need `false`: then whoever has a login or a signed URL "
        "reaches them, from `aws.clients` where these are given.",
        examples=[True],
        json_schema_extra=only(*AWS),
    )
    access_logs: Flag = Field(
        True,
        description="Whether each request to the bucket that is made is logged, in a bucket of its own.",
        examples=[True],
        json_schema_extra=only(*AWS),
    )
    keep_deleted_days: Whole = Field(
        30,
        ge=1,
        le=3650,
        description="Days for which deleted and overwritten objects can be had back.",
        examples=[30],
        json_schema_extra=only(*AWS),
    )
    tiering_days: Whole | None = Field(
        None,
        ge=1,
        le=3650,
        description="Days after which objects move to Intelligent-Tiering; never unless given.",
        examples=[90],
        json_schema_extra=only(*AWS),
    )
    replica_region: Region | None = Field(
        None,
        description="Another region that every new object is copied to; none unless given.",
        examples=["eu-west-1"],
        json_schema_extra=only(*AWS),
    )
    storage_gb: Whole = Field(
        100,
        ge=1,
        le=65536,
        description="Disk of a store in the cluster, in GiB, which grows and never shrinks.",
        examples=[100],
        json_schema_extra=only(*KUBERNETES),
    )
    storage_class: KubernetesName | None = Field(
        None,
        description="Storage class of that disk; the usual one of the cluster unless given.",
        examples=["gp3"],
        json_schema_extra=only(*KUBERNETES),
    )
    mode: ArtifactMode = Field(
        ArtifactMode.PROXIED,
        description="`proxied`: clients know the server alone. `direct`: clients read and write the store "
        "themselves, with its keys; in a cloud where it has none, with an identity of their own.",
        examples=["proxied"],
        json_schema_extra=only(*SERVERS),
    )
    multipart: Flag = Field(
        False,
        description="Whether the server hands out presigned URLs for large files, so that their bytes pass it by. "
        "Server and clients must reach the store under one URL: in Docker `artifacts.public_url`, in a cloud that of "
        "the bucket.",
        examples=[False],
        json_schema_extra=only(*SERVERS),
    )
    port: Port = Field(
        9000,
        description="Port on which the store is published, at `access.bind`, if clients use it themselves.",
        examples=[9000],
        json_schema_extra=only(*DOCKER),
    )
    console_port: Port = Field(
        9001,
        description="Port of MinIO's console, on loopback.",
        examples=[9001],
        json_schema_extra=only(*DOCKER),
    )
    public_url: PublicUrl | None = Field(
        None,
        description="URL under which clients reach the store; `http://` with `access.bind` and port unless given. If "
        "its host is an address, the store is published there.",
        examples=["http://172.17.0.1:9000"],
        json_schema_extra=only(*DOCKER),
    )
    existing: ExistingArtifacts | None = Field(
        None,
        description="A bucket that this stack did not make. Its keys are the secrets "
        "`mlflow:artifacts_access_key` and `mlflow:artifacts_secret_key`.",
        json_schema_extra=only(*SERVERS),
    )
    uri: ArtifactUri | None = Field(
        None,
        description="Where `gcs` and `azure` keep artifacts.",
        examples=["gs://team-mlflow/artifacts"],
        json_schema_extra=only(*DOCKER),
    )
    nfs: Nfs | None = Field(
        None,
        description="An NFS export that keeps the folder, instead of a volume on the engine's own disk.",
        json_schema_extra=only(*DOCKER),
    )
    expire_multipart_days: Whole | None = Field(
        None,
        ge=1,
        le=3650,
        description="Days after which the store removes uploads that were never finished.",
        examples=[7],
        json_schema_extra=only(*BUILT),
    )
    encryption: Encryption = Field(
        Encryption.NONE,
        description="How the store encrypts objects at rest.",
        examples=["none"],
        json_schema_extra=only(*DOCKER),
    )


class Oidc(Section):
    """Your identity provider."""

    issuer: Issuer = Field(
        description="Issuer URL, as in the tokens; its `/.well-known/openid-configuration` is read.",
        examples=[EXAMPLE_ISSUER],
        json_schema_extra=only(*SERVERS),
    )
    client_id: Text = Field(
        "mlflow",
        min_length=1,
        max_length=255,
        description="Client that the provider knows for this stack. Its secret is `mlflow:oidc_client_secret`.",
        examples=["mlflow"],
        json_schema_extra=only(*SERVERS),
    )
    audiences: list[Text] = Field(
        [],
        description="Further audiences whose bearer tokens are accepted; `client_id` always is.",
        examples=["mlflow-sdk"],
        json_schema_extra=only(*SERVERS),
    )
    scopes: list[Text] = Field(
        [],
        description="Scopes that a login asks for beside `openid email profile`.",
        examples=["groups"],
        json_schema_extra=only(*SERVERS),
    )
    groups_claim: Text = Field(
        "groups",
        min_length=1,
        description="Claim that lists a user's groups.",
        examples=["groups"],
        json_schema_extra=only(*SERVERS),
    )
    allowed_groups: list[Text] = Field(
        [],
        description="Groups whose members may log in; everybody of the provider unless given.",
        examples=["ml-team"],
        json_schema_extra=only(*SERVERS),
    )
    email_domains: list[EmailDomain] = Field(
        [],
        description="Mail domains whose users may log in; any unless given.",
        examples=["example.com"],
        json_schema_extra=only(*SERVERS),
    )
    admin_groups: list[Text] = Field(
        [],
        description="Groups whose members administer MLflow, with `auth: oidc-mlflow`.",
        examples=["ml-admins"],
        json_schema_extra=only(*SERVERS),
    )
    authorization_endpoint: HttpsUrl | None = Field(
        None,
        description="From `<issuer>/.well-known/openid-configuration`: by the three endpoints the load balancer itself "
        "logs browsers in.",
        examples=["https://login.example.com/authorization_endpoint"],
        json_schema_extra=only(*AWS),
    )
    token_endpoint: HttpsUrl | None = Field(
        None,
        description="Likewise.",
        examples=["https://login.example.com/token_endpoint"],
        json_schema_extra=only(*AWS),
    )
    user_info_endpoint: HttpsUrl | None = Field(
        None,
        description="Likewise (`userinfo_endpoint`).",
        examples=["https://login.example.com/user_info_endpoint"],
        json_schema_extra=only(*AWS),
    )
    ca_file: Text | None = Field(
        None,
        min_length=1,
        description="File with the certificate of the authority that signed the provider's; relative to the project.",
        examples=["oidc-ca.pem"],
        json_schema_extra=only(*SERVERS),
    )


class Permissions(Section):
    """What MLflow's users may do, with `auth: mlflow` or `oidc-mlflow`."""

    default: Permission = Field(
        Permission.READ,
        description="What everybody may do with experiments and models of others.",
        examples=["READ"],
        json_schema_extra=only(*SERVERS),
    )
    groups: dict[str, Permission] = Field(
        {},
        description="What members of a group of the identity provider may do with them, with `oidc-mlflow`.",
        examples=["ml-team: EDIT"],
        json_schema_extra=only(*SERVERS),
    )


class Access(Section):
    """The front door."""

    auth: AuthMode = Field(
        description="How users log in: `none`, `basic` (passwords generated), `oidc` (your identity provider), "
        "`mlflow` (MLflow's own users and permissions), `oidc-mlflow` (your provider's users with MLflow's "
        "permissions).",
        examples=["basic"],
        json_schema_extra=only(*ALL),
    )
    username: LoginName = Field(
        "mlflow",
        description="Login name for `auth: basic`.",
        examples=["mlflow"],
        json_schema_extra=only(*SERVERS),
    )
    bind: Bind = Field(
        "127.0.0.1",
        description="Address on which the port is published; `0.0.0.0` is every one of the machine.",
        examples=["127.0.0.1"],
        json_schema_extra=only(*HERE),
    )
    port: Port = Field(
        5000,
        description="Port on which the server is published.",
        examples=[5000],
        json_schema_extra=only(*HERE),
    )
    hosts: list[PublicHost] = Field(
        [],
        description="Public host names; the first is the one in links. Needed where others than this "
        "machine reach the server.",
        examples=[EXAMPLE_HOST],
        json_schema_extra=only(*SERVERS),
    )
    public_url: FrontUrl | None = Field(
        None,
        description="URL under which another proxy before this one, which ends TLS and passes the Host header on, "
        "shows the stack; its host is allowed.",
        examples=[f"https://{EXAMPLE_HOST}"],
        json_schema_extra=only(*DOCKER),
    )
    users: list[LoginName] = Field(
        [],
        description="Further users for `auth: basic`, each with a generated password.",
        examples=["ada"],
        json_schema_extra=only(*SERVERS),
    )
    tls: FrontTls = Field(
        FrontTls.NONE,
        description="`none` (loopback, or TLS ends before us), `self-signed` (a certificate made for development), "
        "`files` (your own).",
        examples=["self-signed"],
        json_schema_extra=only(*DOCKER),
    )
    tls_certificate: Text | None = Field(
        None,
        min_length=1,
        description="PEM file with the certificate and its chain; relative to the project. Used with `tls: files`.",
        examples=["tls.crt"],
        json_schema_extra=only(*DOCKER),
    )
    tls_key: Text | None = Field(
        None,
        min_length=1,
        description="PEM file with its private key, unencrypted. Keep it out of git. Used with `tls: files`.",
        examples=["tls.key"],
        json_schema_extra=only(*DOCKER),
    )
    rate_limit: Whole = Field(
        proxy.RATE_LIMIT,
        ge=0,
        le=100_000,
        description="Requests a second that one address may make with a login, with as many again at once; without one "
        f"it is {proxy.ANONYMOUS_RATE_LIMIT} at most. 0 is no limit.",
        examples=[proxy.RATE_LIMIT],
        json_schema_extra=only(*SERVERS),
    )
    cache: Flag = Field(
        True,
        description="Whether nginx keeps the UI's static files instead of asking the server each time.",
        examples=[True],
        json_schema_extra=only(*SERVERS),
    )
    html_sources: list[HtmlSource] = Field(
        [],
        description="Origins that HTML artifacts, opened as pages of their own, may load scripts, styles, fonts and "
        "pictures from. They stay in a sandbox.",
        examples=["https://cdn.jsdelivr.net"],
        json_schema_extra=only(*SERVERS),
    )
    oidc: Oidc | None = Field(
        None, description="Your identity provider.", json_schema_extra=only(*SERVERS)
    )
    permissions: Permissions | None = Field(
        None,
        description="What MLflow's users may do, with `auth: mlflow` or `oidc-mlflow`.",
        json_schema_extra=only(*SERVERS),
    )


class Network(Section):
    """The network of the stack's containers."""

    existing: DockerName | None = Field(
        None,
        description="Docker network that the front door joins besides its own, such as that of your own reverse proxy.",
        examples=["nginx_network"],
        json_schema_extra=only(*DOCKER),
    )


class Settings(Section):
    """All settings of one stack."""

    runtime: Runtime = Field(
        description="Where the stack runs: `local` (one process, SQLite, a folder), `docker`, `aws`, "
        "`kubernetes`.",
        examples=["local"],
        json_schema_extra=only(*ALL),
    )
    images: Images = Field(
        Images.AUTO,
        description="Where images come from: `registry` (official ones), `build` (from packages), "
        "`auto` (what `make setup` found reachable).",
        examples=["auto"],
        json_schema_extra=only(*BUILT),
    )
    data_dir: DataDir | None = Field(
        None,
        description="Absolute folder of database and artifacts; `.state/data/<stack>` in the project "
        "unless given.",
        json_schema_extra=only(*LOCAL),
    )
    size: Size = Field(
        Size.S,
        description="Size of the machines.",
        examples=["S"],
        json_schema_extra=only(*CLOUD),
    )
    tracking: Tracking = Field(description="The MLflow server.", json_schema_extra=only(*ALL))
    database: Database = Field(
        description="The database of runs and models.", json_schema_extra=only(*ALL)
    )
    artifacts: Artifacts = Field(
        description="Where models and files are kept.", json_schema_extra=only(*ALL)
    )
    access: Access = Field(description="The front door.", json_schema_extra=only(*ALL))
    network: Network | None = Field(
        None, description="The network of the containers.", json_schema_extra=only(*DOCKER)
    )
    database_password: Secret | None = Field(
        None,
        description="Secret: password of `database.username` at `database.existing`.",
        json_schema_extra=only(*SERVERS),
    )
    artifacts_access_key: Secret | None = Field(
        None,
        description="Secret: access key for `artifacts.existing`.",
        json_schema_extra=only(*SERVERS),
    )
    artifacts_secret_key: Secret | None = Field(
        None,
        description="Secret: secret key for `artifacts.existing`.",
        json_schema_extra=only(*SERVERS),
    )
    oidc_client_secret: Secret | None = Field(
        None,
        description="Secret: the client secret of `access.oidc.client_id`.",
        json_schema_extra=only(*SERVERS),
    )
    jobs_redis_url: Secret | None = Field(
        None,
        description="Secret: URL of the Redis that jobs wait in, `rediss://…`, with `tracking.jobs`. The "
        "server's image must have the extra `redis`.",
        json_schema_extra=only(*CLOUD),
    )
    dump_access_key: Secret | None = Field(
        None,
        description="Secret: access key for `backup.dump`.",
        json_schema_extra=only(*CLOUD),
    )
    dump_secret_key: Secret | None = Field(
        None,
        description="Secret: secret key for `backup.dump`.",
        json_schema_extra=only(*CLOUD),
    )
    aws: Aws | None = Field(
        None, description="The AWS account's part.", json_schema_extra=only(*AWS)
    )
    kubernetes: Kubernetes | None = Field(
        None, description="The cluster's part.", json_schema_extra=only(*CLOUD)
    )
    registry: Registry | None = Field(
        None,
        description="Images that are in a registry already.",
        json_schema_extra=only(*CLOUD),
    )
    monitoring: Monitoring | None = Field(
        None, description="Who is told of what is wrong.", json_schema_extra=only(*CLOUD)
    )
    backup: Backup | None = Field(
        None, description="Copies of what the stack has made.", json_schema_extra=only(*CLOUD)
    )
