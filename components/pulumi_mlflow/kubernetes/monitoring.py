"""What Prometheus asks, and when it wakes somebody: objects of the Prometheus operator."""

from typing import Any, NotRequired, Optional, TypedDict

import pulumi
import pulumi_kubernetes as kubernetes

from ..contracts import TrackingEndpoint
from ..core import cloudnativepg, monitoring, naming
from . import workload

_API = "monitoring.coreos.com/v1"


class KubernetesMonitoringArgs(TypedDict):
    """Arguments of KubernetesMonitoring."""

    namespace: pulumi.Input[str]
    """Where the stack runs: `KubernetesNetwork.namespace`."""
    tracking: TrackingEndpoint
    """The servers; their metrics are asked for if they have any."""
    metrics_secret: NotRequired[Optional[pulumi.Input[str]]]
    """`KubernetesTrackingServer.metrics_secret`; needed where the servers ask who is there."""
    database: NotRequired[Optional[str]]
    """`KubernetesDatabase.cluster`; none for a database of others."""
    archived: NotRequired[bool]
    """Whether that database has an archive; no unless given."""
    labels: NotRequired[dict[str, str]]
    """Labels by which Prometheus finds what it is told, such as `release: kube-prometheus-stack`."""
    deployment: NotRequired[str]
    """Prefix of physical names; `<project>-<stack>` unless given."""


class KubernetesMonitoring(workload.KubernetesComponent):
    """A ServiceMonitor for the servers, a PodMonitor for the database, and alerts for all of it.

    The Prometheus operator must be there; kube-state-metrics and kubelets tell what the servers cannot say themselves.

    Raises:
        ValueError: servers that ask who is there, and no login for them.
    """

    _role = "monitoring"

    def __init__(
        self,
        name: str,
        args: KubernetesMonitoringArgs,
        opts: Optional[pulumi.ResourceOptions] = None,
    ) -> None:
        super().__init__(name, args.get("deployment"), opts)
        tracking, database = args["tracking"], args.get("database")
        login = args.get("metrics_secret")
        has_metrics = "metrics_path" in tracking
        if has_metrics and tracking["auth_mode"] != "none" and login is None:
            raise ValueError(
                f"{name}: metrics_secret: {tracking['component']} answers nobody without a login; give its "
                "metrics_secret"
            )
        if has_metrics:
            endpoint: dict[str, Any] = {
                "port": "http",
                "path": tracking["metrics_path"],
                "interval": "30s",
                "scrapeTimeout": "10s",
            }
            if login is not None:
                endpoint["basicAuth"] = {
                    key: {"name": login, "key": key} for key in ("username", "password")
                }
            spec = {
                "selector": {"matchLabels": self._pods_of("tracking")},
                "endpoints": [endpoint],
            }
            self._object("servers", "ServiceMonitor", args, spec)
        if database:
            spec = {
                "selector": {"matchLabels": {cloudnativepg.CLUSTER_LABEL: database}},
                "podMetricsEndpoints": [{"port": "metrics", "interval": "30s"}],
            }
            self._object("database", "PodMonitor", args, spec)
        deployments = {
            naming.physical_name(self._deployment, role): what
            for role, what in (("tracking", "server"), ("proxy", "front door"))
        }
        alerts = pulumi.Output.from_input(args["namespace"]).apply(
            lambda namespace: monitoring.rules(
                monitoring.Watched(
                    namespace=namespace,
                    deployments=deployments,
                    metrics=has_metrics,
                    database=database or "",
                    archived=args.get("archived", False),
                )
            )
        )
        self._object("alerts", "PrometheusRule", args, alerts)
        self.register_outputs({})

    def _object(self, child: str, kind: str, args: KubernetesMonitoringArgs, spec: Any) -> None:
        metadata = self._meta(self._physical(child), args["namespace"])
        metadata["labels"] = {**args.get("labels", {}), **metadata["labels"]}
        kubernetes.apiextensions.CustomResource(
            self._child(child),
            api_version=_API,
            kind=kind,
            metadata=metadata,
            spec=spec,
            opts=self._opts(),
        )
