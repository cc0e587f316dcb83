"""Alerts for Prometheus: what they ask, how long it must hold, and what a person does.

Metrics are those of kube-state-metrics, of kubelets, of CloudNativePG and its Barman Cloud plug-in, and of MLflow 3.17
(`--expose-prometheus`: prometheus-flask-exporter with the prefix `mlflow`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

WARNING, CRITICAL = "warning", "critical"
"""Look at it today; look at it now."""


@dataclass(frozen=True)
class Watched:
    """What a deployment has.

    Attributes:
        namespace: where it runs.
        deployments: name of a Deployment → what it is to people.
        metrics: whether the servers have metrics of their own.
        database: name of the CloudNativePG cluster; empty for none.
        archived: whether that cluster has an archive.
    """

    namespace: str
    deployments: Mapping[str, str]
    metrics: bool = False
    database: str = ""
    archived: bool = False


def rules(watched: Watched) -> dict[str, Any]:
    """Specification of a `PrometheusRule` (`monitoring.coreos.com/v1`)."""
    groups = [_group("mlflow", [*_workloads(watched), *_storage(watched), *_requests(watched)])]
    if watched.database:
        groups.append(_group("mlflow-database", _database(watched)))
    return {"groups": groups}


def _group(name: str, alerts: list[dict[str, Any]]) -> dict[str, Any]:
    return {"name": name, "rules": alerts}


def _alert(
    name: str, expression: str, minutes: int, severity: str, summary: str, mend: str
) -> dict[str, Any]:
    """An alert.

    Args:
        name: in CamelCase.
        expression: PromQL.
        minutes: how long it must hold.
        severity: `WARNING` or `CRITICAL`.
        summary: what is wrong.
        mend: what a person does first.
    """
    return {
        "alert": name,
        "expr": expression,
        "for": f"{minutes}m",
        "labels": {"severity": severity},
        "annotations": {"summary": summary, "description": mend},
    }


def _workloads(watched: Watched) -> list[dict[str, Any]]:
    here = f'namespace="{watched.namespace}"'
    found = []
    for name, what in sorted(watched.deployments.items()):
        one = f'{here},deployment="{name}"'
        camel = "".join(part.capitalize() for part in what.split())
        found += [
            _alert(
                f"Mlflow{camel}Down",
                f"kube_deployment_status_replicas_available{{{one}}} < 1",
                2,
                CRITICAL,
                f"No replica of the {what} is ready",
                f"kubectl -n {watched.namespace} describe deployment {name}; then the logs of its pods",
            ),
            _alert(
                f"Mlflow{camel}Degraded",
                f"kube_deployment_status_replicas_available{{{one}}} < kube_deployment_spec_replicas{{{one}}}",
                15,
                WARNING,
                f"Replicas of the {what} are missing",
                "Pending pods lack a node with memory or disk; others have a log",
            ),
        ]
    found += [
        _alert(
            "MlflowRestarting",
            f"increase(kube_pod_container_status_restarts_total{{{here}}}[30m]) > 2",
            0,
            WARNING,
            "{{ $labels.pod }} keeps being started anew",
            "Its last log: kubectl logs --previous",
        ),
        _alert(
            "MlflowOutOfMemory",
            f'kube_pod_container_status_last_terminated_reason{{{here},reason="OOMKilled"}} == 1 '
            f"and on (namespace, pod, container) increase(kube_pod_container_status_restarts_total{{{here}}}[1h]) > 0",
            0,
            WARNING,
            "{{ $labels.pod }} took more memory than its limit",
            "Raise memory_mb, or lower workers",
        ),
        _alert(
            "MlflowJobFailed",
            f"kube_job_status_failed{{{here}}} > 0",
            5,
            WARNING,
            "{{ $labels.job_name }} has failed",
            "Its log: kubectl logs job/NAME. A migration, a backup or a clean-up did not happen",
        ),
    ]
    return found


def _storage(watched: Watched) -> list[dict[str, Any]]:
    here = f'namespace="{watched.namespace}"'
    return [
        _alert(
            "MlflowDiskFull",
            f"kubelet_volume_stats_available_bytes{{{here}}} / kubelet_volume_stats_capacity_bytes{{{here}}} < 0.15",
            10,
            WARNING,
            "{{ $labels.persistentvolumeclaim }} is over 85 % full",
            "Raise storage_gb, which grows the disk in place",
        )
    ]


def _requests(watched: Watched) -> list[dict[str, Any]]:
    if not watched.metrics:
        return []
    here = f'namespace="{watched.namespace}"'
    return [
        _alert(
            "MlflowErrors",
            f'sum(rate(mlflow_http_request_total{{{here},status=~"5.."}}[5m])) / '
            f"sum(rate(mlflow_http_request_total{{{here}}}[5m])) > 0.05",
            10,
            CRITICAL,
            "More than one in twenty requests fails",
            "Logs of the servers; mostly the database or the store",
        ),
        _alert(
            "MlflowSlow",
            "histogram_quantile(0.95, sum by (le) "
            f"(rate(mlflow_http_request_duration_seconds_bucket{{{here}}}[10m]))) > 5",
            15,
            WARNING,
            "One in twenty requests takes more than five seconds",
            "More replicas or workers; then the database's slowest queries",
        ),
    ]


def _database(watched: Watched) -> list[dict[str, Any]]:
    one = f'namespace="{watched.namespace}",pod=~"{watched.database}-[0-9]+"'
    found = [
        _alert(
            "MlflowDatabaseDown",
            f"sum(cnpg_collector_up{{{one}}}) < 1 or absent(cnpg_collector_up{{{one}}})",
            2,
            CRITICAL,
            "No instance of the database answers",
            f"kubectl -n {watched.namespace} describe cluster {watched.database}",
        ),
        _alert(
            "MlflowDatabaseLag",
            f"max(cnpg_pg_replication_lag{{{one}}}) > 60",
            10,
            WARNING,
            "A standby is more than a minute behind",
            "Its disk or its node is slow, or it is being made anew",
        ),
        _alert(
            "MlflowDatabaseConnections",
            f"sum by (pod) (cnpg_backends_total{{{one}}}) / on (pod) "
            f'cnpg_pg_settings_setting{{{one},name="max_connections"}} > 0.9',
            5,
            WARNING,
            "The database has hardly a connection left",
            "Fewer replicas, or more max_connections with the memory for them",
        ),
    ]
    if watched.archived:
        found.append(
            _alert(
                "MlflowDatabaseNotArchived",
                f"increase(cnpg_pg_stat_archiver_failed_count{{{one}}}[15m]) > 0",
                15,
                CRITICAL,
                "The write-ahead log is not archived: the disk fills, and one cannot go back",
                "Logs of the plug-in's sidecar; mostly the identity or the bucket's policy",
            )
        )
        found.append(
            _alert(
                "MlflowDatabaseBackupOld",
                "time() - max(barman_cloud_cloudnative_pg_io_last_available_backup_timestamp"
                f"{{{one}}}) > 172800",
                60,
                CRITICAL,
                "The last base backup is more than two days old",
                f"kubectl -n {watched.namespace} get backups",
            )
        )
    return found
