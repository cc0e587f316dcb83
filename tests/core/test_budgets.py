"""Budgets grow with what uses them, and the refusals say numbers that would do."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulumi_mlflow.core import budgets, server

workers = st.integers(1, 64)
replicas = st.integers(1, 20)
pools = st.integers(1, 50)
overflows = st.integers(1, 50)


MEASURED = Path(__file__).parents[2] / "docs" / "memory.md"


def measured():
    """What → the most that was measured, and the limit beside it, in MiB."""
    rows = [line.strip("|").split("|") for line in MEASURED.read_text().splitlines()]
    cells = [[cell.strip() for cell in row] for row in rows if len(row) == 5]
    return {row[0]: (int(row[3]), int(row[4])) for row in cells if row[4].isdigit()}


def test_memory_has_room_over_what_was_measured():
    found = measured()
    limits = {
        **{f"server, {n} worker{'s' * (n > 1)}": budgets.server_memory_mb(n) for n in (1, 2, 4)},
        "server for jobs": budgets.jobs_memory_mb(),
        "migration": budgets.MIGRATION_MB,
        "clean-up": budgets.UPKEEP_MB,
    }
    assert {what: limit for what, (_, limit) in found.items()} == limits
    for what, (most, limit) in found.items():
        assert limit > 1.25 * most, what
    assert found["server for jobs"][0] * 1.15 < budgets.LEAST_JOBS_MB < budgets.jobs_memory_mb()


@pytest.mark.parametrize("count", [1, 2, 4])
def test_less_than_what_was_measured_is_refused(count):
    most, _ = measured()[f"server, {count} worker{'s' * (count > 1)}"]
    assert budgets.check_memory(count, most)


@given(workers, st.integers(1, 100_000))
def test_what_is_refused_names_a_limit_that_is_not(count, memory_mb):
    reason = budgets.check_memory(count, memory_mb)
    assert budgets.check_memory(count, budgets.server_memory_mb(count)) is None
    if reason:
        least = int(re.match(r"must be ≥ (\d+) MiB", reason)[1])
        assert memory_mb < least
        assert budgets.check_memory(count, least) is None
        assert budgets.check_memory(count, least - 1)


@given(workers, replicas, pools, overflows)
def test_connections_hold_both_pools_of_every_worker(count, servers, pool, overflow):
    most = budgets.server_connections(count, servers, pool, overflow)
    # All that the pools may open, or all that threads can use at once beside what the pools keep.
    worker = min(2 * (pool + overflow), 48 + 2 * pool)
    assert most == servers * (count * worker + 2)
    assert budgets.server_connections(count, servers * 2, pool, overflow) == 2 * most
    assert budgets.server_connections(count + 1, servers, pool, overflow) > most


def test_by_default_no_thread_of_flask_waits_for_a_connection():
    assert budgets.POOL_SIZE + budgets.MAX_OVERFLOW >= 40  # AnyIO's default limit


@given(workers, replicas, pools, overflows, st.integers(1, 1000))
def test_too_few_connections_name_a_limit_that_is_not(count, servers, pool, overflow, limit):
    reason = budgets.check_connections(count, servers, pool, overflow, limit)
    least = budgets.server_connections(count, servers, pool, overflow) + budgets.CONNECTION_HEADROOM
    assert bool(reason) == (limit < least)
    if reason:
        assert f"must be ≥ {least}" in reason
        assert f"(got {limit})" in reason


def test_the_usual_settings_fit():
    assert budgets.check_connections(2, 1, 5, 10, 100) is None


def mb(value):
    return int(value.removesuffix("kB")) / 1024 if value.endswith("kB") else int(value[:-2])


@given(st.integers(256, 65536), st.integers(20, 1000))
def test_postgres_stays_within_its_memory(memory_mb, connections):
    got = budgets.postgres_parameters(memory_mb, connections)
    assert got["max_connections"] == str(connections)
    assert memory_mb * 0.19 < mb(got["shared_buffers"]) <= memory_mb / 4
    assert mb(got["effective_cache_size"]) <= memory_mb / 2
    assert 1 <= mb(got["work_mem"]) <= 16
    # More than the least only where all connections may use it at once.
    assert mb(got["work_mem"]) == 1 or mb(got["work_mem"]) * connections <= memory_mb / 4
    assert mb(got["maintenance_work_mem"]) * 3 <= max(48, memory_mb / 4)


def test_postgres_units_are_ones_that_it_knows():
    for name, value in budgets.postgres_parameters(512, 100).items():
        assert re.fullmatch(r"\d+(kB|MB|min)?|on", value), name


@given(workers, replicas, pools, overflows, st.integers(1, 1000))
def test_behind_a_pooler_its_connections_count(count, servers, pool, overflow, limit):
    least = budgets.database_connections(count, servers, pool, overflow, pooled=True)
    assert least <= budgets.POOLER_CONNECTIONS + budgets.CONNECTION_HEADROOM
    assert least <= budgets.database_connections(count, servers, pool, overflow)
    reason = budgets.check_connections(count, servers, pool, overflow, limit, pooled=True)
    assert bool(reason) == (limit < least)
    if reason:
        assert f"must be ≥ {least}, since PgBouncer" in reason


@given(st.integers(256, 65536), st.integers(20, 1000))
def test_mysql_stays_within_its_memory(memory_mb, connections):
    got = budgets.mysql_parameters(memory_mb, connections)
    pool = mb(got["innodb_buffer_pool_size"] + "B")
    assert got["max_connections"] == str(connections)
    assert memory_mb / 8 - 128 <= pool <= memory_mb / 2
    assert pool <= 128 or pool % 128 == 0  # else MySQL takes more than it was told
    # More than the least only where all connections have room beside it.
    assert pool <= memory_mb // 8 or pool + 200 + connections <= memory_mb
    assert mb(got["loose-innodb_redo_log_capacity"] + "B") <= max(48, pool / 2)


def test_mysql_loses_no_commit():
    assert budgets.mysql_parameters(768, 150)["innodb_flush_log_at_trx_commit"] == "1"


def test_mysql_keeps_connections_longer_than_the_servers_pools():
    assert int(budgets.mysql_parameters(768, 150)["wait_timeout"]) > server._POOL_RECYCLE_SECONDS
