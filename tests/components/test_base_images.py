"""What an entry of the lock file of official images changes, and what it leaves alone."""

import json
import shutil

import pytest
from tests.components.aws_support import REGION, Program

import kubernetes_stack
from pulumi_mlflow import recipes
from pulumi_mlflow.aws import registry
from pulumi_mlflow.aws.common import AwsComponent
from pulumi_mlflow.aws.image import AwsImage
from pulumi_mlflow.core import aws_image
from pulumi_mlflow.core.base_images import LockError
from pulumi_mlflow.recipes import ImageSource

DIGEST = "sha256:" + "e" * 64
NGINX = recipes.OFFICIAL["nginx"]


@pytest.fixture(autouse=True)
def lock(tmp_path, monkeypatch):
    """Recipes with no lock file, which a test may write."""
    monkeypatch.setenv("PULUMI_MLFLOW_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache" / "images").mkdir(parents=True)
    for name in ("rootfs-x.tar", "oauth2-proxy-1"):
        (tmp_path / "cache" / "images" / name).write_text("x")
    shutil.copytree(
        recipes.folder(), tmp_path / "images", ignore=shutil.ignore_patterns("bases.json")
    )
    monkeypatch.setattr(recipes, "folder", lambda: tmp_path / "images")
    return recipes.bases_file()


def write(lock, **digests):
    entries = {
        recipes.OFFICIAL[name]: {"digest": digest, "since": "2026-11-22"}
        for name, digest in digests.items()
    }
    lock.write_text(json.dumps(entries))


def every():
    """Kind and source → build arguments, and tag."""
    found = {}
    for kind in aws_image.KINDS:
        for source in ImageSource:
            arguments = registry.build_args(kind, source, [])
            found[kind, source] = (arguments, registry.tag(kind, source, arguments))
    return found


def test_without_an_entry_official_images_go_by_their_tags(lock):
    without = every()
    for kind in aws_image.KINDS:
        official = recipes.OFFICIAL[aws_image.BASES[kind]]
        assert without[kind, ImageSource.REGISTRY][0] == {"BASE": official}
    lock.write_text("{}")
    assert every() == without
    write(lock, versitygw=DIGEST)
    assert every() == without


def test_an_entry_changes_argument_and_tag_of_what_begins_with_it_and_nothing_else(lock):
    before = every()
    write(lock, nginx=DIGEST)
    after = every()
    assert [key for key in before if before[key] != after[key]] == [("nginx", ImageSource.REGISTRY)]
    arguments, tag = after["nginx", ImageSource.REGISTRY]
    assert arguments == {"BASE": f"{NGINX}@{DIGEST}"}
    assert tag != before["nginx", ImageSource.REGISTRY][1]
    write(lock, nginx="sha256:" + "f" * 64)
    assert every()["nginx", ImageSource.REGISTRY][1] not in {
        tag,
        before["nginx", ImageSource.REGISTRY][1],
    }


def made(**args):
    return Program(lambda: AwsImage("image", {"region": REGION, **args}))


def test_a_component_pushes_again_and_keeps_its_repository(lock):
    before = made()
    write(lock, python=DIGEST)
    after = made()
    assert after["image-repository"] == before["image-repository"]
    old, new = before["image-push"], after["image-push"]
    assert {key for key in new if new[key] != old[key]} - {"__provider"} == {"build_args", "tag"}
    assert new["build_args"] == {"BASE": f"{recipes.OFFICIAL['python']}@{DIGEST}"}
    # Which replaces it, and so hands the tasks another digest.
    assert registry._PushProvider().diff("i", old, new).replaces == ["tag"]


def test_a_broken_lock_file_is_refused_before_anything_is_registered(lock, monkeypatch):
    write(lock, python="sha256:short")
    with monkeypatch.context() as patched:
        patched.setattr(AwsComponent, "__init__", lambda *_: pytest.fail("registered"))
        with pytest.raises(LockError, match=rf"^{lock}: python:.*: digest: .*make images-update$"):
            made()
    # What needs no official image does not read it.
    reference = f"registry.example.com/mlflow@{DIGEST}"
    assert set(made(existing=reference).seen) == {"image"}
    assert "image-push" in made(source="build").seen


def test_a_cluster_pulls_nginx_by_the_same_digest(lock):
    class Settings:
        registry = None

    assert kubernetes_stack.images(Settings) == {"nginx": NGINX}
    write(lock, nginx=DIGEST)
    assert kubernetes_stack.images(Settings) == {"nginx": f"{NGINX}@{DIGEST}"}
