"""The namespace of a Kubernetes stack, where no pod gets privileges and no connection is made that is not named."""

from typing import Any, NotRequired, Optional, TypedDict

import pulumi
import pulumi_kubernetes as kubernetes

from ..core import manifests
from . import workload


class KubernetesNetworkArgs(TypedDict):
    """Arguments of KubernetesNetwork."""

    existing: NotRequired[Optional[str]]
    """Namespace that others made; neither it nor pods of others in it are changed. A new one unless given."""
    dns_namespace: NotRequired[str]
    """Namespace of the cluster's name servers; `kube-system` unless given."""
    deployment: NotRequired[str]
    """Prefix of physical names; `<project>-<stack>` unless given."""


class KubernetesNetwork(workload.KubernetesComponent):
    """A namespace with the restricted Pod Security Standard enforced and all connections denied, name servers aside.

    The other components allow the edges that they need, each between two roles: who is not named gets no answer.
    The namespace is protected, since everything in it is deleted with it, disks too.
    """

    _role = "network"

    namespace: pulumi.Output[str]
    """Name of the namespace, known once connections are denied in it."""

    def __init__(
        self, name: str, args: KubernetesNetworkArgs, opts: Optional[pulumi.ResourceOptions] = None
    ) -> None:
        super().__init__(name, args.get("deployment"), opts)
        existing = args.get("existing")
        namespace: pulumi.Input[str] = existing or self._base
        if not existing:
            made = kubernetes.core.v1.Namespace(
                self._child("namespace"),
                metadata={
                    "name": self._base,
                    "labels": {
                        **self._labels(),
                        **{
                            f"pod-security.kubernetes.io/{mode}": "restricted"
                            for mode in ("enforce", "audit", "warn")
                        },
                    },
                },
                opts=self._opts(protect=True),
            )
            namespace = made.urn.apply(lambda _: self._base)
        # In a namespace of ours, of all pods. In another's, of ours alone.
        labels = self._labels()
        pods = {"pulumi-mlflow/deployment": labels["pulumi-mlflow/deployment"]} if existing else {}
        spec: Any = manifests.policy(
            pods, egress=[manifests.to_dns(args.get("dns_namespace", "kube-system"))]
        )
        denied = kubernetes.networking.v1.NetworkPolicy(
            self._child("deny"),
            metadata=self._meta(self._physical("deny"), namespace),
            spec=spec,
            opts=self._opts(),
        )
        self.namespace = pulumi.Output.all(namespace, denied.urn).apply(lambda known: str(known[0]))
        self.register_outputs({"namespace": self.namespace})
