"""Schedules of cron."""

import pytest

from pulumi_mlflow.core import cron


@pytest.mark.parametrize(
    "schedule", ["0 3 * * *", "*/15 0-6 1,15 * 1-5", "59 23 31 12 7", "0-30/5 * * * 0"]
)
def test_schedules(schedule):
    assert cron.check(schedule) is None


@pytest.mark.parametrize(
    "schedule",
    [
        "",
        "@daily",
        "0 0 3 * * *",
        "60 * * * *",
        "0 24 * * *",
        "0 0 0 * *",
        "*/0 * * * *",
        "5-1 * * * *",
        "a * * * *",
        "1-2-3 * * * *",
        "0 0 * * mon",
    ],
)
def test_what_is_none(schedule):
    assert cron.check(schedule)
