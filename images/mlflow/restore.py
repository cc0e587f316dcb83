"""The steps of a restore that are done in the server's image; `pulumi_mlflow.docker.restoring` has them run.

Until the database is switched, the stack's old state is what it was: objects are only added that it does not have. What
it has with another content is replaced after the switch, and what the dump does not have is deleted last. Each step may
be ended at any moment: the whole restore is run again.

Runs inside the image, like boot.py.
"""

import argparse
import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import boot
import unfinished
from bootlib import BootError, environment
from stores import CHUNK, THREADS, FolderStore, Item, Store, open_store


def _plan_file() -> Path:
    """What `add` has found, for the steps after it; on the server's scratch volume."""
    return Path(os.environ.get("SCRATCH", "/scratch")) / "restore.json"


def _parents(key: str) -> Iterator[str]:
    while key := key.rpartition("/")[0]:
        yield key


def _blocked(wanted: Iterable[str], there: Iterable[str]) -> set[str]:
    """Wanted keys that stand where the store has a folder, or below what it has as a file."""
    files = set(there)
    folders = {parent for key in files for parent in _parents(key)}
    return {
        key for key in wanted if key in folders or any(parent in files for parent in _parents(key))
    }


def _sha256(store: Store, key: str) -> bytes:
    digest = hashlib.sha256()
    with contextlib.closing(store.open(key)) as content:
        while data := content.read(CHUNK):
            digest.update(data)
    return digest.digest()


def _each(keys: Iterable[str], do: Callable[[str], object], said: str) -> list[Any]:
    """Do something with every key, several at once; the first error ends it."""
    todo, done = sorted(keys), []
    with ThreadPoolExecutor(THREADS) as pool:
        try:
            for count, result in enumerate(pool.map(do, todo), 1):
                done.append(result)
                if count % 1000 == 0:
                    print(f"{said}: {count}/{len(todo)} objects", flush=True)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return done


def _copier(source: Store, target: Store) -> Callable[[str], None]:
    def copy(key: str) -> None:
        with contextlib.closing(source.open(key)) as content:
            target.write(key, content)

    return copy


def add(folder: Path) -> None:
    """Add what the store does not have, and find out what it has with another content."""
    source, target = FolderStore(folder), open_store(os.environ)
    wanted = {item.key: item for item in source.items()}
    there = {item.key: item for item in target.items()}
    blocked = _blocked(wanted, there.keys() - wanted.keys())
    new = wanted.keys() - there.keys() - blocked

    def differs(key: str) -> str:
        same = there[key].size == wanted[key].size and _sha256(source, key) == _sha256(target, key)
        return "" if same else key

    changed = {*_each(wanted.keys() & there.keys(), differs, "comparing"), *blocked} - {""}
    # Before the first is added, for `take_back`.
    _plan_file().write_text(json.dumps({"added": sorted(new), "changed": sorted(changed)}))
    _each(new, _copier(source, target), "adding")
    print(f"{len(wanted)} objects: {len(new)} added, {len(changed)} to be replaced")


def take_back() -> None:
    """Remove what `add` has added: the restore was ended before the switch."""
    if not _plan_file().is_file():
        return
    _each(json.loads(_plan_file().read_text())["added"], open_store(os.environ).delete, "removing")
    _plan_file().unlink()


def finish(folder: Path) -> None:
    """Replace what `add` has found to be different, and delete what the dump does not have."""
    source, target = FolderStore(folder), open_store(os.environ)
    changed: list[str] = json.loads(_plan_file().read_text())["changed"]
    wanted = {item.key for item in source.items()}
    stale = {item.key for item in target.items()} - wanted
    # They stand where something of the dump has its place.
    first = _blocked(stale, wanted)
    _each(first, target.delete, "removing")
    _each(changed, _copier(source, target), "replacing")
    _each(stale - first, target.delete, "removing")
    _require_whole(source.items(), target)
    _plan_file().unlink()
    print(f"{len(wanted)} objects, {len(changed)} replaced, {len(stale)} removed")


def _require_whole(wanted: Iterable[Item], target: Store) -> None:
    there = {item.key: item.size for item in target.items()}
    missing = [item.key for item in wanted if there.get(item.key) != item.size]
    if missing:
        raise BootError(
            f"{len(missing)} objects of the dump are not in {target.name}, such as {missing[0]!r}"
        )


def prepare(name: str) -> None:
    """Bring a database beside the server's to this MLflow's schema, and mark it as one whose restore has not ended.

    Args:
        name: of a database in the same database server.
    """
    import sqlalchemy as sa

    url = sa.make_url(environment("MLFLOW_BACKEND_STORE_URI")).set(database=name)
    os.environ["MLFLOW_BACKEND_STORE_URI"] = url.render_as_string(hide_password=False)
    boot.migrate()
    engine = sa.create_engine(url)
    unfinished.make_table(engine)
    with engine.begin() as connection:
        unfinished.mark(connection)


def _database() -> Any:
    import sqlalchemy as sa

    return sa.create_engine(environment("MLFLOW_BACKEND_STORE_URI"))


def main() -> int:
    """Run one command; print an error's message instead of its traceback."""
    parser = argparse.ArgumentParser(prog="restore")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("add", "finish"):
        commands.add_parser(name).add_argument("folder", type=Path)
    commands.add_parser("prepare").add_argument("name")
    for name in ("take-back", "state", "end", "version"):
        commands.add_parser(name)
    given = vars(parser.parse_args())
    run: dict[str, Callable[..., object]] = {
        "add": add,
        "take-back": take_back,
        "prepare": prepare,
        "finish": finish,
        "state": lambda: print(unfinished.found(_database())),
        "end": lambda: unfinished.clear(_database()),
        "version": lambda: print(version("mlflow")),
    }
    try:
        run[given.pop("command")](**given)
    except BootError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
