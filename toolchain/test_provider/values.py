"""Properties as the engine sends them: protobuf structs, with secrets and unknown values in them."""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.struct_pb2 import Struct  # has no types
from pulumi.runtime import rpc

_SIGNATURE: Final = rpc._special_sig_key  # noqa: SLF001 - the protocol's constant has no public name
_SECRET: Final = rpc._special_secret_sig  # noqa: SLF001 - the same

Properties = dict[str, Any]


def read(struct: Struct) -> Properties:
    """Read a struct; secrets stay wrapped, and whole numbers are whole."""
    return {key: _value(value) for key, value in struct.fields.items()}


def write(properties: Properties) -> Struct:
    """Write what `read` reads."""
    struct = Struct()
    struct.update(properties)
    return struct


def _value(value: Any) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return read(value.struct_value)
    if kind == "list_value":
        return [_value(item) for item in value.list_value.values]
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    return None if kind in {None, "null_value"} else getattr(value, kind)


def plain(value: Any) -> Any:
    """Unwrap secrets at any depth."""
    if isinstance(value, dict):
        if value.get(_SIGNATURE) == _SECRET:
            return plain(value.get("value"))
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def hidden(value: Any) -> Any:
    """Put a word in place of each secret."""
    if isinstance(value, dict):
        if value.get(_SIGNATURE) == _SECRET:
            return "[secret]"
        return {key: hidden(item) for key, item in value.items()}
    return [hidden(item) for item in value] if isinstance(value, list) else value


def changed(olds: Properties, news: Properties) -> list[str]:
    """Name the properties that differ, whether secret or not; what is absent is like what is null."""
    before, after = plain(olds), plain(news)
    names = sorted({*before, *after})
    return [name for name in names if before.get(name) != after.get(name)]


def added(outputs: Properties, inputs: Properties) -> Properties:
    """Leave what the provider added to a resource's inputs, at any depth."""
    found = {}
    for key, value in outputs.items():
        if key not in inputs:
            found[key] = value
        elif isinstance(value, dict) and isinstance(inputs[key], dict):
            found |= {key: within} if (within := added(value, inputs[key])) else {}
    return found


def joined(computed: Properties, inputs: Properties) -> Properties:
    """Put both together, at any depth; inputs win, secrets stay whole."""
    found = {**computed, **inputs}
    for key in computed.keys() & inputs.keys():
        below, given = computed[key], inputs[key]
        if isinstance(below, dict) and isinstance(given, dict) and _SIGNATURE not in given:
            found[key] = joined(below, given)
    return found


def at(properties: Properties, path: str) -> Any:
    """Find a value by a path such as `metadata.name`; None where nothing is."""
    found: Any = plain(properties)
    for word in path.split("."):
        found = found.get(word) if isinstance(found, dict) else None
    return found
