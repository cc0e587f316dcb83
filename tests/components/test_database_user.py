"""The image's program that makes the server's user on RDS: what it says to the database, and what it never says."""

import json

import database_user
import pytest
from bootlib import BootError

URI = "postgresql+psycopg2://mlflow:s3cret%2Fpw@db:5432/mlflow?sslmode=require"
ADMIN = json.dumps({"username": "mlflow_admin", "password": "rds's own"})


def test_postgresqls_user_owns_its_database_and_is_nobodys_administrator():
    made = database_user.postgresql("mlflow", "mlflow", "SCRAM-SHA-256$x", exists=False)
    assert made[0] == (
        'CREATE ROLE "mlflow" WITH LOGIN NOCREATEDB NOCREATEROLE PASSWORD %s',
        ("SCRAM-SHA-256$x",),
    )
    said = [statement for statement, _ in made]
    assert 'ALTER DATABASE "mlflow" OWNER TO "mlflow"' in said
    assert said.index('GRANT "mlflow" TO CURRENT_USER') < said.index(
        'ALTER DATABASE "mlflow" OWNER TO "mlflow"'
    )
    assert 'REVOKE CONNECT, TEMPORARY ON DATABASE "mlflow" FROM PUBLIC' in said


def test_a_user_that_is_there_gets_the_password():
    [first, *_] = database_user.postgresql("mlflow", "mlflow", "v", exists=True)
    assert first[0].startswith('ALTER ROLE "mlflow" WITH LOGIN')


def test_mysqls_user_must_use_tls_and_has_one_database():
    made = database_user.mysql("runs", "mlflow", "pw")
    assert [values for _, values in made] == [("pw",), ("pw",), ()]
    assert "REQUIRE SSL" in made[1][0]
    assert made[2][0] == "GRANT ALL PRIVILEGES ON `runs`.* TO 'mlflow'@'%%'"
    assert not [statement for statement, _ in made if "*.*" in statement or "pw" in statement]


class Cursor:
    def __init__(self, said):
        self.said = said

    def execute(self, statement, values):
        self.said.append((statement, values))

    def fetchone(self):
        return None


class Connection:
    driver_connection = None

    def __init__(self, said):
        self.said = said

    def cursor(self):
        return Cursor(self.said)

    def commit(self):
        self.said.append(("commit", ()))

    def close(self):
        self.said.append(("close", ()))


@pytest.fixture
def server(monkeypatch):
    """What was said to the database, and the URL that it was opened by."""
    import sqlalchemy

    said, urls = [], []

    class Engine:
        def raw_connection(self):
            return Connection(said)

    def create(url, **_options):
        urls.append(url)
        return Engine()

    monkeypatch.setattr(sqlalchemy, "create_engine", create)
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", "mysql+pymysql://mlflow:s3cret@db:3306/mlflow")
    monkeypatch.setenv("ADMIN", ADMIN)
    return said, urls


def test_it_logs_in_as_the_administrator_and_prints_no_password(server, capsys):
    said, urls = server
    assert database_user.main() == 0
    assert (urls[0].username, urls[0].password) == ("mlflow_admin", "rds's own")
    assert (urls[0].host, urls[0].database) == ("db", "mlflow")
    assert said[0][1] == ("s3cret",)
    assert said[-2:] == [("commit", ()), ("close", ())]
    printed = capsys.readouterr()
    assert "user mlflow" in printed.out
    assert "s3cret" not in printed.out + printed.err


@pytest.mark.parametrize("admin", ["", "{", "[]", '{"username": "x"}', '"s3cret"'])
def test_a_broken_secret_is_not_printed(server, monkeypatch, capsys, admin):
    monkeypatch.setenv("ADMIN", admin)
    assert database_user.main() == 1
    error = capsys.readouterr().err
    assert "ADMIN" in error
    assert "s3cret" not in error


def test_the_administrators_own_password_is_never_set(server, monkeypatch):
    """It is RDS's to change."""
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", "mysql+pymysql://mlflow_admin:p@db/mlflow")
    with pytest.raises(BootError, match="user: 'mlflow_admin' is the administrator"):
        database_user.prepare()
    assert server == ([], [])


@pytest.mark.parametrize(
    "uri", ["mysql+pymysql://a-b:p@db/mlflow", 'mysql+pymysql://mlflow:p@db/x"y']
)
def test_names_that_would_be_syntax_are_refused(server, monkeypatch, uri):
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", uri)
    with pytest.raises(BootError, match="must be lower-case letters"):
        database_user.prepare()
    assert server[0] == []
