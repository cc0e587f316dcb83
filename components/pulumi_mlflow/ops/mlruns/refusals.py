"""What a server refuses is told, and the rest goes on; a server that is not there ends the import."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .report import Report

_UNAUTHENTICATED, SERVER_ERROR = 401, 500


@dataclass
class Outcome:
    """How something went.

    Attributes:
        refused: whether the server took it not.
        again: whether a later import may succeed.
    """

    refused: bool = False
    again: bool = False


@contextmanager
def told(report: Report, place: Path, what: str) -> Iterator[Outcome]:
    """Tell what the server refuses, and go on.

    Args:
        report: what is told.
        place: file or folder that it comes from.
        what: what does not arrive.

    Raises:
        MlflowException: the server does not answer, or not to this login.
    """
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 - takes seconds

    outcome = Outcome()
    try:
        yield outcome
    except MlflowException as error:
        if is_fatal(error):
            raise
        outcome.refused, outcome.again = True, status(error) >= SERVER_ERROR
        report.leave(place, f"{what}: {reason(error)}")


def is_fatal(error: Any) -> bool:
    """Whether nothing else will go either: MLflow has answered nothing."""
    from mlflow.exceptions import RestException  # noqa: PLC0415

    if isinstance(error, RestException):
        return False
    return status(error) == _UNAUTHENTICATED or status(error) >= SERVER_ERROR


def reason(error: Exception) -> str:
    """An error on one line."""
    return " ".join(str(error).split())[:300]


def status(error: Any) -> int:
    """HTTP status of an MlflowException."""
    return int(error.get_http_status_code())
