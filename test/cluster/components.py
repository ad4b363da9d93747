"""What each process of the control plane is told: command lines and the files they name."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path

from .pki import Authority, Identity, new_key, private_pem, public_pem, write_private
from .ports import LOOPBACK
from .stages import pod_stages

HERE = Path(__file__).parent
SERVICE_CLUSTER_IP = "10.96.0.1"
SERVER_NAMES = [
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "localhost",
]
POD_ADDRESSES = "10.128.0.0/9"  # enough for 100,000 pods; apart from the services' range
CONTROLLER_MANAGER = "kube-controller-manager"
SCHEDULER = "kube-scheduler"
# Named `system:` so that the audit policy can tell the control plane from those under test.
USERS = {
    "admin": ("kubernetes-admin", "system:masters"),
    CONTROLLER_MANAGER: (f"system:{CONTROLLER_MANAGER}",),
    SCHEDULER: (f"system:{SCHEDULER}",),
    "kwok": ("system:kwok", "system:masters"),
}
# No component may be what limits a load test; the defaults (20 to 50 a second) would be.
REQUESTS_PER_SECOND = 1000


@dataclass(frozen=True)
class Layout:
    """Where one control plane keeps its files and listens."""

    directory: Path
    binaries: Path
    etcd_port: int
    etcd_peer_port: int
    api_port: int

    @property
    def url(self) -> str:
        """The API server's address."""
        return f"https://{LOOPBACK}:{self.api_port}"

    @property
    def etcd_url(self) -> str:
        """Where the API server finds etcd."""
        return f"http://{LOOPBACK}:{self.etcd_port}"

    @property
    def pki(self) -> Path:
        """The folder of certificates and keys."""
        return self.directory / "pki"

    @property
    def logs(self) -> Path:
        """The folder of log files."""
        return self.directory / "logs"

    @property
    def audit_log(self) -> Path:
        """The API server's audit log, one JSON object a line."""
        return self.logs / "audit.jsonl"

    @property
    def pod_stages(self) -> Path:
        """What kwok is told to do to pods."""
        return self.directory / "pod-stages.yaml"

    def kubeconfig(self, name: str) -> Path:
        """The kubeconfig of this name."""
        return self.directory / f"{name}.kubeconfig"


def write_files(layout: Layout) -> Authority:
    """Make the certificates, kubeconfigs and configuration files that the command lines name."""
    authority = Authority()
    layout.pki.mkdir(mode=0o700)
    (layout.pki / "ca.crt").write_bytes(authority.certificate)
    authority.server(SERVER_NAMES, [LOOPBACK, SERVICE_CLUSTER_IP]).write(layout.pki, "server")
    tokens = new_key()
    (layout.pki / "service-account.pub").write_bytes(public_pem(tokens))
    write_private(layout.pki / "service-account.key", private_pem(tokens))
    for name, (user, *groups) in USERS.items():
        identity = authority.client(user, *groups)
        identity.write(layout.pki, name)
        write_kubeconfig(layout.kubeconfig(name), layout.url, authority, identity)
    scheduler = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "leaderElection": {"leaderElect": False},
        "clientConnection": {
            "kubeconfig": str(layout.kubeconfig(SCHEDULER)),
            "qps": REQUESTS_PER_SECOND,
            "burst": 2 * REQUESTS_PER_SECOND,
        },
    }
    (layout.directory / "kube-scheduler.json").write_text(json.dumps(scheduler))
    layout.pod_stages.write_text(pod_stages())
    return authority


def write_kubeconfig(path: Path, url: str, authority: Authority, identity: Identity) -> None:
    """Write a kubeconfig that needs no other file (JSON, which is YAML)."""
    text = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "local",
        "clusters": [
            {
                "name": "local",
                "cluster": {
                    "server": url,
                    "certificate-authority-data": _encode(authority.certificate),
                },
            }
        ],
        "users": [
            {
                "name": "local",
                "user": {
                    "client-certificate-data": _encode(identity.certificate),
                    "client-key-data": _encode(identity.key),
                },
            }
        ],
        "contexts": [
            {
                "name": "local",
                "context": {"cluster": "local", "user": "local", "namespace": "default"},
            }
        ],
    }
    write_private(path, json.dumps(text, indent=1).encode())


def _encode(pem: bytes) -> str:
    return base64.b64encode(pem).decode()


def etcd(layout: Layout) -> list[str]:
    """etcd without fsync: what it stores dies with the test run anyway."""
    peer = f"http://{LOOPBACK}:{layout.etcd_peer_port}"
    return [
        str(layout.binaries / "etcd"),
        f"--data-dir={layout.directory / 'etcd'}",
        f"--listen-client-urls={layout.etcd_url}",
        f"--advertise-client-urls={layout.etcd_url}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def kube_apiserver(layout: Layout) -> list[str]:
    """The API server, with authentication, RBAC and an audit log that is never rotated."""
    pki = layout.pki
    return [
        str(layout.binaries / "kube-apiserver"),
        f"--bind-address={LOOPBACK}",
        f"--advertise-address={LOOPBACK}",
        f"--secure-port={layout.api_port}",
        f"--etcd-servers={layout.etcd_url}",
        f"--cert-dir={pki}",
        f"--tls-cert-file={pki / 'server.crt'}",
        f"--tls-private-key-file={pki / 'server.key'}",
        f"--client-ca-file={pki / 'ca.crt'}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki / 'service-account.pub'}",
        f"--service-account-signing-key-file={pki / 'service-account.key'}",
        "--service-cluster-ip-range=10.96.0.0/12",
        "--authorization-mode=Node,RBAC",
        "--endpoint-reconciler-type=none",
        "--allow-privileged",
        f"--kubelet-client-certificate={pki / 'admin.crt'}",  # logs and exec on a real node
        f"--kubelet-client-key={pki / 'admin.key'}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--audit-policy-file={HERE / 'audit-policy.yaml'}",
        f"--audit-log-path={layout.audit_log}",
        "--audit-log-maxsize=0",
    ]


def kube_controller_manager(layout: Layout) -> list[str]:
    """Every controller, with a provisioner that makes real PersistentVolumes on this machine.

    node-lifecycle has to stay on: it is what takes the not-ready taint off the node.
    """
    return [
        str(layout.binaries / CONTROLLER_MANAGER),
        f"--kubeconfig={layout.kubeconfig(CONTROLLER_MANAGER)}",
        "--secure-port=0",
        "--leader-elect=false",
        "--use-service-account-credentials",
        f"--service-account-private-key-file={layout.pki / 'service-account.key'}",
        f"--root-ca-file={layout.pki / 'ca.crt'}",
        "--enable-hostpath-provisioner",
        "--pvclaimbinder-sync-period=1s",  # a released volume waits for it: up to 15 s by default
        f"--kube-api-qps={REQUESTS_PER_SECOND}",
        f"--kube-api-burst={2 * REQUESTS_PER_SECOND}",
    ]


def kube_scheduler(layout: Layout) -> list[str]:
    """The scheduler, as its configuration file says."""
    return [
        str(layout.binaries / SCHEDULER),
        f"--config={layout.directory / 'kube-scheduler.json'}",
        "--secure-port=0",
    ]


def kwok(layout: Layout) -> list[str]:
    """The fake kubelet: kwok's own stages for nodes, ours for pods.

    kwok's `volume` stages are left out on purpose: they delete a PV under pvc-protection.
    """
    stages = [*sorted((layout.binaries / "stages").iterdir()), layout.pod_stages]
    return [
        str(layout.binaries / "kwok"),
        f"--kubeconfig={layout.kubeconfig('kwok')}",
        "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
        "--node-lease-duration-seconds=40",
        f"--cidr={POD_ADDRESSES}",
        *(f"--config={stage}" for stage in stages),
    ]


CLIENTS = {CONTROLLER_MANAGER: kube_controller_manager, SCHEDULER: kube_scheduler, "kwok": kwok}
