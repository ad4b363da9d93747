"""A real node joins a control plane: containerd, runc and the kubelet.

It needs a network of its own (see isolated.py), which is why addresses and ports are constants.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .boot import ControlPlane
from .build import ensure_binaries
from .builds import REGISTRY
from .components import SERVICE_CLUSTER_IP
from .errors import ClusterError
from .images import PAUSE

NAME = "real-node"
ADDRESS = "172.31.255.1"
POD_ADDRESSES = "10.244.0.0/16"

PLUGIN_FOLDERS = ("/usr/lib/cni", "/opt/cni/bin")


@dataclass(frozen=True)
class Layout:
    """Where one node keeps its files."""

    home: Path
    cgroup: str

    @property
    def socket(self) -> Path:
        """Where containerd listens."""
        return self.home / "containerd.sock"

    @property
    def network(self) -> Path:
        """The folder of the pods' network configuration."""
        return self.home / "net.d"

    @property
    def containers(self) -> Path:
        """Where containerd keeps images and containers."""
        return self.home / "containerd"

    @property
    def registries(self) -> Path:
        """The folder that says how each registry is reached."""
        return self.home / "registries"


def join(plane: ControlPlane, layout: Layout, tools: Path) -> None:
    """Start containerd and the kubelet, and return when pods of that image can run."""
    write_files(plane, layout)
    plane.start("gateway", gateway(plane))
    plane.start("containerd", ["containerd", f"--config={layout.home / 'containerd.toml'}"])
    plane.wait_for("containerd", lambda: _ctr(layout, "version").returncode == 0)
    loaded = _ctr(layout, "image", "import", str(tools))
    if loaded.returncode:
        raise ClusterError(f"containerd cannot import {tools}: {loaded.stderr.strip()}")
    plane.start("kubelet", kubelet(plane, layout))
    ready = ["wait", f"node/{NAME}", "--for=condition=Ready", "--timeout=0"]
    plane.wait_for(
        "the node to be ready", lambda: "condition met" in plane.kubectl(*ready, check=False)
    )


def gateway(plane: ControlPlane) -> list[str]:
    """etcd's TCP proxy, for kube-proxy: pods look for the API server at its Service's address."""
    return [
        *(str(ensure_binaries() / "etcd"), "gateway", "start"),
        f"--listen-addr={SERVICE_CLUSTER_IP}:443",
        f"--endpoints={plane.url.removeprefix('https://')}",
    ]


def kubelet(plane: ControlPlane, layout: Layout) -> list[str]:
    """The kubelet, as its configuration file says."""
    identity = plane.kubeconfig_for(f"system:node:{NAME}", "system:nodes")
    return [
        str(ensure_binaries(real_node=True) / "kubelet"),
        f"--config={layout.home / 'kubelet.json'}",
        f"--kubeconfig={identity}",
        f"--root-dir={layout.home / 'kubelet'}",
        f"--cert-dir={layout.home / 'kubelet-pki'}",
        f"--hostname-override={NAME}",
        f"--node-ip={ADDRESS}",
    ]


def write_files(plane: ControlPlane, layout: Layout) -> None:
    """Write the configuration of containerd, the pods' network and the kubelet."""
    (layout.home / "containerd.toml").write_text(_containerd(layout))
    registry = layout.registries / REGISTRY
    registry.mkdir(parents=True)
    (registry / "hosts.toml").write_text(f'[host."http://{REGISTRY}"]\n')
    layout.network.mkdir()
    (layout.network / "pods.conflist").write_text(json.dumps(_network(layout)))
    (layout.home / "kubelet.json").write_text(json.dumps(_kubelet(plane, layout)))


def _containerd(layout: Layout) -> str:
    """An overlay counts only what a container writes; copies of an image would exceed its limit."""
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    return f"""
version = 2
root = "{layout.containers}"
state = "/run/containerd"
[grpc]
address = "{layout.socket}"
[{cri}]
sandbox_image = "{PAUSE}"
restrict_oom_score_adj = true
[{cri}.containerd]
snapshotter = "overlayfs"
[{cri}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[{cri}.containerd.runtimes.runc.options]
SystemdCgroup = false
[{cri}.cni]
bin_dir = "{plugin_folder()}"
conf_dir = "{layout.network}"
[{cri}.registry]
config_path = "{layout.registries}"
"""


def _network(layout: Layout) -> dict[str, Any]:
    """Each pod has a pair of interfaces to the node, and all it reaches is the node."""
    addresses = {
        "type": "host-local",
        "ranges": [[{"subnet": POD_ADDRESSES}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": str(layout.home / "addresses"),
    }
    return {
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [{"type": "ptp", "ipam": addresses}],
    }


def _kubelet(plane: ControlPlane, layout: Layout) -> dict[str, Any]:
    """A kubelet that neither needs systemd nor may touch the machine beyond its own cgroup."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{layout.socket}",
        "authentication": {
            "anonymous": {"enabled": False},
            "x509": {"clientCAFile": str(plane.directory / "pki" / "ca.crt")},
        },
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{layout.cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        # How full the machine's disk is, is no concern of a test.
        "evictionHard": {"nodefs.available": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100,
        # Without CAP_SYS_RESOURCE some of the kernel's settings are refused; it goes on then.
        "featureGates": {"KubeletInUserNamespace": True},
        "podLogsDir": str(layout.home / "pod-logs"),
        "resolvConf": "",
        "nodeStatusUpdateFrequency": "2s",
    }


def plugin_folder() -> str:
    """Where this distribution keeps its CNI plugins."""
    for folder in PLUGIN_FOLDERS:
        if (Path(folder) / "ptp").exists():
            return folder
    raise ClusterError("no CNI plugins: apt-get install containernetworking-plugins")


def _ctr(layout: Layout, *args: str) -> subprocess.CompletedProcess[str]:
    command = ["ctr", f"--address={layout.socket}", "--namespace=k8s.io", *args]
    return subprocess.run(command, capture_output=True, text=True, check=False)
