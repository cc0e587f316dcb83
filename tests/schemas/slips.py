"""Slips in our objects: what each is, and how the schemas and a real API server say so."""

import copy

from tests.kubernetes import every

OPERATORS = [
    ("postgresql.cnpg.io/v1/Cluster", "spec.instance", 2, "'instance' not allowed", "field not declared in schema"),
    ("postgresql.cnpg.io/v1/Cluster", "spec.instances", 0, "minimum: got 0, want 1", "greater than or equal to 1"),
    ("postgresql.cnpg.io/v1/Cluster", "spec.primaryUpdateMethod", "reboot", "value must be one of", "Unsupported value"),
    ("postgresql.cnpg.io/v1/Cluster", "spec.postgresql.synchronous.number", 0, None, "should be greater than zero"),
    ("postgresql.cnpg.io/v1/Cluster", "metadata.labels.tier", 1, "got number, want string", "labels.tier: expected string"),
    ("postgresql.cnpg.io/v1/ScheduledBackup", "spec.method", "rsync", "value must be one of", "Unsupported value"),
    ("postgresql.cnpg.io/v1/ScheduledBackup", "spec.schedule", None, "missing property 'schedule'", "Required value"),
    ("barmancloud.cnpg.io/v1/ObjectStore", "spec.retentionPolicy", "a month", "does not match pattern", "should match"),
    ("barmancloud.cnpg.io/v1/ObjectStore", "spec.configuration.serverName", "x", None, "plugin parameter"),
    ("cert-manager.io/v1/Certificate", "spec.privateKey.algorithm", "DSA", "value must be one of", "Unsupported value"),
    ("cert-manager.io/v1/Certificate", "spec.secretName", None, "missing property 'secretName'", "Required value"),
    ("external-secrets.io/v1/ExternalSecret", "spec.target.template.engineVersion", "v3", "value must be 'v2'", "Unsupported value"),
    ("external-secrets.io/v1/ExternalSecret", "spec.data.0.secretKey", "pass word", "does not match pattern", "should match"),
    ("gateway.networking.k8s.io/v1/HTTPRoute", "spec.rules.0.timeouts.request", "a minute", "does not match pattern", "should match"),
    ("gateway.networking.k8s.io/v1/HTTPRoute", "spec.rules.0.timeouts", {"request": "1s", "backendRequest": "2s"}, None, "cannot be longer than"),
    ("gateway.networking.k8s.io/v1/HTTPRoute", "spec.rules.0.backendRefs.0.port", None, None, "Must have port"),
    ("monitoring.coreos.com/v1/ServiceMonitor", "spec.endpoints.0.interval", "often", "does not match pattern", "should match"),
    ("monitoring.coreos.com/v1/PodMonitor", "spec.podMetricsEndpoints.0.prot", "x", "'prot' not allowed", "field not declared in schema"),
    ("monitoring.coreos.com/v1/PrometheusRule", "spec.groups.0.rules.0.for", "a minute", "does not match pattern", "should match"),
]  # fmt: skip
"""Kind, path, value (None: taken away), what kubeconform says (None: nothing, as it is a rule in CEL), what the API server says."""


def an_object(kind, name=None):
    """A copy of the first object of ours of a kind, and of a logical name if one is given."""
    return copy.deepcopy(
        next(made.body for made in every.objects() if made.kind == kind and name in (None, made.name))
    )  # fmt: skip


def changed(body, path, value):
    """A copy of an object with another value at a path.

    Args:
        body: the object.
        path: keys and indexes, with dots between.
        value: what is to be there; None takes it away; a function gets what is there.
    """
    body = copy.deepcopy(body)
    *way, last = path.split(".")
    at = body
    for step in way:
        at = at[int(step)] if step.isdigit() else at.setdefault(step, {})
    if value is None:
        del at[last]
    else:
        at[last] = value(at[last]) if callable(value) else value
    return body
