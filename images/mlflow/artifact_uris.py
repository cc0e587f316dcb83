"""Artifact URIs in MLflow's database."""

import os

from bootlib import BootError, environment
from stores import scheme

PROXIED_ROOT = "mlflow-artifacts:/"
"""What MLflow writes before the path of an artifact that goes through the server."""

URI_COLUMNS = (
    ("experiments", "artifact_location", ""),
    ("runs", "artifact_uri", ""),
    ("logged_models", "artifact_location", ""),
    ("model_versions", "source", ""),
    ("model_versions", "storage_location", ""),
    ("trace_tags", "value", "mlflow.artifactLocation"),
)
"""Where MLflow 3.17's database has URIs of artifacts: table, column, and the `key` of the rows if not all have one."""


def _root(uri: str) -> str:
    return uri if uri.endswith("/") else f"{uri}/"


def rewrite(old: str, new: str) -> int:
    """Make all artifact URIs below one root stand below another, in one transaction.

    Args:
        old: root that artifacts were logged below, such as `s3://mlflow`.
        new: root that the same artifacts are found below.

    Returns:
        Values that were changed.

    Raises:
        BootError: a URI would be too long for its column, or the old root is still there. Nothing is changed.
    """
    import sqlalchemy as sa

    old, new = _root(old), _root(new)
    if old == new:
        return 0
    engine = sa.create_engine(environment("MLFLOW_BACKEND_STORE_URI"))
    inspector = sa.inspect(engine)
    tables = set(inspector.get_table_names())
    changed = 0
    with engine.begin() as connection:
        for table, name, key in URI_COLUMNS:
            if table not in tables:
                continue
            described = sa.Table(table, sa.MetaData(), autoload_with=connection)
            column = described.c[name]
            ours = column.startswith(old, autoescape=True)
            if key:
                ours = ours & (described.c.key == key)
            longest = connection.scalar(sa.select(sa.func.max(sa.func.length(column))).where(ours))
            limit = getattr(column.type, "length", None)
            if longest and limit and longest - len(old) + len(new) > limit:
                raise BootError(
                    f"{table}.{name}: URIs below {new} would have up to {longest - len(old) + len(new)} characters, "
                    f"and MLflow's column takes {limit}; use a shorter bucket or prefix"
                )
            moved = sa.literal(new).concat(sa.func.substr(column, len(old) + 1))
            done = connection.execute(sa.update(described).where(ours).values({name: moved}))
            changed += done.rowcount
            if connection.scalar(sa.select(sa.func.count()).select_from(described).where(ours)):
                raise BootError(f"{table}.{name}: URIs below {old} are still there")
    engine.dispose()
    if changed:
        print(f"{changed} artifact URIs: {old} is now {new}", flush=True)
    return changed


def align() -> None:
    """Give the artifacts of the server's own store the URIs of its mode, so that a change of the mode keeps them all.

    The same objects are `mlflow-artifacts:/…` to clients that go through the server, and `s3://bucket/…` to those that
    have the store's keys. Without this, a run that was logged in one mode could not be read in the other.
    """
    uri, mode = os.environ.get("ARTIFACTS_URI", ""), os.environ.get("ARTIFACTS_MODE", "")
    if mode not in ("proxied", "direct") or not scheme(uri):
        return
    if mode == "direct":
        rewrite(PROXIED_ROOT, uri)
    else:
        rewrite(uri, PROXIED_ROOT)
