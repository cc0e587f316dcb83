"""What a Dockerfile says of the containers of its image: program, variables, and where copied files lie. Pure."""

import json
import posixpath
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from .variables import ComposeFileError, interpolate

_HEREDOC = re.compile(r"<<-?[\"']?(\w+)[\"']?")
_SHELL = ("/bin/sh", "-c")


@dataclass(frozen=True)
class Image:
    """An image, as far as its Dockerfile tells."""

    base: str = ""
    """The image that it begins from."""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    copies: tuple[tuple[str, str], ...] = ()
    """Files and folders of the build's folder → where they are in the image; later ones win."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """Files whose text stands in the Dockerfile itself."""
    folder: str = "/"
    """That the program is started in."""
    shell: tuple[str, ...] = _SHELL


def read_dockerfile(text: str, arguments: Mapping[str, str], target: str = "") -> Image:
    """Read a Dockerfile.

    Args:
        text: its content.
        arguments: `build.args`, which win over the defaults of ARG.
        target: the stage that is built; the last one unless given.
    """
    stages: dict[str, Image] = {}
    image, name = Image(), ""
    known: dict[str, str] = {}
    global_known: dict[str, str] = {}
    for word, rest, heredocs in _instructions(text):
        values = {**known, **image.environment}
        if word == "FROM":
            if name == target and target:
                break
            parts = [_filled(p, {**global_known}) for p in rest.split() if not p.startswith("--")]
            base = parts[0] if parts else ""
            name = parts[2] if parts[2:] else ""
            image = stages.get(base, Image(base=base))
            known = {}
        elif word == "ARG":
            key, sign, value = rest.partition("=")
            given = arguments.get(key, _filled(_unquoted(value), values) if sign else None)
            given = global_known.get(key) if given is None else given
            if given is not None:
                known[key] = given
                if not name and not image.base:
                    global_known[key] = given
        else:
            image = _applied(image, word, rest, heredocs, values)
        if name:
            stages[name] = image
    return image


def _applied(
    image: Image, word: str, rest: str, heredocs: Mapping[str, str], values: Mapping[str, str]
) -> Image:
    if word == "ENV":
        image = replace(image, environment={**image.environment, **_pairs(rest, values)})
    elif word == "WORKDIR":
        folder = posixpath.join(image.folder, _filled(_unquoted(rest), values))
        image = replace(image, folder=folder)
    elif word == "SHELL":
        image = replace(image, shell=tuple(_exec_form(rest) or _SHELL))
    elif word == "ENTRYPOINT":
        # As docker build does: what CMD the image below had was meant for another program.
        image = replace(image, entrypoint=_program(rest, image.shell), command=())
    elif word == "CMD":
        image = replace(image, command=_program(rest, image.shell))
    elif word in ("COPY", "ADD") and "--from=" not in rest:
        image = _copied(image, rest, heredocs, values)
    return image


def _copied(
    image: Image, rest: str, heredocs: Mapping[str, str], values: Mapping[str, str]
) -> Image:
    listed = _exec_form(rest)
    parts = [_filled(p, values) for p in (listed or rest.split()) if not p.startswith("--")]
    if len(parts) < 2:  # noqa: PLR2004 - source and target
        return image
    *sources, given = parts
    target = posixpath.join(image.folder, given)
    many = len(sources) > 1 or given.endswith("/") or given in (".", "./")
    copies, texts = list(image.copies), dict(image.texts)
    for source in sources:
        here = _HEREDOC.fullmatch(source)
        if here:
            texts[posixpath.normpath(target)] = heredocs.get(here.group(1), "")
            continue
        path = source.lstrip("/") or "."
        into = posixpath.join(target, posixpath.basename(path)) if many else target
        copies.append((path, posixpath.normpath(into)))
        # A folder's content is copied, not the folder: which one it is cannot be seen from here.
        copies.append((path, posixpath.normpath(target)))
    return replace(image, copies=tuple(copies), texts=texts)


def sources(image: Image, path: str) -> Iterator[str]:
    """Files of the build's folder that a file of the image may come from, the likeliest first.

    Args:
        image: the image.
        path: of the file in a container; a bare name is looked for in every folder.
    """
    bare = "/" not in path
    absolute = posixpath.normpath(posixpath.join(image.folder, path))
    for source, target in reversed(image.copies):
        if absolute == target or (bare and posixpath.basename(target) == path):
            yield source
        if bare:
            yield posixpath.join(source, path)
        elif absolute.startswith(target.rstrip("/") + "/"):
            yield posixpath.join(source, absolute[len(target.rstrip("/")) + 1 :])


def _instructions(text: str) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Instruction, arguments, and the texts of its here-documents."""
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        line = lines[at]
        at += 1
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        whole = line
        while whole.rstrip().endswith("\\") and at < len(lines):
            whole = whole.rstrip()[:-1]
            if not lines[at].lstrip().startswith("#"):
                whole += f" {lines[at]}"
            else:
                whole += "\\"
            at += 1
        word, _, rest = whole.strip().partition(" ")
        heredocs: dict[str, str] = {}
        for end in _HEREDOC.findall(rest) if word.upper() in ("RUN", "COPY", "ADD") else ():
            body = []
            while at < len(lines) and lines[at].strip() != end:
                body.append(lines[at])
                at += 1
            at += 1
            heredocs[end] = "\n".join(body) + "\n"
        yield word.upper(), rest.strip(), heredocs


def _exec_form(text: str) -> list[str] | None:
    if not text.startswith("["):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return [str(part) for part in found] if isinstance(found, list) else None


def _program(rest: str, shell: tuple[str, ...]) -> tuple[str, ...]:
    listed = _exec_form(rest)
    return tuple(listed) if listed is not None else (*shell, rest)


def _pairs(rest: str, values: Mapping[str, str]) -> dict[str, str]:
    """`ENV A=b C="d e"`, or the older `ENV A b`."""
    first, _, tail = rest.partition(" ")
    if "=" not in first:
        return {first: _filled(_unquoted(tail.strip()), values)}
    try:
        split = shlex.split(rest)
    except ValueError:
        split = rest.split()
    pairs = (part.partition("=") for part in split)
    return {key: _filled(value, values) for key, sign, value in pairs if sign}


def _unquoted(text: str) -> str:
    text = text.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def _filled(text: str, values: Mapping[str, str]) -> str:
    try:
        return interpolate(text.replace("\\$", "$$"), values, set(), set())
    except ComposeFileError:
        return text
