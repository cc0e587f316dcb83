"""Settings that data was made with: a change of one is refused at preview."""

from typing import Any

import pulumi
from pulumi.dynamic import (
    CheckFailure,
    CheckResult,
    CreateResult,
    DiffResult,
    Resource,
    ResourceProvider,
)


class _Provider(ResourceProvider):
    def check(self, olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        was, now = olds.get("settings") or {}, news["settings"]
        failures = [
            CheckFailure(
                "settings",
                f"{key}: {now.get(key)!r} is refused while there is data made with {was[key]!r}: {news['mend']}",
            )
            for key in was
            if was[key] != now.get(key)
        ]
        return CheckResult(news, failures)

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(id_="guard", outs=props)

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=olds.get("settings") != news["settings"])


class DataGuard(Resource, module="pulumi-mlflow", name="DataGuard"):
    """Remembers, with the data, the settings it was made with.

    Args:
        name: logical name.
        settings: key → value, as the user knows them.
        mend: what to do, ends the error.
        opts: options; `protect` is set, since it must live as long as the data.
    """

    def __init__(
        self, name: str, settings: dict[str, str], mend: str, opts: pulumi.ResourceOptions
    ) -> None:
        super().__init__(
            _Provider(),
            name,
            {"settings": settings, "mend": mend},
            pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(protect=True)),
        )
