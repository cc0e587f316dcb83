"""`pulumi-mlflow images-update` against stand-ins for the engine and for `pulumi`."""

import json
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
import requests
from docker.errors import DockerException, NotFound

from pulumi_mlflow import builds, recipes
from pulumi_mlflow.core import base_images
from pulumi_mlflow.ops.cli import main
from pulumi_mlflow.ops.images_update import AWS_IMAGE_PUSH

OLD, NEW, OWN = ("sha256:" + letter * 64 for letter in "abc")
BASES = sorted(recipes.OFFICIAL[name] for name in ("debian", "nginx", "python"))
PYTHON = recipes.OFFICIAL["python"]
SINCE = "2026-01-31"


class Engine:
    """Has an answer for each official image, and can do nothing else."""

    def __init__(self):
        self.answers = dict.fromkeys(BASES, OLD)
        self.asked = []
        self.images = SimpleNamespace(get_registry_data=self._ask)

    def _ask(self, name):
        self.asked.append(name)
        answer = self.answers[name]
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(id=answer)


@pytest.fixture
def engine(monkeypatch):
    found = Engine()
    monkeypatch.setattr(builds, "connect", lambda *_: found)
    return found


@pytest.fixture
def lock(tmp_path, monkeypatch):
    (tmp_path / "images").mkdir()
    monkeypatch.setattr(recipes, "folder", lambda: tmp_path / "images")
    return recipes.bases_file()


@pytest.fixture
def locked(lock):
    """A lock file that has all of them."""
    entries = {reference: {"digest": OLD, "since": SINCE} for reference in BASES}
    lock.write_text(json.dumps(entries))
    return lock


def call(capsys, *arguments):
    """Exit code, standard output, standard error."""
    with pytest.raises(SystemExit) as ended:
        main(["images-update", *arguments])
    out, err = capsys.readouterr()
    return ended.value.code or 0, out, err


def line(out, *words):
    """The one line that has these words."""
    [found] = [row for row in out.splitlines() if all(word in row for word in words)]
    return found


def test_the_first_time_locks_what_images_begin_with(engine, lock, capsys):
    code, out, _ = call(capsys)
    assert code == 0
    assert engine.asked == BASES
    today = datetime.now(UTC).date()
    written = base_images.parse(lock.read_text(), lock)
    assert written == dict.fromkeys(BASES, base_images.Base(OLD, today))
    assert line(out, "python", "by tag", "aaaaaaaaaaaa", str(today), "locked")
    assert f"{lock}: written; commit it" in out
    assert "Next: make preview STACK=prod" in out
    assert [path.name for path in lock.parent.iterdir()] == ["bases.json"]
    assert recipes.official("python") == f"{PYTHON}@{OLD}"


def test_a_newer_digest_is_the_only_line_that_changes(engine, locked, capsys):
    engine.answers[PYTHON] = NEW
    code, out, _ = call(capsys)
    assert code == 0
    assert line(out, "python", "aaaaaaaaaaaa", "bbbbbbbbbbbb", "changed")
    assert line(out, "nginx", SINCE, "same")
    written = base_images.parse(locked.read_text(), locked)
    assert {name: base.digest for name, base in written.items()} == {
        **dict.fromkeys(BASES, OLD),
        PYTHON: NEW,
    }
    assert str(written[recipes.OFFICIAL["nginx"]].since) == SINCE


def test_nothing_new_leaves_the_file(engine, locked, capsys):
    before = locked.stat()
    code, out, _ = call(capsys)
    assert code == 0
    after = locked.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert f"{locked}: nothing new" in out
    assert "Next" not in out


def test_a_dry_run_shows_the_same_and_writes_nothing(engine, locked, capsys):
    before = locked.read_text()
    engine.answers[PYTHON] = NEW
    code, out, _ = call(capsys, "--dry-run")
    assert code == 0
    assert line(out, "python", "bbbbbbbbbbbb", "changed")
    assert "not written" in out
    assert locked.read_text() == before


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (NotFound("manifest unknown"), "manifest unknown"),
        (requests.ConnectionError("reset by peer"), "reset by peer"),
        (requests.ReadTimeout("timed out"), "timed out"),
        ("", "'' is no digest"),
    ],
)
def test_a_registry_that_gives_no_digest_is_named_and_nothing_is_written(
    engine, locked, capsys, answer, said
):
    before = locked.read_text()
    # The first one has a newer digest by then.
    engine.answers |= {BASES[0]: NEW, PYTHON: answer}
    code, out, err = call(capsys)
    assert code == 1
    assert f"pulumi-mlflow: {PYTHON}: " in err
    assert said in err
    assert f"{locked} is as it was" in err
    assert not out
    assert locked.read_text() == before


def test_an_engine_that_does_not_answer(locked, capsys, monkeypatch):
    def refuse(*_):
        raise DockerException("no socket")

    monkeypatch.setattr(builds, "connect", refuse)
    before = locked.read_text()
    code, _, err = call(capsys)
    assert code == 1
    assert "Docker Engine: does not answer (no socket)" in err
    assert all(reference in err for reference in BASES)
    assert "DOCKER_HOST" in err
    assert locked.read_text() == before


def test_a_broken_lock_file_is_not_overwritten(engine, lock, capsys):
    lock.write_text("<<<<<<< HEAD\n")
    code, _, err = call(capsys)
    assert code == 1
    assert f"{lock}: is no JSON" in err
    assert "git checkout" in err
    assert lock.read_text() == "<<<<<<< HEAD\n"
    assert not engine.asked


def test_an_installed_package_has_no_file_to_commit(engine, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(recipes, "__file__", str(tmp_path / "pulumi_mlflow" / "recipes.py"))
    monkeypatch.setattr(recipes, "folder", lambda: tmp_path / "pulumi_mlflow" / "images")
    code, _, err = call(capsys)
    assert code == 1
    assert "run this in a checkout" in err
    assert not engine.asked


def pushed(kind, base, **more):
    return {
        "urn": f"urn:pulumi:prod::mlflow::t::image-{kind}-push",
        "type": AWS_IMAGE_PUSH,
        "custom": True,
        "outputs": {"kind": kind, "digest": OWN, "build_args": {"BASE": base}},
        **more,
    }


def test_what_a_stack_runs_is_compared(engine, locked, project, capsys):
    resources = [
        pushed("mlflow", f"{PYTHON}@{OLD}"),
        pushed("nginx", recipes.OFFICIAL["nginx"]),
        pushed("oauth2-proxy", f"{recipes.OFFICIAL['debian']}@{OLD}"),
        pushed("mlflow", "python:3.12.1-slim-bookworm", delete=True),
    ]
    project.write({"prod": {"resources": resources}, "new": {"resources": []}})
    engine.answers[PYTHON] = NEW

    code, out, _ = call(capsys, "--stack", "prod")
    assert code == 0
    assert line(out, "mlflow", "cccccccccccc", PYTHON, "aaaaaaaaaaaa", "older base")
    assert line(out, "nginx", "cccccccccccc", "unknown: by tag")
    assert line(out, "oauth2-proxy", "cccccccccccc", "same")
    assert "3.12.1-" not in out
    assert project.calls() == ["prod: stack export"]

    # Written, but not brought up yet.
    code, out, _ = call(capsys, "--stack", "prod")
    assert code == 0
    assert f"{locked}: nothing new" in out
    assert "Next: make preview STACK=prod" in out

    _, out, _ = call(capsys, "--stack", "new")
    assert "stack 'new' has pushed no image" in out
    assert "Next" not in out
    code, _, err = call(capsys, "--stack", "dve")
    assert code == 1
    assert "'dve'" in err


def test_the_type_in_a_state_is_that_of_the_component():
    from pulumi_mlflow.aws.registry import AwsImagePush

    assert AWS_IMAGE_PUSH.endswith(f":{AwsImagePush.__name__}")
