"""A real API server of Kubernetes on this machine's loopback: etcd behind it, no controller, scheduler or kubelet.

What it answers to an object is what any cluster of its version answers: validation, defaults, what may not change, and the
Pod Security Standards.
"""

import contextlib
import dataclasses
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.support import FULL, ROOT, free_port

START_SECONDS = 60
"""2 s on a machine that does nothing else."""
STOP_SECONDS = 15
PLURALS = {"networkpolicies": "NetworkPolicy", "ingresses": "Ingress"}


class NoServerError(RuntimeError):
    """It did not start; the message ends with its log's end."""


@dataclasses.dataclass
class ApiServer:
    """A server that answers.

    Args:
        url: where.
        token: an administrator's.
        folder: with its logs, and `ca.crt` of its certificate.
    """

    url: str
    token: str
    folder: Path

    def __post_init__(self):
        self.session = requests.Session()
        self.session.trust_env = False  # no proxy, and no bundle of authorities of the machine's
        self.session.verify = str(self.folder / "apiserver.crt")
        self.session.headers["Authorization"] = f"Bearer {self.token}"

    def path(self, body):
        """Where an object lives."""
        api, kind, metadata = body["apiVersion"], body["kind"], body["metadata"]
        plural = next((many for many, one in PLURALS.items() if one == kind), f"{kind.lower()}s")
        root = "api" if api == "v1" else "apis"
        within = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
        return f"{self.url}/{root}/{api}{within}/{plural}/{metadata['name']}"

    def apply(self, body, *, dry_run=False):
        """Server-side apply, as Pulumi's provider does it; returns the answer, whatever it is."""
        question = {"fieldManager": "test", "fieldValidation": "Strict", "force": "true"}
        return self.session.patch(
            self.path(body),
            json=body,
            params={**question, **({"dryRun": "All"} if dry_run else {})},
            headers={"Content-Type": "application/apply-patch+yaml"},
            timeout=30,
        )

    def get(self, body):
        return self.session.get(self.path(body), timeout=30)

    def delete(self, body):
        return self.session.delete(self.path(body), timeout=30)

    def kubeconfig(self):
        """A file for kubectl, and for Pulumi's provider."""
        file = self.folder / "kubeconfig"
        file.write_text(
            f"""apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: "{self.url}", certificate-authority: "{self.folder / "apiserver.crt"}"}}}}]
users: [{{name: u, user: {{token: "{self.token}"}}}}]
contexts: [{{name: x, context: {{cluster: c, user: u}}}}]
current-context: x
"""
        )
        file.chmod(0o600)
        return file


def programs(*, build: bool) -> tuple[Path, Path] | None:
    """kube-apiserver and etcd, or None where they are not there and are not to be built.

    Args:
        build: whether set-up may build them, which takes minutes.
    """
    command = [sys.executable, ROOT / "toolchain" / "setup.py", "tool", "kube-apiserver"]
    only_here = [] if build else ["--here"]
    done = subprocess.run([*command, *only_here], capture_output=True, text=True, check=False)
    if done.returncode and build:
        raise NoServerError(done.stderr)
    if done.returncode:
        return None
    folder = Path(done.stdout.strip())
    return folder / "kube-apiserver", folder / "etcd"


@contextlib.contextmanager
def for_tests(folder: Path) -> Iterator[ApiServer]:
    """A server, or a skipped test where its program is not there; `FULL=1` builds it."""
    found = programs(build=FULL)
    if found is None:
        pytest.skip(
            "FULL=1: the API server is built, which takes 8 minutes (setup.py tool kube-apiserver)"
        )
    with running(found, folder) as server:
        yield server


@contextlib.contextmanager
def running(given: tuple[Path, Path], folder: Path) -> Iterator[ApiServer]:
    """A server that is stopped at the end, with its etcd.

    Args:
        given: kube-apiserver and etcd.
        folder: for data, keys and logs.
    """
    apiserver, etcd = given
    token = secrets.token_hex(16)
    port, etcd_port, peers = free_port(), free_port(), free_port()
    (folder / "tokens.csv").write_text(f'{token},admin,admin,"system:masters"\n')
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    (folder / "accounts.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    for secret in ("tokens.csv", "accounts.key"):
        (folder / secret).chmod(0o600)
    store = f"http://127.0.0.1:{etcd_port}"
    with contextlib.ExitStack() as stack:
        started(
            stack,
            folder / "etcd.log",
            etcd,
            f"--data-dir={folder / 'etcd'}",
            f"--listen-client-urls={store}",
            f"--advertise-client-urls={store}",
            f"--listen-peer-urls=http://127.0.0.1:{peers}",
            "--unsafe-no-fsync",
        )
        server = started(
            stack,
            folder / "apiserver.log",
            apiserver,
            f"--etcd-servers={store}",
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            f"--cert-dir={folder}",
            f"--token-auth-file={folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--anonymous-auth=false",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={folder / 'accounts.key'}",
            f"--service-account-signing-key-file={folder / 'accounts.key'}",
            "--endpoint-reconciler-type=none",
            "--profiling=false",
        )
        deadline = time.monotonic() + START_SECONDS
        ready = ApiServer(f"https://127.0.0.1:{port}", token, folder)
        while not _answers(ready):
            if server.poll() is not None or time.monotonic() > deadline:
                raise NoServerError((folder / "apiserver.log").read_text()[-2000:])
            time.sleep(0.2)
        yield ready


def _answers(server):
    try:
        return server.session.get(f"{server.url}/readyz", timeout=5).ok
    except (
        requests.RequestException,
        OSError,
    ):  # its certificate is not there yet, or nobody listens
        return False


def started(stack, log, program, *arguments):
    """A program that the stack stops."""
    output = stack.enter_context(log.open("wb"))
    # etcd of Debian asks for this on other processors than amd64.
    environment = {**os.environ, "ETCD_UNSUPPORTED_ARCH": "arm64"}
    process = subprocess.Popen(
        [program, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=environment,
    )
    stack.callback(_stop, process)
    return process


def _stop(process):
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_SECONDS)
