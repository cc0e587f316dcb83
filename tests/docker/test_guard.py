"""A setting that data was made with stays as it is."""

import pytest

from pulumi_mlflow.guard import _Provider

MADE_WITH = {"mlflow:database.version": "15", "mlflow:database.name": "mlflow"}


def check(was, now):
    olds = {"settings": was, "mend": "dump first"} if was else {}
    return _Provider().check(olds, {"settings": now, "mend": "dump first"}).failures


@pytest.mark.parametrize("was", [{}, MADE_WITH])
def test_same_settings_pass(was):
    assert not check(was, MADE_WITH)


def test_changed_version_is_refused_with_key_both_values_and_mend():
    (failure,) = check(MADE_WITH, {**MADE_WITH, "mlflow:database.version": "16"})

    assert failure.reason == (
        "mlflow:database.version: '16' is refused while there is data made with '15': dump first"
    )


def test_every_changed_setting_is_named():
    failures = check(MADE_WITH, {"mlflow:database.version": "14", "mlflow:database.name": "other"})

    assert [f.reason.partition(": ")[0] for f in failures] == list(MADE_WITH)


def test_new_guarded_setting_of_a_later_release_passes():
    assert not check({"mlflow:database.name": "mlflow"}, MADE_WITH)
