"""URIs carry any password to the driver unchanged, and buckets are named as S3 wants."""

import ssl

import certifi
import pymysql
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mlflow.store.db.utils import _get_alembic_config, create_sqlalchemy_engine
from mlflow.utils.uri import extract_db_type_from_uri
from sqlalchemy.engine import make_url

from pulumi_mlflow.core import uris

# Unicode without lone surrogates, which no encoding of text carries.
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
hostile = st.text("%@:/#?&=+[]{} '\"\\$`;,\t\né漢😀aZ09", max_size=40)
passwords = (text | hostile).filter(lambda value: value and "\0" not in value)
ascii_passwords = st.text(st.characters(max_codepoint=127), min_size=1, max_size=80)
hosts = st.sampled_from(["db", "127.0.0.1", "db.example.com", "::1", "2001:db8::1"])

SECRET = "secret"


def address(engine="postgresql", password=SECRET, **changes):
    values = {
        "engine": engine,
        "host": "db",
        "port": None,
        "database": "mlflow",
        "username": "mlflow",
        "password": password,
    }
    return uris.DatabaseAddress(**{**values, **changes})


def connect_arguments(uri):
    """What the driver is called with, by the engine that MLflow itself makes."""
    engine = create_sqlalchemy_engine(uri)
    return engine.dialect.create_connect_args(engine.url)[1]


@given(passwords, passwords, hosts, st.integers(1, 65535))
def test_postgresql_gets_what_was_given(password, username, host, port):
    uri = uris.database_uri(address(password=password, username=username, host=host, port=port))
    got = connect_arguments(uri)
    assert (got["password"], got["user"], got["host"], got["port"], got["dbname"]) == (
        password,
        username,
        host,
        port,
        "mlflow",
    )


names = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("%/?#&=+@: '\"\\-AZ"),
    min_size=1,
    max_size=40,
)


@given(names, names)
@example("Of-Runs.X", "Ro@ot-1")
def test_names_of_what_exists_reach_the_driver_as_they_are(database, username):
    for engine, key in (("postgresql", "dbname"), ("mysql", "database")):
        uri = uris.database_uri(address(engine, database=database, username=username))
        got = connect_arguments(uri)
        assert (got[key], got["user"]) == (database, username)
        assert not set(uri) & set("\0\r\n")


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("mlflow", "-csearch_path=mlflow"),
        ('"My runs", public', '-csearch_path="My\\ runs",\\ public'),
        ('"a""b"', '-csearch_path="a""b"'),
        ("$user,Runs", "-csearch_path=$user,Runs"),
        ('"a\\b"', '-csearch_path="a\\\\b"'),
    ],
)
def test_a_search_path_reaches_the_server(path, options):
    assert connect_arguments(uris.database_uri(address(search_path=path)))["options"] == options


@pytest.mark.parametrize("path", [" ", "a b", "a;b", 'a"', '""', "a,,b", "a\nb", "a -c b=c", "a'b"])
def test_a_search_path_that_is_none_is_refused(path):
    with pytest.raises(ValueError, match="search_path"):
        uris.database_uri(address(search_path=path))


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ("-csearch_path=mlflow", "mlflow"),
        ("-c search_path=a,public -c statement_timeout=9", "a,public"),
        ("--search_path=a", "a"),
        ('-csearch_path="My\\ runs",\\ b', '"My runs", b'),
        ("-cstatement_timeout=9", ""),
        ("search_path=a", ""),
        ("-csearch_path=a;b", ""),
        ("", ""),
    ],
)
def test_a_search_path_of_somebodys_uri_is_found(options, path):
    assert uris.search_path_in(options) == path


@given(st.sampled_from(["a", '"My runs", b', '"a\\b"', '"a""b"']))
def test_what_is_found_is_what_was_written(path):
    options = connect_arguments(uris.database_uri(address(search_path=path)))["options"]
    assert uris.search_path_in(options) == path


def test_mysql_has_no_search_path():
    with pytest.raises(ValueError, match="search_path"):
        uris.database_uri(address("mysql", search_path="mlflow"))


@given(ascii_passwords, hosts)
def test_mysql_gets_what_was_given(password, host):
    got = connect_arguments(uris.database_uri(address("mysql", password, host=host)))
    assert (got["password"], got["host"], got["port"]) == (password, host, 3306)
    assert got["charset"] == "utf8mb4"


@given(passwords)
def test_mlflow_reads_the_uri_back(password):
    uri = uris.database_uri(address(password=password))
    assert _get_alembic_config(uri).get_main_option("sqlalchemy.url") == uri
    assert extract_db_type_from_uri(uri) == "postgresql"
    assert make_url(uri).password == password
    # An environment variable holds it, through a file that a shell reads line by line.
    assert not set(uri) & set("\0\r\n")


def test_every_driver_is_named():
    assert uris.database_uri(address()).startswith("postgresql+psycopg2://mlflow:secret@db:5432/")
    for engine in ("mysql", "mariadb"):  # MLflow knows no `mariadb://`
        uri = uris.database_uri(address(engine))
        assert uri.startswith("mysql+pymysql://mlflow:secret@db:3306/")
        assert extract_db_type_from_uri(uri) == "mysql"


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_ipv6(host):
    assert "@[::1]:5432/" in uris.database_uri(address(host=host))


@pytest.mark.parametrize("host", ["", "a/b", "a:b", "a?b", "a@b", "a b", "fe80::1/x", "[::1"])
def test_a_host_that_is_none_is_refused(host):
    with pytest.raises(ValueError, match="host: must be"):
        uris.database_uri(address(host=host))


@given(passwords.filter(lambda password: len(password) > 3))
def test_no_error_and_no_repr_holds_the_password(password):
    marked = f"~{password}~"
    assert marked not in repr(address(password=marked))
    for changes in ({"tls_mode": "prefer"}, {"tls_mode": "verify-full"}, {"host": "a/b"}):
        with pytest.raises(ValueError) as caught:
            uris.database_uri(address(password=marked, **changes))
        assert marked not in str(caught.value)


@pytest.mark.parametrize(
    ("engine", "password", "reason"),
    [("mysql", "pässword", "ASCII"), ("postgresql", "a\0b", "NUL")],
)
def test_a_password_that_the_driver_cannot_send_is_refused(engine, password, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        uris.database_uri(address(engine, password))
    assert password not in str(caught.value)


@pytest.mark.parametrize("mode", ["disable", "require", "verify-ca", "verify-full"])
def test_postgresql_tls(mode):
    got = connect_arguments(uris.database_uri(address(tls_mode=mode, ca_path="/run/a ca&b.pem")))
    assert (got["sslmode"], got["sslrootcert"]) == (mode, "/run/a ca&b.pem")
    assert got.keys() == {"host", "port", "dbname", "user", "password", "sslmode", "sslrootcert"}


@pytest.mark.parametrize(
    ("mode", "verify", "check_hostname"),
    [
        ("require", ssl.CERT_NONE, False),
        ("verify-ca", ssl.CERT_REQUIRED, False),
        ("verify-full", ssl.CERT_REQUIRED, True),
    ],
)
def test_mysql_tls(mode, verify, check_hostname):
    uri = uris.database_uri(address("mysql", tls_mode=mode, ca_path=certifi.where()))
    connection = pymysql.Connection(**connect_arguments(uri), defer_connect=True)
    assert connection.ssl
    assert connection.ctx.verify_mode == verify
    assert connection.ctx.check_hostname is check_hostname


def test_mysql_verifies_against_the_given_authority(tmp_path):
    uri = uris.database_uri(
        address("mysql", tls_mode="verify-ca", ca_path=str(tmp_path / "absent.pem"))
    )
    with pytest.raises(FileNotFoundError):
        pymysql.Connection(**connect_arguments(uri), defer_connect=True)


def test_mysql_without_tls():
    arguments = connect_arguments(uris.database_uri(address("mysql")))
    assert not pymysql.Connection(**arguments, defer_connect=True).ssl


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
@pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
def test_nothing_is_verified_without_an_authority(engine, mode):
    with pytest.raises(ValueError, match="needs the certificate"):
        uris.database_uri(address(engine, tls_mode=mode))


def test_unknown_engine_and_tls_mode():
    with pytest.raises(ValueError, match=r"engine: must be one of .*'oracle'"):
        uris.database_uri(address("oracle"))
    with pytest.raises(ValueError, match=r"tls_mode: must be one of .*'prefer'"):
        uris.database_uri(address(tls_mode="prefer"))


def test_default_ports():
    engines = ("postgresql", "mysql", "mariadb", "sqlite")
    assert [uris.default_port(engine) for engine in engines] == [5432, 3306, 3306, None]


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0?%"), max_size=60))
def test_sqlite_path_is_kept(path):
    uri = uris.database_uri(address("sqlite", database=f"/{path}"))
    assert make_url(uri).database == f"/{path}"
    # MLflow makes the folder of what stands here literally.
    assert uri == f"sqlite:////{path}"


@pytest.mark.parametrize("name", ["mlflow.db", "with space.db", "jörg #1.db"])
def test_sqlite_file_is_made_where_it_was_said(tmp_path, name):
    file = tmp_path / "jörg & co" / name
    uri = uris.database_uri(address("sqlite", database=str(file)))
    from mlflow.store.db.utils import create_sqlalchemy_engine_with_retry

    with create_sqlalchemy_engine_with_retry(uri).begin() as connection:
        connection.exec_driver_sql("CREATE TABLE made (x)")
    assert file.stat().st_size
    assert [path.name for path in tmp_path.iterdir()] == ["jörg & co"]


@pytest.mark.parametrize("path", ["", "mlflow.db", "/a?b", "/a%41b", ":memory:"])
def test_sqlite_path_that_cannot_be_kept_is_refused(path):
    with pytest.raises(ValueError, match="absolute path"):
        uris.database_uri(address("sqlite", database=path))


@pytest.mark.parametrize(
    ("arguments", "uri"),
    [
        (("s3", "mlflow"), "s3://mlflow"),
        (("versitygw", "mlflow", "a/b"), "s3://mlflow/a/b"),
        (("s3", "mlflow", "/a//b/"), "s3://mlflow/a/b"),
        (("folder", "/data/artifacts/"), "/data/artifacts"),
        (("folder", "/data", "team"), "/data/team"),
    ],
)
def test_artifact_uri(arguments, uri):
    assert uris.artifact_uri(*arguments) == uri


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("s3", "My_Bucket"), "bucket: must be lower-case.*'My_Bucket'"),
        (("s3", "mlflow", "../x"), "prefix"),
        (("s3", "mlflow", "a?b"), "prefix"),
        (("s3", "mlflow", "a#b"), "prefix"),
        (("folder", "relative"), "absolute"),
        (("gcs", "mlflow"), "store"),
    ],
)
def test_artifact_uri_refuses(arguments, reason):
    with pytest.raises(ValueError, match=reason):
        uris.artifact_uri(*arguments)


@pytest.mark.parametrize(
    "name", ["abc", "a" * 63, "mlflow", "my-bucket.v2", "1-2-3", "3.14.15", "sthree", "a--b"]
)
def test_good_bucket(name):
    assert uris.check_bucket(name) is None


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "3 to 63"),
        ("ab", "3 to 63"),
        ("a" * 64, "3 to 63"),
        ("My-Bucket", "lower-case"),
        ("my_bucket", "lower-case"),
        ("bücket", "lower-case"),
        ("-bucket", "both ends"),
        ("bucket.", "both ends"),
        ("bucket\n", "lower-case"),
        ("a..b", "two dots"),
        ("192.168.5.4", "IP address"),
        ("999.1.1.1", "IP address"),
        ("xn--bucket", "start with"),
        ("sthree-bucket", "start with"),
        ("amzn-s3-demo-bucket", "start with"),
        ("bucket-s3alias", "end with"),
        ("bucket--ol-s3", "end with"),
        ("bucket.mrap", "end with"),
        ("bucket--x-s3", "end with"),
        ("bucket--table-s3", "end with"),
    ],
)
def test_bad_bucket(name, reason):
    assert reason in uris.check_bucket(name)


@given(st.text("abz019.-", min_size=1, max_size=70))
def test_every_accepted_bucket_is_a_host_name(name):
    if uris.check_bucket(name) is None:
        assert all(name.split("."))
        assert make_url(f"s3://{name}").host == name
