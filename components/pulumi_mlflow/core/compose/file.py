"""Reads compose files as `docker compose` would: short and long forms, env files, profiles. Pure.

What they mean for a stack of ours is in mapping.py. The rules are those of
https://docs.docker.com/reference/compose-file/.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .merge import Read, Tree, mount_parts
from .shell import shell_words
from .variables import ComposeFileError, read_env_file

__all__ = ["ComposeFile", "ComposeFileError", "Mount", "Port", "Read", "Service", "parse"]

_PORT_RANGE = re.compile(r"(\d+)(?:-(\d+))?")
_SECRETS = "/run/secrets"
_ROUTE = re.compile(r"Host(?:SNI)?\(([^)]*)\)")
"""Part of a Traefik rule, as it stands in labels."""


class Port(NamedTuple):
    """A port of a container."""

    address: str
    """Of the machine that publishes it; empty for every address."""
    published: int | None
    """None where the engine picks one."""
    target: int
    """Inside the container."""
    last: int | None = None
    """Where the engine takes the first free one of several: the last of them."""

    def covers(self, published: int) -> bool:
        """Whether it may be published under a port of the machine."""
        return self.published is not None and self.published <= published <= (
            self.last or self.published
        )


class Mount(NamedTuple):
    """A volume or a path of the machine, in a container."""

    source: str
    target: str

    @property
    def is_path(self) -> bool:
        """Whether the source is a file or folder of the machine rather than a named volume."""
        return self.source.startswith((".", "/", "~"))


@dataclass(frozen=True)
class Service:
    """One service, with every short form written out."""

    name: str
    image: str
    build: Mapping[str, Any]
    """How its image is built; empty where it is not."""
    entrypoint: tuple[str, ...] | None
    """None where the image's own runs."""
    command: tuple[str, ...] | None
    """None where the image's own runs."""
    environment: Mapping[str, str] = field(repr=False)
    explicit: frozenset[str]
    """Names of variables that stand in `environment:` rather than in an env file."""
    ports: tuple[Port, ...]
    networks: tuple[str, ...]
    mounts: tuple[Mount, ...]
    names: frozenset[str]
    """Names and addresses that the other services of the file reach it by."""
    links: Mapping[str, str]
    """Names that it alone reaches other services by: name → service."""
    hosts: Mapping[str, str]
    """What its /etc/hosts has: name → address."""
    labels: Mapping[str, str] = field(repr=False)
    secrets: Mapping[str, str]
    """Docker secrets: path in the container → name in the file."""
    raw: Mapping[str, Any] = field(repr=False)
    """All keys as they stand in the file, with variables filled in."""

    @property
    def words(self) -> tuple[str, ...]:
        """Entrypoint and command, as far as the file has them."""
        return (*(self.entrypoint or ()), *(self.command or ()))

    @property
    def context(self) -> str:
        """Folder that its image is built from; empty for none."""
        return str(self.build.get("context") or "")

    @property
    def network_mode(self) -> str:
        """`host`, `service:name`, …; empty for networks of its own."""
        return str(self.raw.get("network_mode") or "")

    def published(self, target: int) -> Port | None:
        """The port under which one of its ports is published."""
        return next((p for p in self.ports if p.target == target and p.published), None)

    def routes(self) -> list[str]:
        """Public host names that its labels give it, by Traefik or caddy-docker-proxy."""
        found: list[str] = []
        for key, value in self.labels.items():
            if key.startswith("traefik.") and key.endswith(".rule"):
                for names in _ROUTE.findall(value):
                    found += re.findall(r"[\w.*-]+", names)
            elif re.fullmatch(r"caddy(_\d+)?", key):
                found += [re.sub(r"^\w+://|:\d+$", "", name) for name in re.split(r"[,\s]+", value)]
        return [name for name in dict.fromkeys(found) if "*" not in name and "." in name]


@dataclass(frozen=True)
class ComposeFile:
    """A compose file with its variables filled in."""

    name: str
    """The project's name, if the file gives one."""
    services: tuple[Service, ...]
    dormant: tuple[Service, ...]
    """Services left out, since none of their profiles was asked for."""
    inactive: Mapping[str, tuple[str, ...]]
    """The same: name → profiles."""
    networks: Mapping[str, str]
    """Networks that exist outside of the project: name in the file → name in the engine."""
    subnets: tuple[str, ...]
    """Address ranges of its own networks, as far as the file gives them."""
    secret_files: Mapping[str, str]
    """Docker secrets: name → path of the file."""
    secret_values: Mapping[str, str] = field(repr=False)
    """Docker secrets that come from variables, and configs whose text stands in the file: name → value."""
    unset: tuple[str, ...]
    """Variables that have no value anywhere and no default."""
    used: frozenset[str]
    """Variables that the file itself asks for."""
    missing: tuple[str, ...]
    """Files that the file names and that are not there."""

    @property
    def every(self) -> tuple[Service, ...]:
        """All services, also those left out."""
        return (*self.services, *self.dormant)

    def named(self, name: str) -> Service | None:
        """A service by its own name."""
        return next((service for service in self.every if service.name == name), None)

    def serving(self, host: str) -> Service | None:
        """The service that has a host name inside the project; its own name wins over other services' aliases."""
        return self.named(host) or next((s for s in self.every if host in s.names), None)


def parse(
    text: str,
    read: Read,
    variables: Mapping[str, str],
    profiles: Collection[str] = (),
    overrides: Sequence[str] = (),
    project: str = "",
) -> ComposeFile:
    """Read a compose file.

    Args:
        text: the file's content.
        read: reads the files that it names.
        variables: what its `${…}` stand for: the env file's and the shell's.
        profiles: services with profiles take part only if one of theirs is among these; those of COMPOSE_PROFILES
            unless given; `*` is every one.
        overrides: further files' contents, each on top of those before, as with several `-f`.
        project: the project's name where neither a variable nor the file gives one.

    Raises:
        ComposeFileError: it is no compose file, or it demands a variable that is not set.
    """
    merged = Tree(read, variables)
    for content in (text, *overrides):
        merged.add(content)
    tree = merged.content
    if not isinstance(tree.get("services"), dict):
        raise ComposeFileError("no 'services:' in it; is it a compose file?")
    project = str(variables.get("COMPOSE_PROJECT_NAME") or tree.get("name") or project)
    reader = _Reader(read, variables, project)
    # Split as compose does: a service whose profile is empty runs where nothing is asked for.
    asked = set(profiles) or {p.strip() for p in variables.get("COMPOSE_PROFILES", "").split(",")}
    active, dormant, inactive = [], [], {}
    for name, raw in tree["services"].items():
        wanted = tuple(_texts(_mapping(raw, name).get("profiles"), f"{name}.profiles"))
        service = reader.service(name, raw)
        if wanted and "*" not in asked and not set(wanted) & asked:
            inactive[name] = wanted
            dormant.append(service)
        else:
            active.append(service)
    networks = _mapping(tree.get("networks"), "networks")
    secrets = _mapping(tree.get("secrets"), "secrets") | _mapping(tree.get("configs"), "configs")
    files, values = _secrets(secrets, variables)
    return ComposeFile(
        name=project,
        services=tuple(active),
        dormant=tuple(dormant),
        inactive=inactive,
        networks=_external(networks),
        subnets=_subnets(networks),
        secret_files=files,
        secret_values=values,
        unset=tuple(sorted(merged.unset)),
        used=frozenset(merged.used),
        missing=(*merged.missing, *reader.missing),
    )


class _Reader:
    """Writes out the forms of a service; collects what is missing on the way."""

    def __init__(self, read: Read, variables: Mapping[str, str], project: str) -> None:
        self._read, self._variables, self._project = read, variables, project
        self.missing: list[str] = []

    def service(self, name: str, given: Any) -> Service:
        raw = _mapping(given, name)
        build = raw.get("build") or {}
        build = {"context": build} if isinstance(build, str) else _mapping(build, f"{name}.build")
        if build:
            build = {
                "context": ".",
                **build,
                "args": self._pairs(build.get("args"), f"{name}.build"),
            }
        from_files = self._env_files(raw.get("env_file"), name)
        explicit = self._pairs(raw.get("environment"), f"{name}.environment")
        networks = raw.get("networks") or {}
        listed = networks if isinstance(networks, dict) else dict.fromkeys(map(str, networks))
        return Service(
            name=name,
            image=str(raw.get("image") or ""),
            build=build,
            entrypoint=_words(raw.get("entrypoint"), f"{name}.entrypoint"),
            command=_words(raw.get("command"), f"{name}.command"),
            environment={**from_files, **explicit},
            explicit=frozenset(explicit),
            ports=tuple(
                port
                for entry in _list(raw.get("ports"), f"{name}.ports")
                for port in _ports(entry, name)
            ),
            networks=tuple(listed),
            mounts=tuple(
                mount
                for entry in _list(raw.get("volumes"), f"{name}.volumes")
                if (mount := _mount(entry))
            ),
            names=self._names(name, raw, listed),
            links=dict(_link(str(entry)) for entry in _list(raw.get("links"), f"{name}.links")),
            hosts=_hosts(raw.get("extra_hosts")),
            labels=self._pairs(raw.get("labels"), f"{name}.labels"),
            secrets=_mounted(raw.get("secrets"), _SECRETS) | _mounted(raw.get("configs"), ""),
            raw=raw,
        )

    def _names(
        self, name: str, raw: Mapping[str, Any], networks: Mapping[str, Any]
    ) -> frozenset[str]:
        container, host = raw.get("container_name"), raw.get("hostname")
        names = {name, container, host}
        if host and raw.get("domainname"):
            names.add(f"{host}.{raw['domainname']}")
        for value in networks.values():
            if isinstance(value, dict):
                names.update(_texts(value.get("aliases"), f"{name}.networks"))
                names.update((value.get("ipv4_address"), value.get("ipv6_address")))
        if self._project and not container:
            names.update({f"{self._project}-{name}-1", f"{self._project}_{name}_1"})
        return frozenset(str(known).lower() for known in names if known) | {name}

    def _env_files(self, given: Any, name: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for entry in [given] if isinstance(given, str) else _list(given, f"{name}.env_file"):
            path = str(entry.get("path", "")) if isinstance(entry, dict) else str(entry)
            optional = isinstance(entry, dict) and str(entry.get("required")).lower() == "false"
            text = self._read(path)
            if text is not None:
                found |= read_env_file(text, self._variables)
            elif not optional:
                self.missing.append(f"{name}.env_file {path}")
        return found

    def _pairs(self, given: Any, place: str) -> dict[str, str]:
        if isinstance(given, dict):
            pairs: Iterable[tuple[str, str | None]] = given.items()
        else:
            split = (str(e).partition("=") for e in _list(given, place))
            pairs = ((key, value if sign else None) for key, sign, value in split)
        # A name without a value is handed through from the shell or the env file.
        return {
            key: self._variables[key] if value is None else str(value)
            for key, value in pairs
            if value is not None or key in self._variables
        }


def _mapping(given: Any, place: str) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise ComposeFileError(f"{place}: must be a mapping")
    return given


def _list(given: Any, place: str) -> list[Any]:
    if given is None:
        return []
    if not isinstance(given, list):
        raise ComposeFileError(f"{place}: must be a list")
    return given


def _texts(given: Any, place: str) -> list[str]:
    return [str(item or "") for item in _list(given, place)]


def _words(given: Any, place: str) -> tuple[str, ...] | None:
    if given is None:
        return None
    if isinstance(given, list):
        return tuple(str(word) for word in given)
    try:
        return tuple(shell_words(str(given)))
    except ValueError:
        raise ComposeFileError(f"{place}: a quote is not closed") from None


def _ports(entry: Any, service: str) -> list[Port]:
    """A port in short form (`127.0.0.1:5000-5001:5000-5001/tcp`) or long form."""
    if isinstance(entry, dict):
        address, protocol = str(entry.get("host_ip", "")), str(entry.get("protocol", "tcp"))
        published, target = str(entry.get("published", "")), str(entry.get("target", ""))
    else:
        text, _, protocol = str(entry).partition("/")
        front, _, target = text.rpartition(":")
        address, _, published = front.rpartition(":")
        address = address.strip("[]")
    if protocol not in ("", "tcp"):
        return []
    inside, outside = _range(target), _range(published) if published else []
    if inside and len(inside) == 1 and len(outside) > 1:
        # The engine takes the first that is free; each of several containers gets one.
        return [Port(address, outside[0], inside[0], outside[-1])]
    if not inside or (published and len(outside) != len(inside)):
        raise ComposeFileError(f"{service}.ports: '{entry}' is no port")
    return [
        Port(address, outside[i] if outside else None, number) for i, number in enumerate(inside)
    ]


def _range(text: str) -> list[int]:
    found = _PORT_RANGE.fullmatch(text)
    if not found:
        return []
    first = int(found.group(1))
    return list(range(first, min(int(found.group(2) or first), 65535) + 1))


def _mount(entry: Any) -> Mount | None:
    if isinstance(entry, dict):
        source, target = str(entry.get("source", "")), str(entry.get("target", ""))
    else:
        source, target = mount_parts(str(entry))
    return Mount(source, target) if source and target else None


def _link(text: str) -> tuple[str, str]:
    service, _, alias = text.partition(":")
    return alias or service, service


def _hosts(given: Any) -> dict[str, str]:
    """`extra_hosts`, in its three forms."""
    if isinstance(given, dict):
        pairs: Iterable[Sequence[str]] = given.items()
    else:
        pairs = (re.split("[=:]", str(e), maxsplit=1) for e in given or ())
    return {str(pair[0]).lower(): str(pair[1]).strip("[]") for pair in pairs if len(pair) > 1}


def _mounted(given: Any, folder: str) -> dict[str, str]:
    """Secrets or configs of a service: path in the container → name in the file."""
    found = {}
    for entry in given if isinstance(given, list) else ():
        source = str(entry.get("source", "")) if isinstance(entry, dict) else str(entry)
        target = str(entry.get("target") or source) if isinstance(entry, dict) else source
        found[target if target.startswith("/") else f"{folder}/{target}"] = source
    return found


def _secrets(
    given: Mapping[str, Any], variables: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Those that are files, and those whose content is known."""
    files, values = {}, {}
    for name, value in given.items():
        if not isinstance(value, dict):
            continue
        if value.get("file"):
            files[name] = str(value["file"])
        elif value.get("content"):
            values[name] = str(value["content"])
        elif value.get("environment") in variables:
            values[name] = variables[str(value["environment"])]
    return files, values


def _external(networks: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for name, given in networks.items():
        value = given if isinstance(given, dict) else {}
        external = value.get("external")
        # The older form names it inside: `external: {name: x}`.
        inner = external if isinstance(external, dict) else {}
        if inner or str(external).lower() == "true":
            found[name] = str(inner.get("name") or value.get("name") or name)
    return found


def _subnets(networks: Mapping[str, Any]) -> tuple[str, ...]:
    found = []
    for given in networks.values():
        ipam = given.get("ipam") if isinstance(given, dict) else None
        entries = (ipam or {}).get("config") or ()
        found += [str(e["subnet"]) for e in entries if isinstance(e, dict) and e.get("subnet")]
    return tuple(found)
