"""A stack goes down and comes back: with its data, and past one-shot jobs that fail."""

import pytest
from tests.docker.stack import ROLES, at_volume, check_run

pytestmark = [pytest.mark.docker, pytest.mark.timeout(400)]

PGDATA = "/var/lib/postgresql/data"

# The server of the database as on a person's machine: on a socket, without a network.
PSQL = """
pg_ctl -D "$PGDATA/pgdata" -w -l /tmp/log -o "-c listen_addresses= -c unix_socket_directories=/tmp" start >/dev/null
psql -h /tmp -U mlflow -d mlflow -v ON_ERROR_STOP=1 -qtA -c "{sql}" || failed=1
pg_ctl -D "$PGDATA/pgdata" -w -m fast stop >/dev/null
exit ${{failed:-0}}
"""


@pytest.fixture(scope="module")
def images(watched):
    """Role → image of its container."""
    return {role: found.image.id for role, found in watched.stack.containers().items()}


@pytest.fixture(scope="module", autouse=True)
def up_again(watched, images):
    """The next file's tests find the stack up, whatever happened here."""
    yield
    if set(watched.stack.containers()) != set(ROLES):
        watched.stack.up()


@pytest.fixture
def down(watched, images):
    """The stack, down."""
    watched.stack.cli("down")
    return watched.stack


def on_database(stack, images, sql):
    """Run a statement on the data of a database whose server is down."""
    volume = f"{stack.deployment}-database-postgresql-15"
    script = f"export PGDATA={PGDATA}\n{PSQL.format(sql=sql)}"
    image = images["database"]
    return at_volume(stack.client, stack.deployment, image, volume, PGDATA, script).strip()


def test_down_leaves_nothing_but_data_and_up_brings_it_back(down):
    """That it comes back is seen in the next test, which brings the stack up from here."""
    data = {f"{down.deployment}-database-postgresql-15", f"{down.deployment}-artifacts-versitygw"}
    assert down.left() == {"volumes": sorted(data)}

    kept = down.cli("down").splitlines()[-1]

    assert kept.startswith("Kept (")
    for name in ("database-data", "artifacts-data", "database-password", "tracking-kek"):
        assert name in kept


def test_failed_jobs_fail_up_with_their_log_and_no_server_starts_until_they_are_mended(
    down, images, watched, tmp_path
):
    """A schema of a newer MLflow, as after a step back; then a file where the bucket's folder was."""
    before = on_database(down, images, "SELECT version_num FROM alembic_version")
    on_database(down, images, "UPDATE alembic_version SET version_num = 'feedfacecafe'")

    output = down.up(ok=False)

    assert f"{down.deployment}-tracking-migration failed with exit code 1:" in output
    assert "the database has schema feedfacecafe, which MLflow 3.17.2 does not know" in output
    assert_only_stores_run(down)

    mend = f"UPDATE alembic_version SET version_num = '{before}'"
    down.execute("database", "psql", "-U", "mlflow", "-d", "mlflow", "-qc", mend)
    # It may have been made before the migration failed.
    forget(down, "DockerJob::artifacts-bucket")
    down.execute("artifacts", "sh", "-c", "cd /data && mv mlflow aside && touch mlflow")

    output = down.up(ok=False)

    assert f"{down.deployment}-artifacts-bucket failed with exit code 1:" in output
    assert "bucket mlflow: " in output
    assert_only_stores_run(down)

    down.execute("artifacts", "sh", "-c", "cd /data && rm mlflow && mv aside mlflow")

    down.up()

    with down.mlflow() as door:
        check_run(door, watched.run, tmp_path / "found")


def assert_only_stores_run(stack):
    expected = [f"{stack.deployment}-artifacts", f"{stack.deployment}-database"]
    assert stack.left()["containers"] == expected


def forget(stack, end):
    """Take a resource out of the state."""
    resources = stack.read("stack", "export")["deployment"]["resources"]
    for urn in [resource["urn"] for resource in resources if resource["urn"].endswith(end)]:
        stack.pulumi("state", "delete", urn, "--yes")
