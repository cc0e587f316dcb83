"""Workflows: pinned actions, least permissions, no text of others in a shell, and the same mark as the comment's."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from policy import review
from tests.support import tool

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yml"))
LOADED = {file.stem: yaml.load(file.read_text(), yaml.BaseLoader) for file in FILES}  # noqa: S506 - plain texts
each = pytest.mark.parametrize("name", LOADED)


def steps(name):
    for job in LOADED[name]["jobs"].values():
        yield from job["steps"]


def actionlint(*files):
    """What it has to say of workflows; it uses no other program, which one machine has and another has not."""
    command = [tool("actionlint"), "-no-color", "-oneline", "-shellcheck=", "-pyflakes=", *files]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def test_actionlint_has_nothing_to_say():
    assert actionlint(*FILES) == ""


@pytest.mark.parametrize(
    ("right", "wrong", "why"),
    [
        ("timeout-minutes:", "timeout-minute:", 'unexpected key "timeout-minute"'),
        ("runs-on:", "needs: nobody\n    runs-on:", 'needs job "nobody" which does not exist'),
        ("${{ matrix.stack }}", "${{ matrix.stak }}", 'property "stak" is not defined'),
    ],
)
def test_actionlint_finds_a_slip(tmp_path, right, wrong, why):
    text = (FOLDER / "preview.yml").read_text()
    assert right in text
    slip = tmp_path / "preview.yml"
    slip.write_text(text.replace(right, wrong, 1))
    assert why in actionlint(slip)


@each
def test_actions_are_pinned_by_commit_and_keep_no_token(name):
    text = (FOLDER / f"{name}.yml").read_text()
    for line in re.findall(r"uses: (.*)", text):
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line
    for step in steps(name):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] == "false"


@each
def test_only_variables_bring_text_into_a_shell(name):
    assert not [step["run"] for step in steps(name) if "${{" in step.get("run", "")]


@each
def test_what_may_be_written_is_said_job_by_job(name):
    workflow = LOADED[name]
    assert workflow["permissions"] in ("{}", {}, {"contents": "read"})
    for job in workflow["jobs"].values():
        given = job.get("permissions", {})
        writes = {scope for scope, level in given.items() if level == "write"}
        # A token for AWS and one that writes here are never in the same job.
        assert len(writes) <= 1
        assert writes <= {"id-token", "pull-requests", "issues"}
        # What runs at night may take as long as GitHub allows.
        assert int(job["timeout-minutes"]) <= (360 if name == "nightly" else 90)


def test_no_long_lived_key():
    for file in FILES:
        text = file.read_text()
        assert "secrets." not in text
        assert "aws-access-key-id" not in text


def test_what_runs_with_a_token_that_writes_runs_nothing_of_a_pull_request():
    [job] = LOADED["comment"]["jobs"].values()
    [checkout] = [s for s in job["steps"] if s.get("uses", "").startswith("actions/checkout@")]
    assert "ref" not in checkout["with"]
    assert all("pull_request_target" not in workflow["on"] for workflow in LOADED.values())


def test_only_a_push_is_deployed_and_prod_is_an_environment():
    jobs = LOADED["deploy"]["jobs"]
    assert "github.event.workflow_run.event == 'push'" in jobs["dev"]["if"]
    assert jobs["prod"]["environment"] == "prod"
    assert (jobs["plan"]["needs"], jobs["prod"]["needs"]) == ("dev", "plan")


def test_the_comment_is_found_by_its_mark_and_has_all_stacks():
    text = (FOLDER / "comment.yml").read_text()
    assert review.MARK in text
    assert review.MARK in (ROOT / "docs" / "ci" / "gitlab-ci.yml").read_text()
    shown = set(re.findall(r"--plan (\w+)=", text))
    matrix = LOADED["preview"]["jobs"]["plan"]["strategy"]["matrix"]["stack"]
    assert shown == {*matrix, "prod"} == {f.stem.split(".")[1] for f in ROOT.glob("Pulumi.*.yaml")}


def test_the_example_for_gitlab_is_yaml():
    found = yaml.safe_load((ROOT / "docs" / "ci" / "gitlab-ci.yml").read_text())
    for name, job in found.items():
        if isinstance(job, dict) and "script" in job:
            assert job["stage"] in found["stages"], name
