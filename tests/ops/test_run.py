"""tests/run.py counts right, and notices tests that nobody runs."""

import importlib.util
from collections import Counter
from pathlib import Path

import pytest

SPEC = importlib.util.spec_from_file_location(
    "repository_tests_run", Path(__file__).parents[1] / "run.py"
)
assert SPEC is not None
assert SPEC.loader is not None
run = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(run)

REPORT = """<testsuites><testsuite>
<testcase name="a"/>
<testcase name="b"><failure message="no"/></testcase>
<testcase name="c"><error message="fixture"/></testcase>
<testcase name="d"><skipped message="no browser"/></testcase>
</testsuite></testsuites>"""


def test_files_that_are_not_collected_are_found(tmp_path):
    folder = tmp_path / "tests"
    (folder / "sub").mkdir(parents=True)
    for name, text in {
        "test_seen.py": "def test_a(): ...",
        "test_broken.py": "",
        "sub/checks.py": "class TestX:\n    async def test_b(self): ...",
        "helper.py": "def make(): ...",
    }.items():
        (folder / name).write_text(text)
    missing = run.missing_files(folder, ["tests/test_seen.py::test_a"])
    assert [p.name for p in missing] == ["checks.py", "test_broken.py"]


def test_report_is_counted():
    tally = run.read_report("unit", 1, REPORT)
    assert (tally.passed, tally.failed, tally.skipped) == (1, 2, 1)
    assert tally.reasons == Counter({"no browser": 1})


@pytest.mark.parametrize(("code", "failed"), [(0, 0), (5, 0), (1, 1), (3, 1), (-9, 1)])
def test_an_end_without_a_report_is_a_failure(code, failed):
    assert run.read_report("unit", code, None).failed == failed


@pytest.mark.parametrize(("required", "counts"), [(False, (0, 7)), (True, (7, 0))])
def test_docker_tests_without_docker(required, counts):
    tally = run.without_docker(7, required=required)
    assert (tally.failed, tally.skipped) == counts


@pytest.mark.parametrize("failed", [0, 1])
def test_the_last_line_is_the_sum(capsys, failed):
    tallies = [
        run.Tally("unit", passed=3, failed=failed, skipped=2, reasons=Counter({"x": 2})),
        run.Tally("style", passed=1),
    ]
    assert run.summary(tallies) == failed
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"4 passed, {failed} failed, 2 skipped"
    assert "skipped 2: x" in lines


def test_the_groups_select_every_test_once():
    """Whatever markers a test has, exactly one group runs it."""
    for engine in (True, False):
        for docker in (True, False):
            markers = {"engine": engine, "docker": docker}
            selected = [g for g, e in run.GROUPS.items() if eval(e, {}, markers)]  # noqa: S307
            assert len(selected) == 1
