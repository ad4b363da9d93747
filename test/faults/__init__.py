"""Everything goes wrong once between the operator and a real API server; see README.md.

The rooms, in the order a plan goes through them:

- `scenarios` is what users and workloads do; `plans` makes plans of recorded runs of them.
- `stage` boots the control plane, and for each plan a namespace and its operators.
- `proxy` is the operator's way to the API server; `steps` names what passes through it.
- `strikes` is what the proxy does in each class of plans.
- `play` plays plans, many at a time, and waits for them to end as they must.
- `audit` reads the API server's log, `history` makes versions of objects of it, and `judge`
  says what was violated.
- `life` is for faults that are written by hand.
"""
