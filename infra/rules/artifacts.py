"""Rules over the artifact store's settings."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from cloud_models import Addressing, Dump
from models import ArtifactMode, Encryption, ExistingArtifacts, Settings, Store
from problems import Drop, Path, Problem, Put, Rule, same_region, unused
from pulumi_mlflow.core import stores, urls
from sections import CLOUD, Runtime

from .database import HOST_OF_CONTAINERS

OWN = tuple(store for store in Store if stores.abilities(store.value).runs_here)
"""Stores that a stack runs itself, and that listen on a port."""

OBJECTS = {Store.GCS: ("gs",), Store.AZURE: ("wasbs", "abfss")}
"""Stores named by a URI → its schemes."""

_BRIDGE = "172.17.0.1"
"""The engine's machine on Docker's default bridge, on Linux: containers and the machine itself reach it."""

_URI_EXAMPLES = {
    Store.GCS: "gs://team-mlflow/artifacts",
    Store.AZURE: "abfss://mlflow@account.dfs.core.windows.net/artifacts",
}


_OF_MADE = (
    "vpc_only",
    "access_logs",
    "expire_multipart_days",
    "keep_deleted_days",
    "tiering_days",
    "replica_region",
    "storage_gb",
    "storage_class",
)


def published(settings: Settings) -> bool:
    """Whether clients reach a store of ours by a port."""
    artifacts = settings.artifacts
    used = artifacts.mode is ArtifactMode.DIRECT or artifacts.multipart
    return artifacts.store in OWN and used


def _docker(settings: Settings) -> bool:
    return settings.runtime is Runtime.DOCKER


def _existing(settings: Settings) -> Iterator[Problem]:
    artifacts = settings.artifacts
    if settings.runtime is Runtime.LOCAL:
        return
    path: Path = ("artifacts", "existing")
    if artifacts.store is not Store.S3:
        if artifacts.existing is not None:
            yield unused(
                Rule.STORE_EXISTING,
                path,
                f"for {artifacts.store.value}, only for s3",
                artifacts.existing,
            )
        return
    if artifacts.existing is None and settings.runtime is not Runtime.AWS:
        yield Problem(
            Rule.EXISTING_MISSING,
            path,
            "must say where the bucket is, since this stack makes none in s3 (got nothing)",
            Put((*path, "region"), "us-east-1"),
        )
        return
    if "bucket" not in artifacts.model_fields_set:
        which = "existing bucket"
        if artifacts.existing is None:
            which = "bucket, by a name that nobody else in the world has"
        yield Problem(
            Rule.BUCKET_MISSING,
            ("artifacts", "bucket"),
            f"must name the {which} (got nothing)",
            Put(("artifacts", "bucket"), "team-mlflow"),
        )
    if artifacts.existing is not None:
        yield from _reachable(settings, path, artifacts.existing.endpoint_url)
        yield from _virtual(path, artifacts.bucket, artifacts.existing)


def _virtual(section: Path, bucket: str, there: ExistingArtifacts | Dump) -> Iterator[Problem]:
    """A bucket in the host must make a host name, and one that a certificate may have."""
    if there.addressing is not Addressing.VIRTUAL:
        return
    url = there.endpoint_url or "https://s3.amazonaws.com"
    host, path = urls.host_of(url), (*section, "addressing")
    reason = ""
    if urls.is_address(host):
        reason = f"where the host is an address, {host}"
    elif "." in bucket and url.startswith("https://"):
        reason = f'with https and a bucket with dots, "{bucket}", which no certificate is for'
    if reason:
        yield Problem(
            Rule.ADDRESSING, path, f'must be path {reason} (got "virtual")', Put(path, "path")
        )


def _dump(settings: Settings) -> Iterator[Problem]:
    dump = settings.backup.dump if settings.backup else None
    if dump is not None:
        yield from _reachable(settings, ("backup", "dump"), dump.endpoint_url)
        yield from _virtual(("backup", "dump"), dump.bucket, dump)


def _reachable(settings: Settings, section: Path, url: str | None) -> Iterator[Problem]:
    host = urls.host_of(url) if url else ""
    cloud = settings.runtime in CLOUD
    if not url or not (urls.is_loopback(host) or (cloud and host == HOST_OF_CONTAINERS)):
        return
    path: Path = (*section, "endpoint_url")
    if cloud:
        yield Problem(
            Rule.EXISTING_LOOPBACK,
            path,
            f'must be a URL that servers in the cloud reach (got "{url}")',
            Drop(path),
        )
        return
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    yield Problem(
        Rule.EXISTING_LOOPBACK,
        path,
        "must not be on loopback, which is the container itself; the engine's machine is "
        f'{HOST_OF_CONTAINERS} (got "{url}")',
        Put(path, f"{parts.scheme}://{HOST_OF_CONTAINERS}{port}"),
    )


def _made(settings: Settings) -> Iterator[Problem]:
    """Settings of a bucket or disk that a cloud stack makes, where it makes none."""
    artifacts = settings.artifacts
    if settings.runtime not in CLOUD or (
        settings.runtime is Runtime.KUBERNETES and artifacts.store in OWN
    ):
        return
    if artifacts.existing is None and settings.runtime is Runtime.AWS:
        region = settings.aws.region if settings.aws else ""
        if artifacts.replica_region == region:
            yield same_region(("artifacts", "replica_region"), region)
        return
    for key in _OF_MADE:
        if key in artifacts.model_fields_set:
            yield unused(
                Rule.NOT_MADE,
                ("artifacts", key),
                "for a bucket that this stack does not make",
                getattr(artifacts, key),
            )


def _named(settings: Settings) -> Iterator[Problem]:
    """URI, bucket, NFS and memory: each belongs to some stores."""
    artifacts, store = settings.artifacts, settings.artifacts.store
    if not _docker(settings):
        return
    path: Path = ("artifacts", "uri")
    if store in OBJECTS:
        scheme = (artifacts.uri or "").split(":")[0]
        if artifacts.uri is None:
            yield Problem(
                Rule.URI_MISSING,
                path,
                f"must be given for {store.value} (got nothing)",
                Put(path, _URI_EXAMPLES[store]),
            )
        elif scheme not in OBJECTS[store]:
            yield Problem(
                Rule.URI_SCHEME,
                path,
                f'must start with {" or ".join(OBJECTS[store])}:// for {store.value} (got "{artifacts.uri}")',
                Put(path, _URI_EXAMPLES[store]),
            )
    elif artifacts.uri is not None:
        yield unused(
            Rule.URI_UNUSED, path, f"for {store.value}, only for gcs and azure", artifacts.uri
        )
    if (store in OBJECTS or store is Store.FOLDER) and "bucket" in artifacts.model_fields_set:
        yield unused(
            Rule.BUCKET_UNUSED, ("artifacts", "bucket"), f"for {store.value}", artifacts.bucket
        )
    if artifacts.nfs is not None and store is not Store.FOLDER:
        yield unused(
            Rule.NFS_UNUSED,
            ("artifacts", "nfs"),
            f"for {store.value}, only for folder",
            artifacts.nfs,
        )


def _memory(settings: Settings) -> Iterator[Problem]:
    artifacts, store = settings.artifacts, settings.artifacts.store
    if store not in OWN and "memory_mb" in artifacts.model_fields_set:
        yield unused(
            Rule.STORE_MEMORY,
            ("artifacts", "memory_mb"),
            f"for {store.value}, which runs elsewhere or not at all",
            artifacts.memory_mb,
        )


def _modes(settings: Settings) -> Iterator[Problem]:
    artifacts, store = settings.artifacts, settings.artifacts.store.value
    if reason := stores.check_mode(store, artifacts.mode.value):
        path: Path = ("artifacts", "mode")
        yield Problem(
            Rule.DIRECT_STORE,
            path,
            f'{reason} (got "{artifacts.mode.value}")',
            Put(path, ArtifactMode.PROXIED.value),
        )


def _multipart(settings: Settings) -> Iterator[Problem]:
    artifacts, store = settings.artifacts, settings.artifacts.store.value
    if not artifacts.multipart or _inside(settings):
        return
    url = artifacts.public_url or _existing_url(settings)
    reason = stores.check_multipart(store, artifacts.mode.value, url)
    if not reason:
        return
    path: Path = ("artifacts", "multipart")
    if not stores.abilities(store).speaks_s3:
        yield Problem(Rule.MULTIPART_STORE, path, f"{reason} (got true)", Put(path, value=False))
    elif artifacts.mode is ArtifactMode.DIRECT:
        yield Problem(Rule.MULTIPART_DIRECT, path, f"{reason} (got true)", Put(path, value=False))
    elif store in OWN:
        mend = Put(("artifacts", "public_url"), f"http://{_BRIDGE}:{artifacts.port}")
        shown = "" if artifacts.public_url else " (got true)"
        yield Problem(Rule.MULTIPART_URL, path, f"{reason}{shown}", mend)


def _inside(settings: Settings) -> str | None:
    """Why clients do not reach a cloud's store themselves, or None."""
    artifacts = settings.artifacts
    if settings.runtime not in CLOUD:
        return None
    if artifacts.store in OWN:
        return "a store in the cluster, which its namespace alone reaches; or take a bucket, by artifacts.store: s3"
    if artifacts.existing is None and artifacts.vpc_only:
        return (
            "a bucket that is reached through the VPC's endpoint alone, by no signed URL either; or set "
            "artifacts.vpc_only to false"
        )
    return None


def _clients_store(settings: Settings) -> Iterator[Problem]:
    """A store that clients use themselves, and do not reach."""
    artifacts, reason = settings.artifacts, _inside(settings)
    if reason is None:
        return
    if artifacts.mode is ArtifactMode.DIRECT:
        path: Path = ("artifacts", "mode")
        yield Problem(
            Rule.CLIENTS_STORE,
            path,
            f'must be proxied with {reason} (got "{artifacts.mode.value}")',
            Put(path, ArtifactMode.PROXIED.value),
        )
    if artifacts.multipart:
        path = ("artifacts", "multipart")
        yield Problem(
            Rule.CLIENTS_STORE,
            path,
            f"must be false with {reason} (got true)",
            Put(path, value=False),
        )


def _existing_url(settings: Settings) -> str:
    existing = settings.artifacts.existing
    return (existing.endpoint_url or "") if existing else ""


def _public_url(settings: Settings) -> Iterator[Problem]:
    artifacts = settings.artifacts
    url, path = artifacts.public_url, ("artifacts", "public_url")
    if url is not None and not published(settings):
        yield unused(
            Rule.PUBLIC_URL_UNUSED, path, "while clients do not use the store of this stack", url
        )
    elif url is not None and urls.port_of(url) != artifacts.port:
        yield Problem(
            Rule.PUBLIC_URL_PORT,
            ("artifacts", "port"),
            f"must be {urls.port_of(url)}, the port of artifacts.public_url (got {artifacts.port})",
            Put(("artifacts", "port"), urls.port_of(url)),
        )


def _ports(settings: Settings) -> Iterator[Problem]:
    artifacts, given = settings.artifacts, settings.artifacts.model_fields_set
    port: Path = ("artifacts", "port")
    console: Path = ("artifacts", "console_port")
    taken = {settings.access.port: "access.port"}
    if published(settings):
        if artifacts.port in taken:
            yield _clash(port, artifacts.port, taken)
        taken[artifacts.port] = "artifacts.port"
    elif "port" in given:
        yield unused(
            Rule.STORE_PORT_UNUSED,
            port,
            "while clients do not use the store of this stack",
            artifacts.port,
        )
    if artifacts.store is Store.MINIO:
        if artifacts.console_port in taken:
            yield _clash(console, artifacts.console_port, taken)
    elif "console_port" in given:
        yield unused(
            Rule.CONSOLE_UNUSED,
            console,
            f"for {artifacts.store.value}, only for minio",
            artifacts.console_port,
        )


def _clash(path: Path, port: int, taken: dict[int, str]) -> Problem:
    free = next(p for p in (9000, 9001, 9002, 9003) if p not in taken)
    return Problem(
        Rule.PORT_CLASH, path, f"must differ from {taken[port]} (got {port})", Put(path, free)
    )


def _abilities(settings: Settings) -> Iterator[Problem]:
    artifacts = settings.artifacts
    if not _docker(settings):
        return
    days = artifacts.expire_multipart_days
    path: Path = ("artifacts", "expire_multipart_days")
    if days is not None and (reason := stores.check_lifecycle(artifacts.store.value)):
        yield Problem(Rule.LIFECYCLE, path, f"{reason} (got {days})", Drop(path))
    path = ("artifacts", "encryption")
    wanted = artifacts.encryption
    if wanted is not Encryption.NONE and (
        reason := stores.check_encryption(artifacts.store.value, wanted.value)
    ):
        yield Problem(Rule.ENCRYPTION, path, f'{reason} (got "{wanted.value}")', Drop(path))


CHECKS = (
    _existing,
    _dump,
    _made,
    _named,
    _memory,
    _modes,
    _multipart,
    _clients_store,
    _public_url,
    _ports,
    _abilities,
)
