"""What it takes to copy the data of the old deployment. Pure."""

from dataclasses import dataclass, field

from .file import Port


@dataclass(frozen=True)
class DatabaseSource:
    """The old database: what it takes to copy it."""

    service: str
    """Its service in the file; empty for one elsewhere."""
    engine: str
    host: str
    port: int
    """In its container; for one elsewhere as the file has it."""
    published: Port | None
    name: str
    username: str
    password: str = field(repr=False)
    schema: str = ""
    """PostgreSQL's search_path, where the tables are in a schema of their own."""
    tls_mode: str = "disable"


@dataclass(frozen=True)
class StoreSource:
    """The old artifact store: what it takes to copy it."""

    service: str
    """Its service in the file; empty for one elsewhere."""
    endpoint_url: str
    published: Port | None
    region: str
    uri: str
    """`s3://bucket/prefix`: where artifacts are below."""
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)


@dataclass(frozen=True)
class FileSource:
    """A file or folder of the old server's container: SQLite's, or the artifacts."""

    service: str
    """Whose container it is in."""
    path: str
    """In the container; relative to the folder that its program starts in."""
    roots: tuple[str, ...] = ()
    """How rows of the database name the folder, if not by the server's own `mlflow-artifacts:`."""
