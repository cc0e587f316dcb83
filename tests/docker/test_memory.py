"""Artifacts that are larger than all memory on the way go through proxy and server.

Measured is all that a container's cgroup is charged with but the page cache of files on disk: the processes' own memory,
tmpfs, sockets and the kernel's. The kernel's own `memory.peak` (`max_usage_in_bytes`) says nothing here: it counts that
page cache, which grows up to the limit with any file that is written or read, and of which the kernel takes back what is
wanted elsewhere. What it cannot take back gets a container killed; tmpfs is of that kind, and is counted.
"""

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest
from tests.docker.stack import there_and_back
from tests.support import FULL, until

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

SIZE = 1200
"""MB of an artifact."""

ALLOWED = 100
"""MB by which the memory may grow."""

SAMPLE = """
touch /tmp/sampling
cd /sys/fs/cgroup
[ ! -d memory ] || cd memory
used() { cat memory.current memory.usage_in_bytes 2>/dev/null; }
while [ -e /tmp/sampling ]; do
  used
  cat memory.stat
  used
  echo end
  sleep 0.05
done
"""


class Sample(NamedTuple):
    """Bytes that a cgroup is charged with."""

    used: int
    """Without the page cache of files on disk."""
    cached: int
    """That page cache."""


def read(block):
    """What `SAMPLE` prints in one turn; names are those of cgroup v2, else those of v1."""
    # A file's page cache may go between two reads, when the file does: usage is read before and after.
    usage = min(int(line) for line in block if line.isdigit())
    words = (line.split() for line in block)
    stat = {pair[0]: int(pair[1]) for pair in words if len(pair) == 2}
    kind = ("file", "shmem") if "file" in stat else ("total_cache", "total_shmem")
    cached, tmpfs = (stat[name] for name in kind)
    return Sample(usage - cached + tmpfs, cached - tmpfs)


@contextlib.contextmanager
def sampled(container):
    """Collects samples of a container, some ten a second."""
    samples = []
    stream = container.exec_run(["sh", "-c", SAMPLE], stream=True).output

    def collect():
        rest = b""
        for part in stream:
            *blocks, rest = (rest + part).split(b"end\n")
            samples.extend(read(block.decode().splitlines()) for block in blocks)

    thread = threading.Thread(target=collect, daemon=True)
    thread.start()
    try:
        until(lambda: len(samples) > 10, 20)
        yield samples
    finally:
        container.exec_run(["rm", "/tmp/sampling"])
        thread.join(20)


@pytest.mark.parametrize(
    "at_once",
    [
        1,
        pytest.param(
            4, marks=pytest.mark.skipif(not FULL, reason="FULL=1: 5 GB there and back take minutes")
        ),
    ],
)
def test_artifacts_of_over_a_gigabyte_take_no_memory(dev, at_once):
    with ThreadPoolExecutor(
        8
    ) as pool:  # each worker loads boto3 when it is first asked for an artifact
        list(pool.map(lambda number: there_and_back(dev, number, 1, 600), range(16)))
    server, proxy = dev.container("tracking"), dev.container("proxy")
    with sampled(server) as of_server, sampled(proxy) as of_proxy:
        before = {"tracking": of_server[-1].used, "proxy": of_proxy[-1].used}
        with ThreadPoolExecutor(at_once) as pool:
            hashes = list(
                pool.map(lambda number: there_and_back(dev, number, SIZE, 600), range(at_once))
            )

    assert all(sent == received for sent, received in hashes)
    assert len({sent for sent, _ in hashes}) == at_once
    for role, samples in (("tracking", of_server), ("proxy", of_proxy)):
        grown = (max(sample.used for sample in samples) - before[role]) / 1e6
        cached = max(sample.cached for sample in samples) / 1e6
        print(
            f"{role}: {before[role] / 1e6:.0f} MB and {grown:.0f} MB more, {cached:.0f} MB of page cache"
        )
        assert grown < ALLOWED, role
    assert not [c.name for c in dev.containers().values() if c.attrs["State"]["OOMKilled"]]
    assert max(sample.cached for sample in of_server) > 200e6, "the scratch folder is not on disk"
    until(lambda: int(dev.execute("tracking", "du", "-sm", "/scratch").split()[0]) < 10)
