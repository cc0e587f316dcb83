"""What a server takes of a file store is what the installed MLflow takes."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.dbmodels.models import SqlRun
from mlflow.utils import uri, validation

from pulumi_mlflow.core import file_store

NAMES = st.text(
    st.one_of(
        st.sampled_from("#?%;&=:~ +.aF4\\"),
        st.characters(exclude_characters="/\0", exclude_categories=["Cs"]),
        st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF),  # bytes that are no UTF-8
    ),
    min_size=1,
).filter(lambda name: name not in (".", ".."))


def test_limits_are_those_of_mlflow():
    assert file_store.LONGEST_KEY == validation.MAX_ENTITY_KEY_LENGTH
    assert file_store.LONGEST_PARAM == validation.MAX_PARAM_VAL_LENGTH
    assert file_store.LONGEST_TAG == validation.MAX_TAG_VAL_LENGTH
    assert file_store.LONGEST_EXPERIMENT_TAG == validation.MAX_EXPERIMENT_TAG_VAL_LENGTH
    assert file_store.LONGEST_MODEL_TAG == validation.MAX_MODEL_REGISTRY_TAG_VALUE_LENGTH
    assert file_store.LONGEST_EXPERIMENT_NAME == validation.MAX_EXPERIMENT_NAME_LENGTH
    assert file_store.REQUEST_CHARACTERS < validation.MAX_BATCH_LOG_REQUEST_SIZE
    assert SqlRun.name.type.length == file_store.LONGEST_RUN_NAME


@given(st.text(max_size=260).filter(bool))
def test_names_of_values_are_refused_as_mlflow_refuses_them(key):
    try:
        validation._validate_tag_name(key)
    except MlflowException:
        # What resolves to another path cannot be the path of a file.
        assert file_store.key_fault(key) or validation.path_not_unique(key)
    else:
        assert bool(file_store.key_fault(key)) == (len(key) > validation.MAX_ENTITY_KEY_LENGTH)


@given(st.lists(NAMES, min_size=1, max_size=3))
def test_a_server_takes_the_names_of_artifacts_for_no_others(parts):
    name = file_store.artifact_name("/".join(parts))
    for end in [index for index, character in enumerate(f"{name}/") if character == "/"]:
        path = f"1/abc/artifacts/{name[:end]}"
        assert uri.validate_path_is_safe(path) == path
    assert name.count("/") == len(parts) - 1
    assert file_store.artifact_name(name) == name


@given(st.text("abcäöü日 ?.,_-()[]&=+'~", min_size=1).filter(lambda name: not name.endswith("?")))
def test_names_that_a_server_takes_are_left_alone(name):
    assert file_store.artifact_name(name) == name


INTEGERS = st.integers(-file_store.LARGEST_INTEGER, file_store.LARGEST_INTEGER)


@given(st.integers(0, file_store.LARGEST_INTEGER), st.floats(), INTEGERS)
def test_lines_of_metrics_are_read_as_they_were_written(timestamp, value, step):
    found = file_store.point(f"{timestamp} {value} {step}\n")
    assert (found.timestamp, found.step) == (timestamp, step)
    assert found.value == value or math.isnan(value)
    assert file_store.same(found) == file_store.same(file_store.Point(timestamp, value, step))


@given(st.binary(max_size=80))
def test_whatever_a_file_holds_is_a_value_or_an_error_of_ours(content):
    for read in (file_store.point, file_store.model_point):
        try:
            read(file_store.text(content)[0])
        except ValueError as error:
            assert "invalid literal" not in str(error)  # noqa: PT017


@given(st.text())
def test_texts_are_read_as_they_were_written(text):
    try:
        assert file_store.text(text.encode()) == (text, "")
    except ValueError:
        assert "\0" in text
    except AssertionError:
        assert text.startswith("\ufeff")


@pytest.mark.parametrize(
    ("line", "dataset", "digest"),
    [("1 0.5 2 r", None, None), ("1 0.5 2 r train d1", "train", "d1"), ("1 0.5 2 r my set d1", "my set", "d1")],
)  # fmt: skip
def test_lines_of_models_name_run_and_dataset(line, dataset, digest):
    found = file_store.model_point(line)
    assert (found.run_id, found.dataset, found.digest) == ("r", dataset, digest)


@given(st.lists(st.integers(1, 400)), st.integers(1, 5))
def test_batches_hold_everything_in_order_and_no_more_than_they_may(weights, most):
    made = list(file_store.batches(weights, most, lambda weight: weight, heaviest=500))
    assert [weight for batch in made for weight in batch] == weights
    assert all(len(batch) <= most and sum(batch) <= 500 for batch in made)
    assert all(made)


@pytest.mark.parametrize("junk", [".DS_Store", "._lr", ".ipynb_checkpoints", ".nfs0001", "Thumbs.db"])  # fmt: skip
def test_junk_is_known_by_its_name(junk):
    assert file_store.is_junk(junk)
    assert not file_store.is_junk(f"x{junk}")
