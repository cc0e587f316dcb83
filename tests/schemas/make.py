"""Makes the documents beside this file: what Kubernetes and its operators themselves say of the kinds that we make.

    python3 toolchain/setup.py run -- python tests/schemas/make.py

All come out of Go modules, whose archives Go checks by its checksum database: `kubernetes-*.json` out of the OpenAPI documents
of `k8s.io/kubernetes`, the others out of the CustomResourceDefinitions of each operator. All are under the Apache License 2.0, as
this repository is. Only the wanted kinds are kept, with all that they refer to, and without prose.
"""

import dataclasses
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
MODULE = "k8s.io/kubernetes"
VERSIONS = ("1.27.16", "1.32.13", "1.36.3")
KINDS = {
    "apps/v1": ("Deployment", "StatefulSet"),
    "autoscaling/v2": ("HorizontalPodAutoscaler",),
    "batch/v1": ("CronJob", "Job"),
    "networking.k8s.io/v1": ("Ingress", "NetworkPolicy"),
    "policy/v1": ("PodDisruptionBudget",),
    "v1": ("ConfigMap", "Namespace", "PersistentVolumeClaim", "Secret", "Service", "ServiceAccount"),
}  # fmt: skip
"""What our components make of Kubernetes' own."""


@dataclasses.dataclass(frozen=True)
class Operator:
    """An operator whose objects our components make.

    Args:
        module: its Go module.
        versions: of it; the first is the oldest that docs/kubernetes.md promises, if it does; the last is a present one.
        folder: of its definitions, in the module.
        api: group and version.
        kinds: that we make.
    """

    module: str
    versions: tuple[str, ...]
    folder: str
    api: str
    kinds: tuple[str, ...]


OPERATORS = {
    "barman-cloud": Operator(
        "github.com/cloudnative-pg/plugin-barman-cloud",
        ("0.15.0",),
        "config/crd/bases",
        "barmancloud.cnpg.io/v1",
        ("ObjectStore",),
    ),
    "cert-manager": Operator(
        "github.com/cert-manager/cert-manager",
        ("1.21.2",),
        "deploy/crds",
        "cert-manager.io/v1",
        ("Certificate",),
    ),
    "cloudnative-pg": Operator(
        "github.com/cloudnative-pg/cloudnative-pg",
        ("1.26.0", "1.30.0"),
        "config/crd/bases",
        "postgresql.cnpg.io/v1",
        ("Cluster", "ScheduledBackup"),
    ),
    "external-secrets": Operator(
        "github.com/external-secrets/external-secrets",
        ("0.17.0", "1.3.2"),
        "config/crds/bases",
        "external-secrets.io/v1",
        ("ExternalSecret",),
    ),
    "gateway-api": Operator(
        "sigs.k8s.io/gateway-api",
        ("1.6.3",),
        "config/crd/standard",
        "gateway.networking.k8s.io/v1",
        ("HTTPRoute",),
    ),
    "prometheus-operator": Operator(
        "github.com/prometheus-operator/prometheus-operator",
        ("0.85.0",),
        "example/prometheus-operator-crd",
        "monitoring.coreos.com/v1",
        ("PodMonitor", "PrometheusRule", "ServiceMonitor"),
    ),
}
PROSE = {"description", "externalDocs"}


def minor(version: str) -> str:
    return version.rsplit(".", 1)[0]


def target(name: str, version: str) -> Path:
    """The document of a version: its minor one's."""
    return HERE / f"{name}-{minor(version)}.json"


def module(path: str, version: str, known: Path) -> tuple[Path, dict[str, str]]:
    """Let Go fetch and check a version; say where it is, and what is to be said of its source.

    Args:
        path: the module's.
        version: without `v`.
        known: the document that was made of it earlier, if any, whose checksum counts.
    """
    command = ["go", "mod", "download", "-json", f"{path}@v{version}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    got = json.loads(done.stdout)
    source = {"module": path, "version": f"v{version}", "sum": got["Sum"], "licence": "Apache-2.0"}
    pinned = json.loads(known.read_text())["source"] if known.exists() else {}
    if pinned.get("version") == source["version"] and pinned["sum"] != source["sum"]:
        sys.exit(f"{path} {version} has the checksum {source['sum']}, not {pinned['sum']}")
    return Path(got["Dir"]), source


def written(file: Path, content: dict) -> None:
    file.write_text(json.dumps(content, sort_keys=True, separators=(",", ":")) + "\n")
    print(file.name, file.stat().st_size)


def without_prose(schema, named=False, dropped=lambda key: key in PROSE):
    """A schema without what constrains nothing.

    Args:
        schema: any part of it.
        named: whether its keys are names of fields.
        dropped: which words go.
    """
    if isinstance(schema, list):
        return [without_prose(one, dropped=dropped) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        # What a default holds is an object's, and no schema.
        key: value if key == "default" and not named else without_prose(value, key == "properties" and not named, dropped)
        for key, value in schema.items()
        if named or not dropped(key)
    }  # fmt: skip


def needless(key: str) -> bool:
    """Words of Kubernetes' own documents that no validator asks for: its API server has its rules in its program."""
    return key in PROSE or key == "default" or key.startswith("x-kubernetes-")


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


def openapi(folder: Path, api: str) -> Path:
    """The OpenAPI document of a group and version."""
    group = api.replace("/", "__")
    name = f"api__{group}" if api == "v1" else f"apis__{group}"
    return folder / "api" / "openapi-spec" / "v3" / f"{name}_openapi.json"


def kubernetes(version: str) -> None:
    file = target("kubernetes", version)
    folder, source = module(MODULE, version, file)
    kinds, kept, sums = {}, {}, {}
    for api, wanted in KINDS.items():
        document = openapi(folder, api)
        sums[document.name] = hashlib.sha256(document.read_bytes()).hexdigest()
        schemas = json.loads(document.read_text())["components"]["schemas"]
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
                kept[name] = without_prose(schemas[name], dropped=needless)
                todo += references(kept[name])
    missing = {f"{api}/{kind}" for api, names in KINDS.items() for kind in names} - set(kinds)
    if missing:
        sys.exit(f"{version}: no {', '.join(sorted(missing))}")
    written(file, {"source": {**source, "sha256": sums}, "kinds": kinds, "schemas": kept})


def operator(name: str, of: Operator, version: str) -> None:
    file = target(name, version)
    folder, source = module(of.module, version, file)
    group, served = of.api.split("/")
    definitions, sums = [], {}
    for kind in of.kinds:
        document = folder / of.folder / f"{group}_{kind.lower()}s.yaml"
        sums[document.name] = hashlib.sha256(document.read_bytes()).hexdigest()
        definitions.append(definition(yaml.safe_load(document.read_text()), served))
    written(file, {"source": {**source, "sha256": sums}, "definitions": definitions})


def definition(whole: dict, served: str) -> dict:
    """A CustomResourceDefinition of one version, which can be installed: without columns for people, and conversion."""
    metadata, spec = whole["metadata"], whole["spec"]
    [version] = [one for one in spec["versions"] if one["name"] == served]
    if not (version["served"] and version["storage"]):
        sys.exit(f"{metadata['name']}: {served} is not served and stored")
    words = ("name", "served", "storage", "subresources")
    return {
        "apiVersion": whole["apiVersion"],
        "kind": whole["kind"],
        # Kubernetes' own groups want an annotation of approval.
        "metadata": {"name": metadata["name"], "annotations": metadata["annotations"]},
        "spec": {
            **{word: spec[word] for word in ("group", "names", "scope")},
            "versions": [
                {word: version[word] for word in words if word in version}
                | {"schema": without_prose(version["schema"])}
            ],
        },
    }


def main():
    for version in VERSIONS:
        kubernetes(version)
    for name, of in OPERATORS.items():
        for version in of.versions:
            operator(name, of, version)


if __name__ == "__main__":
    main()
