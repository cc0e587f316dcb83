"""Every object that our components make, over all combinations that their own tests have."""

import dataclasses
import functools
import gc
import json
from collections.abc import Iterator

from tests.kubernetes import (
    cluster,
    test_backup,
    test_data,
    test_monitoring,
    test_proxy,
    test_tracking,
)
from tests.support import opened


def programs():
    """Name → program, of each combination."""
    for name, changes in test_tracking.COMBINATIONS.items():
        yield f"tracking, {name}", test_tracking.program(changes)
    for name, program in test_data.COMBINATIONS.items():
        yield f"data, {name}", program
    for name, (changes, mode) in test_proxy.COMBINATIONS.items():
        yield f"proxy, {name}", test_proxy.program(changes, mode)
    for name, (changes, mode) in test_backup.COMBINATIONS.items():
        yield f"backup, {name}", test_backup.program(changes, mode=mode)
    yield "monitoring", test_monitoring.program(test_monitoring.ALL, **test_monitoring.METRICS)


@dataclasses.dataclass(frozen=True)
class Made:
    """An object as the API server gets it, with the combination that made it first."""

    combination: str
    name: str
    body: dict

    @property
    def kind(self):
        return f"{self.body['apiVersion']}/{self.body['kind']}"

    def __str__(self):
        return f"{self.combination}: {self.kind} {self.name}"


@functools.cache
def objects() -> tuple[Made, ...]:
    """All different objects, in the order of their registration."""
    found = {}
    for combination, program in programs():
        for made in recorded(combination, program):
            found.setdefault(json.dumps(made.body, sort_keys=True), made)
    gc.collect()  # as conftest.py beside this file does, and for the same reason
    return tuple(found.values())


def recorded(combination, program) -> Iterator[Made]:
    """The objects of one combination."""
    seen, _ = cluster.run(program)
    for item in seen:
        if item.is_kubernetes:
            body = {key: opened(value) for key, value in item.inputs.items()}
            yield Made(combination, item.name, whole(body))


def whole(value):
    """The same as JSON has it: Pulumi has one kind of numbers only."""
    if isinstance(value, dict):
        return {key: whole(one) for key, one in value.items()}
    if isinstance(value, list):
        return [whole(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
