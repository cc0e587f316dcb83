"""What we ask of a Docker Engine beside the Pulumi provider: builds, one-shot jobs, waiting for health.

The provider can do the first two as well, but it hides a build's progress, keeps a failed job as if it had succeeded
(exit code 3 leaves `up` at 0), and reports a container that does not get healthy without its log. Here each ends with
its cause and leaves nothing behind, so that the next `up` tries again.
"""

import contextlib
import io
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import docker
import requests
import tenacity
from docker.errors import DockerException, NotFound
from docker.models.containers import Container
from docker.types import LogConfig

from ..builds import LOG_TAIL, EngineError, build_image, connect, image_exists, say, tail
from ..core import limits, naming

__all__ = [
    "LOG_TAIL",
    "EngineError",
    "Job",
    "build_image",
    "connect",
    "copy_out",
    "filled_volume",
    "image_exists",
    "limit",
    "run_job",
    "run_job_from_folder",
    "run_job_to_folder",
    "running",
    "say",
    "wait_healthy",
]

LOG_OPTS = {"max-size": "10m", "max-file": "3"}
"""Of every container: `json-file` grows without bounds otherwise."""

CHUNK = 1 << 20

_CPU_PERIOD = 100_000
"""Microseconds, the kernel's own default."""

HOST_GATEWAY = {"host.docker.internal": "host-gateway"}
"""Name → address of the machine that the engine runs on, as a container sees it."""


@dataclass(frozen=True)
class Job:
    """A container that runs once and is removed.

    Args:
        name: physical name; a left-over of that name is removed first.
        image: image id or name.
        command: arguments; no secrets.
        entrypoint: replaces the image's own where given.
        environment: variables; no secrets.
        volumes: volume name → path in the container; read-only if the path ends in `:ro`.
        network: name of the network to join; empty for none.
        extra_networks: further networks to join, such as that of another project.
        host_gateway: whether `host.docker.internal` names the machine that the engine runs on.
        user: `uid:gid`; empty for the image's own.
        labels: labels.
        timeout: seconds after which it is ended and counts as failed.
        memory_mb: limit, in MiB, without swap; MLflow's migration takes 0.4 GB, boto3's copies less.
        pids: limit of processes and threads.
        cpus: limit, in CPUs.
        tmp_mb: size of /tmp, in MiB; it is memory, and counts as such.
    """

    name: str
    image: str
    command: list[str]
    entrypoint: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    volumes: dict[str, str] = field(default_factory=dict)
    network: str = ""
    extra_networks: list[str] = field(default_factory=list)
    host_gateway: bool = False
    user: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    timeout: float = 600
    memory_mb: int = 1024
    pids: int = 256
    cpus: float = 2
    tmp_mb: int = 64


def _remove(client: docker.DockerClient, name: str) -> None:
    with contextlib.suppress(NotFound):
        client.containers.get(name).remove(force=True, v=True)


@contextlib.contextmanager
def _created(client: docker.DockerClient, job: Job) -> Iterator[Container]:
    _remove(client, job.name)
    binds = [
        f"{volume}:{path}" if path.endswith(":ro") else f"{volume}:{path}:rw"
        for volume, path in job.volumes.items()
    ]
    container = client.containers.create(
        job.image,
        job.command,
        name=job.name,
        entrypoint=job.entrypoint or None,
        environment=job.environment,
        volumes=binds,
        network=job.network or "none",
        extra_hosts=HOST_GATEWAY if job.host_gateway else None,
        user=job.user or None,
        labels=job.labels,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges:true"],
        read_only=True,
        tmpfs={"/tmp": limits.tmpfs(job.tmp_mb)},  # noqa: S108 - a mount inside the container
        mem_limit=f"{job.memory_mb}m",
        memswap_limit=f"{job.memory_mb}m",
        pids_limit=job.pids,
        cpu_period=_CPU_PERIOD,
        cpu_quota=int(job.cpus * _CPU_PERIOD),
        log_config=LogConfig(type=LogConfig.types.JSON, config=LOG_OPTS),
    )
    try:
        for network in job.extra_networks:
            client.networks.get(network).connect(container)
        yield container
    except BaseException:
        # What went wrong matters, and the next job of the name removes what is left of this one.
        with contextlib.suppress(DockerException, requests.RequestException):
            container.remove(force=True, v=True)
        raise
    container.remove(force=True, v=True)


def run_job(
    client: docker.DockerClient, job: Job, progress: Callable[[str], None] | None = None
) -> str:
    """Run a job to its end and remove it.

    Args:
        client: the engine.
        job: what to run.
        progress: called every second with the last line of its log; without it, that is shown every 10 s.

    Returns:
        Its log.

    Raises:
        EngineError: it exited with another code than 0, or did not end in time; the message holds the log's end.
    """
    with _created(client, job) as container:
        container.start()
        return _finish(container, job, progress)


@contextlib.contextmanager
def running(client: docker.DockerClient, job: Job) -> Iterator[Container]:
    """A container that runs, hardened like a job's, for the time of the block."""
    with _created(client, job) as container:
        container.start()
        yield container


def _finish(container: Container, job: Job, progress: Callable[[str], None] | None = None) -> str:
    deadline = time.monotonic() + job.timeout
    said = time.monotonic()
    while container.status not in ("exited", "dead"):
        if time.monotonic() > deadline:
            log = container.logs().decode(errors="replace")
            raise EngineError(f"{job.name} did not end within {job.timeout:.0f} s:\n{tail(log)}")
        if time.monotonic() - said > (1 if progress else 10):
            last = container.logs(tail=1).decode(errors="replace").strip()
            if progress is None:
                say(f"{job.name}: running; {last}")
            elif last:
                progress(last)
            said = time.monotonic()
        time.sleep(0.2)
        container.reload()
    code = container.attrs["State"]["ExitCode"]
    if code != 0:
        # One after the other: the engine mixes them in no certain order, and the cause is mostly on stderr.
        streams = (container.logs(stderr=False), container.logs(stdout=False))
        ends = "\n".join(tail(stream.decode(errors="replace")) for stream in streams if stream)
        raise EngineError(f"{job.name} failed with exit code {code}:\n{ends}")
    return str(container.logs().decode(errors="replace"))


class _Pipe(io.RawIOBase):
    """Makes a file of an iterator of bytes, for tarfile's stream mode."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = next(self._chunks, b"")
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


@contextlib.contextmanager
def _volume(client: docker.DockerClient, name: str, labels: dict[str, str]) -> Iterator[str]:
    """An empty volume for the time of the block, whatever one that was killed has left."""
    _remove_volume(client, name)
    volume = client.volumes.create(name=name, labels=labels)
    try:
        yield volume.name
    except BaseException:
        # The cause matters, not that the engine has not let go of the volume yet.
        with contextlib.suppress(DockerException, requests.RequestException):
            _remove_volume(client, name)
        raise
    # The engine goes on with a removal that takes longer than it is waited for.
    with contextlib.suppress(requests.RequestException):
        _remove_volume(client, name)


def _remove_volume(client: docker.DockerClient, name: str) -> None:
    """Remove a volume of ours with the jobs that use it; the engine refuses while there are such."""
    for container in client.containers.list(all=True, filters={"volume": name}):
        if naming.MANAGED in container.labels:
            _remove(client, str(container.name))
    with contextlib.suppress(NotFound):
        client.volumes.get(name).remove(force=True)


def run_job_to_folder(client: docker.DockerClient, job: Job, path: str, folder: Path) -> str:
    """Run a job that writes to `path`, a fresh volume, and copy what it wrote to a folder of this machine.

    Nothing is bind-mounted, so that it works with a remote engine.

    Raises:
        EngineError: the job failed; the message holds its log's end.
        OSError: the folder cannot be written, as where its disk is full.
    """
    with _volume(client, _data_name(job), job.labels) as volume:
        filled = _with_volume(job, volume, path)
        with _created(client, filled) as container:
            container.start()
            output = _finish(container, filled)
            copy_out(client, container, path, folder)
    return output


def copy_out(client: docker.DockerClient, container: Container, path: str, folder: Path) -> None:
    """Copy a file, or what is in a folder, out of a container to a folder of this machine; it need not run.

    Raises:
        EngineError: the engine cannot read it.
        NotFound: the container has no such path.
    """
    # Not the SDK's `get_archive`: it leaves an answer open that was not read to its end, and while it is open the
    # engine removes neither container nor volume.
    url = f"{client.api.base_url}/v{client.api.api_version}/containers/{container.id}/archive"
    with client.api.get(
        url,
        params={"path": path},
        headers={"Accept-Encoding": "identity"},
        stream=True,
        timeout=client.api.timeout,
    ) as answer:
        if answer.status_code == HTTPStatus.NOT_FOUND:
            raise NotFound(f"{container.name}: no {path}")
        if not answer.ok:
            raise EngineError(f"{container.name}: {path}: {answer.text}")
        pipe = io.BufferedReader(_Pipe(answer.iter_content(CHUNK)), CHUNK)
        with tarfile.open(fileobj=pipe, mode="r|") as archive:
            for member in archive:
                _, inside, name = member.name.partition("/")
                if inside or not member.isdir():
                    member.name = name or member.name
                    archive.extract(member, folder, filter="data")


def run_job_from_folder(client: docker.DockerClient, job: Job, path: str, source: Path) -> str:
    """Copy a folder (its contents) or a file of this machine to `path`, a fresh volume, and run a job that reads it."""
    with _volume(client, _data_name(job), job.labels) as volume:
        filled = _with_volume(job, volume, path)
        with _created(client, filled) as container:
            _upload(container, path, {"." if source.is_dir() else source.name: source})
            container.start()
            return _finish(container, filled)


@contextlib.contextmanager
def filled_volume(
    client: docker.DockerClient,
    name: str,
    image: str,
    labels: dict[str, str],
    sources: Sequence[Path],
) -> Iterator[str]:
    """A volume with files and folders of this machine, for several jobs.

    Args:
        client: the engine.
        name: of the volume; one that was left behind is removed first, with the jobs that use it.
        image: any image of the engine.
        labels: of the volume.
        sources: what is copied, under its own name.
    """
    with _volume(client, name, labels) as volume:
        carrier = Job(
            name=f"{name}-carrier",
            image=image,
            command=["true"],
            volumes={volume: _CARRIED},
            labels=labels,
        )
        with _created(client, carrier) as container:  # never started
            _upload(container, _CARRIED, {source.name: source for source in sources})
        yield volume


_CARRIED = "/carried"


def _data_name(job: Job) -> str:
    return f"{job.name}-data"


def _with_volume(job: Job, volume: str, path: str) -> Job:
    return Job(**{**vars(job), "volumes": {**job.volumes, volume: path}})


def _upload(container: Container, path: str, sources: Mapping[str, Path]) -> None:
    def readable(member: tarfile.TarInfo) -> tarfile.TarInfo:
        # The job runs as an unprivileged user that owns none of this machine's files.
        member.mode |= 0o555 if member.isdir() else 0o444
        member.uid = member.gid = 0
        return member

    with tempfile.TemporaryFile() as spool:
        with tarfile.open(fileobj=spool, mode="w") as archive:
            for name, source in sources.items():
                archive.add(source, arcname=name, filter=readable)
        spool.seek(0)
        container.put_archive(path, spool)


def limit(client: docker.DockerClient, name: str, *, pids: int, cpus: float) -> None:
    """Limit a running container; that lasts until it is removed.

    Args:
        client: the engine.
        name: name or id of the container.
        pids: most processes and threads.
        cpus: CPU time in CPUs; may be more than the machine has, which the engine refuses of `--cpus`.

    Raises:
        EngineError: the engine refuses.
    """
    api = client.api
    wanted = {"PidsLimit": pids, "CpuPeriod": _CPU_PERIOD, "CpuQuota": int(cpus * _CPU_PERIOD)}

    # A container that dies at this moment refuses; the engine starts it again, or `wait_healthy` says why not.
    @tenacity.retry(stop=tenacity.stop_after_delay(5), wait=tenacity.wait_fixed(0.3), reraise=True)
    def update() -> None:
        # The SDK's own `update_container` knows no PidsLimit.
        url = f"{api.base_url}/v{api.api_version}/containers/{name}/update"
        answer = api.post(url, json=wanted, timeout=api.timeout)
        if not answer.ok:
            raise EngineError(
                f"{name}: limits of {pids} processes and {cpus:g} CPUs: {answer.text}"
            )

    update()


def is_healthy(client: docker.DockerClient, name: str) -> bool:
    """Whether a container is there, runs, and its last health check, if it has one, has passed."""
    try:
        return _well(client.containers.get(name).attrs["State"])
    except NotFound:
        return False


def _well(state: Mapping[str, Any]) -> bool:
    status = state.get("Health", {}).get("Status", state["Status"])
    return status in ("healthy", "running") and bool(state["Running"])


def wait_healthy(
    client: docker.DockerClient, name: str, timeout: float, say: Callable[[str], None] = say
) -> None:
    """Wait until a container's health check passes.

    Args:
        client: the engine.
        name: name or id of the container.
        timeout: seconds.
        say: shows what is being waited for.

    Raises:
        EngineError: it did not become healthy in time, or crashed three times; the message holds the last health
            check's output and the log's end.
    """
    deadline = time.monotonic() + timeout
    said = time.monotonic()
    before: int | None = None
    while True:
        container = client.containers.get(name)
        state = container.attrs["State"]
        health = state.get("Health", {})
        if _well(state):
            return
        # Not those of the months before.
        before = container.attrs["RestartCount"] if before is None else before
        crashes = container.attrs["RestartCount"] - before
        if time.monotonic() > deadline or crashes >= 3:  # noqa: PLR2004 - a fourth start fails like the third
            checks = health.get("Log") or [{}]
            why = f"crashed {crashes} times" if crashes else f"not healthy within {timeout:.0f} s"
            raise EngineError(
                f"{container.name}: {why} (state {state['Status']}, exit code {state['ExitCode']}"
                f"{', ' + state['Error'] if state['Error'] else ''}); "
                f"last health check: {str(checks[-1].get('Output', 'none ran')).strip()[-300:]!r}; its log:\n"
                + tail(container.logs(tail=LOG_TAIL).decode(errors="replace"))
            )
        if time.monotonic() - said > 5:  # noqa: PLR2004 - a sign of life every 5 s
            say(
                f"{container.name}: waiting for its health check ({health.get('Status', 'starting')})"
            )
            said = time.monotonic()
        time.sleep(0.3)
