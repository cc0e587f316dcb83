"""What all tests have."""

import gc
import signal
from collections import Counter

import pytest

# As on a terminal: what a shell without jobs runs beside itself ignores it, and so would all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, so that no process is left with one at the end: those with a slow test, then by number of tests."""
    counts = Counter(item.path for item in items)
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in slow, -counts[item.path], str(item.path)))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Leave what was imported out of further collections: of the providers' SDKs these are a million objects.

    With them a third of the processor's time goes into looking for garbage among what is none.
    """
    gc.collect()
    gc.freeze()
