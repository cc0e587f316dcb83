"""What ingress controllers are told."""

import pytest

from pulumi_mlflow.core import ingress


@pytest.mark.parametrize("controller", ingress.CONTROLLERS)
def test_every_controller_has_strings_only(controller):
    found = ingress.annotations(controller, certificate_arn="arn" if controller == "alb" else "")
    assert all(isinstance(value, str) for value in found.values())
    assert bool(found) == (controller != "other")


def test_nginx_neither_limits_nor_buffers():
    found = {key.rpartition("/")[2]: value for key, value in ingress.annotations("nginx").items()}
    assert found["proxy-body-size"] == "0"
    assert found["proxy-request-buffering"] == found["proxy-buffering"] == "off"
    assert int(found["proxy-read-timeout"]) >= 300
    assert found["force-ssl-redirect"] == "true"


def test_an_alb_is_internal_unless_asked_and_speaks_tls_only():
    found = ingress.annotations("alb", certificate_arn="arn:x")
    assert found["alb.ingress.kubernetes.io/scheme"] == "internal"
    assert found["alb.ingress.kubernetes.io/listen-ports"] == '[{"HTTPS":443}]'
    assert (
        "idle_timeout.timeout_seconds=4000"
        in found["alb.ingress.kubernetes.io/load-balancer-attributes"]
    )
    assert found["alb.ingress.kubernetes.io/certificate-arn"] == "arn:x"
    assert (
        "internet-facing" in ingress.annotations("alb", certificate_arn="a", public=True).values()
    )


@pytest.mark.parametrize(("controller", "arn"), [("alb", ""), ("nginx", "arn"), ("haproxy", "")])
def test_what_does_not_fit_is_refused(controller, arn):
    with pytest.raises(
        ValueError, match=r"certificate_arn: must be given|controller: must be one of"
    ):
        ingress.annotations(controller, certificate_arn=arn)
