"""What the programs of the server image share."""

import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class BootError(Exception):
    """Ends the program with its message and exit code 1."""


def environment(name: str) -> str:
    """A variable that must be set.

    Raises:
        BootError: it is not, or is empty.
    """
    value = os.environ.get(name, "")
    if not value:
        raise BootError(
            f"{name} is not set; the server image expects it from its configuration volume"
        )
    return value


def wait(what: str, attempt: Callable[[], T], seconds: float) -> T:
    """Call `attempt` until it succeeds, for at most `seconds`; say each new reason why it does not.

    Raises:
        BootError: it did not succeed in time, or raised one itself.
    """
    deadline = time.monotonic() + seconds
    said = ""
    while True:
        try:
            return attempt()
        except BootError:
            raise
        except Exception as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
            if reason != said:
                print(f"waiting for {what}: {reason}", flush=True)
                said = reason
            if time.monotonic() > deadline:
                raise BootError(
                    f"{what} did not answer within {seconds:.0f} s: {reason}"
                ) from error
            time.sleep(1)
