"""Suffixes of the names of objects that are never changed, but made anew under another name.

A name by what is in an object comes back when a change is taken back. Pulumi then takes the object that still has it
for the new one, and deletes it at the end of the same `up`: it is the old one as well, whose deletion was due.
"""

from typing import Any

import pulumi
from pulumi.dynamic import (
    CheckResult,
    CreateResult,
    DiffResult,
    Resource,
    ResourceProvider,
    UpdateResult,
)

from ..core import naming


class SuffixProvider(ResourceProvider):
    """Keeps a suffix in the stack's state, and with it all that came before it."""

    serialize_as_secret_always = False

    def check(self, olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Add the suffix to the inputs, so that a preview shows the name that `up` will give."""
        now = news["version"]
        suffix = now if now == pulumi.runtime.rpc.UNKNOWN else naming.unique_suffix(olds, now)
        return CheckResult({**news, "suffix": suffix}, [])

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Keep it."""
        return CreateResult(id_="suffix", outs=props)

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Another version has another suffix."""
        return DiffResult(changes=olds.get("version") != news["version"])

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Keep the new one."""
        return UpdateResult(outs=news)


class UniqueSuffix(Resource, module="pulumi-mlflow", name="UniqueSuffix"):
    """What ends the name of an object's version. It stays while the version does, and is never used again after that.

    Args:
        name: logical name.
        version: hexadecimal digits that tell one content of the object from another; no secret.
        opts: as usual.

    Attributes:
        suffix: as many hexadecimal digits.
    """

    suffix: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        version: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(SuffixProvider(), name, {"version": version, "suffix": None}, opts)
