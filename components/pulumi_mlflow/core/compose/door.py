"""What stands before the old server: nginx, Caddy, or a proxy that is steered by labels. Pure."""

import posixpath
import re
from collections.abc import Iterator

from .file import Read, Service
from .parts import Parts
from .program import mounted_from
from .rules import Role

_NGINX = ("nginx.conf", "default.conf", "mlflow.conf", "default.conf.template")
_BASIC_AUTH = re.compile(
    r"traefik\.http\.middlewares\.([^.]+)\.basicauth\.(users|usersfile)$", re.IGNORECASE
)
_CADDY_USER = re.compile(r"caddy(_\d+)?\.(?:[\w/*]+\.)?basic_?auth\.(\S+)$")
_FORWARD = re.compile(r"\.forwardauth\.address$", re.IGNORECASE)
_SITE = re.compile(r"^([^\s#{(][^{}\n]*?)\s*\{", re.MULTILINE)
_CADDY_AUTH = re.compile(r"^\s*basic_?auth\b[^{\n]*\{([^}]*)\}", re.MULTILINE)


class Door:
    """A reverse proxy, as far as its configuration can be read; or the labels that steer one.

    Args:
        read: reads files that the compose file names.
        parts: the services.
    """

    def __init__(self, read: Read, parts: Parts) -> None:
        self._read = read
        self.service = parts.first(Role.PROXY)
        self._files = dict(self._candidates(self.service)) if self.service else {}
        self.texts = [
            text
            for path in self._files
            if path.endswith((".conf", ".template")) and (text := read(path))
        ]
        self.caddy = [
            text for path in self._files if "caddyfile" in path.lower() and (text := read(path))
        ]
        self._labelled = [s for s in parts.file.services if s.labels]
        self.place = ""
        """Where the login stands."""
        self.certificate = self._file_of("ssl_certificate")
        self.key = self._file_of("ssl_certificate_key")
        self.users = self._users()
        self.hosts, self.hosts_place = self._hosts(parts.server)
        self.forward = next(
            (
                f"{s.name}.labels"
                for s in self._labelled
                for key in s.labels
                if _FORWARD.search(key)
            ),
            "",
        )
        """A label by which a service beside decides who may in."""

    def _candidates(self, service: Service) -> Iterator[tuple[str, str]]:
        """Files of the machine that may be in the container: path here → path there."""
        for mount in service.mounts:
            if mount.is_path:
                yield mount.source, mount.target
                for name in (*_NGINX, "Caddyfile"):
                    yield posixpath.join(mount.source, name), posixpath.join(mount.target, name)
        if service.context:
            path = posixpath.join(
                service.context, str(service.build.get("dockerfile") or "Dockerfile")
            )
            for sources, target in re.findall(
                r"^\s*(?:COPY|ADD)\s+(.+)\s+(\S+)\s*$",
                self._read(path) or "",
                re.MULTILINE | re.IGNORECASE,
            ):
                for source in (s for s in sources.split() if not s.startswith("--")):
                    name = posixpath.basename(source)
                    inside = posixpath.join(target, name) if target.endswith("/") else target
                    yield posixpath.join(service.context, source), inside

    def _directives(self, name: str) -> list[str]:
        return [
            found.strip().strip("\"'")
            for text in self.texts
            for found in re.findall(rf"^\s*{name}\s+([^;]+);", text, re.MULTILINE)
        ]

    def _file_of(self, directive: str) -> str:
        """Path on the machine of the file that a directive of nginx names."""
        for there in self._directives(directive):
            here = mounted_from(self.service.mounts, there) if self.service else ""
            here = here or next((h for h, inside in self._files.items() if inside == there), "")
            if here:
                return here
        return ""

    def _hosts(self, server: Service | None) -> tuple[list[str], str]:
        """Public names of the server, and where they stand."""
        if server and (routes := server.routes()):
            return routes, f"{server.name}.labels"
        name = self.service.name if self.service else ""
        of_nginx = [name for names in self._directives("server_name") for name in names.split()]
        found = _public(of_nginx)
        if found:
            return found, f"{name}.volumes server_name"
        sites = [
            part
            for text in self.caddy
            for site in _SITE.findall(text)
            for part in re.split(r"[,\s]+", site)
        ]
        found = _public(re.sub(r"^\w+://|:\d+$|/.*$", "", site) for site in sites)
        if found:
            return found, f"{name}.volumes Caddyfile"
        if self.service and (routes := self.service.routes()):
            return routes, f"{name}.labels"
        return [], ""

    def _users(self) -> list[str] | None:
        """Who may log in; None where nobody is asked."""
        for users in (self._users_of_labels(), self._users_of_nginx(), self._users_of_caddy()):
            if users is not None:
                return users
        return None

    def _users_of_nginx(self) -> list[str] | None:
        asked = [v for v in self._directives("auth_basic") if v != "off"]
        mounted = next((here for here in self._files if "htpasswd" in here), "")
        if not asked and not mounted:
            return None
        self.place = f"{self.service.name}.volumes" if self.service else ""
        return _htpasswd(self._read(self._file_of("auth_basic_user_file") or mounted) or "")

    def _users_of_caddy(self) -> list[str] | None:
        found = [body for text in self.caddy for body in _CADDY_AUTH.findall(text)]
        if not found:
            return None
        self.place = f"{self.service.name}.volumes" if self.service else ""
        lines = (line.split() for body in found for line in body.splitlines())
        return list(
            dict.fromkeys(words[0] for words in lines if words and not words[0].startswith("#"))
        )

    def _users_of_labels(self) -> list[str] | None:
        """Of Traefik's middleware, or of caddy-docker-proxy."""
        found: list[str] | None = None
        for service in self._labelled:
            for key, value in service.labels.items():
                names: list[str] | None = None
                if match := _BASIC_AUTH.match(key):
                    if not self._is_used(match.group(1)):
                        continue
                    names = (
                        _htpasswd("\n".join(value.split(",")))
                        if match.group(2).lower() == "users"
                        else _htpasswd(self._read(self._inside(value)) or "")
                    )
                elif match := _CADDY_USER.match(key):
                    names = [match.group(2)]
                if names is not None:
                    found = [*(found or []), *names]
                    self.place = f"{service.name}.labels"
        return list(dict.fromkeys(found)) if found is not None else None

    def _inside(self, path: str) -> str:
        return (mounted_from(self.service.mounts, path) if self.service else "") or path

    def _is_used(self, middleware: str) -> bool:
        """Whether any router has a middleware; a dashboard's own login is none of the server's."""
        used = [
            name.partition("@")[0].strip()
            for service in self._labelled
            for key, value in service.labels.items()
            if key.endswith(".middlewares")
            and ".routers." in key
            and "api@internal"
            not in str(service.labels.get(key.replace(".middlewares", ".service")))
            for name in value.split(",")
        ]
        chained = [
            name.partition("@")[0].strip()
            for service in self._labelled
            for key, value in service.labels.items()
            if key.lower().endswith(".chain.middlewares")
            for name in value.split(",")
        ]
        return middleware in {*used, *chained}


def _public(names: Iterator[str] | list[str]) -> list[str]:
    """Those of names that others than this machine know."""
    found = [
        name
        for name in names
        if "." in name and not name.startswith(("_", "*", "~", ".", ":")) and not name[-1].isdigit()
    ]
    return list(dict.fromkeys(found))


def _htpasswd(text: str) -> list[str]:
    """Names of users in a password file's lines."""
    lines = (line.strip() for line in text.splitlines())
    return [line.partition(":")[0] for line in lines if ":" in line and not line.startswith("#")]
