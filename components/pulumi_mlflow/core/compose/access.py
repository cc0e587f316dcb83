"""The front door of a compose file as settings: login, port, host names, certificate. Pure."""

import posixpath

from .. import urls
from .door import Door
from .file import Service
from .notes import Notes, names, port_of
from .parts import Parts
from .program import Programs
from .rules import Role

SERVER_PORT = 5000
_HTTPS = 443
_WELL_KNOWN = "/.well-known/openid-configuration"
_OWN_APPS = ("basic-auth",)
_OIDC_APPS = ("oidc-auth", "oidc-auth-default")
_PERMISSIONS = ("READ", "USE", "EDIT", "MANAGE", "NO_PERMISSIONS")


class AccessMapper:
    """Makes settings of what the file says of the front door.

    Args:
        notes: where they go.
        parts: the services.
        door: the proxy before the server.
        programs: reads files of containers.
        folder: absolute path of the compose file's own folder.
    """

    def __init__(
        self, notes: Notes, parts: Parts, door: Door, programs: Programs, folder: str
    ) -> None:
        self._notes, self._parts, self._door = notes, parts, door
        self._programs, self._folder = programs, folder

    def map(self) -> None:
        """Write the section `access`."""
        self._login()
        door = self._door
        if door.service and not (door.texts or door.caddy or door.hosts or door.users):
            self._notes.find(
                door.service.name,
                door.service.image,
                "its own configuration is not read",
                "what it does beside passing requests on is not in the settings",
            )
        self._front_port()

    # Who may in

    def _login(self) -> None:
        notes, door = self._notes, self._door
        app = notes.facts.get("app")
        if self._parts.first(Role.OIDC) is not None:
            self._oidc("oidc-mlflow" if app else "oidc")
        elif app is not None and app.value in _OIDC_APPS:
            self._oidc_plugin()
        elif app is not None:
            self._own_users(app.place, app.value)
        elif door.users is not None:
            self._basic(door.users)
        else:
            notes.put("services", "access.auth", "basic")
            if door.forward:
                notes.find(
                    door.forward,
                    "forwardauth",
                    "the service that decides who may in is not taken",
                    "with a provider of OIDC: set mlflow:access.auth to oidc",
                )
            else:
                notes.tell(
                    "services",
                    "",
                    "nothing in the file asks for a login; the stack does",
                    "on loopback alone it can be left out: "
                    "pulumi config set --path mlflow:access.auth none -s STACK",
                )

    def _basic(self, users: list[str]) -> None:
        notes, place = self._notes, self._door.place
        notes.put(place, "access.auth", "basic")
        if users:
            notes.put(place, "access.username", users[0])
        if users[1:]:
            notes.put(place, "access.users", users[1:])
        notes.find(
            place,
            "htpasswd",
            "passwords are there as hashes and cannot be taken",
            "every user gets a new one",
        )

    def _own_users(self, place: str, app: str) -> None:
        notes = self._notes
        notes.put(place, "access.auth", "mlflow")
        if app not in _OWN_APPS and not app.endswith((".ini", ".cfg", ".conf")):
            notes.find(
                place,
                app,
                "this plugin is not taken; the stack has MLflow's own users",
                "with a provider of OIDC: set mlflow:access.auth to oidc-mlflow",
            )
        else:
            notes.find(
                place,
                "",
                "users and what each may do are in a database of their own and are not taken along",
                "make them again: pulumi-mlflow users add NAME -s STACK",
            )
        self._permission(self._configured())

    def _configured(self) -> str:
        """`default_permission` of the file that MLFLOW_AUTH_CONFIG_PATH names."""
        server = self._parts.server
        path = self._notes.value("auth_config")
        text = self._programs.content(server, path) if server and path else None
        for line in (text or "").splitlines():
            key, sign, value = line.partition("=")
            if sign and key.strip() == "default_permission":
                return value.strip()
        return ""

    def _permission(self, configured: str) -> None:
        notes = self._notes
        given = notes.facts.get("default_permission")
        place = given.place if given else self._notes.facts["app"].place
        value = (given.value if given else configured).strip().upper()
        if value in _PERMISSIONS:
            notes.put(place, "access.permissions.default", value)
        elif value:
            notes.find(
                place, value, "is no permission of MLflow", "set mlflow:access.permissions.default"
            )

    def _oidc_plugin(self) -> None:
        notes = self._notes
        self._oidc("oidc-mlflow")
        place = notes.facts["app"].place
        if "issuer" not in notes.facts:
            notes.find(
                place,
                "",
                "OIDC_DISCOVERY_URL is not known",
                "set mlflow:access.oidc.issuer yourself",
            )
        # As mlflow-oidc-auth has them where nothing is said.
        admins = names(notes.value("admin_groups")) or ["mlflow-admin"]
        users = names(notes.value("allowed_groups")) or ["mlflow"]
        admin_place = notes.facts["admin_groups"].place if "admin_groups" in notes.facts else place
        user_place = (
            notes.facts["allowed_groups"].place if "allowed_groups" in notes.facts else place
        )
        notes.put(admin_place, "access.oidc.admin_groups", admins)
        notes.put(user_place, "access.oidc.allowed_groups", list(dict.fromkeys([*users, *admins])))
        if "default_permission" not in notes.facts:
            notes.find(
                place,
                "",
                "without DEFAULT_MLFLOW_PERMISSION the plugin lets everybody manage all; the stack lets them read",
                "as it was: pulumi config set --path mlflow:access.permissions.default MANAGE -s STACK",
            )
        self._permission("")
        notes.find(
            place,
            "",
            "users and what each may do are in a database of their own and are not taken along",
            "groups: set mlflow:access.permissions.groups",
        )

    def _oidc(self, auth: str) -> None:
        notes = self._notes
        place = notes.facts["issuer"].place if "issuer" in notes.facts else "services"
        notes.put(place, "access.auth", auth)
        notes.simple("issuer", "access.oidc.issuer", lambda text: text.removesuffix(_WELL_KNOWN))
        notes.simple("client_id", "access.oidc.client_id", str)
        notes.simple("groups_claim", "access.oidc.groups_claim", str)
        notes.simple("audiences", "access.oidc.audiences", names)
        if self._parts.first(Role.OIDC) is not None:
            notes.simple("allowed_groups", "access.oidc.allowed_groups", names)
        notes.simple("email_domains", "access.oidc.email_domains", names)
        notes.simple(
            "scopes",
            "access.oidc.scopes",
            lambda text: [s for s in names(text) if s not in ("openid", "email", "profile")],
        )
        notes.secret("oidc_client_secret", "client_secret")

    # Where it is

    def _front(self) -> Service | None:
        """The service that people reach: the proxy, the login, or the server itself."""
        of = (self._door.service, self._parts.first(Role.OIDC), self._parts.server)
        return next((s for s in of if s and any(p.published for p in s.ports)), None)

    def _front_port(self) -> None:
        notes, server = self._notes, self._parts.server
        inside = port_of(notes.value("port")) or SERVER_PORT
        front = self._front()
        if front is None and server and server.network_mode == "host":
            notes.put(f"{server.name}.network_mode", "access.port", inside)
            self._beyond(
                f"{server.name}.network_mode", notes.value("host") or "127.0.0.1", inside, server
            )
            return
        if front is None:
            notes.tell(
                "services",
                "",
                "no port is published",
                "the stack publishes mlflow:access.port on loopback",
            )
            self._public_names(None)
            return
        public = [port for port in front.ports if port.published]
        wanted = (inside, _HTTPS) if front is server else (_HTTPS,)
        port = next((p for p in public if p.target in wanted), public[0])
        place = f"{front.name}.ports"
        if port.published is None:
            return
        notes.put(place, "access.port", port.published)
        if port.last:
            notes.find(
                place,
                f"{port.published}-{port.last}",
                "the stack's front door is one port; the first of the range is taken",
                "more processes by mlflow:tracking.workers",
            )
        for other in public:
            if other != port:
                notes.find(place, str(other.published), "the stack's front door is one port")
        self._past(front)
        self._beyond(place, port.address or "0.0.0.0", port.published, front)  # noqa: S104 - as it was

    def _past(self, front: Service) -> None:
        """Ports by which the front door could be gone past."""
        for service in (self._parts.first(Role.OIDC), self._parts.server):
            for port in service.ports if service and service is not front else ():
                if service and port.published:
                    self._notes.find(
                        f"{service.name}.ports",
                        str(port.published),
                        "went past the front door; the stack publishes the front door alone",
                    )

    def _public_names(self, front: Service | None) -> list[str]:
        door = self._door
        if door.hosts and (front is not None or door.service is None or not door.service.ports):
            self._notes.put(door.hosts_place, "access.hosts", door.hosts)
        return door.hosts

    def _beyond(self, place: str, address: str, port: int, front: Service) -> None:
        """What is needed for others than this machine."""
        notes = self._notes
        hosts = self._public_names(front)
        secured = self._certificate(front)
        if urls.is_loopback(address):
            return
        if hosts and secured:
            notes.put(place, "access.bind", address)
            return
        notes.find(
            place,
            f"{address}:{port}",
            "was open to other machines, which takes login, TLS and a host name; the stack publishes it on loopback",
            "set mlflow:access.tls, mlflow:access.hosts and mlflow:access.bind, see docs/configuration.md",
        )

    def _certificate(self, front: Service) -> bool:
        door = self._door
        if not (door.certificate and door.key):
            return False
        place = f"{front.name}.volumes"
        notes = self._notes
        notes.put(place, "access.tls", "files")
        for key, path in (("tls_certificate", door.certificate), ("tls_key", door.key)):
            absolute = posixpath.normpath(posixpath.join(self._folder, path))
            notes.put(place, f"access.{key}", absolute)
        return True
