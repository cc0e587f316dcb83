"""Judges what mocks have seen by AWS's own provider: which attributes it takes together; see make_aws.py."""

import json
from pathlib import Path

PAGE = Path(__file__).with_name("aws-exclusive.json")
_RULES = {typ: entry["rules"] for typ, entry in json.loads(PAGE.read_text()).items()}


def refusals(seen):
    """What the provider would refuse, one line each.

    Args:
        seen: resources with `name`, `typ` and `inputs`.
    """
    return [
        f"{item.name} ({item.typ}): {kind} of {', '.join(names)} (given: {', '.join(given) or 'none'})"
        for item in seen
        for rule in _RULES.get(item.typ, [])
        for kind, names in rule.items()
        if not _holds(kind, names, given := [one for one in names if _is_given(item.inputs, one)])
    ]


def _is_given(inputs, name):
    return inputs.get(name) not in (None, [], {}, "")


def _holds(kind, names, given):
    if kind == "requires":
        return names[0] not in given or names[1] in given
    return {"at_most_one": len(given) <= 1, "exactly_one": len(given) == 1, "at_least_one": given}[
        kind
    ]
