"""Programs that must come to an end of their own: `pulumi`, killed, leaves its stack locked.

Ctrl-C reaches every program of a terminal at once, and Python kills the children that it waits for. So these run in a
session of their own: a command that only reads or writes the state is waited for, and one that shows what it does is
asked to end, which it does after the step that it is at.
"""

import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path


def run(
    command: Sequence[str], folder: Path, *, given: str | None, seconds: float
) -> subprocess.CompletedProcess[str]:
    """Run a program quietly and to its end, whoever interrupts.

    Args:
        command: program and arguments.
        folder: where it runs.
        given: what it reads from its standard input; None for that of this process.
        seconds: how long it may take.

    Raises:
        FileNotFoundError: there is no such program.
        subprocess.TimeoutExpired: it did not end in time, and was killed.
        KeyboardInterrupt: after it has ended.
    """
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdin=None if given is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    interrupted = False
    while True:
        try:
            out, err = process.communicate(given, timeout=seconds)
            break
        except KeyboardInterrupt:
            # `communicate` may be called again, and goes on with what it was given.
            interrupted, given = True, None
        except BaseException:
            process.kill()
            process.wait()
            raise
    if interrupted:
        raise KeyboardInterrupt
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def show(command: Sequence[str], folder: Path) -> int:
    """Run a program with its output on the terminal; an interrupt is handed on to it, and it is waited for.

    Args:
        command: program and arguments.
        folder: where it runs.

    Returns:
        Its exit code.

    Raises:
        FileNotFoundError: there is no such program.
        KeyboardInterrupt: after it has ended.
    """
    process = subprocess.Popen(command, cwd=folder, start_new_session=True)
    interrupted = False
    while True:
        try:
            code = process.wait()
            break
        except KeyboardInterrupt:
            interrupted = True
            process.send_signal(signal.SIGINT)
    if interrupted:
        raise KeyboardInterrupt
    return code
