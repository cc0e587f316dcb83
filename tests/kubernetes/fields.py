"""Fields and their kinds, against the types that Pulumi's SDK made of Kubernetes' own OpenAPI schema."""

import collections.abc
import importlib
import inspect
import typing

from pulumi import _types

PLAIN = {str: str, int: (int, float), float: (int, float), bool: bool}


def wrong(item):
    """What of a registered object is no field of its kind, of another type, or missing."""
    group, kind = item.typ.removeprefix("kubernetes:").split(":")
    module = importlib.import_module(
        "pulumi_kubernetes." + group.replace(".k8s.io", "").replace("/", ".")
    )
    hints = _resource_types(getattr(module, kind))
    found = []
    for key, value in item.inputs.items():
        if key in ("apiVersion", "kind"):
            continue
        if key not in hints:
            found.append(f"{key}: unknown")
        else:
            found += _wrong(value, hints[key], key)
    return found


def _resource_types(resource):
    """Name in the API → type, of a resource's arguments."""
    hints = typing.get_type_hints(
        resource._internal_init, globalns=vars(inspect.getmodule(resource))
    )
    return {_camel(name): hint for name, hint in hints.items()}


def _camel(name):
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _wrong(value, hint, path):
    for candidate in _alternatives(hint):
        found = _against(value, candidate, path)
        if not found:
            return []
    return found


def _alternatives(hint):
    """Types that a hint takes, without what Pulumi wraps them in, and without dictionaries of the same fields."""
    if typing.get_origin(hint) is typing.Union or type(hint).__name__ == "UnionType":
        for inner in typing.get_args(hint):
            yield from _alternatives(inner)
    elif (
        typing.is_typeddict(hint)
        or hint is type(None)
        or getattr(typing.get_origin(hint), "__name__", "") in ("Awaitable", "Output")
    ):
        return
    else:
        yield hint


def _against(value, hint, path):
    origin, given = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(hint, type) and _types.is_input_type(hint):
        return _fields(value, hint, path)
    if origin in (collections.abc.Sequence, list):
        each = enumerate(value) if isinstance(value, list) else [("no list", None)]
        return [why for i, one in each for why in _wrong(one, given[0], f"{path}[{i}]")]
    if origin in (collections.abc.Mapping, dict):
        each = value.items() if isinstance(value, dict) else [("no mapping", None)]
        return [why for key, one in each for why in _wrong(one, given[1], f"{path}.{key}")]
    if hint in PLAIN and not isinstance(value, PLAIN[hint]):
        return [f"{path}: {value!r} is no {hint.__name__}"]
    return []


def _fields(value, hint, path):
    if not isinstance(value, dict):
        return [f"{path}: no object"]
    types = _types.input_type_types(hint)
    names = _types.input_type_py_to_pulumi_names(hint)
    needed = {
        names[name]
        for name, parameter in inspect.signature(hint.__init__).parameters.items()
        if name in names and parameter.default is inspect.Parameter.empty
    }
    found = [f"{path}.{key}: missing" for key in needed - set(value)]
    for key, one in value.items():
        if key not in types:
            found.append(f"{path}.{key}: unknown")
        else:
            found += _wrong(one, types[key], f"{path}.{key}")
    return found
