"""Benchmarks on a real control plane, beside peers that do the same work: `make bench`.

The rooms: `stage` boots the control plane and starts the operator or a peer; `load` and `lives`
drive it through the API and `seed` fills etcd; `audit`, `procs` and `scrape` read what happened
and what it cost; `scenarios` has one module per benchmark; `report` makes docs/benchmarks.md of
their results.  `peers` run in an environment of their own, build/bench-venv.
"""
