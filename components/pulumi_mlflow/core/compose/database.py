"""The database of a compose file as settings. Pure."""

import re
from typing import Any
from urllib.parse import unquote

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from .file import Service
from .notes import Fact, Notes, number
from .parts import Parts
from .rules import Role
from .shell import is_unknown
from .sources import DatabaseSource, FileSource
from .where import Finder, Place, Whose

PORTS = {"postgresql": 5432, "mysql": 3306, "mariadb": 3306}
ENGINES = {
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "mysql": "mysql",
    "mariadb": "mariadb",
}
_POOLED_HOST = ("DB_HOST", "POSTGRESQL_HOST", "DATABASES_HOST", "PGBOUNCER_DB_HOST", "PG_HOST")
_POOLED_PORT = ("DB_PORT", "POSTGRESQL_PORT", "DATABASES_PORT", "PGBOUNCER_DB_PORT", "PG_PORT")
_POOLED_URL = ("DATABASE_URL", "DATABASE_URLS")
_POOLED_INI = re.compile(r"\bhost\s*=\s*([\w.-]+)(?:.*?\bport\s*=\s*(\d+))?")
_SCHEMA = re.compile(r"-c\s*search_path\s*=\s*([^\s]+)|--search_path=([^\s]+)")
_KNOWN_QUERY = {
    "charset",
    "sslmode",
    "ssl_disabled",
    "options",
    "host",
    "unix_socket",
    "application_name",
}


def parsed_url(text: str) -> URL | None:
    """A database's URI; None where it is none."""
    try:
        # SQLAlchemy 1.3 and before took this name too.
        return make_url(re.sub(r"^postgres://", "postgresql://", text)) if "://" in text else None
    except (ArgumentError, ValueError):
        return None


class DatabaseMapper:
    """Makes settings of what the file says of the database.

    Args:
        notes: where they go.
        parts: the services.
        finder: tells whose server a host is.
        in_place: whether a database is used where it is although it is in doubt whose it is.
    """

    def __init__(self, notes: Notes, parts: Parts, finder: Finder, *, in_place: bool) -> None:
        self._notes, self._parts, self._finder = notes, parts, finder
        self._in_place = in_place
        self._file = parts.file
        self.source: DatabaseSource | None = None
        self.file_source: FileSource | None = None

    def service(self) -> Service | None:
        """The database's service, as far as it can be known: its variables count, those of others do not."""
        given = self._notes.facts.get("backend_uri")
        url = parsed_url(given.value) if given else None
        if url is not None and url.get_backend_name() in ENGINES:
            place = self._place(url, ENGINES[url.get_backend_name()])
            return place.service
        if given is not None and "://" in given.value:
            return None
        return self._likely()

    def _likely(self) -> Service | None:
        """Without a URI: the one that the server waits for, or the only one."""
        found = self._parts.of(Role.DATABASE)
        server = self._parts.server
        needed = server.raw.get("depends_on") if server else None
        waits = set(needed or ())
        named = [s for s in found if s.name in waits]
        return next(iter(named or found), None)

    def map(self) -> None:
        """Write the section `database`."""
        notes = self._notes
        given = notes.facts.get("backend_uri")
        url = parsed_url(given.value) if given else None
        if given is None or url is None:
            if given and "://" in given.value:
                notes.find(given.place, "", "is no database URI", "set mlflow:database.* yourself")
            self._by_service(given)
        elif url.get_backend_name() == "sqlite":
            self._sqlite(given.place, url)
        elif url.get_backend_name() not in ENGINES:
            why = f"no stack has the engine '{url.get_backend_name()}'"
            notes.find(given.place, "", why, "the stack gets a PostgreSQL of its own")
        else:
            self._by_uri(given.place, url)
        notes.simple("max_connections", "database.max_connections", number)
        notes.simple("pool_size", "database.pool_size", number)
        notes.simple("max_overflow", "database.max_overflow", number)

    def _sqlite(self, place: str, url: URL) -> None:
        self._notes.put(place, "database.engine", "sqlite")
        server = self._parts.server
        path = url.database or ""
        if server is None or path in ("", ":memory:") or url.query.get("mode") == "memory":
            self._notes.find(place, "", "runs were kept in memory", "there are none to take along")
            return
        self.file_source = FileSource(server.name, re.sub(r"^file:", "", path).partition("?")[0])

    # By the server's URI

    def _place(self, url: URL, engine: str) -> Place:
        """Whose database it is; behind a pooler the one that the pooler uses."""
        host, port = _host(url), url.port or PORTS[engine]
        if not host and engine == "postgresql" and self._parts.server:
            host = self._parts.program(self._parts.server).environment.get("PGHOST", "")
        candidates = self._parts.databases(engine)
        if host.startswith("/"):
            host = ""  # a socket in a folder, which two containers share
        place = self._finder.find(host, port, candidates)
        pooler = place.service
        if pooler is None or self._parts.roles[pooler.name] is not Role.POOLER:
            return place
        behind, behind_port = self._behind(pooler)
        if behind:
            inner = Finder(self._file, pooler, self._finder.is_this_machine)
            return inner.find(behind, behind_port or PORTS[engine], candidates)
        if len(candidates) == 1:
            return Place(Whose.FILE, candidates[0], candidates[0].name, PORTS[engine])
        return place

    def _behind(self, pooler: Service) -> tuple[str, int | None]:
        """The host and port that a pooler connects to."""
        environment = pooler.environment
        for name in _POOLED_URL:
            url = parsed_url(environment.get(name, "").partition(",")[0])
            if url is not None and url.host:
                return url.host, url.port
        host = next((environment[name] for name in _POOLED_HOST if environment.get(name)), "")
        port = next((environment[name] for name in _POOLED_PORT if environment.get(name)), "")
        if host:
            return host, int(port) if port.isdigit() else None
        for text in (
            environment.get("DATABASES", ""),
            *self._parts.looker.texts(pooler, ".ini", ["pgbouncer.ini"]),
        ):
            if found := _POOLED_INI.search(text):
                return found.group(1), int(found.group(2)) if found.group(2) else None
        return "", None

    def _by_uri(self, place: str, url: URL) -> None:
        notes = self._notes
        engine = ENGINES[url.get_backend_name()]
        found = self._place(url, engine)
        service = found.service
        if engine == "mysql" and service and "mariadb" in f"{service.image} {service.name}":
            engine = "mariadb"
        notes.put(place, "database.engine", engine)
        for key, value in (("name", url.database), ("username", url.username)):
            if value and is_unknown(value):
                notes.find(
                    place,
                    "",
                    f"its {key} is computed by a script that is not run",
                    f"set mlflow:database.{key}",
                )
            elif value:
                notes.put(place, f"database.{key}", value)
        self._query(place, url)
        doubtful = found.whose is Whose.DOUBT
        if doubtful and not self._in_place:
            notes.find(
                place,
                notes.shown("", found.host),
                f"may be the old deployment's own database, since {found.why}; the stack gets one of its own, for the "
                "first `up` would migrate it in place, and its old server could not use it any longer",
                "--with-data copies it; if it is to be used where it is: --in-place",
            )
        if found.whose is Whose.FILE or (doubtful and not self._in_place):
            self.source = self._source(place, url, engine, found)
            if service:
                self._published(service)
            return
        self._existing(place, url, found)

    def _source(self, place: str, url: URL, engine: str, found: Place) -> DatabaseSource:
        service = found.service
        password = str(url.password or "")
        if is_unknown(password) or (not password and service):
            known = self._notes.value("db_password")
            if not known and is_unknown(password):
                self._notes.find(
                    place,
                    "",
                    "its password is computed by a script that is not run",
                    "--with-data cannot log in",
                )
            password = known
        return DatabaseSource(
            service=service.name if service else "",
            engine=engine,
            host=found.host,
            port=found.port,
            published=service.published(found.port) if service else None,
            name=url.database or "",
            username=url.username or "",
            password=password,
            schema=_schema(url),
            tls_mode="require" if str(url.query.get("sslmode", "")) in _ENCRYPTED else "disable",
        )

    def _query(self, place: str, url: URL) -> None:
        """Options of the URI that no setting has."""
        for name in sorted(url.query.keys() - _KNOWN_QUERY):
            if not name.startswith("ssl"):
                self._notes.find(
                    place,
                    name,
                    "an option of the URI that no setting has",
                    "the stack sets its own",
                )

    def _existing(self, place: str, url: URL, found: Place) -> None:
        notes = self._notes
        notes.put(place, "database.existing.host", found.host)
        if url.port or found.port != PORTS[ENGINES[url.get_backend_name()]]:
            notes.put(place, "database.existing.port", found.port)
        given = str(url.query.get("sslmode", ""))
        mode = given if given in ("disable", "require", "verify-ca", "verify-full") else "require"
        notes.put(place, "database.existing.tls_mode", mode)
        if mode != given:
            notes.find(
                place,
                "",
                "asks for no encryption; the stack demands it",
                "a server without TLS on a network of your own: "
                "pulumi config set --path mlflow:database.existing.tls_mode disable -s STACK",
            )
        if schema := _schema(url):
            notes.put(place, "database.existing.search_path", schema)
        notes.tell(
            place,
            notes.shown("", found.host),
            "is used where it is: the first `up` migrates it in place, and an older MLflow cannot use it any longer",
            "make a dump of it first",
        )
        notes.facts.setdefault("db_password", Fact(place, ""))
        notes.secret("database_password", "db_password")

    # By the service's own variables

    def _by_service(self, given: Fact | None) -> None:
        notes = self._notes
        service = self._likely()
        if given and service and is_unknown(given.value):
            notes.find(
                given.place,
                "",
                "is computed by a script that is not run",
                f"{service.name} is taken for the database; if it is another one, set mlflow:database.* yourself",
            )
        if service is None:
            notes.find(
                given.place if given else "services",
                notes.shown("", given.value) if given else "",
                "names no database: MLflow kept runs in files of the container",
                "take a folder ./mlruns along with `pulumi-mlflow import-mlruns`",
            )
            return
        others = [s.name for s in self._parts.of(Role.DATABASE) if s is not service]
        if others:
            notes.find(
                f"{service.name}.image",
                service.image,
                f"is guessed to be the database, since the server names none; there is also {', '.join(others)}",
                "if it is another one, set mlflow:database.* yourself",
            )
        text = f"{service.image} {service.name} {' '.join(service.explicit).lower()}"
        engine = next(
            (e for e in ("mariadb", "mysql", "postgresql") if e[:8] in text), "postgresql"
        )
        notes.put(f"{service.name}.image", "database.engine", engine)
        notes.simple("db_name", "database.name", str)
        notes.simple("db_user", "database.username", str)
        port = PORTS[engine]
        user = notes.value("db_user") or ("postgres" if engine == "postgresql" else "root")
        self.source = DatabaseSource(
            service=service.name,
            engine=engine,
            host=service.name,
            port=port,
            published=service.published(port),
            name=notes.value("db_name") or notes.value("db_user"),
            username=user,
            password=notes.value("db_password"),
        )
        self._published(service)

    def _published(self, service: Service) -> None:
        for port in service.ports:
            if port.published:
                self._notes.find(
                    f"{service.name}.ports",
                    str(port.published),
                    "a stack does not publish its database",
                    "queries by hand: make shell ROLE=database",
                )


_ENCRYPTED = ("require", "verify-ca", "verify-full")


def _text(value: Any) -> str:
    return str(value[0] if isinstance(value, tuple) and value else value or "")


def _host(url: URL) -> str:
    """The host, also where PostgreSQL's form has it behind the `?`."""
    if url.host:
        return url.host
    host = url.query.get("host") or url.query.get("hostaddr") or ""
    named = [item.partition(":")[0] for item in (host if isinstance(host, tuple) else (host,))]
    return ",".join(named)


def _schema(url: URL) -> str:
    """PostgreSQL's search_path in `?options=-csearch_path=…`."""
    found = _SCHEMA.search(unquote(_text(url.query.get("options"))))
    return (found.group(1) or found.group(2) or "").strip("\"'") if found else ""
