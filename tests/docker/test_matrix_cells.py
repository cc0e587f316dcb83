"""Which combinations are tried."""

from tests.docker import matrix
from tests.docker.matrix import DATABASES, LOGINS, STORES, WAYS, Cell


def test_what_does_not_go_together_is_what_the_rules_refuse():
    refused = {
        Cell(database, store, login, way)
        for database in DATABASES
        for store in STORES
        for login in LOGINS
        for way in WAYS
    } - set(matrix.valid())
    assert {(cell.store, cell.way) for cell in refused} == {
        ("folder", "direct"),
        ("folder", "multipart"),
    }
    assert len(refused) == len(DATABASES) * len(LOGINS) * 2
    assert matrix.problems(Cell("sqlite", "folder", "none", "direct"))


def test_every_two_values_that_go_together_meet():
    wanted = set().union(*map(matrix.pairs, matrix.valid()))
    cells = matrix.everything()
    assert set().union(*map(matrix.pairs, cells)) == wanted
    assert len(cells) == len(set(cells)) < len(matrix.valid()) / 5
    print(len(cells), "cells in", len(matrix.by_stack(cells)), "stacks")


def test_the_usual_cells_have_every_value():
    cells = matrix.usual()
    assert {cell.database for cell in cells} == set(DATABASES)
    assert {cell.store for cell in cells} == set(STORES) - set(matrix.SLOW)
    assert {cell.login for cell in cells} == set(LOGINS)
    assert {cell.way for cell in cells} == set(WAYS)
    assert len(matrix.by_stack(cells)) == len(DATABASES)


def test_the_choice_is_the_same_each_time():
    first = matrix.everything()
    matrix.valid.cache_clear()
    assert matrix.everything() == first
