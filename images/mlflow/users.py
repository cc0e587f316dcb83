"""Prepares MLflow's own users: their tables, the administrator, and the roles of groups. A step of the migration.

Runs inside the image, under the migration's lock. Whatever it makes it also mends, so that the stack's state is what
counts: a changed password of the administrator is in force after the next `up`.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class NewerSchemaError(Exception):
    """A newer MLflow has written the tables.

    Args:
        found: revision of the tables.
    """

    def __init__(self, found: str) -> None:
        super().__init__(f"the users' tables have schema {found}")
        self.found = found


def enabled() -> bool:
    """Whether this stack has users of MLflow's own."""
    return bool(os.environ.get("MLFLOW_AUTH_CONFIG_PATH"))


def prepare(engine: Any) -> str:
    """Bring tables, administrator and roles to what the stack says.

    Args:
        engine: of the tracking database, whose own tables are there already.

    Returns:
        What was done, for the log.

    Raises:
        NewerSchemaError: this MLflow does not know the schema.
    """
    from mlflow.server import auth

    revision = _migrate(engine)
    store: Any = auth.store
    store.init_db(engine.url.render_as_string(hide_password=False))
    config: Any = auth.auth_config
    changes = _administrator(store, config.admin_username, config.admin_password)
    if os.environ.get("PROXY_AUTH_CONFIG"):
        _roles(store)
    return ", ".join([f"users' schema {revision}", *changes])


def _migrate(engine: Any) -> str:
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from mlflow.server.auth.db import utils

    def current() -> str | None:
        with engine.connect() as connection:
            context = MigrationContext.configure(
                connection, opts={"version_table": "alembic_version_auth"}
            )
            return context.get_current_revision()

    before = current()
    scripts = ScriptDirectory.from_config(utils._get_alembic_config(""))
    if before and before not in {script.revision for script in scripts.walk_revisions()}:
        raise NewerSchemaError(before)
    make_tables(engine)
    return str(current())


def make_tables(engine: Any) -> None:
    """Make the users' tables, or bring them to this MLflow's schema.

    Args:
        engine: of the database.
    """
    from mlflow.server.auth.db import utils

    with _no_name_twice():
        utils.migrate(engine, "head")


@contextmanager
def _no_name_twice() -> Iterator[None]:
    """Give the foreign keys of MLflow's first migration that have one name a name each.

    MySQL and MariaDB refuse a name that is in their database already (mlflow#9642, mlflow#10964).
    """
    import sqlalchemy

    def rename(table: Any, connection: Any, **_: Any) -> None:
        if connection.dialect.name in ("mysql", "mariadb"):
            for key in table.foreign_key_constraints:
                if key.name == "fk_user_id":
                    key.name = f"{table.name}_{key.name}"

    sqlalchemy.event.listen(sqlalchemy.Table, "before_create", rename)
    try:
        yield
    finally:
        sqlalchemy.event.remove(sqlalchemy.Table, "before_create", rename)


def _administrator(store: Any, name: str, password: str) -> list[str]:
    if not store.has_user(name):
        store.create_user(name, password, is_admin=True)
        return [f"administrator '{name}' made"]
    changes = []
    if not store.authenticate_user(name, password):
        store.update_user(name, password=password)
        changes.append(f"password of '{name}' set to the stack's")
    if not store.get_user(name).is_admin:
        store.update_user(name, is_admin=True)
        changes.append(f"'{name}' made administrator again")
    return changes


def _roles(store: Any) -> None:
    """One role for each permission that a group may have: that permission on everything."""
    from mlflow.utils.workspace_utils import DEFAULT_WORKSPACE_NAME
    from proxy_auth import RESOURCES, ROLES

    known = {role.name: role for role in store.list_roles([DEFAULT_WORKSPACE_NAME])}
    for permission, name in ROLES.items():
        role = known.get(name) or store.create_role(
            name,
            DEFAULT_WORKSPACE_NAME,
            f"Members of groups with {permission} in the stack's settings. Kept by pulumi-mlflow.",
        )
        held = {
            (grant.resource_type, grant.resource_pattern): grant
            for grant in store.list_role_permissions(role.id)
        }
        wanted = {(resource, "*") for resource in RESOURCES}
        for key, grant in held.items():
            if key not in wanted:
                store.remove_role_permission(grant.id)
            elif grant.permission != permission:
                store.update_role_permission(grant.id, permission)
        for resource, pattern in wanted - held.keys():
            store.add_role_permission(role.id, resource, pattern, permission)
