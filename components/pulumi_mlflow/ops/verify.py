"""Whether a server does what people come to MLflow for, proved by the behaviours in `conformance`."""

import json
import tempfile
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .conformance import BEHAVIOURS, Level
from .conformance.behaviour import Outcome, Result, run, succeeded
from .conformance.server import EXPERIMENT, Server, client_environment, quiet
from .conformance.training import ALIAS, MODEL
from .stack import FrontDoor

__all__ = [
    "ALIAS",
    "EXPERIMENT",
    "MODEL",
    "Level",
    "Outcome",
    "Result",
    "report",
    "succeeded",
    "verify",
]


def verify(
    door: FrontDoor, on_start: Callable[[str], None], level: Level = Level.QUICK
) -> list[Outcome]:
    """Prove all behaviours of a level and below; one failure does not keep the others from running.

    Args:
        door: the server and the login to use.
        on_start: called with a behaviour's title when it starts.
        level: how much to ask.

    Returns:
        One outcome a behaviour, in order.
    """
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        with client_environment(door, scratch), quiet():
            wanted = [behaviour for behaviour in BEHAVIOURS if behaviour.level <= level]
            return run(wanted, Server(door, scratch), on_start)


def report(outcomes: Iterable[Outcome]) -> str:
    """The outcomes as JSON, for programs."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    found: dict[str, Any] = {
        "at": now,
        "outcomes": [
            {
                "title": o.title,
                "result": o.result.value,
                "seconds": round(o.seconds, 2),
                "detail": o.detail,
            }
            for o in outcomes
        ],
    }
    return json.dumps(found, indent=2)
