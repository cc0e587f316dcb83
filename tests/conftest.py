"""What all tests have."""

import gc

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Leave what was imported out of further collections: of the providers' SDKs these are a million objects.

    With them a third of the processor's time goes into looking for garbage among what is none.
    """
    gc.collect()
    gc.freeze()
