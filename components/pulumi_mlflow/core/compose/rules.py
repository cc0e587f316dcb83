"""What stands in a compose file of MLflow, and what becomes of it in a stack: one table.

mapping.py acts on it, and docs/from-compose.md shows it.
"""

from .rule import Fate, Role, Rule
from .rules_server import SERVER_RULES

__all__ = ["RULES", "Fate", "Role", "Rule", "table"]

_D, _S, _O, _A = Role.DATABASE, Role.STORE, Role.OIDC, Role.ANY
_GENERATED = "The stack generates its own."

# fmt: off
RULES = (
    *SERVER_RULES,
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
