"""Folders and buckets with one interface: what proving and copying need of them."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from urllib.parse import urlsplit

from bootlib import BootError

THREADS = 8
"""Files that are copied at once."""

CHUNK = 1 << 20

PART = 32 << 20
"""Bytes of a part of an upload; S3 takes 10 000 parts, so objects of up to 320 GB."""


def scheme(uri: str) -> str:
    """Scheme of a store's URI; empty for a folder."""
    return "" if uri.startswith("/") else urlsplit(uri).scheme


@dataclass(frozen=True)
class Item:
    """A file of a store.

    Attributes:
        key: path below the store's root, with `/`.
        size: bytes.
        modified: when it was written.
    """

    key: str
    size: int
    modified: datetime


class Content(Protocol):
    """Something to read from."""

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes."""


class Store(Protocol):
    """What copying needs of a store."""

    name: str

    def items(self) -> Iterator[Item]:
        """Every file."""

    def open(self, key: str) -> BinaryIO:
        """A file's content."""

    def write(self, key: str, content: Content) -> None:
        """Make or replace a file: whole, or not at all."""

    def delete(self, key: str) -> None:
        """Remove a file."""


class FolderStore:
    """A folder of files.

    Args:
        root: the folder; it must be there.
    """

    _TEMPORARY = ".pulumi-mlflow-part-"

    def __init__(self, root: Path) -> None:
        self.root, self.name = root, str(root)

    def items(self) -> Iterator[Item]:
        """Every file but those that a killed copy has left half written."""
        for folder, _, files in os.walk(self.root):
            for file in files:
                if file.startswith(self._TEMPORARY):
                    continue
                path = Path(folder, file)
                found = path.stat()
                modified = datetime.fromtimestamp(found.st_mtime, UTC)
                yield Item(path.relative_to(self.root).as_posix(), found.st_size, modified)

    def open(self, key: str) -> BinaryIO:
        """A file's content."""
        return self._path(key).open("rb")

    def write(self, key: str, content: Content) -> None:
        """Make or replace a file, by a rename.

        Raises:
            BootError: the key has no place in a folder, or a file of the name is where it needs a folder.
        """
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                dir=path.parent, prefix=self._TEMPORARY, delete=False
            ) as part:
                try:
                    shutil.copyfileobj(content, part, CHUNK)
                    part.flush()
                    os.fsync(part.fileno())
                    # As a file of MLflow's own has it: a temporary one is the owner's alone.
                    Path(part.name).chmod(0o644)
                    Path(part.name).rename(path)
                except BaseException:
                    Path(part.name).unlink(missing_ok=True)
                    raise
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise BootError(
                f"{key}: is both a file and a folder in the other store, which a folder cannot hold"
            ) from error

    def delete(self, key: str) -> None:
        """Remove a file, and the folders that it leaves empty: a file may take their place."""
        path = self._path(key)
        path.unlink(missing_ok=True)
        for folder in path.parents:
            if folder == self.root:
                return
            try:
                folder.rmdir()
            except OSError:
                return  # not empty

    def _path(self, key: str) -> Path:
        path = Path(os.path.normpath(self.root / key))
        if self.root not in path.parents or path.relative_to(self.root).as_posix() != key:
            raise BootError(f"{key!r}: has no place in a folder")
        return path


class S3Store:
    """A bucket, or what is below a prefix of it.

    Args:
        uri: `s3://bucket/prefix`.
        client: boto3's.
    """

    def __init__(self, uri: str, client: Any) -> None:
        parts = urlsplit(uri)
        self.name, self.bucket, self.client = uri, parts.netloc, client
        prefix = parts.path.strip("/")
        self.prefix = f"{prefix}/" if prefix else ""

    def items(self) -> Iterator[Item]:
        """Every object but the empty ones by which some tools mark folders."""
        pages = self.client.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self.bucket, Prefix=self.prefix):
            for found in page.get("Contents", []):
                if not found["Key"].endswith("/"):
                    key = found["Key"].removeprefix(self.prefix)
                    yield Item(key, found["Size"], found["LastModified"])

    def open(self, key: str) -> BinaryIO:
        """An object's content."""
        stream: BinaryIO = self.client.get_object(Bucket=self.bucket, Key=self.prefix + key)["Body"]
        return stream

    def write(self, key: str, content: Content) -> None:
        """Make or replace an object."""
        from boto3.s3.transfer import TransferConfig

        # Several objects are under way at once already; one part of each at a time is in memory.
        config = TransferConfig(
            multipart_threshold=PART, multipart_chunksize=PART, use_threads=False
        )
        self.client.upload_fileobj(content, self.bucket, self.prefix + key, Config=config)

    def delete(self, key: str) -> None:
        """Remove an object."""
        self.client.delete_object(Bucket=self.bucket, Key=self.prefix + key)


def client(given: Mapping[str, str], **options: Any) -> Any:
    """A client of boto3.

    Args:
        given: environment variables of MLflow and boto3.
        options: of botocore's Config.
    """
    import boto3
    from botocore.config import Config

    config = {
        "signature_version": "s3v4",
        "connect_timeout": 5,
        "read_timeout": 60,
        "retries": {"max_attempts": 3},
        "max_pool_connections": 2 * THREADS,
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
        # As MLflow itself names buckets.
        "s3": {"addressing_style": given.get("MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE") or "auto"},
    }
    return boto3.client(
        "s3",
        endpoint_url=given.get("MLFLOW_S3_ENDPOINT_URL") or None,
        region_name=given.get("AWS_DEFAULT_REGION") or None,
        aws_access_key_id=given.get("AWS_ACCESS_KEY_ID") or None,
        aws_secret_access_key=given.get("AWS_SECRET_ACCESS_KEY") or None,
        verify=given.get("AWS_CA_BUNDLE") or None,
        config=Config(**{**config, **options}),
    )


def open_store(given: Mapping[str, str]) -> Store:
    """The store that these variables name.

    Raises:
        BootError: it is neither a folder nor one that speaks S3.
    """
    uri = given.get("ARTIFACTS_URI", "")
    kind = scheme(uri)
    if uri and not kind:
        return FolderStore(Path(uri))
    if kind != "s3":
        raise BootError(
            f"{uri or 'ARTIFACTS_URI'}: only folders and stores that speak S3 are copied; use the provider's own "
            "tool (gcloud storage rsync, azcopy)"
        )
    return S3Store(uri, client(given))
