"""Who asks, according to the proxy that has logged them in: MLflow's `authorization_function` of `oidc-mlflow`.

The proxy says it in headers, and proves with a shared secret that it is the proxy. Groups are read from the claims of
the token that it has verified, where a name is whole whatever characters it has. A user is made at the first sight;
their groups are compared with what MLflow has of them at every request, so that a change at the identity provider takes
effect with the next token. MLflow asks this function for its Flask routes, and in a Flask request context that it makes
up for those of FastAPI (`_authenticate_custom_for_fastapi`), so one function guards both.

Without the proxy's headers, from inside the stack's network, the administrator may log in by password: operations do.
"""

import base64
import functools
import hmac
import json
import logging
import os
import secrets
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow.server.auth as mlflow_auth
from cachetools import TTLCache
from flask import Response, g, jsonify, request
from mlflow.exceptions import MlflowException
from mlflow.server.auth.permissions import PERMISSION_PRIORITY
from mlflow.utils.workspace_utils import DEFAULT_WORKSPACE_NAME
from werkzeug.datastructures import Authorization

SECRET_HEADER = "X-Mlflow-Proxy-Secret"  # noqa: S105 - a name
USER_HEADER = "X-Mlflow-User"
GROUPS_HEADER = "X-Mlflow-Groups"
"""The user's groups, joined by commas: no name can be told from it, only whether there are any."""

CLAIMS_HEADER = "X-Mlflow-Claims"
"""What the provider's token says of the user: its middle part, base64 of JSON."""

GROUPS_CLAIM_HEADER = "X-Mlflow-Groups-Claim"
"""Which of the claims has the user's groups, in base64: a name, or a path with dots."""


RESOURCES = (
    "experiment",
    "registered_model",
    "prompt",
    "scorer",
    "gateway_secret",
    "gateway_endpoint",
    "gateway_model_definition",
    "mcp_server",
)
"""All that MLflow's `default_permission` covers too; what lies in them (runs, versions) inherits."""

ROLES = {
    permission: f"pulumi-mlflow-{permission.lower()}"
    for permission in ("READ", "USE", "EDIT", "MANAGE")
}
"""Permission of a group → role of MLflow's that its members get: the permission on everything."""

CODES = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 503: "TEMPORARILY_UNAVAILABLE"}
"""HTTP status → MLflow's name of the error."""

LONGEST_NAME = 255
"""Width of MLflow's column."""

_SEEN_SECONDS = 5
"""How long a worker trusts that the database has what it wrote there. Another worker may have written since then, for
an older or newer token of the same user."""

_log = logging.getLogger("mlflow.server.auth.proxy")
_seen: TTLCache[str, "Standing"] = TTLCache(maxsize=10_000, ttl=_SEEN_SECONDS)
_seen_lock = threading.Lock()


@dataclass(frozen=True)
class Settings:
    """What the stack has set; see `core/auth.py`."""

    proxy_secret: str
    admin_username: str
    admin_groups: frozenset[str]
    groups: dict[str, str]


@dataclass(frozen=True)
class Standing:
    """What a user is by their groups."""

    admin: bool
    permission: str | None
    """The highest of their groups' permissions; None if no group has one."""


class RefusedError(Exception):
    """Answers a request instead of MLflow.

    Args:
        status: HTTP status.
        message: for the user.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@functools.cache
def settings() -> Settings:
    """The stack's settings, from the file that PROXY_AUTH_CONFIG names."""
    known = json.loads(Path(os.environ["PROXY_AUTH_CONFIG"]).read_text())
    found = Settings(
        proxy_secret=known["proxy_secret"],
        admin_username=known["admin_username"],
        admin_groups=frozenset(known["admin_groups"]),
        groups=known["groups"],
    )
    if not found.proxy_secret:
        raise ValueError("proxy_secret: must not be empty, or anybody is believed")
    return found


def authenticate() -> Authorization | Response:
    """Who makes the current request, or the answer that refuses it.

    MLflow calls it several times in a request.
    """
    answer: Authorization | Response | None = g.get("pulumi_mlflow_answer")
    if answer is None:
        answer = g.pulumi_mlflow_answer = _authenticate()
    return answer


def _authenticate() -> Authorization | Response:
    proof = request.headers.get(SECRET_HEADER)
    if proof is None:
        return _administrator()
    try:
        _require(proof)
        name = _name(request.headers.get(USER_HEADER, ""))
        _admit(name, _standing(_groups()))
    except RefusedError as refusal:
        answer = jsonify({"error_code": CODES[refusal.status], "message": str(refusal)})
        answer.status_code = refusal.status
        return answer
    return Authorization("basic", {"username": name, "password": None})


def _require(proof: str) -> None:
    if not hmac.compare_digest(proof.encode(), settings().proxy_secret.encode()):
        raise RefusedError(401, f"{SECRET_HEADER} is not that of this stack's proxy")


def _administrator() -> Authorization | Response:
    """The administrator's own login. The proxy's requests never come here: they carry its secret."""
    login = request.authorization
    if login is None or login.username != settings().admin_username:
        return mlflow_auth.make_basic_auth_response()
    return mlflow_auth.authenticate_request_basic_auth()


def _text(header: str, value: str) -> str:
    """A header's text: WSGI hands over its bytes as Latin-1."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        raise RefusedError(401, f"{header}: must be UTF-8") from None


def _name(value: str) -> str:
    name = _text(USER_HEADER, value)
    # A comma: two headers that a server has made one of, such as X-Mlflow-User and X_Mlflow_User.
    if (
        not name.isprintable()
        or name != name.strip()
        or "," in name
        or not 0 < len(name) <= LONGEST_NAME
    ):
        raise RefusedError(401, f"{USER_HEADER}: no user's name (got {name[:LONGEST_NAME]!r})")
    if name == settings().admin_username:
        # At many providers people choose their names.
        raise RefusedError(
            403, f"the name '{name}' is the administrator's own; use an account of another name"
        )
    return name


def _groups() -> frozenset[str]:
    """The user's groups, each as the provider spells it."""
    sent = request.headers.get(CLAIMS_HEADER, "")
    if not sent:
        # A proxy of before, which is replaced after this server. Programs ask again.
        raise RefusedError(
            503, f"{CLAIMS_HEADER} is missing: the front door is older than the server"
        )
    try:
        claims = json.loads(_decoded(sent))
        found = _claim(claims, _decoded(request.headers.get(GROUPS_CLAIM_HEADER, "")).decode())
    except ValueError:
        # Two headers of one name, which a server has made one of, are not readable either.
        raise RefusedError(401, f"{CLAIMS_HEADER}, {GROUPS_CLAIM_HEADER}: unreadable") from None
    known = settings()
    if (
        found is None
        and request.headers.get(GROUPS_HEADER)
        and (known.groups or known.admin_groups)
    ):
        raise RefusedError(
            403,
            "the identity provider names your groups at its userinfo endpoint only, where they cannot be told from one "
            "another; have it put them into the ID token",
        )
    listed = found if isinstance(found, list) else [found]
    return frozenset(group for group in listed if isinstance(group, str))


def _decoded(value: str) -> bytes:
    """What is in base64 as tokens have it: for URLs, without padding."""
    return base64.b64decode(value + "=" * (-len(value) % 4), b"-_", validate=True)


def _claim(claims: Any, path: str) -> Any:
    """A claim as oauth2-proxy finds it: one of that very name, else by a path with dots."""
    if not isinstance(claims, dict):
        raise ValueError("no object")  # noqa: TRY004 - as all that is unreadable
    if path in claims:
        return claims[path]
    for part in path.split("."):
        claims = claims.get(part) if isinstance(claims, dict) else None
    return claims


def _standing(held: frozenset[str]) -> Standing:
    found = [permission for group, permission in settings().groups.items() if group in held]
    highest = max(found, key=PERMISSION_PRIORITY.__getitem__, default=None)
    return Standing(
        admin=not settings().admin_groups.isdisjoint(held),
        permission=highest if highest in ROLES else None,
    )


def _admit(name: str, standing: Standing) -> None:
    """See to it that MLflow's database says of the user what their groups say."""
    with _seen_lock:
        if _seen.get(name) == standing:
            return
    user = _user(name)
    if user.username != name:
        # MySQL compares without regard to case and accents.
        raise RefusedError(
            403, f"'{name}' differs only in its spelling from the user '{user.username}'"
        )
    if user.is_admin != standing.admin:
        mlflow_auth.store.update_user(name, is_admin=standing.admin)
        _log.info("%s: administrator: %s", name, standing.admin)
    _assign(user.id, ROLES[standing.permission] if standing.permission else None)
    with _seen_lock:
        _seen[name] = standing


def _user(name: str) -> Any:
    store = mlflow_auth.store
    if not store.has_user(name):
        try:
            # Nobody is given this password; `_administrator` would refuse it too.
            store.create_user(name, secrets.token_urlsafe(32))
            _log.info("%s: made at the first sight", name)
        except MlflowException as error:
            # Another worker or thread was faster.
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
    return store.get_user(name)


def _assign(user_id: int, wanted: str | None) -> None:
    """Make the user a member of the wanted role of ours, and of no other of ours."""
    store = mlflow_auth.store
    held = {role.name: role.id for role in store.list_user_roles(user_id)}
    try:
        for stale in held.keys() & (set(ROLES.values()) - {wanted}):
            store.unassign_role_from_user(user_id, held[stale])
        if wanted and wanted not in held:
            role = store.get_role_by_name(DEFAULT_WORKSPACE_NAME, wanted)
            store.assign_role_to_user(user_id, role.id)
    except MlflowException:
        # A request beside this one may have done the same. What counts is what is there now.
        now = {role.name for role in store.list_user_roles(user_id)} & set(ROLES.values())
        if now != ({wanted} - {None}):
            raise
