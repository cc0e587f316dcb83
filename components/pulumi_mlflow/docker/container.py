"""What all our containers have in common: hardening, health, configuration by carrier, log rotation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_docker as docker

from ..component import MlflowComponent
from ..core import health, limits
from . import leftovers
from .engine import HOST_GATEWAY, LOG_OPTS
from .files import FILES_PATH, DockerFiles
from .job import DockerHealthy

DROPPED = docker.ContainerCapabilitiesArgs(drops=["ALL"])
SECURITY = ["no-new-privileges:true"]
TMP = {"/tmp": limits.tmpfs()}  # noqa: S108 - in the container
"""Where every container may write, and where its health check counts."""

FILES_VOLUME = "PULUMI_MLFLOW_FILES"
"""The variable with the name of the volume of a container's files."""


def once(resource: pulumi.Resource, value: str) -> pulumi.Output[str]:
    """A known value that is given out once the resource is there.

    An apply on one of its outputs would be unknown at preview whenever it is replaced, and replace what depends on it.
    """
    return resource.urn.apply(lambda _: value)


def _duration(seconds: int) -> str:
    """As Go writes it: the provider reads it back that way, and `60s` would differ from `1m0s` for ever."""
    minutes, rest = divmod(seconds, 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


@dataclass(frozen=True)
class Health:
    """A container's health check; `core.health` runs it, and ends a program that fails it for too long.

    Args:
        command: arguments; no secrets. It asks its own program alone, not those behind it. The image needs `sh`, `cat`
            and `timeout`.
        timeout: seconds until a container that is not healthy fails `up`.
        start_period: seconds in which failures do not count.
    """

    command: Sequence[str]
    timeout: float = 90
    start_period: int = 5

    def args(self, stop_timeout: int) -> docker.ContainerHealthcheckArgs:
        """The check in the form the provider takes.

        Args:
            stop_timeout: of the container, in seconds.
        """
        command = health.command(self.command, f"{FILES_PATH}/{health.FILE}", stop_timeout)
        return docker.ContainerHealthcheckArgs(
            tests=["CMD", *command],
            interval=_duration(health.INTERVAL),
            timeout=_duration(health.ENGINE_SECONDS),
            retries=3,
            start_period=_duration(self.start_period),
        )


@dataclass(frozen=True)
class ContainerSpec:
    """What differs between our containers.

    Args:
        image: image id.
        command: arguments; no secrets.
        user: `uid:gid`.
        network: name of the stack's network.
        alias: name under which others of that network find it.
        files: its configuration and secrets.
        health: its health check.
        memory_mb: limit, in MiB; swap is not allowed on top.
        entrypoint: replaces the image's own where given.
        environment: variables; no secrets.
        volumes: further mounts.
        tmpfs: further folders in memory: path → options, of `limits.tmpfs`. They count as the container's memory.
        ports: published ports.
        cpus: limit, in CPUs.
        pids: limit of processes and threads.
        shared_network: name of a further network to join, where it is found by its container's name.
        host_gateway: whether `host.docker.internal` names the machine that the engine runs on.
        shm_mb: size of /dev/shm, in MiB.
        stop_timeout: seconds between SIGTERM and SIGKILL.
        depends_on: what must be there first.
    """

    image: pulumi.Input[str]
    command: pulumi.Input[Sequence[pulumi.Input[str]]]
    user: str
    network: pulumi.Input[str]
    alias: str
    files: DockerFiles
    health: Health
    memory_mb: int
    entrypoint: Sequence[str] | None = None
    environment: pulumi.Input[Mapping[str, str]] = field(default_factory=dict)
    volumes: Sequence[docker.ContainerVolumeArgs] = ()
    tmpfs: Mapping[str, str] = field(default_factory=dict)
    ports: Sequence[docker.ContainerPortArgs] = ()
    cpus: str = "2"
    pids: int = 256
    shared_network: pulumi.Input[str] | None = None
    host_gateway: bool = False
    shm_mb: int = 64
    stop_timeout: int = 30
    depends_on: Sequence[pulumi.Resource] = ()


class DockerComponent(MlflowComponent):
    """A component that runs containers."""

    def _volume(
        self,
        child: str,
        name: str,
        *,
        protect: bool = False,
        driver_opts: Mapping[str, str] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> docker.Volume:
        """A named volume with our labels.

        Args:
            child: logical name below the component's.
            name: physical name.
            protect: true for data, which `down` must not delete.
            driver_opts: what the engine's `local` driver mounts, if not a folder of its own.
            opts: more options.
        """
        return docker.Volume(
            self._child(child),
            name=name,
            driver="local" if driver_opts else None,
            driver_opts=driver_opts,
            labels=[
                docker.VolumeLabelArgs(label=key, value=value)
                for key, value in sorted(self._labels().items())
            ],
            opts=pulumi.ResourceOptions.merge(self._opts(protect=protect), opts),
        )

    def _files(
        self, files: Mapping[str, pulumi.Input[str]], image: pulumi.Input[str], uid: int
    ) -> DockerFiles:
        """The component's configuration files and secrets, for its container and its jobs.

        Args:
            files: path below `FILES_PATH` → content.
            image: any image.
            uid: owner of the files.
        """
        return DockerFiles(
            self._child("files"),
            self._physical("files"),
            {health.FILE: health.SCRIPT, **files},
            image,
            uid,
            self._labels(),
            self._opts(),
        )

    def _run(self, spec: ContainerSpec) -> DockerHealthy:
        """Run a hardened container that restarts when it dies, and wait until it is healthy.

        Returns:
            The healthy container: what depends on `.container` starts after it.
        """
        options: dict[str, Any] = {}
        networks = [
            docker.ContainerNetworksAdvancedArgs(name=spec.network, aliases=[spec.alias]),
            # No alias there: others may have a service of that name.
            *(
                [docker.ContainerNetworksAdvancedArgs(name=spec.shared_network)]
                if spec.shared_network
                else []
            ),
        ]
        if spec.host_gateway:
            options["hosts"] = [
                docker.ContainerHostArgs(host=name, ip=gateway)
                for name, gateway in HOST_GATEWAY.items()
            ]
        container = docker.Container(
            self._child("container"),
            name=self._physical(),
            image=spec.image,
            entrypoints=list(spec.entrypoint) if spec.entrypoint else None,
            command=spec.command,
            user=spec.user,
            # With the files' volume: of an unknown set of volumes the provider does not say that it replaces the
            # container, so Pulumi, which deletes what is made of a thing before it replaces that, would delete the
            # files under the container.
            envs=pulumi.Output.all(spec.environment, spec.files.volume).apply(
                lambda known: [
                    f"{key}={value}"
                    for key, value in sorted({**known[0], FILES_VOLUME: known[1]}.items())
                ]
            ),
            networks_advanced=networks,
            volumes=[
                docker.ContainerVolumeArgs(
                    volume_name=spec.files.volume, container_path=FILES_PATH, read_only=True
                ),
                *spec.volumes,
            ],
            tmpfs={**TMP, **spec.tmpfs},
            ports=list(spec.ports),
            labels=[
                docker.ContainerLabelArgs(label=key, value=value)
                for key, value in sorted(self._labels().items())
            ],
            healthcheck=spec.health.args(spec.stop_timeout),
            restart="unless-stopped",
            read_only=True,
            capabilities=DROPPED,
            security_opts=SECURITY,
            init=True,
            memory=spec.memory_mb,
            memory_swap=spec.memory_mb,  # both, else the provider proposes a change for ever
            shm_size=spec.shm_mb,
            log_driver="json-file",
            log_opts=LOG_OPTS,
            stop_timeout=spec.stop_timeout,
            destroy_grace_seconds=spec.stop_timeout,
            opts=self._opts(
                delete_before_replace=True,
                hooks=leftovers.before_create(
                    leftovers.container(self._labels(), self._deployment), self._physical()
                ),
                depends_on=list(spec.depends_on),
                # The provider reports these as updated without applying them.
                replace_on_changes=["healthcheck", "tmpfs", "init"],
            ),
            **options,
        )
        return DockerHealthy(
            self._child("healthy"),
            container.id,
            spec.health.timeout,
            {"pids": spec.pids, "cpus": spec.cpus},
            self._opts(),
        )
