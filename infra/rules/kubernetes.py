"""Rules over what a cluster needs."""

from cloud_models import Controller, Ingress

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
