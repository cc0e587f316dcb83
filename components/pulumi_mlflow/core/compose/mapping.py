"""What a compose file of MLflow means as settings of a stack: the table of rules.py, put to work. Pure.

The settings may still be ones that a stack refuses, such as a bucket with an underscore: the caller checks them.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .access import AccessMapper
from .artifacts import ArtifactsMapper
from .database import DatabaseMapper
from .door import Door
from .file import ComposeFile, Read, Service
from .notes import Fact, Finding, Notes, is_true, names, number
from .parts import Parts
from .program import Programs
from .rules import RULES, Fate, Role, Rule
from .sources import DatabaseSource, FileSource, StoreSource
from .where import Finder, IsThisMachine

_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SWITCHES = {
    "--serve-artifacts",
    "--no-serve-artifacts",
    "--artifacts-only",
    "--dev",
    "--disable-security-middleware",
    "--enable-workspaces",
}


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
    database_file: FileSource | None
    """SQLite's, where runs were kept in one."""
    artifact_folder: FileSource | None
    """Where artifacts were kept in files."""

    @property
    def is_whole(self) -> bool:
        """Whether all of the file is in the settings, with nothing guessed."""
        return not any(finding.lost for finding in self.findings)


def map_file(
    file: ComposeFile,
    read: Read,
    folder: str,
    *,
    is_this_machine: IsThisMachine = lambda _host: False,
    in_place: bool = False,
) -> Mapped:
    """Make settings of a compose file.

    Args:
        file: the file.
        read: reads files that it names, such as Dockerfiles and nginx's configuration.
        folder: absolute path of the file's own folder, for paths that the settings hold.
        is_this_machine: tells the machine's own names and addresses.
        in_place: whether a database or store is used where it is although it is in doubt whose it is: `up` migrates it.
    """
    return _Mapper(file, read, folder, is_this_machine, in_place=in_place).run()


def _advice(rule: Rule) -> str:
    """A rule's note as the end of a sentence."""
    return rule.note[:1].lower() + rule.note[1:].rstrip(".")


def _megabytes(text: str) -> Any:
    found = re.fullmatch(r"([\d.]+)\s*([bkmgt]?)(?:i?b)?", text.strip().lower())
    if not found:
        return text
    return int(float(found.group(1)) * _UNITS[found.group(2)]) >> 20


class _Mapper:
    def __init__(
        self,
        file: ComposeFile,
        read: Read,
        folder: str,
        is_this_machine: IsThisMachine,
        *,
        in_place: bool,
    ) -> None:
        self._file, self._read, self._folder = file, read, folder
        self._used = set(file.used)
        self._programs = Programs(file, read, self._used)
        self._parts = Parts(file, self._programs)
        self._notes = Notes()
        self._rules = {(rule.role, name): rule for rule in RULES for name in rule.names}
        self._known = {name for rule in RULES for name in rule.names}
        self._elsewhere: dict[str, Fact] = {}
        """Facts about the database that only the server's variables tell."""
        finder = Finder(file, self._parts.server, is_this_machine)
        self._database = DatabaseMapper(self._notes, self._parts, finder, in_place=in_place)
        self._artifacts = ArtifactsMapper(self._notes, self._parts, finder, in_place=in_place)

    def run(self) -> Mapped:
        notes, parts = self._notes, self._parts
        notes.hide(
            [
                *(s.environment for s in self._file.every),
                *(p.environment for p in parts.programs.values()),
            ]
        )
        self._around()
        if parts.server is None:
            notes.find("services", "", "no service runs `mlflow server`", "is it the right file?")
        else:
            self._service(parts.server, Role.TRACKING)
        # Whose variables count is known once the server has named its database and store.
        chosen = {Role.DATABASE: self._database.service(), Role.STORE: self._artifacts.service()}
        for service in self._file.services:
            if service is parts.server:
                continue
            role = parts.roles[service.name]
            if role in chosen and chosen[role] is service:
                self._service(service, role)
            else:
                self._beside(service, role, chosen.get(role))
        for fact in ("db_name", "db_user", "db_password"):
            if fact in self._elsewhere:
                notes.facts.setdefault(fact, self._elsewhere[fact])
        self._database.map()
        self._artifacts.map()
        self._tracking()
        AccessMapper(notes, parts, Door(self._read, parts), self._programs, self._folder).map()
        self._network()
        return Mapped(
            settings=notes.settings,
            taken=tuple(notes.taken),
            findings=tuple(dict.fromkeys(notes.findings)),
            secrets=tuple(notes.secrets),
            database=self._database.source,
            store=self._artifacts.source,
            database_file=self._database.file_source,
            artifact_folder=self._artifacts.file_source,
        )

    # What stands in the file

    def _around(self) -> None:
        """What is missing of the file itself."""
        notes = self._notes
        for name in self._file.unset:
            notes.find(
                f"${{{name}}}", "", "has no value: neither the env file nor the shell sets it"
            )
        for place in self._file.missing:
            why = (
                "is not there, so its variables are unknown"
                if ".env_file " in place
                else "is not there"
            )
            notes.find(place, "", why)
        for name, profiles in self._file.inactive.items():
            notes.find(
                name,
                "",
                f"only runs with profile {' or '.join(profiles)}",
                f"if you use it: --profile {profiles[0]}",
            )
        if self._parts.guess and self._parts.server:
            notes.find(self._parts.server.name, "", self._parts.guess, "is it the right one?")

    def _beside(self, service: Service, role: Role, chosen: Service | None) -> None:
        """A service that is neither the server nor its database or store."""
        notes = self._notes
        if role in (Role.PROXY, Role.OIDC, Role.POOLER):
            self._service(service, role)
        elif role is Role.TRACKING:
            notes.find(
                service.name,
                service.image,
                f"a stack has one {role.value}",
                "make a second stack for it",
            )
        elif role in (Role.DATABASE, Role.STORE) and (chosen is not None or self._names(role)):
            notes.find(
                service.name,
                service.image,
                f"is a {role.value} that the server does not use",
                "keep it in a compose file of its own",
            )
        elif role in (Role.DATABASE, Role.STORE):
            self._service(service, role)
        elif role is Role.OTHER and service.name in self._parts.jobs:
            notes.find(
                service.name,
                service.image,
                "is a job that ends, and is not taken",
                "the stack makes its bucket and migrates its database itself",
            )
        elif role is Role.OTHER:
            notes.find(
                service.name,
                service.image,
                "is no part of a stack",
                "keep it in a compose file of its own; it reaches the server at the front door",
            )

    def _names(self, role: Role) -> bool:
        """Whether the server says where its database or store is."""
        return ("backend_uri" if role is Role.DATABASE else "endpoint") in self._notes.facts

    def _service(self, service: Service, role: Role) -> None:
        notes = self._notes
        program = self._parts.program(service)
        if role is Role.TRACKING and program.arguments is None:
            notes.find(
                f"{service.name}.command",
                notes.shown("", program.unread),
                "starts the server by a script, which is not read",
                "what it gives `mlflow server` is only known as far as variables tell",
            )
        if role is Role.TRACKING and program.guess:
            notes.find(
                f"{service.name}.command", "", program.guess, "see whether the settings are right"
            )
        self._keys(service, role)
        environment = program.environment if role is Role.TRACKING else service.environment
        for name, value in environment.items():
            self._said(service, role, name, f"{service.name}.{name}", value)
        for name, value in self._options(service, role):
            self._said(service, role, name, f"{service.name}.command {name}", value)
        if role is Role.POOLER:
            notes.put(f"{service.name}", "database.pgbouncer", True)

    def _keys(self, service: Service, role: Role) -> None:
        notes = self._notes
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
                notes.find(place, "", "is no key that a stack has a setting for")
            elif rule.fate is Fate.LOST and str(value) not in ("1", "false"):
                notes.find(place, "", "not taken", _advice(rule))
            elif rule.fact == "memory" and role in (Role.TRACKING, Role.DATABASE, Role.STORE):
                section = {
                    Role.TRACKING: "tracking",
                    Role.DATABASE: "database",
                    Role.STORE: "artifacts",
                }[role]
                notes.put(place, f"{section}.memory_mb", _megabytes(str(value)))
            elif rule.fact == "cpus" and role is Role.TRACKING:
                notes.put(
                    place,
                    "tracking.cpus",
                    float(value) if re.fullmatch(r"[\d.]+", value) else value,
                )

    def _options(self, service: Service, role: Role) -> Iterator[tuple[str, str]]:
        """The options of a service's program: name → value, empty for a switch."""
        words: Iterable[str] = (
            (self._parts.program(service).arguments or ()) if role is Role.TRACKING else ()
        )
        if role in (Role.DATABASE, Role.STORE, Role.OIDC):
            words = [
                part for word in service.words for part in (word.split() if " " in word else [word])
            ]
        pending = ""
        for word in words:
            name, sign, value = word.partition("=")
            if short := re.fullmatch(r"(-[a-z])(\d+)", word):
                name, sign, value = short.group(1), "=", short.group(2)
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
        notes = self._notes
        if role is Role.OIDC and name.startswith("--"):
            name = f"OAUTH2_PROXY_{name[2:].upper().replace('-', '_')}"
        rule = self._rules.get((role, name))
        if rule is None:
            self._unknown(service, role, name, place, value)
        elif value == "" and not name.startswith("-"):
            return
        elif rule.fate is Fate.LOST:
            notes.find(place, notes.shown(name, value), "not taken", _advice(rule))
        elif rule.fact == "app" and name.isupper():
            # The configuration alone asks for no login: the plugin does, and is named by the command.
            notes.facts["auth_config"] = Fact(place, value)
            notes.facts.setdefault("app", Fact(place, value))
        else:
            notes.facts[rule.fact] = Fact(place, self._meant(service, rule, name, value))

    def _meant(self, service: Service, rule: Rule, name: str, value: str) -> str:
        """A value as the program that is told reads it."""
        if rule.fact == "serve" and name == "--no-serve-artifacts":
            return "false"
        if name.endswith("_FILE") and rule.fate is Fate.DATA:
            return (self._programs.content(service, value) or "").rstrip("\n")
        return value

    def _unknown(self, service: Service, role: Role, name: str, place: str, value: str) -> None:
        """Something that no rule of the role has."""
        other = self._rules.get((Role.DATABASE, name))
        if other is not None and role is Role.TRACKING:
            self._elsewhere[other.fact] = Fact(place, value)
        if name in self._known or role in (Role.PROXY, Role.POOLER):
            return
        # What the file itself asks for has done its work, and env files are shared by services.
        shared = name not in service.explicit and not name.startswith(("MLFLOW_", "-"))
        if name not in self._used and not shared:
            self._notes.find(
                place,
                self._notes.shown(name, value),
                "is unknown here",
                "see whether the stack needs it",
            )

    # What it becomes beside database, store and front door

    def _tracking(self) -> None:
        notes = self._notes
        notes.simple("workers", "tracking.workers", number)
        given = notes.facts.get("allowed_hosts")
        if given and "*" in given.value.split(","):
            notes.find(
                given.place,
                given.value,
                "'*' would be every host",
                "name them in mlflow:tracking.allowed_hosts",
            )
        notes.simple(
            "allowed_hosts",
            "tracking.allowed_hosts",
            lambda text: list(dict.fromkeys(re.sub(r":[\d*]+$", "", name) for name in names(text))),
        )
        notes.simple("multipart", "artifacts.multipart", is_true)

    def _network(self) -> None:
        found = [
            (f"{service.name}.networks", self._file.networks[name])
            for role in (Role.TRACKING, Role.PROXY, Role.OIDC)
            for service in self._file.services
            if self._parts.roles[service.name] is role
            for name in service.networks or ("default",)
            if name in self._file.networks
        ]
        if found:
            self._notes.put(found[0][0], "network.existing", found[0][1])
        for place, name in found:
            if name != found[0][1]:
                self._notes.find(
                    place,
                    name,
                    "a stack joins one existing network",
                    "connect the front door to it yourself",
                )
