"""What of an object Kubernetes' OpenAPI schema does not know, misses, or has with another type.

It is as strict as `kubectl apply --validate=strict`: a field that the schema does not name is an error. It knows the
words of JSON Schema that those documents have, and stops at any other.
"""

import base64
import binascii
import functools
import json
from datetime import datetime
from pathlib import Path

WORDS = {"$ref", "additionalProperties", "allOf", "format", "items", "oneOf", "properties", "required", "type"}  # fmt: skip
TYPES = {"array": list, "boolean": bool, "integer": int, "number": (int, float), "object": dict, "string": str}  # fmt: skip
BITS = {"int32": 31, "int64": 63}


@functools.cache
def documents():
    """Minor version → its document."""
    return {
        file.stem.removeprefix("kubernetes-"): json.loads(file.read_text())
        for file in sorted(Path(__file__).parent.glob("kubernetes-*.json"))
    }


def wrong(document, body):
    """What is wrong with an object, as path: reason."""
    kind = f"{body['apiVersion']}/{body['kind']}"
    if kind not in document["kinds"]:
        return [f"{kind}: unknown kind"]
    return list(_wrong(document["schemas"], {"$ref": document["kinds"][kind]}, body, body["kind"]))


def _wrong(schemas, schema, value, path):
    assert set(schema) <= WORDS, f"{path}: cannot judge by {set(schema) - WORDS}"
    if reference := schema.get("$ref"):
        yield from _wrong(schemas, schemas[reference.rsplit("/", 1)[-1]], value, path)
        return
    if parts := schema.get("allOf"):
        for part in parts:
            yield from _wrong(schemas, part, value, path)
        return
    if choices := schema.get("oneOf"):
        if all(list(_wrong(schemas, choice, value, path)) for choice in choices):
            yield f"{path}: {value!r} is none of {[choice['type'] for choice in choices]}"
        return
    kind = schema.get("type")
    if kind and not _is(kind, value):
        yield f"{path}: {value!r} is no {kind}"
    elif isinstance(value, list):
        for i, one in enumerate(value):
            yield from _wrong(schemas, schema.get("items", {}), one, f"{path}[{i}]")
    elif isinstance(value, dict) and kind == "object":
        yield from _fields(schemas, schema, value, path)
    elif why := _misformed(schema.get("format"), value):
        yield f"{path}: {value!r} is no {why}"


def _is(kind, value):
    return isinstance(value, TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _fields(schemas, schema, value, path):
    known, others = schema.get("properties", {}), schema.get("additionalProperties")
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{path}.{name}: missing"
    for name, one in value.items():
        if name in known:
            yield from _wrong(schemas, known[name], one, f"{path}.{name}")
        elif others:
            yield from _wrong(schemas, others, one, f"{path}.{name}")
        else:
            yield f"{path}.{name}: unknown field"


def _misformed(form, value):
    """Which of those forms that Kubernetes' documents name a string or number does not have."""
    if form in BITS and not -(2 ** BITS[form]) <= value < 2 ** BITS[form]:
        return form
    try:
        if form == "byte":
            base64.b64decode(value, validate=True)
        elif form == "date-time":
            datetime.fromisoformat(value)
    except (ValueError, binascii.Error):
        return form
    return None
