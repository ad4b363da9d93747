"""A real Kubernetes control plane on this machine, without Docker or root.

`with ControlPlane.boot() as cp:` is all a test needs; `python -m cluster up` is for people.
The rooms, in the order a boot goes through them:

- `build` compiles etcd, Kubernetes and kwok from the Go modules pinned in `etcd/`, `kubernetes/`
  and `kwok/`, once, into a cache (`locks` says where); `toolchain` finds or fetches Go.
- `boot` is the public face. It asks `ports` for free ports and `components` for each program's
  command line and the files it names; certificates are `pki`'s.
- `processes` starts them through `warden.py`, their parent process, which sees to it that nothing
  outlives the test run, however that ends.
- `api` makes the few requests of the boot itself: a StorageClass, the fake nodes, readiness.
- `detached` is the control plane that `up` leaves running until `down`.
- `stages` is what happens to pods on kwok's fake nodes.
- `isolated` runs a command beside a control plane with one real node instead, which `node` joins
  to it: containerd and the kubelet. Test pods run `images` made from files of this machine;
  `builds` is for those that the command builds, and has a registry. Needs root.

A pod runs until it is deleted, but a Job's pod succeeds after one second. Annotations change that,
each a duration such as `2s`:

- `cluster.evc.dev/start-after`: scheduled, the pod stays Pending this long (100 ms)
- `cluster.evc.dev/complete-after`: running this long, any pod succeeds
- `cluster.evc.dev/fail-after`: running this long, any pod fails; wins over complete-after
- `cluster.evc.dev/stop-after`: deleted while running, it goes on this long (100 ms)

A change to a pod, even of a label, starts the wait for its next stage anew.
"""

from .boot import ControlPlane
from .build import ensure_binaries
from .errors import ClusterError

__all__ = ["ClusterError", "ControlPlane", "ensure_binaries"]
