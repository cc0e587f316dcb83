"""Property tests on a machine that others load too: how long an example takes says nothing."""

from hypothesis import settings

settings.register_profile("core", deadline=None)
settings.load_profile("core")
