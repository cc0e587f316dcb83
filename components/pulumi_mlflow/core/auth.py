"""MLflow's own users and permissions: the files and variables that turn them on.

Two modes. `mlflow`: users log in to MLflow itself, by name and password. `oidc-mlflow`: a proxy has logged them in and
says who they are; `proxy_auth.py` in the server's image believes it only together with a shared secret.

Users, roles and grants are in the tracking database, beside the runs: tables and version table have names of their own
(`alembic_version_auth`), so one dump holds both, and a database that somebody else administers needs no second one.

Names of options are those of MLflow 3.17.2 (`mlflow/server/auth/config.py`).
"""

import configparser
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

ADMIN = "admin"
"""Name of the administrator that every stack has. The identity provider's user of that name is refused."""

MLFLOW = "mlflow"
OIDC_MLFLOW = "oidc-mlflow"
MODES = (MLFLOW, OIDC_MLFLOW)
"""Modes in which the server itself asks who is there."""

PERMISSIONS = ("NO_PERMISSIONS", "READ", "USE", "EDIT", "MANAGE")
"""What may be granted on everything, the least first. MLflow's DENY, a veto, is for single grants only."""

DEFAULT_PERMISSION = "READ"
"""MLflow's own default. People see each other's work and cannot change or delete it."""

MLFLOW_FILE = "auth.ini"
PROXY_FILE = "proxy-auth.json"

_CACHE_SECONDS = 30
"""How long a worker remembers that a password was right. Without it each request pays for a scrypt hash, 50-100 ms and
32 MB. A password that was changed or taken away is good for that long at the other workers."""


@dataclass(frozen=True)
class AuthSettings:
    """Who may do what.

    Attributes:
        mode: one of `MODES`.
        default: permission of everybody on what is not their own.
        groups: group of the identity provider → permission of its members on everything; the highest counts.
        admin_groups: groups whose members administer MLflow.
    """

    mode: str
    default: str = DEFAULT_PERMISSION
    groups: Mapping[str, str] = field(default_factory=dict)
    admin_groups: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"auth: must be one of {', '.join(MODES)} (got {self.mode!r})")
        named = {"permissions.default": self.default} | {
            f"permissions.groups.{group}": permission for group, permission in self.groups.items()
        }
        for key, permission in named.items():
            if permission not in PERMISSIONS:
                raise ValueError(
                    f"{key}: must be one of {', '.join(PERMISSIONS)} (got {permission!r})"
                )
        if self.mode == MLFLOW and (self.groups or self.admin_groups):
            raise ValueError("groups: come from an identity provider; use auth 'oidc-mlflow'")
        for group in (*self.groups, *self.admin_groups):
            if not group.strip():
                raise ValueError(f"group: must not be empty (got {group!r})")


def files(
    settings: AuthSettings,
    database_uri: str,
    admin_password: str,
    session_key: str,
    proxy_secret: str,
    folder: str,
    modules: str,
) -> dict[str, str]:
    """Files that the server and its migration find in their configuration folder; secret.

    Args:
        settings: who may do what.
        database_uri: the database, from `uris.database_uri`.
        admin_password: of `ADMIN`, at least 12 characters.
        session_key: what MLflow signs its forms with; the same for all replicas.
        proxy_secret: what the proxy must send to be believed; used with `oidc-mlflow`.
        folder: where the files are found.
        modules: folder of the image with `proxy_auth.py`.

    Returns:
        Path below `folder` → content. Those below `env/` become variables of that name.
    """
    behind_proxy = settings.mode == OIDC_MLFLOW
    options = {
        "database_uri": database_uri,
        "default_permission": settings.default,
        "admin_username": ADMIN,
        "admin_password": admin_password,
        "auth_cache_ttl_seconds": str(_CACHE_SECONDS),
    }
    found = {
        "env/MLFLOW_AUTH_CONFIG_PATH": f"{folder}/{MLFLOW_FILE}",
        "env/MLFLOW_FLASK_SERVER_SECRET_KEY": session_key,
    }
    if behind_proxy:
        options["authorization_function"] = "proxy_auth:authenticate"
        found |= {
            "env/PROXY_AUTH_CONFIG": f"{folder}/{PROXY_FILE}",
            "env/PYTHONPATH": modules,
            PROXY_FILE: json.dumps(
                {
                    "proxy_secret": proxy_secret,
                    "admin_username": ADMIN,
                    "admin_groups": sorted(settings.admin_groups),
                    "groups": dict(sorted(settings.groups.items())),
                }
            ),
        }
    return {**found, MLFLOW_FILE: _ini(options)}


def file_names(mode: str) -> tuple[str, ...]:
    """Names of the `files` of a mode, known before any secret is."""
    if mode not in MODES:
        return ()
    return tuple(files(AuthSettings(mode), "-", "-", "-", "-", "-", "-"))


def _ini(options: Mapping[str, str]) -> str:
    config = configparser.ConfigParser()
    # MLflow reads it with interpolation, and a URI with an encoded password is full of percent signs.
    config["mlflow"] = {key: value.replace("%", "%%") for key, value in options.items()}
    text = io.StringIO()
    config.write(text)
    return text.getvalue()
