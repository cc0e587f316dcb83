"""What each kind of artifact store can do, and why a wish of the settings cannot be met.

A store that ignores what it is asked for is worse than one that refuses: versitygw takes an encryption header and keeps
the object in plain. So what a store cannot do is refused before anything is made, by the functions here; each returns
the reason, or None.
"""

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from . import urls


@dataclass(frozen=True)
class Abilities:
    """What a kind of store can do.

    Attributes:
        runs_here: whether we run it in a container.
        speaks_s3: whether it is used by S3's protocol: with keys, buckets, and URLs that the server signs for others.
        expires_uploads: whether it removes uploads that were begun and never finished.
        encryption: what `encryption` may ask of it beside `none`.
        direct: whether clients can use it without the server.
        extra: the image extra that holds its driver; empty where the image has it anyway.
    """

    runs_here: bool = False
    speaks_s3: bool = False
    expires_uploads: bool = False
    encryption: tuple[str, ...] = ()
    direct: bool = True
    extra: str = ""


ABILITIES = {
    "folder": Abilities(direct=False),
    # 1.8.0, seen: PutBucketLifecycleConfiguration and PutBucketEncryption answer NotImplemented, and
    # `x-amz-server-side-encryption` is taken and ignored.
    "versitygw": Abilities(runs_here=True, speaks_s3=True),
    # A lifecycle rule for unfinished uploads is refused as malformed (internal/bucket/lifecycle/rule.go), but the
    # server removes them itself (`api stale_uploads_expiry`). SSE-S3 by a key of its own (MINIO_KMS_SECRET_KEY).
    "minio": Abilities(
        runs_here=True, speaks_s3=True, expires_uploads=True, encryption=("sse-s3",)
    ),
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/lifecycle-configuration-examples.html and
    # …/bucket-encryption.html. Another maker's store by `existing` may lack them: then the check of the bucket fails.
    "s3": Abilities(speaks_s3=True, expires_uploads=True, encryption=("sse-s3", "sse-kms")),
    # Their rules and keys are the provider's: nothing here sets or reads them.
    "gcs": Abilities(extra="gcs"),
    "azure": Abilities(extra="azure"),
}
"""Kind of store (`mlflow:artifacts.store`) → what it can do."""

_INSTEAD = {
    "folder": "a folder has neither; use versitygw, minio or s3",
    "versitygw": "versitygw has none; use minio or s3",
    "minio": "minio cannot; use s3",
    "s3": "S3 cannot",
    "gcs": "set it at Google: gcloud storage buckets update",
    "azure": "set it at Azure: az storage account",
}
"""What to do about a lack of the store's."""

_SPOOLED_TRANSFERS = 4
_SPOOLED_MB = 1280
"""MLflow spools each artifact to disk on its way to or from an object store: four of 1.25 GiB at once."""
_OTHER_SCRATCH_MB = 512
"""Where little passes the server: what a page of the UI shows, plots, models under the multipart threshold (500 MB)."""


def abilities(store: str) -> Abilities:
    """What a kind of store can do.

    Raises:
        ValueError: there is no such kind.
    """
    if store not in ABILITIES:
        raise ValueError(f"store: must be one of {', '.join(ABILITIES)} (got {store!r})")
    return ABILITIES[store]


def default_bucket(store: str) -> str:
    """The bucket's name where none is given: MinIO's users know `default`."""
    return "default" if store == "minio" else "mlflow"


def check_lifecycle(store: str) -> str | None:
    """Why a store cannot remove unfinished uploads (`artifacts.expire_multipart_days`), or None."""
    if abilities(store).expires_uploads:
        return None
    return f"{store} does not remove unfinished uploads; {_INSTEAD[store]}"


def check_encryption(store: str, encryption: str) -> str | None:
    """Why a store cannot encrypt objects so (`artifacts.encryption`), or None.

    Args:
        store: kind of store.
        encryption: `none`, `sse-s3` or `sse-kms`.
    """
    if encryption == "none" or encryption in abilities(store).encryption:
        return None
    return f"{store} cannot do {encryption}; {_INSTEAD[store]}"


def check_mode(store: str, mode: str) -> str | None:
    """Why artifacts of a store cannot take this way (`artifacts.mode`), or None.

    Args:
        store: kind of store.
        mode: `proxied` or `direct`.
    """
    if mode != "direct" or abilities(store).direct:
        return None
    return (
        f"clients cannot reach a {store} of the server; use mode proxied, or versitygw, minio or s3"
    )


def check_multipart(store: str, mode: str, url: str) -> str | None:
    """Why the server cannot hand out signed URLs for large files (`artifacts.multipart`), or None.

    A signature covers the store's host and port (SigV4), so server and clients must use one and the same URL.

    Args:
        store: kind of store.
        mode: `proxied` or `direct`.
        url: `artifacts.public_url`, else `artifacts.existing.endpoint_url`; empty without either, as for S3 itself.
    """
    if not abilities(store).speaks_s3:
        return f"{store} has no URLs that the server could sign; use versitygw, minio or s3"
    if mode == "direct":
        return "is for mode proxied; in mode direct no file passes the server anyway"
    if not url:
        if not abilities(store).runs_here:
            return None
        return (
            "needs artifacts.public_url, a URL of the store that server and clients both reach, such as "
            "http://<address of this machine>:9000"
        )
    return check_shared_url(url)


def check_shared_url(url: str) -> str | None:
    """Why server and clients cannot both reach a store under a URL, or None.

    Args:
        url: scheme, host and maybe a port; a path would not be part of the signed one.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return f"must be a URL such as http://172.17.0.1:9000 (got {url!r})"
    if parts.path.strip("/") or parts.query or parts.fragment or parts.username:
        return f"must be a scheme, a host and a port alone (got {url!r})"
    if urls.is_loopback(parts.hostname) or _is_unspecified(parts.hostname):
        return (
            f"'{parts.hostname}' is another machine to the server, which runs in a container; name an address of this "
            f"machine that both reach"
        )
    return None


def _is_unspecified(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def extras(store: str, wanted: tuple[str, ...] = ()) -> list[str]:
    """Image extras that a server needs: those asked for and that of its store."""
    own = abilities(store).extra
    return sorted({*wanted, *([own] if own else [])})


def scratch_mb(store: str, mode: str, *, multipart: bool) -> int:
    """Free disk that the server's scratch must have, in MiB, unless `tracking.scratch_mb` says otherwise.

    Args:
        store: kind of store.
        mode: `proxied` or `direct`.
        multipart: whether large files pass the server by.
    """
    spooled = store != "folder" and mode == "proxied" and not multipart
    return _SPOOLED_TRANSFERS * _SPOOLED_MB if spooled else _OTHER_SCRATCH_MB
