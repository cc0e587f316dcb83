"""The artifact store before the server uses it: driver, bucket, proofs, scratch; and the commands for copies.

Runs inside the image, like boot.py. The server's own store comes by the variables that MLflow itself reads, beside
ARTIFACTS_URI, which names the place: `s3://bucket/prefix`, an absolute folder, or the URI of another provider.
"""

import argparse
import contextlib
import http
import importlib
import io
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import artifact_uris
import transfer
from bootlib import BootError, environment, wait
from stores import FolderStore, S3Store, client, scheme

DRIVERS = {
    "s3": (("boto3",), ""),
    "gs": (("google.cloud.storage",), "gcs"),
    "wasbs": (("azure.storage.blob", "azure.identity"), "azure"),
    "abfss": (("azure.storage.filedatalake", "azure.identity"), "azure"),
}
"""Scheme → modules that MLflow needs for it, and the image extra that brings them."""

CHECK_KEY = ".pulumi-mlflow-check"
"""Object that is written, read and deleted to prove that the store works."""

SSE = {"sse-s3": "AES256", "sse-kms": "aws:kms"}
"""Our names of ways to encrypt → S3's."""


def check_driver(uri: str) -> None:
    """Refuse to start without the driver of the artifact store: MLflow itself would fail at the first upload.

    Raises:
        BootError: unknown scheme, or a module that is not in the image.
    """
    kind = scheme(uri)
    if not kind:
        return
    if kind not in DRIVERS:
        raise BootError(f"ARTIFACTS_URI: '{kind}' is none of {', '.join(DRIVERS)}")
    modules, extra = DRIVERS[kind]
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            mend = f"add '{extra}' to mlflow:tracking.extras" if extra else "build it again"
            raise BootError(
                f"this image lacks '{module}', which {kind}:// needs: {mend} ({error})"
            ) from error


def bucket() -> None:
    """Make our bucket if it is not there, with encryption if wanted, and prove that it works."""
    from botocore.exceptions import ClientError

    uri = environment("ARTIFACTS_URI")
    name, s3 = urlsplit(uri).netloc, client(os.environ)

    def reachable() -> None:
        try:
            s3.list_buckets()
        except ClientError as error:
            raise _refusal(error) from error

    _reach(uri, reachable)
    try:
        s3.create_bucket(Bucket=name)
        print(f"bucket {name}: made")
    except ClientError as error:
        if error.response["Error"]["Code"] not in (
            "BucketAlreadyOwnedByYou",
            "BucketAlreadyExists",
        ):
            raise BootError(f"bucket {name}: {error}") from error
        print(f"bucket {name}: was there")
    _encrypt(s3, name, os.environ.get("ENCRYPTION", "none"))
    prove()


def prove() -> None:
    """Prove that the keys write, read and delete, that nobody does without, and that the bucket is as was asked."""
    uri = environment("ARTIFACTS_URI")
    check_driver(uri)
    kind = scheme(uri)
    if not kind:
        _prove_folder(Path(uri))
    elif kind == "s3":
        _prove_bucket(S3Store(uri, client(os.environ)))
    else:
        print(f"{uri}: its driver is there; the provider is asked at the first upload")


def _reach(what: str, attempt: Callable[[], object]) -> None:
    try:
        wait("the store", attempt, float(os.environ.get("WAIT_SECONDS", "60")))
    except BootError as error:
        url, key = os.environ.get("MLFLOW_S3_ENDPOINT_URL"), os.environ.get("URL_KEY")
        asked = f". The stack's network asked {url} ({key})" if key else ""
        raise BootError(f"{what}: {error}{asked}") from error


def _refusal(error: Any) -> Exception:
    """A client's error, as one that ends waiting if waiting does not help."""
    # It answers. An unknown key is 403 in S3, and 404 in versitygw.
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    if status in (http.HTTPStatus.MOVED_PERMANENTLY, http.HTTPStatus.BAD_REQUEST):
        # So S3 and versitygw answer a request without a body, such as HeadBucket, that is signed for another region.
        region = os.environ.get("AWS_DEFAULT_REGION", "")
        return BootError(
            f"the bucket is in another region than {region!r}, or the request is signed in a way that the store does "
            f"not know (mlflow:artifacts.existing.region): {error}"
        )
    if status < http.HTTPStatus.INTERNAL_SERVER_ERROR:
        return BootError(f"the store refuses the keys: {error}")
    return Exception(str(error))


def _prove_bucket(store: S3Store) -> None:
    from botocore.exceptions import ClientError

    def reachable() -> None:
        try:
            store.client.head_bucket(Bucket=store.bucket)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == http.HTTPStatus.NOT_FOUND:
                raise BootError(
                    f"there is no bucket of this name, or the keys may not see it: {error}"
                ) from error
            raise _refusal(error) from error

    _reach(store.name, reachable)
    try:
        store.write(CHECK_KEY, io.BytesIO(b"ok"))
        with contextlib.closing(store.open(CHECK_KEY)) as content:
            if content.read() != b"ok":
                raise BootError(f"{store.name}: does not give back what was written")
        _prove_private(store)
        _prove_encryption(store, os.environ.get("ENCRYPTION", "none"))
        store.delete(CHECK_KEY)
    except ClientError as error:
        raise BootError(
            f"{store.name}: the keys may not write, read and delete: {error}"
        ) from error
    if days := os.environ.get("EXPIRE_MULTIPART_DAYS"):
        _prove_lifecycle(store, int(days))
    print(f"{store.name}: keys write, read and delete; nobody reads without")


def _prove_private(store: S3Store) -> None:
    from botocore import UNSIGNED
    from botocore.exceptions import ClientError

    anonymous = client(
        {k: v for k, v in os.environ.items() if not k.startswith("AWS_ACCESS_KEY")},
        signature_version=UNSIGNED,
    )
    asks: dict[str, Callable[[], object]] = {
        "list": lambda: anonymous.list_objects_v2(Bucket=store.bucket, MaxKeys=1),
        "read": lambda: anonymous.get_object(Bucket=store.bucket, Key=store.prefix + CHECK_KEY),
    }
    for what, ask in asks.items():
        with contextlib.suppress(ClientError):
            ask()
            raise BootError(
                f"{store.name}: everybody may {what} it without keys; take public access from the bucket"
            )


def _encrypt(s3: Any, name: str, wanted: str) -> None:
    """Encrypt new objects of a bucket, or no longer."""
    from botocore.exceptions import ClientError

    if wanted == "none":
        # A store that cannot encrypt answers NotImplemented: then there is nothing to take back.
        with contextlib.suppress(ClientError):
            s3.delete_bucket_encryption(Bucket=name)
        return
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": SSE[wanted]}}
    try:
        s3.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration={"Rules": [rule]})
    except ClientError as error:
        raise BootError(f"bucket {name}: cannot encrypt by {wanted}: {error}") from error


def _prove_encryption(store: S3Store, wanted: str) -> None:
    """The check object is encrypted; what a store says of its bucket is not enough."""
    if wanted == "none":
        return
    key = store.prefix + CHECK_KEY
    got = store.client.head_object(Bucket=store.bucket, Key=key).get("ServerSideEncryption")
    if got != SSE[wanted]:
        algorithm = f'{{"SSEAlgorithm":"{SSE[wanted]}"}}'
        raise BootError(
            f"{store.name}: an object that was written is encrypted by {got or 'nothing'}, and "
            f"mlflow:artifacts.encryption wants {wanted} ({SSE[wanted]}). Set the bucket's default, as in: aws s3api "
            f"put-bucket-encryption --bucket {store.bucket} --server-side-encryption-configuration "
            f'\'{{"Rules":[{{"ApplyServerSideEncryptionByDefault":{algorithm}}}]}}\''
        )


def _prove_lifecycle(store: S3Store, days: int) -> None:
    """A rule of the bucket removes unfinished uploads below our prefix within that many days."""
    from botocore.exceptions import ClientError

    try:
        rules = store.client.get_bucket_lifecycle_configuration(Bucket=store.bucket)["Rules"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchLifecycleConfiguration":
            raise BootError(
                f"{store.name}: cannot tell what it does with unfinished uploads ({error}); leave out "
                "mlflow:artifacts.expire_multipart_days, or let the keys read the bucket's lifecycle"
            ) from error
        rules = []
    for rule in rules:
        after = rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation")
        below = rule.get("Filter", {}).get("Prefix", rule.get("Prefix", ""))
        covers = store.prefix.startswith(below) and not rule.get("Filter", {}).get("And")
        if rule["Status"] == "Enabled" and covers and after is not None and after <= days:
            return
    raise BootError(
        f"{store.name}: no rule of the bucket removes unfinished uploads within {days} days, as "
        "mlflow:artifacts.expire_multipart_days wants. Add one, as in: aws s3api put-bucket-lifecycle-configuration "
        f'--bucket {store.bucket} --lifecycle-configuration \'{{"Rules":[{{"ID":"unfinished","Status":"Enabled",'
        f'"Filter":{{}},"AbortIncompleteMultipartUpload":{{"DaysAfterInitiation":{days}}}}}]}}\''
    )


def _prove_folder(folder: Path) -> None:
    store = FolderStore(folder)
    try:
        store.write(CHECK_KEY, io.BytesIO(b"ok"))
        with store.open(CHECK_KEY) as content:
            if content.read() != b"ok":
                raise BootError(f"{folder}: does not give back what was written")
        store.delete(CHECK_KEY)
    except OSError as error:
        raise BootError(
            f"{folder}: user {os.getuid()} cannot write, read and delete in it: {error}. On an NFS export: give the "
            f"folder to that user (chown {os.getuid()}:{os.getgid()}), and check its options"
        ) from error
    print(f"{folder}: is written, read and deleted in")


def check_scratch() -> None:
    """Refuse to go on without the disk that artifacts need on their way through the server.

    Raises:
        BootError: SCRATCH_MB is given, and the file system of SCRATCH has less free.
    """
    wanted = int(os.environ.get("SCRATCH_MB") or 0)
    if not wanted:
        return
    folder = environment("SCRATCH")
    free = shutil.disk_usage(folder).free >> 20
    if free < wanted:
        raise BootError(
            f"mlflow:tracking.scratch_mb: the disk of the scratch volume has {free} MiB free, and {wanted} MiB are "
            "needed for artifacts on their way through the server. Free some on the engine's disk (docker system df), "
            f"or lower it: pulumi config set --path mlflow:tracking.scratch_mb {max(free - 256, 128)}"
        )


def clean_scratch() -> None:
    """Remove what a killed server has left of artifacts that were on their way: nothing else uses the volume."""
    if folder := os.environ.get("SCRATCH"):
        # Named by Python's tempfile.
        for path in Path(folder).glob("tmp*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def main() -> int:
    """Run one command; print an error's message instead of its traceback."""
    parser = argparse.ArgumentParser(prog="artifacts")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("bucket", "prove"):
        commands.add_parser(name)
    for name in ("dump", "migrate"):
        commands.add_parser(name).add_argument("folder", type=Path)
    keeping = commands.add_parser("keep")
    keeping.add_argument("folder", type=Path)
    keeping.add_argument("store_files", type=Path)
    keeping.add_argument("endpoint_url", nargs="?", default="")
    rewriting = commands.add_parser("rewrite")
    rewriting.add_argument("old")
    rewriting.add_argument("new")
    given = vars(parser.parse_args())
    run: dict[str, Callable[..., object]] = {
        "bucket": bucket,
        "prove": prove,
        "dump": transfer.dump,
        "keep": transfer.keep,
        "migrate": transfer.migrate,
        "rewrite": artifact_uris.rewrite,
    }
    try:
        run[given.pop("command")](**given)
    except BootError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
