"""The lock file of official images: what is read, what is refused, what is new."""

import json
from datetime import date

import pytest

from pulumi_mlflow.core import base_images
from pulumi_mlflow.core.base_images import Base, Running

OLD, NEW, OWN = ("sha256:" + letter * 64 for letter in "abc")
DEBIAN, NGINX, PYTHON = "debian:12.12-slim", "nginx:1.28.0-bookworm", "python:3.12.11-slim-bookworm"
THEN, TODAY = date(2026, 1, 31), date(2026, 11, 22)
ENTRY = {"digest": OLD, "since": "2026-01-31"}


def parse(content):
    text = content if isinstance(content, str) else json.dumps(content)
    return base_images.parse(text, "images/bases.json")


def test_what_is_written_is_read_again_and_in_one_order():
    locked = {PYTHON: Base(NEW, TODAY), DEBIAN: Base(OLD, THEN)}
    text = base_images.render(locked)
    assert parse(text) == locked
    assert text == base_images.render(dict(reversed(locked.items())))
    assert text.index(DEBIAN) < text.index(PYTHON)
    assert text.endswith("}\n")


def test_only_what_is_locked_gets_a_digest():
    locked = {DEBIAN: Base(OLD, THEN)}
    assert base_images.pinned(DEBIAN, locked) == f"{DEBIAN}@{OLD}"
    assert base_images.pinned(NGINX, locked) == NGINX
    assert base_images.pinned(DEBIAN, parse("{}")) == DEBIAN


TWICE = f'{{"{DEBIAN}": {json.dumps(ENTRY)}, "{DEBIAN}": {json.dumps({**ENTRY, "digest": NEW})}}}'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is no JSON that can be used"),
        ('<<<<<<< HEAD\n{"a": 1}', "is no JSON that can be used"),
        (TWICE, f"'{DEBIAN}' is there twice"),
        ([], "must be an object"),
        ({"debian": ENTRY}, "'debian': must be an image's name:tag"),
        ({f"{DEBIAN}@{OLD}": ENTRY}, "must be an image's name:tag"),
        ({DEBIAN: OLD}, f"{DEBIAN}: must have digest and since"),
        ({DEBIAN: {"digest": OLD}}, f"{DEBIAN}: must have digest and since"),
        ({DEBIAN: {**ENTRY, "tag": "x"}}, f"{DEBIAN}: must have digest and since"),
        ({DEBIAN: {**ENTRY, "digest": OLD[:-1]}}, f"{DEBIAN}: digest: must be sha256:"),
        ({DEBIAN: {**ENTRY, "digest": None}}, f"{DEBIAN}: digest: must be sha256:"),
        ({DEBIAN: {**ENTRY, "since": "31.1.2026"}}, f"{DEBIAN}: since: must be a date"),
        ({DEBIAN: {**ENTRY, "since": 20260131}}, f"{DEBIAN}: since: must be a date"),
    ],
)
def test_a_broken_file_is_refused_with_key_and_mend(content, message):
    with pytest.raises(base_images.LockError) as refused:
        parse(content)
    said = str(refused.value)
    assert said.startswith("images/bases.json: ")
    assert message in said
    assert "git checkout -- images/bases.json" in said
    assert said.endswith("make images-update")


def test_a_look_says_what_is_new_and_keeps_the_date_of_what_is_not():
    gone = "debian:11.1-slim"
    locked = {DEBIAN: Base(OLD, THEN), NGINX: Base(OLD, THEN), gone: Base(OLD, THEN)}
    changes = base_images.compare(locked, {DEBIAN: OLD, NGINX: NEW, PYTHON: NEW}, TODAY)

    a, b = base_images.short(OLD), base_images.short(NEW)
    assert [change.row() for change in changes] == [
        ("debian", "11.1-slim", a, "", "", "no longer used"),
        ("debian", "12.12-slim", a, a, "2026-01-31", "same"),
        ("nginx", "1.28.0-bookworm", a, b, "2026-11-22", "changed"),
        ("python", "3.12.11-slim-bookworm", "by tag", b, "2026-11-22", "locked"),
    ]
    assert [change.is_new for change in changes] == [True, False, True, True]
    merged = base_images.merge(changes)
    assert merged == {DEBIAN: Base(OLD, THEN), NGINX: Base(NEW, TODAY), PYTHON: Base(NEW, TODAY)}
    again = base_images.compare(merged, {DEBIAN: OLD, NGINX: NEW, PYTHON: NEW}, date(2027, 1, 1))
    assert not any(change.is_new for change in again)
    assert base_images.merge(again) == merged


@pytest.mark.parametrize(
    ("base", "of", "verdict"),
    [
        (f"{DEBIAN}@{NEW}", "b" * 12, "same"),
        (f"{DEBIAN}@{OLD}", "a" * 12, "older base"),
        (DEBIAN, "by tag", "unknown: by tag"),
        (f"debian:11.1-slim@{NEW}", "b" * 12, "another base"),
        ("pulumi-mlflow/base:0123456789abcdef", "by tag", "another base"),
    ],
)
def test_what_runs_is_compared_with_what_is_locked(base, of, verdict):
    row = Running("oauth2-proxy", OWN, base).row({DEBIAN: Base(NEW, TODAY)})
    assert row == ("oauth2-proxy", "c" * 12, base.partition("@")[0], of, verdict)
    assert len(row) == len(base_images.RUNNING_COLUMNS)
