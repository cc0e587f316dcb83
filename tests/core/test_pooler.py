"""What PgBouncer is told; that it takes it is seen in tests/docker/test_databases.py."""

import configparser

import pytest

from pulumi_mlflow.core import pooler


def settings(**changes):
    values = {
        "host": "db",
        "port": 5432,
        "database": "mlflow",
        "auth_file": "/run/userlist.txt",
        "pool_size": 20,
        "max_clients": 1000,
    }
    return pooler.PoolerSettings(**{**values, **changes})


def parsed(**changes):
    found = configparser.ConfigParser(interpolation=None)
    found.read_string(pooler.render_pgbouncer(settings(**changes)))
    return found


def test_settings_reach_the_file():
    got = parsed(pool_size=7, max_clients=300)
    assert got["databases"]["mlflow"] == "host=db port=5432 dbname=mlflow"
    options = got["pgbouncer"]
    assert options["listen_port"] == str(pooler.PORT)
    assert (options["default_pool_size"], options["max_client_conn"]) == ("7", "300")
    assert (options["auth_type"], options["auth_file"]) == ("scram-sha-256", "/run/userlist.txt")
    assert options["pool_mode"] == "transaction"


def test_a_database_is_served_whatever_its_name():
    """Under a name of PgBouncer's own, since it takes few characters for one's."""
    assert parsed(database="Of-Runs' X")["databases"] == {
        "mlflow": "host=db port=5432 dbname='Of-Runs'' X'"
    }


def test_a_search_path_is_set_on_each_connection():
    got = parsed(search_path='"My runs", public')["databases"]["mlflow"]
    query = "SELECT set_config(''search_path'', ''\"My runs\", public'', false)"
    assert got == f"host=db port=5432 dbname=mlflow connect_query='{query}'"
    with pytest.raises(ValueError, match="search_path"):
        pooler.render_pgbouncer(settings(search_path="a; b"))


def test_nobody_administers_it_by_sql():
    assert parsed()["pgbouncer"]["admin_users"] == parsed()["pgbouncer"]["stats_users"] == ""


def test_tls_towards_the_database():
    options = parsed(tls_mode="verify-full", ca_path="/run/ca.pem")["pgbouncer"]
    assert (options["server_tls_sslmode"], options["server_tls_ca_file"]) == (
        "verify-full",
        "/run/ca.pem",
    )
    assert "server_tls_ca_file" not in parsed()["pgbouncer"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"tls_mode": "verify-ca"}, "tls_mode"), ({"host": "db dbname=other"}, "host")],
)
def test_what_makes_no_sense_is_refused(changes, reason):
    with pytest.raises(ValueError, match=reason):
        pooler.render_pgbouncer(settings(**changes))


def test_quotes_in_names_and_passwords_are_doubled():
    assert pooler.render_userlist('a"b', 'p"w') == '"a""b" "p""w"\n'
