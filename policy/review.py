"""Writes what a reviewer reads of a plan: `python policy/review.py --plan prod=plan.json`, as Markdown.

Replacements and deletions come first. Values are shown only where they are short and are no secrets; the rules of
this pack are the same that `pulumi preview --policy-pack policy` has run.
"""  # noqa: INP001 - a script beside the pack

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# For whoever runs it outside of the stacks' own environment.
sys.path[:0] = [str(ROOT), str(ROOT / "components")]

from policy.checks import judge, stateful  # noqa: E402

from pulumi_mlflow.core import costs, plan  # noqa: E402
from pulumi_mlflow.ops import cost  # noqa: E402

MARK = "<!-- pulumi-mlflow: review -->"
"""By which the one comment is found that is written anew."""

LIMIT = 60_000
"""Characters; GitHub and GitLab take some more in a comment."""

ROWS = 80
"""Most rows of a table."""

_LONGEST = 60
"""Most characters of a value that is shown."""

_ORDER = {"replace": 0, "delete": 1, "update": 2, "create": 3, "import": 4}
_WORDS = {
    "replace": "**replace**",
    "delete": "**delete**",
}
_NO_VALUE = re.compile(
    r"secret|password|token|passphrase|key|credential|provider|definitions|files|stringdata|envs?$",
    re.IGNORECASE,
)
"""Inputs of which only the name is shown."""

_LOGIN = re.compile(r"://[^/\s]*@")


@dataclass(frozen=True)
class Reviewed:
    """A stack's part of the comment.

    Attributes:
        text: as Markdown.
        refused: whether something in it must not be merged.
    """

    text: str
    refused: bool


def review(stack: str, found: plan.Plan | None, prices: costs.Table) -> Reviewed:
    """A stack's part of the comment.

    Args:
        stack: its name.
        found: its plan; None where the preview printed none.
        prices: what resources cost.
    """
    if found is None:
        said = "The preview ended without a plan: the job's log says why."
        return Reviewed(f"### {code(stack)}\n\n{said}", refused=True)
    broken = judge(found.after)
    lost = list(stateful.losses(found.steps))
    changed = [step for step in found.steps if step.operation in _ORDER and not _is_component(step)]
    changed.sort(key=lambda step: (_ORDER[step.operation], not stateful.is_stateful(step.resource)))
    parts = [f"### {code(stack)}: {_sum(changed)}"]
    parts += _list("The preview failed", [code(one, 500) for one in found.problems])
    parts += _list("**Data would be lost**", [escaped(str(one)) for one in lost])
    rules = [f"{code(rule.name)} {escaped(str(one))}" for rule, one in broken]
    parts += _list(f"**Policy: {len(rules)} broken**", rules)
    if changed:
        parts.append("\n".join(_table(changed)))
    parts.append("\n".join(_cost(found, prices)))
    if not broken:
        parts.append("Policy: no rule is broken.")
    return Reviewed("\n\n".join(parts), refused=bool(broken or lost or found.problems))


def _is_component(step: plan.Step) -> bool:
    """Whether it only groups others."""
    return step.resource.type.startswith(("pulumi-mlflow:", "pulumi:pulumi:", "pulumi:providers:"))


def _sum(changed: Sequence[plan.Step]) -> str:
    counted = Counter(step.operation for step in changed)
    said = [f"{counted[name]} to {name}" for name in _ORDER if counted[name]]
    return ", ".join(said) or "no changes"


def _list(title: str, items: Sequence[str]) -> list[str]:
    if not items:
        return []
    shown = [f"- {item}" for item in items[:ROWS]]
    more = [f"- … and {len(items) - ROWS} more"] if len(items) > ROWS else []
    return ["\n".join([f"{title}:", "", *shown, *more])]


def _table(changed: Sequence[plan.Step]) -> Iterator[str]:
    yield "| | resource | type | what changes |"
    yield "|---|---|---|---|"
    for step in changed[:ROWS]:
        resource = step.old or step.resource
        marks = " 🔒 protected" if resource.protected else ""
        marks += " holds data" if stateful.is_stateful(resource) else ""
        changes = ", ".join(_changes(step))
        word = _WORDS.get(step.operation, step.operation)
        yield f"| {word} | {code(resource.name)}{marks} | {code(resource.type)} | {changes} |"
    if len(changed) > ROWS:
        yield f"| | … and {len(changed) - ROWS} more | | |"


def _changes(step: plan.Step) -> Iterator[str]:
    if step.old is None or step.new is None:
        return
    for name in step.reasons:
        if name.startswith("__"):
            continue
        before, after = (_shown(name, one.get(*name.split("."))) for one in (step.old, step.new))
        yield f"{code(name)} {before} → {after}" if before and after else code(name)


def _shown(name: str, value: Any) -> str:
    """A value as a reviewer sees it; empty where it is not shown."""
    if isinstance(value, plan.Unknown):
        return "(known later)"
    if value == plan.SECRET or _NO_VALUE.search(name) or not isinstance(value, (str, int, float)):
        return ""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return "" if len(text) > _LONGEST or _LOGIN.search(text) else code(text)


def _cost(found: plan.Plan, prices: costs.Table) -> Iterator[str]:
    before, after = costs.bill(found.before, prices), costs.bill(found.after, prices)
    if not before.lines and not after.lines:
        yield "Cost: nothing in it has a price in our table."
        return
    was = cost.span(before.least, before.most)
    will = cost.span(after.least, after.most)
    difference = after.most - before.most
    sign = "+" if difference >= 0 else "-"
    yield f"Cost, USD a month: {was} → **{will}** ({sign}{costs.dollars(abs(difference))} at most)"
    if after.unpriced:
        yield f"Without a price: {', '.join(code(one) for one in after.unpriced)}"
    yield f"<sub>{escaped(next(cost.basis(after, prices)))}</sub>"


def code(text: str, longest: int = 120) -> str:
    """Text as inline code: no mark-up, link or name in it has an effect."""
    flat = " ".join(text.replace("`", "'").replace("|", "¦").split())
    return f"`{flat[:longest]}{'…' if len(flat) > longest else ''}`"


def escaped(text: str) -> str:
    """Prose in which names of resources may stand: nothing of it is mark-up, a link or a mention."""
    flat = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace("|", "¦")
    return re.sub(r"([\\`*_\[\]#@!~])", r"\\\1", flat).replace("\\@", "&#64;")


def comment(reviewed: Sequence[Reviewed], note: str = "") -> str:
    """The whole comment, within what a comment may have.

    Args:
        reviewed: the stacks' parts.
        note: a sentence before them.
    """
    head = [MARK, "## Preview", *([escaped(note)] if note else [])]
    text = "\n\n".join([*head, *(one.text for one in reviewed)]) + "\n"
    if len(text) <= LIMIT:
        return text
    return text[:LIMIT].rsplit("\n", 1)[0] + "\n\n… cut here: the job's log has all.\n"


def _plan(file: Path) -> plan.Plan | None:
    try:
        return plan.read(file.read_text())
    except (OSError, ValueError):
        return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the comment; 1 if a plan breaks a rule, loses data or failed, and --strict is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--plan",
        action="append",
        required=True,
        metavar="STACK=FILE",
        help="what `pulumi preview --json` printed; may be given more than once",
    )
    parser.add_argument("--note", default="", help="a sentence before all")
    parser.add_argument("--output", type=Path, help="file to write; else it is printed")
    parser.add_argument("--strict", action="store_true", help="fail where something is refused")
    options = parser.parse_args(arguments)
    prices = cost.load_prices()
    reviewed = []
    for given in options.plan:
        stack, _, file = given.partition("=")
        if not file:
            parser.error(f"--plan {given}: must be STACK=FILE")
        reviewed.append(review(stack, _plan(Path(file)), prices))
    text = comment(reviewed, options.note)
    if options.output:
        options.output.write_text(text)
    else:
        sys.stdout.write(text)
    return int(options.strict and any(one.refused for one in reviewed))


if __name__ == "__main__":
    sys.exit(main())
