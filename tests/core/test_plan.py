"""Plans as `pulumi preview --json` prints them."""

import json

import pytest

from pulumi_mlflow.core import plan
from pulumi_mlflow.core.plan import SECRET, UNKNOWN, Resource

URN = "urn:pulumi:prod::mlflow::aws:s3/bucket:Bucket::"
LATER = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
SEALED = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "value": "x"}


def state(name, **inputs):
    return {
        "urn": URN + name,
        "type": "aws:s3/bucket:Bucket",
        "inputs": inputs,
        "protect": True,
        "propertyDependencies": {"bucket": [URN + "other"]},
    }


def step(op, name, old=None, new=None, **more):
    found = {"op": op, "urn": URN + name, **more}
    found |= {"oldState": old} if old else {}
    return found | ({"newState": new} if new else {})


def read(*steps, **more):
    return plan.read(json.dumps({"steps": steps, **more}))


def test_a_step_has_what_is_and_what_will_be():
    old, new = state("a", bucket="x"), state("a", bucket="y")
    [found] = read(step("update", "a", old, new, diffReasons=["bucket"])).steps
    assert (found.operation, found.reasons, found.loses) == ("update", ("bucket",), False)
    assert (found.old.get("bucket"), found.new.get("bucket")) == ("x", "y")
    assert found.resource == Resource(
        "aws:s3/bucket:Bucket",
        "a",
        {"bucket": "y"},
        protected=True,
        urn=URN + "a",
        refers={"bucket": [URN + "other"]},
    )


def test_what_goes_is_only_in_what_is():
    found = read(step("delete", "a", state("a")), step("same", "b", state("b"), state("b")))
    assert [one.name for one in found.before] == ["a", "b"]
    assert [one.name for one in found.after] == ["b"]
    assert found.steps[0].loses


@pytest.mark.parametrize("order", [1, -1])
def test_a_replacement_is_one_step(order):
    old, new = state("a", bucket="x"), state("a", bucket="y")
    three = [
        step("create-replacement", "a", old, new, replaceReasons=["bucket"]),
        step("replace", "a", old, new, replaceReasons=["bucket"]),
        step("delete-replaced", "a", old),
    ][::order]
    [found] = read(*three).steps
    assert (found.operation, found.reasons, found.loses) == ("replace", ("bucket",), True)
    assert found.new.get("bucket") == "y"


def test_marks_are_read():
    [found] = read(step("create", "a", None, state("a", b=LATER, c=[LATER], d=SEALED))).after
    assert found.inputs == {"b": UNKNOWN, "c": [UNKNOWN], "d": SECRET}
    assert not found.get("b")
    assert found.get("b", "deeper") is UNKNOWN
    assert found.get("c", "deeper") is None


def test_errors_are_kept_and_what_stands_before_the_json_is_not():
    said = [{"severity": "error", "message": "boom\n"}, {"severity": "info", "message": "hm"}]
    text = "warning: old\n" + json.dumps({"diagnostics": said})
    assert plan.read(text) == plan.Plan((), ("boom",))


@pytest.mark.parametrize("text", ["", "boom", "{", '{"steps": 1}', "[]"])
def test_what_is_no_plan_is_refused(text):
    with pytest.raises(ValueError, match="pulumi preview --json"):
        plan.read(text)
