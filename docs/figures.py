"""Measures the commands of the README on this machine and prints the table that stands there.

`python3 docs/figures.py`, in a checkout whose stacks `local` and `dev` are down and were set up before: what set-up
takes on a bare machine is in toolchain/README.md. Uses nothing but Python's own library; purges both stacks at the end.
"""

import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

STEPS = {
    "first `make up`, set-up done": "up",
    "`make up` again: nothing changes": "up",
    "`make preview`": "preview",
    "`make verify`": "verify",
    "`make dump` of that (100 MB artifact)": "dump TO={dump}",
    "`make restore`": "restore FROM={dump} YES=1",
    "`make down`": "down",
    "`make up` after it, with its data": "up",
}
STACKS = ("local", "dev")


def make(target: str, stack: str) -> float:
    """Run a make target; the seconds it took.

    Raises:
        SystemExit: it failed; its output is shown.
    """
    started = time.monotonic()
    done = subprocess.run(
        ["make", *target.split(), f"STACK={stack}"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"make {target} STACK={stack}:\n{done.stdout}")
    return time.monotonic() - started


def memory() -> str:
    """What each container of `dev` uses, from the engine."""
    shown = subprocess.run(
        ["docker", "stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    found = re.findall(r"^mlflow-dev-(\w+) ([\d.]+)(\w+)", shown, re.MULTILINE)
    return ", ".join(f"{role} {float(used):.0f} {unit}" for role, used, unit in sorted(found))


def main() -> None:
    """Measure each step on both stacks, one after the other."""
    seconds: dict[str, list[float]] = {name: [] for name in STEPS}
    for stack in STACKS:
        dump = f"dump/figures-{stack}-{os.getpid()}"
        for name, target in STEPS.items():
            print(f"{stack}: {name}", file=sys.stderr)
            seconds[name].append(make(target.format(dump=dump), stack))
    used = memory()
    for stack in STACKS:
        make("down PURGE=1", stack)
    print(f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}; seconds.\n")
    print(f"| | {' | '.join(f'`{stack}`' for stack in STACKS)} |\n|---|{'---:|' * len(STACKS)}")
    for name, measured in seconds.items():
        print(f"| {name} | {' | '.join(f'{value:.0f}' for value in measured)} |")
    print(f"\nMemory of `dev` after it: {used}.")


if __name__ == "__main__":
    main()
