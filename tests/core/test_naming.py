"""Names are valid everywhere, carry their deployment, and never fall together."""

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pulumi_mlflow.core import naming
from pulumi_mlflow.core.aws_image import REPOSITORY

text = st.text(max_size=80)
limits = st.integers(10, 63)
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


def name_or_skip(*parts, limit=63):
    assume(re.search(r"[a-z0-9]", "-".join(parts).lower()))
    return naming.physical_name(*parts, limit=limit)


@given(text, text, limits)
def test_every_name_is_a_dns_label(deployment, part, limit):
    name = name_or_skip(deployment, part, limit=limit)
    assert LABEL.fullmatch(name)
    assert len(name) <= limit


@given(text, text, text, limits)
def test_two_originals_never_share_a_name(deployment, one, other, limit):
    assume(one != other)
    first = name_or_skip(deployment, one, limit=limit)
    assert first != name_or_skip(deployment, other, limit=limit)


@given(st.from_regex(LABEL, fullmatch=True).filter(lambda name: len(name) < 40))
def test_a_good_name_is_kept(deployment):
    assume("--" not in deployment)
    name = naming.physical_name(deployment, "database", "data")
    assert name == f"{deployment}-database-data"


@given(text, limits)
def test_the_same_name_each_time(deployment, limit):
    assert name_or_skip(deployment, "x", limit=limit) == name_or_skip(deployment, "x", limit=limit)


def test_long_names_begin_with_their_deployment():
    name = naming.physical_name("mlflow-dev", "x" * 100)
    assert name.startswith("mlflow-dev-xxx")
    assert len(name) == 63


@pytest.mark.parametrize(("name", "limit"), [("---", 63), ("", 63), ("mlflow", 9)])
def test_nothing_left_is_refused(name, limit):
    with pytest.raises(ValueError):
        naming.physical_name(name, limit=limit)


@given(
    st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,40}", fullmatch=True),
    st.sampled_from([REPOSITORY, r"[A-Za-z0-9_-]+"]),
)
def test_a_deployment_keeps_its_name_where_a_service_takes_it(deployment, pattern):
    name = naming.accepted_name(deployment, pattern)
    assert re.fullmatch(pattern, name)
    assert name == deployment or not re.fullmatch(pattern, deployment)


def test_labels():
    assert naming.labels("mlflow-dev", "database") == {
        "pulumi-mlflow/deployment": "mlflow-dev",
        "pulumi-mlflow/role": "database",
        "pulumi-mlflow/managed-by": "pulumi",
    }


def test_a_suffix_that_was_given_up_never_comes_back():
    seen, before = [], {}
    for version in ("aaaa", "aaaa", "bbbb", "aaaa", "bbbb", "aaaa"):
        suffix = naming.unique_suffix(before, version)
        assert re.fullmatch("[0-9a-f]{4}", suffix)
        if before.get("version") == version:
            assert suffix == before["suffix"]
        else:
            assert suffix not in seen
        seen.append(suffix)
        before = {"version": version, "suffix": suffix}
