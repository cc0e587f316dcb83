"""The one error that the command line shows without a traceback."""


class OpsError(Exception):
    """A command cannot go on. Its text says what is wrong and what mends it."""
