"""What stacks of several runtimes make of the settings in the same way: arguments, things that exist, exports."""

from typing import Any, Protocol

import pulumi
from pydantic import SecretStr

from models import ArtifactMode, Extra, Settings
from pulumi_mlflow.component import default_deployment
from pulumi_mlflow.contracts import ArtifactEndpoint, AuthMode, DatabaseEndpoint
from pulumi_mlflow.core import uris, urls
from pulumi_mlflow.existing import existing_artifacts, existing_database, reach_of
from rules.files import read
from settings import ROOT


class Server(Protocol):
    """A tracking server, whichever runtime's."""

    admin_username: str
    admin_password: pulumi.Output[str]


class Door(Protocol):
    """A front door, whichever runtime's."""

    password: pulumi.Output[str]
    passwords: pulumi.Output[dict[str, str]]


def typed(secret: SecretStr | None) -> pulumi.Output[str]:
    """A secret of the stack's file; the rules have seen to it that it is there."""
    if secret is None:
        raise ValueError("a secret is missing, and the rules have let it pass")
    return pulumi.Output.secret(secret.get_secret_value())


def text(name: str | None) -> str | None:
    """What is in a file that a setting names; None where it names none."""
    return read(ROOT, name) if name else None


def given(**values: Any) -> dict[str, Any]:
    """Arguments without those that are None: a component has a default of its own for these."""
    return {key: value for key, value in values.items() if value is not None}


def database_there(
    settings: Settings, opts: pulumi.ResourceOptions | None = None
) -> DatabaseEndpoint | None:
    """The database that others run, or None where this stack makes one."""
    database = settings.database
    there = database.existing
    if there is None:
        return None
    return existing_database(
        "database",
        engine=database.engine.value,
        host=there.host,
        port=there.port,
        database=database.name,
        username=database.username,
        password=typed(settings.database_password),
        tls_mode=there.tls_mode.value,
        ca=text(there.ca_file),
        search_path=there.search_path,
        opts=opts,
    )


def bucket_there(
    settings: Settings, opts: pulumi.ResourceOptions | None = None
) -> ArtifactEndpoint:
    """The bucket that others made: by keys, or without them by the identity of who runs the server."""
    artifacts, there = settings.artifacts, settings.artifacts.existing
    if there is None:
        raise ValueError("artifacts.existing: missing, and the rules have let it pass")
    access, secret = settings.artifacts_access_key, settings.artifacts_secret_key
    return existing_artifacts(
        "artifacts",
        uri=uris.artifact_uri("s3", artifacts.bucket, there.prefix),
        endpoint_url=there.endpoint_url,
        public_endpoint_url=there.endpoint_url,
        region=there.region,
        addressing=there.addressing.style,
        ca=text(there.ca_file),
        access_key=typed(access) if access else None,
        secret_key=typed(secret) if secret else None,
        opts=opts,
    )


def dump_there(settings: Settings) -> ArtifactEndpoint | None:
    """Where copies of the database go, or None. No data of the stack's is there, so it may change freely."""
    dump = settings.backup.dump if settings.backup else None
    if dump is None:
        return None
    url = dump.endpoint_url
    endpoint = ArtifactEndpoint(
        component="backup.dump",
        reach=reach_of(urls.host_of(url) if url else "", default_deployment()),
        uri=uris.artifact_uri("s3", dump.bucket, dump.prefix),
        region=dump.region,
    )
    if url:
        endpoint["endpoint_url"] = url
    if dump.addressing.style:
        endpoint["addressing"] = dump.addressing.style
    if dump.ca_file:
        endpoint["ca"] = read(ROOT, dump.ca_file)
    if dump.role_arn is None:
        endpoint["access_key"] = typed(settings.dump_access_key)
        endpoint["secret_key"] = typed(settings.dump_secret_key)
    return endpoint


def extras(settings: Settings) -> list[str]:
    """What the server's image must have beside its drivers: what was asked for, and what other settings need."""
    wanted = {extra.value for extra in settings.tracking.extras}
    if settings.jobs_redis_url is not None:
        wanted.add(Extra.REDIS.value)
    if settings.monitoring and settings.monitoring.namespace:
        wanted.add(Extra.METRICS.value)
    return sorted(wanted)


def server_args(settings: Settings) -> dict[str, Any]:
    """Arguments that a tracking server takes in every runtime."""
    tracking, database, auth = settings.tracking, settings.database, settings.access.auth
    return {
        "artifact_mode": settings.artifacts.mode.value,
        "multipart": settings.artifacts.multipart,
        "workers": tracking.workers,
        "pool_size": database.pool_size,
        "max_overflow": database.max_overflow,
        "memory_mb": tracking.memory_mb,
        "cpus": tracking.cpus,
        "auth": auth.value if auth.by_server else AuthMode.NONE.value,
        "permissions": _permissions(settings),
    }


def _permissions(settings: Settings) -> dict[str, Any]:
    permissions, oidc = settings.access.permissions, settings.access.oidc
    chosen: dict[str, Any] = {"admin_groups": oidc.admin_groups if oidc else []}
    if permissions is not None:
        chosen["default"] = permissions.default.value
        chosen["groups"] = {group: held.value for group, held in permissions.groups.items()}
    return chosen


def door_args(settings: Settings) -> dict[str, Any]:
    """Arguments that a front door takes in every runtime."""
    access = settings.access
    return {
        "auth": access.auth.value,
        "username": access.username,
        "users": access.users,
        "hosts": access.hosts,
        "rate_limit": access.rate_limit,
        "cache": access.cache,
        "html_sources": access.html_sources,
        "multipart": settings.artifacts.multipart,
    }


def provider(settings: Settings) -> dict[str, Any] | None:
    """The identity provider that logs users in, or None."""
    oidc = settings.access.oidc
    if oidc is None or not settings.access.auth.by_provider:
        return None
    return {
        "issuer": oidc.issuer,
        "client_id": oidc.client_id,
        "client_secret": typed(settings.oidc_client_secret),
        "audiences": oidc.audiences,
        "scopes": oidc.scopes,
        "groups_claim": oidc.groups_claim,
        "allowed_groups": oidc.allowed_groups,
        "email_domains": oidc.email_domains,
        **given(ca=text(oidc.ca_file)),
    }


def export_store(settings: Settings, endpoint: ArtifactEndpoint) -> None:
    """Export what a client needs that uses the store itself; keys only where the store has any."""
    if settings.artifacts.mode is not ArtifactMode.DIRECT:
        return
    wanted = {
        "uri": "uri",
        "endpoint_url": "public_endpoint_url",
        "region": "region",
        "addressing": "addressing",
        "access_key": "access_key",
        "secret_key": "secret_key",
    }
    known: dict[str, Any] = dict(endpoint)
    pulumi.export(
        "store",
        {
            name: pulumi.Output.secret(known[key]) if key.endswith("_key") else known[key]
            for name, key in wanted.items()
            if key in known
        },
    )


def export_logins(settings: Settings, server: Server, door: Door) -> None:
    """Export what a person or a program logs in with."""
    access = settings.access
    if access.auth is AuthMode.BASIC:
        pulumi.export("username", access.username)
        pulumi.export("password", door.password)
        if access.users:
            pulumi.export("users", door.passwords)
    elif access.auth is AuthMode.MLFLOW:
        pulumi.export("username", server.admin_username)
        pulumi.export("password", server.admin_password)
