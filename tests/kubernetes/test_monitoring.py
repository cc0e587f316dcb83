"""What Prometheus is told on Kubernetes, under mocks."""

import re

import pulumi
import pytest
from tests.kubernetes import cluster

from pulumi_mlflow.contracts import TrackingEndpoint
from pulumi_mlflow.core import monitoring
from pulumi_mlflow.kubernetes.monitoring import KubernetesMonitoring

FOR_PROMETHEUS = {"release": "kube-prometheus-stack"}


def program(changes=None, **tracking):
    def made():
        server = TrackingEndpoint(component="tracking", reach=[], auth_mode="none", **tracking)
        args = {"namespace": cluster.NAMESPACE, "tracking": server, **(changes or {})}
        KubernetesMonitoring("monitoring", args)
        return {}

    return made


METRICS = {"metrics_path": "/metrics"}
ALL = {"database": "mlflow-prod-database", "archived": True, "labels": FOR_PROMETHEUS}


@pytest.mark.parametrize(
    ("changes", "tracking"),
    [({}, {}), ({}, METRICS), (ALL, METRICS)],
    ids=["least", "servers", "all"],
)
def test_every_object_is_labelled(changes, tracking):
    seen, _ = cluster.run(program(changes, **tracking))
    cluster.judge(seen)
    for item in seen:
        if item.is_kubernetes:
            assert item.labels.items() >= changes.get("labels", {}).items()


def test_servers_are_found_by_the_labels_of_their_service():
    seen, _ = cluster.run(program(**METRICS))
    spec = cluster.only(seen, "ServiceMonitor").spec
    assert spec["selector"]["matchLabels"] == {
        cluster.DEPLOYMENT: "mlflow-prod",
        cluster.ROLE: "tracking",
    }
    [endpoint] = spec["endpoints"]
    assert (endpoint["port"], endpoint["path"]) == ("http", "/metrics")
    assert "basicAuth" not in endpoint


def test_a_server_with_users_is_asked_with_a_login_from_a_secret():
    def made():
        server = TrackingEndpoint(component="tracking", reach=[], auth_mode="mlflow", **METRICS)
        secret = pulumi.Output.from_input("mlflow-prod-tracking-metrics")
        KubernetesMonitoring(
            "monitoring",
            {"namespace": cluster.NAMESPACE, "tracking": server, "metrics_secret": secret},
        )
        return {}

    [endpoint] = cluster.only(cluster.run(made)[0], "ServiceMonitor").spec["endpoints"]
    assert endpoint["basicAuth"]["password"] == {
        "name": "mlflow-prod-tracking-metrics",
        "key": "password",
    }


def test_a_server_with_users_and_no_login_is_refused():
    def made():
        server = TrackingEndpoint(component="tracking", reach=[], auth_mode="mlflow", **METRICS)
        with pytest.raises(ValueError, match="metrics_secret: tracking answers nobody"):
            KubernetesMonitoring("monitoring", {"namespace": "x", "tracking": server})
        return {}

    cluster.run(made)


def test_without_metrics_nothing_asks_for_them():
    seen, _ = cluster.run(program())
    assert not [item for item in seen if item.kind in ("ServiceMonitor", "PodMonitor")]
    assert "mlflow_http" not in str(cluster.only(seen, "PrometheusRule").spec)


def alerts(**changes):
    given = {
        "namespace": "mlflow-prod",
        "deployments": {"mlflow-prod-tracking": "server"},
        **changes,
    }
    groups = monitoring.rules(monitoring.Watched(**given))["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


EVERY = alerts(metrics=True, database="mlflow-prod-database", archived=True)


@pytest.mark.parametrize("alert", EVERY.values(), ids=EVERY)
def test_an_alert_is_of_this_namespace_alone_and_says_what_to_do(alert):
    expression = alert["expr"]
    selectors = re.findall(r"\{([^}]*)\}", expression)
    assert selectors
    assert all('namespace="mlflow-prod"' in selector for selector in selectors), expression
    # Each metric has its selector, wherever it stands.
    bare = re.findall(r"\b(?:kube|kubelet|mlflow|cnpg|barman)_\w+\b(?!\{)", expression)
    assert bare == []
    for pair in ("()", "{}", "[]"):
        assert expression.count(pair[0]) == expression.count(pair[1])
    assert alert["labels"]["severity"] in ("warning", "critical")
    assert alert["annotations"]["summary"]
    assert alert["annotations"]["description"]
    assert re.fullmatch(r"\d+m", alert["for"])


def test_alerts_are_of_what_there_is():
    assert "MlflowServerDown" in alerts()
    assert "MlflowDatabaseDown" not in alerts()
    assert "MlflowErrors" not in alerts()
    assert "MlflowDatabaseBackupOld" not in alerts(database="d")
    assert set(alerts()) < set(EVERY)


def test_the_components_alerts_are_those_of_its_deployments():
    seen, _ = cluster.run(program(ALL, **METRICS))
    spec = str(cluster.only(seen, "PrometheusRule").spec)
    for name in ("mlflow-prod-tracking", "mlflow-prod-proxy", "mlflow-prod-database-[0-9]+"):
        assert name in spec
