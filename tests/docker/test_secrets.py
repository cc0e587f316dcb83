"""Secrets are where they open something, encrypted in the state, and nowhere else."""

import base64
import gzip
import json
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pytest
from tests.docker.stack import DEPLOYMENT, ROLES, left, new_name, sweep
from tests.docker.watch import Watch, forms, hits, unpacked
from tests.support import until

from pulumi_mlflow.ops import state

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

CONTROL = {"control": "S3nt/inel+ke&y=%41 ä?~"}


@pytest.fixture(scope="module")
def secrets(watched):
    """Name → value of each secret: as generated, and as the containers have them."""
    stack = watched.stack
    found = state.generated_secrets(stack.read("stack", "export", "--show-secrets"))
    found["output password"] = stack.outputs()["password"]
    found["database URI"] = stack.execute(
        "tracking", "cat", "/run/pulumi-mlflow/env/MLFLOW_BACKEND_STORE_URI"
    )
    found["htpasswd"] = stack.execute("proxy", "cat", "/run/pulumi-mlflow/htpasswd").strip()
    return found


def test_they_are_what_the_search_should_look_for(watched, secrets):
    kinds = {name.rpartition("-")[2] for name in secrets}
    assert kinds >= {"password", "kek", "login", "key", "session", "admin", "secret"}
    assert len(secrets) >= 13
    assert all(len(secret) >= 20 for secret in secrets.values())
    assert unquote(urlsplit(secrets["database URI"]).password) == secrets["database-password"]


@pytest.mark.parametrize("offset", range(3))
def test_search_finds_every_form(offset):
    secret = CONTROL["control"]
    around = b"x" * offset + secret.encode() + b"yz"
    planted = [around, quote(secret, safe="").encode(), base64.b64encode(around)]
    planted += [base64.urlsafe_b64encode(around), base64.b64encode(around[:-2])]

    assert all(hits(b"before" + content + b"after", CONTROL) for content in planted)
    assert not hits(b"something else", CONTROL)
    assert min(len(form) for form in forms(secret)) > 20


def test_search_looks_everywhere(client, watched, tmp_path):
    """Each place that is searched below has a secret planted in it, and the search finds it."""
    secret, name = CONTROL["control"], new_name()
    coded = base64.b64encode(secret.encode()).decode()
    watch = Watch(client, name)
    try:
        with watch.running():
            container = client.containers.run(
                watched.stack.container("proxy").image.id,
                entrypoint=["sh", "-c"],
                command=["echo $CONTROL; exec sleep 60"],
                environment={"CONTROL": coded},
                labels={DEPLOYMENT: name},
                detach=True,
            )
            with subprocess.Popen([sys.executable, "-c", "input()", coded], stdin=-1) as process:
                until(lambda: found_in(watch.command_lines, CONTROL), 10)
                process.communicate(b"\n")
            until(lambda: found_in(watch.inspected.values(), CONTROL), 10)
            until(lambda: hits(container.logs(), CONTROL), 10)
    finally:
        sweep(client, name)
    assert left(client, name) == {}
    (tmp_path / "state.json.gz").write_bytes(gzip.compress(secret.encode()))
    assert [hits(content, CONTROL) for _, content in unpacked(tmp_path)] == [["control"]]


def test_containers_and_images_hold_none(dev, watched, secrets, client):
    """Also those that lived for seconds: one-shot jobs, and carriers of files."""
    for container in dev.containers().values():
        watched.watch.inspect(container.id)
        assert not hits(container.logs(), secrets)
    inspected = watched.watch.inspected
    names = {name.removeprefix(f"/{dev.deployment}-") for name in inspected}
    assert names >= {*ROLES, "tracking-migration", "artifacts-bucket"}
    assert any(not name.startswith(f"/{dev.deployment}-") for name in inspected), "no carrier"
    assert not found_in(inspected.values(), secrets)
    for image in {container.image.id for container in dev.containers().values()}:
        assert not hits(json.dumps(client.images.get(image).history()).encode(), secrets)
        assert not hits(json.dumps(client.images.get(image).attrs).encode(), secrets)


def test_project_with_its_state_and_all_output_holds_none(dev, watched, secrets):
    """State, its backups and history, settings; what preview, up, refresh and the others have printed."""
    dev.pulumi("preview", "--diff", "--show-sames", "--show-config")

    searched = {path.relative_to(dev.folder): content for path, content in unpacked(dev.folder)}

    written = " ".join(map(str, searched))
    for wanted in (rf"stacks/mlflow/{dev.stack}\.json\b", r"\.bak\b", r"history/", r"output\.log"):
        assert re.search(wanted, written), written
    assert b"$ pulumi up" in searched[Path("output.log")]
    assert not [path for path, content in searched.items() if hits(content, secrets)]


def test_command_lines_hold_none(dev, watched, secrets):
    """Of all processes of this machine, from the first `up` on; seen ten times a second.

    With an engine on another machine, only those of this one.
    """
    seen = watched.watch.command_lines
    assert any(b"pulumi\0up\0" in line for line in seen)
    assert any(b"mlflow.server.fastapi_app" in line for line in seen) or sys.platform != "linux"
    assert not found_in(seen, secrets)


def found_in(contents, secrets):
    return [name for content in list(contents) for name in hits(content, secrets)]
