"""What a compose file of MLflow means as settings of a stack: the table of compose_rules.py, put to work. Pure.

The settings may still be ones that a stack refuses, such as a bucket with an underscore: the caller checks them.
"""

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from . import urls
from .compose_file import (
    ComposeFile,
    Mount,
    Port,
    Read,
    Service,
    dockerfile_words,
    mlflow_arguments,
)
from .compose_rules import RULES, Fate, Role, Rule

HOST_OF_CONTAINERS = "host.docker.internal"
HIDDEN = "(not shown)"

_PORTS = {"postgresql": 5432, "mysql": 3306, "mariadb": 3306}
_ENGINES = {
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "mysql": "mysql",
    "mariadb": "mariadb",
}
_SERVER_PORT = 5000
_STORE_PORT = 9000
_CONSOLE_PORT = 9001
_HTTPS = 443

_SECRET_NAME = re.compile(
    r"PASSW|PASSPHRASE|SECRET|TOKEN|CREDENTIAL|ACCESS_KEY|API_KEY|PRIVATE|ROOT_USER|_PW$|_PASS$",
    re.IGNORECASE,
)
_USERINFO = re.compile(r"://[^/\s]*@")
_LEAST_SECRET = 4
"""Characters from which on a secret is looked for inside of other values."""
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


_SWITCHES = {
    "--serve-artifacts",
    "--no-serve-artifacts",
    "--artifacts-only",
    "--dev",
    "--disable-security-middleware",
    "--enable-workspaces",
}

_KEYWORDS: tuple[tuple[Role, str], ...] = (
    (Role.JOB, r"minio/mc|/mc$|aws-cli|create-?bucket"),
    (Role.OIDC, "oauth2-proxy"),
    (Role.POOLER, "pgbouncer"),
    (Role.STORE, r"minio|rustfs|versitygw|garage|seaweedfs|localstack|^s3$"),
    (Role.DATABASE, r"postgres|mysql|mariadb|percona|timescale|^db$"),
    (Role.PROXY, "nginx|caddy|traefik|haproxy|httpd"),
    (Role.TRACKING, "mlflow|tracking"),
)
"""What tells a service's role, in its image's name first and then in its own; the order decides."""


@dataclass(frozen=True)
class Finding:
    """Something of the file that is not in the settings, or not as it was."""

    place: str
    """`service.key`."""
    value: str
    """As it stands in the file; `HIDDEN` where it may be a secret, empty where there is none to show."""
    why: str
    todo: str = ""

    def __str__(self) -> str:
        value = f" = {self.value}" if self.value else ""
        todo = f"; {self.todo}" if self.todo else ""
        return f"{self.place}{value}: {self.why}{todo}"


@dataclass(frozen=True)
class DatabaseSource:
    """The old database: what it takes to copy it."""

    service: str
    """Its service in the file; empty for one elsewhere."""
    engine: str
    host: str
    port: int
    published: Port | None
    name: str
    username: str
    password: str = field(repr=False)


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
class Mapped:
    """What a compose file becomes."""

    settings: dict[str, Any]
    """Key without `mlflow:` → value; no secret is in it."""
    taken: tuple[tuple[str, str], ...]
    """Place in the file, and the key that it became."""
    findings: tuple[Finding, ...]
    secrets: tuple[str, ...]
    """Top-level keys that the user must set with `pulumi config set --secret`."""
    database: DatabaseSource | None
    """None where the stack uses it where it is, or it cannot be copied."""
    store: StoreSource | None
    """None where the stack uses it where it is, or it cannot be copied."""


class _Fact(NamedTuple):
    place: str
    value: str


def map_file(file: ComposeFile, read: Read, folder: str) -> Mapped:
    """Make settings of a compose file.

    Args:
        file: the file.
        read: reads files that it names, such as Dockerfiles and nginx's configuration.
        folder: absolute path of the file's own folder, for paths that the settings hold.
    """
    return _Mapper(file, read, folder).run()


def _role(service: Service, arguments: tuple[str, ...] | None) -> Role:
    if arguments is not None:
        return Role.TRACKING
    image = service.image.split("@")[0].rpartition(":")[0] or service.image.split("@")[0]
    for text in (image, service.build, service.name, *service.names):
        for role, words in _KEYWORDS:
            if text and re.search(words, text.lower()):
                return role
    return Role.OTHER


def _advice(rule: Rule) -> str:
    """A rule's note as the end of a sentence."""
    return rule.note[:1].lower() + rule.note[1:].rstrip(".")


def _number(text: str) -> Any:
    """A whole number where it is one; else the text, for the check of the settings to refuse."""
    return int(text) if text.isdigit() else text


def _port_of(text: str) -> int | None:
    """The port at the end of `:9001` or `0.0.0.0:9001`."""
    last = text.strip("'\"").rpartition(":")[2]
    return int(last) if last.isdigit() else None


def _megabytes(text: str) -> Any:
    found = re.fullmatch(r"([\d.]+)\s*([bkmgt]?)(?:i?b)?", text.strip().lower())
    if not found:
        return text
    return int(float(found.group(1)) * _UNITS[found.group(2)]) >> 20


def _names(text: str) -> list[str]:
    return [part for part in re.split(r"[,\s]+", text) if part and part != "*"]


def _is_true(text: str) -> bool:
    return text.strip().lower() in ("", "1", "true", "yes", "on")


class _Mapper:
    def __init__(self, file: ComposeFile, read: Read, folder: str) -> None:
        self._file, self._read, self._folder = file, read, folder
        self._used = set(file.used)
        self._arguments = {service.name: self._arguments_of(service) for service in file.services}
        self._roles = {s.name: _role(s, self._arguments[s.name]) for s in file.services}
        self._rules = {(rule.role, name): rule for rule in RULES for name in rule.names}
        self._known = {name for rule in RULES for name in rule.names}
        self._facts: dict[str, _Fact] = {}
        self._elsewhere: dict[str, _Fact] = {}
        """Facts about the database that only the server's variables tell."""
        self._settings: dict[str, Any] = {"runtime": "docker"}
        self._taken: list[tuple[str, str]] = []
        self._findings: list[Finding] = []
        self._secrets: list[str] = []
        self._hidden: set[str] = set()
        self._database: DatabaseSource | None = None
        self._store: StoreSource | None = None

    def run(self) -> Mapped:
        self._hide()
        for name in self._file.unset:
            self._find(
                f"${{{name}}}", "", "has no value: neither the env file nor the shell sets it"
            )
        for place in self._file.missing:
            self._find(place, "", "is not there, so its variables are unknown")
        for place in self._file.ignored:
            self._find(
                place,
                "",
                "other files are not followed",
                "give the output of `docker compose config`",
            )
        for name, profiles in self._file.inactive.items():
            self._find(
                name,
                "",
                f"only runs with profile {' or '.join(profiles)}",
                f"if you use it: --profile {profiles[0]}",
            )
        for service in self._file.services:
            self._service(service)
        for fact in ("db_name", "db_user", "db_password"):
            if fact in self._elsewhere:
                self._facts.setdefault(fact, self._elsewhere[fact])
        server = self._first(Role.TRACKING)
        if server is None:
            self._find("services", "", "no service runs `mlflow server`", "is it the right file?")
        self._backend()
        self._artifacts(server)
        self._tracking()
        self._access(server)
        self._network()
        return Mapped(
            settings=self._settings,
            taken=tuple(self._taken),
            findings=tuple(dict.fromkeys(self._findings)),
            secrets=tuple(self._secrets),
            database=self._database,
            store=self._store,
        )

    # What stands in the file

    def _arguments_of(self, service: Service) -> tuple[str, ...] | None:
        found = mlflow_arguments(service.words, service.environment, self._used)
        if found is None and service.build and not service.words:
            text = self._read(posixpath.join(service.build, service.dockerfile))
            if text is not None:
                return mlflow_arguments(dockerfile_words(text), service.environment, self._used)
        return found

    def _hide(self) -> None:
        """A secret's value is hidden wherever it stands; unless it is as public as a name of a user that it equals."""
        pairs = [pair for s in self._file.services for pair in s.environment.items() if pair[1]]
        secret = {value for name, value in pairs if _SECRET_NAME.search(name)}
        self._hidden = secret - {value for name, value in pairs if not _SECRET_NAME.search(name)}

    def _first(self, role: Role) -> Service | None:
        found = [s for s in self._file.services if self._roles[s.name] is role]
        return found[0] if found else None

    def _service(self, service: Service) -> None:
        role = self._roles[service.name]
        if role is Role.OTHER:
            self._find(
                service.name,
                service.image,
                "is no part of a stack",
                "keep it in a compose file of its own; it reaches the server at the front door",
            )
            return
        if role in (Role.TRACKING, Role.DATABASE) and self._first(role) is not service:
            self._find(
                service.name,
                service.image,
                f"a stack has one {role.value}",
                "make a second stack for it",
            )
            return
        if role is Role.JOB:
            return
        if role is Role.TRACKING and self._arguments[service.name] is None:
            self._find(
                f"{service.name}.command",
                "",
                "starts the server by a script, which is not read",
                "what it gives `mlflow server` is only known as far as variables tell",
            )
        self._keys(service, role)
        for name, value in service.environment.items():
            self._said(service, role, name, f"{service.name}.{name}", value)
        for name, value in self._options(service, role):
            self._said(service, role, name, f"{service.name}.command {name}", value)
        if role is Role.POOLER:
            self._put(f"{service.name}", "database.pgbouncer", True)

    def _keys(self, service: Service, role: Role) -> None:
        limits = ((service.raw.get("deploy") or {}).get("resources") or {}).get("limits") or {}
        deploy = service.raw.get("deploy") or {}
        nested = {
            "deploy.resources.limits.memory": limits.get("memory"),
            "deploy.resources.limits.cpus": limits.get("cpus"),
            "deploy.replicas": deploy.get("replicas"),
        }
        for name, value in {**service.raw, **nested}.items():
            rule = self._rules.get((Role.ANY, name))
            place = f"{service.name}.{name}"
            if value is None:
                continue
            if rule is None:
                self._find(place, "", "is no key that a stack has a setting for")
            elif rule.fate is Fate.LOST and str(value) not in ("1", "false"):
                self._find(place, "", "not taken", _advice(rule))
            elif rule.fact == "memory" and role in (Role.TRACKING, Role.DATABASE, Role.STORE):
                section = {
                    Role.TRACKING: "tracking",
                    Role.DATABASE: "database",
                    Role.STORE: "artifacts",
                }[role]
                self._put(place, f"{section}.memory_mb", _megabytes(str(value)))
            elif rule.fact == "cpus" and role is Role.TRACKING:
                self._put(
                    place,
                    "tracking.cpus",
                    float(value) if re.fullmatch(r"[\d.]+", value) else value,
                )

    def _options(self, service: Service, role: Role) -> Iterator[tuple[str, str]]:
        """The options of a service's program: name → value, empty for a switch."""
        words: Iterable[str] = self._arguments[service.name] or ()
        if role in (Role.DATABASE, Role.STORE, Role.OIDC):
            words = [
                part for word in service.words for part in (word.split() if " " in word else [word])
            ]
        pending = ""
        for word in words:
            name, sign, value = word.partition("=")
            if pending == "-c":  # PostgreSQL's way: -c name=value
                yield name, value
                pending = ""
                continue
            if pending and name not in self._known:
                yield pending, word
                pending = ""
                continue
            if pending:
                yield pending, ""
                pending = ""
            if name.startswith("-") and (sign or name in _SWITCHES):
                yield name, value
            elif name.startswith("-"):
                pending = name
        if pending:
            yield pending, ""

    def _said(self, service: Service, role: Role, name: str, place: str, value: str) -> None:
        if role is Role.OIDC and name.startswith("--"):
            name = f"OAUTH2_PROXY_{name[2:].upper().replace('-', '_')}"
        rule = self._rules.get((role, name))
        if rule is None:
            other = self._rules.get((Role.DATABASE, name))
            if other is not None and role is Role.TRACKING:
                self._elsewhere[other.fact] = _Fact(place, value)
            if name in self._known or role in (Role.PROXY, Role.POOLER):
                return
            # What the file itself asks for has done its work, and env files are shared by services.
            helper = name in self._used or (
                name not in service.explicit and not name.startswith(("MLFLOW_", "-"))
            )
            if not helper:
                self._find(
                    place,
                    self._shown(name, value),
                    "is unknown here",
                    "see whether the stack needs it",
                )
            return
        if value == "" and not name.startswith("-"):
            return
        if rule.fate is Fate.LOST:
            self._find(place, self._shown(name, value), "not taken", _advice(rule))
            return
        if rule.fact == "serve" and name == "--no-serve-artifacts":
            value = "false"
        if name.endswith("_FILE") and rule.fate is Fate.DATA:
            value = (self._secret_file(service, value) or "").rstrip("\n")
        self._facts[rule.fact] = _Fact(place, value)

    def _secret_file(self, service: Service, path: str) -> str | None:
        """The content of a Docker secret, or of a mounted file."""
        name = path.rpartition("/")[2]
        if path.startswith("/run/secrets/") and name in self._file.secret_files:
            return self._read(self._file.secret_files[name])
        source = _source(service.mounts, path)
        return self._read(source) if source else None

    # What it becomes

    def _put(self, place: str, key: str, value: Any) -> None:
        node = self._settings
        *sections, last = key.split(".")
        for section in sections:
            node = node.setdefault(section, {})
        node[last] = value
        self._taken.append((place, key))

    def _find(self, place: str, value: str, why: str, todo: str = "") -> None:
        self._findings.append(Finding(place, value, why, todo))

    def _shown(self, name: str, value: str) -> str:
        if not value:
            return ""
        secret = _USERINFO.search(value) or any(
            hidden == value or (len(hidden) >= _LEAST_SECRET and hidden in value)
            for hidden in self._hidden
        )
        return HIDDEN if secret or _SECRET_NAME.search(name) else value

    def _secret(self, key: str, fact: str) -> None:
        place = self._facts[fact].place if fact in self._facts else key
        self._secrets.append(key)
        self._find(
            place,
            HIDDEN,
            "secrets are never written to a file",
            f"pulumi config set --secret mlflow:{key} -s STACK",
        )

    def _simple(self, fact: str, key: str, convert: Callable[[str], Any]) -> None:
        """A fact that is one setting."""
        if fact in self._facts:
            place, value = self._facts[fact]
            made = convert(value)
            if made not in ([], ""):
                self._put(place, key, made)

    def _value(self, fact: str) -> str:
        return self._facts[fact].value if fact in self._facts else ""

    def _backend(self) -> None:
        given = self._facts.get("backend_uri")
        url = _url(given.value) if given else None
        if given is None or url is None:
            if given and "://" in given.value:
                self._find(
                    given.place, HIDDEN, "is no database URI", "set mlflow:database.* yourself"
                )
            self._backend_by_service(given)
        elif url.get_backend_name() == "sqlite":
            self._put(given.place, "database.engine", "sqlite")
            self._find(
                given.place,
                self._shown("", url.database or ""),
                "the file is not taken along by --with-data",
                "copy it out of the old container; docs/from-compose.md says how it goes in",
            )
        elif url.get_backend_name() not in _ENGINES:
            why = f"no stack has the engine '{url.get_backend_name()}'"
            self._find(given.place, HIDDEN, why, "the stack gets a PostgreSQL of its own")
        else:
            self._backend_by_uri(given.place, url)
        self._simple("max_connections", "database.max_connections", _number)
        self._simple("pool_size", "database.pool_size", _number)
        self._simple("max_overflow", "database.max_overflow", _number)

    def _backend_by_uri(self, place: str, url: URL) -> None:
        engine = _ENGINES[url.get_backend_name()]
        service = self._file.serving(url.host or "")
        if service and self._roles[service.name] is Role.POOLER:
            service = self._first(Role.DATABASE)
        if engine == "mysql" and service and "mariadb" in service.image:
            engine = "mariadb"
        self._put(place, "database.engine", engine)
        if url.database:
            self._put(place, "database.name", url.database)
        if url.username:
            self._put(place, "database.username", url.username)
        port = url.port or _PORTS[engine]
        if service:
            self._database = DatabaseSource(
                service=service.name,
                engine=engine,
                host=url.host or "",
                port=port,
                published=service.published(port),
                name=url.database or "",
                username=url.username or "",
                password=str(url.password or ""),
            )
            self._published_database(service)
            return
        host = url.host or ""
        self._put(
            place, "database.existing.host", HOST_OF_CONTAINERS if urls.is_loopback(host) else host
        )
        if url.port:
            self._put(place, "database.existing.port", url.port)
        mode = str(url.query.get("sslmode", ""))
        self._put(place, "database.existing.tls_mode", mode or "require")
        if not mode:
            self._find(
                place,
                "",
                "asks for no encryption; the stack demands it",
                "a server without TLS on a network of your own: "
                "pulumi config set --path mlflow:database.existing.tls_mode disable -s STACK",
            )
        self._facts.setdefault("db_password", _Fact(place, ""))
        self._secret("database_password", "db_password")

    def _backend_by_service(self, given: _Fact | None) -> None:
        service = self._first(Role.DATABASE)
        if service is None:
            self._find(
                given.place if given else "services",
                self._shown("", given.value) if given else "",
                "names no database: MLflow kept runs in files of the container",
                "take a folder ./mlruns along with `pulumi-mlflow import-mlruns`",
            )
            return
        name = f"{service.image} {service.name}"
        engine = next(
            (e for e in ("mariadb", "mysql", "postgresql") if e[:8] in name), "postgresql"
        )
        self._put(f"{service.name}.image", "database.engine", engine)
        self._simple("db_name", "database.name", str)
        self._simple("db_user", "database.username", str)
        port = _PORTS[engine]
        self._database = DatabaseSource(
            service=service.name,
            engine=engine,
            host=service.name,
            port=port,
            published=service.published(port),
            name=self._value("db_name") or self._value("db_user"),
            username=self._value("db_user") or "postgres",
            password=self._value("db_password"),
        )
        self._published_database(service)

    def _published_database(self, service: Service) -> None:
        for port in service.ports:
            if port.published:
                self._find(
                    f"{service.name}.ports",
                    str(port.published),
                    "a stack does not publish its database",
                    "queries by hand: make shell ROLE=database",
                )

    def _artifacts(self, server: Service | None) -> None:
        root, destination = self._facts.get("artifact_root"), self._facts.get("destination")
        served = _is_true(self._value("serve")) if "serve" in self._facts else True
        by_server = root is None or root.value.startswith(("mlflow-artifacts:", "http:", "https:"))
        chosen = destination if by_server and destination else root if not by_server else None
        proxied = by_server and served
        if chosen is None:
            place = server.name if server else "services"
            self._find(
                place,
                "",
                "no artifact store is named, so artifacts were kept in the container",
                "the stack gets a store of its own",
            )
            return
        scheme = urlsplit(chosen.value).scheme
        if scheme == "s3":
            self._s3(chosen, proxied=proxied)
        elif scheme in ("gs", "wasbs", "abfss"):
            self._put(chosen.place, "artifacts.store", "gcs" if scheme == "gs" else "azure")
            self._put(chosen.place, "artifacts.uri", chosen.value)
            self._mode(chosen.place, proxied=proxied)
        elif scheme in ("", "file"):
            self._put(chosen.place, "artifacts.store", "folder")
            self._find(
                chosen.place,
                chosen.value,
                "the folder's files are not taken along by --with-data",
                "the stack's folder is a volume: see `make dump` and `make restore`",
            )
        else:
            self._find(
                chosen.place,
                self._shown("", chosen.value),
                f"no stack keeps artifacts at '{scheme}://'",
                "set mlflow:artifacts.* yourself",
            )

    def _mode(self, place: str, *, proxied: bool) -> None:
        self._put(place, "artifacts.mode", "proxied" if proxied else "direct")

    def _s3(self, chosen: _Fact, *, proxied: bool) -> None:
        parts = urlsplit(chosen.value)
        endpoint = self._facts.get("endpoint")
        host = urlsplit(endpoint.value).hostname or "" if endpoint else ""
        service = self._file.serving(host) if endpoint else self._first(Role.STORE)
        keys = {
            "access_key": self._value("access_key") or self._value("root_key"),
            "secret_key": self._value("secret_key") or self._value("root_secret"),
        }
        if service is None:
            self._existing_store(chosen, endpoint, parts.path.strip("/"))
            self._put(chosen.place, "artifacts.bucket", parts.netloc)
            self._mode(chosen.place, proxied=proxied)
            return
        minio = "minio" in f"{service.image} {service.build} {service.name}"
        place = endpoint.place if endpoint else service.name
        self._put(place, "artifacts.store", "minio" if minio else "versitygw")
        if not minio:
            self._find(
                f"{service.name}.image",
                service.image,
                "a stack does not run this store; it runs versitygw",
                "clients see no difference; there is no console",
            )
        else:
            self._find(
                f"{service.name}.image",
                service.image,
                "MinIO is no longer maintained",
                "versitygw does the same without a console: "
                "pulumi config set --path mlflow:artifacts.store versitygw -s STACK",
            )
        self._put(chosen.place, "artifacts.bucket", parts.netloc)
        self._mode(chosen.place, proxied=proxied)
        inside = urlsplit(endpoint.value).port if endpoint else None
        inside = inside or _port_of(self._value("store_port")) or _STORE_PORT
        published = service.published(inside)
        self._store_ports(service, published, minio=minio, proxied=proxied)
        self._store = StoreSource(
            service=service.name,
            endpoint_url=endpoint.value if endpoint else f"http://{service.name}:{inside}",
            published=published,
            region=self._value("region") or "us-east-1",
            uri=f"s3://{parts.netloc}/{parts.path.strip('/')}".rstrip("/"),
            **keys,
        )

    def _existing_store(self, chosen: _Fact, endpoint: _Fact | None, prefix: str) -> None:
        self._put(chosen.place, "artifacts.store", "s3")
        if endpoint:
            parts = urlsplit(endpoint.value)
            if urls.is_loopback(parts.hostname or ""):
                parts = parts._replace(
                    netloc=parts.netloc.replace(parts.hostname or "", HOST_OF_CONTAINERS)
                )
            self._put(endpoint.place, "artifacts.existing.endpoint_url", parts.geturl().rstrip("/"))
        self._put(
            self._facts["region"].place if "region" in self._facts else chosen.place,
            "artifacts.existing.region",
            self._value("region") or "us-east-1",
        )
        if prefix:
            self._put(chosen.place, "artifacts.existing.prefix", prefix)
        self._secret("artifacts_access_key", "access_key")
        self._secret("artifacts_secret_key", "secret_key")

    def _store_ports(
        self, service: Service, api: Port | None, *, minio: bool, proxied: bool
    ) -> None:
        place = f"{service.name}.ports"
        console = service.published(_port_of(self._value("console_port")) or _CONSOLE_PORT)
        if minio and console and console.published:
            self._put(place, "artifacts.console_port", console.published)
        elif console:
            self._find(place, str(console.published), "the store of the stack has no console")
        if not proxied:
            if api and api.published:
                self._put(place, "artifacts.port", api.published)
            else:
                self._find(
                    place,
                    "",
                    "clients wrote to a store that the file does not publish",
                    "the stack publishes it on mlflow:artifacts.port",
                )
            self._simple("public_url", "artifacts.public_url", str)
        elif api:
            self._find(
                place,
                str(api.published),
                "in mode proxied nobody but the server needs the store",
                "to publish it: pulumi config set --path mlflow:artifacts.mode direct -s STACK",
            )

    def _tracking(self) -> None:
        self._simple("workers", "tracking.workers", _number)
        given = self._facts.get("allowed_hosts")
        if given and "*" in given.value.split(","):
            self._find(
                given.place,
                given.value,
                "'*' would be every host",
                "name them in mlflow:tracking.allowed_hosts",
            )
        self._simple(
            "allowed_hosts",
            "tracking.allowed_hosts",
            lambda text: list(
                dict.fromkeys(re.sub(r":[\d*]+$", "", name) for name in _names(text))
            ),
        )
        self._simple("multipart", "artifacts.multipart", _is_true)

    def _access(self, server: Service | None) -> None:
        proxy = self._first(Role.PROXY)
        door = _Door(self._read, proxy) if proxy else None
        if self._first(Role.OIDC) is not None:
            self._oidc()
        elif "app" in self._facts:
            self._put(self._facts["app"].place, "access.auth", "mlflow")
        elif door and door.users is not None:
            self._put(f"{door.service.name}.volumes", "access.auth", "basic")
            if door.users:
                self._put(f"{door.service.name}.volumes", "access.username", door.users[0])
            if door.users[1:]:
                self._put(f"{door.service.name}.volumes", "access.users", door.users[1:])
            self._find(
                f"{door.service.name}.volumes",
                "htpasswd",
                "passwords are there as hashes and cannot be taken",
                "every user gets a new one",
            )
        else:
            self._put("services", "access.auth", "basic")
            self._find(
                "services",
                "",
                "nothing in the file asks for a login; the stack does",
                "on loopback alone it can be left out: "
                "pulumi config set --path mlflow:access.auth none -s STACK",
            )
        if door and not door.texts:
            self._find(
                door.service.name,
                door.service.image,
                "its own configuration is not read",
                "what it does beside passing requests on is not in the settings",
            )
        self._front_port(server, door)

    def _front_port(self, server: Service | None, door: "_Door | None") -> None:
        front = next(
            (s for s in (self._first(Role.PROXY), self._first(Role.OIDC), server) if s and s.ports),
            None,
        )
        if front is None:
            self._find(
                "services",
                "",
                "no port is published",
                "the stack publishes mlflow:access.port on loopback",
            )
            return
        inside = _port_of(self._value("port")) or _SERVER_PORT
        public = [port for port in front.ports if port.published]
        wanted = (inside, _HTTPS) if front is server else (_HTTPS,)
        port = next((p for p in public if p.target in wanted), public[0] if public else None)
        if port is None or port.published is None:
            return
        place = f"{front.name}.ports"
        self._put(place, "access.port", port.published)
        for other in public:
            if other != port:
                self._find(place, str(other.published), "the stack's front door is one port")
        hosts = door.hosts if door else []
        if hosts:
            self._put(f"{front.name}.volumes server_name", "access.hosts", hosts)
        secured = self._certificate(front, door)
        if port.address and urls.is_loopback(port.address):
            return
        if hosts and secured:
            self._put(place, "access.bind", port.address or "0.0.0.0")  # noqa: S104 - as it was, with login and TLS
            return
        self._find(
            place,
            f"{port.address or '0.0.0.0'}:{port.published}",  # noqa: S104 - only told
            "was open to other machines, which takes login, TLS and a host name; the stack publishes it on loopback",
            "set mlflow:access.tls, mlflow:access.hosts and mlflow:access.bind, see docs/configuration.md",
        )

    def _certificate(self, front: Service, door: "_Door | None") -> bool:
        certificate, key = (door.certificate, door.key) if door else ("", "")
        if not (certificate and key):
            return False
        place = f"{front.name}.volumes"
        self._put(place, "access.tls", "files")
        self._put(
            place,
            "access.tls_certificate",
            posixpath.normpath(posixpath.join(self._folder, certificate)),
        )
        self._put(place, "access.tls_key", posixpath.normpath(posixpath.join(self._folder, key)))
        return True

    def _oidc(self) -> None:
        place = self._facts["issuer"].place if "issuer" in self._facts else "services"
        self._put(place, "access.auth", "oidc-mlflow" if "app" in self._facts else "oidc")
        self._simple("issuer", "access.oidc.issuer", str)
        self._simple("client_id", "access.oidc.client_id", str)
        self._simple("groups_claim", "access.oidc.groups_claim", str)
        self._simple("audiences", "access.oidc.audiences", _names)
        self._simple("allowed_groups", "access.oidc.allowed_groups", _names)
        self._simple("email_domains", "access.oidc.email_domains", _names)
        self._simple(
            "scopes",
            "access.oidc.scopes",
            lambda text: [s for s in _names(text) if s not in ("openid", "email", "profile")],
        )
        self._secret("oidc_client_secret", "client_secret")

    def _network(self) -> None:
        found = [
            (f"{service.name}.networks", self._file.networks[name])
            for role in (Role.TRACKING, Role.PROXY, Role.OIDC)
            for service in self._file.services
            if self._roles[service.name] is role
            for name in service.networks or ("default",)
            if name in self._file.networks
        ]
        if found:
            self._put(found[0][0], "network.existing", found[0][1])
        for place, name in found:
            if name != found[0][1]:
                self._find(
                    place,
                    name,
                    "a stack joins one existing network",
                    "connect the front door to it yourself",
                )


def _url(text: str) -> URL | None:
    try:
        # SQLAlchemy 1.3 and before took this name too.
        return make_url(re.sub(r"^postgres://", "postgresql://", text)) if "://" in text else None
    except (ArgumentError, ValueError):
        return None


def _source(mounts: Iterable[Mount], path: str) -> str:
    """The path on the machine of a file in a container; empty where it is not mounted from there."""
    for mount in mounts:
        if not mount.is_path:
            continue
        if path == mount.target:
            return mount.source
        if path.startswith(mount.target.rstrip("/") + "/"):
            return posixpath.join(mount.source, path[len(mount.target.rstrip("/")) + 1 :])
    return ""


class _Door:
    """A reverse proxy, as far as its configuration is nginx's and can be read."""

    def __init__(self, read: Read, service: Service) -> None:
        self.service, self._read = service, read
        self._files = dict(self._candidates())
        self.texts = [
            text for path in self._files if path.endswith(".conf") and (text := read(path))
        ]
        self.hosts = [
            name
            for names in self._directives("server_name")
            for name in names.split()
            if "." in name and not name.startswith(("_", "*", "~")) and not name[-1].isdigit()
        ]
        self.hosts = list(dict.fromkeys(self.hosts))
        self.certificate = self._file_of("ssl_certificate")
        self.key = self._file_of("ssl_certificate_key")
        self.users = self._users()

    def _candidates(self) -> Iterator[tuple[str, str]]:
        """Files of the machine that may be in the container: path here → path there."""
        for mount in self.service.mounts:
            if mount.is_path:
                yield mount.source, mount.target
                for name in ("nginx.conf", "default.conf", "mlflow.conf"):
                    yield posixpath.join(mount.source, name), posixpath.join(mount.target, name)
        if self.service.build:
            dockerfile = (
                self._read(posixpath.join(self.service.build, self.service.dockerfile)) or ""
            )
            for sources, target in re.findall(
                r"^\s*(?:COPY|ADD)\s+(.+)\s+(\S+)\s*$", dockerfile, re.MULTILINE | re.IGNORECASE
            ):
                for source in (s for s in sources.split() if not s.startswith("--")):
                    name = posixpath.basename(source)
                    inside = posixpath.join(target, name) if target.endswith("/") else target
                    yield posixpath.join(self.service.build, source), inside

    def _directives(self, name: str) -> list[str]:
        return [
            found.strip().strip("\"'")
            for text in self.texts
            for found in re.findall(rf"^\s*{name}\s+([^;]+);", text, re.MULTILINE)
        ]

    def _file_of(self, directive: str) -> str:
        """Path on the machine of the file that a directive names."""
        for there in self._directives(directive):
            here = _source(self.service.mounts, there)
            here = here or next((h for h, inside in self._files.items() if inside == there), "")
            if here:
                return here
        return ""

    def _users(self) -> list[str] | None:
        """Who may log in; None where nobody is asked."""
        asked = [v for v in self._directives("auth_basic") if v != "off"]
        mounted = next((here for here in self._files if "htpasswd" in here), "")
        if not asked and not mounted:
            return None
        text = self._read(self._file_of("auth_basic_user_file") or mounted) or ""
        lines = (line.strip() for line in text.splitlines())
        return [
            line.partition(":")[0] for line in lines if ":" in line and not line.startswith("#")
        ]
