"""Which images a stack gets, and what their tags depend on; that they work is shown in tests/docker."""

import re
import shutil

import pulumi
import pytest
from pulumi.runtime.mocks import Mocks
from pulumi.runtime.stack import run_pulumi_func
from tests.support import program_loop

from pulumi_mlflow import recipes
from pulumi_mlflow.docker import images
from pulumi_mlflow.docker.images import DockerImages
from pulumi_mlflow.recipes import ImageSource

LARGE = ("rootfs-x.tar", "versitygw-1", "minio-1", "oauth2-proxy-1", "mysql-1.tar.gz")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """What set-up makes, and recipes that a test may change."""
    monkeypatch.setenv("PULUMI_MLFLOW_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache" / "images").mkdir(parents=True)
    for name in LARGE:
        (tmp_path / "cache" / "images" / name).write_text("x")
    shutil.copytree(recipes.folder(), tmp_path / "images")
    monkeypatch.setattr(recipes, "folder", lambda: tmp_path / "images")
    return tmp_path / "cache" / "images"


class Recorder(Mocks):
    def __init__(self):
        self.seen = {}

    def new_resource(self, args):
        self.seen[args.name] = args.inputs
        return f"{args.name}-id", {**args.inputs, "image_id": f"sha256:{args.name}"}

    def call(self, _args):
        return {}


def registered(**args):
    """Logical name (without the component's) → inputs of every image; and what the component hands out."""
    recorder, made = Recorder(), []

    def program():
        pulumi.runtime.mocks.set_mocks(recorder, project="p", stack="s", preview=False)
        made.append(DockerImages("i", args))

    with program_loop() as loop:
        loop.run_until_complete(run_pulumi_func(program))
        roles = ("tracking", "proxy", "database", "artifacts", "pooler", "oidc")
        given = {
            role: loop.run_until_complete(getattr(made[0], role).future())
            for role in roles
            if hasattr(made[0], role)
        }
    seen = {name[2:]: inputs for name, inputs in recorder.seen.items() if name.startswith("i-")}
    return seen, given


@pytest.mark.parametrize(
    ("args", "registry", "build"),
    [
        ({}, {}, {}),
        (
            {"database_engine": "postgresql", "database_version": "15", "store": "versitygw"},
            {"database": "database", "artifacts": "versitygw"},
            {"database": "postgresql", "artifacts": "versitygw"},
        ),
        (
            {"database_engine": "mysql", "store": "minio", "oidc": True},
            {"database": "database", "artifacts": "minio", "oidc": "oauth2-proxy"},
            {"database": "mysql", "artifacts": "minio", "oidc": "oauth2-proxy"},
        ),
        (
            {"database_engine": "mariadb", "pgbouncer": True},
            {"database": "database", "pooler": "pgbouncer"},
            {"database": "mariadb", "pooler": "pgbouncer"},
        ),
    ],
    ids=["no servers", "default", "mysql minio oidc", "mariadb pooler"],
)
@pytest.mark.parametrize("source", ["registry", "build"])
def test_only_what_is_asked_for_is_made(source, args, registry, build):
    built = source == "build"
    always = {"tracking": "mlflow", "proxy": "nginx" if built else "proxy"}
    expected = {**always, **(build if built else registry)}

    seen, given = registered(source=source, **args)

    assert given == {role: f"sha256:i-{child}" for role, child in expected.items()}
    assert set(seen) == {*expected.values(), *(["base"] if built else [])}


@pytest.mark.parametrize("engine", images.OFFICIAL_DATABASES)
def test_the_version_is_that_of_the_image(engine):
    for version, tag in images.OFFICIAL_DATABASES[engine].items():
        seen, _ = registered(source="registry", database_engine=engine, database_version=version)
        assert seen["database"]["name"] == tag
        assert f":{version}." in tag, "pinned to the patch"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"database_engine": "oracle"}, "database_engine: 'oracle' is none of postgresql, mysql"),
        (
            {"database_engine": "mysql", "database_version": "8.4"},
            "database_version: '8.4' is none of 8.0",
        ),
        ({"store": "folder"}, "store: 'folder' is none of versitygw, minio"),
        ({"extras": ["gcs", "s3"]}, "extras: 's3' is none of gcs, azure, metrics, redis"),
    ],
)
def test_another_choice_is_refused_and_the_choices_named(args, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        registered(source="build", **args)


def test_drivers_are_installed_from_locks_that_no_other_image_depends_on(cache):
    def server(extras):
        seen, _ = registered(source="build", extras=extras)
        return seen["mlflow"]["image"]

    plain, gcs, both = server([]), server(["gcs"]), server(["gcs", "azure"])
    assert server(["azure", "gcs", "azure"]) == both
    assert len({plain, gcs, both}) == 3

    lock = recipes.folder() / "mlflow" / "requirements-azure.lock"
    lock.write_text(lock.read_text() + "# another version\n")
    assert (server([]), server(["gcs"])) == (plain, gcs)
    assert server(["azure", "gcs"]) != both


def pinned(lock):
    """Requirement → its hashes."""
    text = (recipes.folder() / "mlflow" / lock).read_text()
    assert "://" not in text
    parts = re.split(r"^(?=[a-z])", text, flags=re.MULTILINE)[1:]
    return {part.split(" ")[0]: set(re.findall(r"sha256:[0-9a-f]{64}", part)) for part in parts}


@pytest.mark.parametrize("extra", recipes.EXTRAS)
def test_locks_of_extras_hold_all_that_they_need_with_hashes(extra):
    base, own = pinned("requirements.lock"), pinned(f"requirements-{extra}.lock")
    versions = dict(requirement.split("==") for requirement in base)
    [*wanted] = (recipes.folder() / "mlflow" / f"requirements-{extra}.in").read_text().splitlines()
    names = {requirement.split("==")[0] for requirement in own}
    assert {line for line in wanted if line[0] != "#"} <= names
    for requirement, hashes in own.items():
        name, version = requirement.split("==")
        assert hashes, requirement
        # As in the server's own lock, so that both can be installed together.
        assert versions.get(name, version) == version, requirement
        assert base.get(requirement, hashes) == hashes, requirement


def test_a_preview_needs_no_ingredient_and_says_that_the_image_is_not_made(cache):
    """Of this image, or of the one that it begins with; an `up` still needs them all."""
    (cache / "minio-1").unlink()
    arguments = {"BASE": "debian:12"}
    name = recipes.image_name("minio", ImageSource.BUILD, arguments, preview=True)
    assert name == "pulumi-mlflow/minio:not-made-yet"
    above = recipes.image_name("nginx", ImageSource.BUILD, {"BASE": name}, preview=True)
    assert above == "pulumi-mlflow/nginx:not-made-yet"
    known = recipes.image_name("nginx", ImageSource.BUILD, arguments)
    assert recipes.image_name("nginx", ImageSource.BUILD, arguments, preview=True) == known


def test_an_image_that_is_not_made_here_is_no_change_of_the_one_that_runs():
    from pulumi_mlflow.aws.registry import _PushProvider
    from pulumi_mlflow.docker.images import _BuildProvider

    built, pushed = _BuildProvider(), _PushProvider()
    of = {"tag": "aaaa", "repository_url": "r"}
    assert built.diff("", {"image": "n:aaaa"}, {"image": "n:bbbb"}).changes
    assert not built.diff("", {"image": "n:aaaa"}, {"image": f"n:{recipes.NOT_MADE}"}).changes
    assert pushed.diff("", of, {**of, "tag": "bbbb"}).changes
    assert not pushed.diff("", of, {**of, "tag": recipes.NOT_MADE}).changes
    assert pushed.diff("", of, {**of, "repository_url": "s"}).changes


def test_what_set_up_has_not_made_is_named(cache):
    kinds = ["mysql", "minio", "postgresql", "folder"]
    assert recipes.missing_ingredients(kinds, ImageSource.BUILD) == []
    (cache / "minio-1").unlink()
    assert recipes.missing_ingredients(kinds, ImageSource.BUILD) == [cache / "minio-*"]
    assert recipes.missing_ingredients(kinds, ImageSource.REGISTRY) == [cache / "minio-*"]
    assert recipes.missing_ingredients(["mysql"], ImageSource.BUILD) == []
    with pytest.raises(recipes.MissingIngredientError, match=r"minio-.*: missing"):
        recipes.image_name("minio", ImageSource.BUILD, {})


def test_programs_may_be_run_whatever_the_umask_of_the_clone(tmp_path):
    for file in (tmp_path / "images").rglob("*"):
        if file.is_file():
            file.chmod(0o600)
    target = tmp_path / "context"
    target.mkdir()

    recipes.assemble("mlflow", ImageSource.BUILD, {}, target)

    modes = {file.name: file.stat().st_mode & 0o777 for file in target.iterdir() if file.is_file()}
    assert {name for name, mode in modes.items() if mode == 0o755} == {"entrypoint.sh", "mlflow"}
    assert set(modes.values()) == {0o755, 0o644}
