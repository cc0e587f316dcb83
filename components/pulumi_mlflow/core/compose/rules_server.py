"""The rows of the table that are about the MLflow server."""

from .rule import Fate, Role, Rule

_T = Role.TRACKING
_GENERATED = "The stack generates its own."

# fmt: off
SERVER_RULES = (
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
)
# fmt: on
