"""What the programs of the server image share."""

import configparser
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


def administrator() -> tuple[str, str] | None:
    """Name and password of MLflow's own administrator; None where it asks nobody who they are."""
    path = os.environ.get("MLFLOW_AUTH_CONFIG_PATH")
    if not path:
        return None
    config = configparser.ConfigParser()
    config.read(path)
    return config["mlflow"]["admin_username"], config["mlflow"]["admin_password"]


def client_environment() -> None:
    """Set what MLflow's commands need besides the server's own variables: where it answers, and a login.

    In the environment of this process and of those that it becomes or starts, never in an argument.
    """
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        # Beside the server, as in a shell in its container.
        os.environ["MLFLOW_TRACKING_URI"] = environment("HEALTH_URL").removesuffix("/health")
    if (login := administrator()) and not os.environ.get("MLFLOW_TRACKING_PASSWORD"):
        os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"] = login


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
