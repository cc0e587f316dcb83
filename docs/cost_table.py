"""Writes the tables of docs/cost.md: what the prod stack costs in each size; `--check` only compares.

The stack's own program runs under Pulumi's mocks, so the resources are those of its plan.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pulumi
import yaml
from pulumi.runtime import rpc
from pulumi.runtime.mocks import MockCallArgs, MockMonitor, MockResourceArgs, Mocks
from pulumi.runtime.stack import run_pulumi_func

from pulumi_mlflow.core import costs, plan, profiles
from pulumi_mlflow.ops import cost

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "infra"))

from compose import compose  # noqa: E402
from settings import load  # noqa: E402

TARGET = ROOT / "docs" / "cost.md"
BEGIN, END = "<!-- Made by docs/cost_table.py: begin -->", "<!-- end -->"
SECRET = "oidc_client_secret"  # noqa: S105 - a setting's name


class Echo(Mocks):
    """A provider that answers with what it was given."""

    def new_resource(self, args: MockResourceArgs) -> tuple[str, dict[str, Any]]:
        """Make one."""
        return f"{args.name}-id", args.inputs

    def call(self, _args: MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        """Two zones; nothing else is looked up."""
        return {"names": ["a", "b"]}, []


class Monitor(MockMonitor):
    """Keeps what is registered."""

    def __init__(self) -> None:
        super().__init__(Echo())
        self.found: list[plan.Resource] = []

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - the SDK's name
        """Register one."""
        answer = super().RegisterResource(request)  # type: ignore[no-untyped-call]
        inputs = rpc.deserialize_properties(request.object)
        self.found.append(plan.wanted(request, inputs, answer.urn))
        return answer


def resources(size: str) -> list[plan.Resource]:
    """What the prod stack has in a size."""
    content = yaml.safe_load((ROOT / "Pulumi.prod.yaml").read_text())["config"]
    given = {
        key.removeprefix("mlflow:"): value if isinstance(value, str) else json.dumps(value)
        for key, value in content.items()
    }
    given |= {"size": size, SECRET: "none"}
    settings = load("prod", given, root=ROOT, secret_keys=[SECRET])
    monitor = Monitor()

    def program() -> None:
        pulumi.runtime.mocks.set_mocks(
            monitor.mocks, project="mlflow", stack="prod", preview=True, monitor=monitor
        )
        compose(settings)

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(run_pulumi_func(program))
    loop.close()
    return monitor.found


GROUPS = {
    "RDS": ("aws:rds/",),
    "Fargate": ("aws:ecs/",),
    "network and front door": ("aws:ec2/", "aws:lb/", "aws:wafv2/", "aws:servicediscovery/"),
}
"""Column → how its resources' types start; the rest is the last column."""


def lines(prices: costs.Table) -> Iterator[str]:
    """The tables."""
    yield f"Prices of {prices.region}, table of {prices.as_of}. USD a month, from the fewest to the most servers."
    yield ""
    yield f"| size | servers | database | {' | '.join(GROUPS)} | the rest | together |"
    yield "|---|---|---|" + "---|" * (len(GROUPS) + 2)
    for size, profile in profiles.PROFILES.items():
        found = resources(size)
        types = {one.name: one.type for one in found}
        bill = costs.bill(found, prices)
        if bill.unpriced:
            raise ValueError(f"no price: {', '.join(bill.unpriced)}")
        cells = []
        rest = list(bill.lines)
        for starts in GROUPS.values():
            mine = [line for line in rest if types[line.resource].startswith(starts)]
            rest = [line for line in rest if line not in mine]
            cells.append(_span(mine))
        servers = f"{profile.replicas} to {profile.max_replicas} of {profile.workers} processes"
        made = f"`{profile.instance_class}`, {profile.storage_gb} GB, two zones"
        row = [size, servers, made, *cells, _span(rest), f"**{cost.span(bill.least, bill.most)}**"]
        yield f"| {' | '.join(row)} |"
    yield ""
    yield f"| {prices.managed_name} | USD a month |"
    yield "|---|---|"
    for size, usd in costs.monthly(prices).items():
        yield f"| {size} | {costs.dollars(usd)} |"


def _span(several: list[costs.Line]) -> str:
    return cost.span(sum(one.least for one in several), sum(one.most for one in several))


def main() -> int:
    """Write the page, or say that it is out of date."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    page = TARGET.read_text()
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    body = "\n".join(lines(cost.load_prices()))
    wanted = f"{head}{BEGIN}\n\n{body}\n\n{END}{tail}"
    if parser.parse_args().check:
        if page != wanted:
            print(f"{TARGET}: out of date; python docs/cost_table.py", file=sys.stderr)
        return int(page != wanted)
    TARGET.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
