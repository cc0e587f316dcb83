"""Take a stack down: without its data by default, with it when asked to."""

from collections.abc import Callable

from . import state
from .errors import OpsError
from .stack import Stack

Confirm = Callable[[list[state.Protected]], None]
"""Told what is protected before anything is changed; raises to stop."""


def down(stack: Stack, confirm: Confirm) -> list[state.Protected]:
    """Destroy what is not protected.

    Args:
        stack: the stack; its settings and history stay.
        confirm: called with what stays, where the stack is in a cloud and up.

    Returns:
        What is kept: data and the secrets that open it.

    Raises:
        OpsError: pulumi fails.
    """
    before = stack.export()
    if state.in_cloud(before) and state.is_up(before):
        confirm(state.protected(before))
    # Ends with 0 when only protected things are left, also when there was nothing else (pulumi 3.256.0).
    stack.stream("destroy", "--exclude-protected", "--yes", "--skip-preview")
    return state.protected(stack.export())


def purge(stack: Stack, confirm: Confirm) -> str:
    """Destroy everything of the stack, its data and secrets too.

    Args:
        stack: the stack; its settings and history stay.
        confirm: called with what will be lost.

    Returns:
        What stays all the same, and until when; empty for nothing.

    Raises:
        OpsError: AWS would refuse a part of it, after the rest was taken; or pulumi fails.
    """
    from . import purge as purge_module  # noqa: PLC0415 - loads boto3, which takes a second

    before = stack.export()
    if held := state.locked(before):
        names = ", ".join(f"{one.name} ({one.kind})" for one in held)
        raise OpsError(
            f"stack '{stack.name}': deletion_protection is on, so AWS would refuse to delete {names}, once all else is "
            f"gone; nothing was taken. Set it to false (pulumi config set --path 'mlflow:database.deletion_protection' "
            f"false -s {stack.name}; of AwsEksCluster in its program), {stack.up_command}, then again"
        )
    if reasons := purge_module.obstacles(before):
        lines = "".join(f"\n  {reason}" for reason in reasons)
        raise OpsError(
            f"stack '{stack.name}': cannot be deleted as a whole, and nothing was taken:{lines}"
        )
    kept = purge_module.kept_keys(before)
    staying = {one.name for one in kept}
    lost = [one for one in state.protected(before) if one.name not in staying]
    confirm(lost)
    if lost or kept:
        stack.read("state", "unprotect", "--all", "--yes")
    stack.stream("destroy", "--yes", "--skip-preview")
    if not kept:
        return ""
    arns = ", ".join(one.identity for one in kept)
    return (
        f"Kept in AWS, for the copies that they encrypt: {arns}. Once no snapshot and no copy of the database is left: "
        f"aws kms schedule-key-deletion --key-id ARN"
    )
