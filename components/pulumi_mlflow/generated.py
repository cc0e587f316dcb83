"""Secrets that are made once and kept in the stack's encrypted state.

The `random` provider would do the same; it cannot be had from package registries, and a stack must come up on a machine
that reaches nothing else.
"""

import secrets
import string
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider

_ALPHABET = string.ascii_letters + string.digits


def generate(length: int = 32) -> str:
    """Letters and digits from the operating system's random source; 32 carry 190 bits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


class _Provider(ResourceProvider):
    def create(self, props: dict[str, Any]) -> CreateResult:
        value = generate(int(props["length"]))
        return CreateResult(id_=props["purpose"], outs={**props, "value": value})

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        # A secret opens data that exists: nothing but its deletion changes it. Rotation is a command of its own.
        return DiffResult(changes=False)


class GeneratedSecret(Resource, module="pulumi-mlflow", name="GeneratedSecret"):
    """Letters and digits from the operating system's random source, made once.

    Args:
        name: logical name.
        length: number of characters; 32 carry 190 bits.
        opts: `protect` defaults to true, since what a secret opens is lost without it.

    Attributes:
        value: the secret (secret output).
    """

    value: pulumi.Output[str]

    def __init__(
        self, name: str, length: int = 32, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        defaults = pulumi.ResourceOptions(protect=True, additional_secret_outputs=["value"])
        super().__init__(
            _Provider(),
            name,
            {"purpose": name, "length": length, "value": None},
            pulumi.ResourceOptions.merge(defaults, opts),
        )
