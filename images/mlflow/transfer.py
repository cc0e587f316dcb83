"""Copies of artifact stores: to a folder and back for a dump, and from one store to another for a move."""

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from bootlib import BootError, wait
from stores import CHUNK, THREADS, Content, FolderStore, Item, S3Store, Store, open_store, scheme

SOURCE = "source.json"
SOURCE_FOLDER = Path("/source")
"""Where the volume of a folder store that is copied from is mounted."""

_SECRET_KEY = "AWS_SECRET_ACCESS_KEY"  # noqa: S105 - the variable's name


def dump(folder: Path) -> None:
    """Copy every artifact to a folder."""
    source, target = open_store(os.environ), FolderStore(folder)
    for count, item in enumerate(source.items(), 1):
        with contextlib.closing(source.open(item.key)) as content:
            target.write(item.key, content)
        if count % 1000 == 0:
            print(f"{count} objects", flush=True)
    print(f"{sum(1 for _ in target.items())} objects")


class _Hashed:
    """Content that is hashed while somebody reads it."""

    def __init__(self, content: Content) -> None:
        self._content, self._digest = content, hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        data = self._content.read(size)
        self._digest.update(data)
        return data

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


class _Manifest:
    """What has been copied and compared, so that a copy that was ended goes on.

    Args:
        path: a SQLite file.
    """

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS verified (key TEXT PRIMARY KEY, size INTEGER, sha256 TEXT)"
        )

    def sizes(self) -> dict[str, int]:
        return dict(self._database.execute("SELECT key, size FROM verified"))

    def add(self, item: Item, sha256: str) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO verified VALUES (?, ?, ?)", (item.key, item.size, sha256)
        )

    def close(self) -> None:
        self._database.close()


def _sha256(store: Store, key: str) -> str:
    digest = hashlib.sha256()
    with contextlib.closing(store.open(key)) as content:
        while data := content.read(CHUNK):
            digest.update(data)
    return digest.hexdigest()


def _transfer(source: Store, target: Store, item: Item, there: Item | None) -> str | None:
    """Copy one file, read it back and compare.

    Args:
        source: where it is.
        target: where it goes.
        item: the file.
        there: what the target has of that name.

    Returns:
        Its hash; None if the target's is another one, and newer, and was therefore kept.
    """
    if (
        there
        and there.size == item.size
        and _sha256(source, item.key) == (found := _sha256(target, item.key))
    ):
        return found
    if there and there.modified > item.modified:
        return None
    with contextlib.closing(source.open(item.key)) as content:
        hashed = _Hashed(content)
        target.write(item.key, hashed)
    if _sha256(target, item.key) != hashed.hexdigest():
        raise BootError(f"{item.key}: differs in {target.name} from what was written there")
    return hashed.hexdigest()


def copy(source: Store, target: Store, state: Path) -> None:
    """Copy every file that the target has not, compare by SHA-256, and prove that none is missing.

    It may be ended at any moment and run again. The source is only read. Of two files of one name that differ, the
    newer one stays: the target may have been written to since.

    Args:
        source: where the files are.
        target: where they go; what it has besides stays.
        state: SQLite file that remembers what was compared.

    Raises:
        BootError: a file differs after it was written, or is not there in the end.
    """
    manifest = _Manifest(state)
    items = sorted(source.items(), key=lambda item: item.key)
    there = {item.key: item for item in target.items()}
    done = {
        key: size
        for key, size in manifest.sizes().items()
        if key in there and there[key].size == size
    }
    todo = [item for item in items if done.get(item.key) != item.size]
    total, bytes_total = len(items), sum(item.size for item in items)
    copied = bytes_total - sum(item.size for item in todo)
    print(
        f"{total} objects, {bytes_total / 1e6:.1f} MB; {total - len(todo)} verified before",
        flush=True,
    )
    kept: list[str] = []
    said = time.monotonic()
    with ThreadPoolExecutor(THREADS) as pool:
        waiting = {
            pool.submit(_transfer, source, target, item, there.get(item.key)): item for item in todo
        }
        try:
            for count, future in enumerate(as_completed(waiting), total - len(todo) + 1):
                item, sha256 = waiting[future], future.result()
                if sha256 is None:
                    kept.append(item.key)
                    print(f"{item.key}: is newer in {target.name}, and stays", flush=True)
                else:
                    manifest.add(item, sha256)
                copied += item.size
                if time.monotonic() - said > 1:
                    said = time.monotonic()
                    print(
                        f"{count}/{total} objects, {copied / 1e6:.1f}/{bytes_total / 1e6:.1f} MB verified",
                        flush=True,
                    )
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    sizes = {item.key: item.size for item in target.items()}
    missing = [i.key for i in items if i.key not in kept and sizes.get(i.key) != i.size]
    if missing:
        raise BootError(
            f"{len(missing)} of {total} objects are not in {target.name}, such as {missing[0]!r}; run it again"
        )
    manifest.close()
    print(
        f"{total} objects, {bytes_total / 1e6:.1f} MB in {target.name}, all compared by SHA-256; {len(kept)} newer kept"
    )


def keep(folder: Path, store_files: Path, endpoint_url: str) -> None:
    """Write down how the server's store is read, for the time after the switch to another one.

    Args:
        folder: where; a volume that is nobody else's.
        store_files: secrets of the store's own container, which are copied too; need not be there.
        endpoint_url: URL under which that store will run again; empty where it is not ours.
    """
    wanted = (
        "ARTIFACTS_URI",
        "MLFLOW_S3_ENDPOINT_URL",
        "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE",
        "AWS_DEFAULT_REGION",
        "AWS_ACCESS_KEY_ID",
    )
    given = {name: os.environ[name] for name in (*wanted, _SECRET_KEY) if name in os.environ}
    if endpoint_url:
        given["MLFLOW_S3_ENDPOINT_URL"] = endpoint_url
    if not scheme(given["ARTIFACTS_URI"]):
        given["ARTIFACTS_URI"] = str(SOURCE_FOLDER)
    if ca := os.environ.get("AWS_CA_BUNDLE"):
        given["AWS_CA_BUNDLE"] = str(folder / "ca.pem")
        shutil.copyfile(ca, folder / "ca.pem")
    os.umask(0o077)
    if store_files.is_dir():
        shutil.copytree(store_files / "env", folder / "env", dirs_exist_ok=True)
    # Last and whole: without it nothing was kept.
    part = folder / "source.part"
    part.write_text(json.dumps(given))
    part.rename(folder / SOURCE)


def migrate(folder: Path) -> None:
    """Copy the store that was kept to the server's own.

    Args:
        folder: what `keep` has written; remembers there what was compared.
    """
    given: dict[str, str] = json.loads((folder / SOURCE).read_text())
    other = open_store(given)
    if isinstance(other, S3Store):
        s3, bucket = other.client, other.bucket
        wait(other.name, lambda: s3.head_bucket(Bucket=bucket), 60)
    copy(other, open_store(os.environ), folder / "verified.db")
