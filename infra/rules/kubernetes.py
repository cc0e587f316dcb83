"""Rules over what a cluster needs, and choices that follow from several settings."""

from collections.abc import Iterator

import sizes
from cloud_models import Controller, Identity, Ingress
from models import Settings, Store
from problems import Drop, Path, Problem, Put, Rule, unused
from pulumi_mlflow.core import urls
from sections import CLOUD, Runtime
from values import EXAMPLE_CERTIFICATE

from .artifacts import OWN

_SOURCES = {Controller.NGINX: "ingress-nginx", Controller.TRAEFIK: "traefik"}
"""Controller → the namespace that its own installation puts it into."""


def controller(wanted: Ingress) -> Controller:
    """Who fills an Ingress: as told, else as its class is called."""
    if wanted.controller:
        return wanted.controller
    named = (item for item in Controller if item.value == wanted.class_name)
    return next(named, Controller.OTHER)


def source_namespace(wanted: Ingress) -> str | None:
    """Namespace that an Ingress sends requests from; None where nothing tells, or where it is no pod."""
    if wanted.namespace or wanted.cidrs:
        return wanted.namespace
    return _SOURCES.get(controller(wanted))


def in_cluster(settings: Settings) -> bool:
    """Whether servers run in a cluster."""
    return settings.runtime in CLOUD and not sizes.fargate(settings)


def _cluster(settings: Settings) -> Iterator[Problem]:
    wanted = settings.kubernetes
    if wanted is None or not in_cluster(settings):
        return
    path: Path = ("kubernetes", "context")
    if wanted.context is None and wanted.stack is None:
        yield Problem(
            Rule.CLUSTER,
            path,
            "must name a context of your kubeconfig, or kubernetes.stack a stack that exports one (got neither)",
            Put(path, "production"),
        )
    elif wanted.context is not None and wanted.stack is not None:
        yield unused(Rule.CLUSTER, path, "beside kubernetes.stack", wanted.context)


def _way_in(settings: Settings) -> Iterator[Problem]:
    wanted = settings.kubernetes
    if wanted is None or not in_cluster(settings):
        return
    if wanted.ingress is None and wanted.gateway is None:
        yield Problem(
            Rule.WAY_IN,
            ("kubernetes", "ingress"),
            "must name the class of an Ingress, or kubernetes.gateway a Gateway (got neither)",
            Put(("kubernetes", "ingress", "class_name"), "nginx"),
        )
    elif wanted.ingress is not None and wanted.gateway is not None:
        yield unused(
            Rule.WAY_IN, ("kubernetes", "gateway"), "beside kubernetes.ingress", wanted.gateway
        )
    elif wanted.ingress is not None:
        yield from _ingress(wanted.ingress)


def _ingress(wanted: Ingress) -> Iterator[Problem]:
    section: Path = ("kubernetes", "ingress")
    filled = controller(wanted)
    if not wanted.cidrs and source_namespace(wanted) is None:
        balancer = filled is Controller.ALB
        key = "cidrs" if balancer else "namespace"
        where: Path = (*section, "cidrs", 0) if balancer else (*section, "namespace")
        yield Problem(
            Rule.WAY_SOURCE,
            (*section, key),
            f"must say where the controller {filled.value} sends requests from, since no other connection is let in "
            "(got nothing)",
            Put(where, "10.0.0.0/16" if balancer else "ingress"),
        )
    given = [k for k in ("issuer", "tls_secret", "certificate_arn") if getattr(wanted, k)]
    right = ["certificate_arn"] if filled is Controller.ALB else ["issuer", "tls_secret"]
    wrong = [key for key in given if key not in right] or [key for key in given if key in right][1:]
    if wrong:
        yield unused(
            Rule.CERTIFICATE,
            (*section, wrong[0]),
            f"with the controller {filled.value} and {', '.join(given)}: one certificate, by {' or '.join(right)}",
        )
    elif not given:
        path: Path = (*section, right[0])
        example = EXAMPLE_CERTIFICATE if filled is Controller.ALB else "letsencrypt"
        yield Problem(
            Rule.CERTIFICATE,
            path,
            f"must be given, since logins need TLS{'' if len(right) == 1 else f'; or {right[1]}'} (got nothing)",
            Put(path, example),
        )


def _images(settings: Settings) -> Iterator[Problem]:
    registry = settings.registry
    if registry is None or settings.runtime not in CLOUD:
        return
    own = settings.artifacts.store in OWN
    used = {
        "server": True,
        "oauth2_proxy": settings.access.auth.by_provider,
        "database": settings.database.existing is None,
        "store": own,
    }
    for key, is_used in used.items():
        path: Path = ("registry", key)
        image = getattr(registry, key)
        if image and not is_used:
            yield Problem(
                Rule.IMAGE_UNUSED,
                path,
                f'is run by nothing with these settings (got "{image}")',
                Drop(path),
            )
        elif is_used and not image and settings.runtime is Runtime.KUBERNETES:
            example = type(registry).model_fields[key].examples or [""]
            yield Problem(
                Rule.IMAGE_MISSING,
                path,
                "must name an image in a registry that the cluster pulls from (got nothing)",
                Put(path, str(example[0])),
            )


def _identity(settings: Settings) -> Iterator[Problem]:
    wanted = settings.kubernetes
    if settings.runtime is not Runtime.KUBERNETES or wanted is None:
        return
    path: Path = ("kubernetes", "identity")
    keys = settings.artifacts_access_key is not None
    needed = settings.artifacts.store is Store.S3 and not keys
    identity = wanted.identity or Identity()
    ways = [key for key in ("role_arn", "pod_identity", "annotations") if getattr(identity, key)]
    if needed and not ways:
        yield Problem(
            Rule.IDENTITY,
            path,
            "must be given for a bucket without keys, or pods would use the node's identity: role_arn (IRSA), "
            "pod_identity, or annotations of another cloud (got nothing)",
            Put((*path, "pod_identity"), value=True),
        )
    elif needed and identity.role_arn and identity.pod_identity:
        yield unused(Rule.IDENTITY, (*path, "role_arn"), "beside pod_identity", identity.role_arn)
    elif not needed and wanted.identity is not None:
        yield unused(Rule.IDENTITY, path, "for a store that is used by keys", wanted.identity)


def _redis(settings: Settings) -> Iterator[Problem]:
    secret = settings.jobs_redis_url
    if settings.tracking.jobs is None or secret is None:
        return  # said of all secrets that nothing needs
    if not urls.is_redis(secret.get_secret_value()):
        yield Problem(
            Rule.REDIS_URL,
            ("jobs_redis_url",),
            "must be a URL such as rediss://:password@host:6379/0; without one jobs wait in memory "
            "(got a value that is not shown)",
            Drop(("jobs_redis_url",)),
        )


def _labels(settings: Settings) -> Iterator[Problem]:
    monitoring = settings.monitoring
    if monitoring is None or not in_cluster(settings):
        return
    if monitoring.labels and monitoring.namespace is None:
        yield unused(
            Rule.LABELS,
            ("monitoring", "labels"),
            "without monitoring.namespace",
            monitoring.labels,
        )


CHECKS = (_cluster, _way_in, _images, _identity, _redis, _labels)
