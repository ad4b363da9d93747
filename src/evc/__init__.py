"""The EphemeralVolumeClaim operator: scratch volumes that go away when the work is over.

The rooms, in the order an event travels:

`evc.kube`        a line of a watch arrives from the API server and is decoded into ...
`evc.model`       ... a trimmed, frozen value, which ...
`evc.runtime`     ... a reflector puts into a store; handlers (`controller/enqueue.py`)
                  turn it into keys on a queue, from which a worker takes one to ...
`evc.controller`  ... gather what the caches know about it, ask ...
`evc.policy`      ... what should be done (pure functions, no clock, no network), read
                  live whatever the answer would destroy, ask again, and carry it out.
`evc.serving`     metrics, probes and logs listen to all this.
`evc.preflight`   says at the start what is wrong; `evc.app` wires the rooms;
                  `evc.__main__` is the command line.

Newcomers: `controller/reconcile.py` first, then `policy/decide.py`.
"""
