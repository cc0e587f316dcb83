"""What the files of MLflow's file store say, and what of it a server takes.

The file store had next to no rules. A server refuses names and lines, cuts long values with a warning in its own log,
and decodes the names of artifacts, so all of that is decided here, where it can be told. A test compares the limits
with the installed MLflow.
"""

import codecs
import math
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlparse, urlunparse

LONGEST_KEY = 250
LONGEST_PARAM = 6000
LONGEST_TAG = 8000
LONGEST_EXPERIMENT_TAG = 20_000
LONGEST_MODEL_TAG = 100_000
LONGEST_EXPERIMENT_NAME = 500
LONGEST_RUN_NAME = 250
"""In characters, MLflow's own (mlflow/utils/validation.py, and for a run's name the width of its column)."""

LARGEST_INTEGER = 2**63 - 1
"""Of a step or a time: they are 64 bits wide in requests and in the database."""

LARGEST_VALUE = 1.7976931348623157e308
"""How MLflow's database writes infinity."""

REQUEST_CHARACTERS = 900_000
"""Of one `log-batch`, whose JSON may have a million."""

NOTE_TAG = "mlflow.note.content"

_KEY = re.compile(r"[/\w.\- :]+")
_JUNK = frozenset(
    {".DS_Store", ".directory", ".ipynb_checkpoints", ".localized", "Thumbs.db", "desktop.ini"}
)
_JUNK_PREFIXES = ("._", ".nfs", ".~lock.", ".fuse_hidden", ".goutputstream-")
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LEAST_COLUMNS = 2
_MODEL_COLUMNS = 4
_DATASET_COLUMNS = 6

T = TypeVar("T")


class Point(NamedTuple):
    """A value of a metric."""

    timestamp: int
    """Milliseconds since 1970, as it stands in the file."""
    value: float
    step: int


class ModelPoint(NamedTuple):
    """A value of a metric that belongs to a logged model."""

    point: Point
    run_id: str
    dataset: str | None
    digest: str | None


def is_junk(name: str) -> bool:
    """Whether a file or folder is what desktops, notebooks and network file systems leave, and no data."""
    return name in _JUNK or name.startswith(_JUNK_PREFIXES)


def key_fault(key: str) -> str:
    """Why a server does not take this name of a param, metric or tag; empty if it does."""
    if len(key) > LONGEST_KEY:
        return f"its name has {len(key)} characters, and a server takes {LONGEST_KEY}"
    if not _KEY.fullmatch(key):
        return (
            "its name has other characters than a server takes (letters, digits, _ - . : / blanks)"
        )
    return ""


def text(content: bytes) -> tuple[str, str]:
    """What a file says.

    Returns:
        The text, and what is odd about it: empty for UTF-8.

    Raises:
        ValueError: it is no text.
    """
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            try:
                return content.decode(encoding), f"was {encoding}, and is taken without its mark"
            except UnicodeDecodeError:
                break
    if b"\0" in content:
        raise ValueError("is no text: it has zero bytes")
    try:
        return content.decode(), ""
    except UnicodeDecodeError:
        # Every byte is a character there, so that nothing is lost.
        return content.decode("latin-1"), "is not UTF-8, and is taken as Latin-1"


def point(line: str) -> Point:
    """A line of a metric: time, value and step; without a step in folders of MLflow before 1.0.

    Raises:
        ValueError: with what is wrong with it.
    """
    columns = line.split()
    if not columns:
        raise ValueError("is empty")
    if len(columns) < _LEAST_COLUMNS:
        raise ValueError(f"{_short(line)} has no value")
    step = columns[2] if len(columns) > _LEAST_COLUMNS else "0"
    return _point(line, columns[0], columns[1], step)


def model_point(line: str) -> ModelPoint:
    """A line of a logged model's metric: time, value, step, run, and perhaps a dataset's name and digest.

    Raises:
        ValueError: with what is wrong with it.
    """
    columns = line.split()
    if len(columns) < _MODEL_COLUMNS or len(columns) == _MODEL_COLUMNS + 1:
        raise ValueError(
            f"{_short(line)} is no time, value, step and run" if columns else "is empty"
        )
    dataset = digest = None
    if len(columns) >= _DATASET_COLUMNS:
        dataset, digest = " ".join(columns[4:-1]), columns[-1]
    return ModelPoint(_point(line, *columns[:3]), columns[3], dataset, digest)


def _point(line: str, timestamp: str, value: str, step: str) -> Point:
    try:
        found = Point(int(timestamp), float(value), int(step))
    except ValueError:
        raise ValueError(f"{_short(line)} is no time, value and step") from None
    if not 0 <= found.timestamp <= LARGEST_INTEGER:
        raise ValueError(f"{_short(line)} has a time that a server does not take")
    if abs(found.step) > LARGEST_INTEGER:
        raise ValueError(f"{_short(line)} has a step that a server does not take")
    return found


def _short(line: str) -> str:
    shown = line.strip()
    return repr(shown if len(shown) <= 60 else f"{shown[:60]}…")  # noqa: PLR2004 - characters


def same(given: Point) -> tuple[int, float | None, int]:
    """What makes two values one in the database, where infinity is its largest number and NaN is like NaN."""
    if math.isnan(given.value):
        return given.timestamp, None, given.step
    value = max(-LARGEST_VALUE, min(LARGEST_VALUE, given.value))
    return given.timestamp, value, given.step


def cut(value: str, longest: int, *, whole: bool = False) -> tuple[str | None, str]:
    """What a server takes of a value.

    Args:
        value: as it is.
        longest: characters that it takes.
        whole: whether a part of it is of no use, as of JSON.

    Returns:
        What to send, None for nothing; and what is lost, empty if nothing is.
    """
    if "\0" in value:
        return None, "has a zero character, which no server takes"
    if len(value) <= longest:
        return value, ""
    said = f"has {len(value)} characters, and a server takes {longest}"
    return (None, said) if whole else (value[:longest], f"{said}: cut there")


def is_whole(tag: str) -> bool:
    """Whether a tag is one that programs read, of which a part is worse than nothing."""
    return tag.startswith("mlflow.") and tag != NOTE_TAG


def artifact_name(name: str) -> str:
    """The name that an artifact can have on a server that passes artifacts on: it refuses `#`, and decodes `%41`.

    `~` in the place of what cannot be, as MLflow names its images since it met `#` itself.

    Args:
        name: path of the file below its run, with `/`; undecodable bytes as Python has them, surrogates.
    """
    readable = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    readable = re.sub(r"[#\x00-\x1f\x7f\ufffd]", "~", readable)
    found = ""
    for part in re.sub(r"%(?=[0-9A-Fa-f]{2})", "~", readable).split("/"):
        path = f"{found}/{part}"
        # Such as `why?`, which the server takes for `why`; folders are asked for too.
        found = path if _served(path) == path else f"{found}/{re.sub('[?;]', '~', part)}"
    return found.removeprefix("/")


def _served(name: str) -> str:
    """What a server makes of a name of which no character is encoded (mlflow/utils/uri.py, `_decode`)."""
    return urlunparse(urlparse(name))


def listed_name(name: str) -> str:
    """What MLflow's client says of a file that a server lists: it takes `A:b` for a URL, and its scheme for `a`."""
    return urlunparse(urlparse(name))


def batches(
    items: Iterable[T], most: int, weigh: Callable[[T], int], heaviest: int = REQUEST_CHARACTERS
) -> Iterator[list[T]]:
    """Split into requests.

    Args:
        items: what is sent.
        most: items of one request.
        weigh: characters of an item in it.
        heaviest: characters of one request.
    """
    batch: list[T] = []
    weight = 0
    for item in items:
        added = weigh(item)
        if batch and (len(batch) >= most or weight + added > heaviest):
            yield batch
            batch, weight = [], 0
        batch.append(item)
        weight += added
    if batch:
        yield batch


def integer(value: Any) -> int | None:
    """A whole number of meta.yaml that fits a request; None for none."""
    try:
        number = int(value)
    except (TypeError, ValueError):
        return None
    return number if abs(number) <= LARGEST_INTEGER else None
