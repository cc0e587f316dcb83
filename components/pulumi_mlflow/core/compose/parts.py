"""Which service of a file is what: by what it runs, and by its image and name where that says nothing. Pure."""

import re
from collections.abc import Iterable, Iterator

from .file import ComposeFile, Service
from .program import Program, Programs
from .rules import Role

_KEYWORDS: tuple[tuple[Role, str], ...] = (
    (Role.JOB, r"minio/mc|/mc$|aws-cli|create-?bucket"),
    (Role.OIDC, "oauth2-proxy"),
    (Role.POOLER, "pgbouncer|pgcat|odyssey|pgpool"),
    (Role.OTHER, r"exporter|adminer|pgadmin|phpmyadmin|backup"),
    (Role.STORE, r"minio|rustfs|versitygw|garage|seaweedfs|localstack|ceph|zenko|^s3$"),
    (Role.DATABASE, r"postgres|postgis|pgvector|mysql|mariadb|percona|timescale|^db$"),
    (Role.PROXY, "nginx|caddy|traefik|haproxy|httpd|envoy"),
    (Role.TRACKING, "mlflow|tracking"),
)
"""What tells a service's role, in its image's name first and then in its own; the order decides."""

_DATA = (
    (Role.DATABASE, re.compile(r"/var/lib/(postgresql|mysql)|/bitnami/(postgresql|mysql|mariadb)")),
)
_SIGNS = (
    (Role.DATABASE, re.compile(r"(POSTGRES|POSTGRESQL|MYSQL|MARIADB)_(ROOT_)?PASSWORD(_FILE)?$")),
    (Role.STORE, re.compile(r"(MINIO_ROOT|MINIO_SECRET|RUSTFS_SECRET|ROOT_SECRET)")),
)
_NO_SERVER = re.compile(
    r"\bmlflow\s+(models|db|gc|run|experiments|runs|artifacts|deployments|gateway|migrate\S*)\b|\bpython[\d.]*\b|"
    r"\bjupyter|\bpytest\b|\bsleep\b|\bcurl\b|\baws\b"
)
_FAMILIES = (("mysql", r"mysql|mariadb|percona"), ("postgresql", r"postg|pgvector|timescale"))


class Parts:
    """The services of a file by what they are.

    Args:
        file: the compose file.
        programs: what they run.
    """

    def __init__(self, file: ComposeFile, programs: Programs) -> None:
        self.file, self.looker = file, programs
        self.programs = {service.name: programs.of(service) for service in file.every}
        self.jobs = {s.name for s in file.every if _ends(s)} | set(_awaited(file))
        self.roles = {s.name: self._role(s) for s in file.every}
        self.server, self.guess = self._server()
        for service in file.services:
            if self.roles[service.name] is Role.TRACKING and service is not self.server:
                runs = self.programs[service.name].arguments is not None
                self.roles[service.name] = Role.TRACKING if runs else Role.OTHER

    def _role(self, service: Service) -> Role:
        program = self.programs[service.name]
        if program.arguments is not None:
            return Role.TRACKING
        role = self._named(service)
        text = " ".join(service.words)
        if role is Role.TRACKING and (_NO_SERVER.search(text) or service.name in self.jobs):
            return Role.OTHER
        return role

    @staticmethod
    def _named(service: Service) -> Role:
        image = service.image.split("@")[0]
        image = re.sub(r":[^/]*$", "", image)
        for text in (image, service.context, service.name, *sorted(service.names)):
            for role, words in _KEYWORDS:
                if text and re.search(words, text.lower()):
                    return role
            if text == image:
                # What it keeps and is told says more than a name.
                for role, pattern in _DATA:
                    if any(pattern.match(mount.target) for mount in service.mounts):
                        return role
                for role, pattern in _SIGNS:
                    if any(pattern.match(name) for name in service.explicit):
                        return role
        return Role.OTHER

    def _server(self) -> tuple[Service | None, str]:
        """The MLflow server, and why it is only likely."""
        of = [s for s in self.file.services if self.roles[s.name] is Role.TRACKING]
        running = [s for s in of if self.programs[s.name].arguments is not None]
        found = sorted(running or of, key=self._likeness, reverse=True)
        if not found:
            return None, ""
        best = found[0]
        if not running and len(found) > 1:
            every = ", ".join(s.name for s in found)
            return best, f"is the likeliest of {every}, none of which is seen to start it"
        return best, ""

    def _likeness(self, service: Service) -> tuple[bool, ...]:
        """How much a service looks like the server that clients use."""
        program = self.programs[service.name]
        options = {word.partition("=")[0] for word in program.arguments or ()}
        artifacts_only = "--artifacts-only" in options
        backend = (
            "--backend-store-uri" in options or "MLFLOW_BACKEND_STORE_URI" in program.environment
        )
        routed = bool(service.ports or service.routes() or self._behind_proxy(service))
        return (
            service.name not in self.jobs,
            not artifacts_only,
            backend,
            routed,
            "mlflow" in service.name,
        )

    def _behind_proxy(self, service: Service) -> bool:
        proxies = [
            s for s in self.file.services if self.roles.get(s.name) in (Role.PROXY, Role.OIDC)
        ]
        text = " ".join(str(p.raw) for p in proxies)
        return any(re.search(rf"\b{re.escape(name)}\b", text) for name in service.names)

    def program(self, service: Service) -> Program:
        """What a service runs."""
        return self.programs[service.name]

    def first(self, role: Role) -> Service | None:
        """The first running service of a role; the server is the one that was chosen."""
        if role is Role.TRACKING:
            return self.server
        return next(iter(self.of(role)), None)

    def of(self, role: Role, *, dormant: bool = False) -> list[Service]:
        """All services of a role.

        Args:
            role: which.
            dormant: whether those count too that no profile starts.
        """
        services = self.file.every if dormant else self.file.services
        return [s for s in services if self.roles[s.name] is role]

    def databases(self, engine: str) -> list[Service]:
        """Services that may be a database of an engine, also those that no profile starts."""
        family = "mysql" if engine == "mariadb" else engine
        return [s for s in self.of(Role.DATABASE, dormant=True) if self.family(s) in (family, "")]

    @staticmethod
    def family(service: Service) -> str:
        """`postgresql` or `mysql`; empty where it cannot be told."""
        texts: Iterable[str] = (
            service.image,
            " ".join(service.explicit),
            service.context,
            service.name,
        )
        for text in texts:
            for family, pattern in _FAMILIES:
                if re.search(pattern, text.lower()):
                    return family
        return ""


def _ends(service: Service) -> bool:
    """Whether a service ends by itself: no job is the server."""
    deploy = service.raw.get("deploy")
    policy = deploy.get("restart_policy") if isinstance(deploy, dict) else None
    condition = policy.get("condition") if isinstance(policy, dict) else ""
    no = str(service.raw.get("restart", "")) in ("no", "false") or condition == "none"
    return no and not service.ports


def _awaited(file: ComposeFile) -> Iterator[str]:
    """Services whose end others wait for."""
    for service in file.every:
        needed = service.raw.get("depends_on")
        for name, how in needed.items() if isinstance(needed, dict) else ():
            if isinstance(how, dict) and how.get("condition") == "service_completed_successfully":
                yield str(name)
