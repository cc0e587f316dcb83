"""MLflow's client in this process, for the time of an import."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest import mock

_PAGE = 200

_SETTINGS = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # A value that only the database refuses is answered by 500: not minutes of retries for each.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


@contextmanager
def environment(given: Mapping[str, str]) -> Iterator[None]:
    """The variables of a server, and no others of MLflow's or the store's.

    Args:
        given: what MLflow's client needs to reach it.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MLFLOW_", "AWS_"))
        or name in ("MLFLOW_TRACKING_TOKEN", "MLFLOW_HTTP_REQUEST_TIMEOUT")
    }
    with mock.patch.dict(os.environ, {**kept, **_SETTINGS, **given}, clear=True):
        try:
            yield
        finally:
            own = {name: value for name, value in os.environ.items() if name.startswith("_MLFLOW_")}
    # What MLflow keeps there for itself, and misses later.
    os.environ.update(own)


def pages(search: Callable[..., Any], **arguments: Any) -> Iterator[Any]:
    """Everything that a search of MLflow's client finds, a page at a time."""
    token = None
    while True:
        page = search(**arguments, max_results=_PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
