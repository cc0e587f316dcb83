"""A setting that data was made with stays as it is."""

import pytest

from pulumi_mlflow.guard import _Provider

MADE_WITH = {"mlflow:database.version": "15", "mlflow:database.name": "mlflow"}


def news(now, **changes):
    given = {"role": "database", "stack": "dev", "settings": now, "mend": "dump first"}
    return {**given, "migrating": False, **changes}


def check(was, now):
    olds = {"settings": was, "mend": "dump first"} if was else {}
    return _Provider().check(olds, news(now)).failures


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


def test_a_move_may_change_them_and_remembers_what_they_were():
    moved = {"mlflow:database.engine": "sqlite"}

    begun = _Provider().check({"settings": MADE_WITH}, news(moved, migrating=True))

    assert not begun.failures
    assert begun.inputs["before"] == MADE_WITH
    again = _Provider().check(begun.inputs, news(moved, migrating=True))
    assert again.inputs["before"] == MADE_WITH


@pytest.mark.parametrize("now", [MADE_WITH, {"mlflow:database.engine": "sqlite"}])
def test_a_move_that_has_not_ended_lets_no_ordinary_up_pass(now):
    begun = {
        "settings": {"mlflow:database.engine": "sqlite"},
        "migrating": True,
        "before": MADE_WITH,
    }

    (failure,) = _Provider().check(begun, news(now)).failures

    assert "mlflow:database.version 15" in failure.reason
    assert "run `pulumi-mlflow migrate-database --stack dev` again" in failure.reason


def test_of_release_0_1_a_guard_is_written_anew_once():
    provider = _Provider()
    assert provider.diff("guard", {"settings": MADE_WITH, "mend": ""}, news(MADE_WITH)).changes
    written = provider.update("guard", {}, news(MADE_WITH)).outs
    assert not provider.diff("guard", written, news(MADE_WITH)).changes
