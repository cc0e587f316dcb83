"""The Pod Security Standard "Restricted", which includes "Baseline", written from its published text.

https://kubernetes.io/docs/concepts/security/pod-security-standards/, of Kubernetes 1.34. Windows aside.
"""

VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
}
SELINUX = {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}


def violations(pod):
    """What of a pod's specification the standard forbids."""
    found = [
        f"{key} must be false" for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key)
    ]
    for volume in pod.get("volumes", []):
        kinds = set(volume) - {"name"}
        found += [f"volume type {kind} is not allowed" for kind in kinds - VOLUMES]
    whole = pod.get("securityContext", {})
    found += [
        f"sysctl {item['name']}" for item in whole.get("sysctls", []) if item["name"] not in SYSCTLS
    ]
    found += _shared(whole, "pod")
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for container in pod.get(kind, []):
            found += [f"{container['name']}: {reason}" for reason in _container(container, whole)]
    return found


def _shared(context, where):
    """What holds for the contexts of pods and containers."""
    found = []
    if context.get("runAsUser") == 0:
        found.append(f"{where}: runAsUser must not be 0")
    if context.get("seccompProfile", {}).get("type") == "Unconfined":
        found.append(f"{where}: seccomp must not be Unconfined")
    if context.get("appArmorProfile", {}).get("type") == "Unconfined":
        found.append(f"{where}: AppArmor must not be Unconfined")
    linux = context.get("seLinuxOptions", {})
    if linux.get("type", "") not in SELINUX or linux.get("user") or linux.get("role"):
        found.append(f"{where}: SELinux options")
    return found


def _container(container, pod):
    context = container.get("securityContext", {})
    found = _shared(context, "container")
    if context.get("privileged"):
        found.append("privileged")
    if context.get("procMount", "Default") != "Default":
        found.append("procMount")
    if context.get("allowPrivilegeEscalation") is not False:
        found.append("allowPrivilegeEscalation must be false")
    if context.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
        found.append("runAsNonRoot must be true")
    seccomp = context.get("seccompProfile", pod.get("seccompProfile", {})).get("type")
    if seccomp not in ("RuntimeDefault", "Localhost"):
        found.append("seccompProfile must be set")
    capabilities = context.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []):
        found.append("capabilities must drop ALL")
    if set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        found.append("capabilities may add NET_BIND_SERVICE only")
    if any(port.get("hostPort") for port in container.get("ports", [])):
        found.append("hostPort")
    handlers = [
        container.get(kind, {}) for kind in ("livenessProbe", "readinessProbe", "startupProbe")
    ] + list(container.get("lifecycle", {}).values())
    if any(item.get(by, {}).get("host") for item in handlers for by in ("httpGet", "tcpSocket")):
        found.append("probes and hooks must not name a host")
    return found
