"""A plan: the resources that a program wants, and what `pulumi preview --json` would do to those that are there."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SECRET = "[secret]"  # noqa: S105 - how Pulumi writes one
"""What a plan shows in the place of a secret."""

_UNKNOWN = frozenset(
    {
        "04da6b54-80e4-46f7-96ec-b56ff0331ba9",
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
        "030794c1-ac77-496b-92df-f27374a8bd58",
        "e48ece36-62e2-4504-bad9-02848725956a",
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
    }
)
"""How Pulumi writes values that are known only after something was made: one for each kind of value
(sdk/go/common/resource/plugin/rpc.go)."""

SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET_SIGNATURE = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - a mark, no secret
"""How Pulumi marks a value as secret: key and value in its place (sdk/go/common/resource/sig)."""

_RUNS = frozenset(
    {"create", "update", "same", "read", "import", "replace", "create-replacement", "refresh"}
)


class Unknown:
    """A value that is known only after something was made. It is neither true nor equal to anything."""

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "unknown"


UNKNOWN = Unknown()


@dataclass(frozen=True)
class Resource:
    """A resource as a program wants it, or as it is.

    Attributes:
        type: Pulumi's, such as `aws:s3/bucket:Bucket`.
        name: Pulumi's.
        inputs: what the program gives; keys are the provider's. Values may be `UNKNOWN`, or `SECRET`.
        protected: whether Pulumi refuses to delete it.
        urn: Pulumi's; the name unless known.
        parent: URN or name of the component that it belongs to.
        refers: input → URNs or names of the resources that its value comes from.
    """

    type: str
    name: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    protected: bool = False
    urn: str = ""
    parent: str = ""
    refers: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """What others name it by."""
        return self.urn or self.name

    def get(self, *path: str) -> Any:
        """An input, by its path; None where there is none."""
        return dig(self.inputs, *path)


@dataclass(frozen=True)
class Step:
    """What would be done to one resource.

    Attributes:
        operation: Pulumi's word: `create`, `update`, `delete`, `replace`, `same`, …
        old: as it is; None if it is not there yet.
        new: as it will be; None if it goes.
        reasons: inputs that change, or for whose sake it is replaced.
    """

    operation: str
    old: Resource | None
    new: Resource | None
    reasons: tuple[str, ...] = ()

    @property
    def resource(self) -> Resource:
        """The resource as it will be, or as it was."""
        found = self.new or self.old
        if found is None:
            raise ValueError("step: needs a resource")
        return found

    @property
    def loses(self) -> bool:
        """Whether what is there now goes away."""
        return self.operation in ("delete", "replace")


@dataclass(frozen=True)
class Plan:
    """What `pulumi preview --json` says.

    Attributes:
        steps: one for each resource, in Pulumi's order.
        problems: messages of errors, without colours.
    """

    steps: tuple[Step, ...]
    problems: tuple[str, ...] = ()

    @property
    def before(self) -> list[Resource]:
        """Resources as they are."""
        return [step.old for step in self.steps if step.old]

    @property
    def after(self) -> list[Resource]:
        """Resources as they will be."""
        return [step.new for step in self.steps if step.new]


def dig(value: Any, *path: str) -> Any:
    """A value within mappings, by its path; None where there is none, `UNKNOWN` below what is not known."""
    for key in path:
        if isinstance(value, Unknown):
            return value
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def plain(value: Any) -> Any:
    """A value as Pulumi writes it, with `UNKNOWN` and `SECRET` in the place of its marks."""
    if isinstance(value, str):
        return UNKNOWN if value in _UNKNOWN else value
    if isinstance(value, Mapping):
        if value.get(SIGNATURE) == SECRET_SIGNATURE:
            return SECRET
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [plain(item) for item in value]
    return value


def wanted(request: Any, inputs: Mapping[str, Any], urn: str) -> Resource:
    """A resource as a program registers it.

    Args:
        request: `RegisterResourceRequest` of Pulumi's protocol.
        inputs: those in it, decoded.
        urn: what the engine's answer names it.
    """
    return Resource(
        request.type,
        request.name,
        plain(inputs),
        request.protect,
        urn,
        request.parent,
        {key: tuple(found.urns) for key, found in request.propertyDependencies.items()},
    )


def name_of(urn: str) -> str:
    """The name at a URN's end."""
    return urn.rsplit("::", 1)[-1]


def read(text: str) -> Plan:
    """A plan from what `pulumi preview --json` has printed.

    Raises:
        ValueError: it is none.
    """
    start = text.find("{")
    try:
        found = json.JSONDecoder().raw_decode(text, start)[0] if start >= 0 else None
    except json.JSONDecodeError as error:
        raise ValueError(f"plan: no JSON of `pulumi preview --json` ({error})") from error
    if not isinstance(found, dict) or not isinstance(found.get("steps", []), list):
        raise ValueError("plan: no JSON of `pulumi preview --json`: it has no steps")  # noqa: TRY004 - text was given
    return Plan(tuple(_steps(found.get("steps", []))), tuple(_problems(found)))


def _problems(found: Mapping[str, Any]) -> Iterator[str]:
    for said in found.get("diagnostics") or ():
        if said.get("severity") == "error" and (message := str(said.get("message", "")).strip()):
            yield message


def _steps(listed: Sequence[Mapping[str, Any]]) -> Iterator[Step]:
    """One step a resource: of a replacement Pulumi lists three, of which `replace` says all."""
    replaced = {step["urn"] for step in listed if "replace" in step["op"]}
    seen: set[str] = set()
    for step in listed:
        urn = step["urn"]
        if urn in replaced:
            if urn in seen:
                continue
            several = [other for other in listed if other["urn"] == urn]
            seen.add(urn)
            olds = [other["oldState"] for other in several if other.get("oldState")]
            news = [other["newState"] for other in several if other.get("newState")]
            reasons = {reason for other in several for reason in other.get("replaceReasons") or ()}
            yield Step("replace", _last(olds), _last(news), tuple(sorted(reasons)))
        else:
            kept = step["op"] in _RUNS
            yield Step(
                step["op"],
                _last([step["oldState"]] if step.get("oldState") else []),
                _last([step["newState"]] if kept and step.get("newState") else []),
                tuple(sorted(step.get("diffReasons") or ())),
            )


def _last(states: Sequence[Mapping[str, Any]]) -> Resource | None:
    return _resource(states[-1]) if states else None


def _resource(state: Mapping[str, Any]) -> Resource:
    return Resource(
        type=state["type"],
        name=name_of(state["urn"]),
        inputs=plain(state.get("inputs") or {}),
        protected=bool(state.get("protect")),
        urn=state["urn"],
        parent=state.get("parent") or "",
        refers=state.get("propertyDependencies") or {},
    )
