"""Programs under mocks leave tasks of a loop behind that is gone."""

import gc

import pytest
from tests.kubernetes.apiserver import server

__all__ = ["server"]


@pytest.fixture(scope="module", autouse=True)
def _collected():
    """Collects them here: within `ast.parse`, as of a plug-in that is imported late, CPython 3.11 fails over them."""
    yield
    gc.collect()
