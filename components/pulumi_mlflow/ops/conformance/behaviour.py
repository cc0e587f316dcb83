"""What a behaviour is, and how a list of them is run."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, IntEnum

from .server import Server


class Level(IntEnum):
    """How much is asked of a server; each level includes those before it."""

    QUICK = 1
    """What `verify` does unless told: seconds, and about 200 MB over the wire."""
    FULL = 2
    """Every path variant and every route with a wrong login, much data, many clients: a minute."""
    LARGE = 3
    """Artifacts of more than a gigabyte."""


class Result(Enum):
    """How a behaviour ended."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_RUN = "not run"
    """Something that it needs failed before."""
    NOT_APPLICABLE = "n/a"
    """The server is not meant to do this."""


@dataclass(frozen=True)
class Outcome:
    """A behaviour's row in the table."""

    title: str
    result: Result
    seconds: float
    detail: str


class CheckError(Exception):
    """The server answered, and the answer is wrong."""


class NotApplicableError(Exception):
    """The server is not meant to do what the behaviour asks for."""


Prove = Callable[[Server], str]
"""Returns the detail for the table; raises whatever went wrong."""


@dataclass(frozen=True)
class Behaviour:
    """One thing to prove, after those in `needs` were."""

    title: str
    prove: Prove
    needs: tuple[Prove, ...] = ()
    level: Level = Level.QUICK


def succeeded(outcomes: Iterable[Outcome]) -> bool:
    """Whether everything passed that applies."""
    return all(o.result in {Result.PASSED, Result.NOT_APPLICABLE} for o in outcomes)


def run(
    behaviours: Iterable[Behaviour], server: Server, on_start: Callable[[str], None]
) -> list[Outcome]:
    """Prove behaviours one after another; one failure does not keep the others from running.

    Args:
        behaviours: what to prove, in this order.
        server: the server, with MLflow's client configured for it.
        on_start: called with a title when it starts.
    """
    outcomes: list[Outcome] = []
    unproved: dict[Prove, str] = {}
    for behaviour in behaviours:
        on_start(behaviour.title)
        missing = next((unproved[need] for need in behaviour.needs if need in unproved), None)
        if missing is None:
            outcome = _prove(behaviour, server)
        else:
            outcome = Outcome(behaviour.title, Result.NOT_RUN, 0, f"needs: {missing}")
        if outcome.result is not Result.PASSED:
            unproved[behaviour.prove] = behaviour.title
        outcomes.append(outcome)
    return outcomes


def _prove(behaviour: Behaviour, server: Server) -> Outcome:
    start = time.monotonic()
    try:
        result, detail = Result.PASSED, behaviour.prove(server)
    except NotApplicableError as error:
        result, detail = Result.NOT_APPLICABLE, str(error)
    except Exception as error:  # noqa: BLE001, however it fails, that is its result
        kind = "" if isinstance(error, CheckError) else f"{type(error).__name__}: "
        result, detail = Result.FAILED, f"{kind}{error}"
    return Outcome(
        behaviour.title, result, time.monotonic() - start, redacted(detail, server.door.secrets)
    )


def redacted(text: str, secrets: Iterable[str]) -> str:
    """A text without the secrets that may have come into it."""
    for secret in filter(None, secrets):
        text = text.replace(secret, "…")
    return text
