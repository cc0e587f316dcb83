"""An S3-compatible store inside the cluster, for clusters without a cloud."""

from typing import Any, NotRequired, Optional, TypedDict

import pulumi
import pulumi_kubernetes as kubernetes

from .. import endpoints
from ..contracts import ArtifactEndpoint
from ..core import manifests, naming, server_image, store_server, stores, uris
from ..generated import GeneratedSecret
from ..guard import DataGuard
from . import workload

CLIENTS = ("tracking", "jobs", "gc", "backup", "bucket")
"""Roles whose pods may connect."""

_NAME_LIMIT = 52
"""Longest name of a StatefulSet, in characters: its pods get a label of the name and ten more."""

_STORE_SECONDS = 600
"""For the old pod to end, its disk to move, and the new one to start."""

BUCKET = "bucket"
"""Role of the job that makes the bucket, and proves that it works."""


class KubernetesArtifactStoreArgs(TypedDict):
    """Arguments of KubernetesArtifactStore."""

    namespace: pulumi.Input[str]
    """Where it runs: `KubernetesNetwork.namespace`."""
    image: pulumi.Input[str]
    """The store's image by our recipe, with a tag or digest."""
    job_image: pulumi.Input[str]
    """The server's image: it makes the bucket."""
    pull_secrets: NotRequired[list[str]]
    """Names of Secrets of the namespace that open the registry; none unless given."""
    store: NotRequired[str]
    """`versitygw` or `minio`; `versitygw` unless given."""
    bucket: NotRequired[Optional[str]]
    """Name of the bucket; `mlflow` unless given, `default` for MinIO."""
    storage_gb: NotRequired[int]
    """Disk, in GiB; 100 unless given. It grows in place where its class allows, and never shrinks."""
    storage_class: NotRequired[Optional[str]]
    """Storage class of the disk; the cluster's usual one unless given."""
    memory_mb: NotRequired[int]
    """Memory limit, in MiB; 512 unless given."""
    cluster: NotRequired[Optional[workload.KubernetesAccessArgs]]
    """How this machine reaches the cluster, to see rollouts and jobs through; left to Pulumi's provider unless given,
    which takes some for done too early, and tells of an image that cannot be pulled only when its time is up."""
    cluster_domain: NotRequired[str]
    """What the names of Services end in; `cluster.local` unless given."""
    deployment: NotRequired[str]
    """Prefix of physical names; `<project>-<stack>` unless given."""


class KubernetesArtifactStore(workload.KubernetesComponent):
    """versitygw or MinIO over a protected disk, with generated keys in protected state and its bucket made.

    One pod: it is as available as its disk. The disk is an object of its own, so that nothing that happens to the pod
    or its StatefulSet can take it along.

    Raises:
        ValueError: a store that is none, or a size that cannot be.
    """

    _role = "artifacts"

    endpoint: ArtifactEndpoint
    """For consumers in the same namespace; known once the bucket is there."""

    def __init__(
        self,
        name: str,
        args: KubernetesArtifactStoreArgs,
        opts: Optional[pulumi.ResourceOptions] = None,
    ) -> None:
        super().__init__(name, args.get("deployment"), opts, args.get("cluster"))
        namespace, store = args["namespace"], args.get("store", "versitygw")
        program = store_server.store_program(store)
        bucket = args.get("bucket") or stores.default_bucket(store)
        uri = uris.artifact_uri(store, bucket)
        size_gb = args.get("storage_gb", 100)
        if size_gb < 1:
            raise ValueError(f"{name}: storage_gb: must be ≥ 1 (got {size_gb})")
        image = workload.checked_image(args["image"])
        job_image = workload.checked_image(args["job_image"])
        guard = DataGuard(
            self._child("guard"),
            self._role,
            {"mlflow:artifacts.store": store, "mlflow:artifacts.bucket": bucket},
            opts,
            self,
        )
        access = GeneratedSecret(self._child("access-key"), 20, self._opts())
        secret = GeneratedSecret(self._child("secret-key"), 40, self._opts())
        held = self._files(namespace, endpoints.store_files(store, access.value, secret.value))
        data = self._disk(namespace, store, args, guard)
        running = self._store(args, program, image, held, data)
        self._service(namespace, store_server.PORT)
        host = self._host(
            self._physical(),
            namespace,
            args.get("cluster_domain", workload.CLUSTER_DOMAIN),
            running,
        )
        url = host.apply(lambda known: f"http://{known}:{store_server.PORT}")
        made = self._bucket(args, job_image, held, uri, url)
        self.endpoint = ArtifactEndpoint(
            component=name,
            reach=[workload.place(self._deployment)],
            uri=made.urn.apply(lambda _: uri),
            endpoint_url=url,
            region=store_server.REGION,
            access_key=pulumi.Output.secret(access.value),
            secret_key=pulumi.Output.secret(secret.value),
        )
        self.register_outputs({"endpoint": self.endpoint})

    def _disk(
        self,
        namespace: pulumi.Input[str],
        store: str,
        args: KubernetesArtifactStoreArgs,
        guard: pulumi.Resource,
    ) -> pulumi.Output[str]:
        """Name of the claim of the disk that holds the objects."""
        name = self._physical(store)
        spec: Any = {
            "accessModes": ["ReadWriteOnce"],
            "resources": {
                "requests": {"storage": manifests.size(1024 * args.get("storage_gb", 100))}
            },
            # Another class would be another disk; protection refuses that.
            **({"storageClassName": args["storage_class"]} if args.get("storage_class") else {}),
        }
        claim = kubernetes.core.v1.PersistentVolumeClaim(
            self._child("data"),
            # Most classes make the disk when its first pod has a node, so there is nothing to wait for yet.
            metadata=self._meta(name, namespace, annotations={"pulumi.com/skipAwait": "true"}),
            spec=spec,
            opts=self._opts(protect=True, depends_on=[guard]),
        )
        return claim.urn.apply(lambda _: name)

    def _store(
        self,
        args: KubernetesArtifactStoreArgs,
        program: store_server.StoreProgram,
        image: pulumi.Output[str],
        held: workload.Files,
        data: pulumi.Output[str],
    ) -> pulumi.Resource:
        namespace, memory_mb = args["namespace"], args.get("memory_mb", 512)
        port = store_server.PORT
        allowed = self._edges(
            namespace,
            ingress=[manifests.from_pods([self._pods_of(role) for role in CLIENTS], port)],
            egress=[],
        )
        pod = manifests.pod(
            self._account(namespace),
            server_image.UID,
            [
                manifests.container(
                    self._role,
                    image,
                    manifests.resources(memory_mb, 0.25, 2),
                    [
                        manifests.files_mount("files"),
                        # Not the disk's root, where ext4 has a `lost+found` that is no bucket.
                        {"name": "data", "mountPath": program.data_path, "subPath": "objects"},
                    ],
                    command=[server_image.ENTRYPOINT],
                    args=program.command,
                    env=manifests.variables(
                        # Go's own limit: it collects garbage before the kernel ends it.
                        {**program.environment, "GOMEMLIMIT": f"{memory_mb * 85 // 100}MiB"}
                    ),
                    ports=[{"name": "http", "containerPort": port, "protocol": "TCP"}],
                    **manifests.probes(manifests.http_check(program.health_path, port)),
                )
            ],
            [held.volume(), {"name": "data", "persistentVolumeClaim": {"claimName": data}}],
            imagePullSecrets=workload.pull_secrets(args.get("pull_secrets", [])),
        )
        spec: Any = {
            "serviceName": self._physical(),
            # The old pod is gone before a new one starts: two would write to one disk.
            "replicas": 1,
            # With OrderedReady, the default, a pod that never gets ready (a wrong image) is not replaced when its
            # template is mended: https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#forced-rollback
            "podManagementPolicy": "Parallel",
            "revisionHistoryLimit": 2,
            "selector": {"matchLabels": self._pods_of(self._role)},
            "template": {"metadata": {"labels": self._labels()}, "spec": pod},
        }
        name = naming.physical_name(self._deployment, self._role, limit=_NAME_LIMIT)
        made = kubernetes.apps.v1.StatefulSet(
            self._child("store"),
            metadata=self._meta(name, namespace, annotations=self._awaited()),
            spec=spec,
            opts=self._opts(depends_on=[allowed]),
        )
        version = workload.version_of(spec)
        return self._ready("store", namespace, made, name, version, self._role, _STORE_SECONDS)

    def _bucket(
        self,
        args: KubernetesArtifactStoreArgs,
        image: pulumi.Output[str],
        held: workload.Files,
        uri: str,
        url: pulumi.Output[str],
    ) -> pulumi.Resource:
        """Make the bucket, and prove that the keys may write, read and delete."""
        namespace = args["namespace"]
        allowed = self._edges(
            namespace,
            ingress=[],
            egress=[manifests.to_pods(self._pods_of(self._role), store_server.PORT)],
            role=BUCKET,
        )
        pod = manifests.pod(
            self._account(namespace, BUCKET),
            server_image.UID,
            [
                manifests.container(
                    BUCKET,
                    image,
                    manifests.resources(512, 0.1, 1),
                    [manifests.files_mount("files")],
                    command=[server_image.ENTRYPOINT],
                    args=[*server_image.ARTIFACTS, "bucket"],
                    env=url.apply(
                        lambda known: manifests.variables(
                            {
                                **store_server.store_environment(uri, known, store_server.REGION),
                                "HOME": manifests.TMP,
                            }
                        )
                    ),
                )
            ],
            [held.volume()],
            imagePullSecrets=workload.pull_secrets(args.get("pull_secrets", [])),
        )
        return self._job(BUCKET, namespace, BUCKET, pod, 300, depends_on=[allowed])
