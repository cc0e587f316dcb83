"""The artifact store of a compose file as settings. Pure."""

import posixpath
from urllib.parse import urlsplit

from .. import urls
from .file import Port, Service
from .notes import Fact, Notes, is_true, port_of
from .parts import Parts
from .rules import Role
from .shell import is_unknown
from .sources import FileSource, StoreSource
from .where import Finder, Place, Whose

STORE_PORT = 9000
CONSOLE_PORT = 9001
_REGION = "us-east-1"
_SERVED_FOLDER = "mlartifacts"
"""Where a server keeps artifacts that is told nothing, below the folder that it starts in."""


class ArtifactsMapper:
    """Makes settings of what the file says of the artifact store.

    Args:
        notes: where they go.
        parts: the services.
        finder: tells whose server a host is.
        in_place: whether a store is used where it is although it is in doubt whose it is.
    """

    def __init__(self, notes: Notes, parts: Parts, finder: Finder, *, in_place: bool) -> None:
        self._notes, self._parts, self._finder = notes, parts, finder
        self._in_place = in_place
        self.source: StoreSource | None = None
        self.file_source: FileSource | None = None

    def service(self) -> Service | None:
        """The store's service, if the file has it."""
        return self._place().service

    def _place(self) -> Place:
        """Whose store it is."""
        endpoint = self._notes.facts.get("endpoint")
        stores = self._parts.of(Role.STORE, dormant=True)
        if endpoint is None:
            # Nothing names it: the clients do, or the image.
            store = next((s for s in stores if self._parts.of(Role.STORE)), None)
            if store is None:
                return Place(Whose.ELSEWHERE, None, "", 443)
            return Place(Whose.FILE, store, store.name, 0)
        if is_unknown(endpoint.value):
            return Place(
                Whose.DOUBT, None, "", 0, "its address is computed by a script that is not run"
            )
        try:
            parts = urlsplit(endpoint.value)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            return Place(Whose.DOUBT, None, "", 0, "its address cannot be read")
        place = self._finder.find(host, port or (443 if parts.scheme == "https" else 80), stores)
        proxied = place.service and self._parts.roles[place.service.name] is Role.PROXY
        if proxied and len(stores) == 1:
            return Place(Whose.FILE, stores[0], stores[0].name, self._port(stores[0]))
        return place

    def _port(self, service: Service) -> int:
        given = port_of(self._notes.value("store_port"))
        return given or next((p.target for p in service.ports), STORE_PORT)

    def map(self) -> None:
        """Write the section `artifacts`."""
        notes = self._notes
        root, destination = notes.facts.get("artifact_root"), notes.facts.get("destination")
        served = is_true(notes.value("serve")) if "serve" in notes.facts else True
        by_server = root is None or root.value.startswith(("mlflow-artifacts:", "http:", "https:"))
        chosen = destination if by_server and destination else root if not by_server else None
        proxied = by_server and served
        if chosen is None:
            self._unnamed(served=served)
            return
        if is_unknown(chosen.value):
            notes.find(
                chosen.place,
                "",
                "is computed by a script that is not run",
                "set mlflow:artifacts.* yourself",
            )
            return
        scheme = urlsplit(chosen.value).scheme
        if scheme == "s3":
            self._s3(chosen, proxied=proxied)
        elif scheme in ("gs", "wasbs", "abfss"):
            notes.put(chosen.place, "artifacts.store", "gcs" if scheme == "gs" else "azure")
            notes.put(chosen.place, "artifacts.uri", chosen.value)
            self._mode(chosen.place, proxied=proxied)
        elif scheme in ("", "file"):
            self._folder(chosen)
        else:
            notes.find(
                chosen.place,
                notes.shown("", chosen.value),
                f"no stack keeps artifacts at '{scheme}://'",
                "set mlflow:artifacts.* yourself",
            )

    def _unnamed(self, *, served: bool) -> None:
        server = self._parts.server
        place = server.name if server else "services"
        self._notes.find(
            place,
            "",
            "no artifact store is named, so artifacts were kept in the container",
            "the stack gets a store of its own",
        )
        if server and served and self._parts.program(server).arguments is not None:
            self.file_source = FileSource(server.name, _SERVED_FOLDER)

    def _folder(self, chosen: Fact) -> None:
        self._notes.put(chosen.place, "artifacts.store", "folder")
        path = urlsplit(chosen.value).path if chosen.value.startswith("file:") else chosen.value
        path = posixpath.normpath(path or ".")
        server = self._parts.server
        if server:
            roots = (chosen.value.rstrip("/"), path, f"file://{path}")
            self.file_source = FileSource(server.name, path, tuple(dict.fromkeys(roots)))

    def _mode(self, place: str, *, proxied: bool) -> None:
        self._notes.put(place, "artifacts.mode", "proxied" if proxied else "direct")

    def _s3(self, chosen: Fact, *, proxied: bool) -> None:
        notes = self._notes
        parts = urlsplit(chosen.value)
        endpoint = notes.facts.get("endpoint")
        place = self._place()
        prefix = parts.path.strip("/")
        doubtful = place.whose is Whose.DOUBT
        at = endpoint.place if endpoint else chosen.place
        if doubtful and not self._in_place:
            notes.find(
                at,
                notes.shown("", place.host),
                f"may be the old deployment's own store, since {place.why}; the stack gets one of its own, and the old "
                "one stays as it is",
                "--with-data copies it; if it is to be used where it is: --in-place",
            )
        if place.whose is Whose.ELSEWHERE or (doubtful and self._in_place):
            self._existing(chosen, endpoint, place, prefix)
            notes.put(chosen.place, "artifacts.bucket", parts.netloc)
            self._mode(chosen.place, proxied=proxied)
            return
        if endpoint is None and place.service:
            notes.find(
                f"{place.service.name}.image",
                place.service.image,
                "is taken for the store of the server, which names none",
                "with AWS's own S3: set mlflow:artifacts.store to s3",
            )
        self._own(chosen, place, proxied=proxied)
        self.source = StoreSource(
            service=place.service.name if place.service else "",
            endpoint_url=self._url(place, endpoint),
            published=place.service.published(self._inside(place)) if place.service else None,
            region=notes.value("region") or _REGION,
            uri=f"s3://{parts.netloc}/{prefix}".rstrip("/"),
            access_key=notes.value("access_key") or notes.value("root_key"),
            secret_key=notes.value("secret_key") or notes.value("root_secret"),
        )

    def _inside(self, place: Place) -> int:
        return place.port or port_of(self._notes.value("store_port")) or STORE_PORT

    def _url(self, place: Place, endpoint: Fact | None) -> str:
        """The store's address inside of its own network."""
        scheme = urlsplit(endpoint.value).scheme if endpoint else "http"
        host = place.service.name if place.service else place.host
        if place.service and place.host in place.service.names:
            host = place.host
        return f"{scheme or 'http'}://{urls.url_host(host)}:{self._inside(place)}"

    def _own(self, chosen: Fact, place: Place, *, proxied: bool) -> None:
        notes, service = self._notes, place.service
        endpoint = notes.facts.get("endpoint")
        at = endpoint.place if endpoint else service.name if service else chosen.place
        kind = f"{service.image} {service.context} {service.name}" if service else ""
        minio = "minio" in kind
        notes.put(at, "artifacts.store", "minio" if minio else "versitygw")
        if service and minio:
            notes.tell(
                f"{service.name}.image",
                service.image,
                "MinIO is no longer maintained",
                "versitygw does the same without a console: "
                "pulumi config set --path mlflow:artifacts.store versitygw -s STACK",
            )
        elif service and "versitygw" not in kind:
            notes.find(
                f"{service.name}.image",
                service.image,
                "a stack does not run this store; it runs versitygw",
                "clients see no difference; there is no console",
            )
        notes.put(chosen.place, "artifacts.bucket", urlsplit(chosen.value).netloc)
        self._mode(chosen.place, proxied=proxied)
        if service:
            self._ports(
                service, service.published(self._inside(place)), minio=minio, proxied=proxied
            )

    def _existing(self, chosen: Fact, endpoint: Fact | None, place: Place, prefix: str) -> None:
        notes = self._notes
        notes.put(chosen.place, "artifacts.store", "s3")
        if endpoint:
            parts = urlsplit(endpoint.value)
            host = f"[{place.host}]" if ":" in place.host else place.host
            netloc = f"{host}:{parts.port}" if parts.port else host
            url = parts._replace(netloc=netloc).geturl().rstrip("/")
            notes.put(endpoint.place, "artifacts.existing.endpoint_url", url)
        region = notes.facts.get("region")
        notes.put(
            region.place if region else chosen.place,
            "artifacts.existing.region",
            region.value if region else _REGION,
        )
        if region is None and endpoint is None:
            notes.find(
                chosen.place,
                _REGION,
                "is guessed to be the bucket's region",
                "set mlflow:artifacts.existing.region",
            )
        if prefix:
            notes.put(chosen.place, "artifacts.existing.prefix", prefix)
        notes.secret("artifacts_access_key", "access_key")
        notes.secret("artifacts_secret_key", "secret_key")

    def _ports(self, service: Service, api: Port | None, *, minio: bool, proxied: bool) -> None:
        notes = self._notes
        place = f"{service.name}.ports"
        console = service.published(port_of(notes.value("console_port")) or CONSOLE_PORT)
        if minio and console and console.published:
            notes.put(place, "artifacts.console_port", console.published)
        elif console:
            notes.find(place, str(console.published), "the store of the stack has no console")
        if not proxied:
            if api and api.published:
                notes.put(place, "artifacts.port", api.published)
            else:
                notes.find(
                    place,
                    "",
                    "clients wrote to a store that the file does not publish",
                    "the stack publishes it on mlflow:artifacts.port",
                )
            notes.simple("public_url", "artifacts.public_url", str)
        elif api:
            notes.find(
                place,
                str(api.published),
                "in mode proxied nobody but the server needs the store",
                "to publish it: pulumi config set --path mlflow:artifacts.mode direct -s STACK",
            )
