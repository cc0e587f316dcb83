"""From a stack's file to settings that are known to be right, or all that is wrong with them at once."""

import difflib
import json
from collections.abc import Collection, Iterator, Mapping
from enum import Enum
from pathlib import Path as File
from typing import Any, get_args, get_origin

import pulumi
from pulumi.runtime import config as pulumi_config
from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

import rules
from cloud_models import Aws, Compute, Kubernetes, Size
from models import (
    Access,
    Artifacts,
    Database,
    Images,
    Settings,
    Store,
    Tracking,
)
from problems import (
    NAMESPACE,
    Drop,
    Encrypt,
    Mend,
    Path,
    Problem,
    Put,
    Rule,
    SettingsError,
    dotted,
    got,
    is_secret,
)
from pulumi_mlflow.contracts import Engine
from pulumi_mlflow.core import aws_database, stores
from rules import files
from sections import BUILT, Runtime, Section
from sizes import sized

__all__ = [
    "Access",
    "Artifacts",
    "Aws",
    "Compute",
    "Database",
    "Images",
    "Kubernetes",
    "Runtime",
    "Settings",
    "SettingsError",
    "Size",
    "Store",
    "Tracking",
    "load",
    "load_stack",
]

ROOT = File(__file__).resolve().parent.parent
"""Folder of the project."""

_ROUNDS = 12
"""Each round mends what the one before found; rules over several keys can follow one another a few times."""

_RULES = {rule.value: rule for rule in Rule}

_SHAPES = {
    "list_type": "list",
    "dict_type": "mapping",
    "model_type": "mapping of keys",
    "model_attributes_type": "mapping of keys",
}

_KEY_OF_MAPPING = "[key]"
"""Pydantic's last step to a key, not a value, of a mapping."""

_COMPARED = {
    "greater_than_equal": ("≥", "ge"),
    "less_than_equal": ("≤", "le"),
}


def load(
    stack: str,
    raw: Mapping[str, str],
    *,
    root: File = ROOT,
    auto_images: Images = Images.REGISTRY,
    secret_keys: Collection[str] = (),
) -> Settings:
    """Check a stack's settings and fill in what was not given.

    A later problem may show only after an earlier one is mended (a rule over two keys needs both to be right), so each
    mend is tried here as well: all problems come at once, and who runs all the printed commands has right settings.

    Args:
        stack: name of the stack.
        raw: key without namespace → value as Pulumi hands it over: text, or JSON for a mapping.
        root: folder of the project.
        auto_images: what `images: auto` stands for on this machine.
        secret_keys: keys of `raw` that are encrypted in the stack's file; their values are not shown.

    Raises:
        SettingsError: all problems, each with the command that mends it.
    """
    tree, problems = _decode(raw, secret_keys)
    for problem in problems:
        problem.mend.apply(tree)
    for _ in range(_ROUNDS):
        found, settings = _check(tree, auto_images, secret_keys, root)
        for problem in found:
            problem.mend.apply(tree)
        problems += found
        if settings is not None and not found:
            if problems:
                break
            return _placed(settings, stack, root)
    raise SettingsError(stack, problems)


def _placed(settings: Settings, stack: str, root: File) -> Settings:
    """With the folder that a local stack keeps its data in unless told."""
    if settings.runtime is not Runtime.LOCAL or settings.data_dir:
        return settings
    return settings.model_copy(update={"data_dir": str(root / ".state" / "data" / stack)})


def load_stack(root: File = ROOT) -> Settings:
    """The settings of the stack that Pulumi runs.

    Args:
        root: folder of the project.

    Raises:
        SettingsError: see `load`.
    """
    prefix = f"{NAMESPACE}:"
    given = {**pulumi_config.get_config_env(), **pulumi_config.CONFIG.get()}
    ours = {key.removeprefix(prefix): text for key, text in given.items() if key.startswith(prefix)}
    secret = [key for key in ours if pulumi_config.is_config_secret(prefix + key)]
    images = _machine_images(root)
    return load(pulumi.get_stack(), ours, root=root, auto_images=images, secret_keys=secret)


def _machine_images(root: File) -> Images:
    """What set-up found: where images come from on this machine."""
    try:
        return Images(json.loads((root / ".state" / "machine.json").read_text())["images"])
    except (OSError, ValueError, KeyError, TypeError):
        return Images.REGISTRY


def _decode(
    raw: Mapping[str, str], secret: Collection[str]
) -> tuple[dict[str, Any], list[Problem]]:
    """Read the mappings and mark the secrets; what is no mapping is a problem already."""
    tree: dict[str, Any] = {}
    problems = []
    for key, text in raw.items():
        tree[key] = text
        field = Settings.model_fields.get(key)
        if field and holds_secret(field) and key in secret:
            tree[key] = SecretStr(text)
        section = section_of(field) if field else None
        if section is None:
            continue
        try:
            tree[key] = json.loads(text)
        except (ValueError, RecursionError):
            tree[key] = None
        if not isinstance(tree[key], dict):
            example = next(iter(section.model_fields))
            problems.append(
                Problem(
                    Rule.WRONG_TYPE,
                    (key,),
                    f"must be a mapping of keys such as {example} (got a single value)",
                    Drop((key,)),
                )
            )
    return tree, problems


def _check(
    tree: dict[str, Any], auto_images: Images, secret: Collection[str], root: File
) -> tuple[list[Problem], Settings | None]:
    """One round: keys of other runtimes, then each key alone, then keys together."""
    found = list(_other_runtimes(tree, secret))
    if found:
        return found, None
    try:
        settings = sized(Settings.model_validate(_filled(tree, auto_images)))
    except ValidationError as error:
        return [_problem(details, tree, secret) for details in error.errors()], None
    return rules.check(settings) or files.check(settings, root), settings


def _runtime(tree: Mapping[str, Any]) -> Runtime | None:
    return next((runtime for runtime in Runtime if runtime.value == tree.get("runtime")), None)


def _other_runtimes(tree: Mapping[str, Any], secret: Collection[str]) -> Iterator[Problem]:
    runtime = _runtime(tree)
    if runtime is None:
        return
    for path, field in fields():
        if runtime in runtimes_of(field) or _value(tree, path) is None:
            continue
        if any(runtime not in runtimes_of(_field(path[:end])) for end in range(1, len(path))):
            continue  # said of the whole section
        yield Problem(
            Rule.OTHER_RUNTIME,
            path,
            f"has no meaning while mlflow:runtime is {runtime}, only in {', '.join(runtimes_of(field))} "
            f"{got(path, _value(tree, path), secret)}",
            Drop(path),
        )


def _filled(tree: Mapping[str, Any], auto_images: Images) -> dict[str, Any]:
    """The tree with the defaults that depend on other keys."""
    runtime = _runtime(tree) or Runtime.LOCAL
    filled = dict(tree)
    for key, field in Settings.model_fields.items():
        if section_of(field) and runtime in runtimes_of(field):
            filled[key] = dict(tree.get(key, {}))
    for path, offered in rules.OFFERED.items():
        section, key = (str(step) for step in path)
        filled[section].setdefault(key, offered[runtime][0])
    database = filled["database"]
    engines = [engine for engine in Engine if engine.value == database["engine"]]
    engine = (engines or [Engine.POSTGRESQL])[0]
    version = rules.VERSIONS[engine][0]
    if runtime is Runtime.AWS:
        aurora = "aurora-" if database.get("aurora") is True else ""
        version = aws_database.VERSIONS.get(f"{aurora}{engine.value}", version)
    database.setdefault("version", version)
    artifacts = filled["artifacts"]
    if artifacts["store"] == Store.MINIO.value:
        artifacts.setdefault("bucket", stores.default_bucket(Store.MINIO.value))
    if filled.get("images", Images.AUTO.value) == Images.AUTO.value and runtime in BUILT:
        filled["images"] = auto_images.value
    return filled


def _problem(details: ErrorDetails, tree: Mapping[str, Any], secret: Collection[str]) -> Problem:
    path = tuple(details["loc"])
    kind, context, value = details["type"], details.get("ctx", {}), details["input"]
    if kind == "extra_forbidden":
        return Problem(Rule.UNKNOWN_KEY, path, _unknown(path), Drop(path))
    if kind == "missing":
        return Problem(Rule.MISSING, path, "must be given", _mend(path, context))
    mend = _mend(path, context)
    if kind in _RULES:
        rule, text = _RULES[kind], str(context["message"])
    elif kind in _COMPARED:
        sign, bound = _COMPARED[kind]
        rule, text = Rule.OUT_OF_RANGE, f"must be {sign} {context[bound]}"
    elif kind == "enum":
        choices = _choices(path)
        rule, text = Rule.NOT_A_CHOICE, f"must be one of {', '.join(choices)}"
        mend = Put(path, _closest_choice(path, value, choices, tree))
    elif kind in _SHAPES:
        rule, text, mend = Rule.WRONG_TYPE, f"must be a {_SHAPES[kind]}", Drop(path)
    elif kind == "string_too_short":
        rule, text = Rule.OUT_OF_RANGE, "must not be empty"
    elif kind == "string_too_long":
        rule, text = Rule.OUT_OF_RANGE, f"must have at most {context['max_length']} characters"
    else:
        rule, text = Rule.WRONG_TYPE, f"is not right: {details['msg']}"
    return Problem(rule, path, f"{text} {got(path, value, secret)}", mend)


def _mend(path: Path, context: Mapping[str, Any]) -> Mend:
    """A right value made from the wrong one, else the key's example, else the default by removal."""
    suggested = context.get("mend")
    if suggested is not None:
        return Put(path, suggested)
    field = _field(path)
    if holds_secret(field):
        return Encrypt(path)
    if path[-1] == _KEY_OF_MAPPING or _is_open_mapping(field):
        return Drop(tuple(step for step in path if step != _KEY_OF_MAPPING))
    return Put(path, field.examples[0]) if field.examples else Drop(path)


def _closest_choice(path: Path, value: Any, choices: list[str], tree: Mapping[str, Any]) -> str:
    """The choice that was probably meant, if the runtime offers it, else the runtime's default or the first."""
    runtime = _runtime(tree)
    offered = rules.OFFERED.get(path)
    allowed = list(offered[runtime]) if offered and runtime else choices
    similar = difflib.get_close_matches(str(value).lower(), [c.lower() for c in allowed], 1)
    return next((c for c in allowed if [c.lower()] == similar), allowed[0])


def _unknown(path: Path) -> str:
    if is_secret(path) and len(path) > 1:
        return "unknown key; secrets are generated, and those of others' servers are top-level keys of their own"
    wanted = ".".join(str(step) for step in path)
    keys = [dotted(path) for path, _ in fields()]
    same_leaf = [key for key in keys if key.split(".")[-1] == path[-1]]

    def likeness(key: str) -> float:
        return difflib.SequenceMatcher(a=wanted, b=key).ratio()

    return f"unknown key, the closest is {NAMESPACE}:{max(same_leaf or keys, key=likeness)}"


def fields(model: type[Section] = Settings, prefix: Path = ()) -> Iterator[tuple[Path, FieldInfo]]:
    """Every key with its field: sections, and what stands in them."""
    for name, field in model.model_fields.items():
        yield (*prefix, name), field
        section = section_of(field)
        if section is not None:
            yield from fields(section, (*prefix, name))


def runtimes_of(field: FieldInfo) -> tuple[str, ...]:
    """The runtimes in which a field has a meaning."""
    extra = field.json_schema_extra
    listed = extra["runtimes"] if isinstance(extra, dict) else []
    return tuple(str(runtime) for runtime in listed) if isinstance(listed, list) else ()


def section_of(field: FieldInfo) -> type[Section] | None:
    """The model of a field that is a section; None for any other."""
    candidates = (field.annotation, *get_args(field.annotation))
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, Section)), None)


def holds_secret(field: FieldInfo) -> bool:
    """Whether a key's value must be encrypted in the stack's file."""
    return any(kind is SecretStr for kind in _types_within(field.annotation))


def _is_open_mapping(field: FieldInfo) -> bool:
    """Whether the keys of a mapping are the user's own."""
    return get_origin(field.annotation) is dict


def _types_within(annotation: Any) -> Iterator[Any]:
    """The annotation and all that it is made of."""
    yield annotation
    for inner in get_args(annotation):
        yield from _types_within(inner)


def _field(path: Path) -> FieldInfo:
    """The field of a path; that of the list or mapping for one of its items."""
    known = dict(fields())
    steps = tuple(step for step in path if isinstance(step, str))
    while steps not in known:
        steps = steps[:-1]
    return known[steps]


def _choices(path: Path) -> list[str]:
    kinds = _types_within(_field(path).annotation)
    enum = next(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Enum))
    return [str(choice.value) for choice in enum]


def _value(tree: Mapping[str, Any], path: Path) -> Any:
    """What stands at a path; None where nothing does."""
    node: Any = tree
    for step in path:
        if not isinstance(node, Mapping):
            return None
        node = node.get(step)
    return node
