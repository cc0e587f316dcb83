"""Whose server a host name of the file is: one of the file's own services, or one that stands elsewhere. Pure.

It decides what a stack may use where it is. The first `up` migrates such a database in place, so that the old
deployment cannot use it any longer; therefore only what surely is no part of the old deployment is used, and all that
is in doubt is not.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable
from enum import Enum
from typing import NamedTuple

from .. import urls
from .file import ComposeFile, Service

IsThisMachine = Callable[[str], bool]
"""Whether a name or an address is one of the machine's that the importer runs on."""

MACHINE = "host.docker.internal"
"""The engine's machine, as containers of a stack see it."""

_MACHINE_NAMES = {
    MACHINE, "gateway.docker.internal", "kubernetes.docker.internal", "host.containers.internal",
    "host.lima.internal", "host.orb.internal", "host.minikube.internal", "host-gateway", "docker.for.mac.localhost",
    "docker.for.mac.host.internal", "docker.for.win.localhost", "docker.for.win.host.internal",
}  # fmt: skip
_LOCAL_NAMES = {"localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"}
_BRIDGE = "172.17.0.1"
"""The machine on Docker's default network, unless somebody has changed it."""


class Whose(Enum):
    """Whose server it is."""

    FILE = "file"
    ELSEWHERE = "elsewhere"
    DOUBT = "doubt"


class Place(NamedTuple):
    """Where a server is."""

    whose: Whose
    service: Service | None
    """Of the file, where it is one."""
    host: str
    """As containers outside of the old deployment may reach it."""
    port: int
    """Inside the service's container; else as given."""
    why: str = ""
    """Of a doubt, as the end of a sentence."""


class Finder:
    """Finds servers by the names that one service knows them by.

    Args:
        file: the compose file.
        client: the service that uses the names.
        is_this_machine: tells the machine's own names and addresses.
    """

    def __init__(
        self, file: ComposeFile, client: Service | None, is_this_machine: IsThisMachine
    ) -> None:
        self._file, self._client, self.is_this_machine = file, client, is_this_machine

    def find(self, host: str, port: int, candidates: Iterable[Service]) -> Place:
        """Say whose server it is.

        Args:
            host: name or address; several with commas.
            port: TCP port.
            candidates: services of the file that are such a server, as far as can be told; also those left out.
        """
        found = [self._one(name, port, list(candidates)) for name in host.split(",")]
        order = (Whose.FILE, Whose.DOUBT, Whose.ELSEWHERE)
        return min(found, key=lambda place: order.index(place.whose))

    def _one(self, host: str, port: int, candidates: list[Service]) -> Place:
        name = host.strip().strip("[]").partition("%")[0].rstrip(".").lower()
        if not name:
            return self._unnamed(port, candidates)
        address = self._client.hosts.get(name, "") if self._client else ""
        if urls.is_address(address) or address == "host-gateway":
            place = self._one(address, port, candidates)
            # A stack has no such /etc/hosts; a name without dots means nothing there.
            keeps = place.whose is Whose.ELSEWHERE and place.host != MACHINE and "." in name
            return place._replace(host=name) if keeps else place
        if service := self._linked(name) or self._served(name):
            return Place(Whose.FILE, service, name, port)
        if _is_local(name):
            return self._local(port, candidates)
        if self._is_machine(name):
            return self._on_machine(port, candidates)
        return self._foreign(name, port, candidates)

    # By the networks of the file

    def _linked(self, name: str) -> Service | None:
        links = self._client.links if self._client else {}
        return self._file.named(links[name]) if name in links else None

    def _served(self, name: str) -> Service | None:
        if service := self._file.serving(name):
            return service
        for service in self._file.every:
            if name in service.routes():
                return service
            # Docker's DNS also knows `name.network`, where the network's name begins with the project's.
            first, _, network = name.partition(".")
            own = {*service.networks, "default"}
            if first in service.names and any(
                network == n or network.endswith(f"_{n}") or network == self._file.networks.get(n)
                for n in own
            ):
                return service
        return None

    # The machine

    def _is_machine(self, name: str) -> bool:
        return (
            name in _MACHINE_NAMES
            or name == _BRIDGE
            or name in self._gateways()
            or self.is_this_machine(name)
        )

    def _gateways(self) -> set[str]:
        """The machine's addresses on the file's networks, unless the file names others."""
        found = set()
        for text in self._file.subnets:
            network = _network(text)
            if network is not None and network.num_addresses > 1:
                found.add(str(network[1]))
        return found

    def _local(self, port: int, candidates: list[Service]) -> Place:
        """What the client finds at its own loopback address."""
        mode = self._client.network_mode if self._client else ""
        if mode == "host":
            return self._on_machine(port, candidates)
        inside = self._beside()
        service = next((s for s in inside if s in candidates), None)
        if service is None:
            others = [s for s in inside if any(p.target == port for p in s.ports)]
            service = others[0] if others else None
        if service:
            return Place(Whose.FILE, service, MACHINE, port)
        if published := self._publishing(port, candidates):
            # So written by somebody who runs the server by hand: no container reaches it by that name.
            why = f"service {published.name} of the file is published on port {port}"
            return Place(Whose.DOUBT, published, MACHINE, self._target(published, port), why)
        why = "that is inside of the server's own container"
        return Place(Whose.DOUBT, None, MACHINE, port, why)

    def _beside(self) -> list[Service]:
        """Services that share the client's network stack."""
        client = self._client
        if client is None:
            return []
        shared = {client.name}
        while True:
            more = {
                s.name
                for s in self._file.every
                if s.network_mode.removeprefix("service:") in shared or s.name in shared
            } | {
                s.network_mode.removeprefix("service:")
                for s in self._file.every
                if s.name in shared and s.network_mode.startswith("service:")
            }
            more |= {
                s.name
                for s in self._file.every
                for other in self._file.every
                if other.name in shared
                and other.network_mode.startswith("container:")
                and other.network_mode.removeprefix("container:") in s.names
            }
            if more <= shared:
                break
            shared |= more
        return [s for s in self._file.every if s.name in shared - {client.name}]

    def _on_machine(self, port: int, candidates: list[Service]) -> Place:
        if service := self._publishing(port, candidates):
            return Place(Whose.FILE, service, MACHINE, self._target(service, port))
        if candidates:
            names = " and ".join(s.name for s in candidates)
            why = f"no service is published on port {port}, but the file has such a server itself: {names}"
            return Place(Whose.DOUBT, None, MACHINE, port, why)
        return Place(Whose.ELSEWHERE, None, MACHINE, port)

    def _publishing(self, port: int, candidates: list[Service]) -> Service | None:
        """The service that answers on a port of the machine; one that is such a server before others."""
        every = [*candidates, *(s for s in self._file.every if s not in candidates)]
        for service in every:
            if service is self._client:
                continue
            if any(p.covers(port) for p in service.ports):
                return service
        return next((s for s in candidates if s.network_mode == "host"), None)

    @staticmethod
    def _target(service: Service, port: int) -> int:
        return next((p.target for p in service.ports if p.covers(port)), port)

    # Elsewhere

    def _unnamed(self, port: int, candidates: list[Service]) -> Place:
        """No host: a socket in a folder, or a variable that is not set."""
        if len(candidates) == 1:
            return Place(Whose.FILE, candidates[0], candidates[0].name, port)
        return Place(Whose.DOUBT, None, "", port, "no host is named")

    def _foreign(self, name: str, port: int, candidates: list[Service]) -> Place:
        """A name that nothing of the file and of this machine has."""
        service = self._publishing(port, candidates)
        why = self._doubt(name, port, service, candidates)
        whose = Whose.DOUBT if why else Whose.ELSEWHERE
        return Place(whose, service if why else None, name, port, why)

    def _doubt(
        self, name: str, port: int, service: Service | None, candidates: list[Service]
    ) -> str:
        if service:
            return f"service {service.name} of the file is such a server and is published on port {port}"
        if candidates:
            return f"the file has such a server itself: {' and '.join(s.name for s in candidates)}"
        if urls.is_address(name):
            address = ipaddress.ip_address(name)
            inside = any(n and address in n for n in map(_network, self._file.subnets))
            return "the address is of a network of the file" if inside else ""
        if "." not in name:
            return "a name without dots is a container's: one of another compose file, or one that was not given"
        if re.search(r"[^\w.-]", name):
            return "that is no host name"
        missing = [m for m in self._file.missing if ".env_file " not in m]
        return f"the file names others that are not there: {', '.join(missing)}" if missing else ""


def _is_local(name: str) -> bool:
    """Whether a name is loopback, wherever it is used."""
    local = name in _LOCAL_NAMES or name.endswith(".localhost")
    return local or urls.is_loopback(name) or _is_unspecified(name)


def _is_unspecified(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_unspecified
    except ValueError:
        return False


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
