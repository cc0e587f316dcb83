"""The real CLI runs the pack: a bad program is refused with resource and mend, a good one passes."""

import json

import pytest
from policy import checks
from tests.support import ROOT, Workspace, tool

from pulumi_mlflow.core import plan

pytestmark = pytest.mark.engine

PACK = str(ROOT / "policy")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    tool("policy")
    folder = tmp_path_factory.mktemp("policy") / "project"
    return Workspace(folder, "test", {}, program=ROOT / "tests" / "policy" / "program")


def test_a_good_program_passes(workspace):
    workspace.configure({"bad": "no"})
    said = workspace.pulumi("preview", "--policy-pack", PACK)
    assert "✅ pulumi-mlflow" in said


def test_a_bad_one_is_refused_and_the_same_rules_find_it_in_the_plan(workspace):
    workspace.configure({"bad": "yes"})
    said = workspace.pulumi("preview", "--policy-pack", PACK, ok=False)
    for text in (
        "no-public-database  (aws:rds:Instance: database)",
        "database: publiclyAccessible is true. Mend: set publiclyAccessible to false.",
        "bucket: what is overwritten or deleted in it is lost. Mend: add an aws.s3.BucketVersioning",
        "database: it holds data and is not protected. Mend: set protect=True",
    ):
        assert text in said
    assert said.count("[mandatory]") == 3
    assert "hunter22" not in said

    printed = workspace.pulumi("preview", "--json")
    assert "hunter22" not in printed
    found = plan.read(printed)
    [database] = [one for one in found.after if one.name == "database"]
    assert database.get("password") == plan.SECRET
    names = sorted(rule.name for rule, _ in checks.judge(found.after))
    assert names == ["backups-in-stack", "no-public-database", "stateful-protected"]


def test_an_exception_is_a_file_that_a_reviewer_sees(workspace):
    workspace.configure({"bad": "yes"})
    allowed = dict.fromkeys(
        ("no-public-database", "stateful-protected", "backups-in-stack"), "advisory"
    )
    file = workspace.folder / "exceptions.json"
    file.write_text(json.dumps(allowed))
    said = workspace.pulumi("preview", "--policy-pack", PACK, "--policy-pack-config", str(file))
    assert said.count("[advisory]") == 3
    assert "[mandatory]" not in said
