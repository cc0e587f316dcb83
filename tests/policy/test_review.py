"""The comment: losses first, no secret, no mark-up of others, cost before and after."""

import json

import pytest
from policy import review

from pulumi_mlflow.core import costs, plan
from pulumi_mlflow.core.plan import Plan, Resource, Step
from pulumi_mlflow.ops import cost

PRICES = cost.load_prices()
KEY = "aws:kms/key:Key"
TAGS = {
    "pulumi-mlflow/deployment": "mlflow-prod",
    "pulumi-mlflow/role": "database",
    "pulumi-mlflow/managed-by": "pulumi",
}


def key(name, /, **inputs):
    return Resource(KEY, name, {"tags": TAGS, **inputs}, protected=True)


def topic(name, /, **inputs):
    return Resource("aws:sns/topic:Topic", name, {"tags": TAGS, **inputs})


def said(*steps, problems=()):
    return review.review("prod", Plan(steps, problems), PRICES)


def test_losses_come_first_and_are_marked():
    made = topic("made")
    found = said(
        Step("create", None, made),
        Step("update", topic("changed", name="a"), topic("changed", name="b"), ("name",)),
        Step("delete", topic("gone"), None),
        Step("replace", key("opens"), key("opens"), ("policy",)),
        Step("same", topic("kept"), topic("kept")),
    )
    rows = [line for line in found.text.splitlines() if line.startswith("| ") and "`" in line]
    assert [row.split("`")[1] for row in rows] == ["opens", "gone", "changed", "made"]
    assert rows[0].startswith("| **replace** | `opens` 🔒 protected holds data |")
    assert "`name` `a` → `b`" in rows[2]
    assert "### `prod`: 1 to replace, 1 to delete, 1 to update, 1 to create" in found.text
    assert "**Data would be lost**" in found.text
    assert found.refused


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("masterPassword", "hunter22", "hunter33"),
        ("value", plan.SECRET, "hunter33"),
        ("uri", "postgresql://u:hunter22@db", "x"),
        ("containerDefinitions", "hunter22", "x"),
        ("policy", "hunter22" * 10, "x"),
        ("tags", {"a": "hunter22"}, {}),
        ("__provider", "hunter22", "x"),
    ],
)
def test_values_that_are_secret_or_long_are_not_shown(name, before, after):
    old, new = topic("it", **{name: before}), topic("it", **{name: after})
    text = said(Step("update", old, new, (name,))).text
    assert "hunter" not in text
    assert plan.SECRET not in text
    assert (name in text) is not name.startswith("__")


def test_names_of_others_are_no_mark_up():
    name = "x` | <img src=a> [click](https://evil) @everyone\n## h"
    found = review.review(name, Plan((Step("create", None, Resource(KEY, name)),), (name,)), PRICES)
    text = review.comment([found], note=name)
    for line in text.splitlines():
        bare = "".join(part for i, part in enumerate(line.split("`")) if i % 2 == 0)
        bare = bare.replace("<sub>", "").replace("</sub>", "").replace(review.MARK, "")
        assert "<img" not in bare
        assert "[click](" not in bare
        assert "@everyone" not in bare
    assert sum(line.startswith("## ") for line in text.splitlines()) == 1


def test_what_breaks_a_rule_is_named_with_its_mend():
    found = said(Step("create", None, Resource(KEY, "bare")))
    assert "**Policy: 2 broken**" in found.text
    assert "`tags` bare: tags are missing" in found.text
    assert "set protect=True" in found.text
    assert found.refused
    good = said(Step("create", None, key("good")))
    assert "no rule is broken" in good.text
    assert not good.refused


def test_cost_before_and_after():
    assert "0 → **1** (+1 at most)" in said(Step("create", None, key("new"))).text
    assert "2 → **1** (-1 at most)" in said(
        Step("same", key("a"), key("a")), Step("delete", key("b"), None)
    ).text  # fmt: skip
    assert "check them before you rely on them" in said(Step("create", None, key("n"))).text


def test_a_preview_that_failed_is_refused():
    assert review.review("prod", None, PRICES).refused
    found = said(problems=("boom `x`",))
    assert found.refused
    assert "- `boom 'x'`" in found.text


def test_a_long_one_is_cut_below_what_a_comment_may_have():
    many = [Step("create", None, Resource(KEY, "x" * 90 + str(i))) for i in range(900)]
    text = review.comment([said(*many)] * 9)
    assert len(text) < 65_000
    assert text.endswith("the job's log has all.\n")
    assert said(*many).text.count("\n| create") == review.ROWS


def test_the_script(tmp_path, capsys):
    state = {"urn": f"urn:pulumi:p::m::{KEY}::k", "type": KEY, "inputs": {}, "protect": True}
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps({"steps": [{"op": "same", "urn": state["urn"], "oldState": state}]}))
    bad.write_text("error: no credentials")
    target = tmp_path / "comment.md"
    given = ["--plan", f"dev={good}", "--output", str(target)]
    assert review.main(["--strict", *given]) == 0
    assert target.read_text().startswith(review.MARK)
    assert "### `dev`: no changes" in target.read_text()
    assert review.main([*given, "--plan", f"prod={bad}"]) == 0
    assert review.main(["--strict", *given, "--plan", f"prod={bad}"]) == 1
    assert "ended without a plan" in target.read_text()
    with pytest.raises(SystemExit):
        review.main(["--plan", "dev"])
    assert "STACK=FILE" in capsys.readouterr().err


def test_our_table_of_prices_is_used():
    assert costs.bill([key("k")], PRICES).used == {"key"}
