"""Makes kubernetes-*.json beside this file: what Kubernetes' own OpenAPI documents say of the kinds that we make.

    python3 tests/schemas/make.py 1.27.16 1.32.13 1.36.3

They come out of the Go module `k8s.io/kubernetes`, whose archive Go checks by its checksum database and which is under the
Apache License 2.0, as this repository is. Of each document only the wanted kinds are kept, with all that they refer to,
and without prose.
"""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODULE = "k8s.io/kubernetes"
KINDS = {
    "apps/v1": ("Deployment", "StatefulSet"),
    "autoscaling/v2": ("HorizontalPodAutoscaler",),
    "batch/v1": ("CronJob", "Job"),
    "networking.k8s.io/v1": ("Ingress", "NetworkPolicy"),
    "policy/v1": ("PodDisruptionBudget",),
    "v1": ("ConfigMap", "Namespace", "PersistentVolumeClaim", "Secret", "Service", "ServiceAccount"),
}  # fmt: skip
"""What our components make; the kinds of operators are in their own documents."""
PROSE = {"description", "default", "externalDocs"}


def module(version: str) -> dict[str, str]:
    """Let Go fetch and check a version, and say where it is."""
    command = ["go", "mod", "download", "-json", f"{MODULE}@v{version}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    return json.loads(done.stdout)


def document(folder: Path, api: str) -> Path:
    group = api.replace("/", "__")
    name = f"api__{group}" if api == "v1" else f"apis__{group}"
    return folder / "api" / "openapi-spec" / "v3" / f"{name}_openapi.json"


def without_prose(schema, named=False):
    """A schema without what constrains nothing.

    Args:
        schema: any part of it.
        named: whether its keys are names of fields.
    """
    if isinstance(schema, list):
        return [without_prose(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: without_prose(value, named=key == "properties" and not named)
        for key, value in schema.items()
        if named or not (key in PROSE or key.startswith("x-kubernetes-"))
    }


def references(schema):
    if isinstance(schema, list):
        for one in schema:
            yield from references(one)
    elif isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref":
                yield value.rsplit("/", 1)[1]
            else:
                yield from references(value)


def facts(version: str) -> dict:
    got = module(version)
    kinds, kept, sources = {}, {}, {}
    for api, wanted in KINDS.items():
        file = document(Path(got["Dir"]), api)
        sources[file.name] = hashlib.sha256(file.read_bytes()).hexdigest()
        schemas = json.loads(file.read_text())["components"]["schemas"]
        todo = []
        for name, schema in schemas.items():
            for known in schema.get("x-kubernetes-group-version-kind", ()):
                full = "/".join(filter(None, (known["group"], known["version"])))
                if full == api and known["kind"] in wanted:
                    kinds[f"{api}/{known['kind']}"] = name
                    todo.append(name)
        while todo:
            name = todo.pop()
            if name not in kept:
                kept[name] = without_prose(schemas[name])
                todo += references(kept[name])
    missing = {f"{api}/{kind}" for api, names in KINDS.items() for kind in names} - set(kinds)
    if missing:
        sys.exit(f"{version}: no {', '.join(sorted(missing))}")
    return {
        "source": {"module": MODULE, "version": f"v{version}", "sum": got["Sum"], "licence": "Apache-2.0", "sha256": sources},
        "kinds": kinds,
        "schemas": kept,
    }  # fmt: skip


def main():
    for version in sys.argv[1:]:
        minor = version.rsplit(".", 1)[0]
        target = HERE / f"kubernetes-{minor}.json"
        target.write_text(json.dumps(facts(version), sort_keys=True, separators=(",", ":")) + "\n")
        print(target.name, target.stat().st_size)


if __name__ == "__main__":
    main()
