"""What all our workloads have in common: files from a Secret, jobs, rollouts, services, edges of the network."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NotRequired, Optional, TypedDict

import pulumi
import pulumi_kubernetes as kubernetes

from ..component import MlflowComponent
from ..contracts import ArtifactEndpoint, DatabaseEndpoint, Scope, require_reach
from ..core import external_secrets, files, manifests, naming, urls
from .unique import UniqueSuffix

CLUSTER_DOMAIN = "cluster.local"
"""What the names of Services end in, unless the cluster's owner chose otherwise."""

EVERYWHERE = ["0.0.0.0/0"]
"""Where databases, stores and providers of others may be, unless the caller knows better."""

_VERSION_LENGTH = 17
"""Of `-` and the version of files at the end of a name."""

_JOB_HASH_LENGTH = 10

_HTTPS = 443
"""Where a store has no URL of its own: S3, Google Cloud Storage, Azure."""


def place(deployment: str) -> str:
    """The place, in the sense of `contracts.Scope`, of what runs in a deployment's namespace."""
    return Scope.CLUSTER.place(deployment)


class KubernetesExternalSecretArgs(TypedDict):
    """The database's password, fetched from a vault by the External Secrets operator."""

    store: str
    """Name of the store that opens the vault."""
    kind: NotRequired[str]
    """`ClusterSecretStore` or `SecretStore`; `ClusterSecretStore` unless given."""
    key: pulumi.Input[str]
    """Name of the secret in the vault, such as the ARN of RDS's own in Secrets Manager."""
    property: NotRequired[str]
    """Field of it; `password` unless given."""
    refresh: NotRequired[str]
    """How often it is fetched; `15m` unless given."""


class KubernetesSecretStoreArgs(TypedDict):
    """Whence the External Secrets operator fetches the secret of a database's administrator."""

    store: str
    """Name of the store that opens the vault."""
    kind: NotRequired[str]
    """`ClusterSecretStore` or `SecretStore`; `ClusterSecretStore` unless given."""
    refresh: NotRequired[str]
    """How often it is fetched; `5m` unless given, so that a migration's tries outlast a rotation."""


@dataclass(frozen=True)
class Files:
    """Configuration and secrets that are in a Secret of the cluster.

    Attributes:
        secret: name of the Secret, which is another one whenever something else is in it.
        paths: where a container finds each, below `files.FILES_PATH`.
    """

    secret: pulumi.Output[str]
    paths: tuple[str, ...]

    def volume(self) -> dict[str, Any]:
        """The files as a volume of the name `files`."""
        return manifests.secret_volume("files", self.secret, self.paths)

    def volume_with(self, name: str, other: "Files") -> dict[str, Any]:
        """These files and others in one folder, as a volume.

        Args:
            name: of the volume.
            other: files with other paths.
        """
        return manifests.joined_volume(name, (self.secret, self.paths), (other.secret, other.paths))


class KubernetesComponent(MlflowComponent):
    """A component of objects in a namespace.

    Raises:
        ValueError: the deployment's name cannot begin the name of a Service.
    """

    def __init__(
        self, name: str, deployment: Optional[str], opts: Optional[pulumi.ResourceOptions]
    ) -> None:
        super().__init__(name, deployment, opts)
        # Such as `mlflow-prod`: valid as a label too.
        self._base = naming.physical_name(self._deployment)
        if not self._base[0].isalpha():
            raise ValueError(
                f"{name}: deployment: must begin with a letter, since names of Services do (got {self._deployment!r}); "
                "give another 'deployment', or rename project or stack"
            )

    def _labels(self) -> dict[str, str]:
        return self._labels_of(self._role)

    def _labels_of(self, role: str) -> dict[str, str]:
        """Labels of a role's objects and pods."""
        return naming.labels(self._base, role)

    def _pods_of(self, role: str) -> dict[str, str]:
        """What selects a role's pods; never changes, since selectors of a Deployment cannot."""
        labels = self._labels_of(role)
        return {key: labels[key] for key in ("pulumi-mlflow/deployment", "pulumi-mlflow/role")}

    def _require(
        self, endpoints: Iterable[DatabaseEndpoint | ArtifactEndpoint], also_in: Sequence[str]
    ) -> None:
        """Refuse endpoints that pods of this cluster cannot reach.

        Args:
            endpoints: what the component was given.
            also_in: places that the cluster's nodes are in, beside its own.

        Raises:
            UnreachableEndpointError: names both components.
        """
        for given in endpoints:
            if not set(given["reach"]) & set(also_in):
                require_reach(
                    self._logical_name,
                    place(self._deployment),
                    given["component"],
                    given["reach"],
                )

    def _meta(
        self,
        name: pulumi.Input[str],
        namespace: pulumi.Input[str],
        role: Optional[str] = None,
        annotations: Optional[Mapping[str, pulumi.Input[str]]] = None,
    ) -> Any:
        """Metadata of an object.

        Args:
            name: physical name.
            namespace: where it is.
            role: whose it is; the component's unless given.
            annotations: as the API has them.
        """
        return {
            "name": name,
            "namespace": namespace,
            "labels": self._labels_of(role or self._role),
            **({"annotations": dict(annotations)} if annotations else {}),
        }

    def _host(
        self,
        service: str,
        namespace: pulumi.Input[str],
        domain: str,
        after: pulumi.Resource,
    ) -> pulumi.Output[str]:
        """Full name of a Service, known once something is there. nginx's resolver knows no search list.

        Args:
            service: its name.
            namespace: where it is.
            domain: the cluster's.
            after: what must be there first.
        """
        return pulumi.Output.all(namespace, after.urn).apply(
            lambda known: f"{service}.{known[0]}.svc.{domain}"
        )

    def _versioned(self, child: str, base: str, version: pulumi.Output[str]) -> pulumi.Output[str]:
        """Name of an object that is made anew when its version changes.

        Args:
            child: logical name of the object below the component's.
            base: what its names begin with.
            version: hexadecimal digits that tell one content of it from another.
        """
        made = UniqueSuffix(self._child(f"{child}-name"), version, self._opts())
        return made.suffix.apply(lambda known: f"{base}-{known}")

    def _files(
        self,
        namespace: pulumi.Input[str],
        contents: Mapping[str, pulumi.Input[str]],
        child: str = "files",
        role: Optional[str] = None,
        external: Optional[KubernetesExternalSecretArgs] = None,
    ) -> Files:
        """A Secret with configuration and secrets that is never changed.

        What is in it changes under another name, so that pods are rolled out anew, and those of the old version keep
        what they were started with until they are gone.

        Args:
            namespace: where it is.
            contents: path below `files.FILES_PATH` → content.
            child: logical name below the component's.
            role: whose it is; the component's unless given.
            external: whence the password comes that stands as `external_secrets.PLACEHOLDER` in them; these are then
                templates, of which the operator makes the files.
        """
        base = naming.physical_name(
            self._deployment,
            role or self._role,
            child,
            limit=naming.DOCKER_NAME_LIMIT - _VERSION_LENGTH,
        )
        plain: pulumi.Output[dict[str, str]] = pulumi.Output.all(**contents)
        secret: pulumi.Output[dict[str, str]] = pulumi.Output.secret(plain)
        # The hash is made so that it tells nothing of what is in the files.
        version: pulumi.Output[str] = pulumi.Output.unsecret(
            secret.apply(lambda known: files.version(known, base))
        )
        name = self._versioned(child, base, version)
        made: pulumi.Resource = kubernetes.core.v1.Secret(
            self._child(child),
            metadata=self._meta(name, namespace, role),
            type="Opaque",
            immutable=True,
            string_data=secret.apply(
                lambda known: {
                    files.key(path): external_secrets.template(path, content)
                    if external
                    else content
                    for path, content in known.items()
                }
            ),
            opts=self._opts(),
        )
        if external:
            made, name = self._fetched(namespace, name, contents, child, role, external, made)
        return Files(
            pulumi.Output.all(name, made.urn).apply(lambda known: str(known[0])), tuple(contents)
        )

    def _fetched(
        self,
        namespace: pulumi.Input[str],
        templates: pulumi.Output[str],
        paths: Iterable[str],
        child: str,
        role: Optional[str],
        external: KubernetesExternalSecretArgs,
        after: pulumi.Resource,
    ) -> tuple[pulumi.Resource, pulumi.Output[str]]:
        """The operator's Secret, of templates in another; and its name, which changes with theirs."""
        base = naming.physical_name(
            self._deployment,
            role or self._role,
            child,
            "vault",
            limit=naming.DOCKER_NAME_LIMIT - _VERSION_LENGTH,
        )
        name = templates.apply(lambda known: f"{base}{known[-_VERSION_LENGTH:]}")
        specification = external_secrets.specification(
            _store(external),
            {"key": external["key"], "property": external.get("property", "password")},
            external.get("refresh", "15m"),
            name,
            templates,
            [files.key(path) for path in paths],
        )
        made = self._external(f"{child}-vault", namespace, name, role, specification, [after])
        return made, name

    def _administrator(
        self,
        namespace: pulumi.Input[str],
        store: KubernetesSecretStoreArgs,
        key: pulumi.Input[str],
        role: str,
    ) -> Files:
        """The secret of a database's administrator, as the variable ADMIN of whoever mounts it.

        Another secret is under another name, so that nobody begins with the old one.

        Args:
            namespace: where it is.
            store: what opens the vault.
            key: of the secret in the vault, such as its ARN.
            role: who needs it.
        """
        path, child = "env/ADMIN", "database-admin"
        base = naming.physical_name(
            self._deployment, role, child, limit=naming.DOCKER_NAME_LIMIT - _VERSION_LENGTH
        )
        whence = _store(store)
        version = pulumi.Output.from_input(key).apply(
            lambda known: files.version({**whence, "key": known}, base)
        )
        name = self._versioned(child, base, version)
        specification = external_secrets.copied(
            whence, key, store.get("refresh", "5m"), name, files.key(path)
        )
        made = self._external(child, namespace, name, role, specification)
        return Files(pulumi.Output.all(name, made.urn).apply(lambda it: str(it[0])), (path,))

    def _external(
        self,
        child: str,
        namespace: pulumi.Input[str],
        name: pulumi.Input[str],
        role: Optional[str],
        specification: Mapping[str, Any],
        depends_on: Sequence[pulumi.Resource] = (),
    ) -> kubernetes.apiextensions.CustomResource:
        """What the operator makes a Secret of; it is there once the Secret is."""
        return kubernetes.apiextensions.CustomResource(
            self._child(child),
            api_version="external-secrets.io/v1",
            kind="ExternalSecret",
            metadata=self._meta(name, namespace, role, {"pulumi.com/waitFor": "condition=Ready"}),
            spec=specification,
            opts=self._opts(depends_on=list(depends_on)),
        )

    def _account(
        self,
        namespace: pulumi.Input[str],
        role: Optional[str] = None,
        annotations: Optional[Mapping[str, pulumi.Input[str]]] = None,
    ) -> pulumi.Output[str]:
        """A service account without rights in the cluster, and without a token; its name.

        Args:
            namespace: where it is.
            role: whose it is; the component's unless given.
            annotations: by which a cloud gives it an identity.
        """
        role = role or self._role
        name = naming.physical_name(self._deployment, role)
        made = kubernetes.core.v1.ServiceAccount(
            self._child("account" if role == self._role else f"{role}-account"),
            metadata=self._meta(name, namespace, role, annotations),
            automount_service_account_token=False,
            opts=self._opts(),
        )
        return made.urn.apply(lambda _: name)

    def _edges(
        self,
        namespace: pulumi.Input[str],
        ingress: Sequence[Any],
        egress: Sequence[Any],
        role: Optional[str] = None,
        pods: Optional[Mapping[str, str]] = None,
    ) -> kubernetes.networking.v1.NetworkPolicy:
        """Who may connect to a role's pods, and whom they may connect to, beside the name servers.

        Args:
            namespace: where they are.
            ingress: rules of `core.manifests`.
            egress: rules of `core.manifests`.
            role: whose pods; the component's unless given.
            pods: labels of the pods; the role's unless given.
        """
        role = role or self._role
        spec: Any = manifests.policy(pods or self._pods_of(role), ingress, egress)
        return kubernetes.networking.v1.NetworkPolicy(
            self._child("edges" if role == self._role else f"{role}-edges"),
            metadata=self._meta(naming.physical_name(self._deployment, role), namespace, role),
            spec=spec,
            opts=self._opts(),
        )

    def _to_database(self, database: DatabaseEndpoint, cidrs: Sequence[str]) -> dict[str, Any]:
        """The edge to a database: its pods, or addresses where it is none of ours."""
        if database["reach"] == [place(self._deployment)]:
            return manifests.to_pods(self._pods_of("database"), database["port"])
        return manifests.to_addresses(cidrs, database["port"])

    def _to_store(
        self,
        artifacts: ArtifactEndpoint,
        cidrs: Sequence[str],
        url: Optional[pulumi.Input[str]] = None,
    ) -> dict[str, Any]:
        """The edge to a store: its pods, or addresses where it is none of ours.

        Args:
            artifacts: the store.
            cidrs: addresses where it may be.
            url: by which it is asked; its `endpoint_url` unless given.
        """
        asked = artifacts.get("endpoint_url", "") if url is None else url
        port = pulumi.Output.from_input(asked).apply(port_of)
        if artifacts["reach"] == [place(self._deployment)]:
            return manifests.to_pods(self._pods_of("artifacts"), port)
        return manifests.to_addresses(cidrs, port)

    def _job(
        self,
        child: str,
        namespace: pulumi.Input[str],
        role: str,
        pod: Mapping[str, Any],
        seconds: int,
        triggers: Optional[Mapping[str, pulumi.Input[str]]] = None,
        depends_on: Sequence[pulumi.Resource] = (),
    ) -> kubernetes.batch.v1.Job:
        """A job that runs once for each version of it. It is there once it has succeeded, and fails `up` if it fails.

        Args:
            child: logical name below the component's.
            namespace: where it runs.
            role: its pods' role.
            pod: from `manifests.pod`.
            seconds: how long it may take.
            triggers: values whose change runs it again.
            depends_on: what must be there first.
        """
        base = naming.physical_name(
            self._deployment, role, limit=naming.DOCKER_NAME_LIMIT - _JOB_HASH_LENGTH - 1
        )
        # A job's specification cannot be changed: another one has another name. No object holds a secret here.
        text = pulumi.Output.json_dumps({"pod": pod, "triggers": triggers or {}}, sort_keys=True)
        version = text.apply(
            lambda known: hashlib.sha256(known.encode()).hexdigest()[:_JOB_HASH_LENGTH]
        )
        name = self._versioned(child, base, version)
        spec: Any = {
            # Its steps may be repeated, and a node may go away under it.
            "backoffLimit": 2,
            "activeDeadlineSeconds": seconds,
            # No ttlSecondsAfterFinished: `up` would find it gone, and run it again for ever.
            "template": {
                "metadata": {"labels": self._labels_of(role)},
                "spec": {**pod, "restartPolicy": "Never"},
            },
        }
        waiting = f"{seconds + 300}s"
        return kubernetes.batch.v1.Job(
            self._child(child),
            # One that has failed is made anew by the next `up`; the provider would wait for it for ever.
            metadata=self._meta(name, namespace, role, {"pulumi.com/replaceUnready": "true"}),
            spec=spec,
            opts=self._opts(
                depends_on=list(depends_on),
                custom_timeouts=pulumi.CustomTimeouts(create=waiting, update=waiting),
            ),
        )

    def _rollout(
        self,
        namespace: pulumi.Input[str],
        pod: Mapping[str, Any],
        replicas: Optional[int],
        role: Optional[str] = None,
        pod_labels: Optional[Mapping[str, str]] = None,
        depends_on: Sequence[pulumi.Resource] = (),
        *,
        recreate: bool = False,
        reloaded: bool = False,
    ) -> kubernetes.apps.v1.Deployment:
        """Replicas that are replaced one at a time, each once a new one is ready, over zones and nodes.

        Args:
            namespace: where they run.
            pod: from `manifests.pod`.
            replicas: how many; None where an autoscaler decides, which would be overruled by every `up`.
            role: whose they are; the component's unless given.
            pod_labels: further labels of the pods.
            depends_on: what must be there first.
            recreate: whether the old one must be gone before a new one starts.
            reloaded: whether pods are to be replaced when a Secret of theirs changes, by Stakater's Reloader.
        """
        role = role or self._role
        own = role == self._role
        rolling = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}, "type": "RollingUpdate"}
        spec: Any = {
            **({"replicas": replicas} if replicas is not None else {}),
            "revisionHistoryLimit": 2,
            "progressDeadlineSeconds": 600,
            "selector": {"matchLabels": self._pods_of(role)},
            "strategy": {"type": "Recreate"} if recreate else rolling,
            "template": {
                "metadata": {"labels": {**self._labels_of(role), **(pod_labels or {})}},
                "spec": {
                    **pod,
                    "topologySpreadConstraints": manifests.spread(self._pods_of(role)),
                },
            },
        }
        return kubernetes.apps.v1.Deployment(
            self._child("deployment" if own else f"{role}-deployment"),
            metadata=self._meta(
                naming.physical_name(self._deployment, role),
                namespace,
                role,
                {"reloader.stakater.com/auto": "true"} if reloaded else None,
            ),
            spec=spec,
            opts=self._opts(depends_on=list(depends_on)),
        )

    def _budget(
        self, namespace: pulumi.Input[str], role: Optional[str] = None
    ) -> kubernetes.policy.v1.PodDisruptionBudget:
        """One pod of a role at a time may be evicted, when nodes are drained.

        Of a single replica too: a budget that never allows an eviction blocks upgrades of nodes for ever.
        """
        role = role or self._role
        spec: Any = {
            "maxUnavailable": 1,
            # One that hangs must not block them either.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": self._pods_of(role)},
        }
        return kubernetes.policy.v1.PodDisruptionBudget(
            self._child("budget" if role == self._role else f"{role}-budget"),
            metadata=self._meta(naming.physical_name(self._deployment, role), namespace, role),
            spec=spec,
            opts=self._opts(),
        )

    def _service(
        self, namespace: pulumi.Input[str], port: int, role: Optional[str] = None
    ) -> kubernetes.core.v1.Service:
        """A name and an address inside the cluster for a role's pods."""
        role = role or self._role
        spec: Any = {
            "type": "ClusterIP",
            "selector": self._pods_of(role),
            "ports": [
                {
                    "name": "http",
                    "port": port,
                    "targetPort": port,
                    "protocol": "TCP",
                    "appProtocol": "http",
                }
            ],
        }
        return kubernetes.core.v1.Service(
            self._child("service" if role == self._role else f"{role}-service"),
            metadata=self._meta(naming.physical_name(self._deployment, role), namespace, role),
            spec=spec,
            opts=self._opts(),
        )


def _store(external: KubernetesExternalSecretArgs | KubernetesSecretStoreArgs) -> dict[str, str]:
    """The store that opens a vault, as an `ExternalSecret` names it."""
    return {"name": external["store"], "kind": external.get("kind", "ClusterSecretStore")}


def checked_image(image: pulumi.Input[str]) -> pulumi.Output[str]:
    """An image that names one version; refused as soon as it is known, see `manifests.check_image`."""
    if isinstance(image, str):
        manifests.check_image(image)
    return pulumi.Output.from_input(image).apply(manifests.check_image)


def pull_secrets(names: Sequence[str]) -> Optional[list[dict[str, str]]]:
    """Secrets that open a registry, as a pod names them."""
    return [{"name": name} for name in names] or None


def port_of(store_url: str) -> int:
    """TCP port of a store.

    Args:
        store_url: its URL; empty for S3 itself and other providers' stores.
    """
    return urls.port_of(store_url) if store_url else _HTTPS
