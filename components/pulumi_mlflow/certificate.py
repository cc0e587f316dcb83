"""A server certificate for development, made once and kept in the stack's encrypted state."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

from .core import certificates

_PEMS = ("ca", "ca_key", "certificate", "key")


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _issue(news: dict[str, Any], known: certificates.Issued | None) -> dict[str, Any]:
    issued = certificates.issue(news["owner"], news["hosts"], _now(), known)
    return {"owner": news["owner"], "hosts": news["hosts"], **vars(issued)}


class _Provider(ResourceProvider):
    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(id_=props["owner"], outs=_issue(props, None))

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        # Seen at `up`, so a stack that is brought up once a month never shows a certificate that has ended.
        due = any(certificates.is_due(olds[key], _now()) for key in ("ca", "certificate"))
        return DiffResult(changes=due or olds["hosts"] != news["hosts"])

    def update(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        known = certificates.Issued(**{key: olds[key] for key in _PEMS})
        return UpdateResult(outs=_issue(news, known))


class GeneratedCertificate(Resource, module="pulumi-mlflow", name="GeneratedCertificate"):
    """An authority of the stack's own, and a certificate by it. `up` renews it in its last 30 days.

    The authority stays the same for ten years, so that clients which know it need not be told again.

    Args:
        name: logical name.
        owner: whose it is, such as the deployment.
        hosts: host names and addresses, beside this machine's own.
        opts: `protect` defaults to true, since clients know the authority.

    Attributes:
        ca: certificate of the authority (PEM), for clients.
        certificate: the server's certificate (PEM).
        key: its key (PEM, secret output).
    """

    ca: pulumi.Output[str]
    certificate: pulumi.Output[str]
    key: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        owner: str,
        hosts: Sequence[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        defaults = pulumi.ResourceOptions(protect=True, additional_secret_outputs=["ca_key", "key"])
        props = {"owner": owner, "hosts": sorted(set(hosts)), **dict.fromkeys(_PEMS)}
        super().__init__(_Provider(), name, props, pulumi.ResourceOptions.merge(defaults, opts))
