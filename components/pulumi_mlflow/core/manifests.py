"""Plain parts of Kubernetes objects: pods that pass the restricted Pod Security Standard, probes, spread, policies.

Keys are those of the Kubernetes API. Values may be anything that the caller's provider takes for them later, such as
outputs that are not known yet; nothing here looks into them.

The standard: https://kubernetes.io/docs/concepts/security/pod-security-standards/ ("Restricted").
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from . import health
from .files import FILES_PATH, key

TMP = "/tmp"  # noqa: S108 - in the container
"""Where every container may write a little; its root file system is read-only."""

TMP_MB = 64
"""Size of `TMP`, in MiB."""

SPARE_DISK_MB = 256
"""Ephemeral storage of a pod beside its scratch, in MiB: `TMP`, and logs, which kubelets rotate at 5 x 10 MiB."""

SECRET_MODE = 0o400
"""Of files from Secrets. The kubelet lets the pod's own group read them too (`fsGroup`), and nobody else."""

METADATA_ADDRESS = "169.254.169.254/32"
"""Where a machine of AWS, GCP or Azure gives out its own identity: no business of a pod's."""

POD_IDENTITY_ADDRESS = "169.254.170.23/32"
"""EKS Pod Identity's agent, https://docs.aws.amazon.com/eks/latest/userguide/pod-id-how-it-works.html."""

NODE_DNS_ADDRESS = "169.254.20.10/32"
"""NodeLocal DNSCache, https://kubernetes.io/docs/tasks/administer-cluster/nodelocaldns/."""

NAMESPACE_LABEL = "kubernetes.io/metadata.name"
"""Label that every namespace has, with its name."""

_STARTING = 60
"""Failed checks of a program that was never healthy: 5 min. A migration has a job of its own."""

_HUNG = 8
"""Checks in a row without an answer, until it is started anew: 40 s, as in Docker."""

_UNREADY = 2
"""Checks in a row until no request is sent to it."""


def check_image(name: str) -> str:
    """An image that names one version.

    Raises:
        ValueError: it has no tag and no digest, or the tag `latest`.
    """
    tag = name.rpartition("/")[2].partition("@")[0].partition(":")[2]
    if "@sha256:" in name or (tag and tag != "latest"):
        return name
    raise ValueError(
        f"image: must name a version, by a digest (@sha256:…) or a tag that is not 'latest' (got {name!r})"
    )


def pod(
    account: Any,
    uid: int,
    containers: Sequence[Mapping[str, Any]],
    volumes: Sequence[Mapping[str, Any]] = (),
    **more: Any,
) -> dict[str, Any]:
    """A pod's specification: unprivileged, without the cluster's tokens.

    Args:
        account: name of its service account.
        uid: user and group that it runs as; files from Secrets belong to that group.
        containers: from `container`.
        volumes: from `secret_volume`, `disk_volume` and the like, beside `TMP`.
        more: further fields; None leaves one out.
    """
    return _without_none(
        {
            "serviceAccountName": account,
            "automountServiceAccountToken": False,
            # Else a Service named `mlflow` gives every pod MLFLOW_PORT=tcp://…, which MLflow reads as its own.
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": uid,
                "runAsGroup": uid,
                "fsGroup": uid,
                # Else every start walks through all objects of a store.
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [dict(item) for item in containers],
            "volumes": [disk_volume("tmp", TMP_MB), *volumes],
            **more,
        }
    )


def container(
    name: str,
    image: Any,
    resources: Mapping[str, Any],
    mounts: Sequence[Mapping[str, Any]] = (),
    **more: Any,
) -> dict[str, Any]:
    """A container with a read-only root that can gain no privilege.

    Args:
        name: its name in the pod.
        image: what it runs.
        resources: from `resources`.
        mounts: beside `TMP`.
        more: further fields; None leaves one out.
    """
    return _without_none(
        {
            "name": name,
            "image": image,
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "privileged": False,
                "readOnlyRootFilesystem": True,
                "runAsNonRoot": True,
                "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "resources": dict(resources),
            "volumeMounts": [{"name": "tmp", "mountPath": TMP}, *mounts],
            # The end of its log is told where the container fails without a message of its own.
            "terminationMessagePolicy": "FallbackToLogsOnError",
            **more,
        }
    )


def resources(
    memory_mb: int, cpu: float, cpu_limit: float, disk_mb: int = SPARE_DISK_MB
) -> dict[str, Any]:
    """What a container is given, and what it may take.

    Memory and disk are given in full: a node that is short of either would end the pod in the middle of an upload.

    Args:
        memory_mb: in MiB.
        cpu: CPUs kept for it; an autoscaler's percentage is of these.
        cpu_limit: CPUs that it may take while they are free.
        disk_mb: ephemeral storage, in MiB.
    """
    fixed = {"memory": size(memory_mb), "ephemeral-storage": size(disk_mb)}
    return {"requests": {"cpu": cpus(cpu), **fixed}, "limits": {"cpu": cpus(cpu_limit), **fixed}}


def size(mb: int) -> str:
    """Memory or disk as the API server writes it back, so that nothing differs for ever: `1536Mi`, `5Gi`.

    Args:
        mb: in MiB.
    """
    units = ["Mi", "Gi", "Ti"]
    while mb % 1024 == 0 and len(units) > 1:
        mb, units = mb // 1024, units[1:]
    return f"{mb}{units[0]}"


def number(count: int) -> str:
    """A number as the API server writes it back: `50`, `2k`."""
    return str(count) if count % 1000 else f"{count // 1000}k"


def cpus(wanted: float) -> str:
    """CPUs as the API server writes them back, so that nothing differs for ever: `500m`, `2`."""
    milli = round(wanted * 1000)
    return str(milli // 1000) if milli % 1000 == 0 else f"{milli}m"


def variables(environment: Mapping[str, str], known: Sequence[Mapping[str, Any]] = ()) -> list[Any]:
    """Variables of a container, those that others refer to (`$(NAME)`) first.

    Args:
        environment: name → value; no secrets.
        known: entries with another source.
    """
    plain = [{"name": name, "value": value} for name, value in sorted(environment.items())]
    return [*known, *plain]


def pod_ip() -> dict[str, Any]:
    """The variable POD_IP: the address that monitoring asks for the pod under."""
    return {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}


def secret_volume(name: str, secret: Any, paths: Iterable[str]) -> dict[str, Any]:
    """Files from a Secret, whose keys are those of `files.key`.

    Args:
        name: of the volume.
        secret: name of the Secret.
        paths: where the files are, below the mount.
    """
    return {
        "name": name,
        "secret": {"secretName": secret, "defaultMode": SECRET_MODE, "items": _items(paths)},
    }


def joined_volume(name: str, *secrets: tuple[Any, Iterable[str]]) -> dict[str, Any]:
    """Files from several Secrets in one folder, as those of `secret_volume`.

    Args:
        name: of the volume.
        secrets: names of the Secrets, each with the paths of its files.
    """
    sources = [{"secret": {"name": secret, "items": _items(paths)}} for secret, paths in secrets]
    return {"name": name, "projected": {"defaultMode": SECRET_MODE, "sources": sources}}


def _items(paths: Iterable[str]) -> list[dict[str, str]]:
    return [{"key": key(path), "path": path} for path in sorted(paths)]


def files_mount(name: str) -> dict[str, Any]:
    """Where a container finds the files of a `secret_volume` or `joined_volume`."""
    return {"name": name, "mountPath": FILES_PATH, "readOnly": True}


def disk_volume(name: str, size_mb: int) -> dict[str, Any]:
    """A folder on the node's disk, gone with the pod. A pod that fills it beyond its size is evicted.

    Args:
        name: of the volume.
        size_mb: in MiB.
    """
    # No `medium: Memory`: whole artifacts pass through, and would count as the pod's memory.
    return {"name": name, "emptyDir": {"sizeLimit": size(size_mb)}}


def claim_volume(
    name: str, size_mb: int, storage_class: str, labels: Mapping[str, str]
) -> dict[str, Any]:
    """A disk of its own for each pod, made and deleted with it. A full one is an error, not an eviction.

    Args:
        name: of the volume.
        size_mb: in MiB.
        storage_class: who makes it.
        labels: of the claim.
    """
    return {
        "name": name,
        "ephemeral": {
            "volumeClaimTemplate": {
                "metadata": {"labels": dict(labels)},
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "storageClassName": storage_class,
                    "resources": {"requests": {"storage": size(size_mb)}},
                },
            }
        },
    }


def probes(alive: Mapping[str, Any], ready: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Start-up, liveness and readiness of a container.

    Args:
        alive: asks the program alone. One that fails with a program behind it would have healthy pods restarted.
        ready: asks whether it can do its work; `alive` unless given.
    """
    each = {"periodSeconds": health.INTERVAL, "timeoutSeconds": health.CHECK_SECONDS}
    return {
        "startupProbe": {**alive, **each, "failureThreshold": _STARTING},
        "livenessProbe": {**alive, **each, "failureThreshold": _HUNG},
        "readinessProbe": {**(ready or alive), **each, "failureThreshold": _UNREADY},
    }


def http_check(path: str, port: int, host: str = "", *, tls: bool = False) -> dict[str, Any]:
    """A probe by HTTP; 200 to 399 is a success, and certificates are not looked at.

    Args:
        path: with arguments.
        port: TCP port.
        host: Host header; the pod's address unless given.
        tls: whether it speaks HTTPS.
    """
    headers = {"httpHeaders": [{"name": "Host", "value": host}]} if host else {}
    return {
        "httpGet": {"path": path, "port": port, "scheme": "HTTPS" if tls else "HTTP", **headers}
    }


def drained(seconds: int = 5) -> dict[str, Any]:
    """Lets a pod answer until everybody has heard that it goes: endpoints and SIGTERM race otherwise.

    Args:
        seconds: how long; the image needs `sleep`.
    """
    return {"preStop": {"exec": {"command": ["sleep", str(seconds)]}}}


def spread(labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """Pods of a version over zones, then over nodes, as far as there are any.

    Args:
        labels: of the pods.
    """
    return [
        {
            "maxSkew": 1,
            "topologyKey": topology,
            # A cluster of one zone or node, or one that is full, still runs them.
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": dict(labels)},
            # Those of the old version, which go, do not count.
            "matchLabelKeys": ["pod-template-hash"],
        }
        for topology in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
    ]


def to_pods(
    labels: Mapping[str, str], *ports: Any, namespace: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """An egress rule: connections to some pods.

    Args:
        labels: of the pods; of the policy's own namespace unless `namespace` is given.
        ports: TCP ports; all unless given.
        namespace: labels of their namespace.
    """
    return {"to": [_pods(labels, namespace)], "ports": tcp(*ports)}


def to_addresses(cidrs: Iterable[str], *ports: Any) -> dict[str, Any]:
    """An egress rule: connections to addresses outside the cluster, but never to the node's own identity.

    Args:
        cidrs: ranges of addresses.
        ports: TCP ports.
    """
    return {"to": [{"ipBlock": _block(cidr)} for cidr in cidrs], "ports": tcp(*ports)}


def _block(cidr: str) -> dict[str, Any]:
    everything = cidr == "0.0.0.0/0"
    return {"cidr": cidr, **({"except": [METADATA_ADDRESS]} if everything else {})}


def to_dns(namespace: str) -> dict[str, Any]:
    """An egress rule: name servers of the cluster.

    Args:
        namespace: where they run.
    """
    ports = [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
    return {
        "to": [
            {"namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: namespace}}},
            {"ipBlock": {"cidr": NODE_DNS_ADDRESS}},
        ],
        "ports": ports,
    }


def from_pods(
    several: Iterable[Mapping[str, str]], *ports: Any, namespace: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """An ingress rule: connections from some pods.

    Args:
        several: labels of the pods, one set for each kind.
        ports: TCP ports.
        namespace: labels of their namespace; the policy's own unless given.
    """
    return {"from": [_pods(labels, namespace) for labels in several], "ports": tcp(*ports)}


def from_addresses(cidrs: Iterable[str], *ports: Any) -> dict[str, Any]:
    """An ingress rule: connections from addresses outside the cluster.

    Args:
        cidrs: ranges of addresses.
        ports: TCP ports.
    """
    return {"from": [{"ipBlock": {"cidr": cidr}} for cidr in cidrs], "ports": tcp(*ports)}


def _pods(labels: Mapping[str, str], namespace: Mapping[str, str] | None) -> dict[str, Any]:
    peer: dict[str, Any] = {"podSelector": {"matchLabels": dict(labels)}}
    if namespace is not None:
        peer["namespaceSelector"] = {"matchLabels": dict(namespace)}
    return peer


def tcp(*ports: Any) -> list[dict[str, Any]]:
    """TCP ports of a rule."""
    return [{"protocol": "TCP", "port": port} for port in ports]


def policy(
    pods: Mapping[str, str], ingress: Sequence[Any] = (), egress: Sequence[Any] = ()
) -> dict[str, Any]:
    """A NetworkPolicy's specification: what is not named is denied, both ways.

    Args:
        pods: labels of the pods; empty for all of the namespace.
        ingress: rules of who may connect to them.
        egress: rules of whom they may connect to.
    """
    return {
        "podSelector": {"matchLabels": dict(pods)} if pods else {},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": list(ingress),
        "egress": list(egress),
    }


def check_label(value: str) -> str | None:
    """Why a label cannot have this value, or None."""
    if re.fullmatch(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?", value):
        return None
    return "must be up to 63 letters, digits and ._-, with a letter or digit at both ends"


def _without_none(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key_: value for key_, value in fields.items() if value is not None}
