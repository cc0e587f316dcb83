"""The rules as Pulumi's policy SDK takes them: `pulumi preview --policy-pack policy`.

The rules themselves are in checks/, and know nothing of that SDK. Each is an error; docs/policy.md says how to make an
exception.
"""  # noqa: INP001 - Pulumi runs it by its path

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pulumi_policy import (
    EnforcementLevel,
    Policy,
    PolicyPack,
    PolicyResource,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UnknownValueError

# The components' numbers and names (core/), which import no Pulumi. This environment has its own.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "components"))

from checks import RULES, One, Rule, Whole

from pulumi_mlflow.core.plan import UNKNOWN, Resource


def plain(value: Any) -> Any:
    """Properties as rules read them: what is not known yet is `UNKNOWN` instead of an error."""
    if isinstance(value, Mapping):
        return {str(key): _at(value, key) for key in value}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_at(value, index) for index in range(len(value))]
    return value


def _at(container: Any, key: Any) -> Any:
    try:
        return plain(container[key])
    except UnknownValueError:
        return UNKNOWN


def resource(args: ResourceValidationArgs | PolicyResource) -> Resource:
    """What a rule judges."""
    parent = args.opts.parent or ""
    refers: dict[str, tuple[str, ...]] = {}
    if isinstance(args, PolicyResource):
        refers = {
            name: tuple(one.urn for one in several)
            for name, several in args.property_dependencies.items()
        }
    return Resource(
        args.resource_type,
        args.name,
        plain(args.props),
        args.opts.protect,
        args.urn,
        parent,
        refers,
    )


def one(judge: One) -> Callable[[ResourceValidationArgs, ReportViolation], None]:
    """A rule over one resource, as the SDK calls it."""

    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        for finding in judge(resource(args)):
            report(str(finding), None)

    return validate


def whole(judge: Whole) -> Callable[[StackValidationArgs, ReportViolation], None]:
    """A rule over a stack, as the SDK calls it."""

    def validate(args: StackValidationArgs, report: ReportViolation) -> None:
        for finding in judge([resource(each) for each in args.resources]):
            report(str(finding), finding.resource.urn)

    return validate


def policies(rules: Sequence[Rule]) -> list[Policy]:
    """The rules as policies."""
    found: list[Policy] = []
    for rule in rules:
        if rule.one:
            found.append(ResourceValidationPolicy(rule.name, rule.description, one(rule.one)))
        if rule.whole:
            found.append(StackValidationPolicy(rule.name, rule.description, whole(rule.whole)))
    return found


PolicyPack(
    name="pulumi-mlflow",
    enforcement_level=EnforcementLevel.MANDATORY,
    policies=policies(RULES),
)
