"""What all tests have."""

import gc
import signal

import pytest

# As on a terminal: what a shell without jobs runs beside itself ignores it, and so would all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Leave what was imported out of further collections: of the providers' SDKs these are a million objects.

    With them a third of the processor's time goes into looking for garbage among what is none.
    """
    gc.collect()
    gc.freeze()
