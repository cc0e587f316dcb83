"""kubeconform's verdict over objects, by the documents beside this file: those of a version of Kubernetes, and of operators.

It is strict: a field that no schema names is an error. `null` is one too; Pulumi sends none.
"""

import functools
import json
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tests.schemas import make
from tests.support import tool

NAMES = "{{.Group}}-{{.ResourceAPIVersion}}-{{.ResourceKind}}.json"
"""The file of a kind's schema, as kubeconform's templates say it."""
SCHEMAS = "definitions.json"
METADATA = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
BITS = {"int32": 31, "int64": 63}
BASE64 = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"


@functools.cache
def document(name, version):
    return json.loads(make.target(name, version).read_text())


def versions(kubernetes):
    """Operator → its version that is judged by beside one of Kubernetes: the oldest with the oldest, else the newest."""
    place = 0 if kubernetes == make.VERSIONS[0] else -1
    return {name: of.versions[place] for name, of in make.OPERATORS.items()}


def definitions(kubernetes):
    """The CustomResourceDefinitions of the operators beside a version of Kubernetes."""
    return [
        one
        for name, version in versions(kubernetes).items()
        for one in document(name, version)["definitions"]
    ]


def strict(schema):
    """A schema that allows no field which it does not name, and has the formats of Kubernetes that JSON Schema has not."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {
        key: {name: strict(one) for name, one in value.items()} if key == "properties" else strict(value)
        for key, value in schema.items()
    }  # fmt: skip
    if made.get("type") == "object" and not made.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    if bits := BITS.get(made.get("format")):
        made = {"minimum": -(2**bits), "maximum": 2**bits - 1} | made
    if made.get("format") == "byte":
        made["pattern"] = BASE64
    return made


def write(folder: Path, kubernetes: str) -> None:
    """Write the schemas of a version of Kubernetes, with those of the operators beside it: a file for each kind.

    Args:
        folder: where.
        kubernetes: one of make.VERSIONS.
    """
    given = document("kubernetes", kubernetes)
    shared = {"components": {"schemas": strict(given["schemas"])}}
    schemas = {
        kind: {"$ref": f"{SCHEMAS}#/components/schemas/{name}"}
        for kind, name in given["kinds"].items()
    }
    for one in definitions(kubernetes):
        spec = one["spec"]
        [version] = spec["versions"]
        schema = strict(version["schema"]["openAPIV3Schema"])
        schema["properties"]["metadata"] = {"$ref": f"{SCHEMAS}#/components/schemas/{METADATA}"}
        schemas[f"{spec['group']}/{version['name']}/{spec['names']['kind']}"] = schema
    (folder / SCHEMAS).write_text(json.dumps(shared))
    for name, schema in schemas.items():
        api, kind = name.rsplit("/", 1)
        group, version = api.split("/") if "/" in api else (api, api)
        (folder / f"{group}-{version}-{kind.lower()}.json").write_text(json.dumps(schema))


def wrong(schemas: Path, bodies: Iterable[dict]) -> list[str]:
    """What is wrong with each object; empty where nothing is.

    Args:
        schemas: a folder that `write` has filled.
        bodies: objects.
    """
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for number, body in enumerate(bodies):
            (Path(folder) / f"{number}.json").write_text(json.dumps(body))
            found.append("")
        command = [tool("kubeconform"), "-strict", "-summary", "-output", "json"]
        done = subprocess.run(
            [*command, "-schema-location", f"{schemas}/{NAMES}", folder],
            capture_output=True,
            text=True,
            check=False,
        )
    said = json.loads(done.stdout)
    assert said["summary"]["skipped"] == 0
    assert sum(said["summary"].values()) == len(found), done.stderr
    for one in said["resources"]:
        found[int(Path(one["filename"]).stem)] = one["msg"]
    return found
