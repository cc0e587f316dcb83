"""Says in the database itself that a restore has not ended.

It is written in the transaction that switches to the restored data, so it is there exactly if the switch is: whoever
was ended half way, and however, a server starts on the old state as a whole or not at all.
"""

import os
from typing import Any

from bootlib import BootError, environment

TABLE = "pulumi_mlflow_restore"

COMMAND = "RESTORE_COMMAND"
"""Variable of a restore's programs: what a person types to finish it; no secrets."""


def command() -> str:
    """What finishes the restore that this program is part of; empty if it is part of none."""
    return os.environ.get(COMMAND, "")


def _table() -> Any:
    import sqlalchemy as sa

    return sa.Table(TABLE, sa.MetaData(), sa.Column("command", sa.Text, nullable=False))


def make_table(engine: Any) -> None:
    """Make the table, empty. Apart from `mark`: some engines end a transaction when a table is made."""
    _table().create(engine, checkfirst=True)


def mark(connection: Any) -> None:
    """Write, as part of a transaction, that the restore has switched and has not ended."""
    table = _table()
    connection.execute(table.delete())
    connection.execute(table.insert().values(command=command()))


def found(engine: Any) -> str:
    """What finishes the restore that has not ended; empty if there is none."""
    import sqlalchemy as sa

    if not sa.inspect(engine).has_table(TABLE):
        return ""
    with engine.connect() as connection:
        return str(connection.scalar(sa.select(_table().c.command)) or "")


def clear(engine: Any) -> None:
    """The restore has ended."""
    _table().drop(engine, checkfirst=True)


def refuse() -> None:
    """Start no server on what is restored in part.

    Raises:
        BootError: a restore of the server's database has not ended; says what finishes it.
    """
    import sqlalchemy as sa

    engine = sa.create_engine(environment("MLFLOW_BACKEND_STORE_URI"))
    try:
        unfinished = found(engine)
    except sa.exc.SQLAlchemyError:
        return  # the server says it itself
    finally:
        engine.dispose()
    if unfinished:
        raise BootError(
            "a restore of this stack has not ended: the database is the dump's already, the artifacts not yet. "
            f"Finish it: {unfinished}"
        )
