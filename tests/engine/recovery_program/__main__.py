"""A generated secret, and a file that somebody else may change."""

from pathlib import Path

import pulumi
from pulumi.dynamic import (
    CreateResult,
    DiffResult,
    ReadResult,
    Resource,
    ResourceProvider,
    UpdateResult,
)

from pulumi_mlflow.generated import GeneratedSecret


class FileProvider(ResourceProvider):
    def create(self, props):
        Path(props["path"]).write_text(props["content"])
        return CreateResult(id_=props["path"], outs=props)

    def read(self, id_, props):
        file = Path(id_)
        if not file.exists():
            return ReadResult(id_="", outs={})
        return ReadResult(id_=id_, outs={**props, "content": file.read_text()})

    def diff(self, _id, olds, news):
        return DiffResult(changes=olds["content"] != news["content"])

    def update(self, _id, _olds, news):
        Path(news["path"]).write_text(news["content"])
        return UpdateResult(outs=news)

    def delete(self, id_, _props):
        Path(id_).unlink(missing_ok=True)


class File(Resource):
    path: pulumi.Output[str]
    content: pulumi.Output[str]

    def __init__(self, name, path, content):
        super().__init__(FileProvider(), name, {"path": path, "content": content})


config = pulumi.Config()
secret = GeneratedSecret("password", length=24, opts=pulumi.ResourceOptions(protect=True))
thing = File("file", config.require("path"), "as we want it")
pulumi.export("password", secret.value)
pulumi.export("content", thing.content)
