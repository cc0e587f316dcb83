"""What stands in a compose file of MLflow, and what becomes of it in a stack: one table.

mapping.py acts on it, and docs/from-compose.md shows it.
"""

from enum import Enum
from typing import NamedTuple


class Role(Enum):
    """What a service of the file is for."""

    TRACKING = "MLflow server"
    DATABASE = "database"
    STORE = "artifact store"
    PROXY = "reverse proxy"
    OIDC = "oauth2-proxy"
    POOLER = "PgBouncer"
    JOB = "job that makes the bucket"
    OTHER = "other"
    ANY = "any service"


class Fate(Enum):
    """What becomes of something in the file."""

    SETTING = "setting"
    DATA = "only for taking the data along"
    DONE = "the stack does it itself"
    LOST = "not taken"


class Rule(NamedTuple):
    """A row of the table: what stands in a compose file, and what becomes of it."""

    role: Role
    fact: str
    """What it says; several names may say the same."""
    fate: Fate
    names: tuple[str, ...]
    """Options of the command start with a dash, variables are upper case, keys of a service lower case."""
    target: str
    """Settings that it becomes, without `mlflow:`; empty for none."""
    note: str
    """Why, or what to do instead."""


_T, _D, _S, _O, _A = Role.TRACKING, Role.DATABASE, Role.STORE, Role.OIDC, Role.ANY
_GENERATED = "The stack generates its own."

# fmt: off
RULES = (
    Rule(
        _T, "backend_uri", Fate.SETTING,
        ("--backend-store-uri", "MLFLOW_BACKEND_STORE_URI"),
        "database.engine, database.name, database.username, database.existing",
        "`existing` where its host surely is no part of the old deployment: see below; the password is never written.",
    ),
    Rule(
        _T, "artifact_root", Fate.SETTING,
        ("--default-artifact-root", "MLFLOW_DEFAULT_ARTIFACT_ROOT"),
        "artifacts.store, artifacts.bucket, artifacts.mode, artifacts.uri",
        "An `s3://` root makes clients write to the store themselves: mode `direct`.",
    ),
    Rule(
        _T, "destination", Fate.SETTING,
        ("--artifacts-destination", "MLFLOW_ARTIFACTS_DESTINATION"),
        "artifacts.store, artifacts.bucket, artifacts.mode, artifacts.uri",
        "Mode `proxied`.",
    ),
    Rule(
        _T, "serve", Fate.SETTING,
        ("--serve-artifacts", "--no-serve-artifacts", "MLFLOW_SERVE_ARTIFACTS"),
        "artifacts.mode",
        "",
    ),
    Rule(
        _T, "endpoint", Fate.SETTING,
        ("MLFLOW_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
        "artifacts.store, artifacts.existing.endpoint_url",
        "A service of the file: a store of the stack's own. `existing` as for the database.",
    ),
    Rule(
        _T, "region", Fate.SETTING,
        ("AWS_DEFAULT_REGION", "AWS_REGION"),
        "artifacts.existing.region",
        "A store of the stack's own needs none.",
    ),
    Rule(
        _T, "access_key", Fate.DATA,
        ("AWS_ACCESS_KEY_ID",),
        "artifacts_access_key (secret)",
        "Own store: generated. `existing`: set the secret.",
    ),
    Rule(
        _T, "secret_key", Fate.DATA,
        ("AWS_SECRET_ACCESS_KEY",),
        "artifacts_secret_key (secret)",
        "Own store: generated. `existing`: set the secret.",
    ),
    Rule(
        _T, "workers", Fate.SETTING,
        ("--workers", "-w", "MLFLOW_WORKERS"),
        "tracking.workers",
        "",
    ),
    Rule(
        _T, "allowed_hosts", Fate.SETTING,
        ("--allowed-hosts", "MLFLOW_SERVER_ALLOWED_HOSTS"),
        "tracking.allowed_hosts",
        "Without ports: each name is allowed with any. `*` is refused.",
    ),
    Rule(
        _T, "port", Fate.SETTING,
        ("--port", "-p", "MLFLOW_PORT"),
        "access.port",
        "As published.",
    ),
    Rule(
        _T, "host", Fate.DONE,
        ("--host", "-h", "MLFLOW_HOST"),
        "",
        "Inside the network only.",
    ),
    Rule(
        _T, "app", Fate.SETTING,
        ("--app-name", "MLFLOW_AUTH_CONFIG_PATH"),
        "access.auth",
        "`basic-auth` is `mlflow`, `oidc-auth` (the plugin mlflow-oidc-auth) is `oidc-mlflow`. Users and what each may"
        " do are in a database of their own and are not taken along.",
    ),
    Rule(
        _T, "issuer", Fate.SETTING,
        ("OIDC_DISCOVERY_URL",),
        "access.oidc.issuer",
        "Of the plugin mlflow-oidc-auth.",
    ),
    Rule(
        _T, "client_id", Fate.SETTING,
        ("OIDC_CLIENT_ID",),
        "access.oidc.client_id",
        "",
    ),
    Rule(
        _T, "client_secret", Fate.DATA,
        ("OIDC_CLIENT_SECRET",),
        "oidc_client_secret (secret)",
        "Set the secret.",
    ),
    Rule(
        _T, "allowed_groups", Fate.SETTING,
        ("OIDC_GROUP_NAME",),
        "access.oidc.allowed_groups",
        "With the administrators' groups, which the plugin lets in too.",
    ),
    Rule(
        _T, "admin_groups", Fate.SETTING,
        ("OIDC_ADMIN_GROUP_NAME",),
        "access.oidc.admin_groups",
        "",
    ),
    Rule(
        _T, "groups_claim", Fate.SETTING,
        ("OIDC_GROUPS_ATTRIBUTE",),
        "access.oidc.groups_claim",
        "",
    ),
    Rule(
        _T, "scopes", Fate.SETTING,
        ("OIDC_SCOPE",),
        "access.oidc.scopes",
        "`openid email profile` is asked for anyway.",
    ),
    Rule(
        _T, "default_permission", Fate.SETTING,
        ("DEFAULT_MLFLOW_PERMISSION",),
        "access.permissions.default",
        "Without it the plugin lets everybody manage everything; the stack lets them read.",
    ),
    Rule(
        _T, "oidc_plugin", Fate.LOST,
        (
            "OIDC_PROVIDER_TYPE", "OIDC_GROUP_DETECTION_PLUGIN", "OIDC_AUTHORIZATION_URL", "OIDC_TOKEN_URL",
            "OIDC_USER_URL", "PERMISSION_SOURCE_ORDER",
        ),
        "",
        "The stack asks the issuer for its addresses, and reads groups from the token.",
    ),
    Rule(
        _T, "oidc_done", Fate.DONE,
        (
            "OIDC_REDIRECT_URI", "OIDC_PROVIDER_DISPLAY_NAME", "OIDC_USERS_DB_URI", "OIDC_ALEMBIC_VERSION_TABLE",
            "AUTOMATIC_LOGIN_REDIRECT", "EXTEND_MLFLOW_MENU", "DEFAULT_LANDING_PAGE_IS_PERMISSIONS",
            "PERMANENT_SESSION_LIFETIME",
        ),
        "",
        "The stack wires the login itself; users and permissions are not taken along.",
    ),
    Rule(
        _T, "pool_size", Fate.SETTING,
        ("MLFLOW_SQLALCHEMYSTORE_POOL_SIZE",),
        "database.pool_size",
        "",
    ),
    Rule(
        _T, "max_overflow", Fate.SETTING,
        ("MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW",),
        "database.max_overflow",
        "",
    ),
    Rule(
        _T, "multipart", Fate.SETTING,
        ("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD"),
        "artifacts.multipart",
        "",
    ),
    Rule(
        _T, "auth_secret", Fate.DONE,
        (
            "MLFLOW_FLASK_SERVER_SECRET_KEY", "MLFLOW_AUTH_ADMIN_USERNAME", "MLFLOW_AUTH_ADMIN_PASSWORD",
            "SECRET_KEY",
        ),
        "",
        _GENERATED,
    ),
    Rule(
        _T, "kek", Fate.LOST,
        ("MLFLOW_CRYPTO_KEK_PASSPHRASE",),
        "",
        "The stack generates its own, which does not open what the old one encrypted: enter the gateway's API"
        " keys again.",
    ),
    Rule(
        _T, "server_opts", Fate.LOST,
        (
            "--gunicorn-opts", "--uvicorn-opts", "--waitress-opts", "MLFLOW_GUNICORN_OPTS",
            "MLFLOW_UVICORN_OPTS", "GUNICORN_CMD_ARGS",
        ),
        "",
        "The stack computes them: time limits are long already, processes are `mlflow:tracking.workers`.",
    ),
    Rule(
        _T, "prefix", Fate.LOST,
        ("--static-prefix", "MLFLOW_STATIC_PREFIX"),
        "",
        "The server is at the root of its host: give it a host name of its own.",
    ),
    Rule(
        _T, "metrics", Fate.LOST,
        ("--expose-prometheus", "MLFLOW_EXPOSE_PROMETHEUS"),
        "",
        "Monitoring comes with a later release.",
    ),
    Rule(
        _T, "second_store", Fate.LOST,
        (
            "--registry-store-uri", "MLFLOW_REGISTRY_STORE_URI", "--read-replica-backend-store-uri",
            "MLFLOW_READ_REPLICA_BACKEND_STORE_URI", "--workspace-store-uri", "MLFLOW_WORKSPACE_STORE_URI",
        ),
        "",
        "A stack has one database for runs and models.",
    ),
    Rule(
        _T, "artifacts_only", Fate.LOST,
        ("--artifacts-only", "MLFLOW_ARTIFACTS_ONLY"),
        "",
        "A stack has one server for runs and artifacts.",
    ),
    Rule(
        _T, "browser", Fate.LOST,
        (
            "--cors-allowed-origins", "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS", "--x-frame-options",
            "MLFLOW_SERVER_X_FRAME_OPTIONS", "--disable-security-middleware",
            "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE",
        ),
        "",
        "The front door sets the strict values.",
    ),
    Rule(
        _T, "extra", Fate.LOST,
        (
            "--dev", "--enable-workspaces", "MLFLOW_ENABLE_WORKSPACES", "--trace-archival-config",
            "MLFLOW_TRACE_ARCHIVAL_CONFIG", "--secrets-cache-ttl", "--secrets-cache-max-size",
        ),
        "",
        "Not offered.",
    ),
    Rule(
        _T, "insecure", Fate.LOST,
        ("MLFLOW_S3_IGNORE_TLS", "MLFLOW_TRACKING_INSECURE_TLS"),
        "",
        "Certificates are checked: give the authority's as `mlflow:artifacts.existing.ca_file`.",
    ),
    Rule(
        _T, "aws_login", Fate.LOST,
        ("AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"),
        "",
        "Give an access key: the secrets `mlflow:artifacts_access_key` and `mlflow:artifacts_secret_key`.",
    ),
    Rule(
        _T, "cloud_login", Fate.LOST,
        ("GOOGLE_APPLICATION_CREDENTIALS", "AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_ACCESS_KEY"),
        "",
        "A stack on Docker hands no such login to the server: see docs/configuration.md.",
    ),
    Rule(
        _T, "client", Fate.DONE,
        (
            "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD",
            "MLFLOW_DISABLE_TELEMETRY", "AWS_S3_ADDRESSING_STYLE", "MLFLOW_S3_UPLOAD_EXTRA_ARGS",
            "PYTHONUNBUFFERED",
        ),
        "",
        "Of the client (`make env`), or set anyway.",
    ),
    Rule(
        _D, "db_name", Fate.SETTING,
        ("POSTGRES_DB", "POSTGRESQL_DATABASE", "MYSQL_DATABASE", "MARIADB_DATABASE"),
        "database.name",
        "",
    ),
    Rule(
        _D, "db_user", Fate.SETTING,
        ("POSTGRES_USER", "POSTGRESQL_USERNAME", "MYSQL_USER", "MARIADB_USER"),
        "database.username",
        "",
    ),
    Rule(
        _D, "db_password", Fate.DATA,
        (
            "POSTGRES_PASSWORD", "POSTGRESQL_PASSWORD", "MYSQL_PASSWORD", "MARIADB_PASSWORD",
            "POSTGRES_PASSWORD_FILE", "POSTGRESQL_PASSWORD_FILE", "MYSQL_PASSWORD_FILE",
            "MARIADB_PASSWORD_FILE",
        ),
        "database_password (secret)",
        "Own database: generated. `existing`: set the secret.",
    ),
    Rule(
        _D, "db_own", Fate.DONE,
        (
            "MYSQL_ROOT_PASSWORD", "MARIADB_ROOT_PASSWORD", "MYSQL_ROOT_PASSWORD_FILE",
            "MARIADB_ROOT_PASSWORD_FILE", "MYSQL_RANDOM_ROOT_PASSWORD", "MYSQL_ALLOW_EMPTY_PASSWORD",
            "MYSQL_ROOT_HOST", "PGDATA", "PGPORT", "POSTGRES_INITDB_ARGS",
        ),
        "",
        "The stack makes and guards its database itself.",
    ),
    Rule(
        _D, "db_trust", Fate.LOST,
        ("POSTGRES_HOST_AUTH_METHOD",),
        "",
        "The database always wants its password.",
    ),
    Rule(
        _D, "max_connections", Fate.SETTING,
        ("--max-connections", "--max_connections", "max_connections"),
        "database.max_connections",
        "",
    ),
    Rule(
        _S, "root_key", Fate.DATA,
        (
            "MINIO_ROOT_USER", "MINIO_ACCESS_KEY", "RUSTFS_ACCESS_KEY", "ROOT_ACCESS_KEY",
            "MINIO_ROOT_USER_FILE",
        ),
        "",
        _GENERATED,
    ),
    Rule(
        _S, "root_secret", Fate.DATA,
        (
            "MINIO_ROOT_PASSWORD", "MINIO_SECRET_KEY", "RUSTFS_SECRET_KEY", "ROOT_SECRET_KEY",
            "MINIO_ROOT_PASSWORD_FILE",
        ),
        "",
        _GENERATED,
    ),
    Rule(
        _S, "store_port", Fate.SETTING,
        ("--address", "MINIO_ADDRESS", "RUSTFS_ADDRESS", "MINIO_PORT"),
        "artifacts.port",
        "As published, in mode `direct`; in mode `proxied` nothing is published.",
    ),
    Rule(
        _S, "console_port", Fate.SETTING,
        ("--console-address", "MINIO_CONSOLE_ADDRESS", "MINIO_CONSOLE_PORT"),
        "artifacts.console_port",
        "As published. Only MinIO has a console, and it stays on loopback.",
    ),
    Rule(
        _S, "public_url", Fate.SETTING,
        ("MINIO_SERVER_URL",),
        "artifacts.public_url",
        "In mode `direct`.",
    ),
    Rule(
        _S, "store_own", Fate.DONE,
        (
            "MINIO_REGION", "MINIO_REGION_NAME", "MINIO_SITE_REGION", "RUSTFS_REGION", "MINIO_DEFAULT_BUCKETS",
            "MINIO_BROWSER_REDIRECT_URL", "RUSTFS_CONSOLE_ENABLE", "RUSTFS_SERVER_DOMAINS", "RUSTFS_VOLUMES",
            "MINIO_VOLUMES", "MINIO_PROMETHEUS_AUTH_TYPE",
        ),
        "",
        "The stack makes bucket and keys itself.",
    ),
    Rule(
        _O, "issuer", Fate.SETTING,
        ("OAUTH2_PROXY_OIDC_ISSUER_URL",),
        "access.oidc.issuer",
        "Makes `access.auth: oidc`.",
    ),
    Rule(
        _O, "client_id", Fate.SETTING,
        ("OAUTH2_PROXY_CLIENT_ID",),
        "access.oidc.client_id",
        "",
    ),
    Rule(
        _O, "client_secret", Fate.DATA,
        ("OAUTH2_PROXY_CLIENT_SECRET", "OAUTH2_PROXY_CLIENT_SECRET_FILE"),
        "oidc_client_secret (secret)",
        "Set the secret.",
    ),
    Rule(
        _O, "audiences", Fate.SETTING,
        ("OAUTH2_PROXY_OIDC_EXTRA_AUDIENCES",),
        "access.oidc.audiences",
        "",
    ),
    Rule(
        _O, "scopes", Fate.SETTING,
        ("OAUTH2_PROXY_SCOPE",),
        "access.oidc.scopes",
        "`openid email profile` is asked for anyway.",
    ),
    Rule(
        _O, "groups_claim", Fate.SETTING,
        ("OAUTH2_PROXY_OIDC_GROUPS_CLAIM",),
        "access.oidc.groups_claim",
        "",
    ),
    Rule(
        _O, "allowed_groups", Fate.SETTING,
        ("OAUTH2_PROXY_ALLOWED_GROUPS", "OAUTH2_PROXY_ALLOWED_GROUP"),
        "access.oidc.allowed_groups",
        "",
    ),
    Rule(
        _O, "email_domains", Fate.SETTING,
        ("OAUTH2_PROXY_EMAIL_DOMAINS", "OAUTH2_PROXY_EMAIL_DOMAIN"),
        "access.oidc.email_domains",
        "`*` is every one, as without the key.",
    ),
    Rule(
        _O, "oidc_own", Fate.DONE,
        (
            "OAUTH2_PROXY_COOKIE_SECRET", "OAUTH2_PROXY_HTTP_ADDRESS", "OAUTH2_PROXY_UPSTREAMS",
            "OAUTH2_PROXY_UPSTREAM", "OAUTH2_PROXY_REVERSE_PROXY", "OAUTH2_PROXY_REDIRECT_URL",
            "OAUTH2_PROXY_COOKIE_SECURE", "OAUTH2_PROXY_SET_XAUTHREQUEST",
            "OAUTH2_PROXY_SKIP_JWT_BEARER_TOKENS", "OAUTH2_PROXY_PASS_ACCESS_TOKEN", "OAUTH2_PROXY_PROVIDER",
            "OAUTH2_PROXY_SKIP_PROVIDER_BUTTON",
        ),
        "",
        "The stack wires nginx and oauth2-proxy itself.",
    ),
    Rule(
        _A, "ports", Fate.SETTING,
        ("ports",),
        "access.port, access.bind, artifacts.port, artifacts.console_port",
        "Only the front door is published, and the store in mode `direct`; beyond loopback only with a login,"
        " TLS and a host name.",
    ),
    Rule(
        _A, "networks", Fate.SETTING,
        ("networks",),
        "network.existing",
        "An `external` network is joined; others are the stack's own.",
    ),
    Rule(
        _A, "memory", Fate.SETTING,
        ("mem_limit", "deploy.resources.limits.memory"),
        "tracking.memory_mb, database.memory_mb, artifacts.memory_mb",
        "Of the service that it stands at.",
    ),
    Rule(
        _A, "cpus", Fate.SETTING,
        ("cpus", "deploy.resources.limits.cpus"),
        "tracking.cpus",
        "Of the server.",
    ),
    Rule(
        _A, "replicas", Fate.LOST,
        ("scale", "deploy.replicas"),
        "",
        "One server a stack on Docker; more processes by `mlflow:tracking.workers`.",
    ),
    Rule(
        _A, "rights", Fate.LOST,
        ("privileged", "cap_add", "devices", "network_mode", "pid", "ipc", "userns_mode", "group_add"),
        "",
        "Containers of a stack have no such rights.",
    ),
    Rule(
        _A, "engine", Fate.LOST,
        (
            "extra_hosts", "dns", "dns_search", "external_links", "sysctls", "ulimits", "runtime",
        ),
        "",
        "A stack has no setting for it.",
    ),
    Rule(
        _A, "labels", Fate.LOST,
        ("labels",),
        "access.username, access.users, access.hosts",
        "Host names and the users of passwords are, of Traefik and Caddy; a proxy that is steered by labels needs its"
        " route to the front door by other means.",
    ),
    Rule(
        _A, "own", Fate.DONE,
        (
            "image", "build", "command", "entrypoint", "environment", "env_file", "volumes", "secrets",
            "configs", "links", "profiles", "container_name", "hostname", "depends_on", "restart", "healthcheck",
            "expose", "logging", "init", "user", "stop_grace_period", "stop_signal", "pull_policy", "platform",
            "read_only", "tmpfs", "security_opt", "cap_drop", "shm_size", "mem_reservation", "memswap_limit",
            "stdin_open", "tty", "working_dir", "deploy", "attach", "develop", "annotations", "extends",
        ),
        "",
        "Images, volumes, health, restarts and order are the stack's own.",
    ),
)
# fmt: on


def table() -> list[tuple[str, str, str, str]]:
    """The rules as rows for people: where, what, becomes, remark."""
    rows = []
    for rule in RULES:
        names = ", ".join(f"`{name}`" for name in rule.names)
        becomes = {
            Fate.SETTING: ", ".join(f"`mlflow:{key}`" for key in rule.target.split(", ")),
            Fate.DATA: ", ".join(
                f"`mlflow:{key}`" for key in [rule.target.partition(" ")[0]] if key
            )
            or "nothing",
            Fate.DONE: "nothing",
            Fate.LOST: "**not taken**"
            + "".join(f", but `mlflow:{key}`" for key in rule.target.split(", ") if key),
        }
        rows.append((rule.role.value, names, becomes[rule.fate], rule.note))
    return rows
