"""What holds for every container of ours, seen from outside and inside."""

import re

from docker.models.containers import Container

LOG_CONFIG = {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}

_LOOK = r"""
grep -hE '^(Cap...|NoNewPrivs|Seccomp|Uid|Gid):' /proc/1/status
for folder in / /etc /usr/bin /opt; do touch "$folder/.written" 2>/dev/null && echo "written: $folder"; done
for file in pids.max pids/pids.max memory.max memory/memory.limit_in_bytes cpu.max cpu/cpu.cfs_quota_us; do
  [ ! -r "/sys/fs/cgroup/$file" ] || echo "limit: $file $(cat "/sys/fs/cgroup/$file")"
done
find /run/pulumi-mlflow -type f -exec stat -c 'file: %a %u' {} +
"""


def check_outside(attrs: dict) -> None:
    """How the engine describes a container or a one-shot job."""
    host = attrs["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert not host["Privileged"]
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert not any(host[mode].startswith("host") for mode in ("PidMode", "NetworkMode", "IpcMode"))
    assert host["Memory"] == host["MemorySwap"] > 0
    assert not host["Devices"]
    assert host["LogConfig"] == LOG_CONFIG
    assert all(mount["Type"] in ("volume", "tmpfs") for mount in attrs["Mounts"])
    assert all("size=" in options for options in host["Tmpfs"].values())
    assert "/tmp" in host["Tmpfs"]


def check_runs_on(attrs: dict) -> None:
    """What a container has that runs for months, beyond what a job has."""
    host, config = attrs["HostConfig"], attrs["Config"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", config["User"])
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert host["Init"]
    check = config["Healthcheck"]["Test"]
    assert check[:3] == ["CMD", "sh", "/run/pulumi-mlflow/health.sh"]


def check_inside(container: Container) -> None:
    """What the kernel says of its main process, and what its user may not do."""
    code, output = container.exec_run(["sh", "-c", _LOOK])
    lines = [line.split() for line in output.decode().splitlines()]
    status = {words[0]: words[1:] for words in lines if words[0].endswith(":")}

    assert code in (0, 1), output
    capabilities = {name: value for name, value in status.items() if name.startswith("Cap")}
    assert len(capabilities) == 5
    assert {value for (value,) in capabilities.values()} == {"0" * 16}
    assert status["NoNewPrivs:"] == ["1"]
    assert status["Seccomp:"] == ["2"]
    user = container.attrs["Config"]["User"]
    assert ":".join((status["Uid:"][0], status["Gid:"][0])) == user
    assert not any(words[0] == "written:" for words in lines), output
    files = {" ".join(words[1:]) for words in lines if words[0] == "file:"}
    assert files == {f"400 {user.partition(':')[0]}"}
    found = {words[1].rpartition("/")[2]: words[2] for words in lines if words[0] == "limit:"}
    host = container.attrs["HostConfig"]
    assert found["pids.max"] == str(host["PidsLimit"])
    memory = found.get("memory.max") or found["memory.limit_in_bytes"]
    assert memory == str(host["Memory"])
    assert (found.get("cpu.max") or found["cpu.cfs_quota_us"]) == str(host["CpuQuota"])
    assert host["PidsLimit"] > 0
    assert host["CpuQuota"] > 0
