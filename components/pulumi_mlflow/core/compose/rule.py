"""The words of the table of rules: which service, which fate."""

from enum import Enum
from typing import NamedTuple


class Role(Enum):
    """What a service of the file is for."""

    TRACKING = "MLflow server"
    DATABASE = "database"
    STORE = "artifact store"
    PROXY = "reverse proxy"
    OIDC = "oauth2-proxy"
    POOLER = "PgBouncer"
    JOB = "job that makes the bucket"
    OTHER = "other"
    ANY = "any service"


class Fate(Enum):
    """What becomes of something in the file."""

    SETTING = "setting"
    DATA = "only for taking the data along"
    DONE = "the stack does it itself"
    LOST = "not taken"


class Rule(NamedTuple):
    """A row of the table: what stands in a compose file, and what becomes of it."""

    role: Role
    fact: str
    """What it says; several names may say the same."""
    fate: Fate
    names: tuple[str, ...]
    """Options of the command start with a dash, variables are upper case, keys of a service lower case."""
    target: str
    """Settings that it becomes, without `mlflow:`; empty for none."""
    note: str
    """Why, or what to do instead."""
