"""Take a stack down: without its data by default, with it when asked to."""

from collections.abc import Callable

from . import state
from .stack import Stack


def down(stack: Stack) -> list[state.Protected]:
    """Destroy what is not protected.

    Returns:
        What is kept: data and the secrets that open it.

    Raises:
        OpsError: pulumi fails.
    """
    # Ends with 0 when only protected things are left, also when there was nothing else (pulumi 3.256.0).
    stack.stream("destroy", "--exclude-protected", "--yes", "--skip-preview")
    return state.protected(stack.export())


def purge(stack: Stack, confirm: Callable[[list[state.Protected]], None]) -> None:
    """Destroy everything of the stack, its data and secrets too.

    Args:
        stack: the stack; its settings and history stay.
        confirm: called with what will be lost before anything is changed; raises to stop.

    Raises:
        OpsError: pulumi fails.
    """
    lost = state.protected(stack.export())
    confirm(lost)
    if lost:
        stack.read("state", "unprotect", "--all", "--yes")
    stack.stream("destroy", "--yes", "--skip-preview")
