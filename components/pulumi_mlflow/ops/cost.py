"""`pulumi-mlflow cost`: what a plan costs a month, beside the managed service."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from ..core import costs, plan
from .errors import OpsError

PRICES = Path(__file__).with_name("prices.yaml")
"""Our table of prices."""


def load_prices(file: Path = PRICES, assumptions: Sequence[str] = ()) -> costs.Table:
    """A table of prices.

    Args:
        file: as prices.yaml.
        assumptions: `name=number` each, in the place of the table's own.

    Raises:
        OpsError: the file is none, or an assumption is not known or no number.
    """
    try:
        content = yaml.safe_load(file.read_text())
        found = costs.table(content)
    except (OSError, yaml.YAMLError, ValueError) as error:
        raise OpsError(f"{file}: {error}") from error
    changed = dict(found.assumed)
    for text in assumptions:
        name, _, value = text.partition("=")
        if name not in changed or not value.replace(".", "", 1).isdigit():
            known = ", ".join(f"{key}={number:g}" for key, number in found.assumed.items())
            raise OpsError(f"--assume {text}: must be one of {known}, with a number of yours")
        changed[name] = float(value)
    return costs.table({**content, "assumed": changed})


def load_plan(file: Path) -> plan.Plan:
    """A plan from a file that `pulumi preview --json` was written to.

    Raises:
        OpsError: it is none.
    """
    try:
        return plan.read(file.read_text())
    except (OSError, ValueError) as error:
        raise OpsError(
            f"{file}: {error}. Make one: pulumi preview --json -s prod > {file.name}"
        ) from error


def report(before: costs.Bill, after: costs.Bill, prices: costs.Table) -> Iterator[str]:
    """What a person reads: each line, the sum, the managed service, and what the numbers rest on.

    Args:
        before: of what there is.
        after: of what there will be.
        prices: the table.
    """
    for line in sorted(after.lines, key=lambda one: (-one.most, one.resource)):
        mark = " *" if line.assumed else ""
        yield f"{span(line.least, line.most):>15}  {line.resource}: {line.what}{mark}"
    yield f"{span(after.least, after.most):>15}  USD a month"
    if before.lines:
        yield f"{span(before.least, before.most):>15}  before"
    for one in after.unpriced:
        yield f"no price: {one}"
    sizes = ", ".join(f"{size} {costs.dollars(usd)}" for size, usd in costs.monthly(prices).items())
    yield f"{prices.managed_name}, USD a month: {sizes}"
    yield from basis(after, prices)


def basis(bill: costs.Bill, prices: costs.Table) -> Iterator[str]:
    """What the numbers rest on."""
    yield (
        f"List prices of {prices.region}, table of {prices.as_of}: check them before you rely on them. "
        f"{len(bill.used & prices.recalled)} of {len(bill.used)} were recalled, not looked up. "
        "Not counted: traffic to the Internet, requests, metrics of Container Insights, taxes, discounts."
    )
    assumed = ", ".join(f"{name} {number:g}" for name, number in prices.assumed.items())
    yield f"* assumed: {assumed}"


def span(least: float, most: float) -> str:
    """One number, or from the fewest to the most servers."""
    low, high = costs.dollars(least), costs.dollars(most)
    return low if low == high else f"{low} to {high}"
