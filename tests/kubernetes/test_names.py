"""Names of objects that are made anew when what is in them changes: none comes back."""

import pytest
from tests.kubernetes import cluster, test_administrator, test_data, test_tracking

VAULT = {"store": "vault", "key": "db"}


def tracking(**database):
    changes = {"auth": "mlflow", "jobs": {}, "database": test_tracking.database(**database)}
    return test_tracking.program(changes)


def fetched(**database):
    changes = {"database_secret": VAULT, "database": test_tracking.database(**database)}
    return test_tracking.program(changes)


def administrator(**database):
    given = {"database": {**test_administrator.OWN, **database}}
    return test_tracking.program({**given, "admin_store": test_administrator.STORE})


def bucket(**changes):
    return test_data.store(changes)


CHANGES = {
    "tracking": (tracking, {"password": "other"}),
    "tracking, from a vault": (fetched, {"host": "db2"}),
    "tracking, administrator": (administrator, {"admin_secret": "arn:other"}),
}
"""Program, and what makes its files and jobs other ones."""


def names(program, held):
    """Logical → physical name of each object that is never changed in place."""
    seen, _ = cluster.run(program, held=held)
    kinds = {"Secret", "Job", "ExternalSecret"}
    return {
        f"{item.kind} {item.name}": item.physical
        for item in seen
        if item.kind in kinds and item.is_kubernetes
    }


@pytest.mark.parametrize("case", CHANGES)
def test_a_name_that_was_given_up_never_comes_back(case):
    """The object that had it may still wait for its deletion: the next `up` takes it away, whoever uses it by then."""
    program, change = CHANGES[case]
    held = {}
    first, again = names(program(), held), names(program(), held)
    assert first == again
    second = names(program(**change), held)
    changed = {one for one in first if first[one] != second[one]}
    assert any("Job" in one for one in changed)
    assert any("Secret" in one for one in changed)
    third = names(program(), held)
    assert {one for one in first if second[one] != third[one]} == changed
    assert not [one for one in changed if third[one] == first[one]]
    assert names(program(), held) == third
