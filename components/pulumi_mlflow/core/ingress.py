"""What an ingress controller must be told so that artifacts of any size get through it, and nothing without TLS."""

from . import alb, proxy

CONTROLLERS = ("nginx", "alb", "traefik", "other")
"""Controllers whose annotations we know; `other` gets none."""

_SECONDS = 3600
"""As long as nginx itself waits, see core/proxy.py."""


def annotations(
    controller: str, *, certificate_arn: str = "", public: bool = False
) -> dict[str, str]:
    """Annotations of an Ingress.

    Args:
        controller: one of `CONTROLLERS`.
        certificate_arn: certificate of an ALB.
        public: whether an ALB gets addresses of the Internet.

    Raises:
        ValueError: unknown controller, or an ALB without a certificate.
    """
    if controller not in CONTROLLERS:
        raise ValueError(
            f"controller: must be one of {', '.join(CONTROLLERS)} (got {controller!r})"
        )
    if (controller == "alb") != bool(certificate_arn):
        raise ValueError("certificate_arn: must be given with controller 'alb', and with no other")
    if controller == "nginx":
        # https://kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/annotations/
        prefix = "nginx.ingress.kubernetes.io"
        return {
            f"{prefix}/proxy-body-size": "0",
            f"{prefix}/proxy-request-buffering": "off",
            f"{prefix}/proxy-buffering": "off",
            f"{prefix}/proxy-read-timeout": str(_SECONDS),
            f"{prefix}/proxy-send-timeout": str(_SECONDS),
            f"{prefix}/force-ssl-redirect": "true",
        }
    if controller == "alb":
        # https://kubernetes-sigs.github.io/aws-load-balancer-controller/latest/guide/ingress/annotations/
        prefix = "alb.ingress.kubernetes.io"
        return {
            f"{prefix}/scheme": "internet-facing" if public else "internal",
            f"{prefix}/target-type": "ip",
            f"{prefix}/listen-ports": '[{"HTTPS":443}]',
            f"{prefix}/certificate-arn": certificate_arn,
            f"{prefix}/ssl-policy": alb.TLS_POLICY,
            f"{prefix}/healthcheck-path": proxy.HEALTH_PATH,
            f"{prefix}/load-balancer-attributes": f"idle_timeout.timeout_seconds={alb.IDLE_SECONDS[-1]},"
            "routing.http.drop_invalid_header_fields.enabled=true",
        }
    if controller == "traefik":
        # Time limits are the controller's own (`respondingTimeouts` of its entry point), and no annotation sets them.
        prefix = "traefik.ingress.kubernetes.io"
        return {f"{prefix}/router.entrypoints": "websecure", f"{prefix}/router.tls": "true"}
    return {}
