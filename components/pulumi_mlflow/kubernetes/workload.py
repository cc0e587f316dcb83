"""What all our workloads have in common: jobs, rollouts, services, edges of the network."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Optional

import pulumi
import pulumi_kubernetes as kubernetes

from ..contracts import ArtifactEndpoint, DatabaseEndpoint
from ..core import manifests, naming, urls
from .objects import (
    Files,
    KubernetesExternalSecretArgs,
    KubernetesObjects,
    KubernetesSecretStoreArgs,
    place,
)
from .ready import AT_ONCE, ROLLOUT_SECONDS, KubernetesAccessArgs, KubernetesReady

__all__ = [
    "CLUSTER_DOMAIN",
    "EVERYWHERE",
    "Files",
    "KubernetesAccessArgs",
    "KubernetesComponent",
    "KubernetesExternalSecretArgs",
    "KubernetesSecretStoreArgs",
    "checked_image",
    "place",
    "port_of",
    "pull_secrets",
    "version_of",
]

CLUSTER_DOMAIN = "cluster.local"
"""What the names of Services end in, unless the cluster's owner chose otherwise."""

EVERYWHERE = ["0.0.0.0/0"]
"""Where databases, stores and providers of others may be, unless the caller knows better."""

_HASH_LENGTH = 10

_SPARE_SECONDS = 300
"""How much longer than it may take a job is waited for: Kubernetes itself ends it, and says why."""

_HTTPS = 443
"""Where a store has no URL of its own: S3, Google Cloud Storage, Azure."""


class KubernetesComponent(KubernetesObjects):
    """A component with workloads in a namespace."""

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
    ) -> pulumi.Resource:
        """A job that runs once for each version of it; what is there once it has succeeded. It fails `up` if it fails.

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
            self._deployment, role, limit=naming.DOCKER_NAME_LIMIT - _HASH_LENGTH - 1
        )
        # A job's specification cannot be changed: another one has another name.
        version = version_of({"pod": pod, "triggers": triggers or {}})
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
        waiting = f"{seconds + _SPARE_SECONDS}s"
        # One that has failed is made anew by the next `up`; the provider would wait for it for ever.
        made = kubernetes.batch.v1.Job(
            self._child(child),
            metadata=self._meta(
                name, namespace, role, {"pulumi.com/replaceUnready": "true", **self._awaited()}
            ),
            spec=spec,
            opts=self._opts(
                depends_on=list(depends_on),
                custom_timeouts=pulumi.CustomTimeouts(create=waiting, update=waiting),
            ),
        )
        return self._ready(child, namespace, made, name, version, role, seconds + _SPARE_SECONDS)

    def _awaited(self) -> dict[str, str]:
        """Annotations of what we see through ourselves."""
        return AT_ONCE if self._access else {}

    def _ready(
        self,
        child: str,
        namespace: pulumi.Input[str],
        made: pulumi.Resource,
        name: pulumi.Input[str],
        version: pulumi.Input[str],
        role: str,
        seconds: int = ROLLOUT_SECONDS,
    ) -> pulumi.Resource:
        """What is there once a workload runs what it was told to; itself where Pulumi's provider waits for it.

        Args:
            child: its logical name below the component's.
            namespace: where it runs.
            made: it.
            name: its physical name.
            version: another one is waited for again; no secret.
            role: its pods' role.
            seconds: how long it may take.
        """
        if not self._access:
            return made
        workload: Any = made
        props = {
            "cluster": dict(self._access),
            "namespace": namespace,
            "kind": type(made).__name__,
            "name": name,
            "uid": workload.metadata.apply(lambda known: known.get("uid") or ""),
            "selector": ",".join(f"{key}={value}" for key, value in self._pods_of(role).items()),
            "version": version,
            "timeout": seconds,
        }
        return KubernetesReady(self._child(f"{child}-ready"), props, self._opts(depends_on=[made]))

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
    ) -> pulumi.Resource:
        """Replicas that are replaced one at a time, each once a new one is ready, over zones and nodes.

        What it returns is there once all of them are of the newest template and ready, and no old one is left.

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
        child = "deployment" if own else f"{role}-deployment"
        name = naming.physical_name(self._deployment, role)
        reloader = {"reloader.stakater.com/auto": "true"} if reloaded else {}
        made = kubernetes.apps.v1.Deployment(
            self._child(child),
            metadata=self._meta(name, namespace, role, {**reloader, **self._awaited()}),
            spec=spec,
            opts=self._opts(depends_on=list(depends_on)),
        )
        return self._ready(child, namespace, made, name, version_of(spec), role)

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


def version_of(spec: Mapping[str, Any]) -> pulumi.Output[str]:
    """Hexadecimal digits that tell one specification from another. No object holds a secret here."""
    text = pulumi.Output.json_dumps(spec, sort_keys=True)
    return text.apply(lambda known: hashlib.sha256(known.encode()).hexdigest()[:_HASH_LENGTH])


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
