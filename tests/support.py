"""What tests with the real `pulumi` share: its environment, and projects with a state of their own."""

import asyncio
import contextlib
import functools
import json
import os
import random
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import tenacity
import yaml
from pulumi.runtime import rpc
from pulumi.runtime.settings import SETTINGS, _get_rpc_manager

ROOT = Path(__file__).resolve().parents[1]

FULL = os.environ.get("FULL") == "1"
"""Whether tests run that take minutes each; `make test` counts the others as skipped, and says why."""


@functools.cache
def toolchain_environment() -> dict[str, str]:
    """What `eval "$(python3 toolchain/setup.py env)"` would set."""
    printed = subprocess.run(
        [sys.executable, ROOT / "toolchain" / "setup.py", "env"],
        text=True,
        capture_output=True,
        check=True,
    ).stdout
    words = (word for word in shlex.split(printed) if "=" in word)
    return dict(word.split("=", 1) for word in words)


@functools.cache
def tool(name: str, *, build: bool = True) -> Path | None:
    """A program that set-up gets for tests, or None where it is not there and is not to be built.

    Args:
        name: as `setup.py tool` knows it.
        build: whether it may be built, which takes minutes for some.

    Raises:
        RuntimeError: it could not be had; the message is what set-up says.
    """
    command = [sys.executable, ROOT / "toolchain" / "setup.py", "tool", name]
    only_here = [] if build else ["--here"]
    done = subprocess.run([*command, *only_here], capture_output=True, text=True, check=False)
    if done.returncode and build:
        raise RuntimeError(done.stderr)
    return None if done.returncode else Path(done.stdout.strip())


def free_port() -> int:
    """A port that nobody has, and that the kernel gives nobody until a stack has it, minutes later maybe.

    It gives those from 32768 on to whoever connects or asks for any (ip_local_port_range).
    """
    while True:
        port = random.randrange(20_000, 32_768)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


async def settled() -> None:
    """Wait for all outputs of a program, at the end of it.

    `run_pulumi_func` does so too, but looks at all that are left whenever one is known: a third of its time.
    """
    while SETTINGS.outputs:
        left = list(SETTINGS.outputs)
        SETTINGS.outputs.clear()
        await asyncio.gather(*left)


@contextlib.contextmanager
def program_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop to run a Pulumi program under mocks in, without what an earlier one has left undone."""
    # Registrations and outputs of a loop that is gone: the next program would wait for them for ever.
    _get_rpc_manager().clear()
    SETTINGS.outputs.clear()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        yield loop
    finally:
        loop.close()
        # For tests that run no program and use whatever loop there is.
        asyncio.set_event_loop(asyncio.new_event_loop())


def is_secret(value: object) -> bool:
    """Whether a value is one that Pulumi wraps as a secret on its way to the engine, which is how mocks see it."""
    return isinstance(value, dict) and value.get(rpc._special_sig_key) == rpc._special_secret_sig


def opened(value: Any) -> Any:
    """What a secret holds; any other value as it is."""
    return value["value"] if is_secret(value) else value


def plain(value: Any) -> Any:
    """A value without the wrappers of secrets, however deep they are."""
    value = opened(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    """Wait until a condition holds; the last error, or a RetryError, if it does not in time."""
    tenacity.Retrying(
        stop=tenacity.stop_after_delay(seconds),
        wait=tenacity.wait_fixed(0.2),
        retry=tenacity.retry_if_exception_type() | tenacity.retry_if_result(lambda got: not got),
        reraise=True,
    )(condition)


class Workspace:
    """A copy of our project in a folder, with a backend, a passphrase and a stack of its own.

    Args:
        folder: may be that of another workspace: then it is a second stack beside the first.
        stack: the stack's name.
        config: its settings; key without namespace → value.
        program: a folder that takes the place of `infra/`.
    """

    def __init__(
        self,
        folder: Path,
        stack: str,
        config: Mapping[str, Any],
        program: Path = ROOT / "infra",
    ) -> None:
        self.folder, self.stack = folder, stack
        self.file = folder / f"Pulumi.{stack}.yaml"
        self.log = folder / "output.log"
        self.backend = folder / "state"
        if not folder.exists():
            self._copy(program)
        self.configure(config)
        # `--no-select`: the selection is kept per machine and project.
        self.run("pulumi", "stack", "init", stack, "--no-select", "--non-interactive")

    def _copy(self, program: Path) -> None:
        self.backend.mkdir(parents=True)
        (self.folder / "passphrase").write_text("correct horse")
        for file in ROOT.glob("Pulumi*.yaml"):
            # Without the salt, which belongs to this machine's own passphrase.
            lines = file.read_text().splitlines(keepends=True)
            kept = [line for line in lines if not line.startswith("encryptionsalt:")]
            (self.folder / file.name).write_text("".join(kept))
        shutil.copytree(
            program, self.folder / "infra", ignore=shutil.ignore_patterns("__pycache__")
        )

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            **toolchain_environment(),
            "PULUMI_BACKEND_URL": self.backend.as_uri(),
            "PULUMI_CONFIG_PASSPHRASE_FILE": str(self.folder / "passphrase"),
        }

    def run(
        self,
        *command: str,
        ok: bool | None = True,
        seconds: float = 300,
        typed: str = "",
        **environment: str,
    ) -> str:
        """Run a program in the project's folder.

        Args:
            command: program and arguments.
            ok: what to demand: success, failure, or (None) neither.
            seconds: how long it may take.
            typed: what it reads from its standard input.
            environment: further variables.

        Returns:
            Its output, standard error included; `log` collects it.
        """
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**self.environment, **environment},
            input=typed,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )
        with self.log.open("a") as log:
            log.write(f"$ {shlex.join(command)}\n{done.stdout}\n")
        assert ok is None or (done.returncode == 0) == ok, done.stdout
        return done.stdout

    def pulumi(self, *arguments: str, ok: bool | None = True, **environment: str) -> str:
        return self.run(
            "pulumi", *arguments, "-s", self.stack, "--non-interactive", ok=ok, **environment
        )

    def read(self, *arguments: str) -> Any:
        """What a `pulumi` command prints as JSON; kept out of the log, since secrets may be in it."""
        printed = subprocess.run(
            ["pulumi", *arguments, "-s", self.stack, "--non-interactive"],
            cwd=self.folder,
            env=self.environment,
            text=True,
            capture_output=True,
            timeout=120,
            check=True,
        ).stdout
        return json.loads(printed)

    def configure(self, config: Mapping[str, Any]) -> None:
        """Write the stack's file; its salt stays."""
        content: dict[str, Any] = {
            "config": {f"mlflow:{key}": value for key, value in config.items()}
        }
        if self.file.exists():
            old = yaml.safe_load(self.file.read_text()) or {}
            content |= {key: value for key, value in old.items() if key == "encryptionsalt"}
        self.file.write_text(yaml.safe_dump(content))
