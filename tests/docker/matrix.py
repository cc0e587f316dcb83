"""The combinations of databases, stores, logins and ways to artifacts that stacks are tried in.

Every two values that go together are tried together at least once (pairwise): most faults of a combination are faults
of two of its parts. Which go together is said by the rules that check a stack's settings.
"""

import itertools
import json
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, NamedTuple

import settings as stack_settings

DATABASES = ("postgresql", "pgbouncer", "mysql", "mariadb", "sqlite", "existing")
STORES = ("versitygw", "folder", "s3", "minio")
LOGINS = ("none", "basic", "oidc", "mlflow", "oidc-mlflow")
WAYS = ("proxied", "direct", "multipart")

SLOW = ("minio",)
"""Only with FULL=1: it is unmaintained, and takes 12 min to build where no image is to be had."""

SELDOM = ("pgbouncer", "mariadb", "existing")
"""Databases whose cells are tried only with FULL=1: each takes three to seven minutes, and CI has 90. An existing
database with TLS has tests of its own."""


class Cell(NamedTuple):
    """One combination."""

    database: str
    store: str
    login: str
    way: str
    """How clients get at artifacts."""

    def __str__(self) -> str:
        return "-".join(self)

    @property
    def home(self) -> tuple[str, str]:
        """What a stack keeps while the rest is switched."""
        return self.database, self.store


class Place(NamedTuple):
    """Where a cell finds what its stack does not make, and which ports it may have."""

    host: str = "172.17.0.1"
    """This machine, for containers and for itself."""
    port: int = 5001
    store_port: int = 9000
    console_port: int = 9001
    database_port: int = 5432
    database_name: str = "mlflow"
    database_user: str = "mlflow"
    schema: str = "mlflow"
    bucket_port: int = 9002
    issuer: str = "http://172.17.0.1:8080"


TOUR = tuple(
    Cell("postgresql", "versitygw", login, way)
    for login, way in (
        ("basic", "proxied"),
        ("oidc", "multipart"),
        ("mlflow", "proxied"),
        ("none", "direct"),
        ("oidc-mlflow", "multipart"),
    )
)
"""One stack that is switched through all logins and ways, as a person does."""

BRIEF_TOUR = TOUR[:2]
"""As much of it as `make test` has time for."""


def settings(cell: Cell, place: Place) -> dict[str, Any]:
    """A stack's settings; secrets stand in `secrets`."""
    database: dict[str, Any] = {"engine": cell.database}
    if cell.database == "pgbouncer":
        database = {"engine": "postgresql", "pgbouncer": True}
    elif cell.database == "existing":
        there = {"host": "host.docker.internal", "port": place.database_port, "tls_mode": "disable"}
        database = {
            "engine": "postgresql",
            "name": place.database_name,
            "username": place.database_user,
            "existing": {**there, "search_path": f'"{place.schema}"'},
        }
    artifacts: dict[str, Any] = {"store": cell.store}
    if cell.store == "s3":
        url = f"http://{place.host}:{place.bucket_port}"
        artifacts |= {"bucket": "mlflow", "existing": {"endpoint_url": url}}
    if cell.store == "minio":
        artifacts |= {"console_port": place.console_port}
    if cell.way == "direct":
        artifacts |= {"mode": "direct"}
    if cell.way == "multipart":
        artifacts |= {"multipart": True}
    if cell.way != "proxied" and cell.store in {"versitygw", "minio"}:
        url = f"http://{place.host}:{place.store_port}"
        artifacts |= {"port": place.store_port, "public_url": url}
    access: dict[str, Any] = {"auth": cell.login, "port": place.port}
    if cell.login.startswith("oidc"):
        access["oidc"] = {"issuer": place.issuer, "client_id": "mlflow"}
    if cell.login == "oidc-mlflow":
        access["oidc"]["admin_groups"] = ["ml-team"]
    return {"runtime": "docker", "database": database, "artifacts": artifacts, "access": access}


def secrets(cell: Cell, value: str) -> dict[str, str]:
    """The secrets that a cell's settings need; all are the same, since the test makes what they open."""
    found = {}
    if cell.database == "existing":
        found["database_password"] = value
    if cell.store == "s3":
        found |= {"artifacts_access_key": value, "artifacts_secret_key": value}
    if cell.login.startswith("oidc"):
        found["oidc_client_secret"] = value
    return found


def problems(cell: Cell) -> list[str]:
    """The rules that refuse a cell's settings."""
    config = {**settings(cell, Place()), **secrets(cell, "a-secret-of-32-characters-at-most")}
    raw = {k: v if isinstance(v, str) else json.dumps(v) for k, v in config.items()}
    try:
        stack_settings.load("cell", raw, secret_keys=secrets(cell, ""))
    except stack_settings.SettingsError as error:
        return [problem.rule.value for problem in error.problems]
    return []


@cache
def valid() -> tuple[Cell, ...]:
    """Every combination whose settings are right."""
    every = itertools.starmap(Cell, itertools.product(DATABASES, STORES, LOGINS, WAYS))
    return tuple(cell for cell in every if not problems(cell))


def pairs(cell: Cell) -> set[tuple[str, str]]:
    """Every two of a cell's values, with what they are values of."""
    named = [f"{field}={value}" for field, value in zip(cell._fields, cell, strict=True)]
    return set(itertools.combinations(named, 2))


def new(cells: Iterable[Cell], chosen: Iterable[Cell]) -> Iterator[Cell]:
    """Cells that add pairs to those chosen, the ones that add most first, until no pair is missing."""
    left = list(cells)
    missing = set().union(*map(pairs, left)) - set().union(*map(pairs, chosen))
    while missing:
        best = max(left, key=lambda cell: len(pairs(cell) & missing))
        missing -= pairs(best)
        yield best


def usual() -> list[Cell]:
    """A brief tour, and each other database once: every value is there but slow ones. `make test` leaves out SELDOM."""
    found = list(BRIEF_TOUR)
    fast = [cell for cell in valid() if cell.store not in SLOW]
    for database in DATABASES:
        seen = {value for cell in found for value in cell}
        if database not in seen:
            of = [cell for cell in fast if cell.database == database]
            unseen = max(len(set(cell) - seen) for cell in of)
            found.append(next(new([c for c in of if len(set(c) - seen) == unseen], found)))
    return found


def everything() -> list[Cell]:
    """What FULL=1 tries: the whole tour, and every pair of values that go together."""
    found = [*TOUR, *(cell for cell in usual() if cell not in TOUR)]
    return [*found, *new(valid(), found)]


def by_stack(cells: Iterable[Cell]) -> dict[tuple[str, str], list[Cell]]:
    """Cells that one stack is switched through, in order."""
    found: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        found.setdefault(cell.home, []).append(cell)
    return found
