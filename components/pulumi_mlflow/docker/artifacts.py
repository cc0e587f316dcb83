"""Artifact stores for a Docker stack: one in a container, a folder in a volume, or a bucket that is there already."""

import hashlib
from collections.abc import Mapping
from typing import Any, NotRequired, Optional, TypedDict

import pulumi
import pulumi_docker as docker

from .. import endpoints
from ..contracts import ArtifactEndpoint
from ..core import stores, uris, urls
from ..core.server_image import ARTIFACTS, UID
from ..core.store_server import CONSOLE_PORT, PORT, REGION, store_environment, store_program
from ..generated import GeneratedSecret
from ..guard import DataGuard
from . import container
from .files import FILES_PATH
from .job import DockerJob
from .network import place

FOLDER = "/artifacts"
"""Where the server finds its folder; the image has it, and the server's user owns it there, so in the volume too."""

NFS_FOLDER = "/artifacts-nfs"
"""Where the server finds an NFS export. Not a folder of the image, or the engine would try to give its owner to the
export, which a server with root_squash refuses."""

_PROVE_SECONDS = 30
"""How long a store that is up already may take to answer."""


class DockerArtifactStoreArgs(TypedDict):
    """Arguments of DockerArtifactStore."""

    network: pulumi.Input[str]
    """Name of the stack's network."""
    image: pulumi.Input[str]
    """Id of the store's image."""
    job_image: pulumi.Input[str]
    """Id of the server's image: it makes the bucket."""
    store: NotRequired[str]
    """`versitygw` or `minio`; `versitygw` unless given."""
    bucket: NotRequired[Optional[str]]
    """Name of the bucket; `mlflow` unless given, `default` for MinIO."""
    memory_mb: NotRequired[int]
    """Memory limit, in MiB; 256 unless given."""
    publish: NotRequired[bool]
    """Whether clients reach the store by a port of the machine; no unless given."""
    bind: NotRequired[str]
    """Address to publish on; 127.0.0.1 unless given."""
    port: NotRequired[int]
    """Port to publish; 9000 unless given."""
    console_port: NotRequired[Optional[int]]
    """Port of MinIO's console, on loopback; not published unless given."""
    public_url: NotRequired[Optional[str]]
    """URL under which clients reach it; `http://` with address and port unless given."""
    multipart: NotRequired[bool]
    """Whether the server uses that URL too, to sign others of it for clients; no unless given."""
    expire_multipart_days: NotRequired[Optional[int]]
    """Days after which unfinished uploads are removed; only MinIO can."""
    encryption: NotRequired[str]
    """`none` or `sse-s3`, which only MinIO can; `none` unless given."""
    deployment: NotRequired[str]
    """Prefix of physical names; `<project>-<stack>` unless given."""


class DockerArtifactStore(container.DockerComponent):
    """versitygw or MinIO over a protected volume, with generated keys in protected state and its bucket made.

    Raises:
        ValueError: the store cannot do what it is asked for.
    """

    _role = "artifacts"

    endpoint: ArtifactEndpoint
    """For consumers in the same network; known once the bucket is there."""
    ops: pulumi.Output[dict[str, str]]
    """What `docker.backup` and a move of the artifacts need; no secrets."""

    def __init__(
        self,
        name: str,
        args: DockerArtifactStoreArgs,
        opts: Optional[pulumi.ResourceOptions] = None,
    ) -> None:
        super().__init__(name, args.get("deployment"), opts)
        store = args.get("store", "versitygw")
        program = store_program(store, args.get("expire_multipart_days"))
        public_url = self._public_url(args)
        multipart, encryption = args.get("multipart", False), args.get("encryption", "none")
        _refuse(name, store, args, public_url)
        bucket = args.get("bucket") or stores.default_bucket(store)
        uri = uris.artifact_uri(store, bucket)
        guard = DataGuard(
            self._child("guard"),
            self._role,
            {"mlflow:artifacts.store": store, "mlflow:artifacts.bucket": bucket},
            opts,
            self,
        )
        access = GeneratedSecret(self._child("access-key"), 20, self._opts())
        secret = GeneratedSecret(self._child("secret-key"), 40, self._opts())
        # Made whether encryption is on or off: what was encrypted once needs it for ever.
        kms = (
            GeneratedSecret(self._child("kms-key"), 32, self._opts()) if store == "minio" else None
        )
        data = self._volume(
            "data",
            self._physical(store),
            protect=True,
            opts=pulumi.ResourceOptions(depends_on=[guard]),
        )
        files = self._files(
            endpoints.store_files(store, access.value, secret.value, kms.value if kms else None),
            args["image"],
            UID,
        )
        memory_mb = args.get("memory_mb", 256)
        healthy = self._run(
            container.ContainerSpec(
                image=args["image"],
                command=program.command,
                user=f"{UID}:{UID}",
                network=args["network"],
                alias=self._role,
                files=files,
                health=container.Health(program.check),
                memory_mb=memory_mb,
                # Go's own limit: it collects garbage before the kernel ends it.
                environment={**program.environment, "GOMEMLIMIT": f"{memory_mb * 85 // 100}MiB"},
                volumes=[
                    docker.ContainerVolumeArgs(
                        volume_name=data.name, container_path=program.data_path
                    )
                ],
                ports=self._ports(args, store),
            ),
        )
        endpoint_url = f"http://{self._physical()}:{PORT}"
        mounted = files.volume.apply(lambda held: {held: f"{FILES_PATH}:ro"})
        ready: pulumi.Resource = DockerJob(
            self._child("bucket"),
            {
                "name": self._physical("bucket"),
                "image": args["job_image"],
                "command": [*ARTIFACTS, "bucket"],
                "environment": {
                    **store_environment(uri, endpoint_url, REGION),
                    "ENCRYPTION": encryption,
                },
                "volumes": mounted,
                "network": args["network"],
                "labels": self._labels(),
                "timeout": 120,
            },
            {"volume": data.name},
            self._opts(depends_on=[healthy]),
        )
        if multipart:
            ready = DockerJob(
                self._child("shared-url"),
                {
                    "name": self._physical("shared-url"),
                    "image": args["job_image"],
                    "command": [*ARTIFACTS, "prove"],
                    "environment": {
                        **store_environment(uri, public_url, REGION),
                        "URL_KEY": "mlflow:artifacts.public_url",
                        "WAIT_SECONDS": str(_PROVE_SECONDS),
                    },
                    "volumes": mounted,
                    "network": args["network"],
                    "host_gateway": True,
                    "labels": self._labels(),
                    "timeout": 120,
                },
                {"container": healthy.container},
                self._opts(depends_on=[ready]),
            )
        self.endpoint = ArtifactEndpoint(
            component=name,
            reach=[place(self._deployment)],
            uri=container.once(ready, uri),
            endpoint_url=container.once(healthy, endpoint_url),
            region=REGION,
            access_key=access.value,
            secret_key=secret.value,
        )
        if public_url:
            self.endpoint["public_endpoint_url"] = public_url
        self.ops = pulumi.Output.all(
            store=store,
            uri=uri,
            endpoint_url=self.endpoint["endpoint_url"],
            region=REGION,
            volume=data.name,
            image=args["image"],
            files=files.volume,
        )
        self.register_outputs({"endpoint": self.endpoint, "ops": self.ops})

    def _public_url(self, args: DockerArtifactStoreArgs) -> str:
        """Where clients reach the store; empty if they do not."""
        if not args.get("publish", False):
            return ""
        own = f"http://{urls.url_host(args.get('bind', '127.0.0.1'))}:{args.get('port', PORT)}"
        return args.get("public_url") or own

    def _ports(self, args: DockerArtifactStoreArgs, store: str) -> list[docker.ContainerPortArgs]:
        ports = []
        if args.get("publish", False):
            ports.append(
                docker.ContainerPortArgs(
                    internal=PORT,
                    external=args.get("port", PORT),
                    ip=args.get("bind", "127.0.0.1"),
                )
            )
        console_port = args.get("console_port")
        if store == "minio" and console_port:
            ports.append(
                docker.ContainerPortArgs(
                    internal=CONSOLE_PORT, external=console_port, ip="127.0.0.1"
                )
            )
        return ports


class DockerNfsArgs(TypedDict):
    """An NFS export, mounted by the engine."""

    server: str
    """Name or address of the server, as the engine's machine knows it."""
    path: str
    """Exported folder; user 10001 must be able to write in it."""
    options: NotRequired[str]
    """Mount options; `rw,nfsvers=4` unless given."""


class DockerArtifactFolderArgs(TypedDict):
    """Arguments of DockerArtifactFolder."""

    image: pulumi.Input[str]
    """Id of the server's image: it proves that the folder can be written."""
    nfs: NotRequired[Optional[DockerNfsArgs]]
    """Where the folder is, if not on the engine's own disk."""
    deployment: NotRequired[str]
    """Prefix of physical names; `<project>-<stack>` unless given."""


class DockerArtifactFolder(container.DockerComponent):
    """A folder in a volume that the tracking server mounts; clients reach it through the server only."""

    _role = "artifacts"

    endpoint: ArtifactEndpoint
    """For servers of the same deployment; known once the folder was written."""
    ops: pulumi.Output[dict[str, str]]
    """What `docker.backup` and a move of the artifacts need."""

    def __init__(
        self,
        name: str,
        args: DockerArtifactFolderArgs,
        opts: Optional[pulumi.ResourceOptions] = None,
    ) -> None:
        super().__init__(name, args.get("deployment"), opts)
        nfs = args.get("nfs")
        export = f"{nfs['server']}:{nfs['path']}" if nfs else ""
        guard = DataGuard(
            self._child("guard"),
            self._role,
            {
                "mlflow:artifacts.store": "folder",
                **({"mlflow:artifacts.nfs": export} if export else {}),
            },
            opts,
            self,
        )
        after = pulumi.ResourceOptions(depends_on=[guard])
        if nfs:
            # Unprotected: its deletion is no deletion on the server, and other options are another volume.
            volume = self._nfs_volume(nfs, export, after)
        else:
            volume = self._volume("data", self._physical("folder"), protect=True, opts=after)
        folder = NFS_FOLDER if nfs else FOLDER
        proved = DockerJob(
            self._child("folder"),
            {
                "name": self._physical("folder-check"),
                "image": args["image"],
                "command": [*ARTIFACTS, "prove"],
                "environment": store_environment(folder),
                "volumes": volume.name.apply(lambda held: {held: folder}),
                "labels": self._labels(),
                "timeout": 120,
            },
            {},
            self._opts(),
        )
        self.endpoint = ArtifactEndpoint(
            component=name,
            reach=[place(self._deployment)],
            uri=container.once(proved, folder),
            volume=volume.name,
        )
        self.ops = pulumi.Output.all(store="folder", uri=folder, volume=volume.name)
        self.register_outputs({"endpoint": self.endpoint, "ops": self.ops})

    def _nfs_volume(
        self, nfs: DockerNfsArgs, export: str, opts: pulumi.ResourceOptions
    ) -> docker.Volume:
        options = f"addr={nfs['server']},{nfs.get('options', 'rw,nfsvers=4')}"
        # A volume of that name with other options would be taken as it is.
        digest = hashlib.sha256(f"{export}\0{options}".encode()).hexdigest()[:8]
        return self._volume(
            "nfs",
            self._physical("nfs", digest),
            driver_opts={"type": "nfs", "o": options, "device": f":{nfs['path']}"},
            opts=opts,
        )


class DockerExistingArtifactsArgs(TypedDict):
    """Arguments of DockerExistingArtifacts."""

    network: pulumi.Input[str]
    """Name of the stack's network."""
    image: pulumi.Input[str]
    """Id of the server's image: it proves the store."""
    artifacts: ArtifactEndpoint
    """The store, from `existing.existing_artifacts`."""
    store: NotRequired[str]
    """`s3`, `gcs` or `azure`; `s3` unless given."""
    multipart: NotRequired[bool]
    """Whether clients use URLs that the server signed; no unless given."""
    expire_multipart_days: NotRequired[Optional[int]]
    """Days after which a rule of the bucket must remove unfinished uploads."""
    encryption: NotRequired[str]
    """How objects must be encrypted: `none` (however), `sse-s3` or `sse-kms`; `none` unless given."""
    deployment: NotRequired[str]
    """Prefix of physical names; `<project>-<stack>` unless given."""


class DockerExistingArtifacts(container.DockerComponent):
    """A store that we did not make, proved from the stack's network: keys, privacy, and what the settings ask of it.

    Nothing of it is changed: its rules are its owner's.

    Raises:
        ValueError: the store cannot do what it is asked for.
    """

    _role = "artifacts"

    endpoint: ArtifactEndpoint
    """The same store; known once it was proved."""
    ops: pulumi.Output[dict[str, str]]
    """What `docker.backup` and a move of the artifacts need; no secrets."""

    def __init__(
        self,
        name: str,
        args: DockerExistingArtifactsArgs,
        opts: Optional[pulumi.ResourceOptions] = None,
    ) -> None:
        super().__init__(name, args.get("deployment"), opts)
        store, artifacts = args.get("store", "s3"), args["artifacts"]
        days, encryption = args.get("expire_multipart_days"), args.get("encryption", "none")
        url = artifacts.get("endpoint_url", "")
        _refuse(name, store, args, url if isinstance(url, str) else "")
        keys: dict[str, pulumi.Input[str]] = {}
        if store == "s3" and "access_key" in artifacts:
            keys = {
                "env/AWS_ACCESS_KEY_ID": artifacts["access_key"],
                "env/AWS_SECRET_ACCESS_KEY": artifacts["secret_key"],
            }
        ca = {endpoints.ARTIFACTS_CA: artifacts["ca"]} if "ca" in artifacts else {}
        files = self._files({**keys, **ca}, args["image"], UID)
        known = pulumi.Output.all(
            uri=artifacts["uri"],
            endpoint_url=url,
            region=artifacts.get("region", ""),
            addressing=artifacts.get("addressing", ""),
        )
        environment = known.apply(
            lambda given: {
                **store_environment(
                    given["uri"],
                    given["endpoint_url"],
                    given["region"],
                    f"{FILES_PATH}/{endpoints.ARTIFACTS_CA}" if ca else "",
                    given["addressing"],
                ),
                "ENCRYPTION": encryption,
                "URL_KEY": "mlflow:artifacts.existing.endpoint_url",
                "WAIT_SECONDS": str(_PROVE_SECONDS),
                **({"EXPIRE_MULTIPART_DAYS": str(days)} if days else {}),
            }
        )
        proved = DockerJob(
            self._child("store"),
            {
                "name": self._physical("store-check"),
                "image": args["image"],
                "command": [*ARTIFACTS, "prove"],
                "environment": environment,
                "volumes": files.volume.apply(lambda held: {held: f"{FILES_PATH}:ro"}),
                "network": args["network"],
                "host_gateway": True,
                "labels": self._labels(),
                "timeout": 180,
            },
            {},
            self._opts(),
        )
        self.endpoint = artifacts.copy()
        self.endpoint["uri"] = pulumi.Output.all(artifacts["uri"], proved.urn).apply(
            lambda known: str(known[0])
        )
        if url:
            self.endpoint.setdefault("public_endpoint_url", url)
        self.ops = pulumi.Output.all(
            store=store,
            uri=artifacts["uri"],
            endpoint_url=url,
            region=artifacts.get("region", ""),
        )
        self.register_outputs({"endpoint": self.endpoint, "ops": self.ops})


def _refuse(name: str, store: str, args: Mapping[str, Any], url: str) -> None:
    """Raise if the store cannot do what a component's arguments ask for.

    Args:
        name: the component's.
        store: kind of store.
        args: with `multipart`, `expire_multipart_days` and `encryption`.
        url: where clients reach the store.
    """
    reasons = {
        "multipart": args.get("multipart") and stores.check_multipart(store, "proxied", url),
        "expire_multipart_days": args.get("expire_multipart_days")
        and stores.check_lifecycle(store),
        "encryption": stores.check_encryption(store, args.get("encryption", "none")),
    }
    for key, reason in reasons.items():
        if reason:
            raise ValueError(f"{name}: {key}: {reason}")
