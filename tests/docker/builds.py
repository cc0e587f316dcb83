"""Images that tests run by themselves: those of the components, built as a stack builds them."""

import json

import docker
from tests.docker.stack import dev_settings
from tests.support import ROOT

from pulumi_mlflow.docker.images import _BuildProvider
from pulumi_mlflow.recipes import OFFICIAL, PROGRAMS, ImageSource, image_name

BUILD = ImageSource.BUILD


def built(kind: str, **build_args: str) -> str:
    """Id of the image that a stack with `images: build` runs."""
    return _made(kind, {"BASE": _made("base", {})[0], **build_args})[1]


def used(client: docker.DockerClient, kind: str) -> str:
    """Id of the image that the stacks of this machine run, built or pulled."""
    found = ROOT / ".state" / "machine.json"
    said = json.loads(found.read_text()) if found.exists() else dev_settings()
    if ImageSource(said.get("images", "registry")) is BUILD:
        return built(kind)
    if kind in PROGRAMS:
        return _made(kind, {"BASE": OFFICIAL["debian"]})[1]
    return str(client.images.pull(OFFICIAL[kind]).id)


def _made(kind: str, build_args: dict[str, str]) -> tuple[str, str]:
    """Name and id; nothing is built where there is one of that name."""
    name = image_name(kind, BUILD, build_args)
    props = {"kind": kind, "source": BUILD.value, "build_args": build_args, "image": name}
    return name, str(_BuildProvider().create(props).outs["image_id"])
