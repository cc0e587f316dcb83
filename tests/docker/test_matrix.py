"""Every kind of stack does all that is in the list of behaviours, and stays as it was made.

Stacks are brought up from their settings alone. Each is switched through its cells by `up`: that keeps
all runs. What came out is written to .state/conformance.json; docs/matrix.py makes the table in the docs of it.
"""

import datetime as dt
import json
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import pytest
from pydantic import SecretStr
from tests.docker import matrix
from tests.docker.matrix import Cell
from tests.docker.neighbours import SECRET, neighbours
from tests.docker.stack import DockerStack
from tests.support import FULL, ROOT

from pulumi_mlflow.ops.stack import FrontDoor, StackOutputs

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(3600)]

REPORT = ROOT / ".state" / "conformance.json"
CELLS = {
    cell: FULL or cell.database not in matrix.SELDOM
    for cell in (matrix.everything() if FULL else matrix.usual())
}
"""Cell → whether it is tried."""
SIDE_BY_SIDE = 2 if FULL else 1
"""Stacks. In `make test` other files' stacks run beside them, which is enough for two cores."""

WRITING = threading.Lock()

THOROUGH = {
    matrix.TOUR[0]: "--large" if FULL else "--full",
    **(dict.fromkeys((*matrix.TOUR[1:3], matrix.TOUR[4]), "--full") if FULL else {}),
}
"""Cells in which more than the quick behaviours are proved: minutes each."""


@dataclass
class Proof:
    """What a cell has shown."""

    cell: Cell
    outcomes: list[dict[str, Any]]
    changed_again: str
    """What a second `up` or a refresh would have changed; empty if nothing."""
    lost: list[str]
    """Runs of the cells before it that are not there any more."""
    seconds: dict[str, float] = field(default_factory=dict)


@pytest.fixture(scope="module")
def proofs(client, one_first, request, tmp_path_factory):
    """Cell → what is becoming known of it, for the cells whose tests were selected."""
    tests = [item for item in request.session.items if item.path == request.path]
    chosen = [item.callspec.params["cell"] for item in tests if hasattr(item, "callspec")]
    cells = [cell for cell in chosen if CELLS[cell]]
    found: dict[Cell, Future[Proof]] = {cell: Future() for cell in cells}
    homes = list(matrix.by_stack(cells).values())
    # Of the tour; what the other stacks use and did not make is of its images.
    first = DockerStack(client, tmp_path_factory.mktemp("matrix") / "project")
    stopped = threading.Event()
    try:
        one_first(first.up)
        with neighbours(client, first) as there, ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            tours = [
                pool.submit(
                    tour,
                    first if cells[0].home == matrix.TOUR[0].home else None,
                    lambda: DockerStack(client, tmp_path_factory.mktemp("matrix") / "project"),
                    cells,
                    there,
                    found,
                    stopped,
                )
                for cells in homes
            ]
            try:
                yield found
                for ended in tours:
                    ended.result()
            finally:
                stopped.set()
    finally:
        first.close()


def tour(stack, make, cells, there, found, stopped):
    """Switch one stack through its cells; what goes wrong belongs to the cell where it did."""
    own = stack is None
    place, earlier = there.place(), {}
    try:
        stack = make() if own else stack
        for cell in cells:
            if stopped.is_set():
                return
            try:
                proof = prove(stack, cell, there, place, earlier)
                write_report(proof)
                found[cell].set_result(proof)
            except BaseException as error:  # noqa: BLE001, it is raised in the test of that cell
                found[cell].set_exception(error)
    finally:
        for cell in cells:
            if not found[cell].done():
                found[cell].set_exception(RuntimeError("its stack was not made"))
        if own and stack is not None:
            stack.close()


def prove(stack, cell, there, place, earlier):
    """Bring a stack into one state, and try everything there."""
    seconds = {}

    def timed(name, command):
        started = time.monotonic()
        try:
            return command()
        finally:
            seconds[name] = round(time.monotonic() - started, 1)

    use(stack, cell, place)
    timed("up", stack.up)
    token = {"MLFLOW_TRACKING_TOKEN": there.provider.token(exp=int(time.time()) + 3600)}
    report = stack.folder / "report.json"
    arguments = [THOROUGH[cell]] if cell in THOROUGH else []
    said = timed(
        "verify",
        lambda: stack.run(
            "pulumi-mlflow",
            "verify",
            "--stack",
            stack.stack,
            "--report",
            str(report),
            *arguments,
            ok=None,
            seconds=900,
            **token,
        ),
    )
    assert report.exists(), said
    outcomes = json.loads(report.read_text())["outcomes"]
    report.unlink()
    door = front_door(stack, token)
    lost = [run for then, runs in earlier.items() for run in missing(door, then, runs)]
    earlier[cell] = runs_of(door)
    changed = timed(
        "again",
        lambda: stack.pulumi(
            "up", "--yes", "--skip-preview", "--expect-no-changes", "--diff", ok=None
        ),
    )
    refreshed = timed(
        "refresh",
        lambda: stack.pulumi(
            "refresh", "--yes", "--skip-preview", "--expect-no-changes", "--diff", ok=None
        ),
    )
    changes = "".join(
        text
        for text in (changed, refreshed)
        if "no changes were expected" in text or "error:" in text
    )
    return Proof(cell, outcomes, changes, lost, seconds)


def use(stack, cell, place):
    """Write a cell's settings into the stack's file."""
    stack.settings = matrix.settings(cell, place)
    if cell in THOROUGH:
        stack.settings["access"]["rate_limit"] = (
            0  # thousands of requests, which would only be slowed down
        )
    stack.write(**matrix.secrets(cell, SECRET))


def front_door(stack, token) -> FrontDoor:
    outputs = StackOutputs.model_validate(stack.outputs())
    door = outputs.front_door
    return (
        door.model_copy(update={"token": SecretStr(token["MLFLOW_TRACKING_TOKEN"])})
        if door.wants_token
        else door
    )


def runs_of(door) -> set[str]:
    """All runs of the experiments that `verify` makes."""
    with door.session() as session:
        base = f"{door.tracking_uri}/api/2.0/mlflow"
        every = session.post(
            f"{base}/experiments/search", json={"max_results": 100}, timeout=30
        ).json()
        ids = [e["experiment_id"] for e in every["experiments"]]
        body = {"experiment_ids": ids, "max_results": 1000}
        found = session.post(f"{base}/runs/search", json=body, timeout=60).json()
    return {run["info"]["run_id"] for run in found.get("runs", [])}


def missing(door, then, runs):
    """What an earlier cell of the stack had, and this one has not."""
    return [f"run {run_id} of {then}" for run_id in runs - runs_of(door)]


def write_report(proof: Proof) -> None:
    """Put what was proved of a cell into the report, in the place of what an earlier run has found of it."""
    with WRITING:
        known = json.loads(REPORT.read_text())["cells"] if REPORT.exists() else {}
        at = dt.datetime.now(dt.UTC).date().isoformat()
        known[str(proof.cell)] = {**asdict(proof), "cell": proof.cell._asdict(), "at": at}
        order = [str(cell) for cell in matrix.everything()]
        cells = {name: known[name] for name in order if name in known}
        REPORT.parent.mkdir(exist_ok=True)
        REPORT.write_text(json.dumps({"of": len(order), "names": order, "cells": cells}, indent=1))


@pytest.mark.parametrize(
    "cell",
    [
        pytest.param(
            cell,
            id=str(cell),
            marks=pytest.mark.skipif(not tried, reason="FULL=1: a cell takes minutes"),
        )
        for cell, tried in CELLS.items()
    ],
)
def test_cell(proofs, cell):
    proof = proofs[cell].result(timeout=3000)
    print(proof.seconds)
    failed = [o for o in proof.outcomes if o["result"] not in {"passed", "n/a"}]
    assert not failed, failed
    assert proof.outcomes
    assert not proof.lost
    assert not proof.changed_again, proof.changed_again
