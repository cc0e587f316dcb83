"""How set-up talks to the person, and how it runs the programs that take long."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

HEARTBEAT_PLAIN: Final = 15.0  # seconds between two lines where there is no terminal
HEARTBEAT_TTY: Final = 0.5
TAIL_LINES: Final = 25


class SetupError(Exception):
    """Something that the person has to know or do; shown without a traceback."""


class Console:
    """Prints one line a step, and keeps long steps visibly alive."""

    def __init__(self, logs: Path, *, quiet: bool) -> None:
        self.quiet = quiet
        self.logs = logs
        self.tty = sys.stdout.isatty()
        self.worked = False

    def ok(self, what: str) -> None:
        """Say that something is in place already."""
        if not self.quiet:
            print(f"ok      {what}", flush=True)

    def say(self, verb: str, what: str) -> None:
        """Say what is about to be done; shown even when quiet, because it takes time."""
        self.worked = True
        print(f"{verb:<7} {what}", flush=True)

    def note(self, text: str) -> None:
        """Say something the person should know."""
        print(f"        {text}", flush=True)

    def run(
        self,
        command: Sequence[str | Path],
        *,
        log: str,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Run a program with its output in a log file, showing that it is alive.

        Its process group is its own, so that an interrupted set-up ends all of it and only it.
        """
        self.logs.mkdir(parents=True, exist_ok=True)
        file = self.logs / f"{log}.log"
        started = time.monotonic()
        with file.open("a") as stream:
            stream.write(f"$ {' '.join(map(str, command))}\n")
            stream.flush()
            try:
                process = subprocess.Popen(
                    [str(word) for word in command],
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=subprocess.STDOUT,
                    cwd=cwd,
                    env=dict(env) if env is not None else None,
                    start_new_session=True,
                )
            except OSError as error:
                raise SetupError(f"cannot run {command[0]}: {error}") from error
        try:
            self._watch(process, file, started)
        except BaseException:
            _end_group(process)
            raise
        if process.returncode != 0:
            raise SetupError(
                f"{Path(command[0]).name} failed with exit code {process.returncode}.\n"
                f"The end of {file}:\n{tail(file, TAIL_LINES)}"
            )

    def _watch(self, process: subprocess.Popen[bytes], file: Path, started: float) -> None:
        """Wait for a program, and show elapsed time and its last line while it runs."""
        pause = HEARTBEAT_TTY if self.tty else HEARTBEAT_PLAIN
        while True:
            try:
                process.wait(timeout=pause)
            except subprocess.TimeoutExpired:
                elapsed = time.monotonic() - started
                line = tail(file, 1).strip()[:80]
                line = "" if line.startswith("$ ") else line  # the command itself: no output yet
                text = f"        {elapsed:4.0f} s  {line}"
                print(
                    f"\r{text}\033[K" if self.tty else text,
                    end="" if self.tty else "\n",
                    flush=True,
                )
            else:
                if self.tty:
                    print("\r\033[K", end="", flush=True)
                return


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End a program we started together with its children."""
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def tail(file: Path, lines: int) -> str:
    """Read the last lines of a file without reading all of it."""
    with file.open("rb") as stream:
        stream.seek(0, os.SEEK_END)
        stream.seek(max(0, stream.tell() - 16_384))
        text = stream.read().decode(errors="replace")
    return "\n".join(text.rstrip().splitlines()[-lines:])


def capture(
    command: Sequence[str | Path],
    *,
    seconds: float = 10.0,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a short program and return what it said; a missing or hanging one counts as failed."""
    words = [str(word) for word in command]
    try:
        return subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            cwd=cwd,
            env=dict(env) if env is not None else None,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(words, 124, "", f"no answer within {seconds:g} s")
    except OSError as error:
        return subprocess.CompletedProcess(words, 127, "", str(error))


@contextmanager
def only_one(lock: Path) -> Iterator[None]:
    """Let one set-up at a time write into the cache; the kernel drops the lock of a killed one."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.seek(0)
            print(f"wait    another set-up is at work (pid {stream.read().strip()})", flush=True)
            fcntl.flock(stream, fcntl.LOCK_EX)
        stream.seek(0)
        stream.truncate()
        stream.write(str(os.getpid()))
        stream.flush()
        yield


def stop_on_sigterm() -> None:
    """Turn SIGTERM into an exception, so that what we started is ended with us."""

    def stop(_signal: int, _frame: object) -> NoReturn:
        raise SystemExit(143)

    signal.signal(signal.SIGTERM, stop)
