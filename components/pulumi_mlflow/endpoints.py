"""What servers and stores make of the endpoints and keys that they are given: the same in every runtime."""

from typing import NotRequired, TypedDict

import pulumi

from .contracts import ArtifactEndpoint, AuthMode, DatabaseEndpoint
from .core import auth, server, store_server, stores, uris

DATABASE_CA = "database-ca.pem"
READ_CA = "database-read-ca.pem"
ARTIFACTS_CA = "artifacts-ca.pem"


class PermissionsArgs(TypedDict):
    """What users may do with what is not their own, with `auth` `mlflow` or `oidc-mlflow`."""

    default: NotRequired[str]
    """Permission of everybody: NO_PERMISSIONS, READ, USE, EDIT or MANAGE; READ unless given."""
    groups: NotRequired[dict[str, str]]
    """Group of the identity provider → permission of its members on everything; the highest counts."""
    admin_groups: NotRequired[list[str]]
    """Groups whose members administer MLflow."""


def certificates(
    database: DatabaseEndpoint, artifacts: ArtifactEndpoint, read: DatabaseEndpoint | None = None
) -> dict[str, pulumi.Input[str]]:
    """Certificates of the endpoints' authorities that the server must have: file name → PEM."""
    found: dict[str, pulumi.Input[str]] = {}
    if "ca" in database:
        found[DATABASE_CA] = database["ca"]
    if read and "ca" in read:
        found[READ_CA] = read["ca"]
    if "ca" in artifacts:
        found[ARTIFACTS_CA] = artifacts["ca"]
    return found


def server_secrets(
    database: DatabaseEndpoint,
    artifacts: ArtifactEndpoint,
    kek: pulumi.Input[str],
    folder: pulumi.Input[str],
    read: DatabaseEndpoint | None = None,
) -> dict[str, pulumi.Output[str]]:
    """Environment variables of the server that are secrets: name → value (secret output).

    Args:
        database: where runs are kept.
        artifacts: where artifacts are kept.
        kek: passphrase of what MLflow encrypts in its database.
        folder: where the server finds its `certificates`.
        read: a replica of the database that searches are sent to.
    """
    keys = (
        [artifacts["access_key"], artifacts["secret_key"]]
        if "access_key" in artifacts
        else ["", ""]
    )
    replica = [database_uri(read, folder, READ_CA)] if read else []
    known = pulumi.Output.all(database_uri(database, folder), kek, *keys, *replica)
    plain: pulumi.Output[dict[str, str]] = known.apply(
        lambda all_: server.secret_environment(*all_)
    )
    values: pulumi.Output[dict[str, str]] = pulumi.Output.secret(plain)
    # The names are known before any value is.
    shape = ["-", "-"] if "access_key" in artifacts else ["", ""]
    names = server.secret_environment("-", "-", *shape, *("-" for _ in replica))
    return {name: values[name] for name in names}


def auth_files(
    settings: auth.AuthSettings,
    database: DatabaseEndpoint,
    admin_password: pulumi.Input[str],
    session_key: pulumi.Input[str],
    proxy_secret: pulumi.Input[str],
    folder: str,
    modules: str,
) -> dict[str, pulumi.Output[str]]:
    """Files of a server with users of its own: path below `folder` → content (secret output). See `core.auth.files`.

    Args:
        settings: who may do what.
        database: where users are kept, with the runs.
        admin_password: of the administrator.
        session_key: what MLflow signs its forms with.
        proxy_secret: what the proxy must send to be believed.
        folder: where the server finds them.
        modules: folder of the image with our modules.
    """
    plain: pulumi.Output[dict[str, str]] = pulumi.Output.all(
        database_uri(database, folder), admin_password, session_key, proxy_secret
    ).apply(
        lambda known: auth.files(
            settings, known[0], known[1], known[2], known[3], folder=folder, modules=modules
        )
    )
    values: pulumi.Output[dict[str, str]] = pulumi.Output.secret(plain)
    return {name: values[name] for name in auth.file_names(settings.mode)}


def database_uri(
    database: DatabaseEndpoint, folder: pulumi.Input[str], ca_file: str = DATABASE_CA
) -> pulumi.Output[str]:
    """The URI of a database, with its password: treat it as a secret.

    Args:
        database: where runs are kept.
        folder: where the server finds its `certificates`.
        ca_file: which of them is this database's.
    """
    known = {key: value for key, value in database.items() if key not in ("component", "reach")}
    return pulumi.Output.all(folder=folder, **known).apply(
        lambda given: uris.database_uri(
            uris.DatabaseAddress(
                engine=given["engine"],
                host=given.get("host", ""),
                port=int(given["port"]) if "port" in given else None,
                database=given["database"],
                username=given.get("username", ""),
                password=given.get("password", ""),
                tls_mode=given.get("tls_mode", "disable"),
                ca_path=f"{given['folder']}/{ca_file}" if "ca" in given else "",
                search_path=given.get("search_path", ""),
            )
        )
    )


def user_settings(name: str, mode: str, permissions: PermissionsArgs) -> auth.AuthSettings | None:
    """Who may do what, or None where the server asks nobody.

    Args:
        name: the server component's.
        mode: `none`, `mlflow` or `oidc-mlflow`.
        permissions: what they may do with what is not their own.

    Raises:
        ValueError: unknown mode or permission.
    """
    if mode == AuthMode.NONE.value:
        return None
    try:
        return auth.AuthSettings(
            mode=mode,
            default=permissions.get("default", auth.DEFAULT_PERMISSION),
            groups=permissions.get("groups", {}),
            admin_groups=permissions.get("admin_groups", []),
        )
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def store_files(
    store: str,
    access: pulumi.Input[str],
    secret: pulumi.Input[str],
    kms: pulumi.Input[str] | None = None,
) -> dict[str, pulumi.Input[str]]:
    """Secrets of a store's container, and of the job that makes its bucket: path below `FILES_PATH` → content.

    Args:
        store: `versitygw` or `minio`.
        access: access key.
        secret: secret key.
        kms: 32 characters that MinIO encrypts objects with.
    """
    known = pulumi.Output.all(access, secret, *([] if kms is None else [kms]))
    plain: pulumi.Output[dict[str, str]] = known.apply(
        lambda keys: store_server.store_files(store, *keys)
    )
    values: pulumi.Output[dict[str, str]] = pulumi.Output.secret(plain)
    # The names are known before any value is.
    names = store_server.store_files(store, "-", "-", *([] if kms is None else ["-"]))
    return {name: values[name] for name in names}


def store_url(
    name: str, artifacts: ArtifactEndpoint, mode: str, *, multipart: bool
) -> pulumi.Input[str]:
    """URL by which a server finds the store; empty where it needs none.

    Args:
        name: the server component's.
        artifacts: where artifacts are kept.
        mode: `proxied` or `direct`.
        multipart: whether clients get URLs that the server signed.

    Raises:
        ValueError: the store cannot do what `mode` or `multipart` wants.
    """
    own = artifacts.get("endpoint_url", "")
    if "volume" in artifacts:
        reason = stores.check_mode("folder", mode)
        if multipart:
            reason = stores.check_multipart("folder", mode, "")
        if reason:
            raise ValueError(f"{name}: artifact_mode, multipart: {reason}")
    if not multipart:
        return own
    if own and "public_endpoint_url" not in artifacts:
        raise ValueError(
            f"{name}: multipart: {artifacts['component']} has no public_endpoint_url, and the server must sign "
            "for the URL that clients use; publish the store"
        )
    # A signature covers the host: the server must know the store by the clients' name for it.
    return artifacts.get("public_endpoint_url", own)


def scratch_mb(artifacts: ArtifactEndpoint, mode: str, *, multipart: bool) -> int:
    """Disk that a server's scratch needs, in MiB. See `core.stores.scratch_mb`.

    Args:
        artifacts: where artifacts are kept.
        mode: `proxied` or `direct`.
        multipart: whether large files pass the server by.
    """
    store = "folder" if "volume" in artifacts else "s3"
    return stores.scratch_mb(store, mode, multipart=multipart)
