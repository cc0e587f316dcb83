"""Every check and test of this repository: `python3 tests/run.py`, or `make test`.

Sets the machine up first, so it runs on a bare one, with nothing but Python's own library. The last line of its output
is the sum: `N passed, N failed, N skipped`, in which each check of style, types and docs counts as one.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "toolchain"))
from steps.places import Places  # noqa: E402, of this clone, and nothing but Python's own library

SETUP = [sys.executable, str(ROOT / "toolchain" / "setup.py")]
PYTHON = [*SETUP, "run", "--", "python"]
REFERENCE = ROOT / "infra" / "reference.py"
CONFORMANCE = ROOT / "docs" / "matrix.py"

CHECKS = {
    "style": ["-m", "ruff", "check", "."],
    "format": ["-m", "ruff", "format", "--check", "."],
    "types": ["-m", "mypy"],
}
DOCKER = "docker"
GROUPS = {
    "unit": "not engine and not docker",
    "engine": "engine and not docker",
    DOCKER: DOCKER,
}
"""Name → pytest's marker expression. Together they select every test, whatever its folder."""

WORKERS = "2"
"""Processes among which a group's test files are shared out. Tests with an engine wait more than they compute, and each
process has a stack of its own there, of 2 GB."""

_NO_TESTS = 5  # pytest's exit code
_TEST_FUNCTION = re.compile(r"^\s*(async\s+)?def test_", re.MULTILINE)


@dataclass
class Tally:
    """How one part ended."""

    name: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0
    reasons: Counter[str] = field(default_factory=Counter)
    """Why tests were skipped, with how many."""

    def line(self) -> str:
        """Its row in the summary."""
        counts = f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"
        return f"{self.name:<11}{counts}  ({self.seconds:.0f} s)"


def main() -> int:
    """Run what was asked for; the exit code is 0 only if nothing failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lint", action="store_true", help="only style, types and generated docs")
    lint_only = parser.parse_args().lint
    # What mypy knows of the packages takes minutes, and is the same in every clone: it goes by content.
    os.environ.setdefault("MYPY_CACHE_DIR", str(Places.of(dict(os.environ)).cache / "mypy"))
    header("set-up")
    if run(SETUP):
        print("set-up failed: nothing was tested")
        return 1
    tallies = checks()
    if not lint_only:
        tallies += tests(in_ci=os.environ.get("CI") == "true")
    return summary(tallies)


def checks() -> list[Tally]:
    """Style, types and whether generated docs are up to date."""
    wanted = dict(CHECKS)
    if REFERENCE.is_file():
        wanted["docs"] = [str(REFERENCE), "--check"]
    if CONFORMANCE.is_file():
        wanted["behaviours"] = [str(CONFORMANCE), "--check"]
    return [check(name, [*PYTHON, *arguments]) for name, arguments in wanted.items()]


def tests(*, in_ci: bool) -> list[Tally]:
    """The tests, with an engine of our own where none runs."""
    collected, tally = collect()
    tallies = [tally]
    started = False
    try:
        if not (reachable := run([*SETUP, "engine", "status"]) == 0):
            header("Docker engine")
            reachable = started = run([*SETUP, "engine", "start"]) == 0
        ready = reachable and run([*SETUP, "--docker"]) == 0
        for name, expression in GROUPS.items():
            if name == DOCKER and not ready:
                tallies.append(without_docker(collected, required=in_ci or reachable))
            else:
                tallies.append(group(name, expression))
    finally:
        if started:
            run([*SETUP, "engine", "stop"])
    return tallies


def collect() -> tuple[int, Tally]:
    """Count the Docker tests, and fail if a test file is not collected.

    Returns:
        The number of Docker tests, and the check's outcome.
    """
    header("collection")
    started = time.monotonic()
    everything, nodes = node_ids([])
    uncollected = missing_files(ROOT / "tests", nodes)
    for path in uncollected:
        print(f"{path}: has tests, and pytest does not collect it")
    print(f"{len(nodes)} tests")
    _, docker = node_ids(["-m", GROUPS[DOCKER]])
    failed = int(bool(uncollected) or everything != 0)
    seconds = time.monotonic() - started
    return len(docker), Tally("collection", passed=1 - failed, failed=failed, seconds=seconds)


def node_ids(arguments: list[str]) -> tuple[int, list[str]]:
    """Ask pytest which tests there are; returns its exit code and the node ids."""
    command = [*PYTHON, "-m", "pytest", "--collect-only", "-q", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode not in {0, _NO_TESTS}:
        print(done.stdout, done.stderr)
    return done.returncode, [line for line in done.stdout.splitlines() if "::" in line]


def missing_files(folder: Path, nodes: Iterable[str]) -> list[Path]:
    """Files that are named or written like tests, and of which no test was collected.

    Args:
        folder: where tests are.
        nodes: pytest's node ids, relative to the folder above.
    """
    found = {folder.parent / node.split("::", 1)[0] for node in nodes}
    return [path for path in sorted(folder.rglob("*.py")) if path not in found and has_tests(path)]


def has_tests(path: Path) -> bool:
    """Whether a file is named or written like a test file."""
    return path.name.startswith("test_") or bool(_TEST_FUNCTION.search(path.read_text()))


def group(name: str, expression: str) -> Tally:
    """Run the tests that a marker expression selects."""
    header(f"{name} tests")
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        # By file: a file's tests share what its fixtures have made. In the order of tests/conftest.py.
        shared = ["-n", WORKERS, "--dist", "loadfile", "--no-loadscope-reorder", "--durations=15"]
        code = run([*PYTHON, "-m", "pytest", "-m", expression, *shared, f"--junitxml={report}"])
        tally = read_report(name, code, report.read_text() if report.is_file() else None)
    tally.seconds = time.monotonic() - started
    return tally


def read_report(name: str, code: int, report: str | None) -> Tally:
    """Read pytest's JUnit report.

    Args:
        name: the group's name.
        code: pytest's exit code.
        report: the XML; None if pytest ended before it wrote one.
    """
    tally = Tally(name)
    for case in ET.fromstring(report).iter("testcase") if report else ():
        if case.find("failure") is not None or case.find("error") is not None:
            tally.failed += 1
        elif (skip := case.find("skipped")) is not None:
            tally.skipped += 1
            tally.reasons[skip.get("message") or "no reason given"] += 1
        else:
            tally.passed += 1
    if code not in {0, _NO_TESTS}:
        # Such as an error outside of any test.
        tally.failed = max(tally.failed, 1)
    return tally


def without_docker(tests: int, *, required: bool) -> Tally:
    """The Docker group where it cannot run.

    Args:
        tests: how many tests it has.
        required: in CI, and where an engine is there but its set-up failed, that is a failure.
    """
    header("docker tests")
    reason = "no Docker engine can be had" if not required else "Docker is needed here"
    print(f"{reason}: {tests} tests are not run")
    if required:
        return Tally(DOCKER, failed=max(tests, 1))
    return Tally(DOCKER, skipped=tests, reasons=Counter({reason: tests}))


def check(name: str, command: list[str]) -> Tally:
    """Run one check, which counts as one test."""
    header(name)
    started = time.monotonic()
    failed = int(run(command) != 0)
    return Tally(name, passed=1 - failed, failed=failed, seconds=time.monotonic() - started)


def run(command: list[str]) -> int:
    """Run a program with its output on the terminal; returns its exit code."""
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def header(title: str) -> None:
    """Say what comes next, before its output."""
    print(f"\n== {title}", flush=True)


def summary(tallies: list[Tally]) -> int:
    """Print how all parts ended, and return the exit code."""
    header("summary")
    for tally in tallies:
        print(tally.line())
    reasons = sum((tally.reasons for tally in tallies), Counter[str]())
    for reason, count in reasons.most_common():
        print(f"skipped {count}: {reason}")
    if any(reason.startswith("FULL=1") for reason in reasons):
        print("with those of FULL=1, which take long: FULL=1 make test")
    failed = sum(tally.failed for tally in tallies)
    passed, skipped = (sum(getattr(t, name) for t in tallies) for name in ("passed", "skipped"))
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
